//go:build unix

package terminal_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/terminal-go/terminal"
)

// plain is a Backend on nothing but os/exec. Its type and Open are all that
// is needed to plug it in; the rest is what the contract asks of processes.
type plain struct{}

func (plain) Open(context.Context, string) (terminal.Executor, error) {
	return &plainExecutor{mark: "PLAIN_EXECUTOR=" + rand.Text()}, nil
}

type plainExecutor struct {
	mark   string // in the environment of all its processes, for Close to find them
	mu     sync.RWMutex
	closed bool
}

func (x *plainExecutor) Exec(ctx context.Context, c terminal.Command) (int, error) {
	if _, err := os.Stat(c.Dir + "/."); err != nil { // exec's own error would not name it
		return 0, fmt.Errorf("%w: %w", terminal.ErrNotStarted, err)
	}
	cmd := exec.Command("bash", "-c", "--", c.Script)
	cmd.Dir = c.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Env = append(cmd.Environ(), x.mark)
	for name, value := range c.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	streams, err := x.start(cmd, c)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", terminal.ErrNotStarted, err)
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }() // all outputs are files, so it is the shell's exit
	select {
	case <-exited:
	case <-ctx.Done():
		group := -cmd.Process.Pid
		syscall.Kill(group, syscall.SIGTERM)
		for end := time.Now().Add(2 * time.Second); syscall.Kill(group, 0) == nil && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
		syscall.Kill(group, syscall.SIGKILL)
		<-exited
		err = ctx.Err()
	}
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, s := range streams {
		s.drain(limit.Done())
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.closed {
		err = terminal.ErrClosed
	}
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal()), err
	}
	return cmd.ProcessState.ExitCode(), err
}

// start connects the command and starts it, unless Close has been called.
func (x *plainExecutor) start(cmd *exec.Cmd, c terminal.Command) ([]stream, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.closed {
		return nil, terminal.ErrClosed
	}
	stdout, out, err := pipe(c.Stdout)
	if err != nil {
		return nil, err
	}
	defer stdout.Close()
	cmd.Stdout, cmd.Stderr = stdout, stdout
	streams := []stream{out}
	if c.Stderr != c.Stdout {
		stderr, errs, err := pipe(c.Stderr)
		if err != nil {
			return nil, err
		}
		defer stderr.Close()
		cmd.Stderr = stderr
		streams = append(streams, errs)
	}
	if c.Stdin != nil {
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		go func() { io.Copy(in, c.Stdin); in.Close() }()
	}
	return streams, cmd.Start()
}

// stream has something when bytes came, and is closed at end of file.
type stream chan struct{}

// pipe returns a file whose bytes go on to w, for as long as anybody holds it.
func pipe(w io.Writer) (*os.File, stream, error) {
	r, file, err := os.Pipe()
	s := make(stream, 1)
	go func() {
		defer close(s)
		defer r.Close()
		for buf := make([]byte, 32<<10); ; {
			n, err := r.Read(buf)
			if err != nil {
				return
			}
			cmp.Or(w, io.Discard).Write(buf[:n])
			select {
			case s <- struct{}{}:
			default:
			}
		}
	}()
	return file, s, err
}

// drain returns at end of file, after 100 ms without a byte, or at the limit.
func (s stream) drain(limit <-chan struct{}) {
	for {
		select {
		case _, open := <-s:
			if !open {
				return
			}
		case <-time.After(100 * time.Millisecond):
			return
		case <-limit:
			return
		}
	}
}

// Close looks for the mark in /proc until no process has it.
func (x *plainExecutor) Close(ctx context.Context) error {
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	for left := true; left && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		left = false
		files, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, file := range files {
			if env, _ := os.ReadFile(file); bytes.Contains(env, []byte(x.mark)) {
				pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
				syscall.Kill(pid, syscall.SIGKILL)
				left = true
			}
		}
	}
	return ctx.Err()
}

// A backend of one's own needs Open, Exec and Close. This one passes the suite
// of package terminaltest on Linux, and shows what the contract asks of a
// backend that has real processes: it returns when the shell exits and not at
// end of file, it ends the whole group, and Close leaves nothing behind. On a
// service that does this by itself a backend is some twenty lines.
func ExampleExecutor() {
	term, err := terminal.New(terminal.Config{Backend: plain{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer term.Close()
	res, err := term.Run(context.Background(), terminal.Request{
		Command: "sleep 100 & echo hello; kill -TERM $$",
	})
	fmt.Printf("%q %d %v\n", res.Output, res.ExitCode, err)
	// Output: "hello\n" 143 <nil>
}
