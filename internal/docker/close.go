//go:build !terminal_nodocker

// This file ends what runs in the container: one run, or all of it.

package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/terminal-go/terminal/internal/procfs"
)

// Survivors reports whether a run left processes behind, once for each run.
func (x *Executor) Survivors(runID string) bool { return x.shells.Survivors(runID) }

// Kill ends every process of a run. Root in the container has CAP_KILL but not
// CAP_SYS_PTRACE, so it cannot read /proc/PID/environ of other users (proc(5));
// the sweep is therefore repeated as each user that has processes.
func (x *Executor) Kill(ctx context.Context, runID string) error {
	if runID == "" {
		return errors.New("docker: kill run: no run id")
	}
	if x.plain {
		return x.killAs(ctx, x.cfg.User, runID)
	}
	answer, err := x.shells.Script(ctx, procfs.SweepAndStrangersScript(runID), maxAnswer)
	var strangers []user
	if err == nil {
		strangers, err = parseUsers(answer)
	}
	if err == nil && slices.ContainsFunc(strangers, func(u user) bool { return u.uid == 0 }) {
		// Under no-new-privileges, a user who is not root cannot start processes
		// as root, and must not make root execute a program of the container.
		var root bool
		if root, err = x.runsAsRoot(ctx); !root {
			strangers = slices.DeleteFunc(strangers, func(u user) bool { return u.uid == 0 })
		}
	}
	if err != nil {
		if gone := x.Ping(ctx); gone != nil {
			return gone
		}
		return fmt.Errorf("docker: kill run: %w", err)
	}
	for _, stranger := range strangers {
		if err := x.killAs(ctx, stranger.String(), runID); err != nil {
			return err
		}
	}
	return nil
}

// killAs ends the processes of a run that user can see.
func (x *Executor) killAs(ctx context.Context, user, runID string) error {
	out, code, err := x.execAs(ctx, user, []string{"sh", "-c", procfs.SweepScript(runID)}, nil)
	if err == nil && code != 0 {
		err = fmt.Errorf("code %d: %s", code, strings.TrimSpace(out))
	}
	if err != nil {
		return fmt.Errorf("docker: kill run as user %q: %w", user, err)
	}
	return nil
}

// Close removes the container and waits for the running commands to return.
func (x *Executor) Close(ctx context.Context) error {
	if first := x.Life.Close(); !first {
		return nil
	}
	err := remove(ctx, x.daemon, x.id)
	err = errors.Join(err, x.shells.Close(ctx), x.Wait(ctx))
	return errors.Join(err, x.daemon.Close())
}
