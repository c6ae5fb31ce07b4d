// The sentinels, and how errors are marked with them.

package spawn

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// The sentinels, which package terminal documents and exports.
var (
	ErrClosed             = errors.New("terminal is closed")
	ErrUnavailable        = errors.New("backend is unavailable")
	ErrTimeout      error = timeoutError{}
	ErrGone               = errors.New("environment is gone")
	ErrNotStarted         = errors.New("command did not start")
	ErrDenied             = errors.New("command was denied")
	ErrTooManyTasks       = errors.New("too many tasks")
	ErrUnknownJob         = errors.New("unknown job")
	ErrTooManyJobs        = errors.New("too many jobs")
	ErrTooLarge           = errors.New("file is too large")
)

type timeoutError struct{}

func (timeoutError) Error() string        { return "command reached its time limit" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Mark returns an error with err's message that also matches sentinel, for a
// message that says the same in better words.
func Mark(err, sentinel error) error { return marked{err, sentinel} }

type marked struct {
	error
	sentinel error
}

func (m marked) Unwrap() []error { return []error{m.error, m.sentinel} }

// NotStarted adds ErrNotStarted to err's chain without changing its message.
func NotStarted(err error) error { return Mark(err, ErrNotStarted) }

// Recover calls f and returns a panic of f as an error, so that foreign code
// ends one call and not the host.
func Recover(op string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: panic: %v\n%s", op, p, debug.Stack())
		}
	}()
	return f()
}
