// Tests of Observer and Logger.

package terminal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// events is an Observer that records the events.
type events struct {
	mu  sync.Mutex // guards all
	all []Event
}

func (o *events) Observe(_ context.Context, e Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, e)
}

// take returns the events since the last take.
func (o *events) take() []Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.all
	o.all = nil
	return all
}

func kinds(all []Event) (kinds []EventKind) {
	for _, e := range all {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func TestObserverCommandEvents(t *testing.T) {
	var seen events
	term := newTerminal(t, Config{Observer: &seen, MaxOutput: 10})
	defer term.Close()
	for _, c := range []struct {
		command string
		timeout time.Duration
		want    []EventKind
	}{
		{"exit 3", 0, []EventKind{EventCreated, EventStarted, EventEnded}},
		{"echo 12345678901234567890", 0, []EventKind{EventReused, EventStarted, EventCut, EventEnded}},
		{"sleep 10", 50 * time.Millisecond, []EventKind{EventReused, EventStarted, EventTimedOut}},
		{" ", 0, []EventKind{EventFailed}},
		{"sleep 10 &", 0, []EventKind{EventReused, EventStarted, EventJobStarted, EventEnded}},
	} {
		res, err := term.Run(t.Context(), Request{Command: c.command, Timeout: c.timeout})
		all := seen.take()
		require.Equal(t, c.want, kinds(all), c.command)
		last := all[len(all)-1]
		assert.Equal(t, "default", last.Task)
		assert.Equal(t, "local", last.Backend)
		assert.Equal(t, c.command, last.Command)
		assert.Equal(t, res.ExitCode, last.ExitCode)
		assert.Equal(t, res.Status, last.Status)
		assert.Equal(t, res.Omitted, last.Omitted)
		assert.Equal(t, res.Duration, last.Duration)
		assert.Equal(t, res.JobID, last.JobID)
		assert.Equal(t, err == nil, last.Err == nil)
		assert.False(t, last.Time.IsZero())
		if len(all) == 1 {
			continue
		}
		assert.Len(t, last.RunID, 32)
		assert.Equal(t, all[1].RunID, last.RunID)
	}

	ctx, cancel := context.WithCancel(t.Context())
	live := writerFunc(func([]byte) { cancel() })
	_, err := term.Run(ctx, Request{Command: "echo; sleep 10", Stdout: live})
	require.ErrorIs(t, err, context.Canceled)
	all := seen.take()
	assert.Equal(t, []EventKind{EventReused, EventStarted, EventKilled}, kinds(all))
	assert.EqualValues(t, 1, all[2].Bytes)

	job, err := term.Start(t.Context(), Request{Command: "true"})
	require.NoError(t, err)
	all = seen.take()
	assert.Equal(t, []EventKind{EventReused, EventJobStarted}, kinds(all))
	assert.Equal(t, job.ID(), all[1].JobID)

	require.NoError(t, term.Close())
	all = seen.take()
	assert.Equal(t, []EventKind{EventClosed}, kinds(all))
	_, err = term.Run(t.Context(), Request{Command: "true"})
	require.ErrorIs(t, err, ErrClosed)
	assert.Equal(t, []EventKind{EventFailed}, kinds(seen.take()))
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

func TestObserverEnvironmentEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen events
		gone := errors.Join(ErrGone, ErrNotStarted)
		fail := []error{ErrNotStarted, gone, nil}
		term := newTerminal(t, Config{Observer: &seen, Lifetime: time.Minute, Backend: execFunc(func() error {
			err := fail[0]
			fail = fail[1:]
			return err
		})})
		defer term.Close()
		_, err := term.Run(t.Context(), Request{Command: "true"})
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		all := seen.take()
		var closed int
		for i, e := range all {
			if e.Kind == EventClosed { // the lost environment is closed in the background, at any time
				closed++
				if closed == 1 {
					all = append(all[:i:i], all[i+1:]...)
				}
			}
		}
		assert.Equal(t, []EventKind{
			EventCreated, EventStarted, EventRetried, EventReused, EventStarted, EventLost,
			EventCreated, EventStarted, EventEnded, EventReaped, EventClosed,
		}, kinds(all))
		assert.Equal(t, retryDelays[0], all[2].Duration)
		assert.ErrorIs(t, all[5].Err, ErrGone)
	})
}

// execFunc is a Backend that calls the function for each command.
type execFunc func() error

func (f execFunc) Open(context.Context, string) (Executor, error)    { return f, nil }
func (f execFunc) Exec(context.Context, Command) (code int, _ error) { return 0, f() }
func (f execFunc) Close(context.Context) error                       { return nil }

// A panic of the Observer does not reach the caller.
func TestObserverPanics(t *testing.T) {
	term := newTerminal(t, Config{Observer: panicObserver{}})
	defer term.Close()
	res, err := term.Run(t.Context(), Request{Command: "echo fine"})
	require.NoError(t, err)
	assert.Equal(t, "fine\n", res.Output)
}

type panicObserver struct{}

func (panicObserver) Observe(context.Context, Event) { panic("observer") }

// The log has the attributes of each event, and never the command.
func TestLoggerEvents(t *testing.T) {
	var text bytes.Buffer
	term := newTerminal(t, Config{Logger: slog.New(slog.NewJSONHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	defer term.Close()
	_, err := term.Run(WithTask(t.Context(), "a"), Request{Command: "echo secret; exit 3"})
	require.NoError(t, err)
	require.NoError(t, term.Close())
	assert.NotContains(t, text.String(), "secret")
	var keys [][]string
	for dec := json.NewDecoder(&text); dec.More(); {
		var record map[string]any
		require.NoError(t, dec.Decode(&record))
		assert.Equal(t, "a", record["task"])
		assert.Equal(t, "local", record["backend"])
		var found []string
		for _, key := range []string{"run_id", "exit_code", "duration", "bytes", "error"} {
			if record[key] != nil {
				found = append(found, key)
			}
		}
		keys = append(keys, append([]string{record["msg"].(string)}, found...))
	}
	assert.Equal(t, [][]string{
		{"environment created", "duration"},
		{"command started", "run_id"},
		{"command ended", "run_id", "exit_code", "duration", "bytes"},
		{"environment closed", "duration"},
	}, keys)
}
