// This file holds Config, Request and the Terminal's life: New, Check, Stats,
// CloseTask and Close. Running commands is left to run.go, job.go and file.go.

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

	"github.com/terminal-go/terminal/internal/job"
	"github.com/terminal-go/terminal/internal/spawn"
	"github.com/terminal-go/terminal/internal/toolspec"
)

// The defaults of Config's zero values.
const (
	DefaultTimeout     = 60 * time.Second
	DefaultLifetime    = 300 * time.Second
	DefaultJobLifetime = time.Hour
	DefaultMaxOutput   = 50_000
	DefaultTask        = "default"
)

// longestTimeout is the longest accepted limit, one year. A longer one is a
// mistake, and adding it to a time may overflow.
const longestTimeout = toolspec.LongestTimeout

// Config configures a Terminal. The zero value is valid: commands run on this
// machine in /tmp with a limit of 60 s, and a task is closed after 300 s without
// a call. New copies the Config.
type Config struct {
	// Backend opens the environments. If Backend is nil, it is Local{}.
	Backend Backend

	// Dir is the absolute path of the directory that commands run in. If Dir
	// is "", it is "/tmp", or os.TempDir() if there is no /tmp. Container
	// backends create it.
	//
	// If Dir vanishes after a command has run in it, later commands run in its
	// nearest existing parent, with a Notice, but never in the root directory.
	// If no other parent exists, or no command has run in Dir before, they
	// fail with fs.ErrNotExist.
	Dir string

	// Env is added to the environment variables of every command.
	Env map[string]string

	// Timeout is the limit of a command whose request has none. If it is 0,
	// it is 60 s, or MaxTimeout if that is shorter. If it is negative, New
	// returns an error.
	Timeout time.Duration

	// MaxTimeout is the longest limit that a request may have; a longer one is
	// an error. If it is 0, the longest is one year. If it is negative, New
	// returns an error.
	MaxTimeout time.Duration

	// Lifetime is how long a task may be idle before its environment is
	// closed, counted from the end of its last call. If it is 0, it is 300 s.
	// If it is negative, idle tasks are never closed.
	Lifetime time.Duration

	// JobLifetime is how long running jobs keep an idle task open, counted
	// from the end of its last call. The jobs are killed when the task is
	// closed. If it is 0, it is one hour. If it is negative, jobs do not keep
	// a task open: it is closed after Lifetime.
	JobLifetime time.Duration

	// MaxOutput is the largest number of characters (runes) in Result.Output,
	// including the line that marks omitted output. If it is 0, it is 50,000.
	// If it is negative, New returns an error.
	MaxOutput int

	// KeepHead is the share of MaxOutput, from 0 to 1, that is kept from the
	// start of longer output; the rest is kept from its end. If it is 0, only
	// the end is kept. Compilers print the first error early, so 0.4 suits
	// most agents.
	KeepHead float64

	// MaxTasks is the largest number of open executors. A call that needs
	// another fails with ErrTooManyTasks. If it is 0, there is no limit. If it
	// is negative, New returns an error.
	MaxTasks int

	// Approve is called before every command with the complete request. If it
	// returns an error, nothing runs and the call fails with ErrDenied. The
	// time it takes does not count towards the command's limit. It must be
	// safe for concurrent use. If Approve is nil, all commands are allowed.
	Approve func(context.Context, Request) error

	// Logger receives every Event and the messages of backends. If Logger is
	// nil, nothing is logged. The library never prints.
	Logger *slog.Logger

	// Observer receives every Event when it happens. It may be nil.
	Observer Observer
}

// Request is one command to run.
type Request struct {
	// Command is a script for bash, or for sh if the environment has no bash.
	// It may have any length. A blank command or a NUL byte is an error.
	Command string

	// Task is the name of the task whose environment the command runs in. It
	// may be any text. If it is "", it is the task of the context (see
	// WithTask), else "default".
	Task string

	// Timeout is the command's limit. If it is 0, it is Config.Timeout for
	// Run and no limit for Start. If it is negative or longer than
	// Config.MaxTimeout, the call fails.
	Timeout time.Duration

	// Dir is the working directory. If Dir is "", it is Config.Dir. A relative
	// path is relative to Config.Dir.
	Dir string

	// Env is added to the command's environment variables. It overrides
	// Config.Env.
	Env map[string]string

	// Stdin is the command's standard input. If Stdin is nil, the command
	// reads end of file at once. Run may return while a Read of Stdin is
	// still blocked.
	Stdin io.Reader

	// Stdout and Stderr, if not nil, receive the whole output as it is
	// written, without a limit and byte for byte. If they are equal or Stderr
	// is nil, Stdout receives both in the order in which they were written. A
	// writer that returns an error is not called again. A writer that blocks
	// stalls the command until its limit.
	Stdout, Stderr io.Writer

	// Ready makes Start wait until the job is ready. If Ready is nil, Start
	// does not wait. It must be nil for Run.
	Ready *Ready
}

// A Terminal gives each task an Executor of its own and runs commands in it. Its
// methods are safe for concurrent use. Calls run in parallel, also within one
// task.
type Terminal struct {
	cfg      Config
	reg      *registry
	lostJobs job.Lost // jobs whose environments have vanished
	close    sync.Once
	maxLog   int // MaxLog, or less in a test
}

// New returns a Terminal for cfg. It returns an error if a value of cfg is
// invalid. No environment is opened before the first call. The caller must call
// Close.
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
	t.reg.hasRunningJob = t.hasRunningJob
	t.reg.retire = func(e *entry) { t.lostJobs.Add(e.task, &e.jobs) }
	return t, nil
}

// defaultDir returns /tmp, or os.TempDir() if /tmp is not a directory, as on
// Windows. os.TempDir() is not the first choice, because it depends on TMPDIR
// of this process, which an environment need not have.
func defaultDir() string {
	if info, err := os.Stat("/tmp"); err != nil || !info.IsDir() {
		return os.TempDir()
	}
	return "/tmp"
}

// validate returns an error that names the first invalid value of cfg.
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
	case !(cfg.KeepHead >= 0 && cfg.KeepHead <= 1): // written so that NaN fails too
		return fmt.Errorf("config keep head %v: must be a share from 0 to 1", cfg.KeepHead)
	case cfg.MaxTasks < 0:
		return fmt.Errorf("config max tasks %d: must not be negative", cfg.MaxTasks)
	}
	if b, ok := cfg.Backend.(interface{ validate() error }); ok {
		if err := b.validate(); err != nil {
			return err
		}
	}
	return spawn.ValidateEnv(cfg.Env)
}

// absolute reports whether dir is absolute here or in a Unix environment. The two
// differ on Windows.
func absolute(dir string) bool { return path.IsAbs(dir) || filepath.IsAbs(dir) }

// CloseTask kills what runs in the task and closes its environment. The task's
// next call opens another. If task is "", it is "default". For a task without an
// environment CloseTask returns nil. It waits until the environment is removed,
// for at most 45 s (15 s for calls to return, 30 s for the backend) and no longer
// than ctx; closing then continues in the background.
func (t *Terminal) CloseTask(ctx context.Context, task string) error {
	return t.reg.closeTask(ctx, cmp.Or(task, DefaultTask))
}

// Close kills everything that runs and closes all environments. It waits for at
// most 75 s and returns an error for those that are not closed by then. Calls
// after Close fail with ErrClosed. A second Close returns nil.
func (t *Terminal) Close() error {
	var err error
	t.close.Do(func() { err = t.reg.closeAll() })
	return err
}

// Check returns nil if the backend can be used here. Otherwise the error matches
// ErrUnavailable and names the reason and the remedy. It opens no environment.
func (t *Terminal) Check(ctx context.Context) error {
	if err := check(ctx, t.cfg.Backend); err != nil {
		return &Error{Op: "check", Backend: backendName(t.cfg.Backend), Err: err}
	}
	return nil
}

// Stats is a snapshot of a Terminal's tasks and counters.
type Stats struct {
	Tasks                   []TaskStats // sorted by name
	Created, Closed, Reaped int64       // executors since New; Closed includes reaped ones, once closed
}

// TaskStats describes one task that has an executor.
type TaskStats struct {
	Task, Backend string
	Created       time.Time
	Idle          time.Duration // since the end of the last call; 0 while one runs
	Running       int           // calls under way
}

// Stats returns a snapshot. It never waits for a backend.
func (t *Terminal) Stats() Stats { return t.reg.stats() }

// taskKey is the context key of WithTask.
type taskKey struct{}

// WithTask returns a context that sets the task of calls made with it, so that
// the host and not the model chooses the environment. An explicit task, such as
// Request.Task, overrides it. The task_id of a model does not; see
// [Tool.WithTaskID].
func WithTask(ctx context.Context, task string) context.Context {
	return context.WithValue(ctx, taskKey{}, task)
}

// TaskFrom returns the task that WithTask set, and whether there is one.
func TaskFrom(ctx context.Context) (string, bool) {
	task, ok := ctx.Value(taskKey{}).(string)
	return task, ok
}

// outputKey is the context key of WithOutput.
type outputKey struct{}

// WithOutput returns a context with which the commands of [Terminal.Call] also
// write their output to w while they run, as with Request.Stdout. A host can use
// it to show progress. It has no effect on background jobs and on Terminal.Run.
func WithOutput(ctx context.Context, w io.Writer) context.Context {
	return context.WithValue(ctx, outputKey{}, w)
}

// taskOf returns asked if it is not "", else the context's task, else "default".
func taskOf(ctx context.Context, asked string) string {
	fromCtx, _ := TaskFrom(ctx)
	return cmp.Or(asked, fromCtx, DefaultTask)
}
