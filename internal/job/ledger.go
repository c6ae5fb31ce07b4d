// Ledger and Lost: what a Terminal remembers about jobs.

package job

import (
	"slices"
	"sync"
)

// spareJobs is how many directories for later jobs are made with that of a job.
const spareJobs = 7

// A Ledger is what a Terminal remembers about the jobs of one environment. The
// zero value is an environment without jobs. It is safe for concurrent use.
type Ledger struct {
	mu      sync.Mutex // guards the rest; a leaf, held for moments
	running map[string]Status
	started int      // jobs so far, failed starts included
	spares  []string // IDs for later jobs, whose directories are there
	order   []string // IDs of jobs in the order of their start
}

// A Place is where a new job goes among those of an environment.
type Place struct {
	id     string
	spares []string // IDs whose directories are to be made with the job's own
	oldest []string // IDs of the first jobs, if one of them has to go
	first  bool     // the environment has had no more jobs than it may have
}

// Place returns the place of a new job. Its directory may be there already.
func (l *Ledger) Place() Place {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started++
	p := Place{first: l.started <= MaxJobs}
	switch {
	case !p.first:
		p.id = newID()
		p.oldest = slices.Clone(l.order[:min(len(l.order), 2*spareJobs)])
	case len(l.spares) == 0:
		p.id = newID()
		for range spareJobs {
			p.spares = append(p.spares, newID())
		}
		l.spares = p.spares
	default:
		p.id, l.spares = l.spares[0], l.spares[1:]
	}
	return p
}

// Locate returns s with the ID and the log path of a job at p.
func (p Place) Locate(s Status, home string) Status { return s.in(home, p.id) }

// ID returns the ID of a job at p.
func (p Place) ID() string { return p.id }

// First reports whether the directory of the job may be made without a look at
// how many there are.
func (p Place) First() bool { return p.first }

// Add records a job that has started, and which earlier ones are no more.
func (l *Ledger) Add(job Status, dropped []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.order = slices.DeleteFunc(l.order, func(id string) bool { return slices.Contains(dropped, id) })
	if len(l.order) < 2*MaxJobs {
		l.order = append(l.order, job.ID)
	}
	l.addLocked(job)
}

func (l *Ledger) addLocked(job Status) {
	if l.running == nil {
		l.running = make(map[string]Status)
	}
	l.running[job.ID] = job
}

// Update records what the environment reported about some of its jobs, or about
// all of them.
func (l *Ledger) Update(jobs []Status, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if all {
		l.running = nil
	}
	for _, job := range jobs {
		delete(l.running, job.ID)
		if job.Running {
			l.addLocked(job)
		}
	}
}

// Has reports whether the job ran when it was last heard of.
func (l *Ledger) Has(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.running[id]
	return ok
}

// Busy reports whether a job ran when it was last heard of.
func (l *Ledger) Busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.running) > 0
}

// takeRunning returns the running jobs and forgets them.
func (l *Ledger) takeRunning() map[string]Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	running := l.running
	l.running = nil
	return running
}

// Lost keeps the jobs whose environments are gone until somebody has been told
// about them. The zero value is empty. It is safe for concurrent use.
type Lost struct {
	mu     sync.Mutex // guards byTask; held for moments, before a Ledger's
	byTask map[string]map[string]Status
}

// Add keeps the running jobs of an environment that is gone. Jobs of the task
// that were lost before are forgotten: nobody asked about them.
func (l *Lost) Add(task string, from *Ledger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	jobs := from.takeRunning()
	if len(jobs) == 0 {
		return
	}
	for id, job := range jobs {
		job.Running, job.ExitCode = false, UnknownCode
		jobs[id] = job
	}
	if l.byTask == nil {
		l.byTask = make(map[string]map[string]Status)
	}
	l.byTask[task] = jobs
}

// Take returns the lost jobs of a task, the oldest first, and forgets them.
func (l *Lost) Take(task string) []Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	var jobs []Status
	for _, job := range l.byTask[task] {
		jobs = append(jobs, job)
	}
	delete(l.byTask, task)
	Sort(jobs)
	return jobs
}

// TakeOne reports whether a job is lost, and forgets it.
func (l *Lost) TakeOne(task, id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.byTask[task][id]
	delete(l.byTask[task], id)
	if len(l.byTask[task]) == 0 {
		delete(l.byTask, task)
	}
	return ok
}

// Sort sorts jobs by their start.
func Sort(jobs []Status) {
	slices.SortStableFunc(jobs, func(a, b Status) int { return a.Started.Compare(b.Started) })
}
