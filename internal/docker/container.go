//go:build !terminal_nodocker

// This file defines what the daemon is asked to create, and removes it again.

package docker

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
	"github.com/terminal-go/terminal/internal/procfs"
	"github.com/terminal-go/terminal/internal/spawn"
)

// containerSource is the main process of every container. It is sent over its
// stdin, because a command's pkill -f might match it on the command line.
//
//go:embed container.sh
var containerSource string

// containerArg is the argument of sh -c: it reads containerSource as one line.
const containerArg = `lane_n='
'
IFS= read -r lane_l && eval "$lane_l"`

// create creates the container without starting it. If the outcome is unknown,
// because ctx ended or the reply was lost, it removes the container by name.
func (cfg Config) create(ctx context.Context, dm daemon, o spawn.Opening, task string, self procfs.Owner) (*Executor, error) {
	name := "terminal-" + spawn.NewRunID()[:16]
	step, cancel := spawn.Linger(ctx, spawn.CreateLimit)
	defer cancel()
	created, err := dm.ContainerCreate(step, cfg.containerOptions(name, o.Dir, task, self))
	if err == nil {
		x := &Executor{Life: spawn.NewLife(), cfg: cfg, daemon: dm, id: created.ID}
		x.shells = lane.NewPool(x.dial)
		return x, nil
	}
	if !errdefs.IsNotFound(err) && !errdefs.IsInvalidArgument(err) && !errdefs.IsConflict(err) {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), spawn.LingerLimit)
		defer cancel()
		_ = remove(cleanup, dm, name)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return nil, err
}

// packageCapabilities are what installing and removing packages takes, and
// KILL, without which root could not end a process of another user.
var packageCapabilities = []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"}

// ContainerOptions returns the options Open creates a container with. dir is the
// working directory of the commands, self the owner.
func (cfg Config) ContainerOptions(name, dir, task string, self procfs.Owner) (client.ContainerCreateOptions, error) {
	cfg, err := cfg.complete()
	return cfg.containerOptions(name, dir, task, self), err
}

func (cfg Config) containerOptions(name, dir, task string, self procfs.Owner) client.ContainerCreateOptions {
	return client.ContainerCreateOptions{
		Name:       name,
		Platform:   cfg.platform(),
		Config:     cfg.config(dir, task, self),
		HostConfig: cfg.hostConfig(),
	}
}

func (cfg Config) platform() *ocispec.Platform {
	if cfg.Platform == "" {
		return nil
	}
	parts := append(strings.Split(cfg.Platform, "/"), "")
	return &ocispec.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
}

func (cfg Config) config(dir, task string, self procfs.Owner) *container.Config {
	labels := maps.Clone(cfg.Labels)
	if labels == nil {
		labels = make(map[string]string)
	}
	labels[LabelPrefix+"owner"] = self.String()
	labels[LabelPrefix+"task"] = strings.ToValidUTF8(task, "\uFFFD")
	life := int64(0)
	if cfg.MaxAge > 0 {
		life = int64((cfg.MaxAge + time.Second - 1) / time.Second)
		labels[LabelPrefix+"expires"] = time.Now().Add(cfg.MaxAge).UTC().Format(time.RFC3339)
	}
	env := make([]string, 0, len(cfg.Env))
	for _, name := range slices.Sorted(maps.Keys(cfg.Env)) {
		env = append(env, name+"="+cfg.Env[name])
	}
	if cfg.User != "" {
		dir = "/" // prepare creates dir, so that it belongs to the user
	}
	return &container.Config{
		Image:      cfg.Image,
		User:       cfg.User,
		WorkingDir: dir, // created by the daemon if missing
		Env:        env,
		Entrypoint: []string{"sh"},
		Cmd: append([]string{"-c", containerArg, "terminal", strconv.FormatInt(life, 10)},
			lane.Argv(cfg.Shell)...),
		OpenStdin:   true,
		StdinOnce:   true, // end of file when our connection closes
		AttachStdin: true, AttachStdout: true, AttachStderr: true,
		Labels:      labels,
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
}

func (cfg Config) hostConfig() *container.HostConfig {
	yes := true
	pids := cfg.PIDs
	if pids < 0 {
		pids = -1
	}
	tmpfs := cfg.Tmpfs
	if cfg.ReadOnly && !cfg.mounted("/tmp") {
		tmpfs = spawn.MergeEnv(cfg.Tmpfs, map[string]string{"/tmp": ""})
	}
	mounts := make([]mount.Mount, 0, len(cfg.Mounts))
	for _, m := range cfg.Mounts {
		kind := mount.TypeVolume
		if strings.HasPrefix(m.Source, "/") || strings.Contains(m.Source, `\`) {
			kind = mount.TypeBind
		}
		mounts = append(mounts, mount.Mount{Type: kind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	return &container.HostConfig{
		AutoRemove:     true,
		Init:           &yes,
		LogConfig:      container.LogConfig{Type: "none"}, // a log of all output would fill the disk
		NetworkMode:    container.NetworkMode(cfg.Network),
		CapDrop:        []string{"ALL"},
		CapAdd:         append(slices.Clone(packageCapabilities), cfg.ExtraCapabilities...),
		SecurityOpt:    append([]string{"no-new-privileges"}, cfg.SecurityOpt...),
		ReadonlyRootfs: cfg.ReadOnly,
		Tmpfs:          tmpfs,
		ShmSize:        cfg.ShmSize,
		Mounts:         mounts,
		Runtime:        cfg.Runtime,
		Resources: container.Resources{
			NanoCPUs:   int64(cfg.CPUs * 1e9),
			Memory:     cfg.Memory,
			MemorySwap: cfg.Memory, // limit of memory plus swap, so no swap
			PidsLimit:  &pids,
		},
	}
}

// mounted reports whether something is configured to be mounted at dir.
func (cfg Config) mounted(dir string) bool {
	_, ok := cfg.Tmpfs[dir]
	return ok || slices.ContainsFunc(cfg.Mounts, func(m Mount) bool { return m.Target == dir })
}

// remove kills and removes a container and its volumes, and waits until it is
// gone. It returns nil if there is no such container.
func remove(ctx context.Context, dm daemon, id string) error {
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		_, err := dm.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if errdefs.IsNotFound(err) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("docker: remove container %s: %w", id, errors.Join(err, ctx.Err()))
		}
		if client.IsErrConnectionFailed(err) { // a single lost connection is retried
			if _, down := dm.Ping(ctx, client.PingOptions{}); down != nil {
				return fmt.Errorf("docker: remove container %s: %w", id, err)
			}
		}
		// Success does not mean that it is gone, and an error may mean that it is
		// being removed: repeat until the daemon answers 404.
		if err != nil {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
}
