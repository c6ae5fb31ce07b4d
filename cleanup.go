// This file holds the reaper, which closes idle entries of the registry; the
// idle list and the lock contract are in registry.go.

package terminal

import (
	"context"
	"errors"
	"time"
)

// startReaperLocked starts the reaper unless it is running or reaping is off.
func (r *registry) startReaperLocked() {
	if r.lifetime < 0 || r.reaping {
		return
	}
	r.reaping = true
	r.work.Add(1)
	go r.reap()
}

// wakeReaper makes the reaper read the idle list again. It never blocks: wake has
// room for one value, and one wake-up is enough for any number of changes.
func (r *registry) wakeReaper() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// reap closes entries that have been idle for the registry's lifetime. It sleeps
// until the next entry is due or until wakeReaper, and returns when no entry is
// left, so that an unused Terminal has no goroutine. Entries in use are not in
// the idle list.
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

// reapExpired removes entries that are due and closes each in its own goroutine,
// so that a slow Close delays no other. It returns the time until the next entry
// is due, negative if none is idle, and whether the registry has entries left.
func (r *registry) reapExpired() (next time.Duration, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next = -1
	for e := r.idle.first; e != nil; e = r.idle.first {
		if left := time.Until(e.due); left > 0 {
			next = left
			break
		}
		if e.jobs.Busy() && time.Since(e.released) < r.jobLifetime {
			r.idle.remove(e)
			e.users++ // keeps the entry from being reaped during the query
			r.work.Add(1)
			go r.checkJobs(e, e.released)
			continue
		}
		r.reapLocked(e)
	}
	r.reaping = len(r.entries) > 0
	return next, r.reaping
}

// reapLocked removes an idle entry and closes it in the background.
func (r *registry) reapLocked(e *entry) {
	r.removeLocked(e)
	r.retire(e)
	r.reaped++
	r.work.Add(1)
	go func() {
		defer r.work.Done()
		ctx := context.Background()
		r.notify(ctx, Event{Kind: EventReaped, Task: e.task, Backend: e.backend})
		_ = r.close(ctx, e, ErrClosed) // close sends the error as an event
	}()
}

// checkJobs queries the environment of an expired entry for running jobs. If one
// runs, it queues the entry for another lifetime, but at most until jobLifetime
// after released. If the entry was used meanwhile, its idle time starts at the
// end of that use. If the query fails, jobs are assumed to run, because closing
// the entry would kill them.
func (r *registry) checkJobs(e *entry, released time.Time) {
	defer r.work.Done()
	running, err := r.hasRunningJob(e.ctx, e)
	gone := errors.Is(err, ErrGone)
	if err != nil && !gone {
		r.log.Info("list jobs of idle task; assuming they run", "task", e.task, "backend", e.backend, "error", err)
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
		r.scheduleIdleLocked(e)
	case running:
		due, end := time.Now().Add(r.lifetime), released.Add(r.jobLifetime)
		if end.Before(due) {
			due = end
		}
		r.scheduleLocked(e, due)
	default:
		if !gone {
			e.jobs.Update(nil, true) // all of its jobs have ended
		}
		r.reapLocked(e)
	}
}
