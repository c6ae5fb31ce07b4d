package terminal

import (
	"context"
	"log/slog"
	"time"
)

// An Observer is told what a Terminal does: the one hook for traces, metrics
// and audits. What it is told is logged to Config.Logger too.
type Observer interface {
	// Observe takes one event. It is called from where the event happens, so
	// it should return at once, and from many goroutines at a time. ctx is
	// that of the call which caused the event, and may have ended; an event
	// that no call caused has an empty one. A panic is logged and goes no
	// further.
	Observe(ctx context.Context, e Event)
}

// EventKind says what happened. Its text is the message of the log record.
type EventKind string

// A call of Run whose request is in order has as its events: created or reused,
// then started, and then one of ended, timed out, killed and failed. Between
// those may be lost and retried, after which it all begins anew; before the last
// may be cut. What a job needs is done by calls of the Terminal's own, of which
// only the environment's events are told.
const (
	EventCreated EventKind = "environment created"
	EventReused  EventKind = "environment reused"
	EventReaped  EventKind = "environment reaped" // it was idle; closed will follow
	EventLost    EventKind = "environment lost"   // Err says how; closed will follow
	EventClosed  EventKind = "environment closed" // Err is set if something may be left of it

	EventStarted  EventKind = "command started"   // it was handed to its environment
	EventEnded    EventKind = "command ended"     // by itself, whatever its exit code
	EventTimedOut EventKind = "command timed out" // and was ended
	EventKilled   EventKind = "command killed"    // because its caller gave up, or its task was closed
	EventFailed   EventKind = "command failed"    // it was refused or did not start, or its end is not known: see Err
	EventRetried  EventKind = "command retried"   // it provably had not started, and will be tried again after Duration
	EventCut      EventKind = "output cut"

	EventJobStarted EventKind = "job started" // by Start, or because a command left it
)

// Event is what happened to one environment or command. Fields that do not
// apply are zero.
type Event struct {
	Kind          EventKind
	Time          time.Time
	Task, Backend string

	// RunID is what the processes of a command have in RunIDEnv, the same in
	// all events of one command.
	RunID string

	// Command is the script, which may hold secrets: it is not logged.
	Command string

	JobID    string
	ExitCode int
	Status   Status

	// Duration is how long it took to create or close the environment, or
	// how long the command ran.
	Duration time.Duration

	Bytes   int64 // that the command wrote
	Omitted int   // characters that are not in the Result

	Err error
}

// observation is how a Terminal tells of what it does.
type observation struct {
	log      *slog.Logger
	observer Observer // nil: none
}

func (o observation) tell(ctx context.Context, e Event) {
	if o.observer != nil {
		e.Time = time.Now()
		err := recovered("observer", func() error {
			o.observer.Observe(ctx, e)
			return nil
		})
		if err != nil {
			o.log.Error("observer failed", "error", err)
		}
	}
	if level := e.level(); o.log.Enabled(ctx, level) {
		o.log.LogAttrs(ctx, level, string(e.Kind), e.attrs()...)
	}
}

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

// attrs are what a log record has of the event. The keys are documented in
// the README.
func (e Event) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("task", e.Task), slog.String("backend", e.Backend)}
	add := func(there bool, attr slog.Attr) {
		if there {
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
