//go:build linux

// This file tests Pool with shells on this machine.

package lane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal/internal/procfs"
	"github.com/terminal-go/terminal/internal/procfs/procfstest"
	"github.com/terminal-go/terminal/internal/spawn"
)

// localShells returns a Pool whose environment is this machine.
func localShells(t *testing.T) *Pool {
	t.Helper()
	var p *Pool
	p = NewPool(func(context.Context) (*Shell, error) {
		argv := Argv("")
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		stdin, inErr := cmd.StdinPipe()
		out, outErr := cmd.StdoutPipe()
		said, saidErr := cmd.StderrPipe()
		if err := errors.Join(inErr, outErr, saidErr, cmd.Start()); err != nil {
			return nil, err
		}
		s := &Shell{Lane: New(stdin), HangUp: func() {
			_ = stdin.Close()
			_ = out.Close()
			_ = said.Close()
		}}
		return s, p.Adopt(s, func() error {
			var both sync.WaitGroup
			both.Go(func() { _, _ = io.Copy(s.Stderr(), said) })
			_, err := io.Copy(s.Stdout(), out)
			both.Wait()
			return errors.Join(err, cmd.Wait())
		})
	})
	t.Cleanup(func() { require.NoError(t, p.Close(context.Background())) })
	return p
}

func (p *Pool) count() (live, idle, retired int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.live), len(p.idle), len(p.retired)
}

func (p *Pool) run(t *testing.T, runID, script string) string {
	t.Helper()
	var out strings.Builder
	code, err := p.Exec(t.Context(), spawn.Command{Script: script, Dir: "/", Env: map[string]string{spawn.RunIDEnv: runID}, Stdout: &out, Stderr: &out})
	require.NoError(t, err)
	require.Zero(t, code)
	return out.String()
}

func TestPoolExecReusesShell(t *testing.T) {
	p := localShells(t)
	for range 20 {
		require.Equal(t, "hello\n", p.run(t, spawn.NewRunID(), "echo hello"))
	}
	live, idle, _ := p.count()
	require.Equal(t, []int{1, 1}, []int{live, idle})
}

func TestPoolExecConcurrent(t *testing.T) {
	p := localShells(t)
	var all sync.WaitGroup
	for range 2 * maxIdleShells {
		all.Go(func() { p.run(t, spawn.NewRunID(), "sleep 0.3") })
	}
	all.Wait()
	_, idle, _ := p.count()
	require.Greater(t, idle, 1)
	require.LessOrEqual(t, idle, maxIdleShells)
}

func TestPoolExecIdleShellDead(t *testing.T) {
	p := localShells(t)
	p.run(t, spawn.NewRunID(), "true")
	p.mu.Lock()
	p.idle[0].HangUp()
	p.mu.Unlock()
	require.Equal(t, "hello\n", p.run(t, spawn.NewRunID(), "echo hello"))
}

func TestPoolClearRetiredShells(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a shell is kept as long as there are processes whose environment cannot be read, and here are those of other users")
	}
	p := localShells(t)
	id := spawn.NewRunID()
	t.Cleanup(func() { _ = procfs.KillRun(context.Background(), id) })
	for range retiredCheck - 1 {
		p.run(t, id, "setsid sleep 1001 &")
	}
	_, _, retired := p.count()
	require.Equal(t, retiredCheck-1, retired)

	other := spawn.NewRunID()
	t.Cleanup(func() { _ = procfs.KillRun(context.Background(), other) })
	require.NoError(t, procfs.KillRun(t.Context(), id))
	p.run(t, other, "sleep 1002 &")
	require.Eventually(t, func() bool {
		_, _, retired := p.count()
		return retired == 1 // the one with a living survivor
	}, 10*time.Second, 10*time.Millisecond)
}

func TestPoolExecContextCanceled(t *testing.T) {
	p := localShells(t)
	for name, script := range map[string]string{
		"obedient":  "sleep 1001",
		"obstinate": "trap '' TERM; while :; do sleep 0.1; done",
	} {
		t.Run(name, func(t *testing.T) {
			id := spawn.NewRunID()
			ctx, cancel := context.WithCancel(t.Context())
			started := make(chan struct{})
			go func() {
				<-started
				cancel()
			}()
			w := &firstWrite{then: func() { close(started) }}
			began := time.Now()
			_, err := p.Exec(ctx, spawn.Command{Script: "echo on; " + script, Dir: "/", Env: map[string]string{spawn.RunIDEnv: id}, Stdout: w, Stderr: w})
			require.ErrorIs(t, err, context.Canceled)
			require.Less(t, time.Since(began), spawn.EndLimit)
			require.Empty(t, procfstest.Carriers(t, id))
		})
	}
}

// firstWrite calls then at the first Write.
type firstWrite struct {
	once sync.Once
	then func()
}

func (w *firstWrite) Write(b []byte) (int, error) {
	w.once.Do(w.then)
	return len(b), nil
}

func TestPoolExecDirMissing(t *testing.T) {
	p := localShells(t)
	_, err := p.Exec(t.Context(), spawn.Command{Script: "true", Dir: "/nowhere", Env: map[string]string{spawn.RunIDEnv: spawn.NewRunID()}})
	require.ErrorIs(t, err, ErrNotStarted)
	require.True(t, errors.Is(err, os.ErrNotExist), fmt.Sprint(err))
}
