package modalfake

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A Clock is the time source of the fake's limits.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f once d has passed, unless stop comes first.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

type machineClock struct{}

func (machineClock) Now() time.Time { return time.Now() }

func (machineClock) AfterFunc(d time.Duration, f func()) func() bool {
	return time.AfterFunc(d, f).Stop
}

// ManualClock is a Clock that stands still until Advance is called.
type ManualClock struct {
	mu     sync.Mutex // guards the rest; not held while a function is called
	now    time.Time
	timers []*manualTimer
}

type manualTimer struct {
	due time.Time
	f   func()
}

// NewManualClock returns a clock that shows the present time.
func NewManualClock() *ManualClock { return &ManualClock{now: time.Now()} }

// Now returns the time the clock shows.
func (c *ManualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// AfterFunc makes Advance call f; see Clock.
func (c *ManualClock) AfterFunc(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &manualTimer{due: c.now.Add(d), f: f}
	c.timers = append(c.timers, t)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		before := len(c.timers)
		c.timers = slices.DeleteFunc(c.timers, func(other *manualTimer) bool { return other == t })
		return len(c.timers) < before
	}
}

// Advance moves the clock by d. It calls the functions that fall due in their
// order and returns when they have.
func (c *ManualClock) Advance(d time.Duration) {
	end := c.Now().Add(d)
	for {
		f := c.next(end)
		if f == nil {
			return
		}
		f()
	}
}

// next removes and returns the next function due by end, with the clock at its
// time. If there is none, it sets the clock to end and returns nil.
func (c *ManualClock) next(end time.Time) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := -1
	for i, t := range c.timers {
		if !t.due.After(end) && (first < 0 || t.due.Before(c.timers[first].due)) {
			first = i
		}
	}
	if first < 0 {
		c.now = end
		return nil
	}
	t := c.timers[first]
	c.timers = slices.Delete(c.timers, first, first+1)
	if t.due.After(c.now) {
		c.now = t.due
	}
	return t.f
}

// sleep waits for d on the clock, or until ctx ends.
func sleep(ctx context.Context, c Clock, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	over := make(chan struct{})
	stop := c.AfterFunc(d, func() { close(over) })
	defer stop()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
