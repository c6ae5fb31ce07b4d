// This file holds the interfaces between a Terminal and its backends, and the
// bounded, panic-safe calls of them; the backends themselves are in
// backend_*.go and internal, and the rules for retries and limits in lease.go.

package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/terminal-go/terminal/internal/capture"
	"github.com/terminal-go/terminal/internal/procfs"
	"github.com/terminal-go/terminal/internal/spawn"
)

// A Backend creates the environments in which commands run: processes of this
// machine, containers, cloud sandboxes. Any type with an Open method is one.
// The suite in [github.com/terminal-go/terminal/terminaltest] tests the
// guarantees of this file.
//
// A Backend guarantees:
//
//  1. It is safe for concurrent use.
//  2. Each call of Open returns an environment of its own, or an error.
//  3. An Executor stays usable after the context of its Open has ended.
type Backend interface {
	// Open creates the environment of a task and returns its Executor. A
	// Terminal calls Open once for each task, and again after the environment
	// was closed or lost.
	//
	//  1. ctx bounds Open only and must not be kept. It has the values of the
	//     call that first needed the environment. It ends when the task or the
	//     Terminal is closed, not when that call gives up.
	//  2. task is arbitrary text. It may not be a valid file or container name.
	//  3. The error wraps ErrUnavailable, with the reason and the remedy, if
	//     the backend cannot be used here.
	//  4. The error wraps ErrNotStarted if another attempt may succeed. The
	//     Terminal then retries.
	Open(ctx context.Context, task string) (Executor, error)
}

// An Executor runs commands in one environment. It streams output and reports
// an exit code. Limits, bounded capture, retries and JSON are left to the
// Terminal.
//
// An Executor guarantees that it is safe for concurrent use: commands of one
// task may overlap, and Close may be called at any time.
type Executor interface {
	// Exec runs a command and waits for its shell to exit.
	//
	//  1. Exec returns when the shell has exited, even if a background process
	//     still holds the output open.
	//  2. A nil error means that the command ran to its own end. exitCode is
	//     then the command's code, as a shell reports it (POSIX XCU 2.8.2):
	//     128+n if signal n killed it, 127 if a program was not found, 126 if
	//     it could not be executed.
	//  3. With a nil error, everything written before the shell exited has been
	//     passed to Stdout and Stderr.
	//  4. Background processes are left alone. What they write later may still
	//     be passed to Stdout and Stderr, which stay safe to use and discard it.
	//  5. When ctx ends, Exec sends TERM to the command's process group, and
	//     KILL two seconds later, and returns ctx.Err(). The Terminal then kills
	//     processes that left the group; see Killer.
	//  6. The error wraps ErrNotStarted only if it is certain that nothing ran.
	//     If Dir is missing or not a directory, it also wraps fs.ErrNotExist
	//     or syscall.ENOTDIR.
	//  7. The error wraps ErrGone if the environment has vanished, together
	//     with ErrNotStarted if it vanished before the command started.
	//  8. Any other error means that the command's end is not known.
	Exec(ctx context.Context, cmd Command) (exitCode int, err error)

	// Close removes the environment.
	//
	//  1. Close ends all processes of the environment, detached ones included.
	//  2. It may be called at any time and more than once.
	//  3. It returns nil if the environment has gone already.
	//  4. It should return when ctx ends. A Terminal stops waiting then.
	Close(ctx context.Context) error
}

// A Command is one command for an Executor to run.
type Command struct {
	// Script is the argument of bash -c, or of sh -c if the environment has
	// no bash. The shell must not be a login shell, because /etc/profile would
	// overwrite the image's PATH. Script has no NUL byte. A Terminal keeps it
	// below 48 KiB, because execve(2) limits one argument to 128 KiB on Linux;
	// a longer command is a short script that reads the rest from Stdin.
	Script string

	// Dir is the absolute path of the working directory.
	Dir string

	// Env is added to the environment's own variables. It holds the command's
	// run ID under the name RunIDEnv. The map belongs to the caller: an
	// Executor must not change it.
	Env map[string]string

	// Stdin is the command's standard input. If Stdin is nil, the command
	// reads end of file at once.
	Stdin io.Reader

	// Stdout and Stderr receive the output. If one is nil, that output is
	// discarded. If they are equal, both file descriptors must be the same
	// pipe, so that the order of writes is kept. A Terminal's writers never
	// return an error.
	Stdout, Stderr io.Writer
}

// RunIDEnv is the name of the environment variable that holds a command's run
// ID. Child processes inherit it, so every process that a command started can be
// found, however it was detached. The run ID is a random word, different for
// each command. If a Terminal runs inside a command of another Terminal, the
// value holds the run IDs of both, separated by commas.
const RunIDEnv = spawn.RunIDEnv

// A Checker is a Backend that can report whether it is usable without opening
// an environment. Terminal.Check calls it. A Backend without it is assumed to
// be usable.
type Checker interface {
	// Check returns nil if the backend can be used. Otherwise the error wraps
	// ErrUnavailable and says what is missing and how to fix it.
	Check(ctx context.Context) error
}

// check calls b's Check method. It returns nil if b has none.
func check(ctx context.Context, b Backend) error {
	c, ok := b.(Checker)
	if !ok {
		return nil
	}
	return spawn.Recover("check backend", func() error { return c.Check(ctx) })
}

// A Pinger is an Executor that can report whether its environment still exists.
// A Terminal calls it after a command failed with an error that wraps no
// sentinel. An Executor without it is assumed to be alive.
type Pinger interface {
	// Ping returns nil if the environment exists. The error wraps ErrGone if
	// it has vanished.
	Ping(ctx context.Context) error
}

// ping calls ex's Ping method. It returns nil if ex has none.
func ping(ctx context.Context, ex Executor) error {
	p, ok := capability[Pinger](ex)
	if !ok {
		return nil
	}
	return spawn.Recover("ping executor", func() error { return p.Ping(ctx) })
}

// A Killer is an Executor that can kill all processes of one command itself.
// For other Executors, a Terminal runs a sh script through Exec that searches
// /proc/PID/environ (proc(5)) for the run ID.
type Killer interface {
	// Kill sends KILL to every process that has runID in its RunIDEnv until
	// none is left. It returns an error if some remain or if runID is empty.
	Kill(ctx context.Context, runID string) error
}

// kill kills all processes of a run, with ex's Kill method or with a script.
func kill(ctx context.Context, ex Executor, runID string) error {
	if runID == "" {
		return errors.New("kill run: no run id") // an empty run ID would match every process
	}
	if k, ok := capability[Killer](ex); ok {
		return spawn.Recover("kill run", func() error { return k.Kill(ctx, runID) })
	}
	return spawn.Recover("kill run", func() error {
		said := capture.NewAnswer(1000)
		code, err := ex.Exec(ctx, Command{Script: procfs.SweepScript(runID), Dir: "/", Stdout: said, Stderr: said})
		if err == nil && code != 0 {
			err = fmt.Errorf("sweep: code %d: %s", code, strings.TrimSpace(string(said.End())))
		}
		return err
	})
}

// capability returns ex as the optional interface T. If ex does not implement
// T, it tries the Executor that ex wraps, as returned by a method
// Unwrap() Executor, and so on.
func capability[T any](ex Executor) (T, bool) {
	for ex != nil {
		if c, ok := ex.(T); ok {
			return c, true
		}
		u, ok := ex.(interface{ Unwrap() Executor })
		if !ok {
			break
		}
		ex = u.Unwrap()
	}
	var none T
	return none, false
}

// Route returns a Backend that opens each task on the Backend that choose
// returns for it. It lets one Terminal use several backends. choose is called
// once for each Open and must be safe for concurrent use. If choose returns
// nil, Open fails with ErrUnavailable.
func Route(choose func(task string) Backend) Backend {
	return router{choose}
}

// router is the Backend that Route returns.
type router struct {
	choose func(task string) Backend
}

func (r router) Open(ctx context.Context, task string) (Executor, error) {
	b, err := resolve(r, task)
	if err != nil {
		return nil, err
	}
	return b.Open(ctx, task)
}

// resolve returns the Backend that opens the task, following routers, so that
// errors and Stats name that one.
func resolve(b Backend, task string) (Backend, error) {
	for {
		r, ok := b.(router)
		if !ok {
			return b, nil
		}
		if b = r.choose(task); b == nil {
			return nil, fmt.Errorf("%w: no backend is routed for task %q", ErrUnavailable, task)
		}
	}
}

// backendName returns the name of b in errors and Stats: the result of its
// String method if it has one, else the lower-case name of its type.
func backendName(b Backend) string {
	if s, ok := b.(fmt.Stringer); ok {
		return s.String()
	}
	name := fmt.Sprintf("%T", b)
	return strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))
}

// executor adapts an internal spawn.Executor to Executor. The internal packages
// cannot import Command from here without an import cycle.
type executor struct{ spawn.Executor }

// Exec runs the command; see Executor.
func (x executor) Exec(ctx context.Context, c Command) (int, error) {
	return x.Executor.Exec(ctx, spawn.Command(c))
}

// wrap adapts the results of an internal backend's Open. It keeps a nil
// spawn.Executor from becoming a non-nil Executor.
func wrap(x spawn.Executor, err error) (Executor, error) {
	if err != nil {
		return nil, err
	}
	return executor{x}, nil
}

// open calls b.Open. It converts a panic, and a nil Executor with a nil error,
// into an error.
func open(ctx context.Context, b Backend, task string) (ex Executor, err error) {
	err = spawn.Recover("open executor", func() error {
		var err error
		ex, err = b.Open(ctx, task)
		return err
	})
	if err == nil && ex == nil {
		err = errors.New("open executor: the backend returned neither an executor nor an error")
	}
	return ex, err
}
