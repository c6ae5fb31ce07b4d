//go:build !terminal_nodocker || !terminal_nomodal

package terminal

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/terminal-go/terminal/internal/lane"
)

const (
	maxIdleShells = 8                // kept for the next commands; more are let go
	retiredCheck  = 16               // how many retired ones make a look worth while whether all are still needed
	readyLimit    = 10 * time.Second // for the shell of an environment that has started
	endLimit      = 6 * time.Second  // for ending a command: its grace, and a shell to do it from
)

// shell is one lane into an environment, with its connection.
type shell struct {
	*lane.Lane
	stdin  io.Writer // the lane's
	hangUp func()    // ends the connection, whatever the shell does

	// lifeline says that the environment ends with this connection. Its lane
	// serves like the others, but not a command with input, whose end would
	// be the connection's.
	lifeline bool
}

// shells are the lanes into one environment. Commands that overlap take one
// each; a few are kept for the next ones. One whose command left processes
// behind is retired: not used again, but kept and read while they live, because
// a closed pipe would kill them and a full one would block them.
type shells struct {
	// dial starts another shell. Its connection is read by calling adopt.
	dial func(ctx context.Context) (*shell, error)

	ctx    context.Context // ends on close
	cancel context.CancelFunc
	work   sync.WaitGroup // readers of connections, and warm; Add only under mu and while !closed
	left   leavers

	mu       sync.Mutex // guards the rest; held for moments
	closed   bool
	live     map[*shell]struct{} // whose connection is being read
	idle     []*shell
	retired  map[*shell]string // and the run ids of what was left
	served   int               // commands; with the second one a spare is worth its while
	warming  bool
	clearing bool
	clearAt  int // how many retired ones it takes
}

func newShells(dial func(context.Context) (*shell, error)) *shells {
	p := &shells{dial: dial, live: make(map[*shell]struct{}), retired: make(map[*shell]string), clearAt: retiredCheck}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// adopt takes a shell in and reads its connection until that ends.
func (p *shells) adopt(s *shell, read func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		s.hangUp()
		return ErrClosed
	}
	p.live[s] = struct{}{}
	p.work.Go(func() {
		s.Broken(read())
		s.hangUp()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.live, s)
		delete(p.retired, s)
		p.idle = slices.DeleteFunc(p.idle, func(other *shell) bool { return other == s })
	})
	return nil
}

// take returns a shell that nobody uses, and whether it is new.
func (p *shells) take(ctx context.Context, input bool) (s *shell, fresh bool, err error) {
	p.mu.Lock()
	// Rather the last but one than the last, which is still getting ready for
	// its next command.
	pick := -1
	for i, found := len(p.idle)-1, 0; i >= 0 && found < 2; i-- {
		if !input || !p.idle[i].lifeline {
			pick, found = i, found+1
		}
	}
	if pick >= 0 {
		s = p.idle[pick]
		p.idle = slices.Delete(p.idle, pick, pick+1)
	}
	p.served++
	p.mu.Unlock()
	if s != nil {
		return s, false, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	s, err = p.dial(ctx)
	return s, true, err
}

// give takes a shell back after its command. fed says that it was given input,
// left is its run id if it left processes.
func (p *shells) give(s *shell, fed bool, left string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case s.Reusable() && !p.closed && len(p.idle) < maxIdleShells:
		p.idle = append(p.idle, s)
	case s.lifeline:
	case s.Reusable() || s.Err() != nil || fed && left == "":
		s.hangUp()
	case left != "":
		p.retired[s] = left
	}
	if len(p.retired) >= p.clearAt && !p.clearing && !p.closed {
		p.clearing = true
		p.work.Go(p.clear)
	}
	if p.served > 1 && !p.warming && !p.closed && !p.hasSpareLocked() {
		p.warming = true
		p.work.Go(p.warm)
	}
}

// abandon gives up a shell whose command has not ended.
func (p *shells) abandon(s *shell) {
	if !s.lifeline {
		s.hangUp()
	}
}

func (p *shells) hasSpareLocked() bool {
	for _, s := range p.idle {
		if !s.lifeline {
			return true
		}
	}
	return false
}

// warm starts a shell before it is needed.
func (p *shells) warm() {
	s, err := p.dial(p.ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.warming = false
	if err == nil {
		p.idle = append(p.idle, s)
	}
}

// carried.sh prints those of the words $ids that some process carries.
//
//go:embed carried.sh
var carriedSource string

// clear lets go of retired shells whose processes have ended.
func (p *shells) clear() {
	p.mu.Lock()
	asked := maps.Clone(p.retired)
	p.mu.Unlock()
	ids := slices.Collect(maps.Values(asked))
	question := strings.Join(ids, " ")
	out, err := p.script(p.ctx, fmt.Sprintf("ids='%s'\n%s\n%s", question, jobFunctions["tj_carries"], carriedSource), len(question)+1)
	carried := strings.Fields(out)

	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearing = false
	for s, id := range asked {
		if err == nil && !slices.Contains(carried, id) {
			s.hangUp()
			delete(p.retired, s)
		}
	}
	p.clearAt = max(retiredCheck, 2*len(p.retired))
}

// close ends all connections and waits for their readers, no longer than ctx.
func (p *shells) close(ctx context.Context) error {
	p.cancel()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.hangUp()
	return wait(ctx, &p.work)
}

// hangUp ends all connections.
func (p *shells) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.live {
		s.hangUp()
	}
}

// exec runs a command on a shell. Its errors are those of package lane.
func (p *shells) exec(ctx context.Context, c Command) (int, error) {
	for {
		s, fresh, err := p.take(ctx, c.Stdin != nil)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", lane.ErrNotStarted, err)
		}
		result, err := p.execOn(ctx, s, c)
		// A kept shell whose connection died of age is found out here.
		if lost := errors.Is(err, lane.ErrNotStarted) && s.Err() != nil; lost && !fresh && ctx.Err() == nil {
			continue
		}
		return result.ExitCode, err
	}
}

func (p *shells) execOn(ctx context.Context, s *shell, c Command) (lane.Result, error) {
	run := s.Start(lane.Command{
		Script: c.Script,
		Dir:    c.Dir,
		Env:    c.Env,
		RunID:  c.Env[RunIDEnv],
		Stdin:  c.Stdin,
		Stdout: c.Stdout,
		Stderr: c.Stderr,

		Detached: isDetached(ctx),
	})
	select {
	case <-run.Done():
	case <-ctx.Done():
		if !p.end(ctx, run) {
			p.abandon(s)
			return lane.Result{}, ctx.Err()
		}
	}
	result, err := run.Result()
	left := ""
	if result.Survivors {
		left = c.Env[RunIDEnv]
		p.left.note(left)
	}
	p.give(s, c.Stdin != nil, left)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return result, err
}

// end is the ladder of D3.5 from a shell of its own: TERM to the command's
// group, two seconds in which all may leave, KILL. It reports whether the
// command has ended.
func (p *shells) end(ctx context.Context, run *lane.Run) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	select {
	case <-run.Started():
	case <-run.Done():
	case <-ctx.Done():
	}
	if pid := run.Pid(); pid > 1 {
		_, _ = p.script(ctx, fmt.Sprintf("pid=%d\n%s", pid, endSource), 0) // the command's end is the proof
	}
	select {
	case <-run.Done():
		return true
	case <-ctx.Done():
		return false
	}
}

// end.sh sends TERM to the group $pid and KILL to what is left of it.
//
//go:embed end.sh
var endSource string

// script runs a few lines of ours and returns what they print, which must not
// be more than limit bytes.
func (p *shells) script(ctx context.Context, script string, limit int) (string, error) {
	s, _, err := p.take(ctx, false)
	if err != nil {
		return "", err
	}
	out := newShortAnswer(limit)
	said := newOutput(maxSaid, 0)
	stderr, _ := said.streams(nil, nil)
	run := s.Start(lane.Command{Script: out.frame(script), Dir: "/", RunID: newRunID(), Stdout: out, Stderr: stderr})
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
		text, _ := said.end()
		return "", fmt.Errorf("code %d: %s", result.ExitCode, strings.TrimSpace(text))
	}
	return out.text()
}

// explainLane says what an error of a lane means for a command with ctx. life
// ends with the Executor; settled returns ErrGone if the environment has ended,
// as it may have where a connection into it broke.
func explainLane(ctx, life context.Context, err error, connection string, settled func(context.Context) error) error {
	never := errors.Is(err, lane.ErrNotStarted)
	var refused *fs.PathError
	switch {
	case life.Err() != nil:
		err = ErrClosed
	case ctx.Err() != nil:
		err = ctx.Err()
	case never && errors.As(err, &refused):
		return notStarted(refused)
	case never && errors.Is(err, syscall.E2BIG):
		return notStarted(err)
	default:
		if gone := settled(ctx); gone != nil {
			err = gone
		} else if !never {
			err = fmt.Errorf("%s lost, so it is not known how the command ended: %w", connection, err)
		}
	}
	if never {
		return fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	return err
}
