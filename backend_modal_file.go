//go:build !terminal_nomodal

package terminal

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
	"unicode/utf8"
)

// The SDK's file system calls run a program of Modal's in the sandbox. It makes
// missing directories, keeps no mode and does not say whether it replaces at
// once; and a call of it takes four round trips, where a command takes one. But
// it takes its input as one stream, where a command's input goes in pieces that
// wait for each other. So it serves for the content of a large file, between
// two commands that see to the rest. All else goes through Exec.

// largeFile is the size from which on that is worth its calls.
const largeFile = 4 * stdinChunk

// ReadFile leaves reading to Exec, whose output comes as a stream too.
func (x *modalExecutor) ReadFile(context.Context, string, io.Writer) error {
	return errors.ErrUnsupported
}

// CopyFrom leaves reading to Exec, whose output comes as a stream too.
func (x *modalExecutor) CopyFrom(context.Context, string, io.Writer) error {
	return errors.ErrUnsupported
}

// WriteFile sends a large file through the SDK; see FileSystem.
func (x *modalExecutor) WriteFile(ctx context.Context, name string, r io.Reader, perm fs.FileMode) error {
	sized, ok := r.(interface{ Len() int })
	if !ok || sized.Len() < largeFile {
		return errors.ErrUnsupported
	}
	return x.send(ctx, name, r, int64(sized.Len()), perm, time.Time{})
}

// CopyTo sends a large file through the SDK; see FileSystem. Trees go through
// tar, whose input can only be a command's.
func (x *modalExecutor) CopyTo(ctx context.Context, name string, archive io.Reader) error {
	tr := tar.NewReader(archive)
	first, err := tr.Next()
	switch {
	case err != nil:
		return cutShort(err)
	case !isFile(first) || first.Size < largeFile:
		return errors.ErrUnsupported
	}
	return x.send(ctx, name, tr, first.Size, first.FileInfo().Mode(), first.ModTime)
}

// send writes a file by way of a local one, because the SDK wants to go back in
// it where a stream broke.
func (x *modalExecutor) send(ctx context.Context, name string, r io.Reader, size int64, perm fs.FileMode, changed time.Time) error {
	if x.withoutTools.Load() || !utf8.ValidString(name) {
		return errors.ErrUnsupported
	}
	if err := x.begin(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	defer x.end()
	local, err := spool(contextReader{ctx, r}, size)
	if err != nil {
		return err
	}
	defer os.Remove(local)

	files, temp := &execFiles{ex: x}, tempName()
	at, err := files.ask(ctx, "begin", name, "fs_temp", temp)
	if err != nil {
		return err
	}
	err = errors.ErrUnsupported
	if utf8.ValidString(at) {
		err = x.upload(ctx, local, at)
	}
	if err == nil {
		err = files.do(ctx, "commit", name, nil, nil, append(commitVars(size, perm, changed), "fs_temp", temp)...)
	}
	if err == nil {
		return nil
	}
	if x.ctx.Err() != nil {
		return ErrClosed
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepLimit)
	defer cancel()
	_ = files.exec(cleanup, "abort", nil, nil, "fs_name", name, "fs_temp", temp)
	return err
}

// spool puts a file's content into a local one.
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

// upload fills a file in the sandbox. The SDK would ask a sandbox that has ended
// for ever, so the call ends with it too. What else goes wrong is left to Exec to
// find out, which has words for it.
func (x *modalExecutor) upload(ctx context.Context, local, remote string) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(x.ctx, func() { end(ErrClosed) })()
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		select {
		case <-x.gone:
			end(x.why)
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
