//go:build linux && !(terminal_nodocker && terminal_nomodal)

package terminal

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

	"github.com/terminal-go/terminal/internal/lane"
)

// localShells are lanes whose environment is this machine.
func localShells(t *testing.T) *shells {
	var p *shells
	p = newShells(func(context.Context) (*shell, error) {
		argv := lane.Argv("")
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		said, err := cmd.StderrPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		s := &shell{Lane: lane.New(stdin), stdin: stdin, hangUp: func() {
			_ = stdin.Close()
			_ = out.Close()
			_ = said.Close()
		}}
		return s, p.adopt(s, func() error {
			var both sync.WaitGroup
			both.Go(func() { _, _ = io.Copy(s.Stderr(), said) })
			_, err := io.Copy(s.Stdout(), out)
			both.Wait()
			return errors.Join(err, cmd.Wait())
		})
	})
	t.Cleanup(func() { require.NoError(t, p.close(context.Background())) })
	return p
}

func (p *shells) count() (live, idle, retired int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.live), len(p.idle), len(p.retired)
}

func (p *shells) run(t *testing.T, runID, script string) string {
	t.Helper()
	var out strings.Builder
	code, err := p.exec(t.Context(), Command{Script: script, Dir: "/", Env: map[string]string{RunIDEnv: runID}, Stdout: &out, Stderr: &out})
	require.NoError(t, err)
	require.Zero(t, code)
	return out.String()
}

func TestAShellServesOneCommandAfterAnother(t *testing.T) {
	p := localShells(t)
	for range 20 {
		require.Equal(t, "hello\n", p.run(t, newRunID(), "echo hello"))
	}
	live, idle, _ := p.count()
	require.Equal(t, []int{1, 1}, []int{live, idle})
}

func TestCommandsThatOverlapTakeAShellEachAndSomeAreKept(t *testing.T) {
	p := localShells(t)
	var all sync.WaitGroup
	for range 2 * maxIdleShells {
		all.Go(func() { p.run(t, newRunID(), "sleep 0.3") })
	}
	all.Wait()
	_, idle, _ := p.count()
	require.Greater(t, idle, 1)
	require.LessOrEqual(t, idle, maxIdleShells)
}

func TestAShellWhoseStreamDiedIsReplacedBeforeItIsUsed(t *testing.T) {
	p := localShells(t)
	p.run(t, newRunID(), "true")
	p.mu.Lock()
	p.idle[0].hangUp()
	p.mu.Unlock()
	require.Equal(t, "hello\n", p.run(t, newRunID(), "echo hello"))
}

func TestARetiredShellIsLetGoWhenItsProcessesHaveEnded(t *testing.T) {
	p := localShells(t)
	id := newRunID()
	t.Cleanup(func() { _ = killRun(context.Background(), id) })
	for range retiredCheck - 1 {
		p.run(t, id, "setsid sleep 1001 &")
	}
	_, _, retired := p.count()
	require.Equal(t, retiredCheck-1, retired)

	other := newRunID()
	t.Cleanup(func() { _ = killRun(context.Background(), other) })
	require.NoError(t, killRun(t.Context(), id))
	p.run(t, other, "sleep 1002 &")
	require.Eventually(t, func() bool {
		_, _, retired := p.count()
		return retired == 1 // the one that has somebody to serve
	}, 10*time.Second, 10*time.Millisecond)
}

func TestACommandOfAPoolIsEndedThroughAnotherShell(t *testing.T) {
	p := localShells(t)
	for name, script := range map[string]string{
		"obedient":  "sleep 1001",
		"obstinate": "trap '' TERM; while :; do sleep 0.1; done",
	} {
		t.Run(name, func(t *testing.T) {
			id := newRunID()
			ctx, cancel := context.WithCancel(t.Context())
			started := make(chan struct{})
			go func() {
				<-started
				cancel()
			}()
			w := &firstWrite{then: func() { close(started) }}
			began := time.Now()
			_, err := p.exec(ctx, Command{Script: "echo on; " + script, Dir: "/", Env: map[string]string{RunIDEnv: id}, Stdout: w, Stderr: w})
			require.ErrorIs(t, err, context.Canceled)
			require.Less(t, time.Since(began), endLimit)
			require.Empty(t, carriers(t, id))
		})
	}
}

// firstWrite tells of the first write to it.
type firstWrite struct {
	once sync.Once
	then func()
}

func (w *firstWrite) Write(b []byte) (int, error) {
	w.once.Do(w.then)
	return len(b), nil
}

func TestADirThatIsNotThereIsToldByTheShell(t *testing.T) {
	p := localShells(t)
	_, err := p.exec(t.Context(), Command{Script: "true", Dir: "/nowhere", Env: map[string]string{RunIDEnv: newRunID()}})
	require.ErrorIs(t, err, lane.ErrNotStarted)
	require.True(t, errors.Is(err, os.ErrNotExist), fmt.Sprint(err))
}
