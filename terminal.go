package terminal

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// The defaults that a zero Config stands for.
const (
	DefaultTimeout     = 60 * time.Second
	DefaultLifetime    = 300 * time.Second
	DefaultJobLifetime = time.Hour
	DefaultMaxOutput   = 50_000
	DefaultTask        = "default"
)

// longestTimeout is where a limit stops being one: a year. What is asked for
// beyond it is a mistake, and may overflow a time.Duration.
const longestTimeout = 365 * 24 * time.Hour

// Config is what New needs. The zero value is valid: commands run on this
// machine in /tmp, for at most a minute each, and a task that is idle for
// five minutes is closed. A Config may be copied and compared field by field;
// New takes its own copy.
type Config struct {
	// Backend makes the environments. nil: Local{}.
	Backend Backend

	// Dir is the absolute path of the directory commands run in. "": "/tmp",
	// or os.TempDir() on a machine without it. A container gets it made. If it
	// vanishes after a command has run in it, commands of that environment run
	// in its nearest parent that exists, with a Notice, but never in the root:
	// where only that is left, and where Dir never was, they are refused with
	// fs.ErrNotExist.
	Dir string

	// Env is added to every command's environment, on every backend.
	Env map[string]string

	// Timeout is the limit of a command that asks for none. 0: 60 s, or
	// MaxTimeout if that is shorter.
	// Negative: an error from New.
	Timeout time.Duration

	// MaxTimeout is the longest limit a command may ask for; a longer one is
	// refused with advice. 0: no cap (but a year). Negative: an error.
	MaxTimeout time.Duration

	// Lifetime is how long a task may be idle before its executor is closed,
	// counted from the end of its last call. 0: 300 s. Negative: for ever.
	Lifetime time.Duration

	// JobLifetime is how long running jobs alone keep a task that is idle
	// otherwise, counted like Lifetime. They are ended with it then. 0: 1 h.
	// Negative: not at all; a task is closed after Lifetime whatever runs.
	JobLifetime time.Duration

	// MaxOutput is the number of characters (runes) of output in a Result,
	// the mark for what was cut included. 0: 50,000. Negative: an error.
	MaxOutput int

	// KeepHead is the share of MaxOutput that is kept from the start of the
	// output, from 0 to 1; the rest is kept from its end. 0: the end only.
	// 0.4 suits most agents: the first compiler error is at the start.
	KeepHead float64

	// MaxTasks is the number of executors that may be live at once; one more
	// is ErrTooManyTasks. 0: no cap. Negative: an error.
	MaxTasks int

	// Approve is asked before every command, with the request as it will
	// run; its error refuses the command, and nothing runs. It may take its
	// time: the command's limit has not begun. nil: all are allowed. It must
	// be safe for concurrent use.
	Approve func(context.Context, Request) error

	// Logger receives what an operator may want to know: every Event, and
	// what backends have to say. nil: nothing is logged. The library never
	// prints.
	Logger *slog.Logger

	// Observer is told of every Event as it happens. nil: nobody is.
	Observer Observer
}

// Request is one command to run.
type Request struct {
	// Command is a script for bash, or sh where there is no bash. It must
	// not be blank nor have a NUL byte; otherwise its content and its length
	// are free.
	Command string

	// Task names the environment. "": the one in the context (WithTask),
	// else "default". Any text will do.
	Task string

	// Timeout is the limit of this command. 0: Config.Timeout; for Start, no
	// limit. Negative, or longer than Config.MaxTimeout: an error.
	Timeout time.Duration

	// Dir is the working directory; a relative one is taken from Config.Dir.
	// "": Config.Dir.
	Dir string

	// Env is added to the environment, and wins over Config.Env.
	Env map[string]string

	// Stdin is the command's input. nil: end of file at once. A Reader that
	// blocks does not keep Run from returning, but is still being read then.
	Stdin io.Reader

	// Stdout and Stderr, if set, receive the whole output as it is written,
	// unlimited and unrepaired. If they are equal or Stderr is nil, all of it
	// goes to Stdout in true order. A writer that returns an error is dropped;
	// one that blocks holds up the command until its limit.
	Stdout, Stderr io.Writer

	// Ready makes Start wait until the job is ready. nil: it does not wait.
	// For Run it must be nil.
	Ready *Ready
}

// A Terminal gives each task an Executor of its own and runs commands in it.
// Its methods are safe for concurrent use. Commands of different tasks never
// wait for each other; commands of one task run in parallel too.
type Terminal struct {
	cfg    Config
	reg    *registry
	close  sync.Once
	maxLog int // MaxLog, but less for a test
}

// New returns a Terminal for cfg, or an error that names what is wrong in it.
// Nothing is opened before the first command. Call Close when done.
func New(cfg Config) (*Terminal, error) {
	cfg.Backend = cmp.Or[Backend](cfg.Backend, Local{})
	cfg.Dir = cmp.Or(cfg.Dir, defaultDir())
	if cfg.Timeout == 0 && cfg.MaxTimeout > 0 {
		cfg.Timeout = min(DefaultTimeout, cfg.MaxTimeout)
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultTimeout)
	cfg.Lifetime = cmp.Or(cfg.Lifetime, DefaultLifetime)
	cfg.JobLifetime = cmp.Or(cfg.JobLifetime, DefaultJobLifetime)
	cfg.MaxOutput = cmp.Or(cfg.MaxOutput, DefaultMaxOutput)
	cfg.Env = maps.Clone(cfg.Env)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := cfg.validate(); err != nil {
		return nil, &Error{Op: "new", Err: err}
	}
	t := &Terminal{cfg: cfg, reg: newRegistry(cfg), maxLog: MaxLog}
	t.reg.anyRunning = t.anyJobRuns
	return t, nil
}

func defaultDir() string {
	if info, err := os.Stat("/tmp"); err != nil || !info.IsDir() {
		return os.TempDir()
	}
	return "/tmp"
}

func (cfg Config) validate() error {
	switch {
	case !absolute(cfg.Dir):
		return fmt.Errorf("config dir %q: must be an absolute path", cfg.Dir)
	case strings.ContainsRune(cfg.Dir, 0):
		return fmt.Errorf("config dir %q: must not have a NUL byte", cfg.Dir)
	case cfg.MaxTimeout < 0 || cfg.MaxTimeout > longestTimeout:
		return fmt.Errorf("config max timeout %v: must be between 0 (no cap) and %v", cfg.MaxTimeout, longestTimeout)
	case cfg.Timeout < 0 || cfg.Timeout > longestTimeout:
		return fmt.Errorf("config timeout %v: must be between 0 (the default) and %v", cfg.Timeout, longestTimeout)
	case cfg.MaxTimeout > 0 && cfg.Timeout > cfg.MaxTimeout:
		return fmt.Errorf("config timeout %v: must not be above the max timeout of %v", cfg.Timeout, cfg.MaxTimeout)
	case cfg.MaxOutput < 0 || cfg.MaxOutput > math.MaxInt32:
		return fmt.Errorf("config max output %d: must be between 0 (the default) and %d", cfg.MaxOutput, math.MaxInt32)
	case !(cfg.KeepHead >= 0 && cfg.KeepHead <= 1): // NaN is neither
		return fmt.Errorf("config keep head %v: must be a share from 0 to 1", cfg.KeepHead)
	case cfg.MaxTasks < 0:
		return fmt.Errorf("config max tasks %d: must not be negative", cfg.MaxTasks)
	}
	if b, ok := cfg.Backend.(interface{ validate() error }); ok {
		if err := b.validate(); err != nil {
			return err
		}
	}
	return validateEnv(cfg.Env)
}

func absolute(dir string) bool { return path.IsAbs(dir) || filepath.IsAbs(dir) }

// validateEnv keeps to the names that every shell can export.
func validateEnv(env map[string]string) error {
	for name, value := range env {
		if !isName(name) {
			return fmt.Errorf("env name %q: must be letters, digits and underscores, and not begin with a digit", name)
		}
		if strings.ContainsRune(value, 0) {
			return fmt.Errorf("env %s: value must not have a NUL byte", name)
		}
	}
	return nil
}

func isName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// Run runs a command in the task's environment and waits for its end.
//
// A nil error means that the command ran to its own end, whatever its exit
// code. Otherwise the error is an *Error, and the Result says the same as the
// tool's JSON would, with the output so far: ErrTimeout at the limit, ctx's
// error if that ended first, ErrClosed, ErrGone, ErrDenied, ErrUnavailable,
// ErrTooManyTasks, ErrNotStarted if nothing ran, or what else went wrong. In
// each case the command's processes have been ended (D3.5).
//
// Only a command that provably did not start is tried again, three times
// within its limit. The limit begins when the environment is there.
func (t *Terminal) Run(ctx context.Context, req Request) (Result, error) {
	req.Task = taskOf(ctx, req.Task)
	c := &call{terminal: t, req: req}
	err := c.prepare(ctx)
	if err == nil {
		err = c.run(ctx)
	}
	if err != nil {
		c.result.explain(err)
	}
	c.tellEnd(ctx, err)
	if err == nil {
		return c.result, nil
	}
	return c.result, &Error{Op: "run", Backend: c.backend, Task: req.Task, Err: err}
}

// CloseTask ends what runs in the task, closes its executor and forgets it;
// the next call of the task gets a fresh one. An unknown task is no error. It
// waits until all is removed, but not much longer than half a minute, nor
// longer than ctx; the closing goes on then.
func (t *Terminal) CloseTask(ctx context.Context, task string) error {
	return t.reg.closeTask(ctx, cmp.Or(task, DefaultTask))
}

// Close ends everything that runs and closes all executors. It returns when
// they are closed, or after about a minute with an error for those that are
// not. Later calls of any method get ErrClosed; a second Close returns nil.
func (t *Terminal) Close() error {
	var err error
	t.close.Do(func() { err = t.reg.closeAll() })
	return err
}

// Check tells whether the backend can be used here: nil, or an error with
// ErrUnavailable in its chain, the reason and the remedy. It opens nothing.
func (t *Terminal) Check(ctx context.Context) error {
	if err := check(ctx, t.cfg.Backend); err != nil {
		return &Error{Op: "check", Backend: backendName(t.cfg.Backend), Err: err}
	}
	return nil
}

// Stats is a snapshot of a Terminal's registry.
type Stats struct {
	Tasks                   []TaskStats // by name
	Created, Closed, Reaped int64       // executors since New; Reaped ones are in Closed too, once closed
}

// TaskStats is what a Terminal knows about one task that has an executor.
type TaskStats struct {
	Task, Backend string
	Created       time.Time
	Idle          time.Duration // since the end of the last call; 0 while one runs
	Running       int           // calls under way
}

// Stats returns a snapshot. It never waits for a backend.
func (t *Terminal) Stats() Stats { return t.reg.stats() }

type taskKey struct{}

// WithTask returns a context that names the task of the calls made with it,
// so that the host chooses the environment and a model need not. An explicit task,
// such as Request.Task, wins over it; the task_id of a model does not, see
// [Tool.WithTaskID].
func WithTask(ctx context.Context, task string) context.Context {
	return context.WithValue(ctx, taskKey{}, task)
}

// TaskFrom returns the task that WithTask put into the context.
func TaskFrom(ctx context.Context) (string, bool) {
	task, ok := ctx.Value(taskKey{}).(string)
	return task, ok
}

type outputKey struct{}

// WithOutput returns a context that makes the commands of [Terminal.Call] write
// a live copy of their output to w, as Request.Stdout does, so that a host can
// show progress. It has no effect on background jobs, nor on Terminal.Run.
func WithOutput(ctx context.Context, w io.Writer) context.Context {
	return context.WithValue(ctx, outputKey{}, w)
}

func taskOf(ctx context.Context, asked string) string {
	fromCtx, _ := TaskFrom(ctx)
	return cmp.Or(asked, fromCtx, DefaultTask)
}
