//go:build !terminal_nodocker

package terminal

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terminal-go/terminal/internal/lane"
)

// container.sh is the main process of every container. It is sent as a line
// over the connection that it waits on, and not given as an argument, where a
// command's pkill -f might take it for what it is not.
//
//go:embed container.sh
var containerSource string

const containerArg = `lane_n='
'
IFS= read -r lane_l && eval "$lane_l"`

// Open makes the task's container and starts it, pulling the image if need
// be. See Backend.
func (d Docker) Open(ctx context.Context, task string) (Executor, error) {
	d, err := d.complete()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	dm, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	o := openingFrom(ctx)
	me := self()
	var sweep = func() error { return nil }
	if o.first("docker " + dm.DaemonHost()) {
		sweep = inBackground(func() error { return removeOrphans(ctx, dm, me) })
	}
	x, err := d.open(ctx, dm, o, task, me)
	if orphans := sweep(); orphans != nil {
		o.log.Warn("containers of earlier owners not removed", "backend", "docker", "error", orphans)
	}
	if err != nil {
		_ = dm.Close()
		return nil, err
	}
	return x, nil
}

func (d Docker) open(ctx context.Context, dm daemon, o opening, task string, me owner) (*dockerExecutor, error) {
	if d.Pull == PullAlways {
		if err := d.pull(ctx, dm, o.log); err != nil {
			return nil, err
		}
	}
	x, err := d.create(ctx, dm, o, task, me)
	if errdefs.IsNotFound(err) { // the image, of all that create looks up
		if d.Pull == PullNever {
			return nil, d.noImage(dm)
		}
		if err := d.pull(ctx, dm, o.log); err != nil {
			return nil, err
		}
		x, err = d.create(ctx, dm, o, task, me)
	}
	if err != nil {
		return nil, d.refused("create container", dm, err)
	}
	if err := x.start(ctx, o); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lingerLimit)
		defer cancel()
		return nil, errors.Join(err, x.Close(ctx))
	}
	return x, nil
}

// create makes the container, which is not started yet. A container whose
// making was given up halfway, or whose reply was lost, is found by its name.
func (d Docker) create(ctx context.Context, dm daemon, o opening, task string, me owner) (*dockerExecutor, error) {
	name := "terminal-" + newRunID()[:16]
	step, cancel := lingering(ctx, createLimit)
	defer cancel()
	created, err := dm.ContainerCreate(step, client.ContainerCreateOptions{
		Name:       name,
		Platform:   d.platform(),
		Config:     d.config(o.dir, task, me),
		HostConfig: d.hostConfig(),
	})
	if err == nil {
		x := &dockerExecutor{docker: d, daemon: dm, id: created.ID, gone: make(chan struct{})}
		x.shells = newShells(x.dial)
		x.ctx, x.cancel = context.WithCancelCause(context.Background())
		return x, nil
	}
	if !errdefs.IsNotFound(err) && !errdefs.IsInvalidArgument(err) && !errdefs.IsConflict(err) {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), lingerLimit)
		defer cancel()
		_ = remove(cleanup, dm, name)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return nil, err
}

// refused says what an answer of the daemon means for the caller: what is
// wrong with the request stays wrong, the rest may pass.
func (d Docker) refused(op string, dm daemon, err error) error {
	at := fmt.Sprintf("docker: %s from %s", op, d.Image)
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", at, err)
	case errdefs.IsInvalidArgument(err), errdefs.IsNotFound(err), errdefs.IsPermissionDenied(err), errdefs.IsNotImplemented(err):
		return fmt.Errorf("%w: %s: %w; correct the field of Docker that asks for it", ErrUnavailable, at, err)
	default:
		return fmt.Errorf("%w: %s: %w; if it stays, correct the field of Docker that it names, or look at the log and the free disk space of the daemon at %s", ErrNotStarted, at, err, dm.DaemonHost())
	}
}

func (d Docker) platform() *ocispec.Platform {
	if d.Platform == "" {
		return nil
	}
	parts := append(strings.Split(d.Platform, "/"), "")
	return &ocispec.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
}

func (d Docker) config(dir, task string, me owner) *container.Config {
	labels := maps.Clone(d.Labels)
	if labels == nil {
		labels = make(map[string]string)
	}
	labels[LabelPrefix+"owner"] = me.String()
	labels[LabelPrefix+"task"] = strings.ToValidUTF8(task, "\uFFFD")
	life := int64(0)
	if d.MaxAge > 0 {
		life = int64((d.MaxAge + time.Second - 1) / time.Second)
		labels[LabelPrefix+"expires"] = time.Now().Add(d.MaxAge).UTC().Format(time.RFC3339)
	}
	env := make([]string, 0, len(d.Env))
	for _, name := range slices.Sorted(maps.Keys(d.Env)) {
		env = append(env, name+"="+d.Env[name])
	}
	if d.User != "" {
		dir = "/" // made by start, so that it belongs to the user
	}
	return &container.Config{
		Image:      d.Image,
		User:       d.User,
		WorkingDir: dir, // the daemon makes it if it is not there
		Env:        env,
		Entrypoint: []string{"sh"},
		Cmd: append([]string{"-c", containerArg, "terminal", strconv.FormatInt(life, 10)},
			lane.Argv(d.Shell)...),
		OpenStdin:    true,
		StdinOnce:    true, // end of file when our connection closes
		AttachStdin:  true,
		AttachStdout: true,
		AttachStderr: true,
		Labels:       labels,
		Healthcheck:  &container.HealthConfig{Test: []string{"NONE"}},
	}
}

func (d Docker) hostConfig() *container.HostConfig {
	yes := true
	pids := d.PIDs
	if pids < 0 {
		pids = -1
	}
	tmpfs := d.Tmpfs
	if d.ReadOnly && !d.mounted("/tmp") {
		tmpfs = merge(d.Tmpfs, map[string]string{"/tmp": ""})
	}
	mounts := make([]mount.Mount, 0, len(d.Mounts))
	for _, m := range d.Mounts {
		kind := mount.TypeVolume
		if strings.HasPrefix(m.Source, "/") || strings.Contains(m.Source, `\`) {
			kind = mount.TypeBind
		}
		mounts = append(mounts, mount.Mount{Type: kind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	return &container.HostConfig{
		AutoRemove:     true,
		Init:           &yes,
		LogConfig:      container.LogConfig{Type: "none"}, // all output comes to us; a log would fill the disk
		NetworkMode:    container.NetworkMode(d.Network),
		CapDrop:        []string{"ALL"},
		CapAdd:         append(slices.Clone(packageCapabilities), d.ExtraCapabilities...),
		SecurityOpt:    append([]string{"no-new-privileges"}, d.SecurityOpt...),
		ReadonlyRootfs: d.ReadOnly,
		Tmpfs:          tmpfs,
		ShmSize:        d.ShmSize,
		Mounts:         mounts,
		Runtime:        d.Runtime,
		Resources: container.Resources{
			NanoCPUs:   int64(d.CPUs * 1e9),
			Memory:     d.Memory,
			MemorySwap: d.Memory, // memory and swap together, so no swap
			PidsLimit:  &pids,
		},
	}
}

func (d Docker) mounted(dir string) bool {
	_, ok := d.Tmpfs[dir]
	return ok || slices.ContainsFunc(d.Mounts, func(m Mount) bool { return m.Target == dir })
}

// remove removes a container with all that is in it, and returns when it has
// gone. One that is not there is fine.
func remove(ctx context.Context, dm daemon, id string) error {
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		_, err := dm.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if errdefs.IsNotFound(err) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("docker: remove container %s: %w", id, errors.Join(err, ctx.Err()))
		}
		if client.IsErrConnectionFailed(err) { // this one, or all of them
			if _, down := dm.Ping(ctx, client.PingOptions{}); down != nil {
				return fmt.Errorf("docker: remove container %s: %w", id, err)
			}
		}
		// Removed, under removal, or the daemon has trouble: ask again until
		// the answer is that there is none.
		if err != nil {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
}
