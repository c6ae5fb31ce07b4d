//go:build !terminal_nodocker

// This file runs commands as single execs, without a lane.

package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/terminal-go/terminal/internal/capture"
	"github.com/terminal-go/terminal/internal/lane"
	"github.com/terminal-go/terminal/internal/procfs"
	"github.com/terminal-go/terminal/internal/spawn"
)

// maxPollInterval is the longest delay between two polls of an exec: the Engine
// API has no request that waits for the end of an exec.
const maxPollInterval = 250 * time.Millisecond

// execPlain runs a command as an exec of its own. Its errors are those of package
// lane.
func (x *Executor) execPlain(ctx context.Context, c spawn.Command) (int, error) {
	if err := x.checkDir(ctx, c.Dir); err != nil {
		return 0, fmt.Errorf("%w: %w", lane.ErrNotStarted, err)
	}
	env := make([]string, 0, len(c.Env))
	for name, value := range c.Env {
		env = append(env, name+"="+value)
	}
	shell := cmp.Or(x.cfg.Shell, "sh")
	cmd := []string{shell, "-c", c.Script}
	if capture.Same(c.Stdout, c.Stderr) { // the Engine does not preserve the order of two pipes
		cmd = []string{shell, "-c", `exec "$0" -c "$1" 2>&1`, shell, c.Script}
	}
	e, err := x.startPlain(ctx, client.ExecCreateOptions{
		Cmd:         cmd,
		Env:         env,
		WorkingDir:  c.Dir,
		AttachStdin: c.Stdin != nil, AttachStdout: true, AttachStderr: true,
	}, c.Stdin, c.Stdout, c.Stderr)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", lane.ErrNotStarted, err)
	}
	code, err := e.wait(ctx)
	if ctx.Err() == nil || x.Context().Err() != nil {
		e.drain()
		if spawn.MayLeaveProcesses(c.Script) {
			x.shells.NoteSurvivors(c.Env[spawn.RunIDEnv]) // guessed from the script
		}
		return code, err
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), spawn.EndLimit)
	defer cancel()
	_, _, _ = x.execAs(cleanup, x.cfg.User, []string{"sh", "-c", procfs.TermScript(c.Env[spawn.RunIDEnv])}, nil)
	e.drain()
	return code, ctx.Err()
}

// checkDir returns a *fs.PathError for a bad directory: a failed exec has only text.
func (x *Executor) checkDir(ctx context.Context, dir string) error {
	found, err := x.daemon.ContainerStatPath(ctx, x.id, client.ContainerStatPathOptions{Path: dir})
	switch {
	case errdefs.IsNotFound(err) && x.state(ctx) == nil:
		return &fs.PathError{Op: "chdir", Path: dir, Err: fs.ErrNotExist}
	case err == nil && found.Stat.LinkTarget == "" && !found.Stat.Mode.IsDir():
		return &fs.PathError{Op: "chdir", Path: dir, Err: syscall.ENOTDIR}
	}
	return err
}

// plainExec is a running exec of the Engine API.
type plainExec struct {
	x      *Executor
	id     string
	conn   client.HijackedResponse
	output []*capture.Tracker
	ended  chan struct{} // closed after the last output
	reader error         // how the output ended; valid once ended is closed
}

// startPlain starts an exec and the goroutines that copy its streams.
func (x *Executor) startPlain(ctx context.Context, options client.ExecCreateOptions, stdin io.Reader, stdout, stderr io.Writer) (*plainExec, error) {
	created, err := x.daemon.ExecCreate(ctx, x.id, options)
	if err != nil {
		return nil, err
	}
	a, err := x.daemon.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return nil, err
	}
	out, errs := capture.NewTracker(stdout), capture.NewTracker(stderr)
	e := &plainExec{x: x, id: created.ID, conn: a.HijackedResponse, output: []*capture.Tracker{out, errs}, ended: make(chan struct{})}
	go func() {
		defer close(e.ended)
		_, e.reader = stdcopy.StdCopy(out, errs, e.conn.Reader)
	}()
	if stdin != nil {
		go func() { // ends with stdin, or at the first write after drain
			_, _ = io.Copy(e.conn.Conn, stdin)
			_ = e.conn.CloseWrite()
		}()
	}
	return e, nil
}

// wait returns the exec's exit code. Right after the start, ExecInspect may still
// report Running false and code 0, so that counts as the end only if the exec had
// a pid (which Podman forgets), was seen running or has another code, or
// settleLimit after the end of the output.
func (e *plainExec) wait(ctx context.Context) (int, error) {
	ended, ran := e.ended, false
	var quiet <-chan time.Time
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, maxPollInterval) {
		found, err := e.x.daemon.ExecInspect(ctx, e.id, client.ExecInspectOptions{})
		ran = ran || found.Running || found.PID != 0 || found.ExitCode != 0
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case err != nil:
			return 0, fmt.Errorf("%w: %w", lane.ErrBroken, err)
		case !found.Running && ran:
			return found.ExitCode, nil
		}
		select {
		case <-time.After(pause):
		case <-ended:
			ended = nil
			quiet = time.After(settleLimit)
		case <-quiet:
			if !found.Running {
				return found.ExitCode, nil
			}
			return 0, fmt.Errorf("%w: %w", lane.ErrBroken, errors.Join(errors.New("the exec's output ended, but it is said to run"), e.reader))
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// drain waits for output in transit and closes the connection. The wait is
// bounded by time, because the Engine does not report what is still to come.
func (e *plainExec) drain() {
	capture.Drain(e.ended, true, e.output...)
	e.conn.Close()
	<-e.ended
}

// execAs runs a program as a user and returns its output and exit code.
func (x *Executor) execAs(ctx context.Context, user string, argv []string, stdin io.Reader) (string, int, error) {
	out := capture.NewAnswer(maxStderr)
	e, err := x.startPlain(ctx, client.ExecCreateOptions{
		User:        user,
		WorkingDir:  "/", // as in dial
		Cmd:         argv,
		AttachStdin: stdin != nil, AttachStdout: true, AttachStderr: true,
	}, stdin, out, out)
	if err != nil {
		return "", 0, err
	}
	code, err := e.wait(ctx)
	e.drain()
	return string(out.End()), code, err
}
