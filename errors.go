package terminal

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// The sentinels that a caller can act on. Find them with errors.Is; no
// message text is part of the contract. A capability that an Executor does
// not have is errors.ErrUnsupported.
var (
	// ErrClosed: the Terminal is closed, or the task was closed while the
	// command ran.
	ErrClosed = errors.New("terminal is closed")

	// ErrUnavailable: the backend cannot be used here. The error that wraps
	// it names the reason and the remedy.
	ErrUnavailable = errors.New("backend is unavailable")

	// ErrTimeout: the command reached its limit and was ended. It also
	// matches context.DeadlineExceeded and has a method Timeout() bool.
	ErrTimeout error = timeoutError{}

	// ErrGone: the environment has vanished (a container removed, a sandbox
	// ended). The next call of the task gets a fresh one.
	ErrGone = errors.New("environment is gone")

	// ErrNotStarted: nothing ran, so the command may safely be tried again.
	ErrNotStarted = errors.New("command did not start")

	// ErrDenied: Config.Approve refused the command; nothing ran.
	ErrDenied = errors.New("command was denied")

	// ErrTooManyTasks: Config.MaxTasks executors are live already.
	ErrTooManyTasks = errors.New("too many tasks")

	// ErrUnknownJob: the task has no job of that id.
	ErrUnknownJob = errors.New("unknown job")

	// ErrTooManyJobs: MaxJobs jobs are running in the task.
	ErrTooManyJobs = errors.New("too many jobs")

	// ErrTooLarge: the file has more than MaxFile bytes.
	ErrTooLarge = errors.New("file is too large")
)

type timeoutError struct{}

func (timeoutError) Error() string        { return "command reached its time limit" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Error is what the methods of a Terminal return. It wraps the cause once;
// Unwrap leads to the sentinels above.
type Error struct {
	Op      string // what was tried: "run", "close", "check", …
	Backend string // the backend's name, "" before one was chosen
	Task    string // "" where the error is not about one task
	Err     error  // the cause
}

// Error returns "op task (backend): cause".
func (e *Error) Error() string {
	s := e.Op
	if e.Task != "" {
		s += fmt.Sprintf(" task %q", e.Task)
	}
	if e.Backend != "" {
		s += " (" + e.Backend + ")"
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// marked is an error that also matches a sentinel, without the sentinel's
// text in a message that says it better.
type marked struct {
	error
	mark error
}

func (m marked) Unwrap() []error { return []error{m.error, m.mark} }

// recovered calls f and turns a panic of foreign code into an error, so that
// it ends one call and not the host.
func recovered(op string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: panic: %v\n%s", op, p, debug.Stack())
		}
	}()
	return f()
}
