package terminal

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// Docker runs commands in containers of a Docker Engine, or of Podman through
// its Docker-compatible socket: one container for each task, made at the
// task's first command and removed with the task. The zero value is ready to
// use where the docker command would be; it needs API 1.40 (Engine 19.03) or
// later, and no docker command, bind mount or published port.
//
// A command runs in a shell that is already inside the container, so it costs
// about what a local fork costs. The image needs a POSIX sh and the usual
// small programs (cat, sleep); bash runs the commands where it is there. The
// image's ENTRYPOINT, CMD and HEALTHCHECK are not used.
//
// A container lives no longer than its owner: its main process waits on a
// connection that this process holds open, and ends the container when that is
// lost, however this process died. MaxAge stands behind that, and the first
// task of a Terminal removes containers of owners that are provably gone.
//
// By default a container has no capabilities but the seven that a package
// manager needs (CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID),
// cannot gain privileges, and has a limit on processes; it has a network. For
// hostile code set Network "none", User, Memory, CPUs, ReadOnly, and Runtime to
// a sandboxed one. The fields are documented by what they become in the
// Engine API's container create, docs.docker.com/reference/api/engine.
type Docker struct {
	// Image is the image's reference. "": DefaultDockerImage.
	Image string

	// Pull says when to pull Image: PullMissing, also the meaning of "",
	// PullAlways (for every task) or PullNever. Credentials are those of the
	// docker command's configuration, inline or from a credential helper.
	Pull string

	// PullTimeout bounds a pull; it is not taken from a command's limit.
	// 0: 10 minutes. Negative: no bound.
	PullTimeout time.Duration

	// Host is the daemon's address: unix:///path, tcp://host:port,
	// npipe:////./pipe/name. "": what the docker command would use, which is
	// DOCKER_HOST with its TLS variables, else the current context, else the
	// default socket, and then Podman's.
	Host string

	// Env is added to the image's variables, for all commands.
	Env map[string]string

	// User is a name or uid, with an optional :group. "": the image's.
	User string

	// CPUs is the number of CPUs that a container may use, such as 1.5.
	// 0: no limit. Negative: an error.
	CPUs float64

	// Memory is the limit in bytes, swap included. 0: no limit. Negative: an
	// error. A command that exceeds it is killed, with code 137.
	Memory int64

	// PIDs is the number of processes and threads that a container may have.
	// 0: 1,024. Negative: no limit.
	PIDs int64

	// ShmSize is the size of /dev/shm in bytes. 0: the daemon's, 64 MiB.
	ShmSize int64

	// Network is a network's name, or "none". "": the daemon's default
	// bridge.
	Network string

	// ReadOnly makes the root file system read-only, with a writable /tmp in
	// memory unless Tmpfs or Mounts has one.
	ReadOnly bool

	// Tmpfs maps directories to the options of a file system in memory, such
	// as "size=64m" or "". nil: none.
	Tmpfs map[string]string

	// Mounts are directories of the daemon's host, and volumes. nil: none.
	Mounts []Mount

	// ExtraCapabilities are added to the seven, such as "NET_RAW".
	ExtraCapabilities []string

	// SecurityOpt is added to "no-new-privileges", such as
	// "seccomp=<profile as JSON>" or "apparmor=name".
	SecurityOpt []string

	// Runtime is the OCI runtime, such as "runsc" (gVisor). "": the daemon's.
	Runtime string

	// Platform is os/arch[/variant], such as "linux/arm64". "": the daemon's.
	Platform string

	// Labels are added to a container's. Names that begin with LabelPrefix
	// are an error.
	Labels map[string]string

	// MaxAge is the hard life of a container. 0: 24 hours. Negative: none. It
	// is a backstop for a lost owner: a task that needs longer loses its
	// environment then.
	MaxAge time.Duration

	// InitScript runs once in a new container, as a command in the
	// Terminal's directory, before the task's first command and outside its
	// limit, 10 minutes at most. If it fails, there is no environment.
	InitScript string

	// Shell is the program that runs commands with -c, as a path or a name in
	// the image. "": bash, else sh.
	Shell string
}

// Mount is a directory or a volume that a container sees.
type Mount struct {
	Source   string // absolute path on the daemon's host, or a volume's name
	Target   string // absolute path in the container
	ReadOnly bool
}

// Values of Docker.Pull.
const (
	PullMissing = "missing"
	PullAlways  = "always"
	PullNever   = "never"
)

// DefaultDockerImage is what Docker uses without an Image.
const DefaultDockerImage = "python:3.11-slim"

// LabelPrefix begins the labels by which containers of this library are known:
// its owner (host, boot, process), task, and expires (RFC 3339).
const LabelPrefix = "io.github.terminal-go."

const (
	defaultPullTimeout = 10 * time.Minute
	defaultPIDs        = 1024
	defaultMaxAge      = 24 * time.Hour
	initScriptLimit    = 10 * time.Minute
)

// packageCapabilities are what installing and removing packages takes, and
// KILL, without which root could not end a process of another user.
var packageCapabilities = []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"}

// String returns "docker", the name in errors and Stats.
func (Docker) String() string { return "docker" }

// validate makes New refuse what no daemon would take.
func (d Docker) validate() error {
	_, err := d.complete()
	return err
}

// complete returns d with its defaults, or an error that names a bad field.
func (d Docker) complete() (Docker, error) {
	d.Image = cmp.Or(d.Image, DefaultDockerImage)
	d.Pull = cmp.Or(d.Pull, PullMissing)
	d.PullTimeout = cmp.Or(d.PullTimeout, defaultPullTimeout)
	d.PIDs = cmp.Or(d.PIDs, defaultPIDs)
	d.MaxAge = cmp.Or(d.MaxAge, defaultMaxAge)
	switch {
	case d.Pull != PullMissing && d.Pull != PullAlways && d.Pull != PullNever:
		return d, fmt.Errorf("docker pull %q: must be %q, %q or %q", d.Pull, PullMissing, PullAlways, PullNever)
	case !(d.CPUs >= 0): // NaN is neither
		return d, fmt.Errorf("docker cpus %v: must not be negative", d.CPUs)
	case d.Memory < 0:
		return d, fmt.Errorf("docker memory %d: must not be negative", d.Memory)
	case d.ShmSize < 0:
		return d, fmt.Errorf("docker shm size %d: must not be negative", d.ShmSize)
	case d.InitScript != "" && strings.ContainsRune(d.InitScript, 0):
		return d, errors.New("docker init script: must not have a NUL byte")
	}
	for _, m := range d.Mounts {
		if !path.IsAbs(m.Target) {
			return d, fmt.Errorf("docker mount target %q: must be an absolute path", m.Target)
		}
		if m.Source == "" {
			return d, fmt.Errorf("docker mount at %q: needs a source", m.Target)
		}
	}
	for dir := range d.Tmpfs {
		if !path.IsAbs(dir) {
			return d, fmt.Errorf("docker tmpfs %q: must be an absolute path", dir)
		}
	}
	for _, option := range d.SecurityOpt {
		name, value, ok := strings.Cut(option, "=")
		switch {
		case !ok && option != "no-new-privileges" && !strings.Contains(option, ":"):
			return d, fmt.Errorf("docker security option %q: must be name=value", option)
		case name == "seccomp" && value != "unconfined" && value != "builtin" && !json.Valid([]byte(value)):
			return d, fmt.Errorf("docker security option %.100q: a seccomp profile must be its JSON, and not a file of it", option)
		}
	}
	for name := range d.Labels {
		if strings.HasPrefix(name, LabelPrefix) {
			return d, fmt.Errorf("docker label %q: names with %s are this library's own", name, LabelPrefix)
		}
	}
	if n := strings.Count(d.Platform, "/"); d.Platform != "" && n != 1 && n != 2 {
		return d, fmt.Errorf("docker platform %q: must be os/arch or os/arch/variant", d.Platform)
	}
	if err := validateEnv(d.Env); err != nil {
		return d, fmt.Errorf("docker %w", err)
	}
	return d, nil
}
