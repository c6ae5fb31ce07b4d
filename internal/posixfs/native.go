// Operations for a backend that has its own way to transfer files, which knows
// neither the user's rights nor atomic replacement.

package posixfs

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/terminal-go/terminal/internal/archive"
	"github.com/terminal-go/terminal/internal/shellscript"
)

// maxAnswer is the length in bytes of the longest answer of file.sh: a path of at
// most 4,095 bytes and a number.
const maxAnswer = 8 << 10

// ask runs an operation of file.sh that answers with one line.
func (f *FS) ask(ctx context.Context, r request) (string, error) {
	answer := shellscript.NewShortAnswer(maxAnswer)
	r.stdout = answer
	r.vars = append(r.vars, "fs_word", answer.Word())
	if err := f.run(ctx, r); err != nil {
		return "", err
	}
	return answer.Text()
}

// A Direction says which way a tree is to be copied.
type Direction string

// The directions of RootPath.
const (
	To   Direction = "to"   // into the environment
	From Direction = "from" // out of it
)

// RootPath returns the real path of the directory name and the group ID of the
// user, for a backend that works on the environment's root file system from
// outside and as root. It returns errors.ErrUnsupported where that would not be
// the same as what a command sees and may do: if the user is not root, if
// something is mounted at, above or below the path, if it has unusual characters,
// or if name cannot be copied at all.
func (f *FS) RootPath(ctx context.Context, d Direction, name string) (dir string, gid int, err error) {
	answer, err := f.ask(ctx, request{op: "place", target: newTarget(name), vars: []string{"fs_for", string(d)}})
	if archive.IsPathError(err) {
		return "", 0, errors.ErrUnsupported
	}
	if err != nil {
		return "", 0, err
	}
	id, dir, _ := strings.Cut(answer, " ")
	group, err := strconv.ParseUint(id, 10, 31)
	if err != nil || !path.IsAbs(dir) || path.Clean(dir) != dir {
		return "", 0, errors.ErrUnsupported
	}
	return dir, int(group), nil
}

// Diagnose returns the reason why nothing could be copied to name. It is called
// after a failure for which the backend has only words. If a syscall.Errno is in
// the error's chain, that is the reason; else there is none to be found.
func (f *FS) Diagnose(ctx context.Context, name string) error {
	return f.run(ctx, request{op: "why", target: newTarget(name)})
}

// An Upload is a file that a backend fills in its own way, between Begin and
// Commit or Abort.
type Upload struct {
	fs *FS
	target

	// Path is the path of the empty temporary file to fill.
	Path string
}

// Begin makes an empty file beside name, which Commit renames to it.
func (f *FS) Begin(ctx context.Context, name string) (*Upload, error) {
	u := &Upload{fs: f, target: newTarget(name)}
	var err error
	if u.Path, err = f.ask(ctx, request{op: "begin", target: u.target}); err != nil {
		return nil, err
	}
	return u, nil
}

// Commit sets the mode and the time of the file, unless that is zero, and replaces
// name with it. It returns io.ErrUnexpectedEOF if the file does not have size
// bytes, and errors.ErrUnsupported if it does not belong to the user.
func (u *Upload) Commit(ctx context.Context, size int64, perm fs.FileMode, modified time.Time) error {
	return u.fs.run(ctx, request{op: "commit", target: u.target, vars: metadata(size, perm, modified)})
}

// Abort ends the processes that have the temporary file's name in their arguments,
// and removes the file.
func (u *Upload) Abort(ctx context.Context) error {
	return u.fs.run(ctx, request{op: "abort", target: u.target})
}
