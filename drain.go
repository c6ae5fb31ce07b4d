// This file holds how an executor waits for the last output of a command whose
// shell has exited. Reading that output is left to each backend.

package terminal

import (
	"io"
	"sync/atomic"
	"time"
)

// A liveDropper is a Command's Stdout or Stderr that keeps what is written to it
// and also copies it to a consumer that may block.
type liveDropper interface {
	// DropLive gives up the consumer: a Write that waits for it returns, and
	// later ones only keep what they are given.
	DropLive()
}

// outputWriter is a Command's Stdout or Stderr while one goroutine writes to it
// and another one waits for the end of the output.
type outputWriter struct {
	w     io.Writer
	calls atomic.Uint64 // incremented before and after each Write, so it is odd during one
}

func (o *outputWriter) Write(p []byte) (int, error) {
	o.calls.Add(1)
	defer o.calls.Add(1)
	return o.w.Write(p)
}

// awaitOutput waits until done is closed. It gives up early in two cases: if a
// Write has blocked for drainMax and DropLive does not help, and, if bounded,
// after drainMax without a blocked Write.
//
// drainMax is counted in steps of drainIdle. On a busy machine the goroutine
// that closes done may not be scheduled for seconds, but neither is this one
// then, so the other one gets its turns between the steps.
func awaitOutput(done <-chan struct{}, bounded bool, writers ...*outputWriter) {
	timer := time.NewTimer(drainIdle)
	defer timer.Stop()
	type write struct {
		call    uint64
		steps   int
		dropped bool
	}
	writes := make([]write, len(writers))
	for free := 0; ; timer.Reset(drainIdle) {
		select {
		case <-done:
			return
		case <-timer.C:
		}
		blocked := false
		for i, o := range writers {
			s := &writes[i]
			call := o.calls.Load()
			if call%2 == 0 || call != s.call {
				s.call, s.steps = call, 0
				continue
			}
			blocked = true
			if s.steps++; s.steps < drainSteps {
				continue
			}
			live, ok := o.w.(liveDropper)
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

const drainSteps = int(drainMax / drainIdle)
