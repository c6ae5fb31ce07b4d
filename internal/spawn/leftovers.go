// Leftovers: the runs that left processes behind.

package spawn

import "sync"

// maxLeftovers bounds what is kept for a caller that does not ask.
const maxLeftovers = 1000

// Leftovers holds the run IDs with surviving processes until they are queried.
// The zero value is empty. It is safe for concurrent use.
type Leftovers struct {
	mu   sync.Mutex // guards runs; a leaf, held for moments
	runs map[string]struct{}
}

// Add records that the run left processes.
func (l *Leftovers) Add(runID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.runs == nil {
		l.runs = make(map[string]struct{})
	}
	if len(l.runs) < maxLeftovers {
		l.runs[runID] = struct{}{}
	}
}

// Take reports whether Add was called for the run since the last Take.
func (l *Leftovers) Take(runID string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, left := l.runs[runID]
	delete(l.runs, runID)
	return left
}
