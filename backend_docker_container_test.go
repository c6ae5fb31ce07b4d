//go:build !terminal_nodocker

package terminal_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
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
	const hide = "setsid sleep 1001 & (setsid nohup sleep 1002 >/dev/null 2>&1 &) ; sleep 1003"
	const stubborn = "trap '' TERM HUP INT; " + hide + " & while :; do sleep 1004; done"
	su := func(script string) string { return fmt.Sprintf("su -s /bin/sh user -c %q", script) }
	priv := func(ids string) string {
		return "setsid setpriv --clear-groups " + ids + " sh -c \"trap '' TERM; setsid sleep 1001 & sleep 1002\" & "
	}
	for _, c := range []struct {
		name, image, user, script string
		hidden                    int // processes to wait for before the limit
	}{
		{"busybox", "busybox", "", hide, 3},
		{"busybox, TERM ignored", "busybox", "", stubborn, 4},
		{"busybox, Docker.User, TERM ignored", "busybox", "user", stubborn, 4},
		{"busybox, uid without name, TERM ignored", "busybox", "4321:4322", stubborn, 4},
		{"busybox, su, TERM ignored", "busybox", "", "setsid " + su(stubborn) + " & " + su(hide), 7},
		{"debian", "debian", "", hide, 3},
		{"debian, TERM ignored", "debian", "", stubborn, 4},
		{"debian, Docker.User, TERM ignored", "debian", "1000:1000", stubborn, 4},
		{"debian, su", "debian", "", "useradd user; setsid " + su(hide) + " & sleep 1005", 4},
		{"debian, another uid", "debian", "", priv("--reuid 1234 --regid 1234") + "sleep 1005", 3},
		{"debian, another uid, group of root", "debian", "", "useradd -u 1234 user; " + priv("--reuid 1234") + "sleep 1005", 3},
		{"debian, another group", "debian", "", priv("--regid 7") + "sleep 1005", 3},
		{"debian, three users of a group", "debian", "", priv("--reuid 1001 --regid 9") + priv("--reuid 1002 --regid 9") + priv("--reuid 1003 --regid 9") + "sleep 1005", 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			lab := newDockerLab(t, terminal.Docker{Image: dockerImages[c.image](t), User: c.user}, terminal.Config{})
			lab.out(t, "echo kept >/tmp/file")
			id := lab.id(t, terminal.DefaultTask)
			const limit = 2 * time.Second
			began := time.Now()
			hidden := make(chan string, 1)
			go func() {
				var top string
				for time.Since(began) < limit-200*time.Millisecond {
					if top = lab.top(t, id); strings.Count(top, " sleep 100") >= c.hidden {
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
