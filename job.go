// This file holds background jobs: Start, the methods of Job, and Ready. The
// scripts of supervisors, their answers and the ledger of an environment's jobs
// are in internal/job; the lifetime of jobs is in cleanup.go.

package terminal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/terminal-go/terminal/internal/capture"
	"github.com/terminal-go/terminal/internal/job"
	"github.com/terminal-go/terminal/internal/shellscript"
	"github.com/terminal-go/terminal/internal/spawn"
)

// The bounds of background jobs.
const (
	// MaxJobs is the largest number of jobs of a task. Another Start drops the
	// oldest finished job, or fails with ErrTooManyJobs if all are running.
	MaxJobs = job.MaxJobs

	// MaxLog is the size in bytes at which a job's log drops its oldest part.
	// At least half of it is kept.
	MaxLog = job.MaxLog

	// JobRetention is how long a finished job is kept.
	JobRetention = job.Retention
)

// jobLimit bounds a request about a job.
const jobLimit = 30 * time.Second

// defaultLogPart is the number of bytes that Job.Output returns by default.
const defaultLogPart = 64 << 10

// maxAnswer is the largest answer in bytes to a request about jobs: a part of a
// log, or the commands of all jobs.
const maxAnswer = job.MaxOutput + 4096

// A Job is a command that runs in the background. Its supervisor and its files are
// in the task's environment and not in this process. A broken connection does not
// end it, and another Terminal on the same environment finds it by its ID. It ends
// with its environment.
//
// The methods are safe for concurrent use. Each is a call of the task and restarts
// its idle time. Their error is an *Error, as that of Terminal.Run. It matches
// ErrUnknownJob if the job was dropped (see MaxJobs and JobRetention) or its
// environment was closed, and, once, ErrGone if the environment vanished.
type Job struct {
	terminal *Terminal
	task     string
	status   JobStatus // when the Job was created; only ID and LogPath never change
}

// JobStatus is a snapshot of a job.
type JobStatus struct {
	ID      string
	Command string // the script; its first 4 KiB if it is longer
	LogPath string // in the task's environment
	Running bool

	// ExitCode is the script's exit code; 128+n if signal n killed it; 124 if
	// it reached its limit; 126 if the environment lacks a program that jobs
	// need, which the log names; 0 while the job runs. It is -1 if it is not
	// known, because the environment vanished or because the job consists of
	// processes that a command left behind.
	ExitCode int

	// Started is the time on this machine's clock. Ended is Started plus the
	// time that passed on the environment's clock, in whole seconds if its
	// date(1) has no fractions. Ended is zero while the job runs.
	Started, Ended time.Time

	// LogSize is the number of bytes written so far, including those that the
	// log has dropped.
	LogSize int64
}

// ID returns the job's ID, which consists of letters and digits and is unique in
// its task.
func (j *Job) ID() string { return j.status.ID }

// LogPath returns the path of the job's log in the environment. The file holds at
// most the last 16 MiB. Files named log.N beside it hold earlier output, starting
// at byte N.
func (j *Job) LogPath() string { return j.status.LogPath }

// Start starts a command in the background. It returns when the job's supervisor
// runs, without waiting for the command. The script runs as with Run. A script
// with a syntax error or a missing program is a job that ends at once, with the
// shell's exit code and message.
//
// The job's log receives stdout and stderr in the order in which they are written,
// so Request.Stdout and Request.Stderr must be nil. If Request.Stdin is not nil,
// Start sends all of it; otherwise Job.Write sends input until Job.CloseStdin.
// After Request.Timeout the supervisor kills the job's process group, and the exit
// code is 124; 0 means no limit.
//
// If Request.Ready is not nil, Start waits until the job is ready. If it is not
// ready in time, the error matches ErrTimeout and the job runs on; if it ended
// first, the error matches os.ErrProcessDone. In these two cases the Job is not
// nil; with any other error it is nil.
func (t *Terminal) Start(ctx context.Context, req Request) (*Job, error) {
	req.Task = taskOf(ctx, req.Task)
	s := &start{terminal: t, req: req, backend: backendName(t.cfg.Backend)}
	err := s.try(ctx)
	e := Event{Kind: EventJobStarted, Task: req.Task, Backend: s.backend, Command: req.Command, JobID: s.status.ID}
	if s.status.ID != "" {
		e.RunID = job.RunID(s.status.ID)
	}
	if err != nil {
		var r Result
		r.explain(err)
		e.Kind, e.JobID, e.ExitCode, e.Status, e.Err = EventFailed, "", r.ExitCode, r.Status, err
	}
	t.reg.notify(ctx, e)
	if err != nil {
		return nil, &Error{Op: "start", Backend: s.backend, Task: req.Task, Err: err}
	}
	j := &Job{terminal: t, task: req.Task, status: JobStatus(s.status)}
	if req.Ready != nil {
		if err := j.awaitReady(ctx, *req.Ready); err != nil {
			return j, &Error{Op: "start", Backend: s.backend, Task: req.Task, Err: err}
		}
	}
	return j, nil
}

// start holds the state of one Start call.
type start struct {
	terminal *Terminal
	req      Request
	backend  string
	status   job.Status
	place    job.Place
	entry    *entry // the environment of place
}

// try validates the request, checks that Ready.Port is free, and starts the job.
func (s *start) try(ctx context.Context) error {
	if s.req.Stdout != nil || s.req.Stderr != nil {
		return errors.New("stdout and stderr: must be nil for a job, whose output is in its log")
	}
	if err := s.req.Ready.validate(); err != nil {
		return err
	}
	if err := s.terminal.prepare(ctx, &s.req, true); err != nil {
		return err
	}
	if r := s.req.Ready; r != nil && r.Port != 0 {
		err := s.terminal.withLease(ctx, s.req.Task, attempts{subject: "request", limit: jobLimit}, func(l *lease) error {
			_, err := l.ask(question{request: job.CheckPort(r.Port)})
			return err
		})
		if err != nil {
			return err
		}
	}
	s.status = job.NewStatus(s.req.Command)
	return s.terminal.withLease(ctx, s.req.Task, attempts{subject: "command", limit: jobLimit}, func(l *lease) error {
		s.backend = l.backend
		return l.inDirectory(s.req.Dir, func(dir string) error { return s.attempt(l, dir) })
	})
}

// attempt starts the job in the lease's environment. The first request omits the
// supervisor's texts, which an environment keeps after its first job; if they are
// absent, attempt sends a second request with them.
func (s *start) attempt(l *lease, dir string) error {
	if s.entry != l.entry {
		s.entry, s.place = l.entry, l.placeJob()
	}
	home := l.jobHome()
	s.status = s.place.Locate(s.status, home)
	what := job.Start{
		Status: s.status, Script: s.req.Command, Stdin: s.req.Stdin != nil, Limit: s.req.Timeout, MaxLog: s.terminal.maxLog,
	}
	q := question{dir: dir, env: s.req.Env, stdin: s.req.Stdin, detached: true}
	answer, err := []byte(nil), error(job.ErrTextsAbsent)
	if q.stdin == nil { // stdin can be read only once, so it allows one request
		q.request = what.Request(s.place, false)
		answer, err = l.ask(q)
	}
	if errors.Is(err, job.ErrTextsAbsent) {
		q.request = what.Request(s.place, true)
		answer, err = l.ask(q)
	}
	if err == nil {
		l.jobs.Add(s.status, strings.Fields(string(answer)))
	}
	return err
}

// placeJob returns the place of a new job. If the Executor can, it creates the
// job's directory.
func (l *lease) placeJob() job.Place {
	p := l.jobs.Place()
	if h, ok := capability[jobHomer](l.ex); ok && p.First() {
		h.MakeJob(p.ID())
	}
	return p
}

// A jobHomer is an Executor that keeps the directories of jobs elsewhere than in
// /tmp; see spawn.Executor.
type jobHomer interface {
	JobHome() string
	MakeJob(id string)
}

// jobHome returns the directory of the environment's jobs.
func (l *lease) jobHome() string {
	if h, ok := capability[jobHomer](l.ex); ok && h.JobHome() != "" {
		return h.JobHome()
	}
	return defaultJobHome(l.task)
}

// defaultJobHome returns the directory of a task's jobs if the Executor is no
// jobHomer. The task is hashed, because it may not be a valid file name.
func defaultJobHome(task string) string {
	sum := sha256.Sum256([]byte(task))
	return "/tmp/terminal-jobs-" + hex.EncodeToString(sum[:8])
}

// adopt makes a job of the processes that a command left behind and returns their
// number. If there are none, the error is job.ErrNoSurvivors.
func (l *lease) adopt(command, runID string) (status job.Status, left int, err error) {
	l = l.within(l.ctx, sweepLimit)
	place := l.placeJob()
	status = place.Locate(job.NewStatus(command), l.jobHome())
	answer, err := l.ask(question{request: job.Adopt(place, status, runID)})
	if err != nil {
		return status, 0, err
	}
	l.jobs.Add(status, nil)
	return status, bytes.Count(answer, []byte("\n")), nil
}

// A question is a request about jobs and the streams of its script.
type question struct {
	request  job.Request
	dir      string            // "" means "/"
	env      map[string]string // nil means Config.Env
	stdin    io.Reader
	stdout   io.Writer     // if not nil, receives stdout, and the answer is empty
	stderr   *string       // if not nil, is set to the script's stderr
	limit    time.Duration // 0 means jobLimit
	repeat   bool          // idempotent: retry also if the outcome of an attempt is unknown
	detached bool          // the script leaves processes on purpose: do not search for them
}

// ask runs the script of a request and returns its stdout. An exit code that
// stands for an error is returned as that error.
func (l *lease) ask(q question) ([]byte, error) {
	env := q.env
	if env == nil {
		env = l.terminal.cfg.Env
	}
	dir := q.dir
	if dir == "" {
		dir = "/"
	}
	answer, said := capture.NewAnswer(maxAnswer), capture.NewAnswer(4096)
	var to io.Writer = answer
	if q.stdout != nil {
		live := capture.NewOutput(0, 0)
		to, _ = live.Streams(q.stdout, nil)
		defer live.End()
	}
	if q.detached {
		detached := *l
		detached.ctx = spawn.WithDetached(l.ctx)
		l = &detached
	}
	stdout := shellscript.NewAnswer(to)
	code, err := l.exec(Command{
		Script: stdout.Prologue() + q.request.Script(l.jobHome()),
		Dir:    dir,
		Env:    commandEnv(env, spawn.NewRunID()),
		Stdin:  q.stdin,
		Stdout: stdout,
		Stderr: said,
	})
	message := strings.TrimSpace(string(said.End()))
	if q.stderr != nil {
		*q.stderr = message
	}
	if err == nil {
		err = job.Error(code, message)
	}
	return answer.End(), err
}

// lease calls use with a lease of the job's environment. If the environment
// vanished with the job, the first call returns ErrGone.
func (j *Job) lease(ctx context.Context, a attempts, use func(*lease) error) error {
	if !job.IsID(j.status.ID) {
		return fmt.Errorf("%w: %q is not the id of a job", ErrUnknownJob, capture.Clip(j.status.ID))
	}
	a.subject = "request"
	err := j.terminal.withLease(ctx, j.task, a, use)
	if isAny(err, ErrGone, ErrUnknownJob) && j.terminal.lostJobs.TakeOne(j.task, j.status.ID) {
		return fmt.Errorf("job was lost with its environment: %w", ErrGone)
	}
	return err
}

// ask runs a request about the job and returns its answer.
func (j *Job) ask(ctx context.Context, q question) (answer []byte, err error) {
	limit := q.limit
	if limit == 0 {
		limit = jobLimit
	}
	err = j.lease(ctx, attempts{limit: limit, repeatable: q.repeat}, func(l *lease) (err error) {
		answer, err = l.ask(q)
		return err
	})
	return answer, err
}

// Job returns the task's job with the given ID. If there is none, the error
// matches ErrUnknownJob.
func (t *Terminal) Job(ctx context.Context, task, id string) (*Job, error) {
	j := &Job{terminal: t, task: taskOf(ctx, task), status: JobStatus{ID: id}}
	status, err := j.report(ctx)
	if err != nil {
		return nil, t.jobError("job", j.task, err)
	}
	j.status = status
	return j, nil
}

// Jobs returns the status of all jobs of the task, the oldest first. Jobs of a
// vanished environment are returned once, with exit code -1. If the environments
// of a custom backend share a /tmp, tasks of the same name in different Terminals
// share their jobs.
func (t *Terminal) Jobs(ctx context.Context, task string) ([]JobStatus, error) {
	task = taskOf(ctx, task)
	var all []job.Status
	err := t.withLease(ctx, task, attempts{subject: "request", limit: jobLimit, repeatable: true}, func(l *lease) (err error) {
		all, err = l.report("")
		return err
	})
	if err != nil {
		return nil, t.jobError("jobs", task, err)
	}
	var list []JobStatus
	for _, s := range append(t.lostJobs.Take(task), all...) {
		list = append(list, JobStatus(s))
	}
	return list, nil
}

// report queries the environment for the status of a job, or of all jobs if id is
// "", and updates the ledger.
func (l *lease) report(id string) ([]job.Status, error) {
	answer, err := l.ask(question{request: job.Report(id)})
	if err != nil {
		return nil, err
	}
	all, err := job.ParseStatus(answer, l.jobHome())
	if err != nil {
		return nil, err
	}
	if id != "" && len(all) != 1 {
		return nil, ErrUnknownJob
	}
	l.jobs.Update(all, id == "")
	job.Sort(all)
	return all, nil
}

// hasRunningJob queries the environment of an idle entry for running jobs. The
// caller must hold the entry, so that it is not closed meanwhile.
func (t *Terminal) hasRunningJob(ctx context.Context, e *entry) (bool, error) {
	l := (&lease{entry: e, terminal: t, notices: new(notices)}).within(ctx, jobLimit)
	if _, err := l.report(""); err != nil {
		return false, err
	}
	return e.jobs.Busy(), nil
}

// jobError wraps err with the task and its backend.
func (t *Terminal) jobError(op, task string, err error) error {
	return &Error{Op: op, Backend: t.reg.backendOf(task), Task: task, Err: err}
}

// error wraps err with the job's ID, its task and its backend.
func (j *Job) error(op string, err error) error {
	return j.terminal.jobError(op+" job "+j.status.ID, j.task, err)
}

// Status queries the environment for the job's status.
func (j *Job) Status(ctx context.Context) (JobStatus, error) {
	status, err := j.report(ctx)
	if err != nil {
		return JobStatus{}, j.error("status", err)
	}
	return status, nil
}

// report returns the job's status. Its error is not wrapped.
func (j *Job) report(ctx context.Context) (JobStatus, error) {
	var status JobStatus
	err := j.lease(ctx, attempts{limit: jobLimit, repeatable: true}, func(l *lease) error {
		all, err := l.report(j.status.ID)
		if err == nil {
			status = JobStatus(all[0])
		}
		return err
	})
	return status, err
}

// Output returns up to max bytes of the job's log, starting at offset, and the
// offset of the next byte. Any part can be read any number of times. If max is 0,
// it is 64 KiB; above 1 MiB, it is 1 MiB.
//
// If the log has dropped the part at offset, data starts after it; data always
// starts at next-len(data). At the end of the log data is empty. A negative max,
// and an offset that is negative or beyond the end, is an error.
//
// Output does not split a rune: it skips one that starts before offset, and leaves
// an incomplete one for the next call. If max is less than the length of the first
// rune, data is that rune. Bytes that are not UTF-8 are returned unchanged.
func (j *Job) Output(ctx context.Context, offset int64, max int) (data []byte, next int64, err error) { //nolint:revive,predeclared // max is part of the API
	var part job.Part
	switch {
	case offset < 0:
		err = fmt.Errorf("offset %d: must not be negative", offset)
	case max < 0:
		err = fmt.Errorf("max %d: must not be negative", max)
	default:
		if part, err = j.log(ctx, offset, max); err == nil && offset > part.End {
			err = fmt.Errorf("offset %d: the log has only %d bytes", offset, part.End)
		} else if err == nil && len(part.Data) == 0 && part.Full {
			err = errors.New("log: could not be written, so the rest of the output was dropped; is the disk full?")
		}
	}
	if err != nil {
		return nil, offset, j.error("output", err)
	}
	return part.Data, part.Next, nil
}

// log reads up to size bytes of the log, starting at offset, or that many bytes
// before the end if offset is negative. If size is 0, it is defaultLogPart.
func (j *Job) log(ctx context.Context, offset int64, size int) (job.Part, error) {
	if size == 0 {
		size = defaultLogPart
	}
	what := job.Log{Offset: offset, Size: min(size, job.MaxOutput)}
	answer, err := j.ask(ctx, question{request: what.Request(j.status.ID), repeat: true})
	if err != nil {
		return job.Part{}, err
	}
	return what.Parse(answer)
}

// Wait waits for the job to end and returns its exit code; see JobStatus. It waits
// in one request inside the environment and does not poll from here. When ctx
// ends, Wait returns its error and the job runs on.
func (j *Job) Wait(ctx context.Context) (exitCode int, err error) {
	answer, err := j.ask(ctx, question{request: job.Wait(j.status.ID), limit: longestTimeout, repeat: true})
	if err == nil {
		exitCode, err = job.ParseWait(answer)
	}
	if err != nil {
		return exitUnknown, j.error("wait", err)
	}
	return exitCode, nil
}

// Write writes p to the job's standard input. It returns when the pipe has taken
// all of p. A pipe on Linux holds 64 KiB (pipe(7)), so Write blocks if the job does
// not read, until Config.Timeout, and returns ErrTimeout; a part of p may have been
// written. If the job has ended or ends meanwhile, the error matches
// os.ErrProcessDone. After CloseStdin, or if Request.Stdin was not nil, it matches
// fs.ErrClosed.
func (j *Job) Write(ctx context.Context, p []byte) error {
	_, err := j.ask(ctx, question{request: job.Write(j.status.ID), stdin: bytes.NewReader(p), limit: j.terminal.cfg.Timeout})
	if err != nil {
		return j.error("write to", err)
	}
	return nil
}

// CloseStdin closes the job's standard input. It returns nil if the input is
// closed already or the job has ended.
func (j *Job) CloseStdin(ctx context.Context) error {
	if _, err := j.ask(ctx, question{request: job.CloseStdin(j.status.ID)}); err != nil {
		return j.error("close input of", err)
	}
	return nil
}

// Signal sends a signal to the job's process group. Without setsid(1) in the
// environment the job has no group of its own, and only its shell gets the signal.
// If the job has ended, the error matches os.ErrProcessDone.
func (j *Job) Signal(ctx context.Context, sig syscall.Signal) error {
	name, err := job.SignalName(sig)
	if err == nil {
		err = j.signal(ctx, name)
	}
	if err != nil {
		return j.error("signal", err)
	}
	return nil
}

// signal sends the signal with the given name, such as "TERM".
func (j *Job) signal(ctx context.Context, name string) error {
	_, err := j.ask(ctx, question{request: job.Signal(j.status.ID, name)})
	return err
}

// Kill sends KILL to all processes of the job, including detached ones and those
// that outlived it, and returns nil when none is left. To let the job clean up,
// call Signal with TERM first. The exit code of a running job becomes 137. Killing
// a finished job is not an error.
func (j *Job) Kill(ctx context.Context) error {
	if err := j.kill(ctx); err != nil {
		return j.error("kill", err)
	}
	return nil
}

// kill sends KILL to the job's process group and waits for the supervisor to record
// the end, kills all processes with the job's run ID, and records the end itself if
// the supervisor did not.
func (j *Job) kill(ctx context.Context) error {
	return j.lease(ctx, attempts{limit: 2 * jobLimit}, func(l *lease) error {
		runID, ended := job.RunID(j.status.ID), false
		answer, err := l.ask(question{request: job.End(j.status.ID)})
		switch {
		case err == nil:
			if runID, ended, err = job.ParseEnd(answer); err != nil {
				return err
			}
		case errors.Is(err, ErrUnknownJob) && l.jobs.Has(j.status.ID): // something removed its directory; its processes may still run
		default:
			return err
		}
		if err := l.kill(runID); err != nil || ended {
			return err
		}
		_, err = l.ask(question{request: job.Bury(j.status.ID)})
		if errors.Is(err, ErrUnknownJob) {
			return nil
		}
		return err
	})
}

// kill ends all processes of a run.
func (l *lease) kill(runID string) error {
	l = l.within(l.ctx, sweepLimit)
	run := l.bind()
	defer run.release()
	return kill(run, l.ex, runID)
}

// DefaultReady is the default of Ready.Timeout.
const DefaultReady = 30 * time.Second

// Ready defines when a job is ready. At least one of Port and LogPattern must be
// set. If both are, the job is ready as soon as either condition holds.
type Ready struct {
	// Port is a TCP port from 1 to 65535. The job is ready when a process in
	// the environment listens on it. If one does before the start, Start fails.
	// 0 means no port.
	Port int

	// LogPattern is a regular expression in the syntax of package regexp. The
	// job is ready when it matches a line of the log. "" means no pattern.
	LogPattern string

	// Timeout is how long Start waits. The job runs on after it. If it is 0,
	// it is 30 s. A negative one, or one above a year, is an error.
	Timeout time.Duration
}

// validate returns an error if r is invalid. A nil r is valid.
func (r *Ready) validate() error {
	switch {
	case r == nil:
		return nil
	case r.Port == 0 && r.LogPattern == "":
		return errors.New("ready: needs a port or a log pattern")
	case r.Port < 0 || r.Port > 65535:
		return fmt.Errorf("ready port %d: must be from 1 to 65535", r.Port)
	case r.Timeout < 0 || r.Timeout > longestTimeout:
		return fmt.Errorf("ready timeout %v: must be between 0 (the default) and %v", r.Timeout, longestTimeout)
	}
	if _, err := regexp.Compile(r.LogPattern); err != nil {
		return fmt.Errorf("ready log pattern: %w", err)
	}
	return nil
}

// limit returns Timeout, or DefaultReady if it is 0.
func (r *Ready) limit() time.Duration {
	if r.Timeout == 0 {
		return DefaultReady
	}
	return r.Timeout
}

// follow waits, in one request inside the environment, until the job is ready, has
// ended, or limit has passed. With a zero r it waits for the end only. A pattern
// is matched here, because the environment has no regexp package.
func (j *Job) follow(ctx context.Context, r Ready, limit time.Duration) (job.Verdict, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var pattern *regexp.Regexp
	if r.LogPattern != "" {
		pattern = regexp.MustCompile(r.LogPattern)
	}
	match := job.NewMatcher(pattern, stop)
	said := ""
	_, err := j.ask(ctx, question{
		request: job.Follow(j.status.ID, r.Port, pattern != nil, limit),
		stdout:  match,
		stderr:  &said,
		limit:   limit + jobLimit,
	})
	if match.Matched() {
		return job.Ready, nil
	}
	if err != nil {
		return job.Late, err
	}
	return job.ParseVerdict(said), nil
}

// awaitReady waits until the job is ready. The error matches ErrTimeout if it is
// not ready in time, and os.ErrProcessDone if it has ended.
func (j *Job) awaitReady(ctx context.Context, r Ready) error {
	verdict, err := j.follow(ctx, r, r.limit())
	switch {
	case err != nil:
		return err
	case verdict == job.Late:
		text := fmt.Errorf("job %s is not ready after %v (waited for %s); it goes on", j.ID(), r.limit(), r.what())
		return spawn.Mark(text, ErrTimeout)
	case verdict == job.Ended:
		return j.endedEarly(ctx)
	}
	return nil
}

// what describes the conditions for an error or a notice.
func (r *Ready) what() string {
	var words []string
	if r.Port != 0 {
		words = append(words, "port "+strconv.Itoa(r.Port))
	}
	if r.LogPattern != "" {
		words = append(words, fmt.Sprintf("%q in its log", r.LogPattern))
	}
	return strings.Join(words, " or ")
}

// endedEarly returns the error of a job that ended before it was ready, with the
// end of its log.
func (j *Job) endedEarly(ctx context.Context) error {
	status, err := j.report(ctx)
	if err != nil {
		return err
	}
	part, err := j.log(ctx, -2000, 2000)
	if err != nil {
		return err
	}
	log := strings.TrimSpace(strings.ToValidUTF8(string(part.Data), "\uFFFD"))
	return spawn.Mark(fmt.Errorf("job %s ended with code %d before it was ready; its log ends: %s", j.ID(), status.ExitCode, log), os.ErrProcessDone)
}
