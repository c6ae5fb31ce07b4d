// This file holds Modal, the configuration of the sandbox backend; its
// implementation is in internal/modal.

package terminal

import (
	"context"
	"time"

	"github.com/terminal-go/terminal/internal/modal"
)

// Modal runs commands in sandboxes of modal.com. Each task has one sandbox, which
// is created at the task's first call and terminated with the task. The zero value
// uses the credentials of the modal command: MODAL_TOKEN_ID and
// MODAL_TOKEN_SECRET, or ~/.modal.toml.
//
// Commands are started by a shell that stays open in the sandbox, so that each
// costs one request instead of the several of an exec. The image needs a POSIX sh,
// cat and sleep. Commands run in bash if the image has it. The image's entrypoint
// is not used.
//
// A sandbox costs money until it ends. It ends with its task or its Terminal. As a
// second line, Modal enforces IdleTimeout and Lifetime, and the first task of a
// Terminal terminates sandboxes whose owner on this machine is provably dead. An
// open shell keeps a sandbox from being idle, so the shells exit when they have not
// heard from this process for half an hour.
type Modal struct {
	// Image is an image reference of a registry. Modal builds it at first use,
	// which does not count towards a command's limit. If it is "", it is
	// DefaultModalImage.
	Image string

	// BuildTimeout limits the build of Image. If it is 0, it is 10 minutes. If
	// it is negative, there is no limit.
	BuildTimeout time.Duration

	// App is the name of the Modal app of the sandboxes. It is created if it
	// does not exist. If it is "", it is "terminal".
	App string

	// Environment is the name of a Modal environment. "" means the profile's.
	Environment string

	// CPU is the number of physical cores to reserve, such as 0.5; a sandbox
	// may use more if they are free. 0 means Modal's default. A negative number
	// is an error.
	CPU float64

	// MemoryMiB is the memory to reserve in MiB; a sandbox may use more. 0 means
	// Modal's default. A negative number is an error.
	MemoryMiB int

	// GPU is a type with an optional number, such as "T4" or "A100:2". "" means
	// no GPU.
	GPU string

	// Region is where sandboxes run, such as "us-east" or "eu". "" means any.
	Region string

	// Secrets are names of secrets of the workspace, whose variables are added
	// to the image's.
	Secrets []string

	// Env is added to the image's variables, after Secrets, for all commands.
	Env map[string]string

	// Volumes maps absolute paths in the sandbox to names of volumes of the
	// workspace, which are created if they do not exist.
	Volumes map[string]string

	// BlockNetwork disables the sandbox's network.
	BlockNetwork bool

	// Lifetime is the largest age of a sandbox in whole seconds, after which
	// Modal terminates it, in use or not. It must be longer than any command.
	// If it is 0, it is 24 hours, Modal's maximum.
	Lifetime time.Duration

	// IdleTimeout is how long Modal keeps an idle sandbox, in whole seconds. It
	// should be longer than Config.Lifetime and Config.JobLifetime, because it
	// is for sandboxes whose owner has died. If it is 0, it is 2 hours. If it
	// is negative, idle sandboxes are kept for Lifetime.
	IdleTimeout time.Duration

	// Name is the prefix of the sandboxes' names. If it is "", it is
	// "terminal".
	Name string

	// Tags are added to the sandbox's tags. A name that begins with
	// ModalTagPrefix is an error.
	Tags map[string]string

	// Shell is the program that runs commands with -c, as a path or a name in
	// the image. If it is "", it is bash, or sh if there is no bash.
	Shell string

	// Client is a client of Modal's SDK, which the caller must close. If it is
	// nil, each sandbox has a client with credentials from the environment or
	// ~/.modal.toml.
	Client *ModalClient
}

// ModalClient is the client of Modal's SDK, or an empty struct in a build without
// the Modal backend.
type ModalClient = modal.Client

// DefaultModalImage is the default of Modal.Image, "python:3.11-slim".
const DefaultModalImage = modal.DefaultImage

// ModalTagPrefix is the prefix, "terminal-", of the tags that this library sets on
// its sandboxes: host, owner (process) and task.
const ModalTagPrefix = modal.TagPrefix

// String returns "modal", the name in errors and Stats.
func (Modal) String() string { return "modal" }

// Check returns nil if commands can be run. Otherwise the error matches
// ErrUnavailable and names the reason: there are no credentials, Modal refuses
// them, or it does not answer.
func (m Modal) Check(ctx context.Context) error { return modal.Check(ctx, modal.Config(m)) }

// Open creates the task's sandbox. Modal builds the image if it has not been built
// before. See Backend.
func (m Modal) Open(ctx context.Context, task string) (Executor, error) {
	return wrap(modal.Open(ctx, modal.Config(m), task))
}
