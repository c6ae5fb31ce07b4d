//go:build linux

// Tests of the Local backend.

package terminal

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal/internal/procfs"
	"github.com/terminal-go/terminal/internal/procfs/procfstest"
	"github.com/terminal-go/terminal/internal/spawn"
)

// A timeout kills every process of the command, however it detached itself.
func TestLocalTimeoutKillsHiddenProcesses(t *testing.T) {
	for name, script := range map[string]string{
		"child":              "sleep 1001 & wait",
		"setsid":             "setsid sleep 1001 & sleep 1001",
		"nohup":              "nohup sleep 1001 >/dev/null 2>&1 & sleep 1001",
		"double fork":        "(setsid nohup sleep 1001 &) ; sleep 1001",
		"job control":        "set -m; sleep 1001 & sleep 1001 & wait",
		"ignores TERM":       "trap '' TERM; sleep 1001 & while :; do sleep 1; done",
		"detached, no TERM":  "setsid bash -c 'trap \"\" TERM; while :; do sleep 1; done' & sleep 1001",
		"forks all the time": "trap '' TERM; f() { sleep 0.01; f & }; f; sleep 1001",
		"subshells":          "( ( ( sleep 1001 ) ) ) | cat | cat",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			word := "WORD_" + spawn.NewRunID()
			term := newTerminal(t, Config{})
			defer term.Close()
			began := time.Now()
			res, err := term.Run(t.Context(), Request{Command: script, Timeout: 300 * time.Millisecond, Env: map[string]string{"MARK": word}})
			assert.ErrorIs(t, err, ErrTimeout)
			assert.Equal(t, 124, res.ExitCode)
			assert.Empty(t, res.Notice)
			assert.Less(t, time.Since(began), 6*time.Second)
			assert.Empty(t, procfstest.Carriers(t, word))
		})
	}
}

// A process that cleared its environment is found through its parent, as long
// as that is one of the command's.
func TestLocalTimeoutKillsProcessWithoutEnvironment(t *testing.T) {
	pidfile := filepath.Join(t.TempDir(), "pid")
	term := newTerminal(t, Config{})
	defer term.Close()
	_, err := term.Run(t.Context(), Request{
		Command: fmt.Sprintf("env -i setsid sh -c 'trap \"\" TERM; echo $$ >%s.new; mv %[1]s.new %[1]s; exec sleep 1001' & wait", pidfile),
		Timeout: time.Second,
	})
	require.ErrorIs(t, err, ErrTimeout)
	text, err := os.ReadFile(pidfile)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	_, alive := procfs.Read(pid)
	assert.False(t, alive)
}

// The outer run ID finds the processes of a Terminal that runs inside a command
// of another one.
func TestLocalNestedRunIDFindsInnerProcesses(t *testing.T) {
	outer, word := spawn.NewRunID(), "WORD_"+spawn.NewRunID()
	t.Setenv(RunIDEnv, outer)
	term := newTerminal(t, Config{})
	defer term.Close()
	_, err := term.Run(t.Context(), Request{Command: "setsid sleep 1001 >/dev/null 2>&1 &", Env: map[string]string{"MARK": word}})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(procfstest.Carriers(t, word)) == 1 }, 5*time.Second, time.Millisecond)
	require.NoError(t, procfs.KillRun(t.Context(), outer))
	assert.Empty(t, procfstest.Carriers(t, word))
}

// Close does not wait for a process that can no longer be recognized.
func TestLocalCloseWithHiddenSurvivor(t *testing.T) {
	pidfile := filepath.Join(t.TempDir(), "pid")
	ex, err := Local{}.Open(t.Context(), "")
	require.NoError(t, err)
	script := fmt.Sprintf("env -i setsid sh -c 'echo $$ >%s; exec sleep 20' & while [ ! -s %[1]s ]; do :; done", pidfile)
	_, err = ex.Exec(t.Context(), Command{Script: script, Dir: "/", Stdout: io.Discard})
	require.NoError(t, err)
	began := time.Now()
	assert.NoError(t, ex.Close(context.Background()))
	assert.Less(t, time.Since(began), 5*time.Second)
	pid, err := os.ReadFile(pidfile)
	require.NoError(t, err)
	require.NoError(t, exec.Command("kill", "-9", strings.TrimSpace(string(pid))).Run())
}

// A command that does not read its input ends even if the reader blocks.
func TestLocalStdinReaderBlocks(t *testing.T) {
	r, w := io.Pipe()
	term := newTerminal(t, Config{})
	began := time.Now()
	res, err := term.Run(t.Context(), Request{Command: "echo done", Stdin: r})
	require.NoError(t, err)
	assert.Equal(t, "done\n", res.Output)
	assert.Less(t, time.Since(began), 3*time.Second)
	require.NoError(t, w.Close()) // ends the copy
	require.NoError(t, term.Close())
}

// An *os.File as Stdin is passed to the command as it is.
func TestLocalStdinFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "in")
	require.NoError(t, os.WriteFile(file, []byte("from a file"), 0o600))
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	term := newTerminal(t, Config{})
	defer term.Close()
	res, err := term.Run(t.Context(), Request{Command: "cat", Stdin: f})
	require.NoError(t, err)
	assert.Equal(t, "from a file", res.Output)
}

// Variables of the host that look like secrets are withheld, unless PassEnv or
// Config.Env names them.
func TestLocalEnvWithholdsSecrets(t *testing.T) {
	t.Setenv("LOCAL_TEST_TOKEN", "s3cret-1")
	t.Setenv("LOCAL_TEST_KEY", "s3cret-2")
	t.Setenv("LOCAL_TEST_PLAIN", "plain")
	term := newTerminal(t, Config{Backend: Local{PassEnv: []string{"LOCAL_TEST_KEY"}}, Env: map[string]string{"MY_TOKEN": "given"}})
	defer term.Close()
	res, err := term.Run(t.Context(), Request{Command: "env"})
	require.NoError(t, err)
	assert.NotContains(t, res.Output, "s3cret-1")
	for _, kept := range []string{"s3cret-2", "LOCAL_TEST_PLAIN=plain", "MY_TOKEN=given"} {
		assert.Contains(t, res.Output, kept)
	}
}

// With one processor and many goroutines, the one that reads a command's output
// may not be scheduled for seconds after the exit.
func TestLocalOutputOnBusyScheduler(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var stop atomic.Bool
	var spinners, commands sync.WaitGroup
	for range 60 {
		spinners.Go(func() {
			for {
				if stop.Load() {
					return
				}
			}
		})
	}
	term := newTerminal(t, Config{})
	results := make([]Result, 40)
	for i := range results {
		commands.Go(func() {
			var err error
			results[i], err = term.Run(t.Context(), Request{Command: fmt.Sprintf("echo %d; sleep 0.1", i)})
			assert.NoError(t, err)
		})
	}
	commands.Wait()
	stop.Store(true)
	spinners.Wait()
	assert.NoError(t, term.Close())
	for i, res := range results {
		assert.Equal(t, strconv.Itoa(i)+"\n", res.Output)
		assert.Empty(t, res.Notice)
	}
}

// A reader of the live output that blocks costs its own copy only: the result has
// all that was in the pipe when the shell exited.
func TestLocalOutputWithBlockedLiveReader(t *testing.T) {
	r, w := io.Pipe() // nobody reads
	defer r.Close()
	term := newTerminal(t, Config{MaxOutput: 200_000})
	began := time.Now()
	res, err := term.Run(t.Context(), Request{Command: "echo first; sleep 0.2; head -c 60000 /dev/zero | tr '\\0' x; echo last", Stdout: w})
	require.NoError(t, err)
	assert.Less(t, time.Since(began), 5*time.Second)
	assert.Equal(t, "first\n"+strings.Repeat("x", 60000)+"last\n", res.Output)
	assert.Equal(t, "a reader of the live output blocked, so its copy is incomplete; this output is not", res.Notice)
	require.NoError(t, r.Close())
	require.NoError(t, term.Close())
}
