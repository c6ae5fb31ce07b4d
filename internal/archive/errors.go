// The errors of this package, and what it takes to name the right path in one.

package archive

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/terminal-go/terminal/internal/capture"
	"github.com/terminal-go/terminal/internal/spawn"
)

// ErrSpecial is the error for a socket, a FIFO or a device where a file or a
// directory is wanted. It matches fs.ErrInvalid.
var ErrSpecial = spawn.Mark(errors.New("neither a file nor a directory"), fs.ErrInvalid)

var errOutside = spawn.Mark(errors.New("name leads out of the tree"), fs.ErrInvalid)

// nameError returns the error for an entry whose name leads out of the tree.
func nameError(name string) error {
	return &fs.PathError{Op: "unpack", Path: capture.Clip(name), Err: errOutside}
}

// HostError returns an *fs.PathError for name, a path on this machine, with
// err's cause. The path that err itself names is dropped: it may be a temporary
// one, or relative to an os.Root.
func HostError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: cause(err)}
}

// cause returns what the operating system said, without the path in err.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}

// IsPathError reports whether err's chain has an *fs.PathError, so that a path
// is at fault and not the way to it.
func IsPathError(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p)
}

// UnexpectedEOF converts io.EOF to io.ErrUnexpectedEOF and returns any other
// error unchanged.
func UnexpectedEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
