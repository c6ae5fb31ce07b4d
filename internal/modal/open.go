//go:build !terminal_nomodal

// Check and Open.

package modal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	sdk "github.com/modal-labs/modal-client/go"

	"github.com/terminal-go/terminal/internal/procfs"
	"github.com/terminal-go/terminal/internal/spawn"
)

// Check returns ErrUnavailable with the reason: there are no credentials, Modal
// refuses them, or it does not answer.
func Check(ctx context.Context, cfg Config) error {
	cfg, err := cfg.complete()
	if err != nil {
		return fmt.Errorf("%w: %w", spawn.ErrUnavailable, err)
	}
	w, err := cfg.connect(slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer w.close()
	asking, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	_, err = w.Apps.FromName(asking, cfg.App, &sdk.AppFromNameParams{Environment: cfg.Environment})
	if err == nil || errors.As(err, &sdk.NotFoundError{}) {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return cfg.refused("look up app "+cfg.App, err)
}

// Open creates the sandbox of a task, after the image was built if need be.
func Open(ctx context.Context, cfg Config, task string) (*Executor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cfg, err := cfg.complete()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", spawn.ErrUnavailable, err)
	}
	o := spawn.OpeningFrom(ctx)
	w, err := cfg.connect(o.Log)
	if err != nil {
		return nil, err
	}
	x, err := cfg.open(ctx, w, o, task)
	if err != nil {
		w.close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return x, nil
}

func (cfg Config) open(ctx context.Context, w workspace, o spawn.Opening, task string) (*Executor, error) {
	app, err := w.Apps.FromName(ctx, cfg.App, &sdk.AppFromNameParams{Environment: cfg.Environment, CreateIfMissing: true})
	if err != nil {
		return nil, cfg.refused("look up app "+cfg.App, err)
	}
	self := procfs.Self()
	sweep := func() error { return nil }
	if o.Once("modal " + app.AppID) {
		sweep = spawn.Async(func() error { return cfg.removeOrphans(ctx, w, app, self) })
	}
	x, err := cfg.create(ctx, w, app, task, self)
	if orphans := sweep(); orphans != nil {
		o.Log.Warn("sandboxes of earlier owners not terminated", "backend", "modal", "error", orphans)
	}
	if err != nil {
		return nil, err
	}
	if err := x.start(ctx, o); err != nil {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), spawn.LingerLimit)
		defer cancel()
		x.workspace.own = false // w is closed by the caller
		return nil, errors.Join(err, x.Close(cleanup))
	}
	return x, nil
}
