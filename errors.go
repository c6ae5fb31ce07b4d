// This file holds the sentinel errors and the Error type that wraps them; Status
// values and exit codes for errors are assigned in result.go.

package terminal

import (
	"fmt"

	"github.com/terminal-go/terminal/internal/spawn"
)

// Errors that a caller can act on. Compare with errors.Is; the text of an error
// is not part of the API. If an Executor lacks a capability, the error matches
// errors.ErrUnsupported.
var (
	// ErrClosed means that the Terminal is closed, or that the task was
	// closed while the command ran.
	ErrClosed = spawn.ErrClosed

	// ErrUnavailable means that the backend cannot be used here. The wrapping
	// error names the reason and the remedy.
	ErrUnavailable = spawn.ErrUnavailable

	// ErrTimeout means that the command reached its limit and was killed. It
	// also matches context.DeadlineExceeded and, as a net.Error does, has a
	// method Timeout() bool.
	ErrTimeout = spawn.ErrTimeout

	// ErrGone means that the environment has vanished, such as a removed
	// container or a terminated sandbox. The task's next call opens another.
	ErrGone = spawn.ErrGone

	// ErrNotStarted means that nothing ran, so it is safe to retry.
	ErrNotStarted = spawn.ErrNotStarted

	// ErrDenied means that Config.Approve refused the command. Nothing ran.
	ErrDenied = spawn.ErrDenied

	// ErrTooManyTasks means that Config.MaxTasks executors are open already.
	ErrTooManyTasks = spawn.ErrTooManyTasks

	// ErrUnknownJob means that the task has no job with that ID.
	ErrUnknownJob = spawn.ErrUnknownJob

	// ErrTooManyJobs means that MaxJobs jobs are running in the task.
	ErrTooManyJobs = spawn.ErrTooManyJobs

	// ErrTooLarge means that the file is larger than MaxFile bytes.
	ErrTooLarge = spawn.ErrTooLarge
)

// Error is the type of all errors that the methods of a Terminal and a Job
// return. It wraps its cause, which may match the sentinels above.
type Error struct {
	Op      string // the operation: "run", "close", "check", …
	Backend string // the backend's name; "" before one was chosen
	Task    string // "" if the error is not about one task
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
