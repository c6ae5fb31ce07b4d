package terminal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// How long the registry waits for foreign code before it goes on without it.
// What is given up on keeps its goroutine until it returns.
const (
	drainLimit = 15 * time.Second // a closed task's commands, which have been told to end
	closeLimit = 30 * time.Second // Executor.Close
)

// registry keeps one entry for each task that has an Executor, or is about to.
type registry struct {
	backend  Backend
	dir      string
	env      map[string]string
	lifetime time.Duration // idle time before an entry is reaped; <0: never
	maxTasks int           // 0: no cap
	observation

	jobLifetime time.Duration                               // how long running jobs keep an idle entry; <0: not at all
	anyRunning  func(context.Context, *entry) (bool, error) // asks the environment for running jobs; nil: there are none

	ctx    context.Context // ends when the Terminal is closed; openings and commands hang on it
	cancel context.CancelCauseFunc
	work   sync.WaitGroup // openings, closings and the reaper
	wake   chan struct{}  // tells the reaper that the next expiry, or its job, may have changed

	// mu guards everything below, and the entries' fields that say so. It is
	// held for a few map and list operations only: never across Open, Exec,
	// Close, a channel that may block, or a call of the Logger or the Observer.
	mu                    sync.Mutex
	entries               map[string]*entry
	idle                  idleList // the entries nobody uses, the longest idle first
	live                  int      // executors that exist, in or out of entries
	closed                bool
	reaping               bool // the reaper's goroutine exists
	created, shut, reaped int64
	done                  map[string]bool                 // see first
	gone                  map[string]bool                 // see lose
	lost                  map[string]map[string]JobStatus // by task and id: jobs whose environment went, not yet reported
}

// entry is one task's place in the registry.
type entry struct {
	task    string
	backend string
	created time.Time
	ctx     context.Context // ends when the task is closed
	cancel  context.CancelCauseFunc
	dirSeen atomic.Bool // a command has run in Config.Dir here

	ready chan struct{} // closed when the opening has ended, after the next two are set
	ex    Executor
	err   error

	// Guarded by registry.mu.
	opened     bool                 // ready is closed and ex is usable
	users      int                  // calls that hold the entry, waiting ones included
	released   time.Time            // when one of them left last
	due        time.Time            // when the reaper is to look, if idle
	jobs       map[string]JobStatus // jobs that ran when last heard of, nil if none
	places     *jobPlaces           // where jobs have been and will be; nil if there was none
	removed    bool                 // no longer in the registry
	drained    chan struct{}        // made on removal if users > 0; closed when they have left
	prev, next *entry               // place in idle, nil if none
}

// bind returns a context that ends with ctx, or with the task, and then for the
// cause taskEnd. The caller must call release when it is done.
func (e *entry) bind(ctx context.Context) (run context.Context, taskEnd *stopCause, release func()) {
	taskEnd = new(stopCause)
	run, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(e.ctx, func() {
		taskEnd.error = context.Cause(e.ctx) // ErrClosed or ErrGone
		end(taskEnd)
	})
	return run, taskEnd, func() {
		stop()
		end(nil)
	}
}

func newRegistry(cfg Config) *registry {
	r := &registry{
		backend:     cfg.Backend,
		dir:         cfg.Dir,
		env:         cfg.Env,
		lifetime:    cfg.Lifetime,
		jobLifetime: cfg.JobLifetime,
		maxTasks:    cfg.MaxTasks,
		observation: observation{cfg.Logger, cfg.Observer},
		wake:        make(chan struct{}, 1),
		entries:     make(map[string]*entry),
		done:        make(map[string]bool),
		gone:        make(map[string]bool),
	}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	return r
}

// acquire returns the task's entry with a usable Executor, opening it if need
// be, and keeps it from being reaped until release. A caller that gives up
// does not end the opening for the others.
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
				r.tell(ctx, Event{Kind: EventReused, Task: task, Backend: e.backend})
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

// join makes the caller a user of the task's entry, which may be there already.
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

func (r *registry) addLocked(ctx context.Context, task string) *entry {
	e := &entry{task: task, created: time.Now(), ready: make(chan struct{})}
	e.ctx, e.cancel = context.WithCancelCause(r.ctx)
	r.entries[task] = e
	r.live++
	r.work.Add(1)
	go r.open(context.WithoutCancel(ctx), e)
	r.watchLocked()
	return e
}

// open creates the entry's Executor. ctx has the values of the call that came
// first; the cancellation is the task's.
func (r *registry) open(ctx context.Context, e *entry) {
	defer r.work.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.ctx, func() { cancel(context.Cause(e.ctx)) })()

	var b Backend
	e.err = recovered("choose backend", func() (err error) {
		b, err = resolve(r.backend, e.task)
		return err
	})
	if e.err == nil {
		e.backend = backendName(b)
		ctx := context.WithValue(ctx, openingKey{}, opening{r.dir, r.env, r.log, r.first})
		e.ex, e.err = open(ctx, b, e.task)
	}
	if cause := context.Cause(e.ctx); e.err != nil && cause != nil {
		e.err = cause // the opening was ended by us: say why, not how the backend noticed
	}
	r.settle(e)
	if e.err == nil { // or the calls that wait for it tell of the error
		r.tell(ctx, Event{Kind: EventCreated, Task: e.task, Backend: e.backend, Duration: time.Since(e.created)})
	}
	close(e.ready)
}

// first reports whether something is done for the first time.
func (r *registry) first(what string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := r.done[what]
	r.done[what] = true
	return !done
}

// lose notes whether the task's environment has gone without a command of the
// task having been told, and returns what was noted before.
func (r *registry) lose(task string, lost bool) (before bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before = r.gone[task]
	if lost {
		r.gone[task] = true
	} else {
		delete(r.gone, task)
	}
	return before
}

// settle books the end of an opening: a failed one is forgotten before those
// who wait for it wake, so that the next call tries anew.
func (r *registry) settle(e *entry) {
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
		r.restLocked(e)
	}
}

// release is the end of what acquire began. Idle time starts here.
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
		r.restLocked(e)
	}
}

func (r *registry) restLocked(e *entry) {
	if e.removed {
		return
	}
	r.lineUpLocked(e, e.released.Add(r.lifetime))
}

// lineUpLocked makes the reaper look at an entry that nobody uses.
func (r *registry) lineUpLocked(e *entry, due time.Time) {
	e.due = due
	r.idle.insert(e)
	if r.idle.first == e {
		r.nudge() // the reaper slept, or waits for a later expiry
	}
}

// removeLocked takes the entry out of the registry. The caller closes it.
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
		r.nudge()
	}
}

// drop takes an entry out whose environment is gone or cannot be trusted, and
// closes it in the background. The caller may still hold it.
func (r *registry) drop(ctx context.Context, e *entry, why error) {
	r.mu.Lock()
	dropped := !e.removed
	if dropped {
		r.removeLocked(e)
		r.loseJobsLocked(e)
		r.work.Add(1)
	}
	r.mu.Unlock()
	if !dropped {
		return
	}
	r.tell(ctx, Event{Kind: EventLost, Task: e.task, Backend: e.backend, Err: why})
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer r.work.Done()
		_ = r.close(ctx, e, ErrGone)
	}()
}

// closeTask closes the task's Executor, ending what runs in it. It waits no
// longer than ctx; the closing goes on then.
func (r *registry) closeTask(ctx context.Context, task string) error {
	r.mu.Lock()
	delete(r.gone, task) // a fresh one is expected
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

// closeAll closes everything and refuses what comes later.
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
	r.nudge()

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

// close ends the commands of an entry that has been removed, waits for their
// callers, and closes the Executor. It is bounded whatever the backend does.
// ctx is for those who are told of it.
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
		closeErr = recovered("close executor", func() error { return e.ex.Close(ctx) })
		r.mu.Lock()
		r.live--
		r.shut++
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
	told := Event{Kind: EventClosed, Task: e.task, Duration: time.Since(began), Err: err}
	if finished {
		told.Backend = e.backend
	}
	r.tell(ctx, told)
	return err
}

// within reports whether f returned in time; if not, f goes on by itself.
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

func (r *registry) stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Created: r.created, Closed: r.shut, Reaped: r.reaped}
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

// spareJobs is how many directories for later jobs are made with that of a job.
const spareJobs = 7

// newJob finds a place for a new job, whose directory may be there already.
func (r *registry) newJob(e *entry) jobPlace {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.places == nil {
		e.places = new(jobPlaces)
	}
	all := e.places
	all.started++
	p := jobPlace{entry: e, few: all.started <= MaxJobs}
	switch {
	case !p.few:
		p.id = newJobID()
		p.oldest = slices.Clone(all.order[:min(len(all.order), 2*spareJobs)])
	case len(all.spares) == 0:
		p.id = newJobID()
		for range spareJobs {
			p.spares = append(p.spares, newJobID())
		}
		all.spares = p.spares
	default:
		p.id, all.spares = all.spares[0], all.spares[1:]
	}
	return p
}

// jobPlaces is what an entry knows of the directories of its jobs.
type jobPlaces struct {
	started int      // jobs, and those that were to be
	spares  []string // ids of jobs to come
	order   []string // ids of jobs in the order of their start
}

// jobPlace is the place of a new job among those of an environment.
type jobPlace struct {
	entry  *entry
	id     string
	spares []string // ids whose directories are to be made with its own
	few    bool     // the environment has had no more jobs from here than it may have
	oldest []string // ids among which the one is likely that has to go, in the order of their start
}

// keepJob notes a job that was started in the entry's environment, and which
// earlier ones are known to be no more.
func (r *registry) keepJob(e *entry, job JobStatus, dropped []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := e.places // newJob has made it
	all.order = slices.DeleteFunc(all.order, func(id string) bool { return slices.Contains(dropped, id) })
	if len(all.order) < 2*MaxJobs {
		all.order = append(all.order, job.ID)
	}
	if e.jobs == nil {
		e.jobs = make(map[string]JobStatus)
	}
	e.jobs[job.ID] = job
}

// noteJobs notes what the task's environment reported, of all its jobs or of
// some.
func (r *registry) noteJobs(task string, jobs []JobStatus, all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[task]
	if e == nil {
		return
	}
	if all {
		e.jobs = nil
	}
	for _, job := range jobs {
		delete(e.jobs, job.ID)
		if !job.Running {
			continue
		}
		if e.jobs == nil {
			e.jobs = make(map[string]JobStatus)
		}
		e.jobs[job.ID] = job
	}
}

// hasJob tells whether the job ran when last heard of.
func (r *registry) hasJob(task, id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[task]
	if e == nil {
		return false
	}
	_, ok := e.jobs[id]
	return ok
}

// loseJobsLocked keeps the entry's running jobs to be reported as lost. Those
// of a task in which nobody asks are kept too, but no more than MaxJobs.
func (r *registry) loseJobsLocked(e *entry) {
	if len(e.jobs) == 0 {
		return
	}
	for id, job := range e.jobs {
		job.Running, job.ExitCode = false, exitUnknown
		e.jobs[id] = job
	}
	if r.lost == nil {
		r.lost = make(map[string]map[string]JobStatus)
	}
	r.lost[e.task] = e.jobs // those lost before are forgotten: nobody asked
	e.jobs = nil
}

// takeLost returns the lost jobs of a task that have not been reported yet.
func (r *registry) takeLost(task string) (lost []JobStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, job := range r.lost[task] {
		lost = append(lost, job)
	}
	delete(r.lost, task)
	sort.Slice(lost, func(i, j int) bool { return lost[i].Started.Before(lost[j].Started) })
	return lost
}

// takeLostJob tells whether the job is lost, once.
func (r *registry) takeLostJob(task, id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.lost[task][id]
	delete(r.lost[task], id)
	if len(r.lost[task]) == 0 {
		delete(r.lost, task)
	}
	return ok
}

// backendOf names the backend of the task for errors.
func (r *registry) backendOf(task string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.entries[task]; e != nil && e.opened {
		return e.backend
	}
	return backendName(r.backend)
}

// idleList is a doubly linked list through the entries themselves, in the
// order in which they are due. Nearly all of them rest equally long, so a new
// one belongs at the end, or close to it.
type idleList struct {
	first, last *entry
}

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
