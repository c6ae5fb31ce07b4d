//go:build !terminal_nomodal

// The shells in a sandbox.

package modal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	sdk "github.com/modal-labs/modal-client/go"

	"github.com/terminal-go/terminal/internal/capture"
	"github.com/terminal-go/terminal/internal/lane"
	"github.com/terminal-go/terminal/internal/spawn"
)

// start dials the first shell and creates the working directory.
func (x *Executor) start(ctx context.Context, o spawn.Opening) error {
	leashed := spawn.Async(func() error { return x.hold(ctx) })
	s, err := x.dial(ctx)
	if err = errors.Join(err, leashed()); err != nil {
		return x.cfg.refused("start a shell in sandbox "+x.sandbox.SandboxID, err)
	}
	limit := time.NewTimer(lane.ReadyLimit)
	defer limit.Stop()
	select {
	case <-s.Ready():
	case <-limit.C:
		return fmt.Errorf("%w: modal: no answer from the shell in sandbox %s after %v", spawn.ErrNotStarted, x.sandbox.SandboxID, lane.ReadyLimit)
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.Err(); err != nil {
		if gone := x.settled(ctx); gone != nil {
			return fmt.Errorf("%w: %w", spawn.ErrNotStarted, gone)
		}
		return fmt.Errorf("%w: modal: image %s has no usable sh, and commands need one: %w; choose an image with a shell", spawn.ErrUnavailable, x.cfg.Image, err)
	}
	x.shells.Give(s)
	if o.Dir == "" || o.Dir == "/" || o.Dir == "/tmp" {
		return nil
	}
	said := capture.NewAnswer(1000)
	code, err := x.Exec(ctx, spawn.Command{
		Script: `mkdir -p -- "$TERMINAL_DIR"`,
		Dir:    "/",
		Env:    map[string]string{"TERMINAL_DIR": o.Dir, spawn.RunIDEnv: spawn.NewRunID()},
		Stdout: said,
		Stderr: said,
	})
	if err == nil && code != 0 {
		return fmt.Errorf("%w: modal: make directory %s: code %d: %s", spawn.ErrUnavailable, o.Dir, code, bytes.TrimSpace(said.End()))
	}
	return err
}

// dial starts another shell in the sandbox.
func (x *Executor) dial(ctx context.Context) (*lane.Shell, error) {
	if x.isSuspect() { // the SDK would retry for ten seconds if the sandbox has ended
		if gone := x.state(ctx); gone != nil {
			return nil, gone
		}
	}
	p, err := x.sandbox.Exec(ctx, lane.Argv(x.cfg.Shell), &sdk.SandboxExecParams{Env: map[string]string{spawn.RunIDEnv: x.id}})
	if err != nil {
		x.setSuspect(true)
		return nil, err
	}
	in := x.newStdin(p.Stdin)
	s := &lane.Shell{Lane: lane.New(in), HangUp: func() {
		_ = in.Close()
		_ = p.Stdout.Close()
		_ = p.Stderr.Close()
	}}
	in.fail = s.HangUp
	return s, x.shells.Adopt(s, func() error {
		err := readBoth(s, p)
		x.setSuspect(true)
		return err
	})
}

// readBoth copies both streams of a shell to its lane until they have ended. The
// second gets streamGrace after the first: the shell has exited then.
func readBoth(s *lane.Shell, p *sdk.ContainerProcess) error {
	ended := make(chan error, 2)
	copying := func(to io.Writer, from io.Reader) {
		_, err := io.Copy(to, from)
		ended <- err
	}
	go copying(s.Stdout(), p.Stdout)
	go copying(s.Stderr(), p.Stderr)
	err := <-ended
	grace := time.AfterFunc(streamGrace, func() {
		_ = p.Stdout.Close()
		_ = p.Stderr.Close()
	})
	defer grace.Stop()
	if second := <-ended; err == nil && grace.Stop() {
		err = second
	}
	return err
}
