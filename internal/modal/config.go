// Package modal runs commands in sandboxes of modal.com, one for each task.
//
// An Executor keeps a pool of shells inside its sandbox (package lane), so that a
// command costs one round trip. The SDK is used to create and end the sandbox, to
// start those shells and to send large files.
//
// Its mutex guards counters and comes after Life's and before the pool's.
package modal

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/terminal-go/terminal/internal/spawn"
)

// A Config has the fields of terminal.Modal, which documents them.
type Config struct {
	Image        string
	BuildTimeout time.Duration
	App          string
	Environment  string
	CPU          float64
	MemoryMiB    int
	GPU          string
	Region       string
	Secrets      []string
	Env          map[string]string
	Volumes      map[string]string
	BlockNetwork bool
	Lifetime     time.Duration
	IdleTimeout  time.Duration
	Name         string
	Tags         map[string]string
	Shell        string
	Client       *Client
}

// Values that package terminal documents and exports.
const (
	DefaultImage = "python:3.11-slim"
	TagPrefix    = "terminal-"
)

const (
	defaultBuildTimeout  = 10 * time.Minute
	defaultModalLifetime = 24 * time.Hour
	defaultModalIdle     = 2 * time.Hour
	longestModalName     = 64 - 17 // with a dash and 16 letters of ours
)

// complete returns cfg with its defaults, or an error that names a bad field.
func (cfg Config) complete() (Config, error) {
	cfg.Image = cmp.Or(cfg.Image, DefaultImage)
	cfg.BuildTimeout = cmp.Or(cfg.BuildTimeout, defaultBuildTimeout)
	cfg.App = cmp.Or(cfg.App, "terminal")
	cfg.Name = cmp.Or(cfg.Name, "terminal")
	cfg.Lifetime = wholeSeconds(cmp.Or(cfg.Lifetime, defaultModalLifetime))
	cfg.IdleTimeout = wholeSeconds(cmp.Or(cfg.IdleTimeout, defaultModalIdle))
	switch {
	case !(cfg.CPU >= 0): // NaN is neither
		return cfg, fmt.Errorf("modal cpu %v: must not be negative", cfg.CPU)
	case cfg.MemoryMiB < 0:
		return cfg, fmt.Errorf("modal memory %d: must not be negative", cfg.MemoryMiB)
	case cfg.Lifetime < 0:
		return cfg, fmt.Errorf("modal lifetime %v: must not be negative", cfg.Lifetime)
	case len(cfg.Name) > longestModalName || cfg.Name != cleanTag(cfg.Name):
		return cfg, fmt.Errorf("modal name %q: must be letters, digits, dashes, dots and underscores, %d at most", cfg.Name, longestModalName)
	}
	for dir, volume := range cfg.Volumes {
		if !path.IsAbs(dir) {
			return cfg, fmt.Errorf("modal volume at %q: must be an absolute path", dir)
		}
		if volume == "" {
			return cfg, fmt.Errorf("modal volume at %q: needs a name", dir)
		}
	}
	for name := range cfg.Tags {
		if strings.HasPrefix(name, TagPrefix) {
			return cfg, fmt.Errorf("modal tag %q: names with %s are this library's own", name, TagPrefix)
		}
	}
	if err := spawn.ValidateEnv(cfg.Env); err != nil {
		return cfg, fmt.Errorf("modal %w", err)
	}
	// What is not UTF-8 cannot be sent, and the SDK would try for ten seconds.
	texts := slices.Concat([]string{cfg.Image, cfg.App, cfg.Environment, cfg.GPU, cfg.Region, cfg.Shell}, cfg.Secrets,
		slices.Collect(maps.Keys(cfg.Volumes)), slices.Collect(maps.Values(cfg.Volumes)),
		slices.Collect(maps.Keys(cfg.Tags)), slices.Collect(maps.Values(cfg.Tags)), slices.Collect(maps.Values(cfg.Env)))
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return cfg, fmt.Errorf("modal %q: must be UTF-8", text)
		}
	}
	return cfg, nil
}

// wholeSeconds rounds up to what the SDK takes.
func wholeSeconds(d time.Duration) time.Duration {
	if d <= 0 {
		return d
	}
	return (d + time.Second - 1) / time.Second * time.Second
}

// cleanTag replaces what is not allowed in names at Modal.
func cleanTag(text string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && (spawn.IsName("a"+string(r)) || r == '-' || r == '.') {
			return r
		}
		return '_'
	}, text)
}
