// The end of a run, and of everything.

package local

import (
	"context"
	"errors"
	"os"

	"github.com/terminal-go/terminal/internal/procfs"
	"github.com/terminal-go/terminal/internal/spawn"
)

// Kill ends every process of a run; see terminal.Killer.
func (x *Executor) Kill(ctx context.Context, runID string) error { return procfs.KillRun(ctx, runID) }

// Survivors reports whether a run left processes behind; see terminal.Survivors.
func (x *Executor) Survivors(runID string) bool { return x.leftovers.Take(runID) }

// Close ends all commands and what they left behind.
func (x *Executor) Close(ctx context.Context) error {
	if first := x.Life.Close(); !first {
		return nil
	}
	waitErr := x.Wait(ctx)
	if !x.ran.Load() {
		return waitErr
	}
	err := errors.Join(waitErr, procfs.KillRun(ctx, x.id))
	err = errors.Join(err, os.RemoveAll(x.jobHome))

	// A process that hid from KillRun may still hold a pipe. It does not keep
	// Close waiting.
	idle, cancel := context.WithTimeout(ctx, spawn.DrainMax)
	defer cancel()
	if spawn.Wait(idle, &x.pumping) == nil {
		return err
	}
	x.mu.Lock()
	for p := range x.pumps {
		_ = p.r.Close()
	}
	x.mu.Unlock()
	return errors.Join(err, spawn.Wait(ctx, &x.pumping))
}
