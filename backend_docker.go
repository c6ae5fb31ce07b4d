// This file holds Docker, the configuration of the container backend; its
// implementation is in internal/docker.

package terminal

import (
	"context"
	"time"

	"github.com/terminal-go/terminal/internal/docker"
)

// Docker runs commands in containers of a Docker Engine, or of Podman through its
// Docker-compatible socket. Each task has one container, which is created at the
// task's first call and removed with the task. The zero value finds the daemon as
// the docker command does. It needs Engine API 1.40 (Engine 19.03) or later, but
// no docker command, bind mount or published port.
//
// Commands are started by a shell that stays open in the container, which avoids
// the exec calls of the Engine API; doc/measured.md has the times. The image needs
// a POSIX sh, cat and sleep. Commands run in bash if the image has it. The image's
// ENTRYPOINT, CMD and HEALTHCHECK are not used.
//
// A container ends with this process. Its main process waits on a connection that
// this process holds open, and exits when the connection breaks, however this
// process died. As a second line, MaxAge limits the container's age, and the first
// task of a Terminal removes containers whose owner is provably dead.
//
// By default a container has only the seven capabilities that package managers
// need (CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID), cannot gain
// privileges, and has a limit of processes. It has a network. For hostile code set
// Network to "none", User, Memory, CPUs, ReadOnly, and a sandboxed Runtime. The
// fields become those of the Engine API's POST /containers/create, see
// https://docs.docker.com/reference/api/engine.
type Docker struct {
	// Image is the image's reference. If it is "", it is DefaultDockerImage.
	Image string

	// Pull is PullMissing, PullAlways (for every task) or PullNever. If it is
	// "", it is PullMissing. Credentials come from the docker command's
	// configuration, inline or from a credential helper.
	Pull string

	// PullTimeout limits a pull, which does not count towards a command's
	// limit. If it is 0, it is 10 minutes. If it is negative, there is no limit.
	PullTimeout time.Duration

	// Host is the daemon's address: unix:///path, tcp://host:port or
	// npipe:////./pipe/name. If it is "", it is the first of: DOCKER_HOST with
	// its TLS variables, the docker command's current context, the default
	// socket, Podman's socket.
	Host string

	// Env is added to the image's variables, for all commands.
	Env map[string]string

	// User is a user name or ID, optionally followed by ":group". If it is "",
	// it is the image's user.
	User string

	// CPUs is the number of CPUs that a container may use, such as 1.5. 0 means
	// no limit. A negative number is an error.
	CPUs float64

	// Memory is the memory limit in bytes, swap included. 0 means no limit. A
	// negative number is an error. The kernel kills a process that exceeds it,
	// and the exit code is 137.
	Memory int64

	// PIDs is the largest number of processes and threads of a container. If it
	// is 0, it is 1,024. If it is negative, there is no limit.
	PIDs int64

	// ShmSize is the size of /dev/shm in bytes. 0 means the daemon's default of
	// 64 MiB.
	ShmSize int64

	// Network is the name of a network, or "none". "" means the daemon's
	// default bridge.
	Network string

	// ReadOnly mounts the root file system read-only. /tmp is then a tmpfs,
	// unless Tmpfs or Mounts has a /tmp.
	ReadOnly bool

	// Tmpfs maps directories to the mount options of a tmpfs there, such as
	// "size=64m" or "".
	Tmpfs map[string]string

	// Mounts are directories of the daemon's host, and volumes.
	Mounts []Mount

	// ExtraCapabilities are added to the default seven, such as "NET_RAW".
	ExtraCapabilities []string

	// SecurityOpt is added to "no-new-privileges", such as
	// "seccomp=<profile as JSON>" or "apparmor=name".
	SecurityOpt []string

	// Runtime is the OCI runtime, such as "runsc" (gVisor). "" means the
	// daemon's default.
	Runtime string

	// Platform is os/arch[/variant], such as "linux/arm64". "" means the
	// daemon's.
	Platform string

	// Labels are added to the container's labels. A name that begins with
	// LabelPrefix is an error.
	Labels map[string]string

	// MaxAge is the largest age of a container, after which it ends, in use or
	// not. It limits the cost of a container whose owner was not noticed to be
	// dead. If it is 0, it is 24 hours. If it is negative, there is no limit.
	MaxAge time.Duration

	// InitScript runs once in a new container, as a command in Config.Dir,
	// before the task's first command. It may take 10 minutes, which do not
	// count towards the command's limit. If it fails, opening fails.
	InitScript string

	// Shell is the program that runs commands with -c, as a path or a name in
	// the image. If it is "", it is bash, or sh if there is no bash.
	Shell string
}

// Mount is a directory or a volume that is mounted into a container.
type Mount struct {
	Source   string // absolute path on the daemon's host, or a volume's name
	Target   string // absolute path in the container
	ReadOnly bool
}

// Values of Docker.Pull.
const (
	PullMissing = docker.PullMissing // "missing"
	PullAlways  = docker.PullAlways  // "always"
	PullNever   = docker.PullNever   // "never"
)

// DefaultDockerImage is the default of Docker.Image, "python:3.11-slim".
const DefaultDockerImage = docker.DefaultImage

// LabelPrefix is the prefix, "io.github.terminal-go.", of the labels that this
// library sets on its containers: owner (host, boot, process), task, and expires
// (RFC 3339).
const LabelPrefix = docker.LabelPrefix

// String returns "docker", the name in errors and Stats.
func (Docker) String() string { return "docker" }

// Check returns nil if commands can be run. Otherwise the error matches
// ErrUnavailable and names the reason: there is no daemon, this process may not
// use it, it is too old, or the image is missing and Pull is PullNever.
func (d Docker) Check(ctx context.Context) error { return docker.Check(ctx, d.config()) }

// Open creates and starts the task's container. It pulls the image according to
// Pull. See Backend.
func (d Docker) Open(ctx context.Context, task string) (Executor, error) {
	return wrap(docker.Open(ctx, d.config(), task))
}

// validate returns an error if a field of d is invalid.
func (d Docker) validate() error { return d.config().Validate() }

// config returns d as the configuration of package docker.
func (d Docker) config() docker.Config {
	mounts := make([]docker.Mount, 0, len(d.Mounts))
	for _, m := range d.Mounts {
		mounts = append(mounts, docker.Mount(m))
	}
	return docker.Config{
		Image:             d.Image,
		Pull:              d.Pull,
		PullTimeout:       d.PullTimeout,
		Host:              d.Host,
		Env:               d.Env,
		User:              d.User,
		CPUs:              d.CPUs,
		Memory:            d.Memory,
		PIDs:              d.PIDs,
		ShmSize:           d.ShmSize,
		Network:           d.Network,
		ReadOnly:          d.ReadOnly,
		Tmpfs:             d.Tmpfs,
		Mounts:            mounts,
		ExtraCapabilities: d.ExtraCapabilities,
		SecurityOpt:       d.SecurityOpt,
		Runtime:           d.Runtime,
		Platform:          d.Platform,
		Labels:            d.Labels,
		MaxAge:            d.MaxAge,
		InitScript:        d.InitScript,
		Shell:             d.Shell,
	}
}
