package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// program is the server under test, built as a user would build it.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "terminal-mcp")
	if err == nil {
		program = filepath.Join(dir, "terminal-mcp")
		args := []string{"build", "-o", program}
		if raced {
			args = append(args, "-race")
		}
		build := exec.Command("go", append(args, ".")...)
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the server:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// process is a running server.
type process struct {
	cmd    *exec.Cmd
	stderr *record
	exited chan struct{}
}

// start runs the server and stops it with the test, by a signal if it is still
// there; it must then have ended well.
func start(t *testing.T, stdin io.Reader, stdout io.Writer, env []string, args ...string) *process {
	t.Helper()
	p := launch(t, stdin, stdout, env, args...)
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		p.ended(t)
	})
	return p
}

func launch(t *testing.T, stdin io.Reader, stdout io.Writer, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program, args...), stderr: &record{}, exited: make(chan struct{})}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdin, stdout, p.stderr
	p.cmd.Env = append(os.Environ(), env...)
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait()
	}()
	return p
}

// ended waits for the server's end, which must be a good one.
func (p *process) ended(t *testing.T) {
	t.Helper()
	select {
	case <-p.exited:
		assert.Equal(t, 0, p.cmd.ProcessState.ExitCode(), "stderr of the server:\n%s", p.stderr)
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		t.Errorf("the server does not end; its stderr:\n%s", p.stderr)
	}
	assert.NotContains(t, p.stderr.String(), "DATA RACE")
}

var listening = regexp.MustCompile(`msg=listening url=(\S+)`)

// startHTTP returns the server's URL.
func startHTTP(t *testing.T, env []string, args ...string) (url string, p *process) {
	t.Helper()
	p = start(t, nil, nil, env, append([]string{"-http", "127.0.0.1:0"}, args...)...)
	require.Eventually(t, func() bool {
		found := listening.FindStringSubmatch(p.stderr.String())
		if found != nil {
			url = found[1]
		}
		return found != nil
	}, 30*time.Second, 5*time.Millisecond, "the server does not listen")
	return url, p
}

// record keeps what is written to it.
type record struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// sleeper returns a command that sleeps for ever, and the word by which its
// processes can be told from all others.
func sleeper() (command, word string) {
	word = fmt.Sprint(1_000_000_000 + rand.Int32N(1_000_000_000))
	return "sleep " + word, word
}

// running returns the command lines of the living processes that have the
// word in it, on this machine and in its containers.
func running(t *testing.T, word string) (lines []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("no /proc to look for processes in")
	}
	for _, name := range files {
		line, err := os.ReadFile(name) // empty for a zombie
		if err == nil && bytes.Contains(line, []byte(word)) {
			lines = append(lines, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return lines
}

func requireRunning(t *testing.T, word string) {
	t.Helper()
	require.Eventually(t, func() bool { return len(running(t, word)) > 0 }, 30*time.Second, 20*time.Millisecond, "the command does not run")
}

// requireGone waits for longer than ending a command takes, since other tests
// want the machine too.
func requireGone(t *testing.T, word string) {
	t.Helper()
	var left []string
	require.Eventually(t, func() bool {
		left = running(t, word)
		return len(left) == 0
	}, 20*time.Second, 20*time.Millisecond, "processes are left")
}

// lines reads lines as they come.
func lines(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 64<<20)
	return s
}
