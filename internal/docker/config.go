// This file holds the configuration, its defaults and its validation.

// Package docker runs the commands of each task in a container of its own.
//
// Open connects to the daemon (daemon.go), pulls the image (image.go), and
// creates (container.go) and starts (start.go) the container. Exec sends a
// command to a shell of the lane.Pool: the container's main process, or an exec
// that dial started. stdcopy splits the Engine's stream into stdout and stderr,
// and the lane passes both to the command's writers. If the image's sh cannot
// serve a lane, every command is an exec of its own (plain.go).
//
// An Executor has no lock: spawn.Life counts its users and records its end,
// lane.Pool guards its shells, and the other fields are set before the first Exec.
package docker

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/terminal-go/terminal/internal/spawn"
)

// Config has the fields of terminal.Docker, which documents them.
type Config struct {
	Image             string
	Pull              string
	PullTimeout       time.Duration
	Host              string
	Env               map[string]string
	User              string
	CPUs              float64
	Memory            int64
	PIDs              int64
	ShmSize           int64
	Network           string
	ReadOnly          bool
	Tmpfs             map[string]string
	Mounts            []Mount
	ExtraCapabilities []string
	SecurityOpt       []string
	Runtime           string
	Platform          string
	Labels            map[string]string
	MaxAge            time.Duration
	InitScript        string
	Shell             string
}

// Mount has the fields of terminal.Mount, which documents them.
type Mount struct {
	Source   string
	Target   string
	ReadOnly bool
}

// Package terminal documents and exports these values.
const (
	PullMissing = "missing"
	PullAlways  = "always"
	PullNever   = "never"

	DefaultImage = "python:3.11-slim"
	LabelPrefix  = "io.github.terminal-go."
)

const (
	defaultPullTimeout = 10 * time.Minute
	defaultPIDs        = 1024
	defaultMaxAge      = 24 * time.Hour
	initScriptLimit    = 10 * time.Minute
)

// Validate returns an error that names the first field no daemon would accept.
func (cfg Config) Validate() error {
	_, err := cfg.complete()
	return err
}

// complete returns cfg with defaults, and an error that names the first bad field.
func (cfg Config) complete() (Config, error) {
	cfg.Image = cmp.Or(cfg.Image, DefaultImage)
	cfg.Pull = cmp.Or(cfg.Pull, PullMissing)
	cfg.PullTimeout = cmp.Or(cfg.PullTimeout, defaultPullTimeout)
	cfg.PIDs = cmp.Or(cfg.PIDs, defaultPIDs)
	cfg.MaxAge = cmp.Or(cfg.MaxAge, defaultMaxAge)
	switch {
	case cfg.Pull != PullMissing && cfg.Pull != PullAlways && cfg.Pull != PullNever:
		return cfg, fmt.Errorf("docker pull %q: must be %q, %q or %q", cfg.Pull, PullMissing, PullAlways, PullNever)
	case !(cfg.CPUs >= 0): // also true for NaN
		return cfg, fmt.Errorf("docker cpus %v: must not be negative", cfg.CPUs)
	case cfg.Memory < 0:
		return cfg, fmt.Errorf("docker memory %d: must not be negative", cfg.Memory)
	case cfg.ShmSize < 0:
		return cfg, fmt.Errorf("docker shm size %d: must not be negative", cfg.ShmSize)
	case cfg.InitScript != "" && strings.ContainsRune(cfg.InitScript, 0):
		return cfg, errors.New("docker init script: must not have a NUL byte")
	}
	for _, m := range cfg.Mounts {
		if !path.IsAbs(m.Target) {
			return cfg, fmt.Errorf("docker mount target %q: must be an absolute path", m.Target)
		}
		if m.Source == "" {
			return cfg, fmt.Errorf("docker mount at %q: needs a source", m.Target)
		}
	}
	for dir := range cfg.Tmpfs {
		if !path.IsAbs(dir) {
			return cfg, fmt.Errorf("docker tmpfs %q: must be an absolute path", dir)
		}
	}
	for _, option := range cfg.SecurityOpt {
		name, value, ok := strings.Cut(option, "=")
		switch {
		case !ok && option != "no-new-privileges" && !strings.Contains(option, ":"):
			return cfg, fmt.Errorf("docker security option %q: must be name=value", option)
		case name == "seccomp" && value != "unconfined" && value != "builtin" && !json.Valid([]byte(value)):
			return cfg, fmt.Errorf("docker security option %.100q: a seccomp profile must be its JSON, and not a file of it", option)
		}
	}
	for name := range cfg.Labels {
		if strings.HasPrefix(name, LabelPrefix) {
			return cfg, fmt.Errorf("docker label %q: names with %s are this library's own", name, LabelPrefix)
		}
	}
	if n := strings.Count(cfg.Platform, "/"); cfg.Platform != "" && n != 1 && n != 2 {
		return cfg, fmt.Errorf("docker platform %q: must be os/arch or os/arch/variant", cfg.Platform)
	}
	if err := spawn.ValidateEnv(cfg.Env); err != nil {
		return cfg, fmt.Errorf("docker %w", err)
	}
	return cfg, nil
}
