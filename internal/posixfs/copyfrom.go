// Reading what file.sh prints for CopyFrom.

package posixfs

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/terminal-go/terminal/internal/capture"
)

// maxHeader is the length in bytes of the longest first line: the size, the mode
// and the time of a file.
const maxHeader = 100

// An archiveWriter writes what file.sh prints to w as an archive. The first line
// is "d" if an archive of a tree follows, and else "f SIZE MODE TIME", followed by
// the content of a file. MODE is written as by ls; TIME, in seconds since 1970, is
// missing where date cannot tell it.
type archiveWriter struct {
	w      io.Writer
	header []byte      // the first line so far
	begun  bool        // the first line is complete
	file   *tar.Writer // nil if an archive follows
	left   int64       // bytes of the file still to come
}

func (a *archiveWriter) Write(p []byte) (int, error) {
	n := len(p)
	if !a.begun {
		header, rest, ok := bytes.Cut(p, []byte("\n"))
		a.header = append(a.header, header...)
		if len(a.header) > maxHeader {
			return 0, fmt.Errorf("file script: unexpected answer %q", capture.Clip(string(a.header)))
		}
		if !ok {
			return n, nil
		}
		a.begun = true
		if err := a.begin(strings.Fields(string(a.header))); err != nil {
			return 0, err
		}
		p = rest
	}
	if a.file == nil {
		_, err := a.w.Write(p)
		return n, err
	}
	p = p[:min(int64(len(p)), a.left)] // the file may be growing
	a.left -= int64(len(p))
	_, err := a.file.Write(p)
	return n, err
}

// begin takes the words of the first line and writes the header of a file.
func (a *archiveWriter) begin(words []string) (err error) {
	if len(words) == 1 && words[0] == "d" {
		return nil
	}
	if len(words) < 3 || words[0] != "f" || len(words[2]) < 10 {
		return fmt.Errorf("file script: unexpected answer %q", capture.Clip(string(a.header)))
	}
	if a.left, err = strconv.ParseInt(words[1], 10, 64); err != nil {
		return fmt.Errorf("file script: size: %w", err)
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: "file", Size: a.left, Mode: parseMode(words[2]), Format: tar.FormatGNU, ModTime: time.Now()}
	if len(words) > 3 {
		if seconds, err := strconv.ParseInt(words[3], 10, 64); err == nil {
			h.ModTime = time.Unix(seconds, 0)
		}
	}
	a.file = tar.NewWriter(a.w)
	return a.file.WriteHeader(h)
}

// parseMode returns the nine permission bits of a mode such as "-rwxr-x--T", which
// has at least ten characters. S and T, unlike s and t, stand for a special bit
// without the permission to execute (POSIX, ls, STDOUT).
func parseMode(text string) (mode int64) {
	for i, c := range []byte(text[1:10]) {
		mode <<= 1
		if c != '-' && !(i%3 == 2 && (c == 'S' || c == 'T')) {
			mode |= 1
		}
	}
	return mode
}

// end completes the archive. It returns io.ErrUnexpectedEOF if the file was
// shorter than announced.
func (a *archiveWriter) end() error {
	switch {
	case !a.begun || a.left > 0:
		return io.ErrUnexpectedEOF
	case a.file != nil:
		return a.file.Close()
	}
	return nil
}
