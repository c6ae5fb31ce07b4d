//go:build !terminal_nomodal

// The end of a run, and of the sandbox.

package modal

import (
	"context"
	"errors"
	"fmt"

	"github.com/terminal-go/terminal/internal/procfs"
	"github.com/terminal-go/terminal/internal/spawn"
)

// Survivors reports whether a run left processes behind; see terminal.Survivors.
func (x *Executor) Survivors(runID string) bool { return x.shells.Survivors(runID) }

// Kill ends every process of a run; see terminal.Killer.
func (x *Executor) Kill(ctx context.Context, runID string) error {
	if runID == "" {
		return errors.New("modal: kill run: no run id")
	}
	if _, err := x.shells.Script(ctx, procfs.SweepScript(runID), 0); err != nil {
		if gone := x.Ping(ctx); gone != nil {
			return gone
		}
		return fmt.Errorf("modal: kill run: %w", err)
	}
	return nil
}

// Close terminates the sandbox with everything that runs in it.
func (x *Executor) Close(ctx context.Context) error {
	if first := x.Life.Close(); !first {
		return nil
	}
	err := terminate(ctx, x.sandbox)
	err = errors.Join(err, x.shells.Close(ctx), x.Wait(ctx), spawn.Wait(ctx, &x.watches), spawn.Wait(ctx, &x.calls))
	err = errors.Join(err, x.sandbox.Detach())
	x.workspace.close()
	return err
}
