//go:build linux

// This file holds the shells that lanes are tested with, and the exit codes.

package lane

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flavour is a shell for the lane and one for its commands.
type flavour struct {
	name        string
	sh, command string
	busybox     bool
}

var flavours = []flavour{
	{name: "dash", sh: "dash", command: "dash"},
	{name: "bash", sh: "bash", command: "bash"},
	{name: "busybox", sh: "busybox", command: "ash", busybox: true},
	{name: "dash for bash", sh: "dash"},
}

func eachFlavour(t *testing.T, test func(t *testing.T, f flavour)) {
	t.Helper()
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) { test(t, f) })
	}
}

// start starts a lane whose shell is the sh on its PATH.
func (f flavour) start(t testing.TB, env ...string) *shellProcess {
	t.Helper()
	program, err := exec.LookPath(f.sh)
	if err != nil {
		t.Skipf("no %s here: %v", f.sh, err)
	}
	bin := t.TempDir()
	require.NoError(t, os.Symlink(program, bin+"/sh"))
	if f.busybox {
		require.NoError(t, os.Symlink(program, bin+"/ash"))
	}
	argv := Argv(f.command)
	argv[0] = bin + "/sh"
	return startLane(t, argv, append([]string{"PATH=" + bin + ":" + os.Getenv("PATH")}, env...)...)
}

// shellProcess is a lane to a process on this machine.
type shellProcess struct {
	*Lane
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended and Broken has been called
}

func startLane(t testing.TB, argv []string, env ...string) *shellProcess {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	return startCommand(t, cmd)
}

func startCommand(t testing.TB, cmd *exec.Cmd) *shellProcess {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &shellProcess{New(stdin), cmd, make(chan struct{})}
	go func() {
		defer close(p.ended)
		other := make(chan struct{})
		go func() {
			defer close(other)
			_, _ = io.Copy(p.Stderr(), stderr)
		}()
		_, err := io.Copy(p.Stdout(), stdout)
		<-other
		_ = cmd.Wait()
		p.Broken(err)
	}()
	t.Cleanup(func() {
		_ = p.Close()
		<-p.ended
	})
	return p
}

// ran is a command's result and output.
type ran struct {
	Result
	stdout, stderr string
}

func (p *shellProcess) run(t testing.TB, c Command) (ran, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if c.Stdout == nil && c.Stderr == nil {
		c.Stdout, c.Stderr = &stdout, &stderr
	}
	if c.Dir == "" {
		c.Dir = "/"
	}
	if c.RunID == "" {
		c.RunID = newRunID()
	}
	r := p.Start(c)
	<-r.Done()
	result, err := r.Result()
	return ran{result, stdout.String(), stderr.String()}, err
}

func (p *shellProcess) must(t testing.TB, c Command) ran {
	t.Helper()
	got, err := p.run(t, c)
	require.NoError(t, err)
	return got
}

func newRunID() string { return "test-" + strings.TrimPrefix(string(newWord()), "\x1e") }

func TestCommandExitCode(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		p := f.start(t)
		for script, code := range map[string]int{
			"":                         0,
			"true":                     0,
			"false":                    1,
			"exit 42":                  42,
			"exit 255":                 255,
			"no-such-program-here":     127,
			"/etc/passwd":              126,
			"kill -TERM $$":            143,
			"kill -KILL $$":            137,
			"sh -c 'kill -9 $$'; true": 0,
			"-x":                       127,
		} {
			got := p.must(t, Command{Script: script})
			require.Equal(t, code, got.ExitCode, "%q: %+v", script, got)
			require.False(t, got.Survivors, script)
			require.True(t, p.Reusable(), script)
		}
	})
}
