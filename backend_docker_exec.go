//go:build !terminal_nodocker

package terminal

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/terminal-go/terminal/internal/lane"
)

// settleLimit is how long a container may take to show that it has ended,
// after a connection into it has, and settlePause how often it is asked.
const (
	settleLimit = 2 * time.Second
	settlePause = 20 * time.Millisecond
)

// dockerExecutor is one task's container.
type dockerExecutor struct {
	docker Docker
	daemon daemon
	id     string
	shells *shells
	plain  bool          // the image's sh is no good for lanes
	ending atomic.Bool   // the connection to the main process has ended
	gone   chan struct{} // closed when the daemon has been asked why
	why    error         // set before gone is closed

	ctx     context.Context // ends on Close
	cancel  context.CancelCauseFunc
	running sync.WaitGroup // commands; Add only under mu and while !closed

	mu     sync.Mutex // guards the rest; held for moments
	closed bool
}

// start starts the container with its main process in our hand, and makes it
// ready for commands.
func (x *dockerExecutor) start(ctx context.Context, o opening) error {
	main, read, err := x.attach(ctx)
	if err != nil {
		return x.docker.refused("attach to container", x.daemon, err)
	}
	step, cancel := lingering(ctx, createLimit)
	defer cancel()
	if _, err := x.daemon.ContainerStart(step, x.id, client.ContainerStartOptions{}); err != nil {
		main.hangUp()
		return x.notStarted(ctx, err)
	}
	err = x.shells.adopt(main, func() error {
		err := read()
		x.lost()
		return err
	})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(main.stdin, lane.Line(containerSource)); err != nil {
		main.hangUp() // it has ended, or will
	}
	limit := time.NewTimer(readyLimit)
	defer limit.Stop()
	select {
	case <-main.Ready(): // or broken
		if main.Err() != nil {
			return x.endedAtOnce(ctx, main)
		}
		x.shells.give(main, false, "")
	case <-limit.C:
		x.plain = true
		o.log.Warn("no lane in the container, every command will be an exec of its own", "backend", "docker", "image", x.docker.Image)
	case <-ctx.Done():
		return ctx.Err()
	}
	return x.furnish(ctx, o)
}

// attach connects to the main process of a container that is still to start.
func (x *dockerExecutor) attach(ctx context.Context) (*shell, func() error, error) {
	ctx, cancel := context.WithTimeout(ctx, createLimit)
	defer cancel()
	a, err := x.daemon.ContainerAttach(ctx, x.id, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return nil, nil, err
	}
	s, read := hijacked(a.HijackedResponse)
	s.lifeline = true
	return s, read, nil
}

// dial starts another shell in the container.
func (x *dockerExecutor) dial(ctx context.Context) (*shell, error) {
	created, err := x.daemon.ExecCreate(ctx, x.id, client.ExecCreateOptions{
		Cmd:          lane.Argv(x.docker.Shell),
		WorkingDir:   "/", // the container's own may have been removed, and then no exec starts
		AttachStdin:  true,
		AttachStdout: true,
		AttachStderr: true,
	})
	if err != nil {
		return nil, err
	}
	a, err := x.daemon.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return nil, err
	}
	s, read := hijacked(a.HijackedResponse)
	return s, x.shells.adopt(s, read)
}

// hijacked makes a shell of a connection that carries its three streams.
func hijacked(h client.HijackedResponse) (s *shell, read func() error) {
	stdin := stdinOf{h}
	s = &shell{Lane: lane.New(stdin), stdin: stdin, hangUp: func() { _ = h.Conn.Close() }}
	return s, func() error {
		_, err := stdcopy.StdCopy(s.Stdout(), s.Stderr(), h.Reader)
		return err
	}
}

// stdinOf is the writing half of a hijacked connection.
type stdinOf struct{ client.HijackedResponse }

func (c stdinOf) Write(b []byte) (int, error) { return c.Conn.Write(b) }
func (c stdinOf) Close() error                { return c.CloseWrite() }

// notStarted explains a container that the daemon could not start. That its
// program was not found (127) or not executable (126) is in its state.
func (x *dockerExecutor) notStarted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	found, inspectErr := x.daemon.ContainerInspect(ctx, x.id, client.ContainerInspectOptions{})
	if state := found.Container.State; inspectErr == nil && state != nil && (state.ExitCode == 127 || state.ExitCode == 126) {
		return fmt.Errorf("%w: docker: image %s has no usable sh, and commands need one: %w; choose an image with a shell", ErrUnavailable, x.docker.Image, err)
	}
	return x.docker.refused("start container", x.daemon, err)
}

// endedAtOnce explains a container that did not live to see a command. The
// reason may be in what its sh has said, which is in the lane's error. If it was
// only its connection that was lost, the container ends itself by KILL.
func (x *dockerExecutor) endedAtOnce(ctx context.Context, main *shell) error {
	select {
	case <-x.gone:
	case <-ctx.Done():
		return ctx.Err()
	}
	var end exited
	what := fmt.Sprintf("docker: container of %s ended at once: %v: %v", x.docker.Image, x.why, main.Err())
	switch {
	case !errors.As(x.why, &end) || end.code == 137 || !errors.Is(main.Err(), io.EOF):
		return fmt.Errorf("%w: %s", ErrNotStarted, what)
	case end.code == 127 || end.code == 126:
		return fmt.Errorf("%w: %s; commands need a usable sh, so choose an image that has one", ErrUnavailable, what)
	default:
		return fmt.Errorf("%w: %s; its sh must be a POSIX one, with room in Docker.PIDs and Docker.Memory", ErrUnavailable, what)
	}
}

// furnish sees to the shell, makes the working directory where the daemon
// could not, and runs the InitScript.
func (x *dockerExecutor) furnish(ctx context.Context, o opening) error {
	if x.docker.Shell != "" {
		if text, err := x.output(ctx, "/", "exit 0", nil); err != nil {
			return fmt.Errorf("%w: docker: run %s in %s: %w: %s; Docker.Shell must be a shell that the image has", ErrUnavailable, x.docker.Shell, x.docker.Image, err, text)
		}
	}
	if x.docker.User != "" && o.dir != "" {
		if err := x.makeDir(ctx, o.dir); err != nil {
			return fmt.Errorf("%w: docker: make directory %s: %w", ErrUnavailable, o.dir, err)
		}
	}
	if x.docker.InitScript == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, initScriptLimit)
	defer cancel()
	if text, err := x.output(ctx, cmp.Or(o.dir, "/"), x.docker.InitScript, o.env); err != nil {
		return fmt.Errorf("%w: docker: init script: %w; its output ends with: %s", ErrUnavailable, err, text)
	}
	return nil
}

// output runs a script as commands are run, and returns the end of what it
// prints.
func (x *dockerExecutor) output(ctx context.Context, dir, script string, env map[string]string) (string, error) {
	out := newOutput(2000, 0)
	w, _ := out.streams(nil, nil)
	code, err := x.Exec(ctx, Command{
		Script: script,
		Dir:    dir,
		Env:    merge(interactive, env, map[string]string{RunIDEnv: newRunID()}),
		Stdout: w,
		Stderr: w,
	})
	text, _ := out.end()
	if err == nil && code != 0 {
		err = fmt.Errorf("code %d", code)
	}
	return strings.TrimSpace(text), err
}

// makeDir makes dir for the user. Where the user may not, the daemon does:
// root has no capabilities in the container of somebody else.
func (x *dockerExecutor) makeDir(ctx context.Context, dir string) error {
	answer := newShortAnswer(maxAnswer)
	said := newOutput(maxSaid, 0)
	stderr, _ := said.streams(nil, nil)
	code, err := x.Exec(ctx, Command{
		Script: answer.frame(makeDirScript),
		Dir:    "/",
		Env:    merge(interactive, map[string]string{"TERMINAL_DIR": dir, RunIDEnv: newRunID()}),
		Stdout: answer,
		Stderr: stderr,
	})
	if err != nil {
		return err
	}
	if code != 0 {
		text, _ := said.end()
		return fmt.Errorf("code %d: %s", code, strings.TrimSpace(text))
	}
	text, err := answer.text()
	if err != nil || text == "" {
		return err
	}
	users, err := parseUsers(text)
	if err != nil {
		return err
	}
	if len(users) != 1 {
		return fmt.Errorf("not one user: %q", clip(text))
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

// makeDirScript prints the user's uid:gid if the user cannot make the directory.
const makeDirScript = `[ -d "$TERMINAL_DIR" ] || mkdir -p "$TERMINAL_DIR" 2>/dev/null || {
	while read -r key real effective rest; do
		case $key in
		Uid:) uid=$effective ;;
		Gid:) echo "$uid:$effective" ;;
		esac
	done </proc/self/status
}`

// user is a user of a container, by numbers.
type user struct{ uid, gid int }

func (u user) String() string { return fmt.Sprintf("%d:%d", u.uid, u.gid) }

// maxUsers bounds how many users a container may name, because each costs an
// exec.
const maxUsers = 16

var userLine = regexp.MustCompile(`^[0-9]+:[0-9]+$`)

// parseUsers reads lines of uid:gid.
func parseUsers(text string) ([]user, error) {
	var users []user
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		uid, gid, _ := strings.Cut(line, ":")
		u, err1 := strconv.ParseUint(uid, 10, 31)
		g, err2 := strconv.ParseUint(gid, 10, 31)
		if !userLine.MatchString(line) || err1 != nil || err2 != nil {
			return nil, fmt.Errorf("not a user: %q", clip(line))
		}
		if len(users) == maxUsers {
			return nil, fmt.Errorf("more than %d users", maxUsers)
		}
		users = append(users, user{int(u), int(g)})
	}
	return users, nil
}

// runsAsRoot reports whether commands run as root. The daemon knows, where what
// runs in the container might lie.
func (x *dockerExecutor) runsAsRoot(ctx context.Context) (bool, error) {
	if x.docker.User != "" {
		return isRootUser(x.docker.User), nil
	}
	found, err := x.daemon.ContainerInspect(ctx, x.id, client.ContainerInspectOptions{})
	if err != nil {
		return false, err
	}
	return found.Container.Config != nil && isRootUser(found.Container.Config.User), nil
}

// isRootUser reports whether a user, as Docker.User and the USER of an image name
// it, is root.
func isRootUser(user string) bool {
	name, _, _ := strings.Cut(user, ":")
	uid, err := strconv.ParseUint(name, 10, 32)
	return name == "" || name == "root" || err == nil && uid == 0
}

// lost books the end of the main process, with what the daemon knows of it. It
// may know of the end a little later, or not at all.
func (x *dockerExecutor) lost() {
	x.ending.Store(true)
	ctx, cancel := context.WithTimeout(x.ctx, settleLimit)
	defer cancel()
	for {
		end, err := x.ask(ctx)
		if x.why = end; end != nil || err != nil {
			break
		}
		time.Sleep(settlePause)
	}
	if x.why == nil {
		x.why = fmt.Errorf("%w: docker: connection to container %.12s lost", ErrGone, x.id)
	}
	close(x.gone)
}

// exited is an ErrGone with the code of the main process.
type exited struct {
	error
	code int
}

func (e exited) Unwrap() error { return e.error }

// state returns nil if the container runs, else ErrGone with what became of
// it. A daemon that does not answer tells nothing.
func (x *dockerExecutor) state(ctx context.Context) error {
	end, _ := x.ask(ctx)
	return end
}

// ask is state, with the daemon's error.
func (x *dockerExecutor) ask(ctx context.Context) (end, err error) {
	found, err := x.daemon.ContainerInspect(ctx, x.id, client.ContainerInspectOptions{})
	state := found.Container.State
	switch {
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%w: docker: container %.12s was removed", ErrGone, x.id), nil
	case err != nil || state == nil || state.Running:
		return nil, err
	case state.OOMKilled:
		return exited{fmt.Errorf("%w: docker: container %.12s ran out of memory and ended with %d; give it more by Docker.Memory", ErrGone, x.id, state.ExitCode), state.ExitCode}, nil
	default:
		return exited{fmt.Errorf("%w: docker: container %.12s ended with %d", ErrGone, x.id, state.ExitCode), state.ExitCode}, nil
	}
}

// begin books a command, and refuses it after Close.
func (x *dockerExecutor) begin() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return ErrClosed
	}
	select {
	case <-x.gone:
		return x.why
	default:
	}
	x.running.Add(1)
	return nil
}

// Exec runs the command; see Executor.
func (x *dockerExecutor) Exec(ctx context.Context, c Command) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, notStarted(err)
	}
	if err := x.begin(); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	defer x.running.Done()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(x.ctx, func() { end(context.Cause(x.ctx)) })()

	var code int
	var err error
	if x.plain {
		code, err = x.execPlain(ctx, c)
	} else {
		code, err = x.shells.exec(ctx, c)
	}
	if err == nil {
		return code, nil
	}
	return code, explainLane(ctx, x.ctx, err, fmt.Sprintf("docker: connection into container %.12s", x.id), x.settled)
}

// settled returns ErrGone if the container has ended or ends in a moment, as
// it may have where a connection into it broke.
func (x *dockerExecutor) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	if gone := x.state(ctx); gone != nil {
		return gone
	}
	select {
	case <-x.gone:
		return x.why
	case <-ctx.Done():
	}
	if x.ending.Load() { // a container that restarts runs whenever the daemon is asked
		<-x.gone
		return x.why
	}
	return x.state(context.WithoutCancel(ctx))
}

// Ping returns ErrGone if the container has ended; see Pinger.
func (x *dockerExecutor) Ping(ctx context.Context) error {
	select {
	case <-x.gone:
		return x.why
	default:
		return x.state(ctx)
	}
}

// strangers.sh prints the users whose processes it cannot look into.
//
//go:embed strangers.sh
var strangersSource string

// Survivors tells whether a run left processes behind; see the interface.
func (x *dockerExecutor) Survivors(runID string) bool { return x.shells.left.take(runID) }

// Kill ends every process of a run; see Killer. root in the container may
// send a signal to all users' processes but not look into their environment,
// so each of those users has to look for itself.
func (x *dockerExecutor) Kill(ctx context.Context, runID string) error {
	if runID == "" {
		return errors.New("docker: kill run: no run id")
	}
	if x.plain {
		return x.killAs(ctx, x.docker.User, runID)
	}
	answer, err := x.shells.script(ctx, "(\n"+sweepScript(runID)+"\n) || exit\n"+strangersSource, maxAnswer)
	var strangers []user
	if err == nil {
		strangers, err = parseUsers(answer)
	}
	if err == nil && slices.ContainsFunc(strangers, func(u user) bool { return u.uid == 0 }) {
		// A user who is not root has no processes of root's, and must not be
		// able to have root run a program of the container.
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

func (x *dockerExecutor) killAs(ctx context.Context, user, runID string) error {
	out, code, err := x.execAs(ctx, user, []string{"sh", "-c", sweepScript(runID)}, nil)
	if err == nil && code != 0 {
		err = fmt.Errorf("code %d: %s", code, strings.TrimSpace(out))
	}
	if err != nil {
		return fmt.Errorf("docker: kill run as user %q: %w", user, err)
	}
	return nil
}

// Close removes the container, with what runs in it.
func (x *dockerExecutor) Close(ctx context.Context) error {
	x.mu.Lock()
	again := x.closed
	x.closed = true
	x.mu.Unlock()
	if again {
		return nil
	}
	x.cancel(ErrClosed)
	err := remove(ctx, x.daemon, x.id)
	err = errors.Join(err, x.shells.close(ctx), wait(ctx, &x.running))
	return errors.Join(err, x.daemon.Close())
}
