//go:build !terminal_nodocker

// This file copies directory trees through the archive API; single files go through Exec.

package docker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"github.com/moby/moby/client"

	"github.com/terminal-go/terminal/internal/archive"
	"github.com/terminal-go/terminal/internal/posixfs"
	"github.com/terminal-go/terminal/internal/spawn"
)

// The Engine's archive API (/containers/{id}/archive) needs no tar in the image.
// But it acts as root outside the container: it ignores permissions and mounts,
// and writes files in place. It is therefore used only for trees, if commands run
// as root and nothing is mounted there.

// ReadFile returns errors.ErrUnsupported: Exec has the permissions of the user and
// sees mounts.
func (x *Executor) ReadFile(context.Context, string, io.Writer) error {
	return errors.ErrUnsupported
}

// WriteFile returns errors.ErrUnsupported: Exec can replace a file atomically.
func (x *Executor) WriteFile(context.Context, string, io.Reader, fs.FileMode) error {
	return errors.ErrUnsupported
}

// CopyTo unpacks a tree through the archive API; see terminal.FileSystem.
func (x *Executor) CopyTo(ctx context.Context, name string, content io.Reader) error {
	tr := tar.NewReader(content)
	first, err := tr.Next()
	switch {
	case err != nil:
		return archive.UnexpectedEOF(err)
	case first.Typeflag != tar.TypeDir:
		return errors.ErrUnsupported
	}
	return x.transfer(ctx, func(ctx context.Context) error {
		dir, gid, err := x.rootPath(ctx, posixfs.To, name)
		if err != nil {
			return err
		}
		dir = strings.TrimPrefix(dir, "/")
		r := archive.Repack(first, tr, func(rel string) string { return path.Join(dir, rel) }, func(h *tar.Header) { h.Gid = gid })
		defer r.Close()
		// The destination is / because the Engine refuses links that lead out of
		// the destination.
		_, err = x.daemon.CopyToContainer(ctx, x.id, client.CopyToContainerOptions{DestinationPath: "/", Content: r})
		if err == nil || ctx.Err() != nil {
			return err
		}
		// The daemon reports the cause only as text, so a script determines it.
		var errno syscall.Errno
		if why := x.files().Diagnose(ctx, name); errors.As(why, &errno) {
			return why
		}
		return fmt.Errorf("docker: copy to %s in container %.12s: %w", name, x.id, err)
	})
}

// CopyFrom packs a tree through the archive API; see terminal.FileSystem.
func (x *Executor) CopyFrom(ctx context.Context, name string, content io.Writer) error {
	return x.transfer(ctx, func(ctx context.Context) error {
		dir, _, err := x.rootPath(ctx, posixfs.From, name)
		if err != nil {
			return err
		}
		from, err := x.daemon.CopyFromContainer(ctx, x.id, client.CopyFromContainerOptions{SourcePath: dir})
		if err != nil {
			return fmt.Errorf("docker: copy from %s in container %.12s: %w", name, x.id, err)
		}
		defer from.Content.Close()
		if !from.Stat.Mode.IsDir() {
			return errors.ErrUnsupported
		}
		_, err = io.Copy(content, from.Content)
		return err
	})
}

// rootPath returns the path of name in the archive API, or errors.ErrUnsupported
// if commands do not run as root.
func (x *Executor) rootPath(ctx context.Context, d posixfs.Direction, name string) (dir string, gid int, err error) {
	root, err := x.runsAsRoot(ctx)
	if err != nil {
		return "", 0, err
	}
	if !root {
		return "", 0, errors.ErrUnsupported
	}
	return x.files().RootPath(ctx, d, name)
}

// transfer calls f while the executor is in use, so that Close waits for it.
func (x *Executor) transfer(ctx context.Context, f func(context.Context) error) error {
	use, end, err := x.Begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	err = f(use)
	if err != nil && x.Context().Err() != nil {
		return spawn.ErrClosed
	}
	return err
}

// files returns the container's file system as seen by commands.
func (x *Executor) files() *posixfs.FS { return &posixfs.FS{Exec: x.execScript} }

// execScript runs one of this module's scripts with a run ID of its own.
func (x *Executor) execScript(ctx context.Context, c spawn.Command) (int, error) {
	c.Env = spawn.MergeEnv(c.Env, map[string]string{spawn.RunIDEnv: spawn.NewRunID()})
	return x.Exec(ctx, c)
}
