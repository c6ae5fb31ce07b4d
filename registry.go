// This file holds the registry of executors, one for each task: opening, sharing,
// dropping and closing them. Idle ones are closed in cleanup.go, and commands run
// in lease.go.
//
// Lock contract: registry.mu comes before job.Lost.mu and job.Ledger.mu, and
// after no other lock. It is held for map and list operations only, never across
// Open, Exec, Close, a blocking channel operation, or a call of the Logger or
// the Observer.

package terminal

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/terminal-go/terminal/internal/job"
	"github.com/terminal-go/terminal/internal/spawn"
)

// The time that close waits for a backend and for the callers of a task. After it
// close returns an error, and the goroutine of the call stays until the backend
// returns.
const (
	drainLimit = 15 * time.Second // for calls of the task to return; above abandonAfter
	closeLimit = 30 * time.Second // for Executor.Close
)

// registry holds one entry for each task that has an Executor or is opening one.
type registry struct {
	backend  Backend
	dir      string
	env      map[string]string
	lifetime time.Duration // idle time before an entry is reaped; negative: never
	maxTasks int           // 0: no limit
	notifier

	jobLifetime time.Duration // how long running jobs keep an idle entry; negative: not at all

	// hasRunningJob queries the environment of an idle entry for running jobs.
	hasRunningJob func(context.Context, *entry) (bool, error)

	// retire records the jobs of an entry that was removed without a call of
	// CloseTask or Close. It is called with mu held and must not block.
	retire func(*entry)

	ctx    context.Context // parent of all entries' contexts; canceled by closeAll
	cancel context.CancelCauseFunc
	work   sync.WaitGroup // goroutines of open, close, checkJobs and reap
	wake   chan struct{}  // capacity 1; see wakeReaper

	// mu guards the fields below and those fields of entry that say so. See the
	// lock contract at the top of this file.
	mu                     sync.Mutex
	entries                map[string]*entry
	idle                   idleList // opened entries without users, by due time
	live                   int      // executors that exist, those of removed entries included
	closed                 bool
	reaping                bool            // the reaper's goroutine exists
	created, ended, reaped int64           // counters of Stats
	done                   map[string]bool // keys of once
	gone                   map[string]bool // tasks of setGone
}

// entry is the Executor of one task, from the start of its opening to its close.
type entry struct {
	task    string
	backend string
	created time.Time
	ctx     context.Context // canceled when the task is closed
	cancel  context.CancelCauseFunc

	ready chan struct{} // closed when open has ended, after ex or err was set
	ex    Executor
	err   error

	jobs    job.Ledger  // the environment's jobs; has a mutex of its own
	dirSeen atomic.Bool // a command has run in Config.Dir in this environment

	// Guarded by registry.mu.
	opened     bool          // ready is closed, or about to be, and ex is usable
	users      int           // calls that hold the entry or wait for ready
	released   time.Time     // time of the last release
	due        time.Time     // when the reaper checks the entry, if idle
	removed    bool          // no longer in the registry
	drained    chan struct{} // created on removal if users > 0; closed when users is 0
	prev, next *entry        // links of idleList
}

func newRegistry(cfg Config) *registry {
	r := &registry{
		backend:     cfg.Backend,
		dir:         cfg.Dir,
		env:         cfg.Env,
		lifetime:    cfg.Lifetime,
		jobLifetime: cfg.JobLifetime,
		maxTasks:    cfg.MaxTasks,
		notifier:    notifier{cfg.Logger, cfg.Observer},
		wake:        make(chan struct{}, 1),
		entries:     make(map[string]*entry),
		done:        make(map[string]bool),
		gone:        make(map[string]bool),
	}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	return r
}

// acquire returns the task's entry with an open Executor. It opens one if the task
// has none. The entry is not reaped until release. If ctx ends first, acquire
// returns its error, and the opening continues for other callers.
func (r *registry) acquire(ctx context.Context, task string) (*entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e, reused, err := r.join(ctx, task)
	if err != nil {
		return nil, err
	}
	select {
	case <-e.ready:
		if e.err == nil {
			if reused {
				r.notify(ctx, Event{Kind: EventReused, Task: task, Backend: e.backend})
			}
			return e, nil
		}
		err = e.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	r.release(e)
	return nil, err
}

// join adds the caller to the users of the task's entry, which it creates if
// there is none. reused reports whether the entry existed.
func (r *registry) join(ctx context.Context, task string) (e *entry, reused bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, false, ErrClosed
	}
	e = r.entries[task]
	reused = e != nil
	if !reused {
		if r.maxTasks > 0 && r.live >= r.maxTasks {
			return nil, false, fmt.Errorf("%w: %d executors are live, and that is the limit; close a task first", ErrTooManyTasks, r.live)
		}
		e = r.addLocked(ctx, task)
	}
	e.users++
	r.idle.remove(e)
	return e, reused, nil
}

// addLocked creates the task's entry and starts its opening in the background.
func (r *registry) addLocked(ctx context.Context, task string) *entry {
	e := &entry{task: task, created: time.Now(), ready: make(chan struct{})}
	e.ctx, e.cancel = context.WithCancelCause(r.ctx)
	r.entries[task] = e
	r.live++
	r.work.Add(1)
	go r.open(context.WithoutCancel(ctx), e)
	r.startReaperLocked()
	return e
}

// open opens the entry's Executor. ctx has the values of the call that created
// the entry, but not its cancellation: other callers may wait for the same
// opening. It ends with the entry's context instead.
func (r *registry) open(ctx context.Context, e *entry) {
	defer r.work.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.ctx, func() { cancel(context.Cause(e.ctx)) })()

	var b Backend
	e.err = spawn.Recover("choose backend", func() (err error) {
		b, err = resolve(r.backend, e.task)
		return err
	})
	if e.err == nil {
		e.backend = backendName(b)
		ctx := spawn.WithOpening(ctx, spawn.Opening{Dir: r.dir, Env: spawn.MergeEnv(nonInteractive, r.env), Log: r.log, Once: r.once})
		e.ex, e.err = open(ctx, b, e.task)
	}
	if cause := context.Cause(e.ctx); e.err != nil && cause != nil {
		e.err = cause // the task was closed: report that, not how the backend failed
	}
	r.finishOpening(e)
	if e.err == nil { // otherwise the waiting calls report the error
		r.notify(ctx, Event{Kind: EventCreated, Task: e.task, Backend: e.backend, Duration: time.Since(e.created)})
	}
	close(e.ready)
}

// once reports whether this is the first call with key.
func (r *registry) once(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := r.done[key]
	r.done[key] = true
	return !done
}

// setGone records that the task's environment vanished and that no result has
// reported it yet.
func (r *registry) setGone(task string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone[task] = true
}

// takeGone reports whether setGone was called for the task since the last
// takeGone.
func (r *registry) takeGone(task string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := r.gone[task]
	delete(r.gone, task)
	return gone
}

// finishOpening records the result of open. It removes a failed entry before
// ready is closed, so that a call after the failure opens again.
func (r *registry) finishOpening(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.err != nil {
		r.live--
		r.removeLocked(e)
		return
	}
	r.created++
	e.opened = true
	if e.users == 0 {
		e.released = time.Now()
		r.scheduleIdleLocked(e)
	}
}

// release ends the caller's use of an entry. When the last user has released it,
// its idle time starts.
func (r *registry) release(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.users--
	e.released = time.Now()
	if e.users > 0 {
		return
	}
	if e.drained != nil {
		close(e.drained)
		e.drained = nil
	}
	if e.opened {
		r.scheduleIdleLocked(e)
	}
}

// scheduleIdleLocked queues an entry without users for the end of its lifetime.
func (r *registry) scheduleIdleLocked(e *entry) {
	if !e.removed {
		r.scheduleLocked(e, e.released.Add(r.lifetime))
	}
}

// scheduleLocked queues an idle entry for the reaper at due.
func (r *registry) scheduleLocked(e *entry, due time.Time) {
	e.due = due
	r.idle.insert(e)
	if r.idle.first == e {
		r.wakeReaper() // its timer is set for a later entry or not at all
	}
}

// removeLocked removes the entry from the registry. The caller must close it.
func (r *registry) removeLocked(e *entry) {
	if e.removed {
		return
	}
	e.removed = true
	delete(r.entries, e.task)
	r.idle.remove(e)
	if e.users > 0 {
		e.drained = make(chan struct{})
	}
	if len(r.entries) == 0 {
		r.wakeReaper()
	}
}

// drop removes an entry whose environment has vanished or cannot be used any more
// because of why, and closes it in the background. The caller may be one of its
// users. Only the first call for an entry has an effect.
func (r *registry) drop(ctx context.Context, e *entry, why error) {
	r.mu.Lock()
	dropped := !e.removed
	if dropped {
		r.removeLocked(e)
		r.retire(e)
		r.work.Add(1)
	}
	r.mu.Unlock()
	if !dropped {
		return
	}
	r.notify(ctx, Event{Kind: EventLost, Task: e.task, Backend: e.backend, Err: why})
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer r.work.Done()
		_ = r.close(ctx, e, ErrGone)
	}()
}

// closeTask closes the task's Executor. If ctx ends first, closeTask returns its
// error, and closing continues in the background.
func (r *registry) closeTask(ctx context.Context, task string) error {
	r.mu.Lock()
	delete(r.gone, task) // the caller expects a new environment, so no notice
	e := r.entries[task]
	if e == nil {
		r.mu.Unlock()
		return nil
	}
	r.removeLocked(e)
	r.work.Add(1)
	r.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		defer r.work.Done()
		done <- r.close(context.WithoutCancel(ctx), e, ErrClosed)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return &Error{Op: "close", Task: task, Err: ctx.Err()}
	}
}

// closeAll closes all entries in parallel and makes join fail with ErrClosed.
func (r *registry) closeAll() error {
	r.mu.Lock()
	r.closed = true
	all := make([]*entry, 0, len(r.entries))
	for _, e := range r.entries {
		all = append(all, e)
	}
	for _, e := range all {
		r.removeLocked(e)
	}
	r.mu.Unlock()
	r.cancel(ErrClosed)
	r.wakeReaper()

	errs := make([]error, len(all))
	var closing sync.WaitGroup
	for i, e := range all {
		closing.Go(func() { errs[i] = r.close(context.Background(), e, ErrClosed) })
	}
	closing.Wait()
	if !within(closeLimit, r.work.Wait) {
		errs = append(errs, errors.New("the backend is still opening or closing an executor"))
	}
	return errors.Join(errs...)
}

// close cancels the calls of a removed entry with cause, waits for them to return,
// and closes the Executor. It returns within drainLimit plus closeLimit even if
// the backend blocks. ctx is passed to the observer only.
func (r *registry) close(ctx context.Context, e *entry, cause error) (err error) {
	began := time.Now()
	e.cancel(cause)
	r.mu.Lock()
	drained := e.drained
	r.mu.Unlock()
	if drained != nil {
		select {
		case <-drained:
		case <-time.After(drainLimit):
		}
	}
	var closeErr error
	finished := within(closeLimit, func() {
		<-e.ready
		if e.ex == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		closeErr = spawn.Recover("close executor", func() error { return e.ex.Close(ctx) })
		r.mu.Lock()
		r.live--
		r.ended++
		r.mu.Unlock()
	})
	switch {
	case !finished:
		err = &Error{Op: "close", Task: e.task, Err: fmt.Errorf("executor close: not done after %v", closeLimit)}
	case e.ex == nil:
		return nil // nothing was opened
	case closeErr != nil && !errors.Is(closeErr, ErrGone):
		err = &Error{Op: "close", Backend: e.backend, Task: e.task, Err: closeErr}
	}
	event := Event{Kind: EventClosed, Task: e.task, Duration: time.Since(began), Err: err}
	if finished {
		event.Backend = e.backend
	}
	r.notify(ctx, event)
	return err
}

// within calls f and reports whether it returned within limit. If not, f keeps
// running in its goroutine.
func within(limit time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// stats returns the counters and the opened entries, sorted by task.
func (r *registry) stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Created: r.created, Closed: r.ended, Reaped: r.reaped}
	for _, e := range r.entries {
		if !e.opened {
			continue
		}
		ts := TaskStats{Task: e.task, Backend: e.backend, Created: e.created, Running: e.users}
		if e.users == 0 {
			ts.Idle = time.Since(e.released)
		}
		s.Tasks = append(s.Tasks, ts)
	}
	sort.Slice(s.Tasks, func(i, j int) bool { return s.Tasks[i].Task < s.Tasks[j].Task })
	return s
}

// backendOf returns the name of the task's backend, or of Config.Backend if the
// task has no open Executor.
func (r *registry) backendOf(task string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.entries[task]; e != nil && e.opened {
		return e.backend
	}
	return backendName(r.backend)
}

// idleList is a doubly linked list of entries, sorted by due. It is intrusive, so
// insert and remove do not allocate. Most entries are due after the same lifetime,
// so insert searches from the end and usually takes constant time.
type idleList struct {
	first, last *entry
}

// insert adds e, which must not be in the list, after all entries due no later.
func (l *idleList) insert(e *entry) {
	e.prev = l.last
	for e.prev != nil && e.prev.due.After(e.due) {
		e.prev = e.prev.prev
	}
	if e.prev != nil {
		e.next, e.prev.next = e.prev.next, e
	} else {
		e.next, l.first = l.first, e
	}
	if e.next != nil {
		e.next.prev = e
	} else {
		l.last = e
	}
}

// remove removes e. It does nothing if e is not in the list.
func (l *idleList) remove(e *entry) {
	if e != l.first && e.prev == nil {
		return // not in the list
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		l.last = e.prev
	}
	e.prev, e.next = nil, nil
}
