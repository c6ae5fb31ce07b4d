package terminal

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Modal runs commands in sandboxes of modal.com: one for each task, made at
// the task's first command and terminated with the task. The zero value is
// ready to use where the modal command would be: credentials come from
// MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or from ~/.modal.toml.
//
// A command runs in a shell that is already inside the sandbox, so it costs
// one round trip and not the several of an exec. The image needs a POSIX sh
// and the usual small programs (cat, sleep); bash runs the commands where it
// is there. The image's entrypoint is not used.
//
// A sandbox costs money until it ends. It ends with its task or its Terminal;
// behind that stand IdleTimeout and Lifetime, which Modal itself sees to, and
// the first task of a Terminal terminates sandboxes of owners on this machine
// that are provably gone. A sandbox that has not heard from its owner for half
// an hour ends the shells in it, which else would keep it from being idle.
type Modal struct {
	// Image is a reference of a registry's. Modal builds it at first use,
	// which is not taken from a command's limit. "": DefaultModalImage.
	Image string

	// BuildTimeout bounds that. 0: 10 minutes. Negative: no bound.
	BuildTimeout time.Duration

	// App is the name of the app that sandboxes belong to. It is made if it
	// is missing. "": "terminal".
	App string

	// Environment is Modal's, not a variable. "": the profile's.
	Environment string

	// CPU is the number of physical cores that are asked for, such as 0.5; a
	// sandbox may use more if there are. 0: Modal's default. Negative: an
	// error.
	CPU float64

	// MemoryMiB is asked for likewise. 0: Modal's default. Negative: an error.
	MemoryMiB int

	// GPU is a type and how many, such as "T4" or "A100:2". "": none.
	GPU string

	// Region is where sandboxes run, such as "us-east" or "eu". "": wherever
	// there is room.
	Region string

	// Secrets names secrets of the workspace; their variables are added to
	// the image's. nil: none.
	Secrets []string

	// Env is added to the image's variables, after Secrets, for all commands.
	Env map[string]string

	// Volumes maps absolute paths in the sandbox to volumes of the workspace,
	// which are made if they are missing. nil: none.
	Volumes map[string]string

	// BlockNetwork leaves a sandbox without a network.
	BlockNetwork bool

	// Lifetime is the hard life of a sandbox, in whole seconds. It must be
	// longer than any command, and a task that needs longer loses its
	// environment then. 0: 24 hours, the most that Modal gives.
	Lifetime time.Duration

	// IdleTimeout is how long Modal keeps a sandbox with nothing to do, in
	// whole seconds. It stands behind Config.Lifetime and should be longer
	// than that and Config.JobLifetime. 0: 2 hours. Negative: for its
	// Lifetime.
	IdleTimeout time.Duration

	// Name begins the names of sandboxes. "": "terminal".
	Name string

	// Tags are added to a sandbox's. Names that begin with ModalTagPrefix are
	// an error.
	Tags map[string]string

	// Shell is the program that runs commands with -c, as a path or a name in
	// the image. "": bash, else sh.
	Shell string

	// Client is the SDK's, for those who configure it themselves, and for
	// tests; it stays theirs to close. nil: one for each sandbox, from the
	// environment or ~/.modal.toml.
	Client *ModalClient

	leash time.Duration // 0: leashLimit; tests have less patience
}

// DefaultModalImage is what Modal uses without an Image.
const DefaultModalImage = "python:3.11-slim"

// ModalTagPrefix begins the tags by which sandboxes of this library are known:
// host, owner (process) and task.
const ModalTagPrefix = "terminal-"

const (
	defaultBuildTimeout  = 10 * time.Minute
	defaultModalLifetime = 24 * time.Hour
	defaultModalIdle     = 2 * time.Hour
	longestModalName     = 64 - 17 // with a dash and 16 letters of ours
	leashLimit           = 30 * time.Minute
)

// String returns "modal", the name in errors and Stats.
func (Modal) String() string { return "modal" }

// complete returns m with its defaults, or an error that names a bad field.
func (m Modal) complete() (Modal, error) {
	m.Image = cmp.Or(m.Image, DefaultModalImage)
	m.BuildTimeout = cmp.Or(m.BuildTimeout, defaultBuildTimeout)
	m.App = cmp.Or(m.App, "terminal")
	m.Name = cmp.Or(m.Name, "terminal")
	m.Lifetime = wholeSeconds(cmp.Or(m.Lifetime, defaultModalLifetime))
	m.IdleTimeout = wholeSeconds(cmp.Or(m.IdleTimeout, defaultModalIdle))
	m.leash = wholeSeconds(cmp.Or(m.leash, leashLimit))
	switch {
	case !(m.CPU >= 0): // NaN is neither
		return m, fmt.Errorf("modal cpu %v: must not be negative", m.CPU)
	case m.MemoryMiB < 0:
		return m, fmt.Errorf("modal memory %d: must not be negative", m.MemoryMiB)
	case m.Lifetime < 0:
		return m, fmt.Errorf("modal lifetime %v: must not be negative", m.Lifetime)
	case len(m.Name) > longestModalName || m.Name != cleanTag(m.Name):
		return m, fmt.Errorf("modal name %q: must be letters, digits, dashes, dots and underscores, %d at most", m.Name, longestModalName)
	}
	for dir, volume := range m.Volumes {
		if !path.IsAbs(dir) {
			return m, fmt.Errorf("modal volume at %q: must be an absolute path", dir)
		}
		if volume == "" {
			return m, fmt.Errorf("modal volume at %q: needs a name", dir)
		}
	}
	for name := range m.Tags {
		if strings.HasPrefix(name, ModalTagPrefix) {
			return m, fmt.Errorf("modal tag %q: names with %s are this library's own", name, ModalTagPrefix)
		}
	}
	if err := validateEnv(m.Env); err != nil {
		return m, fmt.Errorf("modal %w", err)
	}
	// What is not UTF-8 cannot be sent, and the SDK would try for ten seconds.
	texts := slices.Concat([]string{m.Image, m.App, m.Environment, m.GPU, m.Region, m.Shell}, m.Secrets,
		slices.Collect(maps.Keys(m.Volumes)), slices.Collect(maps.Values(m.Volumes)),
		slices.Collect(maps.Keys(m.Tags)), slices.Collect(maps.Values(m.Tags)), slices.Collect(maps.Values(m.Env)))
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return m, fmt.Errorf("modal %q: must be UTF-8", text)
		}
	}
	return m, nil
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
		if r < utf8.RuneSelf && (isName("a"+string(r)) || r == '-' || r == '.') {
			return r
		}
		return '_'
	}, text)
}
