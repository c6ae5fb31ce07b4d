// Tests of Backend and Executor: decorators, capabilities, routes and Check.

package terminal

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wrapper is a decorator as a third party would write it.
type wrapper struct{ Executor }

func (w wrapper) Unwrap() Executor { return w.Executor }

// A capability is found through any number of decorators.
func TestCapabilityThroughUnwrap(t *testing.T) {
	inner := &stubExecutor{&stub{}}
	k, ok := capability[Killer](wrapper{wrapper{inner}})
	assert.True(t, ok)
	assert.Same(t, inner, k)
	_, ok = capability[Pinger](wrapper{inner})
	assert.False(t, ok)
}

// A Route may lead to another Route; a task without a backend is unavailable.
func TestRouteNested(t *testing.T) {
	a, b := &stub{}, &stub{}
	inner := Route(func(task string) Backend {
		if task == "b" {
			return b
		}
		return nil
	})
	term := newTerminal(t, Config{Backend: Route(func(task string) Backend {
		if task == "a" {
			return a
		}
		return inner
	})})
	defer term.Close()
	for _, task := range []string{"a", "b"} {
		_, err := term.Run(t.Context(), Request{Command: "true", Task: task})
		require.NoError(t, err)
	}
	assert.EqualValues(t, 1, a.opened.Load())
	assert.EqualValues(t, 1, b.opened.Load())
	assert.Equal(t, "stub", term.Stats().Tasks[0].Backend)
	_, err := term.Run(t.Context(), Request{Command: "true", Task: "c"})
	assert.ErrorIs(t, err, ErrUnavailable)
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "c", e.Task)
}

// pinging is an Executor whose Ping reports that the environment is gone.
type pinging struct{ *stubExecutor }

func (pinging) Ping(context.Context) error { return ErrGone }

type pingingBackend struct{ *stub }

func (b pingingBackend) Open(context.Context, string) (Executor, error) {
	return pinging{&stubExecutor{b.stub}}, nil
}

// If an Exec fails without a known cause and Ping reports ErrGone, the
// environment is lost.
func TestRunUnexplainedFailurePingGone(t *testing.T) {
	failure := errors.New("stream reset")
	b := pingingBackend{&stub{exec: func(context.Context, Command) (int, error) { return 0, failure }}}
	term := newTerminal(t, Config{Backend: b})
	defer term.Close()
	res, err := term.Run(t.Context(), Request{Command: "true"})
	assert.ErrorIs(t, err, ErrGone)
	assert.ErrorIs(t, err, failure)
	assert.Equal(t, StatusLost, res.Status)
	assert.Empty(t, term.Stats().Tasks)
}

type checking struct{ stub }

func (*checking) Check(context.Context) error { return ErrUnavailable }

// Check asks a backend that implements Checker and returns nil for any other.
func TestCheckOptional(t *testing.T) {
	assert.NoError(t, newTerminal(t, Config{Backend: &stub{}}).Check(t.Context()))
	assert.NoError(t, newTerminal(t, Config{}).Check(t.Context()))
	assert.ErrorIs(t, newTerminal(t, Config{Backend: &checking{}}).Check(t.Context()), ErrUnavailable)
	err := newTerminal(t, Config{Backend: Local{Shell: "no-such-shell"}}).Check(t.Context())
	assert.ErrorIs(t, err, ErrUnavailable)
	assert.ErrorContains(t, err, "no-such-shell")
}

// ErrTimeout matches context.DeadlineExceeded and reports Timeout() true, as
// net errors do.
func TestErrTimeoutIsDeadlineExceeded(t *testing.T) {
	err := error(&Error{Op: "run", Err: ErrTimeout})
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.NotErrorIs(t, err, context.Canceled)
	var timeout interface{ Timeout() bool }
	require.ErrorAs(t, err, &timeout)
	assert.True(t, timeout.Timeout())
}

// Invalid requests are refused before an environment is opened.
func TestRunInvalidRequest(t *testing.T) {
	b := &stub{}
	term := newTerminal(t, Config{Backend: b, MaxTimeout: DefaultTimeout})
	defer term.Close()
	for want, req := range map[string]Request{
		"blank":         {Command: " \n"},
		"NUL byte":      {Command: "a\x00"},
		"positive":      {Command: "x", Timeout: -1},
		"longest":       {Command: "x", Timeout: 2 * DefaultTimeout},
		"dir":           {Command: "x", Dir: "\x00"},
		"env name \"\"": {Command: "x", Env: map[string]string{"": "x"}},
		"env A":         {Command: "x", Env: map[string]string{"A": "\x00"}},
	} {
		res, err := term.Run(t.Context(), req)
		assert.ErrorContains(t, err, want)
		assert.Equal(t, Result{ExitCode: -1, Error: errors.Unwrap(err).Error(), Status: StatusError}, res)
	}
	assert.Zero(t, b.opened.Load())
}

// Any string is a task name, and different names never share an environment.
func TestRunArbitraryTaskNames(t *testing.T) {
	b := &stub{}
	term := newTerminal(t, Config{Backend: b})
	defer term.Close()
	names := []string{"../x", "a:b", "a_b", "a/b", strings.Repeat("n", 300), "🙂", "\xff", "a b", "A_B", "\x00"}
	for range 2 {
		for _, name := range names {
			_, err := term.Run(WithTask(t.Context(), name), Request{Command: "true"})
			require.NoError(t, err)
		}
	}
	assert.EqualValues(t, len(names), b.opened.Load())
}
