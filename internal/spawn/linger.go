// Contexts and goroutines for the creation of an environment.

package spawn

import (
	"context"
	"time"
)

const (
	// CreateLimit bounds one step of the creation of an environment on an
	// engine that answers.
	CreateLimit = time.Minute

	// LingerLimit bounds such a step once nobody wants it any more, and the
	// removal of what a failed creation left.
	LingerLimit = 10 * time.Second
)

// Linger returns a context that ends after limit, or LingerLimit after ctx has
// ended. A request that is cut off at once would leave behind what the engine
// was about to create.
func Linger(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	step, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(LingerLimit, cancel)
		context.AfterFunc(step, func() { timer.Stop() })
	})
	return step, func() { stop(); cancel() }
}

// Async calls f in a goroutine and returns a function that waits for it and
// returns its error. The function must be called once.
func Async(f func() error) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return func() error { return <-done }
}
