//go:build !terminal_nomodal

package terminal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	modal "github.com/modal-labs/modal-client/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// scheduleLimit is how long Modal may take to find room for a sandbox.
const scheduleLimit = 20 * time.Minute

// Open makes the task's sandbox, building the image if need be. See Backend.
func (m Modal) Open(ctx context.Context, task string) (Executor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m, err := m.complete()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	o := openingFrom(ctx)
	w, err := m.connect(o.log)
	if err != nil {
		return nil, err
	}
	x, err := m.open(ctx, w, o, task)
	if err != nil {
		w.close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return x, nil
}

func (m Modal) open(ctx context.Context, w workspace, o opening, task string) (*modalExecutor, error) {
	app, err := w.Apps.FromName(ctx, m.App, &modal.AppFromNameParams{Environment: m.Environment, CreateIfMissing: true})
	if err != nil {
		return nil, m.refused("look up app "+m.App, err)
	}
	me := self()
	sweep := func() error { return nil }
	if o.first("modal " + app.AppID) {
		sweep = inBackground(func() error { return m.removeOrphans(ctx, w, app, me) })
	}
	x, err := m.create(ctx, w, app, task, me)
	if orphans := sweep(); orphans != nil {
		o.log.Warn("sandboxes of earlier owners not terminated", "backend", "modal", "error", orphans)
	}
	if err != nil {
		return nil, err
	}
	if err := x.start(ctx, o); err != nil {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), lingerLimit)
		defer cancel()
		x.own = false // w is closed by the caller
		return nil, errors.Join(err, x.Close(cleanup))
	}
	return x, nil
}

// build has Modal build the image, which is there at once if it was built
// before.
func (m Modal) build(ctx context.Context, w workspace, app *modal.App) (*modal.Image, error) {
	building, late := ctx, func() bool { return false }
	if m.BuildTimeout > 0 {
		end := time.Now().Add(m.BuildTimeout)
		var cancel context.CancelFunc
		building, cancel = context.WithDeadline(ctx, end)
		defer cancel()
		late = func() bool { return time.Until(end) < time.Second } // the server's clock may be ahead of ours
	}
	image, err := w.Images.FromRegistry(m.Image, nil).Build(building, app, nil)
	switch {
	case err == nil:
		return image, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case late() && (building.Err() != nil || status.Code(err) == codes.DeadlineExceeded):
		err = fmt.Errorf("not done after Modal.BuildTimeout, %v", m.BuildTimeout)
	case !errors.As(err, &modal.RemoteError{}):
		return nil, m.refused("build image "+m.Image, err)
	}
	if said := w.log.end(); said != "" {
		err = fmt.Errorf("%w; its log ends with: %s", err, said)
	}
	return nil, fmt.Errorf("%w: modal: build image %s: %w; check its name and that its registry is public", ErrUnavailable, m.Image, err)
}

// create makes the sandbox. One whose making was given up halfway, or whose
// reply was lost, is found by its name.
func (m Modal) create(ctx context.Context, w workspace, app *modal.App, task string, me owner) (*modalExecutor, error) {
	image, err := m.build(ctx, w, app)
	if err != nil {
		return nil, err
	}
	params, err := m.params(ctx, w, task, me)
	if err != nil {
		return nil, err
	}
	step, cancel := lingering(ctx, scheduleLimit)
	defer cancel()
	sb, err := w.Sandboxes.Create(step, app, image, params)
	if err == nil && ctx.Err() == nil {
		return newModalExecutor(m, w, sb), nil
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), lingerLimit)
	defer cancel()
	if err == nil {
		err = terminate(cleanup, sb)
		return nil, errors.Join(ctx.Err(), err, sb.Detach())
	}
	if sb, lost := w.Sandboxes.FromName(cleanup, m.App, params.Name, &modal.SandboxFromNameParams{Environment: m.Environment}); lost == nil {
		_ = terminate(cleanup, sb)
	}
	return nil, m.refused("create sandbox from "+m.Image, err)
}

func (m Modal) params(ctx context.Context, w workspace, task string, me owner) (*modal.SandboxCreateParams, error) {
	p := &modal.SandboxCreateParams{
		CPU:          m.CPU,
		MemoryMiB:    m.MemoryMiB,
		GPU:          m.GPU,
		Timeout:      m.Lifetime,
		IdleTimeout:  max(0, m.IdleTimeout),
		Env:          m.Env,
		BlockNetwork: m.BlockNetwork,
		Name:         m.Name + "-" + newRunID()[:16],
		Tags:         tags(m.Tags, task, me),
		Volumes:      make(map[string]*modal.Volume),
	}
	if m.Region != "" {
		p.Regions = []string{m.Region}
	}
	for _, name := range m.Secrets {
		secret, err := w.Secrets.FromName(ctx, name, &modal.SecretFromNameParams{Environment: m.Environment})
		if err != nil {
			return nil, m.refused("look up secret "+name, err)
		}
		p.Secrets = append(p.Secrets, secret)
	}
	for dir, name := range m.Volumes {
		volume, err := w.Volumes.FromName(ctx, name, &modal.VolumeFromNameParams{Environment: m.Environment, CreateIfMissing: true})
		if err != nil {
			return nil, m.refused("look up volume "+name, err)
		}
		p.Volumes[dir] = volume
	}
	return p, nil
}

// tags tell whose a sandbox is. They have no room for an owner as it is, so
// where a pid means something is a hash in them.
func tags(own map[string]string, task string, me owner) map[string]string {
	t := maps.Clone(own)
	if t == nil {
		t = make(map[string]string)
	}
	t[ModalTagPrefix+"host"] = hostTag(me)
	t[ModalTagPrefix+"owner"] = strconv.Itoa(me.pid) + "." + me.started
	task = cleanTag(strings.ToValidUTF8(task, "_"))
	t[ModalTagPrefix+"task"] = task[:min(len(task), 60)]
	return t
}

func hostTag(me owner) string {
	sum := sha256.Sum256([]byte(me.host + " " + me.boot + " " + me.pids))
	return hex.EncodeToString(sum[:8])
}

// removeOrphans terminates the sandboxes of this library whose owner is dead.
func (m Modal) removeOrphans(ctx context.Context, w workspace, app *modal.App, me owner) error {
	ctx, cancel := context.WithTimeout(ctx, lingerLimit)
	defer cancel()
	list, err := w.Sandboxes.List(ctx, &modal.SandboxListParams{
		AppID: app.AppID, Environment: m.Environment, Tags: map[string]string{ModalTagPrefix + "host": hostTag(me)},
	})
	if err != nil {
		return err
	}
	var errs []error
	for sb, err := range list {
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		tags, err := sb.GetTags(ctx, nil)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		pid, started, _ := strings.Cut(tags[ModalTagPrefix+"owner"], ".")
		number, err := strconv.Atoi(pid)
		o := owner{me.host, me.boot, me.pids, number, started}
		if err == nil && number > 0 && o.isDead(me) {
			errs = append(errs, terminate(ctx, sb))
		}
	}
	return errors.Join(errs...)
}

// terminate ends a sandbox and returns when it has ended. One that is not
// there is fine. An answer that more tries will not change is believed at the
// third time.
func terminate(ctx context.Context, sb *modal.Sandbox) error {
	for tries, pause := 1, 100*time.Millisecond; ; tries, pause = tries+1, min(2*pause, 2*time.Second) {
		_, err := sb.Terminate(ctx, &modal.SandboxTerminateParams{Wait: true})
		code := status.Code(err)
		if err == nil || code == codes.NotFound || errors.As(err, &modal.NotFoundError{}) {
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
