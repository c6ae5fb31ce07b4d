//go:build !terminal_nodocker

package terminal_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/internal/fakedocker"
	"github.com/terminal-go/terminal/internal/testimage"
)

// ownerLabel is on every container of this library.
const ownerLabel = terminal.LabelPrefix + "owner"

// dockerLab is a Terminal on Docker, with a view from outside of what it does.
type dockerLab struct {
	*terminal.Terminal
	cli  *client.Client
	mark string // a label that only its containers have
}

// newDockerLab returns one that ends with the test, and must then have left
// no container behind.
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

// containers are the Terminal's, in any state.
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

// id is that of a task's container.
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

// inspect is what the daemon knows of the default task's container.
func (l *dockerLab) inspect(t testing.TB) container.InspectResponse {
	t.Helper()
	found, err := l.cli.ContainerInspect(t.Context(), l.id(t, terminal.DefaultTask), client.ContainerInspectOptions{})
	require.NoError(t, err)
	return found.Container
}

// out runs a command that must succeed, and returns what it printed.
func (l *dockerLab) out(t testing.TB, command string) string {
	t.Helper()
	res, err := l.Run(context.Background(), terminal.Request{Command: command})
	require.NoError(t, err, command)
	require.Zero(t, res.ExitCode, "%s: %s", command, res.Output)
	return strings.TrimSuffix(res.Output, "\n")
}

// settle waits until the container has its spare lane, which is made in the
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

// top lists all that runs in a task's container, as the daemon's host sees it.
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

// started returns a writer that closes the channel when the word has come.
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

// closer ends the pipe's reader with the test's first failure to write.
type closer struct{ *io.PipeWriter }

// running is a command under way.
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

// wait returns how it ended.
func (r *running) wait(t testing.TB) (terminal.Result, error) {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(40 * time.Second):
		require.FailNow(t, "command did not end")
	}
	return r.res, r.err
}

// TestDockerOwnerProcess is what TestDockerContainersEndWithTheirOwner starts
// and kills.
func TestDockerOwnerProcess(t *testing.T) {
	mark := os.Getenv("TERMINAL_TEST_OWNER")
	if mark == "" {
		t.Skip("runs only as a child of TestDockerContainersEndWithTheirOwner")
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

func TestDockerContainersEndWithTheirOwner(t *testing.T) {
	sibling := newDockerLab(t, terminal.Docker{}, terminal.Config{})
	sibling.out(t, "echo kept >/tmp/file")
	id := sibling.id(t, terminal.DefaultTask)

	mark := unique()
	owner := exec.Command(os.Args[0], "-test.run=^TestDockerOwnerProcess$", "-test.count=1", "-test.v")
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

func TestDockerRemovesOnlyContainersWhoseOwnerIsDead(t *testing.T) {
	lab := newDockerLab(t, terminal.Docker{}, terminal.Config{})
	lab.out(t, "true") // its sweep is over
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

// A limit must find processes of other users too: root in the container has no
// CAP_SYS_PTRACE, so it may not look into their environment.
func TestDockerLimitLeavesNoProcessHoweverItHid(t *testing.T) {
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

// Nothing in a paused container can be ended, so it is replaced.
func TestDockerReplacesAContainerInWhichKillingFails(t *testing.T) {
	t.Parallel() // it mostly waits
	for name, script := range map[string]string{
		"first lane": "echo started; sleep 1000",
		"both lanes": "echo started; exec sleep 1000 & wait",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab := newDockerLab(t, terminal.Docker{}, terminal.Config{})
			lab.out(t, "echo old >/tmp/file")
			if name == "both lanes" { // so that there is an idle one to kill from, which does not answer either
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

// What D4.6 asks for, proved by a file that outlives the container.
func TestDockerCommandIsNeverRunTwiceWhateverEndsItsContainer(t *testing.T) {
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
			// Between two calls: the next one runs in a new container. One that
			// falls into the moment of the end is lost, because it may have run.
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

			// During one, and another one on a second lane: both are lost.
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

func TestDockerCommandOverTheMemoryLimitIsKilledAlone(t *testing.T) {
	for name, image := range dockerImages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab := newDockerLab(t, terminal.Docker{Image: image(t), Memory: 32 << 20}, terminal.Config{})
			lab.out(t, "echo kept >/tmp/file")
			id := lab.id(t, terminal.DefaultTask)
			assert.EqualValues(t, 32<<20, lab.inspect(t).HostConfig.Memory)
			// tail keeps a line of any length; exec, so that the shell is not what counts it.
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

func TestDockerCommandThatEndsItsContainerIsLost(t *testing.T) {
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

// What a model would do to get rid of its own processes.
func TestDockerContainerSurvivesKillingByName(t *testing.T) {
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

// What goes on writing does not block, and is seen by nobody.
func TestDockerSurvivorsNeitherBlockNorAreHeard(t *testing.T) {
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
	const cgroup = "cat /sys/fs/cgroup/%s 2>/dev/null || cat /sys/fs/cgroup/%s" // version 2, version 1
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
			"privileges by default", terminal.Docker{}, terminal.Config{},
			status("CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp") + ";" + fmt.Sprintf(cgroup, "pids.max", "pids/pids.max"),
			"CapEff:00000000000000fb\nCapBnd:00000000000000fb\nCapAmb:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n1024",
		},
		{
			"ExtraCapabilities and SecurityOpt", terminal.Docker{ExtraCapabilities: []string{"NET_RAW"}, SecurityOpt: []string{"seccomp=unconfined"}}, terminal.Config{},
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
			"limits", terminal.Docker{CPUs: 0.5, Memory: 64 << 20, PIDs: 77, ShmSize: 5 << 20}, terminal.Config{},
			fmt.Sprintf(cgroup, "cpu.max", "cpu/cpu.cfs_quota_us") + " | cut -d' ' -f1;" + fmt.Sprintf(cgroup, "memory.max", "memory/memory.limit_in_bytes") + ";" +
				fmt.Sprintf(cgroup, "pids.max", "pids/pids.max") + "; df -k /dev/shm | tail -n 1 | awk '{print $2}'",
			"50000\n67108864\n77\n5120",
		},
		{"PIDs unlimited", terminal.Docker{PIDs: -1}, terminal.Config{}, fmt.Sprintf(cgroup, "pids.max", "pids/pids.max"), "max"},
		{"Network none", terminal.Docker{Network: "none"}, terminal.Config{}, "cat /proc/net/route | wc -l", "1"},
		{"ReadOnly", terminal.Docker{ReadOnly: true}, terminal.Config{}, "touch /x 2>/dev/null || echo refused; touch x && echo taken; pwd", "refused\ntaken\n/tmp"},
		{
			"ReadOnly with Tmpfs", terminal.Docker{ReadOnly: true, Tmpfs: map[string]string{"/tmp": "size=1m", "/work": "size=2m"}}, terminal.Config{Dir: "/work"},
			"touch x; pwd; df -k /tmp /work | awk '{print $2}' | tail -n 2", "/work\n1024\n2048",
		},
		{
			"ReadOnly with User", terminal.Docker{ReadOnly: true, User: "user", Tmpfs: map[string]string{"/work": ""}}, terminal.Config{Dir: "/work"},
			"touch x && stat -c %u x", "1000",
		},
		{
			"Mounts", terminal.Docker{Mounts: []terminal.Mount{{Source: host, Target: "/rw"}, {Source: host, Target: "/ro", ReadOnly: true}}}, terminal.Config{},
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

func TestDockerContainerIsWhatItIsSaidToBe(t *testing.T) {
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

func TestDockerCloseRemovesAnonymousVolumesAndNoOthers(t *testing.T) {
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

func TestDockerContainerEndsAtMaxAge(t *testing.T) {
	t.Parallel() // it mostly waits
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

func TestDockerInitScriptThatFailsLeavesNoContainer(t *testing.T) {
	lab := newDockerLab(t, terminal.Docker{InitScript: "echo it is broken >&2; exit 3"}, terminal.Config{})
	res, err := lab.Run(t.Context(), terminal.Request{Command: "true"})
	assert.ErrorIs(t, err, terminal.ErrUnavailable)
	assert.Equal(t, terminal.StatusDisabled, res.Status)
	assert.ErrorContains(t, err, "it is broken")
	assert.ErrorContains(t, err, "code 3")
	assert.Empty(t, lab.containers(t))
}

// The lanes of eight commands at once serve the next eight too.
func TestDockerRunsCommandsSideBySideInTheSameLanes(t *testing.T) {
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

func TestDockerOpensFiftyTasksAtOnce(t *testing.T) {
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

func TestDockerTakesLongScriptsAndMuchInput(t *testing.T) {
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
			// Input that nobody reads holds nothing up.
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

func TestDockerIdleContainerCostsNoRequests(t *testing.T) {
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
	lab.out(t, "sleep 0.5") // a spare lane is made meanwhile
	before := requests()
	time.Sleep(3 * time.Second) // what is to be seen is that nothing happens
	assert.Equal(t, before, requests(), "an idle container costs requests")
	t.Logf("%d requests to open, %d more for a second lane and a spare one", opened, before-opened)
}
