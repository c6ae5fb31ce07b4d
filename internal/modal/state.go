//go:build !terminal_nomodal

// Whether the sandbox still runs.

package modal

import (
	"context"
	"errors"
	"fmt"
	"time"

	sdk "github.com/modal-labs/modal-client/go"
	"github.com/terminal-go/terminal/internal/spawn"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// setSuspect records whether the sandbox may have ended: a shell has been lost
// since it was seen alive.
func (x *Executor) setSuspect(yes bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.suspect = yes
}

func (x *Executor) isSuspect() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.suspect
}

// state returns nil if the sandbox runs or Modal does not answer, and otherwise an
// error that matches spawn.ErrGone and says what happened.
func (x *Executor) state(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	code, err := x.sandbox.Poll(ctx, nil)
	if err == nil && code == nil {
		x.setSuspect(false)
	}
	return x.verdict(code, err)
}

// verdict returns what an answer to Poll or Wait means; see state.
func (x *Executor) verdict(code *int, err error) error {
	var why error
	switch {
	case status.Code(err) == codes.NotFound || errors.As(err, &sdk.NotFoundError{}):
		why = fmt.Errorf("%w: modal: sandbox %s is not known any more", spawn.ErrGone, x.sandbox.SandboxID)
	case err != nil || code == nil:
		return nil
	case *code == 124:
		why = fmt.Errorf("%w: modal: sandbox %s reached the end of its life; raise Modal.Lifetime, %v", spawn.ErrGone, x.sandbox.SandboxID, x.cfg.Lifetime)
	case *code == 137:
		why = fmt.Errorf("%w: modal: sandbox %s was terminated or ran out of memory; if it was memory, raise Modal.MemoryMiB", spawn.ErrGone, x.sandbox.SandboxID)
	default:
		why = fmt.Errorf("%w: modal: sandbox %s ended with %d; it may have been idle for Modal.IdleTimeout, %v", spawn.ErrGone, x.sandbox.SandboxID, *code, x.cfg.IdleTimeout)
	}
	return x.setGone(why)
}

// setGone records the end of the sandbox and ends its connections. It returns why
// the sandbox is gone, which may have been recorded before.
func (x *Executor) setGone(why error) error {
	x.SetGone(why)
	x.shells.HangUp()
	return x.Life.Err()
}

// settled returns spawn.ErrGone if the sandbox has ended or ends within goneLimit,
// which may be why a stream from it broke.
func (x *Executor) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, goneLimit)
	defer cancel()
	code, err := x.sandbox.Wait(ctx, nil)
	return x.verdict(&code, err)
}

// Ping returns spawn.ErrGone if the sandbox has ended; see terminal.Pinger.
func (x *Executor) Ping(ctx context.Context) error {
	if gone := x.Life.Err(); gone != nil {
		return gone
	}
	return x.state(ctx)
}

// watch polls the sandbox while commands run, because a stream from a machine that
// is gone may block for ever.
func (x *Executor) watch(ctx context.Context) {
	next := time.NewTimer(watchFirst)
	defer next.Stop()
	for {
		select {
		case <-next.C:
			if x.state(ctx) != nil {
				return
			}
			next.Reset(watchPause)
		case <-ctx.Done():
			return
		}
	}
}

// restedLong reports whether no command ran for so long that the sandbox may have
// ended without its streams showing it. If that were noticed only after a command
// was sent, the command could not be sent to another sandbox.
func (x *Executor) restedLong() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.commands == 1 && !x.rested.IsZero() && time.Since(x.rested) > restLimit
}
