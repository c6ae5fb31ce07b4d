//go:build terminal_nomodal

package terminal

import (
	"context"
	"fmt"
)

// ModalClient stands for the SDK's client, which this build does not have.
type ModalClient struct{}

// Check returns ErrUnavailable: this build has no Modal backend.
func (Modal) Check(context.Context) error {
	return fmt.Errorf("%w: built with the tag terminal_nomodal; build without it", ErrUnavailable)
}

// Open returns ErrUnavailable: this build has no Modal backend.
func (m Modal) Open(ctx context.Context, _ string) (Executor, error) {
	return nil, m.Check(ctx)
}
