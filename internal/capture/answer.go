// Answer: what a script of this module prints, bounded.

package capture

import (
	"bytes"
	"sync"
)

// An Answer keeps what a script of this module prints. It accepts any amount and
// keeps at most limit bytes, and discards what is written after End, so a
// hostile environment can neither exhaust memory nor race with the reader. It is
// safe for concurrent use.
type Answer struct {
	limit int

	mu    sync.Mutex // guards the rest; a leaf, held for moments
	kept  bytes.Buffer
	ended bool
}

// NewAnswer returns an Answer that keeps limit bytes.
func NewAnswer(limit int) *Answer { return &Answer{limit: limit} }

// Write never fails.
func (a *Answer) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended {
		a.kept.Write(p[:min(len(p), a.limit-a.kept.Len())])
	}
	return len(p), nil
}

// End returns what was kept. It may be called more than once.
func (a *Answer) End() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	return a.kept.Bytes()
}
