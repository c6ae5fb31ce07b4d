// This file holds Terminal.Run: validation of a request, one command from start
// to end, and its events. Retries, limits and the use of an environment are left
// to lease.go.

package terminal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/terminal-go/terminal/internal/capture"
	"github.com/terminal-go/terminal/internal/job"
	"github.com/terminal-go/terminal/internal/spawn"
)

// nonInteractive are variables that keep common programs from waiting for a
// person: no pager, editor or prompt, and no color codes in the output.
// Config.Env and Request.Env override them.
var nonInteractive = map[string]string{
	"PAGER":               "cat",
	"GIT_PAGER":           "cat",
	"MANPAGER":            "cat",
	"SYSTEMD_PAGER":       "cat",
	"EDITOR":              "false",
	"VISUAL":              "false",
	"GIT_EDITOR":          "false",
	"GIT_SEQUENCE_EDITOR": "false",
	"GIT_MERGE_AUTOEDIT":  "no",
	"GIT_TERMINAL_PROMPT": "0",
	"GCM_INTERACTIVE":     "never",
	"GH_PROMPT_DISABLED":  "1",
	"SSH_ASKPASS_REQUIRE": "never",
	"DEBIAN_FRONTEND":     "noninteractive",
	"PIP_NO_INPUT":        "1",
	"NO_COLOR":            "1",
	"TERM":                "dumb",
}

// commandEnv returns nonInteractive, env and the run ID as one map.
func commandEnv(env map[string]string, runID string) map[string]string {
	return spawn.MergeEnv(nonInteractive, env, map[string]string{RunIDEnv: runID})
}

// Run runs a command in the task's environment and waits for its end.
//
// A nil error means that the command ran to its own end, whatever its exit code.
// Otherwise the error is an *Error. It matches ErrTimeout if the command reached
// its limit, ctx's error if ctx ended first, ErrNotStarted if nothing ran, or
// ErrClosed, ErrGone, ErrDenied, ErrUnavailable or ErrTooManyTasks. With an error
// the Result has the output so far, the exit code and the status, and all
// processes of the command have been killed.
//
// A command that provably did not start is retried up to three times, after 2, 4
// and 8 seconds, within its limit. No command runs twice. The limit starts when
// the environment is open.
func (t *Terminal) Run(ctx context.Context, req Request) (Result, error) {
	req.Task = taskOf(ctx, req.Task)
	r := &run{terminal: t, req: req, backend: backendName(t.cfg.Backend)}
	err := t.prepare(ctx, &r.req, false)
	if err == nil {
		err = r.try(ctx)
	}
	r.result.Notice = r.notices.text
	if err != nil {
		r.result.explain(err)
	}
	r.notifyEnd(ctx, err)
	if err == nil {
		return r.result, nil
	}
	return r.result, &Error{Op: "run", Backend: r.backend, Task: req.Task, Err: err}
}

// run holds the state of one Run call.
type run struct {
	terminal *Terminal
	req      Request // completed by prepare
	backend  string
	runID    string // of the latest attempt; "" before the first
	output   *capture.Output
	lost     bool // an earlier attempt found that the environment had vanished
	notices  notices
	result   Result
}

// prepare fills in req's defaults, validates it, and calls Config.Approve.
// background is true for Start. No environment is opened before it succeeds.
func (t *Terminal) prepare(ctx context.Context, req *Request, background bool) error {
	if err := t.cfg.complete(req, background); err != nil {
		return err
	}
	if t.cfg.Approve == nil {
		return nil
	}
	if err := spawn.Recover("approve", func() error { return t.cfg.Approve(ctx, *req) }); err != nil {
		return spawn.Mark(fmt.Errorf("command was denied: %w", err), ErrDenied)
	}
	return nil
}

// complete fills in req's defaults from cfg. It returns an error if a value of
// req is invalid. For a background request, a zero Timeout means no limit.
func (cfg *Config) complete(req *Request, background bool) error {
	if err := validateCommand(req.Command); err != nil {
		return err
	}
	if req.Timeout == 0 && !background {
		req.Timeout = cfg.Timeout
	}
	switch {
	case req.Timeout < 0:
		return fmt.Errorf("timeout %v: must be positive, or 0 for the default of %v", req.Timeout, cfg.Timeout)
	case cfg.MaxTimeout > 0 && req.Timeout > cfg.MaxTimeout:
		return fmt.Errorf("timeout %v: the longest allowed is %v; split the work into shorter commands", req.Timeout, cfg.MaxTimeout)
	case req.Timeout > longestTimeout:
		return fmt.Errorf("timeout %v: must be at most %v", req.Timeout, longestTimeout)
	case req.Ready != nil && !background:
		return errors.New("ready: is for a command that is started in the background")
	case strings.ContainsRune(req.Dir, 0):
		return fmt.Errorf("dir %q: must not have a NUL byte", req.Dir)
	case req.Dir == "":
		req.Dir = cfg.Dir
	case !absolute(req.Dir):
		req.Dir = path.Join(filepath.ToSlash(cfg.Dir), req.Dir)
	}
	if err := spawn.ValidateEnv(req.Env); err != nil {
		return err
	}
	req.Env = spawn.MergeEnv(cfg.Env, req.Env)
	return nil
}

// validateCommand returns an error for a blank command, and for one with a NUL
// byte, which cannot be part of an argument (execve(2)).
func validateCommand(command string) error {
	switch {
	case strings.TrimSpace(command) == "":
		return errors.New("command: must not be blank")
	case strings.ContainsRune(command, 0):
		return errors.New("command: must not have a NUL byte")
	}
	return nil
}

// try runs the command, with retries, and fills in the result.
func (r *run) try(ctx context.Context) error {
	r.output = capture.NewOutput(r.terminal.cfg.MaxOutput, r.terminal.cfg.KeepHead)
	defer func() {
		r.result.Output, r.result.Omitted = r.output.End()
		if text := r.output.Notice(); text != "" {
			r.notices.add(text)
		}
	}()
	return r.terminal.withLease(ctx, r.req.Task, attempts{
		subject: "command",
		limit:   r.req.Timeout,
		retrying: func(delay time.Duration, err error) {
			r.notify(ctx, Event{Kind: EventRetried, Duration: delay, Err: err})
		},
		notices: &r.notices,
	}, r.attempt)
}

// attempt runs the command once, in the lease's environment. If the command ran
// in a new environment because the old one had vanished, it adds a notice.
func (r *run) attempt(l *lease) error {
	r.backend, r.runID = l.backend, spawn.NewRunID()
	r.notify(l.ctx, Event{Kind: EventStarted, Command: r.req.Command})
	err := l.inDirectory(r.req.Dir, func(dir string) error { return r.exec(l, dir) })
	switch gone, never := errors.Is(err, ErrGone), errors.Is(err, ErrNotStarted); {
	case gone && never:
		r.lost = true
	case !gone && !never:
		if r.terminal.reg.takeGone(r.req.Task) || r.lost {
			r.notices.add("the environment had gone, so the command ran in a new one: files from before are not there")
		}
	}
	return err
}

// inDirectory calls f with the directory want. If want is Config.Dir, a command
// has run in it, and it has vanished, inDirectory calls f with the nearest
// existing parent and adds a notice. It never uses the root directory: a command
// such as "rm -rf *" that was written for Config.Dir must not run there.
func (l *lease) inDirectory(want string, f func(dir string) error) error {
	own := l.terminal.cfg.Dir
	var missing error // the first error, which names want
	for dir := want; ; {
		err := f(dir)
		if !isMissingDir(err) {
			if dir == own && !errors.Is(err, ErrNotStarted) {
				l.dirSeen.Store(true)
			} else if err == nil && dir != want {
				l.notices.add(fmt.Sprintf("directory %q no longer exists, so the command ran in %q", want, dir))
			}
			return err
		}
		if missing == nil {
			missing = err
		}
		up := parent(dir)
		if want != own || !l.dirSeen.Load() || up == parent(up) {
			return missing
		}
		dir = up
	}
}

// isMissingDir reports whether err means that Command.Dir does not exist.
func isMissingDir(err error) bool {
	return errors.Is(err, ErrNotStarted) && isAny(err, fs.ErrNotExist, syscall.ENOTDIR)
}

// parent returns the parent of an absolute path, in an environment or here.
func parent(dir string) string {
	if path.IsAbs(dir) {
		return path.Dir(dir)
	}
	return filepath.Dir(dir)
}

// exec runs the command in dir and turns processes that it leaves into a job.
func (r *run) exec(l *lease, dir string) error {
	stdout, stderr := r.output.Streams(r.req.Stdout, r.req.Stderr)
	code, err := l.exec(Command{
		Script: r.req.Command,
		Dir:    dir,
		Env:    commandEnv(r.req.Env, r.runID),
		Stdin:  r.req.Stdin,
		Stdout: stdout,
		Stderr: stderr,
	})
	r.result.Duration = l.took
	if err != nil {
		return err
	}
	r.result.ExitCode = code
	if maySurvive(l.ex, r.runID, r.req.Command) {
		r.adopt(l)
	}
	return nil
}

// A Survivors is an Executor that can report cheaply whether a command left
// processes running. If so, the Terminal searches the environment for them and
// makes them a job of the task. For other Executors, a Terminal searches after
// commands whose last 48 KiB contain a single &, nohup, setsid, disown, coproc,
// or a word with daemon.
type Survivors interface {
	// Survivors reports whether the command with this run ID left processes
	// running.
	//
	//  1. A Terminal calls it at most once for each command, after Exec has
	//     returned a nil error. It does not call it for scripts of its own, so
	//     an implementation must bound what it records.
	//  2. A wrong true costs a search that finds nothing. A wrong false leaves
	//     processes that no job names.
	Survivors(runID string) bool
}

// maySurvive reports whether the command may have left processes running.
func maySurvive(ex Executor, runID, command string) bool {
	if s, ok := capability[Survivors](ex); ok {
		return s.Survivors(runID)
	}
	return spawn.MayLeaveProcesses(command[max(0, len(command)-longScript):])
}

// adopt makes a job of the processes that the command left running, if any. The
// command has succeeded already, so an error here becomes a notice.
func (r *run) adopt(l *lease) {
	status, left, err := l.adopt(r.req.Command, r.runID)
	switch {
	case errors.Is(err, job.ErrNoSurvivors):
		return
	case err != nil:
		r.terminal.cfg.Logger.Info("search for processes left by a command", "task", l.task, "backend", l.backend, "error", err)
		r.notices.add(fmt.Sprintf("the command may have left processes running, which are not listed as a job: %v", err))
		return
	}
	r.result.JobID, r.result.LogPath = status.ID, status.LogPath
	r.notify(l.ctx, Event{Kind: EventJobStarted, JobID: status.ID, Command: status.Command})
	what := "a process of the command still runs"
	if left > 1 {
		what = fmt.Sprintf("%d processes of the command still run", left)
	}
	r.notices.add(what + ", as job " + status.ID)
}

// notify fills in the task, backend and run ID of e and sends it to the
// observer.
func (r *run) notify(ctx context.Context, e Event) {
	e.Task, e.Backend, e.RunID = r.req.Task, r.backend, r.runID
	r.terminal.reg.notify(ctx, e)
}

// notifyEnd reports how the command ended, or that it did not run.
func (r *run) notifyEnd(ctx context.Context, err error) {
	e := Event{
		Kind: EventFailed, Command: r.req.Command, JobID: r.result.JobID, ExitCode: r.result.ExitCode, Status: r.result.Status,
		Duration: r.result.Duration, Omitted: r.result.Omitted, Err: err,
	}
	if r.output != nil {
		e.Bytes = r.output.Bytes()
	}
	switch {
	case err == nil:
		e.Kind = EventEnded
	case r.runID == "":
	case e.Status == StatusTimeout:
		e.Kind = EventTimedOut
	case e.Status == StatusCancelled || e.Status == StatusClosed:
		e.Kind = EventKilled
	}
	if e.Omitted > 0 {
		r.notify(ctx, Event{Kind: EventCut, Bytes: e.Bytes, Omitted: e.Omitted})
	}
	r.notify(ctx, e)
}
