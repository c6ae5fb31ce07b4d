//go:build !terminal_nodocker

package terminal

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/moby/client"
)

// The archive API moves trees of the container's root file system, and so needs
// no tar in the image. It works as root and from outside: it sees no tmpfs,
// asks nobody's permission, and writes a file in place. So it serves where the
// commands are root's too, for what no file system is mounted on; all else,
// and every single file, goes through Exec.

// ReadFile leaves files to Exec, which has the rights of the user and sees all
// that is mounted.
func (x *dockerExecutor) ReadFile(context.Context, string, io.Writer) error {
	return errors.ErrUnsupported
}

// WriteFile leaves files to Exec, which can replace one at once.
func (x *dockerExecutor) WriteFile(context.Context, string, io.Reader, fs.FileMode) error {
	return errors.ErrUnsupported
}

// CopyTo unpacks a tree through the archive API; see FileSystem.
func (x *dockerExecutor) CopyTo(ctx context.Context, name string, archive io.Reader) error {
	tr := tar.NewReader(archive)
	first, err := tr.Next()
	switch {
	case err != nil:
		return cutShort(err)
	case first.Typeflag != tar.TypeDir:
		return errors.ErrUnsupported
	}
	return x.filing(ctx, func(ctx context.Context) error {
		at, gid, err := x.place(ctx, "to", name)
		if err != nil {
			return err
		}
		at = strings.TrimPrefix(at, "/")
		r := repack(first, tr, func(rel string) string { return path.Join(at, rel) }, func(h *tar.Header) { h.Gid = gid })
		defer r.Close()
		// From the root on, because a link may not lead out of the destination.
		_, err = x.daemon.CopyToContainer(ctx, x.id, client.CopyToContainerOptions{DestinationPath: "/", Content: r})
		if err == nil || ctx.Err() != nil {
			return err
		}
		var errno syscall.Errno
		if why := (&execFiles{ex: x}).do(ctx, "why", name, nil, nil); errors.As(why, &errno) {
			return why // the daemon has only words for it
		}
		return fmt.Errorf("docker: copy to %s in container %.12s: %w", name, x.id, err)
	})
}

// CopyFrom packs a tree through the archive API; see FileSystem.
func (x *dockerExecutor) CopyFrom(ctx context.Context, name string, archive io.Writer) error {
	return x.filing(ctx, func(ctx context.Context) error {
		at, _, err := x.place(ctx, "from", name)
		if err != nil {
			return err
		}
		from, err := x.daemon.CopyFromContainer(ctx, x.id, client.CopyFromContainerOptions{SourcePath: at})
		if err != nil {
			return fmt.Errorf("docker: copy from %s in container %.12s: %w", name, x.id, err)
		}
		defer from.Content.Close()
		if !from.Stat.Mode.IsDir() {
			return errors.ErrUnsupported
		}
		_, err = io.Copy(archive, from.Content)
		return err
	})
}

// filing is a use of the executor that ends with ctx and with Close.
func (x *dockerExecutor) filing(ctx context.Context, f func(context.Context) error) error {
	if err := x.begin(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	defer x.running.Done()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(x.ctx, func() { end(context.Cause(x.ctx)) })()
	err := f(ctx)
	if err != nil && x.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

// place asks the container whether the archive API can have a name's tree, and
// where that is. What is wrong with it otherwise, Exec will say.
func (x *dockerExecutor) place(ctx context.Context, way, name string) (at string, gid int, err error) {
	root, err := x.runsAsRoot(ctx)
	if err != nil {
		return "", 0, err
	}
	if !root {
		return "", 0, errors.ErrUnsupported // whatever the container says
	}
	text, err := (&execFiles{ex: x}).ask(ctx, "place", name, "fs_for", way)
	if isPathError(err) {
		return "", 0, errors.ErrUnsupported
	}
	if err != nil {
		return "", 0, err
	}
	id, at, _ := strings.Cut(text, " ")
	group, err := strconv.ParseUint(id, 10, 31)
	if err != nil || !path.IsAbs(at) || path.Clean(at) != at {
		return "", 0, errors.ErrUnsupported
	}
	return at, int(group), nil
}
