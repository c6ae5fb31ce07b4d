// This file holds the events that a Terminal sends to Config.Observer and
// Config.Logger; when each is sent is decided in registry.go, run.go and job.go.

package terminal

import (
	"context"
	"log/slog"
	"time"

	"github.com/terminal-go/terminal/internal/spawn"
)

// An Observer receives the events of a Terminal, for traces, metrics and audits.
// The same events are logged to Config.Logger.
type Observer interface {
	// Observe receives one event.
	//
	//  1. It must be safe for concurrent use.
	//  2. It is called synchronously, so it should return at once. No lock of
	//     the Terminal is held meanwhile.
	//  3. ctx has the values of the call that caused the event and may have
	//     ended already. It is context.Background() if no call caused it.
	//  4. A panic is recovered and logged.
	Observe(ctx context.Context, e Event)
}

// EventKind is the kind of an Event. Its text is the message of the log record.
type EventKind string

// A call of Run with a valid request sends these events in this order:
//
//  1. EventCreated or EventReused
//  2. EventStarted
//  3. EventCut, if the output exceeded Config.MaxOutput
//  4. one of EventEnded, EventTimedOut, EventKilled and EventFailed
//
// EventLost or EventRetried may come after the first or second; the sequence
// then starts again. The requests that a Terminal runs in an environment to
// manage jobs send only the environment's events.
const (
	EventCreated EventKind = "environment created" // Duration is how long that took
	EventReused  EventKind = "environment reused"
	EventReaped  EventKind = "environment reaped" // it was idle; EventClosed follows
	EventLost    EventKind = "environment lost"   // Err is the reason; EventClosed follows
	EventClosed  EventKind = "environment closed" // Err is set if parts of it may be left

	EventStarted  EventKind = "command started"   // passed to the Executor
	EventEnded    EventKind = "command ended"     // by itself, whatever its exit code
	EventTimedOut EventKind = "command timed out" // and was killed
	EventKilled   EventKind = "command killed"    // its context ended, or its task was closed
	EventFailed   EventKind = "command failed"    // refused, not started, or its end is not known; see Err
	EventRetried  EventKind = "command retried"   // did not start; the next attempt is after Duration
	EventCut      EventKind = "output cut"

	EventJobStarted EventKind = "job started" // by Start, or left behind by a command
)

// Event describes what happened to one environment or command. Fields that do
// not apply are zero.
type Event struct {
	Kind          EventKind
	Time          time.Time
	Task, Backend string

	// RunID is the value of RunIDEnv in the command's processes. All events
	// of one attempt have the same.
	RunID string

	// Command is the script. It is not logged, because it may hold secrets.
	Command string

	JobID    string
	ExitCode int
	Status   Status

	// Duration is how long the environment took to open or close, how long
	// the command ran, or the delay before the next attempt.
	Duration time.Duration

	Bytes   int64 // bytes that the command wrote
	Omitted int   // characters cut from Result.Output

	Err error
}

// A notifier sends events to the observer and the logger.
type notifier struct {
	log      *slog.Logger
	observer Observer // may be nil
}

// notify sends e to the observer, with the current time, and logs it. The caller
// must hold no lock, because both run foreign code.
func (n notifier) notify(ctx context.Context, e Event) {
	if n.observer != nil {
		e.Time = time.Now()
		err := spawn.Recover("observer", func() error {
			n.observer.Observe(ctx, e)
			return nil
		})
		if err != nil {
			n.log.Error("observer failed", "error", err)
		}
	}
	if level := e.level(); n.log.Enabled(ctx, level) {
		n.log.LogAttrs(ctx, level, string(e.Kind), e.attrs()...)
	}
}

// level returns Debug for what every call does, Warn for what an operator may
// have to act on, and Info for the rest.
func (e Event) level() slog.Level {
	switch e.Kind {
	case EventReused, EventStarted:
		return slog.LevelDebug
	case EventLost, EventFailed, EventRetried:
		return slog.LevelWarn
	}
	if e.Err != nil && e.Kind == EventClosed {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// attrs returns the attributes of e's log record. The README documents the keys.
func (e Event) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("task", e.Task), slog.String("backend", e.Backend)}
	add := func(present bool, attr slog.Attr) {
		if present {
			attrs = append(attrs, attr)
		}
	}
	over := e.Kind == EventEnded || e.Kind == EventTimedOut || e.Kind == EventKilled || e.Kind == EventFailed
	add(e.RunID != "", slog.String("run_id", e.RunID))
	add(e.JobID != "", slog.String("job_id", e.JobID))
	add(over, slog.Int("exit_code", e.ExitCode))
	add(e.Status != "", slog.String("status", string(e.Status)))
	add(e.Duration != 0, slog.Duration("duration", e.Duration))
	add(over || e.Kind == EventCut, slog.Int64("bytes", e.Bytes))
	add(e.Omitted != 0, slog.Int("omitted_chars", e.Omitted))
	add(e.Err != nil, slog.Any("error", e.Err))
	return attrs
}
