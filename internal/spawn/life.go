// Life: the lifecycle of an executor.

package spawn

import (
	"context"
	"fmt"
	"sync"
)

// A Life is the lifecycle of an executor: uses of it begin and end until it is
// closed or its environment is gone. The zero value is not usable; see NewLife.
// Its methods may be called concurrently.
type Life struct {
	ctx    context.Context // ends at Close, with the cause ErrClosed
	cancel context.CancelCauseFunc
	gone   chan struct{} // closed by SetGone

	running sync.WaitGroup // uses that have begun; Add only under mu while open

	mu     sync.Mutex // guards the rest; held for moments, a leaf
	closed bool
	why    error // why the environment is gone; set before gone is closed
}

// NewLife returns the Life of an executor that is open.
func NewLife() *Life {
	l := &Life{gone: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	return l
}

// Context returns a context that ends when the executor is closed.
func (l *Life) Context() context.Context { return l.ctx }

// Begin registers a use of the executor. The context it returns ends with ctx,
// when end is called, and when the executor is closed. end must be called once.
//
// The error has ErrNotStarted in its chain, and ErrClosed after Close, the
// error given to SetGone after that, or ctx's error if ctx has ended.
func (l *Life) Begin(ctx context.Context) (use context.Context, end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, NotStarted(err)
	}
	if err := l.add(); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	use, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.ctx, func() { cancel(ErrClosed) })
	return use, func() {
		stop()
		cancel(nil)
		l.running.Done()
	}, nil
}

func (l *Life) add() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	if l.why != nil {
		return l.why
	}
	l.running.Add(1)
	return nil
}

// SetGone records why the environment is gone. Only the first call counts.
func (l *Life) SetGone(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why == nil {
		l.why = why
		close(l.gone)
	}
}

// Gone returns a channel that is closed by SetGone.
func (l *Life) Gone() <-chan struct{} { return l.gone }

// Err returns the error given to SetGone, or nil.
func (l *Life) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// Over reports whether the executor is closed or its environment gone.
func (l *Life) Over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed || l.why != nil
}

// Close refuses later uses and ends the contexts of those that have begun. It
// reports whether this is the first call. It does not wait; see Wait.
func (l *Life) Close() (first bool) {
	l.mu.Lock()
	first = !l.closed
	l.closed = true
	l.mu.Unlock()
	l.cancel(ErrClosed)
	return first
}

// Wait waits until all uses have ended, or until ctx ends, whose error it
// returns then. It must be called after Close.
func (l *Life) Wait(ctx context.Context) error { return Wait(ctx, &l.running) }

// Wait waits for group, or until ctx ends, whose error it returns then.
func Wait(ctx context.Context, group *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		group.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
