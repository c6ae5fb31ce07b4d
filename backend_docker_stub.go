//go:build terminal_nodocker

package terminal

import (
	"context"
	"fmt"
)

// Check returns ErrUnavailable: this build has no Docker backend.
func (Docker) Check(context.Context) error {
	return fmt.Errorf("%w: built with the tag terminal_nodocker; build without it", ErrUnavailable)
}

// Open returns ErrUnavailable: this build has no Docker backend.
func (d Docker) Open(ctx context.Context, _ string) (Executor, error) {
	return nil, d.Check(ctx)
}
