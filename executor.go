package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"strings"
)

// A Backend makes environments in which commands run: a process table on this
// machine, a container, a cloud sandbox. [Local] is one; so is any type of
// yours with an Open method. Run [github.com/terminal-go/terminal/terminaltest]
// against it: every sentence of this file is a subtest there.
//
// A Backend must be safe for concurrent use.
type Backend interface {
	// Open makes the environment of a task and returns the Executor that
	// runs commands in it. A Terminal calls it once for each task, and again
	// after that environment was closed or lost.
	//
	// The context bounds the opening only; it must not be kept. It carries
	// the values of the call that needed the environment first, and ends when
	// the Terminal or the task is closed, not when that call gives up.
	//
	// The task may be any text, so it is no file or container name as it is.
	// Errors: ErrUnavailable (wrapped, with the reason and the remedy) if the
	// backend cannot be used here; ErrNotStarted if trying again may help.
	Open(ctx context.Context, task string) (Executor, error)
}

// An Executor runs commands in one environment. It streams bytes and reports
// a code; limits, bounded capture, retries and JSON are the Terminal's.
//
// An Executor must be safe for concurrent use: commands of one task may
// overlap, and Close may come at any time.
type Executor interface {
	// Exec runs the command and returns when its shell has exited, whether
	// or not something it left behind still holds the output open (D3.3).
	//
	// A nil error means that the command ran to its own end: exitCode is its
	// code, 128+n if signal n killed it, 127 if a program was not found, 126
	// if it could not be executed. Everything written before that end has
	// then been given to Stdout and Stderr. What is left running lives on and
	// may go on writing; its bytes may still be given to Stdout and Stderr,
	// which stay safe to use and then discard them.
	//
	// When ctx ends, Exec ends the command (TERM to its process group, KILL
	// two seconds later) and returns ctx.Err(). The Terminal then ends what
	// escaped from the group, see Killer.
	//
	// Otherwise a non-nil error says that the command never started
	// (ErrNotStarted in the chain), that the environment has gone (ErrGone),
	// or that it cannot be known how the command ended. A Dir that is not
	// there, or is no directory, is ErrNotStarted together with
	// fs.ErrNotExist or syscall.ENOTDIR.
	Exec(ctx context.Context, cmd Command) (exitCode int, err error)

	// Close ends what still runs and removes the environment. It is
	// idempotent, may be called at any time, treats "already gone" as
	// success, and should respect ctx; a Terminal waits no longer than that.
	Close(ctx context.Context) error
}

// A Command is what an Executor is asked to run.
type Command struct {
	// Script is run by bash where the environment has it, else by sh, as
	// with -c, and never by a login shell. It has no NUL byte. A Terminal
	// keeps it below 48 KiB: a longer command comes as a short script that
	// reads it from Stdin.
	Script string

	// Dir is the absolute path of the working directory.
	Dir string

	// Env is added to the environment's own variables. A Terminal puts the
	// command's run id here under the name RunIDEnv.
	Env map[string]string

	// Stdin is the command's standard input; nil means end of file at once.
	Stdin io.Reader

	// Stdout and Stderr receive the output; nil discards it. Equal values
	// mean one pipe, so that the order of writing is kept. A Terminal's
	// writers never fail and never end a command.
	Stdout, Stderr io.Writer
}

// RunIDEnv names the environment variable by which every process that a
// command started can be found again, however it was detached. Its value is a
// random word of the command's own; a Terminal that runs inside another one's
// command keeps the outer words beside its own, separated by commas.
const RunIDEnv = "TERMINAL_RUN_ID"

// A Checker is a Backend that can tell whether it can be used here, without
// opening anything. Terminal.Check uses it; a Backend without it is taken to
// be usable.
type Checker interface {
	// Check returns nil, or an error with ErrUnavailable in its chain that
	// says what is missing and what would help.
	Check(ctx context.Context) error
}

func check(ctx context.Context, b Backend) error {
	c, ok := b.(Checker)
	if !ok {
		return nil
	}
	return recovered("check backend", func() error { return c.Check(ctx) })
}

// A Pinger is an Executor that can tell whether its environment is still
// there. A Terminal asks after a command failed for a reason that no sentinel
// explains; an Executor without it is taken to be alive.
type Pinger interface {
	// Ping returns nil, or an error with ErrGone in its chain if the
	// environment has gone.
	Ping(ctx context.Context) error
}

func ping(ctx context.Context, ex Executor) error {
	p, ok := capability[Pinger](ex)
	if !ok {
		return nil
	}
	return recovered("ping executor", func() error { return p.Ping(ctx) })
}

// A Killer is an Executor that can end all processes of one command by
// itself. For an Executor without it a Terminal runs a few lines of sh through
// Exec that look for the run id in /proc.
type Killer interface {
	// Kill sends KILL to every process that has runID in its environment's
	// RunIDEnv until none is left, and returns an error if some are. An empty
	// runID is an error.
	Kill(ctx context.Context, runID string) error
}

func kill(ctx context.Context, ex Executor, runID string) error {
	if runID == "" {
		return errors.New("kill run: no run id") // it would match every environment
	}
	if k, ok := capability[Killer](ex); ok {
		return recovered("kill run", func() error { return k.Kill(ctx, runID) })
	}
	return recovered("kill run", func() error {
		said := newOutput(maxSaid, 0)
		w, _ := said.streams(nil, nil)
		code, err := ex.Exec(ctx, Command{Script: sweepScript(runID), Dir: "/", Stdout: w, Stderr: w})
		text, _ := said.end()
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("sweep: code %d: %s", code, strings.TrimSpace(text))
		}
		return nil
	})
}

// capability finds an optional interface on ex or on what it wraps: a
// decorator shows its inner Executor through Unwrap() Executor.
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

// Route returns a Backend that opens each task on the Backend which choose
// returns for it, so that one Terminal can serve several kinds. choose is
// called once for each opening, possibly from several goroutines at once; nil
// means that there is no Backend for the task, and is ErrUnavailable.
func Route(choose func(task string) Backend) Backend {
	return router{choose}
}

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

// resolve follows routes down to the Backend that will do the work, so that
// errors and Stats name it.
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

// backendName is what errors and Stats call a Backend: its String method if
// it has one, else the name of its type.
func backendName(b Backend) string {
	if s, ok := b.(fmt.Stringer); ok {
		return s.String()
	}
	name := fmt.Sprintf("%T", b)
	return strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))
}

// opening is what a Terminal tells this package's Backends of itself when it
// opens a task. It is in the context of Open.
type opening struct {
	dir   string            // where commands will run; "" if that is not known
	env   map[string]string // that all commands get
	log   *slog.Logger
	first func(what string) bool // whether this is the first time that the Terminal does it
}

type openingKey struct{}

// openingFrom serves also an Open that no Terminal has called.
func openingFrom(ctx context.Context) opening {
	o, ok := ctx.Value(openingKey{}).(opening)
	if !ok {
		o = opening{log: slog.New(slog.DiscardHandler), first: func(string) bool { return true }}
	}
	return o
}

type detachedKey struct{}

// detached tells this package's Executors that what the command leaves behind
// is meant to be left and holds nothing of theirs, so that they need not look.
func detached(ctx context.Context) context.Context {
	return context.WithValue(ctx, detachedKey{}, true)
}

func isDetached(ctx context.Context) bool { return ctx.Value(detachedKey{}) != nil }

// open opens a task's Executor, and makes an error of what a faulty Backend
// might do instead of answering: panic, or return nothing.
func open(ctx context.Context, b Backend, task string) (ex Executor, err error) {
	err = recovered("open executor", func() error {
		var err error
		ex, err = b.Open(ctx, task)
		return err
	})
	if err == nil && ex == nil {
		err = errors.New("open executor: the backend returned neither an executor nor an error")
	}
	return ex, err
}
