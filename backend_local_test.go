//go:build linux

package terminal

import (
	"bytes"
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
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// carriers are the living processes that have the word in their environment,
// read here without the help of what is tested.
func carriers(t *testing.T, word string) (pids []string) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	for _, dir := range dirs {
		if environ, err := os.ReadFile(dir + "/environ"); err == nil && bytes.Contains(environ, []byte(word)) {
			cmdline, _ := os.ReadFile(dir + "/cmdline")
			pids = append(pids, filepath.Base(dir)+" "+string(cmdline))
		}
	}
	return pids
}

func TestALimitLeavesNoProcessHoweverItHid(t *testing.T) {
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
			word := "WORD_" + newRunID()
			term := newTerminal(t, Config{})
			defer term.Close()
			began := time.Now()
			res, err := term.Run(t.Context(), Request{Command: script, Timeout: 300 * time.Millisecond, Env: map[string]string{"MARK": word}})
			assert.ErrorIs(t, err, ErrTimeout)
			assert.Equal(t, 124, res.ExitCode)
			assert.Empty(t, res.Notice)
			assert.Less(t, time.Since(began), 6*time.Second)
			assert.Empty(t, carriers(t, word))
		})
	}
}

// A process that cleared its environment is still found by its parent, as
// long as it has one of ours.
func TestALimitFindsAProcessWithoutEnvironment(t *testing.T) {
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
	_, alive := readProcess(pid)
	assert.False(t, alive)
}

func TestATerminalAroundATerminalFindsTheInnerOnesProcesses(t *testing.T) {
	outer, word := newRunID(), "WORD_"+newRunID()
	t.Setenv(RunIDEnv, outer)
	term := newTerminal(t, Config{})
	defer term.Close()
	_, err := term.Run(t.Context(), Request{Command: "setsid sleep 1001 >/dev/null 2>&1 &", Env: map[string]string{"MARK": word}})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(carriers(t, word)) == 1 }, 5*time.Second, time.Millisecond)
	require.NoError(t, killRun(t.Context(), outer))
	assert.Empty(t, carriers(t, word))
}

func TestNoRunIDMatchesNothing(t *testing.T) {
	assert.Error(t, killRun(t.Context(), ""))
}

func TestTheSweepScriptEndsARunInAnyShell(t *testing.T) {
	for _, shell := range []string{"bash", "dash", "busybox sh"} {
		t.Run(shell, func(t *testing.T) {
			argv := strings.Fields(shell)
			if _, err := exec.LookPath(argv[0]); err != nil {
				t.Skip(err)
			}
			id, other := newRunID(), newRunID()
			start := func(id string) {
				cmd := exec.Command("bash", "-c", "setsid sleep 1001 >/dev/null 2>&1 & exit 0")
				cmd.Env = append(os.Environ(), "A=b\nc", RunIDEnv+"=x,"+id)
				require.NoError(t, cmd.Run())
			}
			start(id)
			start(id)
			start(other)
			out, err := exec.Command(argv[0], append(argv[1:], "-c", sweepScript(id))...).CombinedOutput()
			assert.NoError(t, err, string(out))
			assert.Empty(t, carriers(t, id))
			assert.Len(t, carriers(t, other), 1)
			require.NoError(t, killRun(t.Context(), other))
		})
	}
}

// A process that does nothing but execute itself shows no environment for a
// good part of its time, or just the beginning of it.
func TestAProcessIsFoundInTheMiddleOfAnExec(t *testing.T) {
	id := newRunID()
	restless := filepath.Join(t.TempDir(), "restless")
	require.NoError(t, os.WriteFile(restless, []byte("[ \"$1\" != xxxxx ] && exec dash \"$0\" $1$2 $2\nexec sleep 1001\n"), 0o600))
	environ := append(os.Environ(), RunIDEnv+"="+id)
	t.Run("Go", func(t *testing.T) {
		cmd := exec.Command("dash", restless)
		cmd.Env = environ
		require.NoError(t, cmd.Start())
		for range 2000 {
			if !assert.True(t, carries(cmd.Process.Pid, id)) {
				break
			}
		}
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
	})
	// dash and busybox read byte by byte, and an exec makes what is left of the
	// environment vanish; so there, as with most processes, it ends sometime.
	for _, shell := range []string{"bash", "dash", "busybox sh"} {
		t.Run(shell, func(t *testing.T) {
			script := jobFunctions["tj_carries"] + `
				n=0
				while [ $n -lt 100 ]; do
					n=$((n + 1))
					dash "$0" "" x &
					tj_carries $! "$TERMINAL_RUN_ID" || exit 9
					kill -9 $! && wait $!
				done 2>/dev/null; exit 0`
			argv := append(strings.Fields(shell), "-c", script, restless)
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Env = environ
			assert.NoError(t, cmd.Run())
		})
	}
	require.NoError(t, killRun(t.Context(), id))
}

func TestALongCommandIsFedUnchangedInAnyShell(t *testing.T) {
	tail := "\nprintf '%s|' \"$0\" \"$#\" 'a\\\nb' $'x' ; cat; echo \"[${terminal_s-unset}]\" # \\"
	script := ": " + strings.Repeat("xyz ", 70_000) + strings.Repeat("\n# line", 10_000) + tail
	for _, shell := range []string{"bash", "dash", "busybox sh"} {
		for _, stdin := range []string{"", "input\nof the caller"} {
			t.Run(shell+" "+stdin, func(t *testing.T) {
				argv := strings.Fields(shell)
				if _, err := exec.LookPath(argv[0]); err != nil {
					t.Skip(err)
				}
				var in io.Reader
				if stdin != "" {
					in = strings.NewReader(stdin)
				}
				form, in := feedScript(script, newRunID(), in)
				cmd := exec.Command(argv[0], append(argv[1:], "-c", form)...)
				cmd.Stdin = in
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, string(out))
				short := exec.Command(argv[0], append(argv[1:], "-c", tail)...)
				short.Stdin = strings.NewReader(stdin)
				want, err := short.CombinedOutput()
				require.NoError(t, err, string(want))
				assert.Equal(t, string(want), string(out))
			})
		}
	}
}

func TestSecretsOfTheHostAreWithheld(t *testing.T) {
	for name, secret := range map[string]bool{
		"OPENAI_API_KEY": true, "GH_TOKEN": true, "AWS_SECRET_ACCESS_KEY": true, "PGPASSWORD": true, "DB_PASSWORD": true,
		"MYSQL_PWD": true, "TOKEN": true, "SSH_AUTH_SOCK": true, "GITHUB_TOKEN_2": true,
		"PATH": false, "HOME": false, "PWD": false, "OLDPWD": false, "KEYBOARD": false, "LANG": false, "MONKEY": false, "TOKENIZERS_PARALLELISM": false,
	} {
		assert.Equal(t, secret, isSecret(name), name)
	}
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

func TestASurvivorThatHidesDoesNotKeepCloseWaiting(t *testing.T) {
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

func TestAReaderThatBlocksDoesNotHoldUpTheCommand(t *testing.T) {
	r, w := io.Pipe()
	term := newTerminal(t, Config{})
	began := time.Now()
	res, err := term.Run(t.Context(), Request{Command: "echo done", Stdin: r})
	require.NoError(t, err)
	assert.Equal(t, "done\n", res.Output)
	assert.Less(t, time.Since(began), 3*time.Second)
	require.NoError(t, w.Close()) // lets the copy end
	require.NoError(t, term.Close())
}

func TestAFileAsInputIsHandedOver(t *testing.T) {
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

// With one processor and many goroutines, the one that reads a command's output
// may not be scheduled for seconds after the exit.
func TestLocalOutputOnBusyScheduler(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	stop := make(chan struct{})
	var spinners, commands sync.WaitGroup
	for range 60 {
		spinners.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
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
	close(stop)
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
