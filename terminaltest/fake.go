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

// Fake is a Backend whose commands do what a test says. Its zero value is
// ready: a command without a [Reply] is then answered with exit code 127 and a
// line on stderr that says so, and no process ever runs.
//
//	var fake terminaltest.Fake
//	fake.Reply("go test ./...", terminaltest.Reply{Output: "FAIL\n", ExitCode: 1})
//	term, err := terminal.New(terminal.Config{Backend: &fake})
//
// With Next set, Fake stands in front of a real Backend: it records what is
// run there, and its replies inject what goes wrong. Without Next, background
// jobs cannot work: they are scripts that need a shell.
//
// The fields are to be set before the first Open. The methods are safe for
// concurrent use, at any time. A Fake must not be copied.
type Fake struct {
	// Next runs the commands that have no reply; nil answers them with 127.
	// Executors show Next's own through Unwrap, so that its capabilities
	// stay in reach.
	Next terminal.Backend

	// OpenDelay passes in every Open before anything else happens; it ends
	// early, with an error, when the context does. 0 is no delay.
	OpenDelay time.Duration

	// OpenErr, if not nil, is what every Open returns.
	OpenErr error

	// CloseErr, if not nil, is what every Executor's Close returns, joined
	// with an error of Next's; it closes all the same.
	CloseErr error

	mu             sync.Mutex // guards what follows; held for bookkeeping only
	rules          []*rule
	calls          []*Call
	opened, closed int
}

// Reply is what a command does. The zero value ends at once with code 0.
type Reply struct {
	Output string // written to stdout first
	Stderr string // written to stderr next

	// Delay passes before the command ends. When the context ends or the
	// executor is closed meanwhile, the command ends with that error. It is
	// a timer, so in a testing/synctest bubble it costs no time.
	Delay time.Duration

	ExitCode int   // the exit code, where Err is nil
	Err      error // returned instead of an exit code; nil: the command ran to its end

	// Next runs the command on Fake.Next when the rest of the reply is done,
	// instead of ending with ExitCode or Err. Without a Fake.Next it means
	// nothing.
	Next bool
}

// rule is a list of replies and the commands that get them.
type rule struct {
	match   func(terminal.Command) bool
	command string // where match is nil
	replies []Reply
	used    int
}

// Call is a command that a Fake was asked to run. Scripts of the Terminal's
// own, such as those of background jobs, are calls too.
type Call struct {
	Task   string            // the task of the Executor
	Script string            // the command as the Executor got it
	Dir    string            // its working directory
	Env    map[string]string // its variables, the Terminal's own included
	Stdin  string            // what was read of its standard input so far
	At     time.Time         // when it came
}

// Reply says how a command of exactly this text is answered: by the replies in
// order, the last one again and again. Repeated calls for a command add to its
// replies. No reply at all means the zero Reply. A command of 48 KiB or more
// comes from a Terminal in another form (see terminal.Command), for ReplyFunc.
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

// ReplyFunc says how the commands are answered for which match returns true,
// as Reply does. A command that several rules match gets the reply of the one
// that was made first. match may be called from several goroutines at once,
// for Stdin it must leave untouched.
func (f *Fake) ReplyFunc(match func(terminal.Command) bool, replies ...Reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, &rule{match: match, replies: slices.Clone(replies)})
}

// Calls returns a copy of the commands so far, in the order in which they came.
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

// Open opens an executor, on Next too if there is one.
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

// Check asks Next, and is nil where Next is nil or has no Check.
func (f *Fake) Check(ctx context.Context) error {
	if c, ok := f.Next.(terminal.Checker); ok {
		return c.Check(ctx)
	}
	return nil
}

// Lacks lets [Run] skip what needs real processes, which is everything, where
// Next is nil; otherwise it asks Next.
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

// record notes a call and makes its standard input be noted as it is read.
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

// fakeExecutor is what both kinds of executor have in common.
type fakeExecutor struct {
	f     *Fake
	task  string
	next  terminal.Executor // nil: none
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

// A wrappingExecutor has another one behind it.
type wrappingExecutor struct{ fakeExecutor }

// Unwrap returns the executor of Fake.Next.
func (e wrappingExecutor) Unwrap() terminal.Executor { return e.next }

// A scriptedExecutor has no processes, and tells the Terminal so: there is
// nothing to look for and nothing to kill.
type scriptedExecutor struct{ fakeExecutor }

// Kill returns nil: there are no processes.
func (scriptedExecutor) Kill(context.Context, string) error { return nil }

// sleep waits for d, or until ctx or the executor ends.
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

// readAll reads a command's input to its end, or until ctx or the executor
// ends; a reader that blocks is then left behind.
func readAll(ctx context.Context, r io.Reader, ended <-chan struct{}) error {
	if r == nil {
		return nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(io.Discard, r)
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
		io.Copy(w, bytes.NewReader([]byte(s)))
	}
}
