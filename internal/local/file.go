// Files of this machine.

package local

import (
	"context"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/terminal-go/terminal/internal/archive"
	"github.com/terminal-go/terminal/internal/posixfs"
	"github.com/terminal-go/terminal/internal/spawn"
)

// ReadFile reads a file of this machine; see terminal.FileSystem.
func (x *Executor) ReadFile(ctx context.Context, name string, w io.Writer) error {
	ctx, end, err := x.Begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := readFile(ctx, name, w); err != nil {
		return archive.HostError("read", name, err)
	}
	return nil
}

func readFile(ctx context.Context, name string, w io.Writer) error {
	f, info, err := archive.OpenRegular(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if info.Size() > spawn.MaxFile {
		return posixfs.TooLarge(spawn.MaxFile)
	}
	_, err = io.Copy(w, archive.NewContextReader(ctx, f))
	return err
}

// WriteFile writes a file of this machine; see terminal.FileSystem.
func (x *Executor) WriteFile(ctx context.Context, name string, r io.Reader, perm fs.FileMode) error {
	ctx, end, err := x.Begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	err = archive.ReplaceFile(name, perm.Perm(), time.Time{}, func(f *os.File) error {
		if _, err := io.Copy(f, archive.NewContextReader(ctx, r)); err != nil {
			return err
		}
		return context.Cause(ctx)
	})
	if err != nil {
		return archive.HostError("write", name, err)
	}
	return nil
}

// CopyTo unpacks an archive on this machine; see terminal.FileSystem.
func (x *Executor) CopyTo(ctx context.Context, name string, r io.Reader) error {
	ctx, end, err := x.Begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	return archive.Unpack(archive.NewContextReader(ctx, r), name)
}

// CopyFrom packs a file or tree of this machine; see terminal.FileSystem.
func (x *Executor) CopyFrom(ctx context.Context, name string, w io.Writer) error {
	ctx, end, err := x.Begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	from, err := archive.Open(name)
	if err != nil {
		return archive.HostError("copy", name, err)
	}
	defer from.Close()
	return from.Pack(ctx, w)
}
