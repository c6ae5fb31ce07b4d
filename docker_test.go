//go:build !terminal_nodocker

// Tests of the Docker backend with a daemon that works: containers, locating the
// daemon, pulls, files and output of startup files.

package terminal_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/cpuguy83/dockercfg"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/internal/fakedocker"
	"github.com/terminal-go/terminal/internal/testimage"
	"github.com/terminal-go/terminal/terminaltest"
)

// ownerLabel is the label of a container that identifies its owning process.
const ownerLabel = terminal.LabelPrefix + "owner"

// dockerLab is a Terminal on Docker and a client that inspects its containers.
type dockerLab struct {
	*terminal.Terminal
	cli  *client.Client
	mark string // a label that only its containers have
}

// newDockerLab returns a dockerLab that is closed with the test and fails the
// test if a container is left.
func newDockerLab(t testing.TB, d terminal.Docker, cfg terminal.Config) *dockerLab {
	t.Helper()
	lab := &dockerLab{cli: testimage.Engine(t), mark: unique()}
	d.Pull = terminal.PullNever
	if d.Image == "" {
		d.Image = testimage.Busybox(t)
	}
	d.Labels = maps.Clone(d.Labels)
	if d.Labels == nil {
		d.Labels = map[string]string{}
	}
	d.Labels["terminal-test.lab"] = lab.mark
	cfg.Backend = d
	var err error
	lab.Terminal, err = terminal.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, lab.Close())
		assert.Empty(t, lab.containers(t), "containers left after Close")
	})
	return lab
}

func unique() string { return fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano()) }

// containers returns the Terminal's containers in any state.
func (l *dockerLab) containers(t testing.TB) []container.Summary {
	t.Helper()
	return labelled(t, l.cli, "terminal-test.lab="+l.mark)
}

func labelled(t testing.TB, cli *client.Client, label string) []container.Summary {
	t.Helper()
	list, err := cli.ContainerList(context.Background(), client.ContainerListOptions{
		All:     true,
		Filters: make(client.Filters).Add("label", label),
	})
	require.NoError(t, err)
	return list.Items
}

// id returns the ID of a task's container.
func (l *dockerLab) id(t testing.TB, task string) string {
	t.Helper()
	for _, c := range l.containers(t) {
		if c.Labels[terminal.LabelPrefix+"task"] == task {
			return c.ID
		}
	}
	require.FailNow(t, "no container", "of task %q", task)
	return ""
}

// inspect returns what the daemon reports of the default task's container.
func (l *dockerLab) inspect(t testing.TB) container.InspectResponse {
	t.Helper()
	found, err := l.cli.ContainerInspect(t.Context(), l.id(t, terminal.DefaultTask), client.ContainerInspectOptions{})
	require.NoError(t, err)
	return found.Container
}

// out runs a command that must succeed and returns its output.
func (l *dockerLab) out(t testing.TB, command string) string {
	t.Helper()
	res, err := l.Run(context.Background(), terminal.Request{Command: command})
	require.NoError(t, err, command)
	require.Zero(t, res.ExitCode, "%s: %s", command, res.Output)
	return strings.TrimSuffix(res.Output, "\n")
}

// settle waits until the container has its spare lane, which is opened in the
// background after the second command.
func (l *dockerLab) settle(t testing.TB, id string) {
	t.Helper()
	require.Eventually(t, func() bool {
		found, err := l.cli.ContainerInspect(context.Background(), id, client.ContainerInspectOptions{})
		if err != nil || len(found.Container.ExecIDs) == 0 {
			return false
		}
		for _, exec := range found.Container.ExecIDs {
			e, err := l.cli.ExecInspect(context.Background(), exec, client.ExecInspectOptions{})
			if err != nil || !e.Running || e.PID == 0 {
				return false
			}
		}
		return true
	}, 30*time.Second, 20*time.Millisecond)
}

// top lists the processes of a container as the daemon's host sees them.
func (l *dockerLab) top(t testing.TB, id string) string {
	t.Helper()
	found, err := l.cli.ContainerTop(context.Background(), id, client.ContainerTopOptions{Arguments: []string{"-eo", "pid,uid,stat,args"}})
	require.NoError(t, err)
	var b strings.Builder
	for _, p := range found.Processes {
		b.WriteString(strings.Join(p, " ") + "\n")
	}
	return b.String()
}

// started returns a writer and a channel that is closed once a line with the
// word was written.
func started(word string) (io.Writer, <-chan struct{}) {
	r, w := io.Pipe()
	found := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			if lines.Text() == word {
				close(found)
				break
			}
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	return closer{w}, found
}

// closer lets the reader of a pipe be ended through an io.Writer.
type closer struct{ *io.PipeWriter }

// running is a command that runs in the background.
type running struct {
	res  terminal.Result
	err  error
	done chan struct{}
}

// start runs a command and returns when it has printed "started".
func (l *dockerLab) start(t testing.TB, req terminal.Request) *running {
	t.Helper()
	w, found := started("started")
	req.Stdout = w
	r := &running{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		defer w.(closer).Close()
		r.res, r.err = l.Run(context.Background(), req)
	}()
	select {
	case <-found:
	case <-r.done:
		require.FailNow(t, "command ended early", "%v %+v", r.err, r.res)
	case <-time.After(30 * time.Second):
		require.FailNow(t, "command did not start")
	}
	return r
}

// wait waits for the command and returns its result.
func (r *running) wait(t testing.TB) (terminal.Result, error) {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(40 * time.Second):
		require.FailNow(t, "command did not end")
	}
	return r.res, r.err
}

// TestDockerOwnerHelperProcess is no test:
// TestDockerContainersRemovedAfterOwnerKilled runs it in a child process and
// kills that.
func TestDockerOwnerHelperProcess(t *testing.T) {
	mark := os.Getenv("TERMINAL_TEST_OWNER")
	if mark == "" {
		t.Skip("runs only as a child of TestDockerContainersRemovedAfterOwnerKilled")
	}
	term, err := terminal.New(terminal.Config{Timeout: time.Hour, Backend: terminal.Docker{
		Image:  testimage.Busybox(t),
		Pull:   terminal.PullNever,
		Labels: map[string]string{"terminal-test.lab": mark},
	}})
	require.NoError(t, err)
	lab := &dockerLab{Terminal: term}
	lab.start(t, terminal.Request{Task: "first lane", Command: "trap '' TERM HUP INT PIPE; setsid sleep 1004 & echo started; while :; do sleep 1000; done"})
	lab.start(t, terminal.Request{Task: "second lane", Command: "trap '' TERM HUP INT PIPE; echo started; while :; do sleep 1000; done", Stdin: strings.NewReader("")})
	lab.start(t, terminal.Request{Task: "floods", Command: "echo started; trap '' TERM HUP PIPE; yes"})
	fmt.Println("owner is ready")
	select {}
}

// When the owning process is killed, its containers end with it, even those
// whose commands ignore signals. Containers of other owners stay.
func TestDockerContainersRemovedAfterOwnerKilled(t *testing.T) {
	sibling := newDockerLab(t, terminal.Docker{}, terminal.Config{})
	sibling.out(t, "echo kept >/tmp/file")
	id := sibling.id(t, terminal.DefaultTask)

	mark := unique()
	owner := exec.Command(os.Args[0], "-test.run=^TestDockerOwnerHelperProcess$", "-test.count=1", "-test.v")
	owner.Env = append(os.Environ(), "TERMINAL_TEST_OWNER="+mark)
	out, err := owner.StdoutPipe()
	require.NoError(t, err)
	owner.Stderr = owner.Stdout
	require.NoError(t, owner.Start())
	ready := false
	var text strings.Builder
	for lines := bufio.NewScanner(out); !ready && lines.Scan(); {
		ready = lines.Text() == "owner is ready"
		text.WriteString(lines.Text() + "\n")
	}
	mine := labelled(t, sibling.cli, "terminal-test.lab="+mark)
	require.NoError(t, owner.Process.Kill())
	killed := time.Now()
	_ = owner.Wait()
	require.True(t, ready, text.String())
	require.Len(t, mine, 3)
	require.Eventually(t, func() bool {
		return len(labelled(t, sibling.cli, "terminal-test.lab="+mark)) == 0
	}, 10*time.Second, 50*time.Millisecond, "containers outlive their owner")
	t.Logf("gone %v after the owner", time.Since(killed).Round(time.Millisecond))

	assert.Equal(t, "kept", sibling.out(t, "cat /tmp/file"))
	assert.Equal(t, id, sibling.id(t, terminal.DefaultTask))
}

// The sweep at Open removes a container only if its label proves that the owner
// is dead on this host, in this boot and pid namespace.
func TestDockerSweepDeadOwnersOnly(t *testing.T) {
	lab := newDockerLab(t, terminal.Docker{}, terminal.Config{})
	lab.out(t, "true") // waits for the sweep of this Open
	child := exec.Command("true")
	require.NoError(t, child.Run())

	const host, boot, pids, pid, begun = 0, 1, 2, 3, 4 // fields of the label
	mine := strings.Split(lab.inspect(t).Config.Labels[ownerLabel], " ")
	require.Len(t, mine, 5)
	owner := func(changes ...any) string {
		fields := slices.Clone(mine)
		for i := 0; i < len(changes); i += 2 {
			fields[changes[i].(int)] = fmt.Sprint(changes[i+1])
		}
		return strings.Join(fields, " ")
	}
	dead := child.Process.Pid
	cases := map[string]struct {
		owner   string
		run     bool
		removed bool
	}{
		"dead":                  {owner(pid, dead), true, true},
		"dead, only created":    {owner(pid, dead), false, true},
		"pid given out again":   {owner(begun, 1), false, true},
		"alive":                 {owner(), true, false},
		"alive, only created":   {owner(), false, false},
		"another host":          {owner(pid, dead, host, "elsewhere"), false, false},
		"another boot":          {owner(pid, dead, boot, "0e0e0e0e-0000-4000-8000-000000000000"), false, false},
		"no boot":               {owner(pid, dead, boot, ""), false, false},
		"another pid namespace": {owner(pid, dead, pids, "pid:[1]"), false, false},
		"no pid namespace":      {owner(pid, dead, pids, ""), false, false},
		"no start time":         {owner(pid, dead, begun, ""), false, false},
		"pid is no number":      {owner(pid, "x"), false, false},
		"pid is negative":       {owner(pid, -1), false, false},
		"six fields":            {owner(pid, dead) + " 1", false, false},
		"no sense":              {"me", false, false},
		"empty":                 {"", false, false},
	}
	ids := make(map[string]string)
	for name, c := range cases {
		created, err := lab.cli.ContainerCreate(t.Context(), client.ContainerCreateOptions{
			Config: &container.Config{
				Image:  testimage.Busybox(t),
				Cmd:    []string{"sleep", "1000"},
				Labels: map[string]string{ownerLabel: c.owner},
			},
			HostConfig: &container.HostConfig{NetworkMode: "none"},
		})
		require.NoError(t, err)
		ids[created.ID] = name
		t.Cleanup(func() {
			_, _ = lab.cli.ContainerRemove(context.Background(), created.ID, client.ContainerRemoveOptions{Force: true})
		})
		if c.run {
			_, err = lab.cli.ContainerStart(t.Context(), created.ID, client.ContainerStartOptions{})
			require.NoError(t, err)
		}
	}
	newDockerLab(t, terminal.Docker{}, terminal.Config{}).out(t, "true")
	left := make(map[string]bool)
	for _, c := range labelled(t, lab.cli, ownerLabel) {
		left[ids[c.ID]] = true
	}
	for name, c := range cases {
		assert.Equal(t, !c.removed, left[name], name)
	}
}

// A timeout also finds processes of other users. Root in the container has no
// CAP_SYS_PTRACE, so it cannot read their environment.
func TestDockerTimeoutKillsHiddenProcesses(t *testing.T) {
	const hide = "setsid sleep 1001 & (setsid $nohup sleep 1002 >/dev/null 2>&1 &) ; sleep 1003"
	const stubborn = "trap '' TERM HUP INT; " + hide + " & while :; do sleep 1004; done"
	su := func(script string) string { return fmt.Sprintf("setsid su -s /bin/sh user -c \"%s\" & ", script) }
	priv := func(ids string) string {
		return "setsid setpriv --clear-groups " + ids + " sh -c \"trap '' TERM; setsid sleep 1001 & sleep 1002\" & "
	}
	for _, c := range []struct {
		name, image, user, script string
		hidden                    int // processes to wait for before the limit
	}{
		{"busybox", "busybox", "", hide, 2},
		{"busybox, TERM ignored", "busybox", "", stubborn, 2},
		{"busybox, TERM ignored, Docker.User", "busybox", "user", stubborn, 2},
		{"busybox, su", "busybox", "", su(stubborn) + su(hide) + "sleep 1005", 4},
		{"debian", "debian", "", hide, 2},
		{"debian, TERM ignored", "debian", "", stubborn, 2},
		{"debian, TERM ignored, Docker.User", "debian", "4321:1234", stubborn, 2},
		{"debian, all kinds of users", "debian", "", "useradd -u 1000 user; " + su(hide) +
			priv("--reuid 1234 --regid 1234") + priv("--reuid 1000") + priv("--regid 7") + priv("--reuid 1000 --regid 7") + "sleep 1005", 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			lab := newDockerLab(t, terminal.Docker{Image: dockerImages[c.image](t), User: c.user}, terminal.Config{})
			c.script = "nohup=$(command -v nohup); export nohup; " + c.script // Debian's busybox has none
			lab.out(t, "echo kept >/tmp/file")
			id := lab.id(t, terminal.DefaultTask)
			const limit = 2 * time.Second
			began := time.Now()
			hidden := make(chan string, 1)
			go func() {
				var top string
				for time.Since(began) < limit-200*time.Millisecond {
					if top = lab.top(t, id); strings.Count(top, " sleep 1001\n")+strings.Count(top, " sleep 1002\n") >= c.hidden {
						top = ""
						break
					}
				}
				hidden <- top
			}()
			res, err := lab.Run(t.Context(), terminal.Request{Command: c.script, Timeout: limit})
			took := time.Since(began)
			assert.ErrorIs(t, err, terminal.ErrTimeout)
			assert.Equal(t, 124, res.ExitCode)
			assert.Empty(t, res.Notice)
			assert.Empty(t, <-hidden, "not all of its processes were seen")
			t.Logf("took %v", took.Round(time.Millisecond))
			assert.Less(t, took, limit+3*time.Second)
			assert.NotContains(t, lab.top(t, id), "sleep 100")
			assert.NotContains(t, lab.out(t, "cat /proc/[0-9]*/cmdline | tr '\\000' ' '"), "sleep 100")
			assert.Equal(t, "kept", lab.out(t, "cat /tmp/file"))
		})
	}
}

// No process in a paused container can be killed, so the container is replaced.
func TestDockerTimeoutReplacesPausedContainer(t *testing.T) {
	t.Parallel() // waits most of the time
	for name, script := range map[string]string{
		"first lane": "echo started; sleep 1000",
		"both lanes": "echo started; exec sleep 1000 & wait",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab := newDockerLab(t, terminal.Docker{}, terminal.Config{})
			lab.out(t, "echo old >/tmp/file")
			if name == "both lanes" { // the idle lane that would run the kill does not answer either
				lab.start(t, terminal.Request{Command: "echo started; sleep 0.3"}).wait(t)
				// An Engine that is asked to pause while it starts an exec may
				// never be able to remove the container.
				lab.settle(t, lab.id(t, terminal.DefaultTask))
			}
			id := lab.id(t, terminal.DefaultTask)
			began := time.Now()
			r := lab.start(t, terminal.Request{Command: script, Timeout: 2 * time.Second})
			_, err := lab.cli.ContainerPause(t.Context(), id, client.ContainerPauseOptions{})
			require.NoError(t, err)
			res, err := r.wait(t)
			t.Logf("took %v", time.Since(began).Round(time.Millisecond))
			assert.ErrorIs(t, err, terminal.ErrTimeout)
			assert.Equal(t, 124, res.ExitCode)
			assert.Contains(t, res.Notice, "environment was closed")
			assert.Less(t, time.Since(began), 25*time.Second)
			assert.Equal(t, "new", lab.out(t, "cat /tmp/file 2>/dev/null || echo new"))
			assert.NotEqual(t, id, lab.id(t, terminal.DefaultTask))
			require.NoError(t, lab.Close())
		})
	}
}

// A command is never run twice, whatever ends its container. A file on the host
// counts the runs, because it outlives the container.
func TestDockerContainerEndedRunsCommandOnce(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context, cli *client.Client, id string) error{
		"rm -f": func(ctx context.Context, cli *client.Client, id string) error {
			_, err := cli.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true})
			return err
		},
		"kill": func(ctx context.Context, cli *client.Client, id string) error {
			_, err := cli.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "KILL"})
			return err
		},
		"stop": func(ctx context.Context, cli *client.Client, id string) error {
			_, err := cli.ContainerStop(ctx, id, client.ContainerStopOptions{})
			return err
		},
		"restart": func(ctx context.Context, cli *client.Client, id string) error {
			_, err := cli.ContainerRestart(ctx, id, client.ContainerRestartOptions{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := t.TempDir()
			lab := newDockerLab(t, terminal.Docker{Mounts: []terminal.Mount{{Source: host, Target: "/host"}}}, terminal.Config{})
			// Between two calls: the next one runs in a new container. A call that
			// is sent while the container ends is lost, because it may have run.
			began := time.Now()
			var first string
			var res terminal.Result
			for try := range 5 {
				lab.out(t, "echo old >/tmp/file")
				first = lab.id(t, terminal.DefaultTask)
				require.NoError(t, end(t.Context(), lab.cli, first))
				if name != "restart" {
					require.Eventually(t, func() bool { return len(lab.containers(t)) == 0 }, 10*time.Second, 10*time.Millisecond)
				}
				began = time.Now()
				var err error
				res, err = lab.Run(t.Context(), terminal.Request{Command: "echo between >>/host/log; cat /tmp/file || echo new >/tmp/file"})
				if errors.Is(err, terminal.ErrGone) && try < 4 {
					assert.Equal(t, terminal.StatusLost, res.Status)
					continue
				}
				require.NoError(t, err)
				break
			}
			assert.Zero(t, res.ExitCode)
			assert.NotEmpty(t, res.Notice)
			assert.Less(t, time.Since(began), 8*time.Second)
			second := lab.id(t, terminal.DefaultTask)
			assert.NotEqual(t, first, second)

			// During two calls on two lanes: both are lost.
			a := lab.start(t, terminal.Request{Command: "echo during >>/host/log; echo started; sleep 30; echo after >>/host/log"})
			b := lab.start(t, terminal.Request{Command: "echo during >>/host/log; echo started; sleep 30; echo after >>/host/log"})
			began = time.Now()
			require.NoError(t, end(t.Context(), lab.cli, second))
			for _, r := range []*running{a, b} {
				res, err := r.wait(t)
				assert.ErrorIs(t, err, terminal.ErrGone)
				assert.NotErrorIs(t, err, terminal.ErrNotStarted)
				assert.Equal(t, terminal.StatusLost, res.Status)
				assert.Equal(t, -1, res.ExitCode)
				assert.Equal(t, "started\n", res.Output)
				t.Log(err)
			}
			assert.Less(t, time.Since(began), 8*time.Second)
			res, err := lab.Run(t.Context(), terminal.Request{Command: "cat /tmp/file || echo fresh"})
			require.NoError(t, err)
			assert.Contains(t, res.Output, "fresh")
			assert.NotEqual(t, second, lab.id(t, terminal.DefaultTask))

			log, err := os.ReadFile(filepath.Join(host, "log"))
			require.NoError(t, err)
			assert.Equal(t, "between\nduring\nduring\n", string(log))
			require.Eventually(t, func() bool { return len(lab.containers(t)) == 1 }, 10*time.Second, 10*time.Millisecond, "the dead one is still there")
		})
	}
}

// The kernel kills the command that exceeds the memory limit; the container
// stays.
func TestDockerMemoryLimitKillsCommandOnly(t *testing.T) {
	for name, image := range dockerImages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab := newDockerLab(t, terminal.Docker{Image: image(t), Memory: 32 << 20}, terminal.Config{})
			lab.out(t, "echo kept >/tmp/file")
			id := lab.id(t, terminal.DefaultTask)
			assert.EqualValues(t, 32<<20, lab.inspect(t).HostConfig.Memory)
			// tail buffers a line of any length. exec makes it the process that is killed.
			res, err := lab.Run(t.Context(), terminal.Request{Command: "exec tail /dev/zero"})
			require.NoError(t, err)
			assert.Equal(t, 137, res.ExitCode)
			res, err = lab.Run(t.Context(), terminal.Request{Command: "{ tail /dev/zero & wait $!; } 2>/dev/null; echo $?"})
			require.NoError(t, err)
			assert.Equal(t, "137", strings.TrimSpace(res.Output))
			assert.Empty(t, res.Notice)
			assert.Equal(t, "kept", lab.out(t, "cat /tmp/file"))
			assert.Equal(t, id, lab.id(t, terminal.DefaultTask))
		})
	}
}

// A command that ends its own container is reported as lost, and the next one
// runs in a new container.
func TestDockerCommandEndsOwnContainer(t *testing.T) {
	for name, script := range map[string]string{
		"kill all":  "kill -KILL -1; sleep 10",
		"kill init": "kill -TERM 1; sleep 10",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab := newDockerLab(t, terminal.Docker{}, terminal.Config{})
			lab.out(t, "true")
			began := time.Now()
			res, err := lab.Run(t.Context(), terminal.Request{Command: script, Timeout: 20 * time.Second})
			assert.ErrorIs(t, err, terminal.ErrGone)
			assert.Less(t, time.Since(began), 6*time.Second)
			assert.Equal(t, terminal.StatusLost, res.Status)
			assert.Equal(t, "works", lab.out(t, "echo works"))
		})
	}
}

// Models use pkill and killall to stop their own processes; these must not hit
// the library's.
func TestDockerContainerSurvivesKillByName(t *testing.T) {
	for name, image := range dockerImages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab := newDockerLab(t, terminal.Docker{Image: image(t)}, terminal.Config{})
			lab.out(t, "echo kept >/tmp/file")
			id := lab.id(t, terminal.DefaultTask)
			for _, command := range []string{
				"pkill sleep", "pkill -9 sleep", "pkill cat", "pkill -9 cat", "pkill -9 -x cat; pkill -9 -x cat",
				"killall -9 cat sleep", "pkill -9 -f python", "pkill -9 -f server.py", "pkill -9 -f 86400", "pkill bash", "pkill -f 'sleep 1000'",
				"pkill -f cat", "pkill -f sleep", "pkill -f node", "pkill -9 -P $$", "trap '' TERM; kill -TERM 0",
			} {
				res, err := lab.Run(t.Context(), terminal.Request{Command: "(sleep 1000 &) ; " + command + "; echo done", Timeout: 10 * time.Second})
				assert.NoError(t, err, command)
				assert.Contains(t, res.Output, "done", command)
				assert.NotContains(t, res.Notice, "environment", command)
			}
			assert.Equal(t, "kept", lab.out(t, "cat /tmp/file"))
			assert.Equal(t, id, lab.id(t, terminal.DefaultTask))
		})
	}
}

// A background process that keeps writing is not blocked, and its output
// appears in no later result.
func TestDockerBackgroundOutputDiscarded(t *testing.T) {
	for _, c := range []struct{ name, image, wrap string }{
		{"busybox", "busybox", "(%s) &"},
		{"busybox, detached", "busybox", "(setsid sh -c '%s' &);"},
		{"debian", "debian", "{ %s; } &"},
		{"debian, another user", "debian", "setsid setpriv --reuid 1000 --regid 1000 --clear-groups sh -c '%s' &"},
		{"debian, no environment", "debian", "env -i setsid sh -c '%s' &"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			lab := newDockerLab(t, terminal.Docker{Image: dockerImages[c.image](t)}, terminal.Config{})
			lab.out(t, "mkdir -m 777 /tmp/shared; mkfifo -m 666 /tmp/shared/go")
			noise := "read x </tmp/shared/go; i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo NOISE; head -c 16384 /dev/zero; echo NOISE >&2; done; echo $i >/tmp/shared/done"
			began := time.Now()
			res, err := lab.Run(t.Context(), terminal.Request{Command: fmt.Sprintf(c.wrap, noise) + " echo first"})
			require.NoError(t, err)
			assert.Equal(t, "first\n", res.Output)
			assert.Less(t, time.Since(began), 5*time.Second)
			res, err = lab.Run(t.Context(), terminal.Request{Command: "echo >/tmp/shared/go; while [ ! -s /tmp/shared/done ]; do sleep 0.05; done; cat /tmp/shared/done", Timeout: 20 * time.Second})
			require.NoError(t, err)
			assert.Equal(t, "300\n", res.Output)
		})
	}
}

func TestDockerOptions(t *testing.T) {
	const cgroup = "cat /sys/fs/cgroup/%s 2>/dev/null || cat /sys/fs/cgroup/%s" // cgroup v2, cgroup v1
	status := func(fields string) string { return "grep -w -E '^(" + fields + ")' /proc/self/status | tr -d '\\t'" }
	host := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(host, "file"), []byte("of the host\n"), 0o644))
	for _, c := range []struct {
		name          string
		docker        terminal.Docker
		cfg           terminal.Config
		command, want string
	}{
		{
			"privileges by default",
			terminal.Docker{},
			terminal.Config{},
			status("CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp") + ";" + fmt.Sprintf(cgroup, "pids.max", "pids/pids.max"),
			"CapEff:00000000000000fb\nCapBnd:00000000000000fb\nCapAmb:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n1024",
		},
		{
			"ExtraCapabilities and SecurityOpt",
			terminal.Docker{ExtraCapabilities: []string{"NET_RAW"}, SecurityOpt: []string{"seccomp=unconfined"}},
			terminal.Config{},
			status("CapEff|NoNewPrivs|Seccomp"), "CapEff:00000000000020fb\nNoNewPrivs:1\nSeccomp:0",
		},
		{"User has no capabilities", terminal.Docker{User: "user"}, terminal.Config{}, status("CapEff"), "CapEff:0000000000000000"},
		{"Env", terminal.Docker{Env: map[string]string{"A": "a b", "B": "docker"}}, terminal.Config{Env: map[string]string{"B": "config"}}, `echo "$A $B"`, "a b config"},
		{"User gets its directory made", terminal.Docker{User: "user"}, terminal.Config{Dir: "/new/work"}, "id -u; id -g; pwd; touch x; stat -c %u:%g . x; echo ~", "1000\n1000\n/new/work\n1000:1000\n1000:1000\n/home/user"},
		{"User with a group", terminal.Docker{User: "1000:7"}, terminal.Config{Dir: "/new/work"}, "id -u; id -g; touch x; stat -c %u:%g . x", "1000\n7\n1000:7\n1000:7"},
		{"User leaves a directory alone", terminal.Docker{User: "user"}, terminal.Config{Dir: "/bin"}, "stat -c %u .", "0"},
		{"User may make it itself", terminal.Docker{User: "user"}, terminal.Config{Dir: "/home/user/a/b"}, "pwd; stat -c %u . ..", "/home/user/a/b\n1000\n1000"},
		{"Dir is made", terminal.Docker{}, terminal.Config{Dir: "/new/it's \"here\""}, "pwd; stat -c %u .", "/new/it's \"here\"\n0"},
		{
			"limits",
			terminal.Docker{CPUs: 0.5, Memory: 64 << 20, PIDs: 77, ShmSize: 5 << 20},
			terminal.Config{},
			fmt.Sprintf(cgroup, "cpu.max", "cpu/cpu.cfs_quota_us") + " | cut -d' ' -f1;" + fmt.Sprintf(cgroup, "memory.max", "memory/memory.limit_in_bytes") + ";" +
				fmt.Sprintf(cgroup, "pids.max", "pids/pids.max") + "; df -k /dev/shm | tail -n 1 | awk '{print $2}'",
			"50000\n67108864\n77\n5120",
		},
		{"PIDs unlimited", terminal.Docker{PIDs: -1}, terminal.Config{}, fmt.Sprintf(cgroup, "pids.max", "pids/pids.max"), "max"},
		{"Network none", terminal.Docker{Network: "none"}, terminal.Config{}, "cat /proc/net/route | wc -l", "1"},
		{"ReadOnly", terminal.Docker{ReadOnly: true}, terminal.Config{}, "touch /x 2>/dev/null || echo refused; touch x && echo taken; pwd", "refused\ntaken\n/tmp"},
		{
			"ReadOnly with Tmpfs",
			terminal.Docker{ReadOnly: true, Tmpfs: map[string]string{"/tmp": "size=1m", "/work": "size=2m"}},
			terminal.Config{Dir: "/work"},
			"touch x; pwd; df -k /tmp /work | awk '{print $2}' | tail -n 2", "/work\n1024\n2048",
		},
		{
			"ReadOnly with User",
			terminal.Docker{ReadOnly: true, User: "user", Tmpfs: map[string]string{"/work": ""}},
			terminal.Config{Dir: "/work"},
			"touch x && stat -c %u x", "1000",
		},
		{
			"Mounts",
			terminal.Docker{Mounts: []terminal.Mount{{Source: host, Target: "/rw"}, {Source: host, Target: "/ro", ReadOnly: true}}},
			terminal.Config{},
			"cat /ro/file; echo of the container >/rw/new; cat /ro/new; echo x 2>/dev/null >/ro/x || echo refused", "of the host\nof the container\nrefused",
		},
		{"InitScript", terminal.Docker{InitScript: "pwd >>/init; echo \"$0 $TERM\" >>/init"}, terminal.Config{Dir: "/work"}, "cat /init", "/work\nsh dumb"},
		{"Shell", terminal.Docker{Image: "debian", Shell: "dash"}, terminal.Config{}, "echo ${BASH_VERSION:-none}; readlink /proc/$$/exe", "none\n/usr/bin/dash"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.docker.Image == "debian" {
				c.docker.Image = testimage.Debian(t)
			}
			lab := newDockerLab(t, c.docker, c.cfg)
			assert.Equal(t, c.want, lab.out(t, c.command))
		})
	}
}

// The daemon reports the settings, labels and owner that Docker's documentation
// promises.
func TestDockerContainerConfig(t *testing.T) {
	testimage.Busybox(t)
	version, err := testimage.Engine(t).ServerVersion(t.Context(), client.ServerVersionOptions{})
	require.NoError(t, err)
	lab := newDockerLab(t, terminal.Docker{
		Platform: "linux/" + version.Arch,
		Labels:   map[string]string{"mine": "1"},
		MaxAge:   time.Hour,
	}, terminal.Config{})
	lab.out(t, "true")
	c := lab.inspect(t)
	assert.Equal(t, "none", c.HostConfig.LogConfig.Type)
	assert.Empty(t, c.LogPath)
	assert.Equal(t, []string{"NONE"}, c.Config.Healthcheck.Test)
	assert.True(t, *c.HostConfig.Init)
	assert.True(t, c.HostConfig.AutoRemove)
	assert.False(t, c.HostConfig.Privileged)
	assert.Empty(t, c.HostConfig.Binds)
	assert.Empty(t, c.Mounts)
	assert.Equal(t, "1", c.Config.Labels["mine"])
	assert.Equal(t, "default", c.Config.Labels[terminal.LabelPrefix+"task"])
	expires, err := time.Parse(time.RFC3339, c.Config.Labels[terminal.LabelPrefix+"expires"])
	assert.NoError(t, err)
	assert.WithinDuration(t, time.Now().Add(time.Hour), expires, time.Minute)
	fields := strings.Split(c.Config.Labels[ownerLabel], " ")
	require.Len(t, fields, 5)
	assert.Equal(t, fmt.Sprint(os.Getpid()), fields[3])
}

// Close removes the anonymous volumes of the image and keeps named ones.
func TestDockerCloseRemovesAnonymousVolumesOnly(t *testing.T) {
	maker := newDockerLab(t, terminal.Docker{}, terminal.Config{})
	maker.out(t, "true")
	tag := "terminal-test/volume:" + maker.mark
	_, err := maker.cli.ContainerCommit(t.Context(), maker.id(t, terminal.DefaultTask), client.ContainerCommitOptions{
		Reference: tag,
		Changes:   []string{"VOLUME /data"},
	})
	require.NoError(t, err)
	named := "terminal-test-" + maker.mark
	t.Cleanup(func() {
		_, err := maker.cli.ImageRemove(context.Background(), tag, client.ImageRemoveOptions{Force: true})
		assert.NoError(t, err)
		_, err = maker.cli.VolumeRemove(context.Background(), named, client.VolumeRemoveOptions{})
		assert.NoError(t, err)
	})
	lab := newDockerLab(t, terminal.Docker{Image: tag, Mounts: []terminal.Mount{{Source: named, Target: "/named"}}}, terminal.Config{})
	lab.out(t, "echo kept >/named/file; echo gone >/data/file")
	var anonymous string
	for _, m := range lab.inspect(t).Mounts {
		if m.Destination == "/data" {
			anonymous = m.Name
		}
	}
	require.NotEmpty(t, anonymous)
	require.NoError(t, lab.Close())
	_, err = lab.cli.VolumeInspect(t.Context(), anonymous, client.VolumeInspectOptions{})
	assert.True(t, errdefs.IsNotFound(err), "%v", err)
	_, err = lab.cli.VolumeInspect(t.Context(), named, client.VolumeInspectOptions{})
	assert.NoError(t, err)
	again := newDockerLab(t, terminal.Docker{Mounts: []terminal.Mount{{Source: named, Target: "/named", ReadOnly: true}}}, terminal.Config{})
	assert.Equal(t, "kept", again.out(t, "cat /named/file"))
	require.NoError(t, again.Close())
}

// A container ends by itself at MaxAge, idle or not.
func TestDockerContainerMaxAge(t *testing.T) {
	t.Parallel() // waits most of the time
	lab := newDockerLab(t, terminal.Docker{MaxAge: 2 * time.Second}, terminal.Config{})
	began := time.Now()
	res, err := lab.Run(t.Context(), terminal.Request{Command: "sleep 20"})
	assert.ErrorIs(t, err, terminal.ErrGone)
	assert.Equal(t, terminal.StatusLost, res.Status)
	assert.Less(t, time.Since(began), 10*time.Second)

	lab.out(t, "echo old >/tmp/file")
	require.Eventually(t, func() bool { return len(lab.containers(t)) == 0 }, 10*time.Second, 10*time.Millisecond)
	res, err = lab.Run(t.Context(), terminal.Request{Command: "cat /tmp/file 2>/dev/null || echo none"})
	require.NoError(t, err)
	assert.Equal(t, "none\n", res.Output)
	assert.NotEmpty(t, res.Notice)
}

func TestDockerInitScriptFails(t *testing.T) {
	lab := newDockerLab(t, terminal.Docker{InitScript: "echo it is broken >&2; exit 3"}, terminal.Config{})
	res, err := lab.Run(t.Context(), terminal.Request{Command: "true"})
	assert.ErrorIs(t, err, terminal.ErrUnavailable)
	assert.Equal(t, terminal.StatusDisabled, res.Status)
	assert.ErrorContains(t, err, "it is broken")
	assert.ErrorContains(t, err, "code 3")
	assert.Empty(t, lab.containers(t))
}

// Eight commands at once open lanes for all of them, and the next eight reuse
// these.
func TestDockerConcurrentCommandsReuseLanes(t *testing.T) {
	for name, image := range dockerImages {
		t.Run(name, func(t *testing.T) {
			proxy := fakedocker.New(t, testimage.Engine(t).DaemonHost())
			lab := newDockerLab(t, terminal.Docker{Image: image(t), Host: proxy.Host()}, terminal.Config{})
			eight := func(command string) {
				began := time.Now()
				var group sync.WaitGroup
				for i := range 8 {
					group.Go(func() {
						n := fmt.Sprint(i)
						res, err := lab.Run(t.Context(), terminal.Request{Command: command, Env: map[string]string{"N": n}})
						assert.NoError(t, err)
						assert.Equal(t, n+"\n", res.Output)
					})
				}
				group.Wait()
				assert.Less(t, time.Since(began), 3500*time.Millisecond)
			}
			for range 2 {
				eight("sleep 0.5; echo $N")
			}
			lanes := proxy.Count("POST", "/containers/*/exec")
			for range 10 {
				eight("echo $N; true | sleep 0.01")
			}
			more := proxy.Count("POST", "/containers/*/exec") - lanes
			t.Logf("%d lanes, and %d more for 80 commands", lanes, more)
			assert.LessOrEqual(t, more, 10)
		})
	}
}

func TestDockerOpenFiftyTasksConcurrently(t *testing.T) {
	lab := newDockerLab(t, terminal.Docker{}, terminal.Config{Timeout: 2 * time.Minute})
	began := time.Now()
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			task := fmt.Sprintf("task %d", i)
			res, err := lab.Run(t.Context(), terminal.Request{Task: task, Command: "echo \"$HOSTNAME $(hostname)\" >/tmp/file; cat /proc/sys/kernel/random/boot_id | wc -l"})
			assert.NoError(t, err, task)
			assert.Equal(t, "1", strings.TrimSpace(res.Output))
			assert.Empty(t, res.Notice)
		})
	}
	group.Wait()
	t.Logf("opened in %v", time.Since(began).Round(time.Millisecond))
	assert.Len(t, lab.containers(t), 50)
	began = time.Now()
	require.NoError(t, lab.Close())
	t.Logf("closed in %v", time.Since(began).Round(time.Millisecond))
}

// A script of a megabyte and an input of ten arrive whole, and unread input
// does not delay the end of a command.
func TestDockerLargeScriptAndInput(t *testing.T) {
	for name, image := range dockerImages {
		t.Run(name, func(t *testing.T) {
			lab := newDockerLab(t, terminal.Docker{Image: image(t)}, terminal.Config{})
			script := ": '" + strings.Repeat("it\"s # \\ long\n", 1<<20/14+1) + "'\necho $#; echo done # \\"
			for _, stdin := range []io.Reader{nil, strings.NewReader("input")} {
				began := time.Now()
				res, err := lab.Run(t.Context(), terminal.Request{Command: script, Stdin: stdin})
				require.NoError(t, err)
				assert.Equal(t, "0\ndone\n", res.Output)
				t.Logf("a script of %d bytes took %v", len(script), time.Since(began).Round(time.Millisecond))
			}
			input := make([]byte, 10<<20)
			for i := range input {
				input[i] = byte(i * i >> 7)
			}
			sum := fmt.Sprintf("%x", sha256.Sum256(input))
			res, err := lab.Run(t.Context(), terminal.Request{Command: "sha256sum", Stdin: bytes.NewReader(input)})
			require.NoError(t, err)
			assert.Equal(t, sum+"  -\n", res.Output)
			// Unread input does not delay the end.
			began := time.Now()
			assert.NoError(t, func() error {
				_, err := lab.Run(t.Context(), terminal.Request{Command: "head -c 1", Stdin: bytes.NewReader(input)})
				return err
			}())
			assert.Less(t, time.Since(began), 5*time.Second)
			assert.Equal(t, "fine", lab.out(t, "echo fine"))
		})
	}
}

// Once its lanes are open, neither a command nor an idle container sends a
// request to the daemon.
func TestDockerIdleContainerSendsNoRequests(t *testing.T) {
	proxy := fakedocker.New(t, testimage.Engine(t).DaemonHost())
	requests := func() (n int) {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE"} {
			for _, path := range []string{"/*", "/*/*", "/*/*/*", "/*/*/*/*"} {
				n += proxy.Count(method, path)
			}
		}
		return n
	}
	lab := newDockerLab(t, terminal.Docker{Host: proxy.Host()}, terminal.Config{})
	lab.out(t, "true")
	lab.out(t, "true")
	lab.settle(t, lab.id(t, terminal.DefaultTask))
	opened := requests()
	require.NotZero(t, opened)
	for range 20 {
		lab.out(t, "true")
	}
	assert.Equal(t, opened, requests(), "a command costs requests")
	a, b := lab.start(t, terminal.Request{Command: "echo started; sleep 1"}), lab.start(t, terminal.Request{Command: "echo started; sleep 1"})
	a.wait(t)
	b.wait(t)
	lab.out(t, "sleep 0.5") // meanwhile a spare lane is opened
	before := requests()
	time.Sleep(3 * time.Second) // proves that nothing happens, so there is no event to wait for
	assert.Equal(t, before, requests(), "an idle container costs requests")
	t.Logf("%d requests to open, %d more for a second lane and a spare one", opened, before-opened)
}

// dockerConfig replaces the configuration of the docker command by an empty
// directory and unsets the variables that name a daemon.
func dockerConfig(t *testing.T) (dir string) {
	t.Helper()
	for _, name := range []string{"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_API_VERSION", "XDG_RUNTIME_DIR"} {
		t.Setenv(name, "")
	}
	dir = t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	return dir
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
}

// dockerContext adds a context to the configuration.
func dockerContext(t *testing.T, config, name, meta string) (keys string) {
	t.Helper()
	hash := sha256.Sum256([]byte(name))
	dir := hex.EncodeToString(hash[:])
	writeFile(t, filepath.Join(config, "contexts", "meta", dir, "meta.json"), meta)
	return filepath.Join(config, "contexts", "tls", dir, "docker")
}

func endpoint(host string) string {
	return fmt.Sprintf(`{"Name":"x","Metadata":{},"Endpoints":{"docker":{"Host":%q,"SkipTLSVerify":false}}}`, host)
}

func checkDocker(t *testing.T, d terminal.Docker) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := d.Check(ctx)
	require.NoError(t, ctx.Err(), "took too long: %v", err)
	return err
}

// isUnavailable asserts ErrUnavailable and the words that help a user.
func isUnavailable(t *testing.T, err error, words ...string) {
	t.Helper()
	require.ErrorIs(t, err, terminal.ErrUnavailable)
	for _, word := range words {
		assert.ErrorContains(t, err, word)
	}
}

// Check finds the daemon in the order of precedence of the docker command.
func TestDockerCheckFindsDaemon(t *testing.T) {
	found := map[string]func(t *testing.T, config, host string) terminal.Docker{
		"by Docker.Host": func(t *testing.T, _, host string) terminal.Docker {
			t.Setenv("DOCKER_HOST", "tcp://localhost:1")
			return terminal.Docker{Host: host}
		},
		"by DOCKER_HOST": func(t *testing.T, _, host string) terminal.Docker {
			t.Setenv("DOCKER_HOST", host)
			t.Setenv("DOCKER_CONTEXT", "nosuch")
			return terminal.Docker{}
		},
		"by DOCKER_HOST, whatever keys there are for another daemon": func(t *testing.T, config, host string) terminal.Docker {
			newKeys(t).write(t, config)
			t.Setenv("DOCKER_HOST", host)
			t.Setenv("DOCKER_CERT_PATH", config)
			return terminal.Docker{}
		},
		"by DOCKER_CONTEXT": func(t *testing.T, config, host string) terminal.Docker {
			dockerContext(t, config, "mine", endpoint(host))
			writeFile(t, filepath.Join(config, "config.json"), `{"currentContext":"nosuch"}`)
			t.Setenv("DOCKER_CONTEXT", "mine")
			return terminal.Docker{}
		},
		"by the current context": func(t *testing.T, config, host string) terminal.Docker {
			dockerContext(t, config, "a name/ü", endpoint(host))
			writeFile(t, filepath.Join(config, "config.json"), `{"currentContext":"a name/ü"}`)
			return terminal.Docker{}
		},
	}
	for name, configure := range found {
		t.Run(name, func(t *testing.T) {
			d := fakedocker.New(t, "")
			require.NoError(t, checkDocker(t, configure(t, dockerConfig(t), d.Host())))
			assert.Equal(t, 1, d.Count("HEAD", "/_ping"))
		})
	}
}

// Check and Open name the setting at fault and what to do about it.
func TestDockerCheckDaemonNotFound(t *testing.T) {
	bad := map[string]struct {
		configure func(t *testing.T, config string)
		words     []string
	}{
		"DOCKER_HOST makes no sense": {
			func(t *testing.T, _ string) { t.Setenv("DOCKER_HOST", "bogus") },
			[]string{"DOCKER_HOST", `"bogus"`, "unix:///var/run/docker.sock"},
		},
		"DOCKER_HOST is ssh": {
			func(t *testing.T, _ string) { t.Setenv("DOCKER_HOST", "ssh://me@there") },
			[]string{"DOCKER_HOST", "ssh://me@there", "ssh -NL"},
		},
		"no such socket": {
			func(t *testing.T, config string) { t.Setenv("DOCKER_HOST", "unix://"+config+"/none.sock") },
			[]string{"/none.sock", "DOCKER_HOST", "no such socket", "start Docker"},
		},
		"nobody listens": {
			func(t *testing.T, config string) {
				t.Setenv("DOCKER_HOST", "unix://"+deadSocket(t, config))
			},
			[]string{"/dead.sock", "DOCKER_HOST", "no answer", "start Docker"},
		},
		"DOCKER_CONTEXT does not exist": {
			func(t *testing.T, _ string) { t.Setenv("DOCKER_CONTEXT", "nosuch") },
			[]string{`context "nosuch"`, "DOCKER_CONTEXT", "docker context ls"},
		},
		"the current context does not exist": {
			func(t *testing.T, config string) {
				writeFile(t, filepath.Join(config, "config.json"), `{"currentContext":"nosuch"}`)
			},
			[]string{`context "nosuch"`, "current context", "docker context ls"},
		},
		"the context is not Docker's": {
			func(t *testing.T, config string) {
				dockerContext(t, config, "k8s", `{"Endpoints":{"kubernetes":{"Host":"tcp://localhost:1"}}}`)
				t.Setenv("DOCKER_CONTEXT", "k8s")
			},
			[]string{`context "k8s"`, "no docker endpoint"},
		},
		"the context is ssh": {
			func(t *testing.T, config string) {
				dockerContext(t, config, "far", endpoint("ssh://me@there"))
				t.Setenv("DOCKER_CONTEXT", "far")
			},
			[]string{`context "far"`, "ssh://me@there", "ssh -NL"},
		},
		"the context's file is broken": {
			func(t *testing.T, config string) {
				dockerContext(t, config, "broken", `{"Endpoints":`)
				t.Setenv("DOCKER_CONTEXT", "broken")
			},
			[]string{`context "broken"`, "meta.json", "JSON"},
		},
		"the configuration is broken": {
			func(t *testing.T, config string) {
				writeFile(t, filepath.Join(config, "config.json"), `{"currentContext":`)
			},
			[]string{"configuration of the docker command", "config.json"},
		},
		"the keys of DOCKER_CERT_PATH are missing": {
			func(t *testing.T, config string) {
				t.Setenv("DOCKER_HOST", "tcp://localhost:1")
				t.Setenv("DOCKER_CERT_PATH", filepath.Join(config, "keys"))
			},
			[]string{"DOCKER_CERT_PATH", "/keys"},
		},
	}
	for name, c := range bad {
		t.Run(name, func(t *testing.T) {
			c.configure(t, dockerConfig(t))
			isUnavailable(t, checkDocker(t, terminal.Docker{}), c.words...)
			_, err := terminal.Docker{}.Open(t.Context(), "task")
			isUnavailable(t, err, c.words...)
		})
	}
}

// deadSocket returns the path of a socket on which nobody listens.
func deadSocket(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "dead.sock")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, listener.Close())
	return path
}

// Check refuses a daemon that answers but cannot be used.
func TestDockerCheckUnusableDaemon(t *testing.T) {
	for name, c := range map[string]struct {
		header map[string]string
		words  []string
	}{
		"too old":         {map[string]string{"Api-Version": "1.20"}, []string{"too old", "1.20", "upgrade", "19.03"}},
		"Windows' daemon": {map[string]string{"Ostype": "windows"}, []string{"windows", "linux"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := fakedocker.New(t, "")
			d.Fault(fakedocker.Rule{PathRegexp: "^/_ping$", Header: c.header})
			isUnavailable(t, checkDocker(t, terminal.Docker{Host: d.Host()}), append(c.words, d.Host(), "Docker.Host")...)
		})
	}
	t.Run("one that speaks TLS only", func(t *testing.T) {
		dockerConfig(t)
		host := newKeys(t).listen(t, tls.NoClientCert)
		err := checkDocker(t, terminal.Docker{Host: host})
		isUnavailable(t, err, "TLS", host)
		assert.NotContains(t, err.Error(), "too old")
	})
}

func TestDockerCheckWithoutHome(t *testing.T) {
	dockerConfig(t)
	t.Setenv("DOCKER_CONFIG", "")
	t.Setenv("HOME", "")
	if err := checkDocker(t, terminal.Docker{}); err != nil { // whether a daemon listens there depends on the machine
		assert.ErrorContains(t, err, "docker.sock")
	}
}

// keys is a self-signed certificate with its key, as PEM and parsed.
type keys struct {
	ca, cert, key []byte // PEM
	pair          tls.Certificate
	pool          *x509.CertPool
}

func newKeys(t *testing.T) keys {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test"},
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	var k keys
	k.cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	k.ca = k.cert
	k.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	k.pair, err = tls.X509KeyPair(k.cert, k.key)
	require.NoError(t, err)
	k.pool = x509.NewCertPool()
	k.pool.AppendCertsFromPEM(k.ca)
	return k
}

func (k keys) write(t *testing.T, dir string) {
	t.Helper()
	writeFile(t, filepath.Join(dir, "ca.pem"), string(k.ca))
	writeFile(t, filepath.Join(dir, "cert.pem"), string(k.cert))
	writeFile(t, filepath.Join(dir, "key.pem"), string(k.key))
}

// listen starts a daemon that speaks TLS and returns its host.
func (k keys) listen(t *testing.T, client tls.ClientAuthType) (host string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		w.Header().Set("Ostype", "linux")
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{k.pair}, ClientCAs: k.pool, ClientAuth: client}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return "tcp://" + server.Listener.Addr().String()
}

// Check uses client keys from wherever the docker command would find them, and
// refuses an unknown authority.
func TestDockerCheckTLS(t *testing.T) {
	k := newKeys(t)
	for name, configure := range map[string]func(t *testing.T, config string){
		"with the keys of DOCKER_CERT_PATH": func(t *testing.T, config string) {
			t.Setenv("DOCKER_HOST", k.listen(t, tls.RequireAndVerifyClientCert))
			t.Setenv("DOCKER_TLS_VERIFY", "1")
			k.write(t, filepath.Join(config, "keys"))
			t.Setenv("DOCKER_CERT_PATH", filepath.Join(config, "keys"))
		},
		"with the keys of the configuration": func(t *testing.T, config string) {
			t.Setenv("DOCKER_HOST", k.listen(t, tls.RequireAndVerifyClientCert))
			t.Setenv("DOCKER_TLS_VERIFY", "1")
			k.write(t, config)
		},
		"with the keys of the context": func(t *testing.T, config string) {
			k.write(t, dockerContext(t, config, "mine", endpoint(k.listen(t, tls.RequireAndVerifyClientCert))))
			t.Setenv("DOCKER_CONTEXT", "mine")
		},
		"with a context's authority alone": func(t *testing.T, config string) {
			dir := dockerContext(t, config, "mine", endpoint(k.listen(t, tls.NoClientCert)))
			writeFile(t, filepath.Join(dir, "ca.pem"), string(k.ca))
			t.Setenv("DOCKER_CONTEXT", "mine")
		},
	} {
		t.Run(name, func(t *testing.T) {
			configure(t, dockerConfig(t))
			require.NoError(t, checkDocker(t, terminal.Docker{}))
		})
	}
	t.Run("of a stranger", func(t *testing.T) {
		config := dockerConfig(t)
		newKeys(t).write(t, config)
		t.Setenv("DOCKER_HOST", k.listen(t, tls.NoClientCert))
		t.Setenv("DOCKER_TLS_VERIFY", "1")
		t.Setenv("DOCKER_CERT_PATH", config)
		isUnavailable(t, checkDocker(t, terminal.Docker{}), "certificate", "DOCKER_HOST")
	})
}

// pullAuth opens a container of an image that is missing, and returns the
// credentials sent with the pull.
func pullAuth(t *testing.T, image string) (auth map[string]string, log string) {
	t.Helper()
	d := fakedocker.New(t, "")
	d.Fault(fakedocker.Rule{Method: "POST", PathRegexp: "^/containers/create$", Status: 404, Body: `{"message":"No such image"}`})
	d.Fault(fakedocker.Rule{Method: "POST", PathRegexp: "^/images/create$", Status: 200, Body: `{"status":"Download complete"}`})
	logger, text := newLog()
	term, err := terminal.New(terminal.Config{Backend: terminal.Docker{Host: d.Host(), Image: image, PullTimeout: 2 * time.Second}, Logger: logger})
	require.NoError(t, err)
	t.Cleanup(func() { _ = term.Close() })
	_, err = term.Run(t.Context(), terminal.Request{Command: "true"})
	require.ErrorIs(t, err, terminal.ErrUnavailable)
	headers := d.Headers("POST", "/images/create")
	require.Len(t, headers, 1, "%v", err)
	encoded := headers[0].Get("X-Registry-Auth")
	if encoded == "" {
		return nil, text()
	}
	plain, err := base64.URLEncoding.DecodeString(encoded)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(plain, &auth))
	return auth, text()
}

// A pull sends the credentials that the docker command would send.
func TestDockerPullCredentials(t *testing.T) {
	hub := dockercfg.ResolveRegistryHost("docker.io")
	inline := base64.StdEncoding.EncodeToString([]byte("me:pass:word"))
	alice := map[string]string{"username": "alice", "password": "secret", "serveraddress": "registry.example"}
	token := map[string]string{"identitytoken": "secret", "serveraddress": "registry.example"}
	for name, c := range map[string]struct {
		image, config, helper string
		want                  map[string]string
	}{
		"none without a configuration": {image: "registry.example/app:1"},
		"none for another registry": {
			image:  "other.example/app:1",
			config: `{"auths":{"registry.example":{"auth":"` + inline + `"}}}`,
		},
		"inline": {
			image:  "registry.example/app:1",
			config: `{"auths":{"registry.example":{"username":"alice","password":"secret"}}}`,
			want:   alice,
		},
		"encoded": {
			image:  "registry.example:5000/team/app@sha256:" + strings.Repeat("0", 64),
			config: `{"auths":{"registry.example:5000":{"auth":"` + inline + `"}}}`,
			want:   map[string]string{"username": "me", "password": "pass:word", "serveraddress": "registry.example:5000"},
		},
		"the Hub's, under its own name": {
			image:  "app",
			config: `{"auths":{"` + hub + `":{"auth":"` + inline + `"}}}`,
			want:   map[string]string{"username": "me", "password": "pass:word", "serveraddress": hub},
		},
		"an identity token": {
			image:  "registry.example/app:1",
			config: `{"auths":{"registry.example":{"identitytoken":"secret"}}}`,
			want:   token,
		},
		"of a registry's helper": {
			image:  "registry.example/app:1",
			config: `{"credHelpers":{"registry.example":"x"},"credsStore":"nosuch"}`,
			helper: `read host; [ "$1 $host" = "get registry.example" ] && echo '{"Username":"alice","Secret":"secret"}'`,
			want:   alice,
		},
		"a helper's token": {
			image:  "registry.example/app:1",
			config: `{"credsStore":"x"}`,
			helper: `echo '{"Username":"<token>","Secret":"secret"}'`,
			want:   token,
		},
		"inline where the store has none": {
			image:  "registry.example/app:1",
			config: `{"credsStore":"x","auths":{"registry.example":{"username":"alice","password":"secret"}}}`,
			helper: `echo credentials not found in native keychain; exit 1`,
			want:   alice,
		},
		"none where the helper is not there": {image: "registry.example/app:1", config: `{"credsStore":"nosuch"}`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := dockerConfig(t)
			if c.config != "" {
				writeFile(t, filepath.Join(dir, "config.json"), c.config)
			}
			credentialHelper(t, c.helper)
			auth, _ := pullAuth(t, c.image)
			assert.Equal(t, c.want, auth)
		})
	}
}

// credentialHelper puts docker-credential-x on the PATH.
func credentialHelper(t *testing.T, script string) {
	t.Helper()
	bin := t.TempDir()
	if script != "" {
		writeFile(t, filepath.Join(bin, "docker-credential-x"), "#!/bin/sh\n"+script+"\n")
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
}

// If the credential helper fails, the pull goes on without credentials and logs
// why.
func TestDockerPullCredentialHelperFails(t *testing.T) {
	dir := dockerConfig(t)
	writeFile(t, filepath.Join(dir, "config.json"), `{"credsStore":"x"}`)
	credentialHelper(t, "echo the keychain is locked >&2; exit 3")
	auth, log := pullAuth(t, "registry.example/app:1")
	assert.Nil(t, auth)
	assert.Contains(t, log, "the keychain is locked")
}

// PullTimeout also bounds the credential helper.
func TestDockerPullCredentialHelperHangs(t *testing.T) {
	dir := dockerConfig(t)
	writeFile(t, filepath.Join(dir, "config.json"), `{"credsStore":"x"}`)
	pipe := filepath.Join(dir, "pipe")
	credentialHelper(t, "mkfifo "+pipe+"; exec cat "+pipe)
	t.Cleanup(func() { // ends the helper
		f, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	})
	d := fakedocker.New(t, "")
	d.Fault(fakedocker.Rule{Method: "POST", PathRegexp: "^/containers/create$", Status: 404, Body: `{"message":"No such image"}`})
	began := time.Now()
	_, err := terminal.Docker{Host: d.Host(), Image: "registry.example/app:1", PullTimeout: time.Second}.Open(t.Context(), "task")
	isUnavailable(t, err, "Docker.PullTimeout", "registry.example/app:1")
	assert.Less(t, time.Since(began), 5*time.Second)
}

// newLog returns a Logger and a function that returns what was logged so far.
func newLog() (*slog.Logger, func() string) {
	var mu sync.Mutex
	var text strings.Builder
	write := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return text.Write(p)
	})
	return slog.New(slog.NewTextHandler(write, nil)), func() string {
		mu.Lock()
		defer mu.Unlock()
		return text.String()
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// smallTree makes a directory on the host with a file in a subdirectory.
func smallTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", "file"), []byte("content"), 0o640))
	return dir
}

// File operations have the permissions of Docker.User, not of root.
func TestDockerFilePermissionsOfUser(t *testing.T) {
	for _, image := range []func(testing.TB) string{testimage.Debian, testimage.Busybox} {
		lab := newDockerLab(t, terminal.Docker{Image: image(t), Network: "none", User: "1000:1001"}, terminal.Config{Dir: "/work"})
		ctx := t.Context()
		require.NoError(t, lab.WriteFile(ctx, "", "file", []byte("x"), 0o640))
		require.NoError(t, lab.CopyTo(ctx, "", smallTree(t), "tree"))
		for _, name := range []string{"file", "tree", "tree/sub/file"} {
			fields := strings.Fields(lab.out(t, "ls -ldn "+name))
			assert.Equal(t, []string{"1000", "1001"}, fields[2:4], name)
		}
		back := filepath.Join(t.TempDir(), "back")
		require.NoError(t, lab.CopyFrom(ctx, "", "tree", back))

		for _, dst := range []string{"/file", "/etc/file"} {
			pathError(t, lab.WriteFile(ctx, "", dst, nil, 0o600), fs.ErrPermission)
			pathError(t, lab.CopyTo(ctx, "", smallTree(t), dst), fs.ErrPermission)
		}
		lab.out(t, "chmod 0 file tree/sub/file; mkdir closed; echo x >closed/file; chmod 0 closed")
		for _, name := range []string{"file", "closed/file"} {
			_, err := lab.ReadFile(ctx, "", name)
			pathError(t, err, fs.ErrPermission)
		}
		for _, name := range []string{"file", "tree", "closed", "closed/file"} {
			pathError(t, lab.CopyFrom(ctx, "", name, filepath.Join(t.TempDir(), "back")), fs.ErrPermission)
		}
		pathError(t, lab.WriteFile(ctx, "", "closed/file", nil, 0o600), fs.ErrPermission)
		require.NoError(t, lab.WriteFile(ctx, "", "file", []byte("new"), 0o600), "the directory is the user's, so the file can be replaced")
	}
}

// A write to a full file system fails with ENOSPC, keeps the old file and
// leaves no partial one.
func TestDockerFilesFullFileSystem(t *testing.T) {
	lab := newDockerLab(t, terminal.Docker{Network: "none", Tmpfs: map[string]string{"/small": "size=1m"}}, terminal.Config{})
	ctx := t.Context()
	require.NoError(t, lab.WriteFile(ctx, "", "/small/file", []byte("old"), 0o600))
	large := bytes.Repeat([]byte("x"), 2<<20)
	pathError(t, lab.WriteFile(ctx, "", "/small/file", large, 0o600), syscall.ENOSPC)
	require.Equal(t, "file\nold", lab.out(t, "ls -A /small; cat /small/file"))

	tree := smallTree(t)
	require.NoError(t, lab.CopyTo(ctx, "", tree, "/small/tree"), "the archive API does not see a tmpfs")
	require.Equal(t, "content", lab.out(t, "cat /small/tree/sub/file"))
	require.NoError(t, lab.CopyFrom(ctx, "", "/small", filepath.Join(t.TempDir(), "back")))
	require.NoError(t, os.WriteFile(filepath.Join(tree, "large"), large, 0o600))
	pathError(t, lab.CopyTo(ctx, "", tree, "/small/tree"), syscall.ENOSPC)
	pathError(t, lab.CopyTo(ctx, "", filepath.Join(tree, "large"), "/small/large"), syscall.ENOSPC)
	require.Equal(t, "0", lab.out(t, "ls -A /small | grep -c -e terminal -e large || :"))
	lab.out(t, "rm -r /small/tree")
	require.NoError(t, lab.WriteFile(ctx, "", "/small/file", []byte("again"), 0o600))
}

func TestDockerFilesReadOnlyFileSystem(t *testing.T) {
	lab := newDockerLab(t, terminal.Docker{Network: "none", ReadOnly: true}, terminal.Config{})
	ctx := t.Context()
	pathError(t, lab.WriteFile(ctx, "", "/file", nil, 0o600), syscall.EROFS)
	pathError(t, lab.CopyTo(ctx, "", smallTree(t), "/tree"), syscall.EROFS)
	require.NoError(t, lab.CopyTo(ctx, "", smallTree(t), "/tmp/tree"))
	back := filepath.Join(t.TempDir(), "back")
	require.NoError(t, lab.CopyFrom(ctx, "", "/tmp/tree", back))
	require.FileExists(t, filepath.Join(back, "sub", "file"))
	require.NoError(t, lab.CopyFrom(ctx, "", "/etc", filepath.Join(t.TempDir(), "etc")), "with files that are mounted")
}

// Copying a tree works without tar in the image, except to a mount that the
// archive API cannot reach.
func TestDockerCopyWithoutTarInImage(t *testing.T) {
	lab := newDockerLab(t, terminal.Docker{Image: testimage.Debian(t), Network: "none"}, terminal.Config{})
	ctx := t.Context()
	lab.out(t, "rm $(command -v tar)")
	require.NoError(t, lab.CopyTo(ctx, "", smallTree(t), "/root/tree"))
	require.Equal(t, "content0:0 640", lab.out(t, "cat /root/tree/sub/file; stat -c '%u:%g %a' /root/tree/sub/file"))
	back := filepath.Join(t.TempDir(), "back")
	require.NoError(t, lab.CopyFrom(ctx, "", "/root/tree/", back))
	require.FileExists(t, filepath.Join(back, "sub", "file"))
	require.ErrorIs(t, lab.CopyTo(ctx, "", smallTree(t), "/dev/shm/tree"), errors.ErrUnsupported)
	lab.out(t, "rm -r /root/tree/sub && : >/root/tree/sub")
	err := lab.CopyTo(ctx, "", smallTree(t), "/root/tree")
	require.Error(t, err, "a directory has replaced a file")
}

// File operations also work if the image's sh cannot serve a lane.
func TestDockerFilesWithoutLane(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: waits ten seconds for a lane")
	}
	lab := newDockerLab(t, terminal.Docker{Image: testimage.NoLane(t), Network: "none"}, terminal.Config{})
	data := bytes.Repeat([]byte{0, 1, 2, 0xff, '\n'}, 100_000)
	for _, name := range []string{"/tmp/file", "/tmp/not \xff\xfe UTF-8", "/tmp/new\nline"} {
		require.NoError(t, lab.WriteFile(t.Context(), "", name, data, 0o751))
		got, err := lab.ReadFile(t.Context(), "", name)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
	}
	_, err := lab.ReadFile(t.Context(), "", "/tmp")
	pathError(t, err, syscall.EISDIR)
	require.NoError(t, lab.CopyTo(t.Context(), "", smallTree(t), "/tmp/tree"))
	require.NoError(t, lab.CopyFrom(t.Context(), "", "/tmp/tree", filepath.Join(t.TempDir(), "back")))
}

// A container that is killed during a copy is reported as gone, and the next
// call gets a new one.
func TestDockerContainerKilledDuringCopy(t *testing.T) {
	lab := newDockerLab(t, terminal.Docker{Network: "none"}, terminal.Config{})
	lab.out(t, "true")
	src := filepath.Join(t.TempDir(), "src")
	f, err := os.Create(src)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(16<<30))
	require.NoError(t, f.Close())
	done := make(chan error, 1)
	go func() { done <- lab.CopyTo(t.Context(), "", src, "/tmp/file") }()
	lab.out(t, "n=0; until ls -A /tmp | grep -q terminal || [ $n -gt 200 ]; do n=$((n+1)); sleep 0.05; done")
	_, err = lab.cli.ContainerKill(t.Context(), lab.id(t, terminal.DefaultTask), client.ContainerKillOptions{Signal: "KILL"})
	require.NoError(t, err)
	require.ErrorIs(t, <-done, terminal.ErrGone)
	require.NoError(t, lab.WriteFile(t.Context(), "", "/tmp/file", nil, 0o600))
}

// dockerImages has an image with bash and one without.
var dockerImages = map[string]func(testing.TB) string{
	"debian":  testimage.Debian,
	"busybox": testimage.Busybox,
}

func TestDockerConformance(t *testing.T) {
	for name, image := range dockerImages {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name == "busybox" {
				t.Skip("-short: only the image with bash")
			}
			terminaltest.Run(t, func(t *testing.T) terminal.Backend {
				return terminal.Docker{Image: image(t), Pull: terminal.PullNever, Network: "none"} // starts faster
			})
		})
	}
}

func TestDockerCopyGigabyteBoundedMemory(t *testing.T) {
	copyLarge(t, terminal.Config{Backend: terminal.Docker{Image: testimage.Debian(t), Pull: terminal.PullNever, Network: "none"}}, mostGrowth)
}

// noises are environments in which shells or all programs print additional
// output, or in which patterns are not expanded.
var noises = map[string]map[string]string{
	"locale":   {"LC_ALL": "xx_XX.UTF-8"},
	"preload":  {"LD_PRELOAD": "/nonexistent.so"},
	"xtrace":   {"SHELLOPTS": "xtrace"},
	"noglob":   {"SHELLOPTS": "noglob"},
	"complain": {"BASH_ENV": "/tmp/startup"},
}

// startup is the file that BASH_ENV names. Its output looks like answers.
const startup = `echo 0:0; echo activated; echo 'startup: 12:12' >&2`

// What an environment makes every shell print is not taken for an answer of the
// library's scripts.
func TestDockerScriptsIgnoreNoise(t *testing.T) {
	for _, sh := range []string{"dash", "bash"} { // which /bin/sh may be
		for name, env := range noises {
			t.Run(sh+"/"+name, func(t *testing.T) {
				t.Parallel()
				lab := newDockerLab(t, terminal.Docker{
					Image: testimage.Debian(t), Network: "none", Env: env,
					InitScript: "echo \"" + startup + "\" >/tmp/startup; ln -sf " + sh + " /bin/sh",
				}, terminal.Config{})
				res, err := lab.Run(t.Context(), terminal.Request{Command: "echo kept >/tmp/file"})
				require.NoError(t, err)
				require.Zero(t, res.ExitCode, res.Output)
				id := lab.id(t, terminal.DefaultTask)

				killed := lab.start(t, terminal.Request{Command: "setsid sleep 4321 & echo started; exec sleep 4321", Timeout: time.Second})
				res, err = killed.wait(t)
				require.ErrorIs(t, err, terminal.ErrTimeout)
				assert.Empty(t, res.Notice)
				require.NotContains(t, lab.top(t, id), "sleep 4321")

				res, err = lab.Run(t.Context(), terminal.Request{Command: "cat /tmp/file"})
				require.NoError(t, err)
				assert.Contains(t, res.Output, "kept")

				job, err := lab.Start(t.Context(), terminal.Request{Command: "exec sleep 4322"})
				require.NoError(t, err)
				require.Eventually(t, func() bool { return strings.Contains(lab.top(t, id), "sleep 4322") }, 10*time.Second, 20*time.Millisecond)
				jobs, err := lab.Jobs(t.Context(), "")
				require.NoError(t, err)
				assert.Len(t, jobs, 1)
				require.NoError(t, job.Kill(t.Context()))
				assert.NotContains(t, lab.top(t, id), "sleep 4322")

				require.NoError(t, lab.WriteFile(t.Context(), "", "/tmp/data", []byte("data\n"), 0o600))
				data, err := lab.ReadFile(t.Context(), "", "/tmp/data")
				require.NoError(t, err)
				assert.Equal(t, "data\n", string(data))
				dir := t.TempDir()
				require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("copied"), 0o600))
				require.NoError(t, lab.CopyTo(t.Context(), "", dir, "/srv/tree"))
				back := filepath.Join(t.TempDir(), "tree")
				require.NoError(t, lab.CopyFrom(t.Context(), "", "/srv/tree", back))
				data, err = os.ReadFile(filepath.Join(back, "file"))
				require.NoError(t, err)
				assert.Equal(t, "copied", string(data))
				assert.Equal(t, id, lab.id(t, terminal.DefaultTask), "the same container")
			})
		}
	}
}

// A container works on when a command has removed its working directory.
func TestDockerWorkingDirectoryRemoved(t *testing.T) {
	const dir = "/srv/workspace"
	ways := map[string]func(t *testing.T, lab *dockerLab){
		"input": func(t *testing.T, lab *dockerLab) {
			res, err := lab.Run(t.Context(), terminal.Request{Command: "cat; pwd", Stdin: strings.NewReader("input\n")})
			require.NoError(t, err)
			assert.Equal(t, "input\n/srv\n", res.Output)
			assert.NotEmpty(t, res.Notice)
		},
		"file": func(t *testing.T, lab *dockerLab) {
			data := bytes.Repeat([]byte("0123456789"), 10_000)
			require.NoError(t, lab.WriteFile(t.Context(), "", "/tmp/large", data, 0o600))
			got, err := lab.ReadFile(t.Context(), "", "/tmp/large")
			require.NoError(t, err)
			assert.True(t, bytes.Equal(data, got))
		},
		"parallel": func(t *testing.T, lab *dockerLab) {
			// Each waits for the others, so that each has a lane of its own.
			const script = `: >/tmp/here.$0; while set -- /tmp/here.*; [ $# -lt 3 ]; do sleep 0.05; done; pwd`
			var all sync.WaitGroup
			for _, name := range []string{"a", "b", "c"} {
				all.Go(func() {
					res, err := lab.Run(t.Context(), terminal.Request{Command: strings.ReplaceAll(script, "$0", name)})
					assert.NoError(t, err)
					assert.Equal(t, "/srv\n", res.Output)
				})
			}
			all.Wait()
		},
		"limit": func(t *testing.T, lab *dockerLab) {
			res, err := lab.Run(t.Context(), terminal.Request{Command: "sleep 4323", Timeout: 500 * time.Millisecond})
			require.ErrorIs(t, err, terminal.ErrTimeout)
			assert.NotContains(t, res.Notice, "could not be ended")
		},
		"job": func(t *testing.T, lab *dockerLab) {
			job, err := lab.Start(t.Context(), terminal.Request{Command: "sleep 4324", Dir: "/"})
			require.NoError(t, err)
			require.NoError(t, job.Kill(t.Context()))
		},
	}
	for name, call := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab := newDockerLab(t, terminal.Docker{Image: testimage.Busybox(t), Network: "none"}, terminal.Config{Dir: dir})
			lab.out(t, "rmdir "+dir)
			id := lab.id(t, terminal.DefaultTask)
			began := time.Now()
			call(t, lab)
			assert.Less(t, time.Since(began), 4*time.Second)
			assert.Equal(t, id, lab.id(t, terminal.DefaultTask))
		})
	}
}
