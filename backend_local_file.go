package terminal

import (
	"context"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// filing is the use of an Executor by a method that moves files: it ends with
// ctx and with the Executor.
func (x *localExecutor) filing(ctx context.Context) (context.Context, func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, notStarted(err)
	}
	if err := x.begin(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(x.ctx, func() { cancel(context.Cause(x.ctx)) })
	return ctx, func() {
		stop()
		cancel(nil)
		x.running.Done()
	}, nil
}

// ReadFile reads a file of this machine; see FileSystem.
func (x *localExecutor) ReadFile(ctx context.Context, name string, w io.Writer) error {
	ctx, done, err := x.filing(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := readFile(ctx, name, w); err != nil {
		return hostError("read", name, err)
	}
	return nil
}

func readFile(ctx context.Context, name string, w io.Writer) error {
	f, err := os.OpenFile(name, os.O_RDONLY|nonblocking, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return syscall.EISDIR
	case !info.Mode().IsRegular():
		return errSpecial
	case info.Size() > MaxFile:
		return errTooLarge
	}
	_, err = io.Copy(w, contextReader{ctx, f})
	return err
}

// contextReader reads until ctx ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// WriteFile writes a file of this machine; see FileSystem.
func (x *localExecutor) WriteFile(ctx context.Context, name string, r io.Reader, perm fs.FileMode) error {
	ctx, done, err := x.filing(ctx)
	if err != nil {
		return err
	}
	defer done()
	target, err := replaceable(name)
	if err == nil {
		err = replaceFile(target, func(f *os.File) error {
			if _, err := io.Copy(f, contextReader{ctx, r}); err != nil {
				return err
			}
			return context.Cause(ctx)
		}, perm.Perm(), time.Time{})
	}
	if err != nil {
		return hostError("write", name, err)
	}
	return nil
}

// CopyTo unpacks an archive on this machine; see FileSystem.
func (x *localExecutor) CopyTo(ctx context.Context, name string, archive io.Reader) error {
	ctx, done, err := x.filing(ctx)
	if err != nil {
		return err
	}
	defer done()
	return unpack(contextReader{ctx, archive}, name)
}

// CopyFrom packs a file or tree of this machine; see FileSystem.
func (x *localExecutor) CopyFrom(ctx context.Context, name string, archive io.Writer) error {
	ctx, done, err := x.filing(ctx)
	if err != nil {
		return err
	}
	defer done()
	from, err := openPack(name)
	if err != nil {
		return hostError("copy", name, err)
	}
	defer from.close()
	return from.pack(ctx, archive)
}
