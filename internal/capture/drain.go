// Drain: how an executor waits for the last output of a command whose shell has
// exited. Reading that output is left to each backend.

package capture

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/terminal-go/terminal/internal/spawn"
)

// A liveDropper is a command's stdout or stderr that keeps what is written to it
// and also copies it to a consumer that may block.
type liveDropper interface {
	// DropLive gives up the consumer: a Write that waits for it returns, and
	// later ones only keep what they are given.
	DropLive()
}

// A Tracker is a command's stdout or stderr while one goroutine writes to it and
// another one waits in Drain for the end of the output.
type Tracker struct {
	w     io.Writer
	calls atomic.Uint64 // incremented before and after each Write, so it is odd during one
}

// NewTracker returns a Tracker that writes to w, or discards if w is nil.
func NewTracker(w io.Writer) *Tracker {
	if w == nil {
		w = io.Discard
	}
	return &Tracker{w: w}
}

// Write passes p on. It must not be called concurrently.
func (t *Tracker) Write(p []byte) (int, error) {
	t.calls.Add(1)
	defer t.calls.Add(1)
	return t.w.Write(p)
}

const drainSteps = int(spawn.DrainMax / spawn.DrainIdle)

// Drain waits until done is closed. It gives up early in two cases: if a Write
// has blocked for spawn.DrainMax and to drop the live copy does not help, and, if
// bounded, after spawn.DrainMax without a blocked Write.
//
// The time is counted in steps of spawn.DrainIdle. On a busy machine the
// goroutine that closes done may not be scheduled for seconds, but neither is
// this one then, so the other one gets its turns between the steps.
func Drain(done <-chan struct{}, bounded bool, writers ...*Tracker) {
	timer := time.NewTimer(spawn.DrainIdle)
	defer timer.Stop()
	type write struct {
		call    uint64
		steps   int
		dropped bool
	}
	writes := make([]write, len(writers))
	for free := 0; ; timer.Reset(spawn.DrainIdle) {
		select {
		case <-done:
			return
		case <-timer.C:
		}
		blocked := false
		for i, t := range writers {
			s := &writes[i]
			call := t.calls.Load()
			if call%2 == 0 || call != s.call {
				s.call, s.steps = call, 0
				continue
			}
			blocked = true
			if s.steps++; s.steps < drainSteps {
				continue
			}
			live, ok := t.w.(liveDropper)
			if !ok || s.dropped {
				return
			}
			live.DropLive()
			s.dropped, s.steps = true, 0
		}
		if !blocked {
			free++
		}
		if bounded && free >= drainSteps {
			return
		}
	}
}
