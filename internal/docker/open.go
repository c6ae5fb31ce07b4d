//go:build !terminal_nodocker

// This file holds Check and Open: they connect, pull if needed, create and start the container.

package docker

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/terminal-go/terminal/internal/procfs"
	"github.com/terminal-go/terminal/internal/spawn"
)

// Check returns an error that distinguishes a missing daemon, a missing
// permission, an outdated daemon, and a missing image that must not be pulled.
func Check(ctx context.Context, cfg Config) error {
	cfg, err := cfg.complete()
	if err != nil {
		return fmt.Errorf("%w: %w", spawn.ErrUnavailable, err)
	}
	dm, err := cfg.connect(ctx)
	if err != nil {
		return err
	}
	defer dm.Close()
	if cfg.Pull != PullNever {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, daemonTimeout)
	defer cancel()
	if _, err := dm.ImageInspect(ctx, cfg.Image); errdefs.IsNotFound(err) {
		return cfg.noImage(dm)
	} else if err != nil {
		return fmt.Errorf("%w: docker: image %s: %w", spawn.ErrUnavailable, cfg.Image, err)
	}
	return nil
}

// Open creates and starts the task's container, and pulls the image if needed.
// Meanwhile it removes the containers of dead owners, once for each daemon.
func Open(ctx context.Context, cfg Config, task string) (*Executor, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", spawn.ErrUnavailable, err)
	}
	dm, err := cfg.connect(ctx)
	if err != nil {
		return nil, err
	}
	o := spawn.OpeningFrom(ctx)
	self := procfs.Self()
	sweep := func() error { return nil }
	if o.Once("docker " + dm.DaemonHost()) {
		sweep = spawn.Async(func() error { return removeOrphans(ctx, dm, self) })
	}
	x, err := cfg.open(ctx, dm, o, task, self)
	if orphans := sweep(); orphans != nil {
		o.Log.Warn("containers of earlier owners not removed", "backend", "docker", "error", orphans)
	}
	if err != nil {
		_ = dm.Close()
		return nil, err
	}
	return x, nil
}

// open creates and starts the container. If starting fails, it removes it.
func (cfg Config) open(ctx context.Context, dm daemon, o spawn.Opening, task string, self procfs.Owner) (*Executor, error) {
	if cfg.Pull == PullAlways {
		if err := cfg.pull(ctx, dm, o.Log); err != nil {
			return nil, err
		}
	}
	x, err := cfg.create(ctx, dm, o, task, self)
	if errdefs.IsNotFound(err) { // ContainerCreate: 404 means no such image
		if cfg.Pull == PullNever {
			return nil, cfg.noImage(dm)
		}
		if err := cfg.pull(ctx, dm, o.Log); err != nil {
			return nil, err
		}
		x, err = cfg.create(ctx, dm, o, task, self)
	}
	if err != nil {
		return nil, cfg.refused("create container", dm, err)
	}
	if err := x.start(ctx, o); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), spawn.LingerLimit)
		defer cancel()
		return nil, errors.Join(err, x.Close(ctx))
	}
	return x, nil
}

// refused wraps an error of the daemon: a bad request is ErrUnavailable, because
// a retry cannot help; any other failure is ErrNotStarted.
func (cfg Config) refused(op string, dm daemon, err error) error {
	at := fmt.Sprintf("docker: %s from %s", op, cfg.Image)
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", at, err)
	case errdefs.IsInvalidArgument(err), errdefs.IsNotFound(err), errdefs.IsPermissionDenied(err), errdefs.IsNotImplemented(err):
		return fmt.Errorf("%w: %s: %w; correct the field of Docker that asks for it", spawn.ErrUnavailable, at, err)
	default:
		return fmt.Errorf("%w: %s: %w; if it stays, correct the field of Docker that it names, or look at the log and the free disk space of the daemon at %s", spawn.ErrNotStarted, at, err, dm.DaemonHost())
	}
}
