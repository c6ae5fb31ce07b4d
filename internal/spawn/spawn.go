// Package spawn declares what the Terminal and the backends of this module
// both need: the command to run, the sentinels, run IDs, and the lifecycle that
// every executor has. It knows neither how commands are run nor who asks.
//
// Package terminal documents the same types for users and converts to and from
// these; no internal package imports it.
package spawn

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"io/fs"
	"regexp"
)

// A Command is what an executor is asked to run. See terminal.Command, which
// has the same fields.
type Command struct {
	Script string
	Dir    string
	Env    map[string]string
	Stdin  io.Reader

	Stdout, Stderr io.Writer
}

// An Executor is what the backends of this module return from Open. Package
// terminal wraps it in a terminal.Executor with the same capabilities.
type Executor interface {
	// Exec, Close, Ping, Kill and Survivors are specified by
	// terminal.Executor, terminal.Pinger, terminal.Killer and
	// terminal.Survivors.
	Exec(ctx context.Context, c Command) (exitCode int, err error)
	Close(ctx context.Context) error
	Ping(ctx context.Context) error
	Kill(ctx context.Context, runID string) error
	Survivors(runID string) bool

	// ReadFile, WriteFile, CopyTo and CopyFrom are specified by
	// terminal.FileSystem.
	ReadFile(ctx context.Context, name string, w io.Writer) error
	WriteFile(ctx context.Context, name string, r io.Reader, perm fs.FileMode) error
	CopyTo(ctx context.Context, name string, archive io.Reader) error
	CopyFrom(ctx context.Context, name string, archive io.Writer) error

	// JobHome returns the directory that holds the task's jobs and that Close
	// removes, or "" if the executor has no such directory.
	JobHome() string

	// MakeJob makes the directory of a job in JobHome, where that costs less
	// than a mkdir in the environment. A failure is left to the job's start to
	// report.
	MakeJob(id string)
}

// RunIDEnv is the environment variable that holds the run ID of a process.
const RunIDEnv = "TERMINAL_RUN_ID"

// NewRunID returns a random word of 32 hexadecimal digits.
func NewRunID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return hex.EncodeToString(id[:])
}

// background matches commands that probably leave a process behind.
var background = regexp.MustCompile(`(^|[^&>|\\])&([^&>0-9]|$)|\b(nohup|setsid|disown|coproc)\b|daemon`)

// MayLeaveProcesses reports whether the text of a command starts something in
// the background.
func MayLeaveProcesses(script string) bool { return background.MatchString(script) }

type detachedKey struct{}

// WithDetached returns a context which says that a command leaves processes
// behind on purpose, and that they hold none of its descriptors. An executor
// need not look for survivors of such a command.
func WithDetached(ctx context.Context) context.Context {
	return context.WithValue(ctx, detachedKey{}, true)
}

// IsDetached reports whether ctx comes from WithDetached.
func IsDetached(ctx context.Context) bool { return ctx.Value(detachedKey{}) != nil }
