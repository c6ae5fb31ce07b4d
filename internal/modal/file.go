//go:build !terminal_nomodal

// Files: large ones through the SDK, all others through Exec.

package modal

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
	"unicode/utf8"

	"github.com/terminal-go/terminal/internal/archive"
	"github.com/terminal-go/terminal/internal/posixfs"
	"github.com/terminal-go/terminal/internal/spawn"
)

// The SDK's file system calls run a program of Modal's in the sandbox. It creates
// missing directories, does not keep the mode, and need not replace a file
// atomically; and a call takes four round trips where a command takes one. But its
// input is one stream, while a command's is sent in chunks of which each waits for
// the one before. So the SDK sends the content of a large file, between two scripts
// that do the rest. Everything else goes through Exec.

// largeFile is the size in bytes from which the SDK is faster.
const largeFile = 4 * stdinChunk

// ReadFile returns errors.ErrUnsupported: the output of Exec is a stream too.
func (x *Executor) ReadFile(context.Context, string, io.Writer) error {
	return errors.ErrUnsupported
}

// CopyFrom returns errors.ErrUnsupported: the output of Exec is a stream too.
func (x *Executor) CopyFrom(context.Context, string, io.Writer) error {
	return errors.ErrUnsupported
}

// WriteFile sends a large file through the SDK; see terminal.FileSystem.
func (x *Executor) WriteFile(ctx context.Context, name string, r io.Reader, perm fs.FileMode) error {
	sized, ok := r.(interface{ Len() int })
	if !ok || sized.Len() < largeFile {
		return errors.ErrUnsupported
	}
	return x.send(ctx, name, r, int64(sized.Len()), perm, time.Time{})
}

// CopyTo sends a large file through the SDK; see terminal.FileSystem. A tree
// needs tar, which takes it as the input of a command.
func (x *Executor) CopyTo(ctx context.Context, name string, content io.Reader) error {
	tr := tar.NewReader(content)
	first, err := tr.Next()
	switch {
	case err != nil:
		return archive.UnexpectedEOF(err)
	case !archive.IsFile(first) || first.Size < largeFile:
		return errors.ErrUnsupported
	}
	return x.send(ctx, name, tr, first.Size, first.FileInfo().Mode(), first.ModTime)
}

// send writes a file by way of a local one, in which the SDK seeks back when a
// stream breaks.
func (x *Executor) send(ctx context.Context, name string, r io.Reader, size int64, perm fs.FileMode, modified time.Time) error {
	if x.withoutTools.Load() || !utf8.ValidString(name) {
		return errors.ErrUnsupported
	}
	use, end, err := x.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	local, err := spool(archive.NewContextReader(ctx, r), size)
	if err != nil {
		return err
	}
	defer os.Remove(local)

	files := &posixfs.FS{Exec: x.execScript}
	upload, err := files.Begin(ctx, name)
	if err != nil {
		return err
	}
	err = errors.ErrUnsupported
	if utf8.ValidString(upload.Path) {
		err = x.upload(use, local, upload.Path)
	}
	if err == nil {
		err = upload.Commit(ctx, size, perm, modified)
	}
	if err == nil {
		return nil
	}
	if x.Context().Err() != nil {
		return spawn.ErrClosed
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortLimit)
	defer cancel()
	_ = upload.Abort(cleanup)
	return err
}

// abortLimit bounds the removal of a file that could not be completed.
const abortLimit = 10 * time.Second

// execScript runs a script of this module with a run ID of its own.
func (x *Executor) execScript(ctx context.Context, c spawn.Command) (int, error) {
	c.Env = spawn.MergeEnv(c.Env, map[string]string{spawn.RunIDEnv: spawn.NewRunID()})
	return x.Exec(ctx, c)
}

// spool copies content to a temporary file of this machine.
func spool(r io.Reader, size int64) (name string, err error) {
	f, err := os.CreateTemp("", "terminal-*")
	if err != nil {
		return "", err
	}
	n, err := io.Copy(f, r)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// upload copies a local file into one of the sandbox. The SDK would retry for ever
// if the sandbox has ended, so the call ends with the sandbox too. For any other
// failure it returns errors.ErrUnsupported, and Exec finds the reason.
func (x *Executor) upload(ctx context.Context, local, remote string) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		select {
		case <-x.Gone():
			end(x.Life.Err())
		case <-ctx.Done():
		}
	}()
	defer func() { <-watching }()
	defer end(nil)
	err := x.sandbox.Filesystem.CopyFromLocal(ctx, local, remote, nil)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	if gone := x.state(ctx); gone != nil {
		return gone
	}
	x.withoutTools.Store(true)
	return errors.ErrUnsupported
}
