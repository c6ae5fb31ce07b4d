//go:build !terminal_nodocker

// Tests of the Docker backend with faults between it and the daemon, and with
// invalid settings.

package terminal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/internal/fakedocker"
	"github.com/terminal-go/terminal/internal/testimage"
)

// faultBound is how long a call may take beyond its limit if the daemon stops
// answering: time to try to kill the command and to give up.
const faultBound = 20 * time.Second

// front is a proxy that injects faults in front of the real daemon.
type front struct {
	*fakedocker.Daemon
	real  *client.Client
	image string
	name  string // of the test, and a label of its containers
}

func newFront(t *testing.T) front {
	t.Helper()
	t.Parallel()
	engine := testimage.Engine(t)
	f := front{fakedocker.New(t, engine.DaemonHost()), engine, testimage.Busybox(t), t.Name()}
	t.Cleanup(func() { f.isEmpty(t) })
	return f
}

func (f front) docker() terminal.Docker {
	return terminal.Docker{Host: f.Host(), Image: f.image, Pull: terminal.PullNever, Labels: map[string]string{"terminal-test.case": f.name}}
}

func (f front) terminal(t *testing.T, cfg terminal.Config) *terminal.Terminal {
	t.Helper()
	if cfg.Backend == nil {
		cfg.Backend = f.docker()
	}
	term, err := terminal.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		f.Resume()
		_ = term.Close()
	})
	return term
}

// containers returns ID and state of the containers of the test.
func (f front) containers(t *testing.T) (ids []string) {
	t.Helper()
	list, err := f.real.ContainerList(context.Background(), client.ContainerListOptions{
		All:     true,
		Filters: make(client.Filters).Add("label", "terminal-test.case="+f.name),
	})
	require.NoError(t, err)
	for _, c := range list.Items {
		ids = append(ids, fmt.Sprintf("%.12s %s", c.ID, c.State))
	}
	return ids
}

// isEmpty asserts that soon no container is left. A container whose owner
// could not reach the daemon ends with its connection.
func (f front) isEmpty(t *testing.T) {
	t.Helper()
	assert.Eventually(t, func() bool { return len(f.containers(t)) == 0 }, 10*time.Second, 50*time.Millisecond)
}

// fails asserts that Open fails with the sentinel and leaves no container.
func (f front) fails(t *testing.T, d terminal.Docker, sentinel error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	x, err := d.Open(ctx, "task")
	for errors.Is(sentinel, terminal.ErrUnavailable) && errors.Is(err, terminal.ErrNotStarted) {
		x, err = d.Open(ctx, "task") // the container was removed before its exit code could be queried
	}
	if err == nil {
		_ = x.Close(context.Background())
	}
	require.ErrorIs(t, err, sentinel)
	if errors.Is(sentinel, terminal.ErrNotStarted) {
		assert.NotErrorIs(t, err, terminal.ErrUnavailable, "trying again may help")
	}
	assert.NotErrorIs(t, err, terminal.ErrGone, "there was none")
	assert.Empty(t, f.containers(t), "%v", err)
	return err
}

// works asserts that the next Open succeeds, and that a command runs.
func (f front) works(t *testing.T, d terminal.Docker) {
	t.Helper()
	x, err := d.Open(t.Context(), "task")
	require.NoError(t, err)
	code, err := x.Exec(t.Context(), terminal.Command{Script: "exit 7", Dir: "/", Env: map[string]string{terminal.RunIDEnv: "run"}})
	assert.NoError(t, err)
	assert.Equal(t, 7, code)
	assert.NoError(t, x.Close(t.Context()))
	assert.Empty(t, f.containers(t))
}

// input returns an empty Stdin, which makes a command use another lane: the
// connection of the first lane keeps the container alive, so its input cannot
// be closed.
func input() io.Reader { return strings.NewReader("") }

// await is a writer that closes done once text was written to it.
type await struct {
	text string
	seen bytes.Buffer
	done chan struct{}
}

func newAwait(text string) *await { return &await{text: text, done: make(chan struct{})} }

func (a *await) Write(p []byte) (int, error) {
	before := bytes.Contains(a.seen.Bytes(), []byte(a.text))
	a.seen.Write(p)
	if !before && bytes.Contains(a.seen.Bytes(), []byte(a.text)) {
		close(a.done)
	}
	return len(p), nil
}

type outcome struct {
	terminal.Result
	err  error
	took time.Duration
}

func inBackground(ctx context.Context, term *terminal.Terminal, req terminal.Request) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		began := time.Now()
		r, err := term.Run(ctx, req)
		done <- outcome{r, err, time.Since(began)}
	}()
	return done
}

func within(t *testing.T, limit time.Duration, done <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-done:
		return o
	case <-time.After(limit):
		require.FailNow(t, "the call did not return", "after %v", limit)
		panic("unreachable")
	}
}

// Open reports a fault as not started and leaves no container; the next Open
// succeeds.
func TestDockerOpenAfterFault(t *testing.T) {
	for name, fault := range map[string]fakedocker.Rule{
		"create answers 500":         {PathRegexp: "^/containers/create$", Status: 500, Body: `{"message":"no space left on device"}`},
		"create answers 409":         {PathRegexp: "^/containers/create$", Status: 409, Body: `{"message":"the name is already in use"}`},
		"create is dropped":          {PathRegexp: "^/containers/create$", Drop: true},
		"create's answer is lost":    {PathRegexp: "^/containers/create$", DropAnswer: true},
		"create's answer is cut off": {PathRegexp: "^/containers/create$", DropAfterBytes: 10},
		"attach answers 500":         {PathRegexp: "^/containers/[^/]*/attach$", Status: 500, Body: `{"message":"trouble"}`},
		"attach is dropped":          {PathRegexp: "^/containers/[^/]*/attach$", Drop: true},
		"attach's answer is lost":    {PathRegexp: "^/containers/[^/]*/attach$", DropAnswer: true},
		"attach breaks after start":  {PathRegexp: "^/containers/[^/]*/attach$", DropAfterBytes: 1},
		"attach breaks when told":    {PathRegexp: "^/containers/[^/]*/attach$", DropAfterSent: 100},
		"start answers 500":          {PathRegexp: "^/containers/[^/]*/start$", Status: 500, Body: `{"message":"trouble"}`},
		"start is dropped":           {PathRegexp: "^/containers/[^/]*/start$", Drop: true},
		"start's answer is lost":     {PathRegexp: "^/containers/[^/]*/start$", DropAnswer: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t)
			fault.Method, fault.Times = "POST", 1
			f.Fault(fault)
			err := f.fails(t, f.docker(), terminal.ErrNotStarted)
			assert.ErrorContains(t, err, "docker: ")
			f.works(t, f.docker())
		})
	}
}

// Run retries after a failed create, and the command runs once.
func TestDockerRunRetriesAfterCreateFails(t *testing.T) {
	f := newFront(t)
	f.Fault(fakedocker.Rule{Method: "POST", PathRegexp: "^/containers/create$", Status: 500, Body: `{"message":"trouble"}`, Times: 1})
	log, text := newLog()
	term := f.terminal(t, terminal.Config{Logger: log})
	r := run(t, term, "echo run >>/tmp/runs; cat /tmp/runs")
	assert.Equal(t, "run\n", r.Output)
	assert.Empty(t, r.Notice, "there was nothing before")
	assert.Equal(t, 2, f.Count("POST", "/containers/create"))
	assert.Contains(t, text(), "command retried")
	require.NoError(t, term.Close())
	assert.Empty(t, f.containers(t))
}

// A caller that gives up does not end the opening: the next call uses the same
// container.
func TestDockerRunContextCanceledDuringStart(t *testing.T) {
	f := newFront(t)
	f.Fault(fakedocker.Rule{Method: "POST", PathRegexp: "^/containers/[^/]*/start$", Delay: time.Second, Times: 1})
	term := f.terminal(t, terminal.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	done := inBackground(ctx, term, terminal.Request{Command: "echo run >>/tmp/runs"})
	require.Eventually(t, func() bool { return f.Count("POST", "/containers/*/start") == 1 }, 10*time.Second, time.Millisecond)
	cancel()
	o := within(t, 500*time.Millisecond, done)
	assert.ErrorIs(t, o.err, context.Canceled)
	assert.Equal(t, terminal.StatusCancelled, o.Status)
	assert.Equal(t, "none\n", run(t, term, "cat /tmp/runs 2>/dev/null || echo none").Output)
	assert.Equal(t, 1, f.Count("POST", "/containers/create"), "the opening went on")
}

// Close during a slow start ends the waiting call and leaves no container.
func TestDockerCloseDuringStart(t *testing.T) {
	f := newFront(t)
	f.Fault(fakedocker.Rule{Method: "POST", PathRegexp: "^/containers/[^/]*/start$", Delay: time.Second})
	term := f.terminal(t, terminal.Config{})
	done := inBackground(t.Context(), term, terminal.Request{Command: "true"})
	require.Eventually(t, func() bool { return f.Count("POST", "/containers/*/start") == 1 }, 10*time.Second, time.Millisecond)
	began := time.Now()
	require.NoError(t, term.Close())
	assert.Less(t, time.Since(began), faultBound)
	assert.ErrorIs(t, within(t, time.Second, done).err, terminal.ErrClosed)
	assert.Empty(t, f.containers(t))
}

// If the lane of a running command breaks, its outcome is unknown: the command
// is killed and not repeated.
func TestDockerLaneBreaksDuringCommand(t *testing.T) {
	f := newFront(t)
	term := f.terminal(t, terminal.Config{})
	out := newAwait("started")
	done := inBackground(t.Context(), term, terminal.Request{
		Command: "echo run >>/tmp/runs; echo started; sleep 1001",
		Stdin:   input(),
		Stdout:  out,
	})
	select {
	case <-out.done:
	case o := <-done:
		require.FailNow(t, "ended early", "%+v", o)
	}
	require.Equal(t, 1, f.Break("/exec/*/start"))
	o := within(t, faultBound, done)
	assert.ErrorContains(t, o.err, "not known how the command ended")
	assert.NotErrorIs(t, o.err, terminal.ErrNotStarted)
	assert.NotErrorIs(t, o.err, terminal.ErrGone)
	assert.Equal(t, -1, o.ExitCode)
	assert.Equal(t, "started\n", o.Output)

	r := run(t, term, "cat /tmp/runs; ps | grep -c '[s]leep 1001' || true")
	assert.Equal(t, "run\n0\n", r.Output, "run once, and nothing is left of it")
	assert.Empty(t, r.Notice)
}

// The container lives as long as the connection of the first lane, so losing
// that loses the container.
func TestDockerFirstLaneBreaksDuringCommand(t *testing.T) {
	f := newFront(t)
	term := f.terminal(t, terminal.Config{})
	out := newAwait("started")
	done := inBackground(t.Context(), term, terminal.Request{Command: "echo started; sleep 1001", Stdout: out})
	select {
	case <-out.done:
	case o := <-done:
		require.FailNow(t, "ended early", "%+v", o)
	}
	require.Equal(t, 1, f.Break("/containers/*/attach"))
	o := within(t, faultBound, done)
	assert.ErrorIs(t, o.err, terminal.ErrGone, "the container hangs on this connection")
	assert.NotErrorIs(t, o.err, terminal.ErrNotStarted)
	assert.Equal(t, terminal.StatusLost, o.Status)
	assert.Equal(t, "started\n", o.Output)
	run(t, term, "true")
}

// A lane that broke while idle is replaced without a delay.
func TestDockerLaneBreaksWhileIdle(t *testing.T) {
	f := newFront(t)
	term := f.terminal(t, terminal.Config{})
	// Two commands at once open a second lane, and a spare one afterwards.
	first := newAwait("started")
	done := inBackground(t.Context(), term, terminal.Request{Command: "mkfifo /tmp/fifo; echo started; cat /tmp/fifo", Stdout: first})
	<-first.done
	run(t, term, "echo run >/tmp/fifo")
	require.NoError(t, within(t, 10*time.Second, done).err)

	broken := f.Break("/exec/*/start")
	require.NotZero(t, broken)
	began := time.Now()
	r, err := term.Run(t.Context(), terminal.Request{Command: "echo run >>/tmp/runs; cat /tmp/runs", Stdin: input()})
	require.NoError(t, err)
	assert.Equal(t, "run\n", r.Output)
	assert.Empty(t, r.Notice)
	assert.Less(t, time.Since(began), time.Second, "at once")
}

// A command that was not sent as a whole did not run, so it is sent again on
// another lane.
func TestDockerLaneBreaksBeforeCommandSent(t *testing.T) {
	f := newFront(t)
	term := f.terminal(t, terminal.Config{})
	run(t, term, "true")
	big := make(map[string]string) // more than a socket buffer holds
	for i := range 8 {
		big[fmt.Sprintf("BIG_%d", i)] = strings.Repeat("x", 100_000)
	}
	f.Fault(fakedocker.Rule{PathRegexp: "^/exec/[^/]*/start$", DropAfterSent: 50_000, Times: 1})
	execs := f.Count("POST", "/exec/*/start")
	r, err := term.Run(t.Context(), terminal.Request{
		Command: "echo run ${#BIG_7} >>/tmp/runs; cat /tmp/runs",
		Env:     big,
		Stdin:   input(),
	})
	require.NoError(t, err)
	assert.Equal(t, "run 100000\n", r.Output, "run once")
	assert.Empty(t, r.Notice)
	assert.Equal(t, execs+2, f.Count("POST", "/exec/*/start"))
}

// One failed exec is retried on another lane, and the command runs once.
func TestDockerExecFailsOnce(t *testing.T) {
	for name, fault := range map[string]fakedocker.Rule{
		"its making":              {PathRegexp: "^/containers/[^/]*/exec$", Status: 500, Body: `{"message":"trouble"}`},
		"its making, answer lost": {PathRegexp: "^/containers/[^/]*/exec$", DropAnswer: true},
		"its start":               {PathRegexp: "^/exec/[^/]*/start$", Status: 500, Body: `{"message":"trouble"}`},
		"its start, answer lost":  {PathRegexp: "^/exec/[^/]*/start$", DropAnswer: true},
		"its shell's greeting":    {PathRegexp: "^/exec/[^/]*/start$", DropAfterBytes: 5},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t)
			term := f.terminal(t, terminal.Config{})
			run(t, term, "true")
			fault.Times = 1
			f.Fault(fault)
			r, err := term.Run(t.Context(), terminal.Request{Command: "echo run >>/tmp/runs; cat /tmp/runs", Stdin: input()})
			require.NoError(t, err)
			assert.Equal(t, "run\n", r.Output)
			assert.Empty(t, r.Notice)
		})
	}
}

// A daemon that stops answering cannot hold a call beyond its limit and the
// time to give up.
func TestDockerStallsDuringCommand(t *testing.T) {
	f := newFront(t)
	term := f.terminal(t, terminal.Config{})
	out := newAwait("started")
	const limit = 2 * time.Second
	done := inBackground(t.Context(), term, terminal.Request{Command: "echo started; sleep 1001", Timeout: limit, Stdout: out})
	<-out.done
	f.Stall()
	o := within(t, limit+faultBound, done)
	assert.ErrorIs(t, o.err, terminal.ErrTimeout)
	assert.Equal(t, 124, o.ExitCode)
	assert.Equal(t, "started\n", o.Output)
	assert.Contains(t, o.Notice, "the next command gets a new one")
	f.Resume()
	assert.Equal(t, "0\n", run(t, term, "ps | grep -c '[s]leep 1001' || true").Output)
}

// Close returns at its deadline; the container ends when the connection does.
func TestDockerStallsDuringClose(t *testing.T) {
	f := newFront(t)
	x, err := f.docker().Open(t.Context(), "task")
	require.NoError(t, err)
	f.Stall()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	assert.ErrorIs(t, x.Close(ctx), context.DeadlineExceeded, "the container is there")
	assert.Less(t, time.Since(began), 3*time.Second)
	f.Resume()
	f.isEmpty(t) // the connection has ended
}

// Close ends an Open that waits for a stalled daemon.
func TestDockerStallsDuringOpen(t *testing.T) {
	t.Parallel() // waits most of the time
	for name, path := range map[string]string{
		"attach": "/containers/*/attach",
		"start":  "/containers/*/start",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t)
			f.Fault(fakedocker.Rule{Method: "POST", PathRegexp: strings.ReplaceAll(path, "*", "[^/]*") + "$", Delay: time.Hour})
			term := f.terminal(t, terminal.Config{})
			done := inBackground(t.Context(), term, terminal.Request{Command: "true"})
			require.Eventually(t, func() bool { return f.Count("POST", path) == 1 }, 10*time.Second, time.Millisecond)
			began := time.Now()
			assert.NoError(t, term.Close())
			assert.Less(t, time.Since(began), faultBound)
			assert.ErrorIs(t, within(t, time.Second, done).err, terminal.ErrClosed)
			assert.Empty(t, f.containers(t))
		})
	}
}

// While the daemon is away calls say so; afterwards a new container is used,
// which is reported once.
func TestDockerDaemonRestarts(t *testing.T) {
	f := newFront(t)
	term := f.terminal(t, terminal.Config{})
	run(t, term, "touch /tmp/mine")
	f.Stop()
	r, err := term.Run(t.Context(), terminal.Request{Command: "true"})
	isUnavailable(t, err, f.Host(), "Docker.Host", "start Docker")
	assert.Equal(t, terminal.StatusDisabled, r.Status)
	assert.Empty(t, r.Notice, "nothing ran in a new one")

	f.Resume()
	r = run(t, term, "ls /tmp")
	assert.NotContains(t, r.Output, "mine")
	assert.Contains(t, r.Notice, "files from before are not there")
	assert.Empty(t, run(t, term, "true").Notice, "said once")
}

// Close repeats the remove until the container is gone.
func TestDockerCloseRetriesRemove(t *testing.T) {
	for name, fault := range map[string]fakedocker.Rule{
		"in progress":        {Status: 409, Body: `{"message":"removal is already in progress"}`, Times: 3},
		"trouble":            {Status: 500, Body: `{"message":"device or resource busy"}`, Times: 3},
		"the answer is lost": {DropAnswer: true, Times: 1},
		"dropped":            {Drop: true, Times: 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t)
			term := f.terminal(t, terminal.Config{})
			run(t, term, "true")
			fault.Method = "DELETE"
			f.Fault(fault)
			require.NoError(t, term.Close())
			assert.Empty(t, f.containers(t))
			assert.Greater(t, f.Count("DELETE", "/containers/*"), fault.Times)
		})
	}
}

// Open succeeds if the sweep cannot list containers, and the failure is logged.
func TestDockerOpenContainerListFails(t *testing.T) {
	f := newFront(t)
	f.Fault(fakedocker.Rule{Method: "GET", PathRegexp: "^/containers/json$", Status: 500, Body: `{"message":"list trouble"}`})
	log, text := newLog()
	term := f.terminal(t, terminal.Config{Logger: log})
	assert.Empty(t, run(t, term, "true").Notice)
	assert.Contains(t, text(), "list trouble")
	assert.Equal(t, 1, f.Count("GET", "/containers/json"))
}

// If the image's sh cannot serve a lane, each command is an exec of its own with
// the same results.
func TestDockerExecWithoutLane(t *testing.T) {
	f := newFront(t)
	f.image = testimage.NoLane(t)
	log, text := newLog()
	d := f.docker()
	d.User = "1000"
	term := f.terminal(t, terminal.Config{Backend: d, Logger: log, Dir: "/home/user/work"})
	r := run(t, term, "pwd; id -u; cat; echo err >&2")
	assert.Equal(t, "/home/user/work\n1000\nerr\n", r.Output)
	assert.Contains(t, text(), "no lane in the container")

	for command, code := range map[string]int{"exit 7": 7, "nosuch": 127, "kill -TERM $$": 143, "/etc/passwd": 126} {
		r, err := term.Run(t.Context(), terminal.Request{Command: command})
		assert.NoError(t, err, command)
		assert.Equal(t, code, r.ExitCode, command)
	}
	_, err := term.Run(t.Context(), terminal.Request{Command: "true", Dir: "/nosuch"})
	assert.ErrorIs(t, err, terminal.ErrNotStarted)
	assert.ErrorContains(t, err, "/nosuch")
	_, err = term.Run(t.Context(), terminal.Request{Command: "true", Dir: "/etc/passwd"})
	assert.ErrorIs(t, err, terminal.ErrNotStarted)
	r, err = term.Run(t.Context(), terminal.Request{Command: "wc -c; env | grep LONG | wc -c", Stdin: strings.NewReader(strings.Repeat("x", 1<<20)), Env: map[string]string{"LONG": strings.Repeat("x", 1000)}})
	require.NoError(t, err)
	assert.Equal(t, "1048576\n1006\n", r.Output)

	began := time.Now()
	r, err = term.Run(t.Context(), terminal.Request{Command: "echo on; (setsid sleep 1001 &); sleep 1002", Timeout: time.Second})
	assert.ErrorIs(t, err, terminal.ErrTimeout)
	assert.Equal(t, "on\n", r.Output)
	assert.Less(t, time.Since(began), 5*time.Second)
	assert.Equal(t, "0\n", run(t, term, "ps | grep -c '[s]leep 100' || true").Output)

	// The daemon never reports the end.
	undo := f.Fault(fakedocker.Rule{Method: "GET", PathRegexp: "^/exec/[^/]*/json$", Rewrite: func(body []byte) []byte {
		return bytes.Replace(body, []byte(`"Running":false`), []byte(`"Running":true`), 1)
	}})
	began = time.Now()
	r, err = term.Run(t.Context(), terminal.Request{Command: "echo run >>/tmp/runs; cat /tmp/runs"})
	assert.ErrorContains(t, err, "not known how the command ended")
	assert.NotErrorIs(t, err, terminal.ErrNotStarted)
	assert.Equal(t, "run\n", r.Output)
	assert.Less(t, time.Since(began), faultBound)
	undo()
}

// Podman reports pid 0 for an exec that has ended.
func TestDockerExecInspectWithoutPID(t *testing.T) {
	f := newFront(t)
	f.Fault(fakedocker.Rule{Method: "GET", PathRegexp: "^/exec/[^/]*/json$", Rewrite: func(body []byte) []byte {
		return pid.ReplaceAll(body, []byte(`"Pid":0`)) // as Podman does after the end of an exec
	}})
	d := f.docker()
	d.User = "1000"
	term := f.terminal(t, terminal.Config{Backend: d, Dir: "/work"})
	assert.Equal(t, "/work\n", run(t, term, "pwd; touch mine").Output)
}

// A badDocker is an invalid setting and the error it must cause.
type badDocker struct {
	spoil    func(t *testing.T, d *terminal.Docker)
	sentinel error
	words    []string
}

// Open names the setting at fault and what to do about it, and leaves no
// container.
func TestDockerOpenInvalidConfig(t *testing.T) {
	for name, c := range map[string]badDocker{
		"image that is not there, pull never": {
			func(_ *testing.T, d *terminal.Docker) { d.Image = "terminal-test/none:1" },
			terminal.ErrUnavailable,
			[]string{"terminal-test/none:1", "Docker.Pull", "pull it"},
		},
		"image that is not there, registry that does not answer": {
			func(_ *testing.T, d *terminal.Docker) {
				d.Image, d.Pull, d.PullTimeout = "localhost:1/none:1", terminal.PullMissing, 10*time.Second
			},
			terminal.ErrUnavailable,
			[]string{"localhost:1/none:1", "network", "pull it by hand"},
		},
		"image reference makes no sense": {
			func(_ *testing.T, d *terminal.Docker) { d.Image = "Upper Case" },
			terminal.ErrUnavailable,
			[]string{"Upper Case", "invalid reference", "correct"},
		},
		"image reference makes no sense, pull always": {
			func(_ *testing.T, d *terminal.Docker) { d.Image, d.Pull = "Upper Case", terminal.PullAlways },
			terminal.ErrUnavailable,
			[]string{"Upper Case", "invalid reference"},
		},
		"image without a shell": {
			func(t *testing.T, d *terminal.Docker) { d.Image = testimage.NoShell(t) },
			terminal.ErrUnavailable,
			[]string{"terminal-test/noshell:", "usable sh", "choose an image"},
		},
		"image for another platform": {
			func(_ *testing.T, d *terminal.Docker) { d.Platform = "linux/s390x" },
			terminal.ErrUnavailable,
			[]string{"linux/s390x", "Docker.Platform"},
		},
		"platform that there is none of": {
			func(_ *testing.T, d *terminal.Docker) { d.Platform = "plan9/vax" },
			terminal.ErrUnavailable,
			[]string{"plan9/vax", "Docker.Platform"},
		},
		"mount of what is not there": {
			func(_ *testing.T, d *terminal.Docker) {
				d.Mounts = []terminal.Mount{{Source: "/no/such/directory", Target: "/mnt"}}
			},
			terminal.ErrUnavailable,
			[]string{"/no/such/directory", "does not exist", "correct"},
		},
		"runtime that is not there": {
			func(_ *testing.T, d *terminal.Docker) { d.Runtime = "nosuch" },
			terminal.ErrUnavailable,
			[]string{"untime", "nosuch", "correct"},
		},
		"network that is not there": {
			func(_ *testing.T, d *terminal.Docker) { d.Network = "nosuch" },
			terminal.ErrUnavailable,
			[]string{"network", "nosuch", "correct"},
		},
		"capability that there is none of": {
			func(_ *testing.T, d *terminal.Docker) { d.ExtraCapabilities = []string{"NO_SUCH"} },
			terminal.ErrUnavailable,
			[]string{"NO_SUCH", "correct"},
		},
		"memory that no container fits in": {
			func(_ *testing.T, d *terminal.Docker) { d.Memory = 1000 },
			terminal.ErrUnavailable,
			[]string{"emory", "correct"},
		},
		"processes that no shell can do with": {
			func(_ *testing.T, d *terminal.Docker) { d.PIDs = 1 },
			terminal.ErrUnavailable,
			[]string{"Docker.PIDs"},
		},
		// Daemons answer 500 to these, so they may be transient.
		"user that does not exist": {
			func(_ *testing.T, d *terminal.Docker) { d.User = "nosuch" },
			terminal.ErrNotStarted,
			[]string{"user nosuch", "correct the field of Docker"},
		},
		"tmpfs option that there is none of": {
			func(_ *testing.T, d *terminal.Docker) { d.Tmpfs = map[string]string{"/scratch": "nosuch=1"} },
			terminal.ErrNotStarted,
			[]string{"nosuch", "correct the field of Docker"},
		},
		"shell that is not in the image": {
			func(_ *testing.T, d *terminal.Docker) { d.Shell = "/bin/nosuch" },
			terminal.ErrUnavailable,
			[]string{"/bin/nosuch", "Docker.Shell"},
		},
		"init script that fails": {
			func(_ *testing.T, d *terminal.Docker) { d.InitScript = "echo first; echo no such package >&2; exit 3" },
			terminal.ErrUnavailable,
			[]string{"init script", "code 3", "no such package"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t)
			d := f.docker()
			c.spoil(t, &d)
			began := time.Now()
			err := f.fails(t, d, c.sentinel)
			assert.Less(t, time.Since(began), 10*time.Second)
			for _, word := range c.words {
				assert.ErrorContains(t, err, word)
			}
			f.works(t, f.docker())
		})
	}
}

// New and Open refuse what can be checked without a daemon.
func TestDockerNewInvalidConfig(t *testing.T) {
	for name, c := range map[string]struct {
		docker terminal.Docker
		words  []string
	}{
		"relative mount target": {terminal.Docker{Mounts: []terminal.Mount{{Source: "/", Target: "mnt"}}}, []string{"mount target", `"mnt"`, "absolute"}},
		"mount without source":  {terminal.Docker{Mounts: []terminal.Mount{{Target: "/mnt"}}}, []string{"/mnt", "source"}},
		"relative tmpfs":        {terminal.Docker{Tmpfs: map[string]string{"x": ""}}, []string{"tmpfs", `"x"`, "absolute"}},
		"label of ours":         {terminal.Docker{Labels: map[string]string{terminal.LabelPrefix + "owner": "me"}}, []string{terminal.LabelPrefix + "owner"}},
		"pull sometimes":        {terminal.Docker{Pull: "sometimes"}, []string{"pull", `"sometimes"`, terminal.PullNever}},
		"platform":              {terminal.Docker{Platform: "linux"}, []string{"platform", `"linux"`, "os/arch"}},
		"negative memory":       {terminal.Docker{Memory: -1}, []string{"memory", "-1"}},
		"negative cpus":         {terminal.Docker{CPUs: -1}, []string{"cpus", "-1"}},
		"security option":       {terminal.Docker{SecurityOpt: []string{"nosuch"}}, []string{"security", "nosuch", "name=value"}},
		"seccomp file":          {terminal.Docker{SecurityOpt: []string{"seccomp=/etc/profile.json"}}, []string{"seccomp", "/etc/profile.json", "JSON"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := terminal.New(terminal.Config{Backend: c.docker})
			for _, word := range c.words {
				assert.ErrorContains(t, err, word)
			}
			_, err = c.docker.Open(t.Context(), "task")
			isUnavailable(t, err, c.words...)
		})
	}
}

// Open works with images and settings that leave it little to work with.
func TestDockerOpenUncommonConfig(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, d *terminal.Docker){
		"entrypoint that exits":       func(t *testing.T, d *terminal.Docker) { d.Image = testimage.Exits(t) },
		"read-only, and still a /tmp": func(_ *testing.T, d *terminal.Docker) { d.ReadOnly = true },
		"read-only, with a /tmp of the user's": func(_ *testing.T, d *terminal.Docker) {
			d.ReadOnly, d.Tmpfs = true, map[string]string{"/tmp": "size=1m"}
		},
		"seccomp profiles":                      func(_ *testing.T, d *terminal.Docker) { d.SecurityOpt = []string{"seccomp=unconfined"} },
		"init script without a Terminal's Dir":  func(_ *testing.T, d *terminal.Docker) { d.InitScript = "touch /tmp/it" },
		"a shell that is named and in the PATH": func(_ *testing.T, d *terminal.Docker) { d.Shell = "ash" },
		"little memory":                         func(_ *testing.T, d *terminal.Docker) { d.Memory = 8 << 20 },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t)
			d := f.docker()
			spoil(t, &d)
			f.works(t, d)
			term := f.terminal(t, terminal.Config{Backend: d})
			assert.Equal(t, "it\n", run(t, term, "touch /tmp/it; ls /tmp").Output)
		})
	}
}

// A canceled call does not wait for an init script that hangs, and Close ends
// the script.
func TestDockerInitScriptHangs(t *testing.T) {
	f := newFront(t)
	d := f.docker()
	d.InitScript = "sleep 1001"
	term := f.terminal(t, terminal.Config{Backend: d})
	ctx, cancel := context.WithCancel(t.Context())
	done := inBackground(ctx, term, terminal.Request{Command: "true"})
	require.Eventually(t, func() bool { return f.processes(t, "sleep 1001") }, 10*time.Second, 10*time.Millisecond)
	cancel()
	assert.ErrorIs(t, within(t, time.Second, done).err, context.Canceled)
	began := time.Now()
	require.NoError(t, term.Close())
	assert.Less(t, time.Since(began), 10*time.Second)
	assert.Empty(t, f.containers(t))
}

// processes reports whether a command runs in a container of the test.
func (f front) processes(t *testing.T, command string) bool {
	t.Helper()
	for _, id := range f.containers(t) {
		top, err := f.real.ContainerTop(t.Context(), strings.Fields(id)[0], client.ContainerTopOptions{})
		if err == nil && strings.Contains(fmt.Sprint(top.Processes), command) {
			return true
		}
	}
	return false
}

var pid = regexp.MustCompile(`"Pid":[0-9]+`)
