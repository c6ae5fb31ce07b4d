// This file holds lease, through which every call uses an environment: acquire,
// limits, retries, killing and giving up. What runs is decided in run.go, job.go
// and file.go; environments are kept in registry.go.

package terminal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/terminal-go/terminal/internal/archive"
	"github.com/terminal-go/terminal/internal/job"
	"github.com/terminal-go/terminal/internal/shellscript"
	"github.com/terminal-go/terminal/internal/spawn"
)

const (
	// abandonAfter is how long an Executor may take to return after its context
	// has ended: two seconds between TERM and KILL, and time for a remote
	// backend to confirm. Then the call returns and the environment is dropped.
	abandonAfter = 10 * time.Second

	// sweepLimit bounds the search for processes of a run, to kill them or to
	// make them a job.
	sweepLimit = 10 * time.Second

	// longScript is the length in bytes from which a script is sent on stdin
	// instead of as an argument. Linux limits one argument to 128 KiB (execve(2),
	// MAX_ARG_STRLEN), Modal all arguments to 64 KiB.
	longScript = 48 << 10

	// repeatPause is the delay before an idempotent request whose outcome is
	// not known is retried.
	repeatPause = time.Second
)

// retryDelays are the delays before an attempt that did not start is retried.
var retryDelays = [...]time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second}

// A lease is the right of one attempt of a call to use a task's environment,
// which is not reaped meanwhile. A Terminal runs everything in an environment
// through a lease. It is not safe for concurrent use.
type lease struct {
	*entry
	terminal *Terminal
	ctx      context.Context // the caller's
	subject  string          // in error texts: "command", "transfer" or "request"
	limit    time.Duration   // 0: none
	deadline time.Time       // limit after the first environment was acquired; zero: none
	notices  *notices        // for the caller

	took      time.Duration // how long the last use of the Executor took
	abandoned bool          // it has not returned
}

// attempts configures withLease.
type attempts struct {
	subject    string
	limit      time.Duration              // starts when an environment is open; 0: none
	repeatable bool                       // retry also if an earlier attempt may have run
	retrying   func(time.Duration, error) // called before each delay with its reason; may be nil
	notices    *notices                   // if nil, notices are discarded
}

// withLease acquires the environment of a task, calls use, and releases it. If use
// fails with an error that proves that nothing ran, withLease retries up to three
// times within the limit, in a new environment if the old one has vanished.
func (t *Terminal) withLease(ctx context.Context, task string, a attempts, use func(*lease) error) error {
	if a.notices == nil {
		a.notices = new(notices)
	}
	l := &lease{terminal: t, ctx: ctx, subject: a.subject, limit: a.limit, notices: a.notices}
	for attempt := 0; ; attempt++ {
		err := l.attempt(task, use)
		if err == nil || attempt == len(retryDelays) {
			return err
		}
		delay := retryDelays[attempt]
		switch {
		case errors.Is(err, ErrGone) && errors.Is(err, ErrNotStarted):
			continue // without delay: the next attempt opens a new environment
		case retryable(err):
		case a.repeatable && !final(ctx, err):
			delay = repeatPause
		default:
			return err
		}
		if !l.deadline.IsZero() && time.Until(l.deadline) < delay {
			return err
		}
		if a.retrying != nil {
			a.retrying(delay, err)
		}
		if !t.sleep(ctx, delay) {
			return err
		}
	}
}

// attempt acquires the task's environment, calls use once, and releases it. If the
// error matches ErrGone, it drops the environment.
func (l *lease) attempt(task string, use func(*lease) error) error {
	reg := l.terminal.reg
	e, err := reg.acquire(l.ctx, task)
	if err != nil {
		if l.ctx.Err() != nil {
			return cancelled(l.ctx, l.subject)
		}
		return err
	}
	defer reg.release(e)
	l.entry = e
	if l.limit > 0 && l.deadline.IsZero() {
		l.deadline = time.Now().Add(l.limit)
	}
	err = use(l)
	if errors.Is(err, ErrGone) {
		reg.drop(l.ctx, e, err)
		if errors.Is(err, ErrNotStarted) {
			reg.setGone(task)
		}
	}
	return err
}

// within returns a lease of the same environment with a context and a limit of
// its own, for a request about a job.
func (l *lease) within(ctx context.Context, limit time.Duration) *lease {
	return &lease{
		entry: l.entry, terminal: l.terminal, ctx: ctx, subject: "request",
		limit: limit, deadline: time.Now().Add(limit), notices: l.notices,
	}
}

// sleep waits for d and returns true, or returns false as soon as ctx ends or the
// Terminal is closed.
func (t *Terminal) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-t.reg.ctx.Done():
	}
	return false
}

// retryable reports whether err means that nothing ran and that another attempt
// may succeed. A bad directory, for example, is not retryable.
func retryable(err error) bool {
	return errors.Is(err, ErrNotStarted) && !isAny(err,
		ErrUnavailable, ErrClosed, errors.ErrUnsupported,
		fs.ErrNotExist, fs.ErrPermission, fs.ErrInvalid, syscall.ENOTDIR, syscall.E2BIG, job.ErrRefused)
}

// final reports whether a repeatable request would fail again for the same reason.
func final(ctx context.Context, err error) bool {
	return ctx.Err() != nil || archive.IsPathError(err) ||
		isAny(err, ErrClosed, ErrGone, ErrUnknownJob, ErrUnavailable, ErrTimeout, ErrTooManyTasks)
}

// isAny reports whether err matches one of the targets.
func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// exec runs a command. It returns a nil error if the command ran to its own end.
// If the deadline, the caller's context or the task ends first, exec kills all
// processes of the command and returns an error.
func (l *lease) exec(c Command) (exitCode int, err error) {
	runID := c.Env[RunIDEnv]
	if len(c.Script) >= longScript {
		c.Script, c.Stdin = shellscript.Feed(c.Script, runID, c.Stdin)
	}
	code := 0
	err = l.do("exec command", runID, func(ctx context.Context) (err error) {
		code, err = l.ex.Exec(ctx, c)
		return err
	})
	if err != nil {
		return 0, err // do not read code: an abandoned Exec may still write it
	}
	return code, nil
}

// do calls f, which uses the Executor, with a context that ends with the caller's
// context, at the deadline, or when the task is closed. If f fails, do
//
//  1. returns without f if f does not return within abandonAfter,
//  2. kills the processes of the run, unless runID is "", and drops the
//     environment if that fails,
//  3. returns why the context ended, if it did,
//  4. calls Ping otherwise, because the environment may have vanished.
func (l *lease) do(op, runID string, f func(context.Context) error) error {
	run := l.bind()
	defer run.release()
	began := time.Now()
	returned, err := bounded(run, op, f)
	l.took, l.abandoned = time.Since(began), !returned
	if returned && err == nil {
		return nil
	}
	ended := run.Err() != nil
	if !ended && errors.Is(err, ErrNotStarted) {
		return err
	}
	gone := errors.Is(err, ErrGone)
	switch {
	case gone && ended: // the error will not say so
		l.terminal.reg.drop(l.ctx, l.entry, err)
	case gone:
	case runID != "":
		l.sweep(runID, returned)
	case !returned:
		l.terminal.reg.drop(l.ctx, l.entry, errAbandoned)
	}
	if ended {
		return l.endedBy(run)
	}
	if !gone && !archive.IsPathError(err) && !errors.Is(err, errors.ErrUnsupported) {
		if lost := ping(l.ctx, l.ex); errors.Is(lost, ErrGone) {
			return errors.Join(err, lost)
		}
	}
	return err
}

var errAbandoned = errors.New("backend does not answer")

// A use is the context in which a lease uses its Executor. It ends with one of
// the causes timeout and closed, unless it is the caller's context that ended
// first: with a cause of any type, perhaps one of another use.
type use struct {
	context.Context
	release         func()
	timeout, closed *stop
}

// A stop is why a lease ended a use.
type stop struct{ error }

// bind returns a context that ends with the caller's, at the deadline and with
// the task.
func (l *lease) bind() use {
	ctx, cancel := context.WithCancelCause(l.ctx)
	u := use{timeout: &stop{ErrTimeout}, closed: new(stop)}
	unwatch := context.AfterFunc(l.entry.ctx, func() {
		u.closed.error = context.Cause(l.entry.ctx)
		cancel(u.closed)
	})
	release := func() {}
	if !l.deadline.IsZero() {
		ctx, release = context.WithDeadlineCause(ctx, l.deadline, u.timeout)
	}
	u.Context = ctx
	u.release = func() {
		unwatch()
		cancel(nil)
		release()
	}
	return u
}

// bounded calls f and waits for it, but at most abandonAfter after ctx is done.
// If it gives up, f keeps running.
func bounded(ctx context.Context, op string, f func(context.Context) error) (returned bool, err error) {
	done := make(chan error, 1)
	go func() { done <- spawn.Recover(op, func() error { return f(ctx) }) }()
	select {
	case err := <-done:
		return true, err
	case <-ctx.Done():
	}
	timer := time.NewTimer(abandonAfter)
	defer timer.Stop()
	select {
	case err := <-done:
		return true, err
	case <-timer.C:
		return false, nil
	}
}

// sweep kills the processes that a command left, for example by setsid(2), after
// Exec was told to end it. returned reports whether Exec has returned. If sweep
// fails, it drops the environment, so that no later command shares it with them.
func (l *lease) sweep(runID string, returned bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), sweepLimit)
	defer cancel()
	err := kill(ctx, l.ex, runID)
	if returned && err == nil || errors.Is(err, ErrClosed) || l.entry.ctx.Err() != nil {
		return
	}
	l.notices.add("some processes of the command could not be ended, so its environment was closed; the next command gets a new one")
	if err == nil {
		err = errAbandoned
	}
	l.terminal.reg.drop(ctx, l.entry, fmt.Errorf("processes not ended: %w", err))
}

// endedBy returns the error of a call whose use was ended.
func (l *lease) endedBy(u use) error {
	// No errors.Is: the caller's cause must be told from ours by its address.
	switch cause := context.Cause(u); {
	case cause == error(u.timeout): //nolint:errorlint // see above
		text := fmt.Errorf("%s reached its limit of %v and was ended; ask for a longer timeout if it needs more", l.subject, l.limit)
		return endedError{spawn.Mark(text, ErrTimeout), exitTimeout, StatusTimeout}
	case cause != error(u.closed): //nolint:errorlint // see above
		return cancelled(l.ctx, l.subject)
	case errors.Is(u.closed.error, ErrGone):
		return fmt.Errorf("environment was lost while the %s ran: %w", l.subject, ErrGone)
	default:
		return endedError{fmt.Errorf("%s was ended: %w", l.subject, u.closed.error), exitUnknown, StatusClosed}
	}
}

// cancelled returns the error of a call whose caller's context ctx has ended.
func cancelled(ctx context.Context, subject string) error {
	err := fmt.Errorf("%s was cancelled: %w", subject, context.Cause(ctx))
	return endedError{spawn.Mark(err, ctx.Err()), exitCancelled, StatusCancelled}
}

// An endedError is the error of a command that was killed, with the exit code and
// status for its Result.
type endedError struct {
	error
	code   int
	status Status
}

// Unwrap returns the error without its exit code and status.
func (e endedError) Unwrap() error { return e.error }

// notices collects the texts of Result.Notice for one call. It is not safe for
// concurrent use.
type notices struct{ text string }

// add appends text, after a semicolon if it is not the first.
func (n *notices) add(text string) {
	if n.text != "" {
		text = n.text + "; " + text
	}
	n.text = text
}
