package terminal

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// abandonAfter is how long an Executor may take to end a command that it was
// told to end: two seconds between TERM and KILL, and time to see that it
// worked. Then the call returns without it and the environment is given up.
const abandonAfter = 10 * time.Second

// sweepLimit bounds the search for processes that escaped from a command's
// group.
const sweepLimit = 10 * time.Second

// retryDelays are the waits before a command that provably did not start is
// tried again.
var retryDelays = [...]time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second}

// interactive are the variables by which common programs are told that nobody
// will answer, page or edit. They give way to Config.Env and Request.Env.
var interactive = map[string]string{
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

// call is one Run, from its request to its result.
type call struct {
	terminal *Terminal
	req      Request
	backend  string
	runID    string // of the attempt
	out      *output
	deadline time.Time // when the limit is reached; set when the environment is there
	lost     bool      // an environment was found gone
	result   Result

	// What the Terminal runs for a job has these instead of a command.
	script  func(*entry) string
	starts  *JobStatus   // the job that begins with this call, nil if none does
	place   jobPlace     // its own
	dropped bytes.Buffer // ids of jobs that are no more
}

// prepare completes the request and refuses a bad one before anything runs.
func (c *call) prepare(ctx context.Context) error {
	cfg := &c.terminal.cfg
	c.backend = backendName(cfg.Backend)
	if err := c.complete(cfg); err != nil {
		return err
	}
	if cfg.Approve == nil {
		return nil
	}
	if err := recovered("approve", func() error { return cfg.Approve(ctx, c.req) }); err != nil {
		return marked{fmt.Errorf("command was denied: %w", err), ErrDenied}
	}
	return nil
}

func (c *call) complete(cfg *Config) error {
	req := &c.req
	if err := validateCommand(req.Command); err != nil {
		return err
	}
	if req.Timeout == 0 && c.starts == nil {
		req.Timeout = cfg.Timeout
	}
	switch {
	case req.Timeout < 0:
		return fmt.Errorf("timeout %v: must be positive, or 0 for the default of %v", req.Timeout, cfg.Timeout)
	case cfg.MaxTimeout > 0 && req.Timeout > cfg.MaxTimeout:
		return fmt.Errorf("timeout %v: the longest allowed is %v; split the work into shorter commands", req.Timeout, cfg.MaxTimeout)
	case req.Timeout > longestTimeout:
		return fmt.Errorf("timeout %v: must be at most %v", req.Timeout, longestTimeout)
	case req.Ready != nil && c.starts == nil:
		return errors.New("ready: is for a command that is started in the background")
	case strings.ContainsRune(req.Dir, 0):
		return fmt.Errorf("dir %q: must not have a NUL byte", req.Dir)
	case req.Dir == "":
		req.Dir = cfg.Dir
	case !absolute(req.Dir):
		req.Dir = path.Join(filepath.ToSlash(cfg.Dir), req.Dir)
	}
	if err := validateEnv(req.Env); err != nil {
		return err
	}
	req.Env = merge(cfg.Env, req.Env)
	return nil
}

func validateCommand(command string) error {
	switch {
	case strings.TrimSpace(command) == "":
		return errors.New("command: must not be blank")
	case strings.ContainsRune(command, 0):
		return errors.New("command: must not have a NUL byte")
	}
	return nil
}

func merge(layers ...map[string]string) map[string]string {
	all := make(map[string]string)
	for _, layer := range layers {
		maps.Copy(all, layer)
	}
	return all
}

// run tries until the command has run, or cannot. What may have started is
// never tried again.
func (c *call) run(ctx context.Context) error {
	c.out = newOutput(c.terminal.cfg.MaxOutput, c.terminal.cfg.KeepHead)
	defer func() {
		c.result.Output, c.result.Omitted = c.out.end()
		if text := c.out.notice(); text != "" {
			c.notice(text)
		}
	}()
	for attempt := 0; ; attempt++ {
		err := c.attempt(ctx)
		if err == nil || attempt == len(retryDelays) || !retryable(err) {
			return err
		}
		if errors.Is(err, ErrGone) {
			continue
		}
		delay := retryDelays[attempt]
		if !c.deadline.IsZero() && time.Until(c.deadline) < delay {
			return err
		}
		c.tell(ctx, Event{Kind: EventRetried, Duration: delay, Err: err})
		if !c.sleep(ctx, delay) {
			return err
		}
	}
}

// sleep waits between two tries, unless the caller or the Terminal ends.
func (c *call) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-c.terminal.reg.ctx.Done():
	}
	return false
}

// retryable tells whether nothing ran, and another try may go better.
func retryable(err error) bool {
	if !errors.Is(err, ErrNotStarted) {
		return false
	}
	for _, final := range []error{
		ErrUnavailable, ErrClosed, errors.ErrUnsupported,
		fs.ErrNotExist, fs.ErrPermission, fs.ErrInvalid, syscall.ENOTDIR, syscall.E2BIG,
	} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

// attempt runs the command in the task's environment, if it can be had.
func (c *call) attempt(ctx context.Context) error {
	reg := c.terminal.reg
	e, err := reg.acquire(ctx, c.req.Task)
	if err != nil {
		if ctx.Err() != nil {
			return cancelled(ctx)
		}
		return err
	}
	defer reg.release(e)
	c.backend = e.backend
	if c.deadline.IsZero() {
		c.deadline = time.Now().Add(c.req.Timeout)
	}
	c.runID = newRunID()
	if c.script == nil {
		c.tell(ctx, Event{Kind: EventStarted, Command: c.req.Command})
	}
	err = c.exec(ctx, e)
	gone, never := errors.Is(err, ErrGone), errors.Is(err, ErrNotStarted)
	if gone {
		reg.drop(ctx, e, err)
	}
	switch {
	case gone && never:
		c.lost = true
		reg.lose(c.req.Task, true)
	case !gone && !never && c.script == nil:
		if reg.lose(c.req.Task, false) || c.lost {
			c.notice("the environment had gone, so the command ran in a new one: files from before are not there")
		}
	}
	if err == nil && c.starts != nil && c.result.ExitCode == 0 {
		reg.keepJob(e, *c.starts, strings.Fields(c.dropped.String()))
	}
	return err
}

// exec runs the command in its directory. If that is Config.Dir, existed in this
// environment and has vanished, the command runs in the nearest parent that
// exists, and a notice says so. The root is not such a parent: a command meant
// for a directory of its own, such as "rm -rf *", must not run there.
func (c *call) exec(ctx context.Context, e *entry) error {
	own := c.terminal.cfg.Dir
	err := c.execIn(ctx, e, c.req.Dir)
	if c.req.Dir != own {
		return err
	}
	if !errors.Is(err, ErrNotStarted) {
		e.dirSeen.Store(true)
	}
	if !isBadDir(err) || !e.dirSeen.Load() {
		return err
	}
	for dir := parent(own); !isRoot(dir); dir = parent(dir) {
		inParent := c.execIn(ctx, e, dir)
		if isBadDir(inParent) {
			continue
		}
		if inParent == nil {
			c.notice(fmt.Sprintf("directory %q no longer exists, so the command ran in %q", own, dir))
		}
		return inParent
	}
	return err
}

func isBadDir(err error) bool {
	return errors.Is(err, ErrNotStarted) && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR))
}

func parent(dir string) string {
	if path.IsAbs(dir) {
		return path.Dir(dir)
	}
	return filepath.Dir(dir)
}

func isRoot(dir string) bool { return parent(dir) == dir }

// execIn runs the command once, until its end, its limit, or the end of
// ctx or the task, and sees to it that nothing of it is left after the latter.
func (c *call) execIn(ctx context.Context, e *entry, dir string) error {
	runID := c.runID
	script, stdin := c.req.Command, c.req.Stdin
	if c.script != nil {
		script = c.script(e)
	}
	if len(script) >= longScript {
		script, stdin = feedScript(script, runID, stdin)
	}
	stdout, stderr := c.out.streams(c.req.Stdout, c.req.Stderr)
	cmd := Command{
		Script: script,
		Dir:    dir,
		Env:    merge(interactive, c.req.Env, map[string]string{RunIDEnv: runID}),
		Stdin:  stdin,
		Stdout: stdout,
		Stderr: stderr,
	}

	limit := &stopCause{ErrTimeout}
	run, stop := context.WithDeadlineCause(ctx, c.deadline, limit)
	defer stop()
	run, task, release := e.bind(run)
	defer release()

	began := time.Now()
	var code int
	returned, err := bounded(run, "exec command", func() (err error) {
		code, err = e.ex.Exec(run, cmd)
		return err
	})
	c.result.Duration = time.Since(began)
	if err == nil && returned {
		c.result.ExitCode = code
		if c.script == nil && maySurvive(e.ex, runID, c.req.Command) {
			c.adopt(ctx, e, runID)
		}
		return nil
	}
	stopped := run.Err() != nil
	if !stopped && errors.Is(err, ErrNotStarted) {
		return err
	}
	if !errors.Is(err, ErrGone) {
		c.sweep(ctx, e, runID, returned)
	}
	if stopped {
		return c.stopped(ctx, run, limit, task)
	}
	if gone := ping(ctx, e.ex); errors.Is(gone, ErrGone) && !errors.Is(err, ErrGone) {
		return errors.Join(err, gone)
	}
	return err
}

// bounded calls f, but it also returns when f does not, some time after ctx
// has ended. f must not be relied on then.
func bounded(ctx context.Context, op string, f func() error) (returned bool, err error) {
	done := make(chan error, 1)
	go func() { done <- recovered(op, f) }()
	select {
	case err := <-done:
		return true, err
	case <-ctx.Done():
	}
	timer := time.NewTimer(abandonAfter)
	defer timer.Stop()
	select {
	case err := <-done:
		return true, err
	case <-timer.C:
		return false, nil
	}
}

// sweep ends what a command left after its Executor was to have ended it. An
// environment in which that fails is not to be trusted with another command.
func (c *call) sweep(ctx context.Context, e *entry, runID string, returned bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepLimit)
	defer cancel()
	err := kill(ctx, e.ex, runID)
	if returned && err == nil || errors.Is(err, ErrClosed) || e.ctx.Err() != nil {
		return
	}
	c.notice("some processes of the command could not be ended, so its environment was closed; the next command gets a new one")
	if err == nil {
		err = errors.New("backend does not answer")
	}
	c.terminal.reg.drop(ctx, e, fmt.Errorf("processes not ended: %w", err))
}

// stopCause is the cause of a context that the Terminal itself ended. It is told
// from other causes by its address: those are the caller's, may be equal to it,
// and == panics if they are of an uncomparable type.
type stopCause struct{ error }

func (s *stopCause) Unwrap() error { return s.error }

// ended reports whether s is what ended ctx.
func (s *stopCause) ended(ctx context.Context) bool {
	cause, ok := context.Cause(ctx).(*stopCause)
	return ok && cause == s
}

// stopped returns the error of a command whose context run has ended. What ended
// it, if neither the limit nor the task did, is the caller's ctx.
func (c *call) stopped(ctx, run context.Context, limit, task *stopCause) error {
	switch {
	case limit.ended(run):
		text := fmt.Errorf("command reached its limit of %v and was ended; ask for a longer timeout if it needs more", c.req.Timeout)
		return ended{marked{text, ErrTimeout}, exitTimeout, StatusTimeout}
	case !task.ended(run):
		return cancelled(ctx)
	case errors.Is(task, ErrGone):
		return fmt.Errorf("environment was lost while the command ran: %w", ErrGone)
	default:
		return ended{fmt.Errorf("command was ended: %w", task.error), exitUnknown, StatusClosed}
	}
}

// cancelled is the error of a call whose caller gave it up.
func cancelled(ctx context.Context) error {
	return ended{marked{fmt.Errorf("command was cancelled: %w", context.Cause(ctx)), ctx.Err()}, exitCancelled, StatusCancelled}
}

// ended is an error that knows the exit code and the status that go with it.
type ended struct {
	error
	code   int
	status Status
}

func (e ended) Unwrap() error { return e.error }

// explain makes the result say what the error says.
func (r *Result) explain(err error) {
	r.Error = err.Error()
	r.ExitCode, r.Status = exitUnknown, StatusError
	var e ended
	switch {
	case errors.As(err, &e):
		r.ExitCode, r.Status = e.code, e.status
	case errors.Is(err, ErrUnavailable):
		r.Status = StatusDisabled
	case errors.Is(err, ErrDenied):
		r.Status = StatusDenied
	case errors.Is(err, ErrGone):
		r.Status = StatusLost
	case errors.Is(err, ErrClosed):
		r.Status = StatusClosed
	}
}

// tell completes an event with what is known of the call.
func (c *call) tell(ctx context.Context, e Event) {
	e.Task, e.Backend, e.RunID = c.req.Task, c.backend, c.runID
	c.terminal.reg.tell(ctx, e)
}

// tellEnd tells how the command has ended, or that it has not run.
func (c *call) tellEnd(ctx context.Context, err error) {
	e := Event{
		Kind: EventFailed, Command: c.req.Command, JobID: c.result.JobID, ExitCode: c.result.ExitCode, Status: c.result.Status,
		Duration: c.result.Duration, Omitted: c.result.Omitted, Err: err,
	}
	if c.out != nil {
		e.Bytes = c.out.bytes
	}
	switch {
	case err == nil:
		e.Kind = EventEnded
	case c.runID == "":
	case e.Status == StatusTimeout:
		e.Kind = EventTimedOut
	case e.Status == StatusCancelled || e.Status == StatusClosed:
		e.Kind = EventKilled
	}
	if e.Omitted > 0 {
		c.tell(ctx, Event{Kind: EventCut, Bytes: e.Bytes, Omitted: e.Omitted})
	}
	c.tell(ctx, e)
}

func (c *call) notice(text string) {
	if c.result.Notice != "" {
		text = c.result.Notice + "; " + text
	}
	c.result.Notice = text
}

func newRunID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand
	return hex.EncodeToString(id[:])
}
