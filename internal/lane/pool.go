// This file holds Pool: the shells of one environment, and what runs on them.

package lane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/terminal-go/terminal/internal/capture"
	"github.com/terminal-go/terminal/internal/procfs"
	"github.com/terminal-go/terminal/internal/shellscript"
	"github.com/terminal-go/terminal/internal/spawn"
)

const (
	// maxIdleShells is the number of idle shells kept for later commands.
	maxIdleShells = 8

	// retiredCheck is the number of retired shells that triggers a cleanup.
	retiredCheck = 16

	// ReadyLimit bounds the wait for the first shell of a started environment.
	ReadyLimit = 10 * time.Second

	// maxStderr bounds the bytes of a script's stderr in an error.
	maxStderr = 1000
)

// Shell is a lane and the connection it runs over.
type Shell struct {
	*Lane

	// HangUp closes the connection without waiting for the shell. It may be called
	// more than once.
	HangUp func()

	// Lifeline means that the environment ends with this connection. The shell
	// takes no command with Stdin, which would be its last.
	Lifeline bool
}

// Pool keeps the shells of one environment. Each running command has a shell of
// its own, and up to maxIdleShells are kept for later ones. A shell whose command
// left processes behind is retired: it takes no more commands, but is read from
// while they live (see "Protocol"). A Pool is safe for concurrent use.
type Pool struct {
	// dial starts another shell and passes it to Adopt.
	dial func(ctx context.Context) (*Shell, error)

	ctx       context.Context // ends at Close
	cancel    context.CancelFunc
	work      sync.WaitGroup // readers of connections, warm and clear; Add only under mu while open
	leftovers spawn.Leftovers

	mu       sync.Mutex // guards the rest; may be held when taking a Lane's mu, never during a read or write
	closed   bool
	live     map[*Shell]struct{} // shells whose connection is being read
	idle     []*Shell
	retired  map[*Shell]string // with the run ID of the survivors
	served   int               // number of commands so far
	warming  bool              // warm runs
	clearing bool              // clear runs
	clearAt  int               // number of retired shells that triggers the next clear
}

// NewPool returns a Pool whose shells are started by dial.
func NewPool(dial func(context.Context) (*Shell, error)) *Pool {
	p := &Pool{dial: dial, live: make(map[*Shell]struct{}), retired: make(map[*Shell]string), clearAt: retiredCheck}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Adopt adds a shell and starts read, which must copy the shell's output into its
// lane until the connection ends. After Close it returns spawn.ErrClosed.
func (p *Pool) Adopt(s *Shell, read func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		s.HangUp()
		return spawn.ErrClosed
	}
	p.live[s] = struct{}{}
	p.work.Go(func() {
		s.Broken(read())
		s.HangUp()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.live, s)
		delete(p.retired, s)
		p.idle = slices.DeleteFunc(p.idle, func(other *Shell) bool { return other == s })
	})
	return nil
}

// take returns an unused shell and whether it is new. input means Stdin is needed.
func (p *Pool) take(ctx context.Context, input bool) (s *Shell, fresh bool, err error) {
	if s := p.takeIdle(input); s != nil {
		return s, false, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	s, err = p.dial(ctx)
	return s, true, err
}

// takeIdle returns an idle shell, or nil. It prefers the last but one, because
// the last may still be starting its standby.
func (p *Pool) takeIdle(input bool) (s *Shell) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.served++
	pick := -1
	for i, found := len(p.idle)-1, 0; i >= 0 && found < 2; i-- {
		if !input || !p.idle[i].Lifeline {
			pick, found = i, found+1
		}
	}
	if pick >= 0 {
		s = p.idle[pick]
		p.idle = slices.Delete(p.idle, pick, pick+1)
	}
	return s
}

// Give adds a shell that is ready for its first command to the idle ones.
func (p *Pool) Give(s *Shell) { p.give(s, false, "") }

// give returns a shell to the pool after its command. hadInput reports whether the
// command had Stdin; left is its run ID if it left processes.
func (p *Pool) give(s *Shell, hadInput bool, left string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case s.Reusable() && !p.closed && len(p.idle) < maxIdleShells:
		p.idle = append(p.idle, s)
	case s.Lifeline:
	case s.Reusable() || s.Err() != nil || hadInput && left == "":
		s.HangUp()
	case left != "":
		p.retired[s] = left
	}
	if len(p.retired) >= p.clearAt && !p.clearing && !p.closed {
		p.clearing = true
		p.work.Go(p.clear)
	}
	// A spare shell pays off from the second command on.
	if p.served > 1 && !p.warming && !p.closed && !p.hasSpareLocked() {
		p.warming = true
		p.work.Go(p.warm)
	}
}

// abandon hangs up a shell whose command has not ended.
func (p *Pool) abandon(s *Shell) {
	if !s.Lifeline {
		s.HangUp()
	}
}

// hasSpareLocked reports whether a shell that accepts Stdin is idle.
func (p *Pool) hasSpareLocked() bool {
	return slices.ContainsFunc(p.idle, func(s *Shell) bool { return !s.Lifeline })
}

// warm starts a shell before it is needed.
func (p *Pool) warm() {
	s, err := p.dial(p.ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.warming = false
	if err == nil {
		p.idle = append(p.idle, s)
	}
}

// clear hangs up the retired shells whose processes have ended.
func (p *Pool) clear() {
	p.mu.Lock()
	asked := maps.Clone(p.retired)
	p.mu.Unlock()
	ids := slices.Collect(maps.Values(asked))
	out, err := p.Script(p.ctx, procfs.CarriedScript(ids), 2+len(strings.Join(ids, " ")))
	carried := strings.Fields(out)

	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearing = false
	for s, id := range asked {
		if err == nil && !slices.Contains(carried, id) {
			s.HangUp()
			delete(p.retired, s)
		}
	}
	p.clearAt = max(retiredCheck, 2*len(p.retired))
}

// Close ends all connections and waits for their readers. If ctx is done first, it
// returns ctx's error.
func (p *Pool) Close(ctx context.Context) error {
	p.cancel()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.HangUp()
	return spawn.Wait(ctx, &p.work)
}

// HangUp ends all connections.
func (p *Pool) HangUp() {
	p.mu.Lock()
	live := slices.Collect(maps.Keys(p.live))
	p.mu.Unlock()
	for _, s := range live {
		s.HangUp()
	}
}

// Survivors reports whether a run left processes behind, once for each run.
func (p *Pool) Survivors(runID string) bool { return p.leftovers.Take(runID) }

// NoteSurvivors records that a run outside of the pool left processes behind.
func (p *Pool) NoteSurvivors(runID string) { p.leftovers.Add(runID) }

// Exec runs a command on a shell of the pool. Its errors match ErrNotStarted or
// ErrBroken, or are ctx's; see Explain.
func (p *Pool) Exec(ctx context.Context, c spawn.Command) (int, error) {
	for {
		s, fresh, err := p.take(ctx, c.Stdin != nil)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrNotStarted, err)
		}
		result, err := p.execOn(ctx, s, c)
		// A dead connection of an idle shell shows only when it is used.
		if dead := errors.Is(err, ErrNotStarted) && s.Err() != nil; dead && !fresh && ctx.Err() == nil {
			continue
		}
		return result.ExitCode, err
	}
}

// execOn runs a command on s and returns s to the pool.
func (p *Pool) execOn(ctx context.Context, s *Shell, c spawn.Command) (Result, error) {
	run := s.Start(Command{
		Script: c.Script, Dir: c.Dir, Env: c.Env, RunID: c.Env[spawn.RunIDEnv],
		Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr, Detached: spawn.IsDetached(ctx),
	})
	select {
	case <-run.Done():
	case <-ctx.Done():
		if !p.end(ctx, run) {
			p.abandon(s)
			return Result{}, ctx.Err()
		}
	}
	result, err := run.Result()
	left := ""
	if result.Survivors {
		left = c.Env[spawn.RunIDEnv]
		p.leftovers.Add(left)
	}
	p.give(s, c.Stdin != nil, left)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return result, err
}

// end terminates a command through another shell, with TERM to its process group
// and KILL two seconds later. It reports whether the command has ended.
func (p *Pool) end(ctx context.Context, run *Run) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), spawn.EndLimit)
	defer cancel()
	select {
	case <-run.Started():
	case <-run.Done():
	case <-ctx.Done():
	}
	if pid := run.Pid(); pid > 1 {
		_, _ = p.Script(ctx, procfs.EndGroupScript(pid), 0) // Done shows whether it worked
	}
	select {
	case <-run.Done():
		return true
	case <-ctx.Done():
		return false
	}
}

// Script runs one of this module's scripts and returns its output of at most limit
// bytes. A nonzero exit code is an error.
func (p *Pool) Script(ctx context.Context, script string, limit int) (string, error) {
	s, _, err := p.take(ctx, false)
	if err != nil {
		return "", err
	}
	answer, said := shellscript.NewShortAnswer(limit), capture.NewAnswer(maxStderr)
	run := s.Start(Command{Script: answer.Frame(script), Dir: "/", RunID: spawn.NewRunID(), Stdout: answer, Stderr: said})
	select {
	case <-run.Done():
	case <-ctx.Done():
		p.abandon(s)
		return "", ctx.Err()
	}
	result, err := run.Result()
	p.give(s, false, "")
	switch {
	case err != nil:
		return "", err
	case result.ExitCode != 0:
		return "", fmt.Errorf("code %d: %s", result.ExitCode, strings.TrimSpace(string(said.End())))
	}
	return answer.Text()
}

// Explain converts an error of Exec for a command with ctx. life is the executor's
// context. settled returns a spawn.ErrGone if the environment has ended, which
// may be why the connection broke; connection names it in the message.
func Explain(ctx, life context.Context, err error, connection string, settled func(context.Context) error) error {
	never := errors.Is(err, ErrNotStarted)
	var refused *fs.PathError
	switch {
	case life.Err() != nil:
		err = spawn.ErrClosed
	case ctx.Err() != nil:
		err = ctx.Err()
	case never && errors.As(err, &refused):
		return spawn.NotStarted(refused)
	case never && errors.Is(err, syscall.E2BIG):
		return spawn.NotStarted(err)
	default:
		if gone := settled(ctx); gone != nil {
			err = gone
		} else if !never {
			err = fmt.Errorf("%s lost, so it is not known how the command ended: %w", connection, err)
		}
	}
	if never {
		return fmt.Errorf("%w: %w", spawn.ErrNotStarted, err)
	}
	return err
}

// WriteInput writes to the shell's stdin directly, before any command.
func (s *Shell) WriteInput(p []byte) error {
	_, err := s.stdin.Write(p)
	return err
}
