//go:build terminal_nodocker

// This file replaces the package in builds with the tag terminal_nodocker.

package docker

import (
	"context"
	"fmt"

	"github.com/terminal-go/terminal/internal/spawn"
)

// Check returns spawn.ErrUnavailable.
func Check(context.Context, Config) error {
	return fmt.Errorf("%w: built with the tag terminal_nodocker; build without it", spawn.ErrUnavailable)
}

// Open returns spawn.ErrUnavailable.
func Open(ctx context.Context, cfg Config, _ string) (spawn.Executor, error) {
	return nil, Check(ctx, cfg)
}
