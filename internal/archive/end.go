// Telling the proper end of an archive from a truncated one.

package archive

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
)

// blockSize is the size of a tar header. An archive ends with two blocks of
// zeros (POSIX, pax, "ustar Interchange Format"), but one is accepted: some
// programs write no more.
const blockSize = 512

// maxPadding is the number of bytes that may follow the end of an archive. tar
// fills it up to a record of 10 KiB; an environment that sends much more only
// keeps us reading.
const maxPadding = 1 << 20

// An endReader reads an archive for a tar.Reader, which takes an io.EOF between
// two entries for the end. endReader counts the zeros that were read last to see
// whether a block of zeros came before.
type endReader struct {
	r        io.Reader
	counting bool // set while a header is read
	zeros    int  // zero bytes at the end of what was read while counting
}

func (e *endReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if e.counting {
		rest := len(bytes.TrimRight(p[:n], "\x00"))
		if rest > 0 {
			e.zeros = 0
		}
		e.zeros += n - rest
	}
	return n, err
}

// next returns tr.Next, but io.ErrUnexpectedEOF if the archive has no proper
// end. The content of the entry before must have been read, or its zeros would
// be counted.
func (e *endReader) next(tr *tar.Reader) (*tar.Header, error) {
	e.counting, e.zeros = true, 0
	h, err := tr.Next()
	e.counting = false
	if err == io.EOF && e.zeros < blockSize {
		err = io.ErrUnexpectedEOF
	}
	return h, err
}

// end returns an error unless the archive has no more entries.
func (e *endReader) end(tr *tar.Reader) error {
	h, err := e.next(tr)
	switch {
	case err == io.EOF:
		return nil
	case err == nil:
		return nameError(h.Name)
	}
	return err
}

// drain reads the padding after the end, so that the writer of the archive is
// not left with a write that blocks or fails.
func (e *endReader) drain() error {
	n, err := io.CopyN(io.Discard, e.r, maxPadding)
	if err == io.EOF {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("archive: more than %d bytes behind its end", n-1)
	}
	return err
}
