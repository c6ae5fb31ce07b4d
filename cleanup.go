package terminal

import (
	"context"
	"errors"
	"time"
)

// watchLocked starts the reaper if it is needed and not there.
func (r *registry) watchLocked() {
	if r.lifetime < 0 || r.reaping {
		return
	}
	r.reaping = true
	r.work.Add(1)
	go r.reap()
}

// nudge makes the reaper look again. It never blocks.
func (r *registry) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// reap closes entries that have been idle for the registry's lifetime. It
// sleeps until the next expiry, or until there is one, and ends with the last
// entry. An entry in use is not in the idle list, so it cannot be seen here.
func (r *registry) reap() {
	defer r.work.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-r.wake:
		}
		next, more := r.reapExpired()
		if !more {
			return
		}
		if next >= 0 {
			timer.Reset(next)
		} else {
			timer.Stop()
		}
	}
}

// reapExpired picks what has expired under the lock and closes it outside, each
// in a goroutine of its own, so that a slow one delays nobody. It returns the
// time until the next expiry, negative if nothing is idle, and whether there
// is anything left to watch.
func (r *registry) reapExpired() (next time.Duration, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next = -1
	for e := r.idle.first; e != nil; e = r.idle.first {
		if left := time.Until(e.due); left > 0 {
			next = left
			break
		}
		if len(e.jobs) > 0 && time.Since(e.released) < r.jobLifetime {
			r.idle.remove(e)
			e.users++ // nobody else may close it while it is asked
			r.work.Add(1)
			go r.ask(e, e.released)
			continue
		}
		r.reapLocked(e)
	}
	r.reaping = len(r.entries) > 0
	return next, r.reaping
}

// reapLocked closes an idle entry.
func (r *registry) reapLocked(e *entry) {
	r.removeLocked(e)
	r.loseJobsLocked(e)
	r.reaped++
	r.work.Add(1)
	go func() {
		defer r.work.Done()
		ctx := context.Background()
		r.tell(ctx, Event{Kind: EventReaped, Task: e.task, Backend: e.backend})
		_ = r.close(ctx, e, ErrClosed) // a failure is told there; nobody waits for it
	}()
}

// ask asks the environment of an entry whose lifetime is over whether one of
// its jobs is running. Only then it stays, until it is asked again, or the
// jobs' own lifetime is over too. If it was used meanwhile, idle time began
// anew with the end of that.
func (r *registry) ask(e *entry, released time.Time) {
	defer r.work.Done()
	running, err := r.anyRunning(e.ctx, e)
	gone := errors.Is(err, ErrGone)
	if err != nil && !gone {
		r.log.Info("jobs of an idle task not known, taken to be running", "task", e.task, "backend", e.backend, "error", err)
		running = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e.users--
	switch {
	case e.users > 0:
	case e.drained != nil:
		close(e.drained)
		e.drained = nil
	case e.removed:
	case e.released != released:
		r.restLocked(e)
	case running:
		due, end := time.Now().Add(r.lifetime), released.Add(r.jobLifetime)
		if end.Before(due) {
			due = end
		}
		r.lineUpLocked(e, due)
	default:
		if !gone {
			e.jobs = nil // they have ended
		}
		r.reapLocked(e)
	}
}
