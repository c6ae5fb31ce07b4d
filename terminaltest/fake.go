package terminaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/terminal-go/terminal"
)

// Fake is a Backend whose commands are answered with scripted replies. The zero
// value is ready to use. A command without a [Reply] ends with exit code 127 and
// a line on stderr that says so. No process runs.
//
//	var fake terminaltest.Fake
//	fake.Reply("go test ./...", terminaltest.Reply{Output: "FAIL\n", ExitCode: 1})
//	term, err := terminal.New(terminal.Config{Backend: &fake})
//
// If Next is set, Fake records the commands that run there, and its replies
// inject failures. Without Next, background jobs cannot work, because they are
// scripts that need a shell.
//
// The fields must be set before the first Open. The methods are safe for
// concurrent use. A Fake must not be copied.
type Fake struct {
	// Next runs the commands that have no reply. If Next is nil, they end
	// with code 127. Unwrap returns Next's executor, so that its
	// capabilities stay available.
	Next terminal.Backend

	// OpenDelay delays every Open. If the context is done before that, Open
	// returns its error.
	OpenDelay time.Duration

	// OpenErr, if not nil, is returned by every Open.
	OpenErr error

	// CloseErr, if not nil, is returned by every Executor's Close, joined
	// with the error of Next's executor. The executor is closed nevertheless.
	CloseErr error

	mu             sync.Mutex // guards the fields below; not held while a command runs
	rules          []*rule
	calls          []*Call
	opened, closed int
}

// Reply is what a command writes and how it ends. The zero value ends at once
// with code 0.
type Reply struct {
	Output string // written to stdout first
	Stderr string // written to stderr next

	// Delay passes before the command ends. If the context is done or the
	// executor is closed before that, the command ends with that error. In
	// a testing/synctest bubble it takes no real time.
	Delay time.Duration

	ExitCode int   // the exit code, if Err is nil
	Err      error // if not nil, returned by Exec instead of the exit code

	// Next runs the command on Fake.Next after the rest of the reply,
	// instead of ending with ExitCode or Err. It is ignored if Fake.Next is
	// nil.
	Next bool
}

// rule is a list of replies and the condition for the commands that get them.
type rule struct {
	match   func(terminal.Command) bool
	command string // compared with the script, if match is nil
	replies []Reply
	used    int
}

// Call is a command that was run on a Fake. The scripts that a Terminal runs by
// itself, such as those of background jobs, are calls too.
type Call struct {
	Task   string            // the task of the Executor
	Script string            // the script of the Command
	Dir    string            // its working directory
	Env    map[string]string // its variables, including the Terminal's own
	Stdin  string            // the part of its standard input that was read so far
	At     time.Time         // when Exec was called
}

// Reply adds replies to commands of exactly this text. They are used in order,
// and the last one is repeated. Without any replies, the zero Reply is used. A
// Terminal sends a command of 48 KiB or more in another form (see
// terminal.Command); use ReplyFunc for these.
func (f *Fake) Reply(command string, replies ...Reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if r.match == nil && r.command == command {
			r.replies = append(r.replies, replies...)
			return
		}
	}
	f.rules = append(f.rules, &rule{command: command, replies: slices.Clone(replies)})
}

// ReplyFunc adds replies to the commands for which match returns true, as Reply
// does. If several rules match a command, the one that was added first answers
// it. match may be called from several goroutines at once and must not read
// Stdin.
func (f *Fake) ReplyFunc(match func(terminal.Command) bool, replies ...Reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, &rule{match: match, replies: slices.Clone(replies)})
}

// Calls returns a copy of the calls so far, in their order.
func (f *Fake) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := make([]Call, len(f.calls))
	for i, c := range f.calls {
		calls[i] = *c
		calls[i].Env = maps.Clone(c.Env)
	}
	return calls
}

// Opened returns how many executors were opened.
func (f *Fake) Opened() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened
}

// Closed returns how many executors were closed, each counted once.
func (f *Fake) Closed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// Open opens an executor, and one of Next if that is set.
func (f *Fake) Open(ctx context.Context, task string) (terminal.Executor, error) {
	if err := sleep(ctx, f.OpenDelay, nil); err != nil {
		return nil, err
	}
	if f.OpenErr != nil {
		return nil, f.OpenErr
	}
	ex := fakeExecutor{f: f, task: task, ended: make(chan struct{}), once: new(sync.Once)}
	if f.Next != nil {
		next, err := f.Next.Open(ctx, task)
		if err != nil {
			return nil, err
		}
		ex.next = next
	}
	f.mu.Lock()
	f.opened++
	f.mu.Unlock()
	if ex.next != nil {
		return wrappingExecutor{ex}, nil
	}
	return scriptedExecutor{ex}, nil
}

// Check calls Next's Check. It returns nil if Next is nil or no Checker.
func (f *Fake) Check(ctx context.Context) error {
	if c, ok := f.Next.(terminal.Checker); ok {
		return c.Check(ctx)
	}
	return nil
}

// Lacks makes [Run] skip every subtest if Next is nil, because all of them need
// processes. Otherwise it returns what Next lacks.
func (f *Fake) Lacks(subtest string) string {
	if f.Next == nil {
		return "a Fake without Next runs no processes"
	}
	if l, ok := f.Next.(Limited); ok {
		return l.Lacks(subtest)
	}
	return ""
}

// reply finds the reply to a command.
func (f *Fake) reply(cmd terminal.Command) (Reply, bool) {
	f.mu.Lock()
	rules := slices.Clone(f.rules)
	f.mu.Unlock()
	for _, r := range rules {
		if r.match == nil && r.command != cmd.Script || r.match != nil && !r.match(cmd) {
			continue
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(r.replies) == 0 {
			return Reply{}, true
		}
		reply := r.replies[min(r.used, len(r.replies)-1)]
		r.used++
		return reply, true
	}
	return Reply{}, false
}

// record records a call and replaces its Stdin by a reader that records what is
// read from it.
func (f *Fake) record(task string, cmd *terminal.Command) {
	c := &Call{Task: task, Script: cmd.Script, Dir: cmd.Dir, Env: maps.Clone(cmd.Env), At: time.Now()}
	f.mu.Lock()
	f.calls = append(f.calls, c)
	f.mu.Unlock()
	if cmd.Stdin != nil {
		cmd.Stdin = stdinRecorder{cmd.Stdin, f, c}
	}
}

type stdinRecorder struct {
	r io.Reader
	f *Fake
	c *Call
}

func (s stdinRecorder) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.c.Stdin += string(p[:max(n, 0)])
	return n, err
}

// fakeExecutor is the common part of both kinds of executor.
type fakeExecutor struct {
	f     *Fake
	task  string
	next  terminal.Executor // nil if there is none
	ended chan struct{}     // closed by Close
	once  *sync.Once
}

func (e fakeExecutor) Exec(ctx context.Context, cmd terminal.Command) (int, error) {
	e.f.record(e.task, &cmd)
	if err := sleep(ctx, 0, e.ended); err != nil {
		return -1, err
	}
	reply, ok := e.f.reply(cmd)
	if !ok && e.next != nil {
		return e.next.Exec(ctx, cmd)
	}
	if !ok {
		reply = Reply{Stderr: fmt.Sprintf("terminaltest.Fake: no reply to this command: %s\n", brief(cmd.Script)), ExitCode: 127}
	}
	write(cmd.Stdout, reply.Output)
	write(cmd.Stderr, reply.Stderr)
	passOn := reply.Next && e.next != nil
	if !passOn {
		if err := readAll(ctx, cmd.Stdin, e.ended); err != nil {
			return -1, err
		}
	}
	if err := sleep(ctx, reply.Delay, e.ended); err != nil {
		return -1, err
	}
	if passOn {
		return e.next.Exec(ctx, cmd)
	}
	if reply.Err != nil {
		return -1, reply.Err
	}
	return reply.ExitCode, nil
}

func (e fakeExecutor) Close(ctx context.Context) error {
	e.once.Do(func() {
		close(e.ended)
		e.f.mu.Lock()
		defer e.f.mu.Unlock()
		e.f.closed++
	})
	if e.next == nil {
		return e.f.CloseErr
	}
	if err := e.next.Close(ctx); err != nil {
		return errors.Join(err, e.f.CloseErr)
	}
	return e.f.CloseErr
}

// A wrappingExecutor passes commands on to another executor.
type wrappingExecutor struct{ fakeExecutor }

// Unwrap returns the executor of Fake.Next.
func (e wrappingExecutor) Unwrap() terminal.Executor { return e.next }

// A scriptedExecutor has no processes. It implements Killer, so that a Terminal
// does not run scripts that search for processes and kill them.
type scriptedExecutor struct{ fakeExecutor }

// Kill returns nil, because there are no processes.
func (scriptedExecutor) Kill(context.Context, string) error { return nil }

// sleep waits for d. It fails if ctx is done or the executor is closed before.
func sleep(ctx context.Context, d time.Duration, ended <-chan struct{}) error {
	select {
	case <-ended:
		return fmt.Errorf("fake executor: %w", terminal.ErrClosed)
	case <-ctx.Done():
		return ctx.Err()
	default:
	}
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ended:
		return fmt.Errorf("fake executor: %w", terminal.ErrClosed)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readAll reads r to its end. It fails if ctx is done or the executor is closed
// before, and then leaves behind a goroutine that waits for a blocked reader.
func readAll(ctx context.Context, r io.Reader, ended <-chan struct{}) error {
	if r == nil {
		return nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, r)
	}()
	select {
	case <-done:
		return nil
	case <-ended:
		return fmt.Errorf("fake executor: %w", terminal.ErrClosed)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func write(w io.Writer, s string) {
	if w != nil && s != "" {
		_, _ = io.Copy(w, bytes.NewReader([]byte(s)))
	}
}
