package terminal

import "time"

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
		if left := r.lifetime - time.Since(e.released); left > 0 {
			next = left
			break
		}
		r.removeLocked(e)
		r.reaped++
		r.work.Add(1)
		go func() {
			defer r.work.Done()
			_ = r.close(e, ErrClosed) // a failure is logged there; nobody waits for it
		}()
	}
	r.reaping = len(r.entries) > 0
	return next, r.reaping
}
