//go:build !terminal_nodocker

package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/terminal-go/terminal/internal/lane"
)

// plainPoll is the longest pause between two questions whether a plain exec
// has ended: the API has no way to wait for that.
const plainPoll = 250 * time.Millisecond

// execPlain runs a command as an exec of its own, where the image's sh is no
// good for lanes. Its errors are those of package lane.
func (x *dockerExecutor) execPlain(ctx context.Context, c Command) (int, error) {
	if err := x.checkDir(ctx, c.Dir); err != nil {
		return 0, fmt.Errorf("%w: %w", lane.ErrNotStarted, err)
	}
	env := make([]string, 0, len(c.Env))
	for name, value := range c.Env {
		env = append(env, name+"="+value)
	}
	shell := x.docker.Shell
	if shell == "" {
		shell = "sh"
	}
	cmd := []string{shell, "-c", c.Script}
	if same(c.Stdout, c.Stderr) { // the Engine reads two pipes in any order
		cmd = []string{shell, "-c", `exec "$0" -c "$1" 2>&1`, shell, c.Script}
	}
	e, err := x.startPlain(ctx, client.ExecCreateOptions{
		Cmd:          cmd,
		Env:          env,
		WorkingDir:   c.Dir,
		AttachStdin:  c.Stdin != nil,
		AttachStdout: true,
		AttachStderr: true,
	}, c.Stdin, c.Stdout, c.Stderr)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", lane.ErrNotStarted, err)
	}
	code, err := e.wait(ctx)
	if ctx.Err() == nil || x.ctx.Err() != nil {
		e.drain()
		if background.MatchString(c.Script) {
			x.shells.left.note(c.Env[RunIDEnv]) // a guess, see Survivors
		}
		return code, err
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	_, _, _ = x.execAs(cleanup, x.docker.User, []string{"sh", "-c", strings.ReplaceAll(sweepScript(c.Env[RunIDEnv]), "-KILL", "-TERM")}, nil)
	e.drain()
	return code, ctx.Err()
}

// checkDir says of a bad directory what a failed exec says only in words.
func (x *dockerExecutor) checkDir(ctx context.Context, dir string) error {
	found, err := x.daemon.ContainerStatPath(ctx, x.id, client.ContainerStatPathOptions{Path: dir})
	switch {
	case errdefs.IsNotFound(err) && x.state(ctx) == nil:
		return &fs.PathError{Op: "chdir", Path: dir, Err: fs.ErrNotExist}
	case err == nil && found.Stat.LinkTarget == "" && !found.Stat.Mode.IsDir():
		return &fs.PathError{Op: "chdir", Path: dir, Err: syscall.ENOTDIR}
	}
	return err
}

// plainExec is one exec of the Engine API, under way.
type plainExec struct {
	x      *dockerExecutor
	id     string
	conn   client.HijackedResponse
	output []*outputWriter
	ended  chan struct{} // closed when its output has ended
	reader error         // how, set before
}

func (x *dockerExecutor) startPlain(ctx context.Context, options client.ExecCreateOptions, stdin io.Reader, stdout, stderr io.Writer) (*plainExec, error) {
	created, err := x.daemon.ExecCreate(ctx, x.id, options)
	if err != nil {
		return nil, err
	}
	a, err := x.daemon.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return nil, err
	}
	out, errs := &outputWriter{w: orDiscard(stdout)}, &outputWriter{w: orDiscard(stderr)}
	e := &plainExec{x: x, id: created.ID, conn: a.HijackedResponse, output: []*outputWriter{out, errs}, ended: make(chan struct{})}
	go func() {
		defer close(e.ended)
		_, e.reader = stdcopy.StdCopy(out, errs, e.conn.Reader)
	}()
	if stdin != nil {
		go func() { // ends with the reader, or at the first write after the end
			_, _ = io.Copy(e.conn.Conn, stdin)
			_ = e.conn.CloseWrite()
		}()
	}
	return e, nil
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// wait returns the exec's exit code. Soon after its start, the API may still
// call it not running with code 0, so the end is believed only of one that ran:
// it has a pid (which Podman forgets), was seen running, or has a code. Where
// the output has ended, that much is known some time later.
func (e *plainExec) wait(ctx context.Context) (int, error) {
	ended, ran := e.ended, false
	var quiet <-chan time.Time
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, plainPoll) {
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

// drain gives what was written before the end time to arrive. That is bounded by
// time, because the Engine says nothing about what is still on its way.
func (e *plainExec) drain() {
	awaitOutput(e.ended, true, e.output...)
	e.conn.Close()
	<-e.ended
}

// execAs runs a program of ours as a user, and returns the end of what it prints.
func (x *dockerExecutor) execAs(ctx context.Context, user string, argv []string, stdin io.Reader) (string, int, error) {
	said := newOutput(maxSaid, 0)
	w, _ := said.streams(nil, nil)
	e, err := x.startPlain(ctx, client.ExecCreateOptions{
		User:         user,
		WorkingDir:   "/", // see dial
		Cmd:          argv,
		AttachStdin:  stdin != nil,
		AttachStdout: true,
		AttachStderr: true,
	}, stdin, w, w)
	if err != nil {
		return "", 0, err
	}
	code, err := e.wait(ctx)
	e.drain()
	text, _ := said.end()
	return text, code, err
}
