//go:build !terminal_nodocker

// This file starts the container and its shells, and prepares it for commands.

package docker

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/terminal-go/terminal/internal/capture"
	"github.com/terminal-go/terminal/internal/lane"
	"github.com/terminal-go/terminal/internal/shellscript"
	"github.com/terminal-go/terminal/internal/spawn"
)

// start attaches to the main process, starts the container and prepares it. If
// the main process does not become a lane within lane.ReadyLimit, commands use
// plain execs instead.
func (x *Executor) start(ctx context.Context, o spawn.Opening) error {
	main, read, err := x.attach(ctx)
	if err != nil {
		return x.cfg.refused("attach to container", x.daemon, err)
	}
	step, cancel := spawn.Linger(ctx, spawn.CreateLimit)
	defer cancel()
	if _, err := x.daemon.ContainerStart(step, x.id, client.ContainerStartOptions{}); err != nil {
		main.HangUp()
		return x.notStarted(ctx, err)
	}
	err = x.shells.Adopt(main, func() error {
		err := read()
		x.setGone()
		return err
	})
	if err != nil {
		return err
	}
	if err := main.WriteInput([]byte(lane.Line(containerSource))); err != nil {
		main.HangUp() // main.Ready reports the failure
	}
	limit := time.NewTimer(lane.ReadyLimit)
	defer limit.Stop()
	select {
	case <-main.Ready(): // also closed when the lane breaks
		if main.Err() != nil {
			return x.endedAtOnce(ctx, main)
		}
		x.shells.Give(main)
	case <-limit.C:
		x.plain = true
		o.Log.Warn("no lane in the container, every command will be an exec of its own", "backend", "docker", "image", x.cfg.Image)
	case <-ctx.Done():
		return ctx.Err()
	}
	return x.prepare(ctx, o)
}

// attach connects to the main process of the container, before it is started: no
// output is lost then, and the process sees end of file when the owner dies.
func (x *Executor) attach(ctx context.Context) (*lane.Shell, func() error, error) {
	ctx, cancel := context.WithTimeout(ctx, spawn.CreateLimit)
	defer cancel()
	a, err := x.daemon.ContainerAttach(ctx, x.id, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return nil, nil, err
	}
	s, read := hijacked(a.HijackedResponse)
	s.Lifeline = true
	return s, read, nil
}

// dial starts another shell in the container and adds it to the pool.
func (x *Executor) dial(ctx context.Context) (*lane.Shell, error) {
	created, err := x.daemon.ExecCreate(ctx, x.id, client.ExecCreateOptions{
		Cmd:         lane.Argv(x.cfg.Shell),
		WorkingDir:  "/", // no exec starts in a directory that was removed
		AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return nil, err
	}
	a, err := x.daemon.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return nil, err
	}
	s, read := hijacked(a.HijackedResponse)
	return s, x.shells.Adopt(s, read)
}

// hijacked returns a shell whose three streams share a hijacked connection, and
// the function that copies its output (Engine API, "Stream format" of attach).
func hijacked(h client.HijackedResponse) (s *lane.Shell, read func() error) {
	stdin := stdinOf{h}
	s = &lane.Shell{Lane: lane.New(stdin), HangUp: func() { _ = h.Conn.Close() }}
	return s, func() error {
		_, err := stdcopy.StdCopy(s.Stdout(), s.Stderr(), h.Reader)
		return err
	}
}

// stdinOf writes to a hijacked connection; Close closes only the writing half.
type stdinOf struct{ client.HijackedResponse }

func (c stdinOf) Write(b []byte) (int, error) { return c.Conn.Write(b) }
func (c stdinOf) Close() error                { return c.CloseWrite() }

// notStarted returns the error for a container that the daemon failed to start.
// Its exit code is 127 if sh was not found and 126 if it is not executable.
func (x *Executor) notStarted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	found, inspectErr := x.daemon.ContainerInspect(ctx, x.id, client.ContainerInspectOptions{})
	if state := found.Container.State; inspectErr == nil && state != nil && (state.ExitCode == 127 || state.ExitCode == 126) {
		return fmt.Errorf("%w: docker: image %s has no usable sh, and commands need one: %w; choose an image with a shell", spawn.ErrUnavailable, x.cfg.Image, err)
	}
	return x.cfg.refused("start container", x.daemon, err)
}

// endedAtOnce returns the error for a container that ended before its first
// command. The lane's error has what sh printed. If only the connection was
// lost, container.sh kills the container: that is exit code 137.
func (x *Executor) endedAtOnce(ctx context.Context, main *lane.Shell) error {
	select {
	case <-x.Gone():
	case <-ctx.Done():
		return ctx.Err()
	}
	var end exited
	what := fmt.Sprintf("docker: container of %s ended at once: %v: %v", x.cfg.Image, x.Life.Err(), main.Err())
	switch {
	case !errors.As(x.Life.Err(), &end) || end.code == 137 || !errors.Is(main.Err(), io.EOF):
		return fmt.Errorf("%w: %s", spawn.ErrNotStarted, what)
	case end.code == 127 || end.code == 126:
		return fmt.Errorf("%w: %s; commands need a usable sh, so choose an image that has one", spawn.ErrUnavailable, what)
	default:
		return fmt.Errorf("%w: %s; its sh must be a POSIX one, with room in Docker.PIDs and Docker.Memory", spawn.ErrUnavailable, what)
	}
}

// prepare checks the shell, creates the working directory if it must belong to
// Config.User, and runs the InitScript.
func (x *Executor) prepare(ctx context.Context, o spawn.Opening) error {
	if x.cfg.Shell != "" {
		if text, err := x.output(ctx, "/", "exit 0", nil); err != nil {
			return fmt.Errorf("%w: docker: run %s in %s: %w: %s; Docker.Shell must be a shell that the image has", spawn.ErrUnavailable, x.cfg.Shell, x.cfg.Image, err, text)
		}
	}
	if x.cfg.User != "" && o.Dir != "" {
		if err := x.makeDir(ctx, o.Dir); err != nil {
			return fmt.Errorf("%w: docker: make directory %s: %w", spawn.ErrUnavailable, o.Dir, err)
		}
	}
	if x.cfg.InitScript == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, initScriptLimit)
	defer cancel()
	if text, err := x.output(ctx, cmp.Or(o.Dir, "/"), x.cfg.InitScript, o.Env); err != nil {
		return fmt.Errorf("%w: docker: init script: %w; its output ends with: %s", spawn.ErrUnavailable, err, text)
	}
	return nil
}

// output runs a script like a command and returns the end of its output.
func (x *Executor) output(ctx context.Context, dir, script string, env map[string]string) (string, error) {
	out := capture.NewOutput(2000, 0)
	w, _ := out.Streams(nil, nil)
	code, err := x.Exec(ctx, spawn.Command{
		Script: script,
		Dir:    dir,
		Env:    spawn.MergeEnv(env, map[string]string{spawn.RunIDEnv: spawn.NewRunID()}),
		Stdout: w,
		Stderr: w,
	})
	text, _ := out.End()
	if err == nil && code != 0 {
		err = fmt.Errorf("code %d", code)
	}
	return strings.TrimSpace(text), err
}

// makeDir creates dir as the user. If the user has no permission, the daemon does
// it through the archive API: an exec as root would lack the capabilities.
func (x *Executor) makeDir(ctx context.Context, dir string) error {
	answer, said := shellscript.NewShortAnswer(maxAnswer), capture.NewAnswer(maxStderr)
	code, err := x.Exec(ctx, spawn.Command{
		Script: answer.Frame(makeDirScript),
		Dir:    "/",
		Env:    map[string]string{"TERMINAL_DIR": dir, spawn.RunIDEnv: spawn.NewRunID()},
		Stdout: answer,
		Stderr: said,
	})
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("code %d: %s", code, bytes.TrimSpace(said.End()))
	}
	text, err := answer.Text()
	if err != nil || text == "" {
		return err
	}
	users, err := parseUsers(text)
	if err != nil {
		return err
	}
	if len(users) != 1 {
		return fmt.Errorf("not one user: %q", capture.Clip(text))
	}
	leaf := tar.Header{Typeflag: tar.TypeDir, Name: strings.Trim(path.Clean(dir), "/"), Mode: 0o755, Uid: users[0].uid, Gid: users[0].gid}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := errors.Join(w.WriteHeader(&leaf), w.Close()); err != nil {
		return err
	}
	_, err = x.daemon.CopyToContainer(ctx, x.id, client.CopyToContainerOptions{DestinationPath: "/", Content: &archive})
	return err
}

// makeDirScript prints the effective uid:gid, read from proc(5), if the user
// cannot create the directory.
const makeDirScript = `[ -d "$TERMINAL_DIR" ] || mkdir -p "$TERMINAL_DIR" 2>/dev/null || {
	while read -r key real effective rest; do
		case $key in
		Uid:) uid=$effective ;;
		Gid:) echo "$uid:$effective" ;;
		esac
	done </proc/self/status
}`
