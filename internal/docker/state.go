//go:build !terminal_nodocker

// This file finds out whether the container runs, and why it ended.

package docker

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/terminal-go/terminal/internal/spawn"
)

const (
	// settleLimit bounds the wait for the daemon to report that a container has
	// exited after a connection into it was lost: the connection ends first.
	settleLimit = 2 * time.Second

	// settleInterval is the poll interval during that wait.
	settleInterval = 20 * time.Millisecond
)

// setGone records that the main process ended, and the reason that the daemon
// gives. If it gives none within settleLimit, the connection counts as lost.
func (x *Executor) setGone() {
	x.ending.Store(true)
	ctx, cancel := context.WithTimeout(x.Context(), settleLimit)
	defer cancel()
	var why error
	for {
		end, err := x.inspect(ctx)
		if why = end; end != nil || err != nil {
			break
		}
		time.Sleep(settleInterval)
	}
	if why == nil {
		why = fmt.Errorf("%w: docker: connection to container %.12s lost", spawn.ErrGone, x.id)
	}
	x.SetGone(why)
}

// exited is a spawn.ErrGone with the exit code of the main process.
type exited struct {
	error
	code int
}

func (e exited) Unwrap() error { return e.error }

// state returns a spawn.ErrGone with the reason if the container has ended. It
// returns nil if the container runs or the daemon does not answer.
func (x *Executor) state(ctx context.Context) error {
	end, _ := x.inspect(ctx)
	return end
}

// inspect is like state, but returns the daemon's error as err.
func (x *Executor) inspect(ctx context.Context) (end, err error) {
	found, err := x.daemon.ContainerInspect(ctx, x.id, client.ContainerInspectOptions{})
	state := found.Container.State
	switch {
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%w: docker: container %.12s was removed", spawn.ErrGone, x.id), nil
	case err != nil || state == nil || state.Running:
		return nil, err
	case state.OOMKilled:
		return exited{fmt.Errorf("%w: docker: container %.12s ran out of memory and ended with %d; give it more by Docker.Memory", spawn.ErrGone, x.id, state.ExitCode), state.ExitCode}, nil
	default:
		return exited{fmt.Errorf("%w: docker: container %.12s ended with %d", spawn.ErrGone, x.id, state.ExitCode), state.ExitCode}, nil
	}
}

// settled is called after a connection into the container broke. It returns a
// spawn.ErrGone if the container has ended or ends within settleLimit.
func (x *Executor) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	if gone := x.state(ctx); gone != nil {
		return gone
	}
	select {
	case <-x.Gone():
		return x.Life.Err()
	case <-ctx.Done():
	}
	if x.ending.Load() { // the daemon may report a restarting container as running
		<-x.Gone()
		return x.Life.Err()
	}
	return x.state(context.WithoutCancel(ctx))
}

// Ping returns a spawn.ErrGone if the container has ended.
func (x *Executor) Ping(ctx context.Context) error {
	if gone := x.Life.Err(); gone != nil {
		return gone
	}
	return x.state(ctx)
}
