//go:build !terminal_nomodal

// The creation and the end of a sandbox in the API.

package modal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	sdk "github.com/modal-labs/modal-client/go"
	"github.com/terminal-go/terminal/internal/procfs"
	"github.com/terminal-go/terminal/internal/spawn"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// scheduleLimit bounds the time in which Modal schedules a sandbox.
const scheduleLimit = 20 * time.Minute

// build returns the image, which Modal builds unless it has done so before.
func (cfg Config) build(ctx context.Context, w workspace, app *sdk.App) (*sdk.Image, error) {
	building, late := ctx, func() bool { return false }
	if cfg.BuildTimeout > 0 {
		end := time.Now().Add(cfg.BuildTimeout)
		var cancel context.CancelFunc
		building, cancel = context.WithDeadline(ctx, end)
		defer cancel()
		late = func() bool { return time.Until(end) < time.Second } // the server's clock may be ahead of ours
	}
	image, err := w.Images.FromRegistry(cfg.Image, nil).Build(building, app, nil)
	switch {
	case err == nil:
		return image, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case late() && (building.Err() != nil || status.Code(err) == codes.DeadlineExceeded):
		err = fmt.Errorf("not done after Modal.BuildTimeout, %v", cfg.BuildTimeout)
	case !errors.As(err, &sdk.RemoteError{}):
		return nil, cfg.refused("build image "+cfg.Image, err)
	}
	if said := w.log.end(); said != "" {
		err = fmt.Errorf("%w; its log ends with: %s", err, said)
	}
	return nil, fmt.Errorf("%w: modal: build image %s: %w; check its name and that its registry is public", spawn.ErrUnavailable, cfg.Image, err)
}

// create creates the sandbox. If the call was cancelled or its reply lost, the
// sandbox is found by its name and terminated.
func (cfg Config) create(ctx context.Context, w workspace, app *sdk.App, task string, self procfs.Owner) (*Executor, error) {
	image, err := cfg.build(ctx, w, app)
	if err != nil {
		return nil, err
	}
	params, err := cfg.params(ctx, w, task, self)
	if err != nil {
		return nil, err
	}
	step, cancel := spawn.Linger(ctx, scheduleLimit)
	defer cancel()
	sb, err := w.Sandboxes.Create(step, app, image, params)
	if err == nil && ctx.Err() == nil {
		return newExecutor(cfg, w, sb), nil
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), spawn.LingerLimit)
	defer cancel()
	if err == nil {
		err = terminate(cleanup, sb)
		return nil, errors.Join(ctx.Err(), err, sb.Detach())
	}
	if sb, lost := w.Sandboxes.FromName(cleanup, cfg.App, params.Name, &sdk.SandboxFromNameParams{Environment: cfg.Environment}); lost == nil {
		_ = terminate(cleanup, sb)
	}
	return nil, cfg.refused("create sandbox from "+cfg.Image, err)
}

func (cfg Config) params(ctx context.Context, w workspace, task string, self procfs.Owner) (*sdk.SandboxCreateParams, error) {
	p := &sdk.SandboxCreateParams{
		CPU:          cfg.CPU,
		MemoryMiB:    cfg.MemoryMiB,
		GPU:          cfg.GPU,
		Timeout:      cfg.Lifetime,
		IdleTimeout:  max(0, cfg.IdleTimeout),
		Env:          cfg.Env,
		BlockNetwork: cfg.BlockNetwork,
		Name:         cfg.Name + "-" + spawn.NewRunID()[:16],
		Tags:         tags(cfg.Tags, task, self),
		Volumes:      make(map[string]*sdk.Volume),
	}
	if cfg.Region != "" {
		p.Regions = []string{cfg.Region}
	}
	for _, name := range cfg.Secrets {
		secret, err := w.Secrets.FromName(ctx, name, &sdk.SecretFromNameParams{Environment: cfg.Environment})
		if err != nil {
			return nil, cfg.refused("look up secret "+name, err)
		}
		p.Secrets = append(p.Secrets, secret)
	}
	for dir, name := range cfg.Volumes {
		volume, err := w.Volumes.FromName(ctx, name, &sdk.VolumeFromNameParams{Environment: cfg.Environment, CreateIfMissing: true})
		if err != nil {
			return nil, cfg.refused("look up volume "+name, err)
		}
		p.Volumes[dir] = volume
	}
	return p, nil
}

// tags returns the tags of a sandbox. An owner is too long for one, so the tag has a
// hash of the place in which the PID means something.
func tags(own map[string]string, task string, self procfs.Owner) map[string]string {
	t := maps.Clone(own)
	if t == nil {
		t = make(map[string]string)
	}
	t[TagPrefix+"host"] = self.Place()
	t[TagPrefix+"owner"] = strconv.Itoa(self.PID) + "." + self.Started
	task = cleanTag(strings.ToValidUTF8(task, "_"))
	t[TagPrefix+"task"] = task[:min(len(task), 60)]
	return t
}

// terminate ends a sandbox and waits for its end. It returns nil if there is no such
// sandbox. It retries until ctx ends, but an error about credentials three times
// only.
func terminate(ctx context.Context, sb *sdk.Sandbox) error {
	for tries, pause := 1, 100*time.Millisecond; ; tries, pause = tries+1, min(2*pause, 2*time.Second) {
		_, err := sb.Terminate(ctx, &sdk.SandboxTerminateParams{Wait: true})
		code := status.Code(err)
		if err == nil || code == codes.NotFound || errors.As(err, &sdk.NotFoundError{}) {
			return nil
		}
		if final := code == codes.Unauthenticated || code == codes.PermissionDenied; !final || tries < 3 {
			select {
			case <-time.After(pause):
				continue
			case <-ctx.Done():
			}
		}
		return fmt.Errorf("modal: terminate sandbox %s: %w; it costs money until Modal.IdleTimeout or Modal.Lifetime ends it", sb.SandboxID, err)
	}
}
