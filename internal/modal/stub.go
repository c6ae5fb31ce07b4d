//go:build terminal_nomodal

package modal

import (
	"context"
	"fmt"

	"github.com/terminal-go/terminal/internal/spawn"
)

// Client stands for the SDK's client, which this build does not have.
type Client struct{}

// Check returns ErrUnavailable: this build has no Modal backend.
func Check(context.Context, Config) error {
	return fmt.Errorf("%w: built with the tag terminal_nomodal; build without it", spawn.ErrUnavailable)
}

// Open returns ErrUnavailable: this build has no Modal backend.
func Open(ctx context.Context, cfg Config, _ string) (spawn.Executor, error) {
	return nil, Check(ctx, cfg)
}
