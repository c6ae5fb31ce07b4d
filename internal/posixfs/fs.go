// Package posixfs reads, writes and copies files in an environment that can only
// run commands. It sends a few lines of POSIX sh, file.sh, for each operation.
//
// Data flow: FS builds a script from the operation's variables and file.sh and
// gives it to its Exec function. Content travels on the script's stdin and stdout,
// the outcome as an exit code, from which FS makes an *fs.PathError. FS knows
// nothing of run IDs: Exec gives a script its own, and ends what a script left.
//
// native.go has the operations for a backend that transfers files in its own way
// and needs a shell only for what that cannot do.
package posixfs

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/terminal-go/terminal/internal/archive"
	"github.com/terminal-go/terminal/internal/shellscript"
	"github.com/terminal-go/terminal/internal/spawn"
)

// An FS is the file system of an environment. ReadFile, WriteFile, CopyTo and
// CopyFrom are those of terminal.FileSystem. Its methods may be called
// concurrently.
type FS struct {
	// Exec runs a command as terminal.Executor specifies. It sets
	// spawn.RunIDEnv, and if it returns an error it has ended what the command
	// left running, or has given up on that. FS returns its errors unchanged.
	Exec func(ctx context.Context, c spawn.Command) (exitCode int, err error)

	// Env has the variables for every script.
	Env map[string]string

	// MaxFile is the size in bytes of the largest file that ReadFile reads.
	MaxFile int64

	mu         sync.Mutex // guards unfinished; a leaf
	unfinished []target   // what failed writes were about, for Clean
}

// A target is a name that is written to by way of a temporary file.
type target struct{ name, temp string }

// TooLarge returns the error for a file that has more than limit bytes.
func TooLarge(limit int64) error {
	return fmt.Errorf("%w: more than %d bytes; CopyFrom takes any size", spawn.ErrTooLarge, limit)
}

// ReadFile writes the content of a regular file to w.
func (f *FS) ReadFile(ctx context.Context, name string, w io.Writer) error {
	return f.run(ctx, request{op: "read", target: newTarget(name), stdout: w, vars: []string{"fs_max", strconv.FormatInt(f.MaxFile, 10)}})
}

// WriteFile makes or replaces a file with the content of r. It reads all of r
// first: the script checks the size, so that a stream which was cut does not
// replace the file.
func (f *FS) WriteFile(ctx context.Context, name string, r io.Reader, perm fs.FileMode) error {
	content, ok := r.(*bytes.Reader)
	if !ok {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		content = bytes.NewReader(data)
	}
	return f.write(ctx, name, content, int64(content.Len()), perm, time.Time{})
}

// shortText is the size in bytes up to which a text is sent in the script itself:
// a standard input may cost a connection of its own. The script must stay below
// what a backend takes as one argument: Linux 128 KiB (MAX_ARG_STRLEN, execve(2)),
// Modal 64 KiB.
const shortText = 8 << 10

func (f *FS) write(ctx context.Context, name string, r io.Reader, size int64, perm fs.FileMode, modified time.Time) error {
	vars := metadata(size, perm, modified)
	if size <= shortText {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if utf8.Valid(data) && bytes.IndexByte(data, 0) < 0 && len(shellscript.Quote(string(data))) <= 2*shortText {
			vars = append(vars, "fs_form", "text", "fs_text", string(data))
			return f.run(ctx, request{op: "write", target: newTarget(name), vars: vars})
		}
		r = bytes.NewReader(data)
	}
	return f.run(ctx, request{op: "write", target: newTarget(name), stdin: r, vars: append(vars, "fs_form", "input")})
}

// metadata returns the variables of file.sh for what a file must have before it
// is renamed to its name. A zero time leaves the time of writing.
func metadata(size int64, perm fs.FileMode, modified time.Time) []string {
	stamp := ""
	if !modified.IsZero() {
		stamp = modified.UTC().Format("200601021504.05") // for touch -t
	}
	return []string{"fs_size", strconv.FormatInt(size, 10), "fs_mode", strconv.FormatUint(uint64(perm.Perm()), 8), "fs_time", stamp}
}

// CopyTo makes name from an archive: a file as WriteFile does, but without
// holding it in memory, and a tree with tar.
func (f *FS) CopyTo(ctx context.Context, name string, r io.Reader) error {
	tr := tar.NewReader(r)
	first, err := tr.Next()
	if err != nil {
		return archive.UnexpectedEOF(err)
	}
	if archive.IsFile(first) {
		return f.write(ctx, name, tr, first.Size, first.FileInfo().Mode(), first.ModTime)
	}
	tree := archive.Repack(first, tr, func(rel string) string { return "./" + rel }, nil)
	defer tree.Close()
	return f.run(ctx, request{op: "to", target: newTarget(name), stdin: tree})
}

// CopyFrom writes the file or directory name to w as an archive: a file with cat,
// a tree with tar.
func (f *FS) CopyFrom(ctx context.Context, name string, w io.Writer) error {
	out := &archiveWriter{w: w}
	if err := f.run(ctx, request{op: "from", target: newTarget(name), stdout: out}); err != nil {
		return err
	}
	return out.end()
}

// Clean removes the temporary files that failed writes may have left. It is called
// once their scripts have ended.
func (f *FS) Clean(ctx context.Context) {
	f.mu.Lock()
	unfinished := f.unfinished
	f.unfinished = nil
	f.mu.Unlock()
	for _, t := range unfinished {
		_ = f.run(ctx, request{op: "clean", target: t}) // nobody is left to tell
	}
}
