package terminal

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// The bounds of background jobs.
const (
	// MaxJobs is the number of jobs a task may have. One more makes the
	// oldest finished one go; if all of them run it is ErrTooManyJobs.
	MaxJobs = 64

	// MaxLog is the size in bytes beyond which a job's log loses its oldest
	// part. At least half of it is always kept.
	MaxLog = 64 << 20

	// JobRetention is how long a finished job can be asked about.
	JobRetention = 30 * time.Minute
)

// How long the Terminal's own work on jobs may take, and how often it is
// tried again where that is harmless.
const (
	jobLimit   = 30 * time.Second
	jobRetries = 3
	jobPause   = time.Second
)

const (
	maxArgument   = 96 << 10 // a script up to this length is an argument of its shell; Linux takes 128 KiB
	maxJobCommand = 4 << 10  // bytes of a command that JobStatus shows
	maxJobOutput  = 1 << 20  // bytes that one call of Output returns
	defaultOutput = 64 << 10
)

// Exit codes of the functions in jobs.sh that have a meaning.
const (
	codeUnknown = 81 + iota
	codeFull
	codeFailed
	codeTaken
	codeNone
	codeEnded
	codeClosed
	codeAbsent
)

// A Job is a command that runs in the background. It lives in the task's
// environment, with a supervisor and a directory of its own there, and not in
// this process: it goes on when a connection breaks, and another Terminal on
// the same environment finds it by its id. It ends with its environment.
//
// The methods are safe for concurrent use. Each is a call of the task, which
// keeps the task from being idle; they return an *Error like Terminal.Run,
// with ErrUnknownJob if the job was dropped (see MaxJobs and JobRetention) or
// its environment was closed, and ErrGone once if the environment was lost.
type Job struct {
	terminal *Terminal
	task     string
	status   JobStatus // as it was when the Job was made
}

// JobStatus is what is known of a job.
type JobStatus struct {
	ID      string
	Command string // the script; of one longer than 4 KiB the beginning
	LogPath string // in the task's environment
	Running bool

	// ExitCode is the script's own, 128+n after signal n; 124 if it was ended
	// at its limit; 126 if the environment lacks something that jobs need,
	// which the log then names; -1 if it cannot be known, because the job was
	// lost or consists of processes that a command left behind; 0 while it
	// runs.
	ExitCode int

	// Started is by this machine's clock. Ended is that plus the time passed
	// in the environment, to the second where its date(1) has no fractions;
	// zero while the job runs.
	Started, Ended time.Time

	// LogSize is the number of bytes written so far, those that the log has
	// lost since included.
	LogSize int64
}

// ID returns the job's name in its task: letters and digits.
func (j *Job) ID() string { return j.status.ID }

// LogPath returns the path of the job's log in the environment. The file has
// the last 16 MiB at most; log.N beside it has what was written before, from
// byte N on.
func (j *Job) LogPath() string { return j.status.LogPath }

// Start runs a command in the background and returns when its supervisor has
// been started, without waiting for the command. Its script is run as Run
// would run it, whatever it contains; one that cannot run, because of a syntax
// error or a program that is not there, is a job that ends at once with the
// shell's code and message.
//
// What is written to stdout and stderr goes to the job's log in true order, so
// Request.Stdout and Request.Stderr must be nil. Stdin, if not nil, is read to
// its end first; otherwise the input is open for Job.Write until
// Job.CloseStdin. Request.Timeout ends the job's process group after that
// time, with code 124; 0 is no limit.
//
// With Request.Ready it waits for that. An error that matches ErrTimeout then
// says that the job is not ready yet, and one that matches os.ErrProcessDone
// that it has ended; in both cases, and in no other with an error, the Job is
// not nil.
func (t *Terminal) Start(ctx context.Context, req Request) (*Job, error) {
	req.Task = taskOf(ctx, req.Task)
	c := &call{terminal: t, req: req, starts: &JobStatus{Running: true}}
	job, err := c.start(ctx)
	e := Event{Kind: EventJobStarted, JobID: c.starts.ID, Command: c.req.Command}
	c.runID = jobRunID(e.JobID)
	if err != nil {
		e = Event{Kind: EventFailed, Command: c.req.Command, ExitCode: exitUnknown, Status: StatusError, Err: err}
	}
	c.tell(ctx, e)
	if err == nil && req.Ready != nil {
		err = job.awaitReady(ctx, *req.Ready)
	}
	if err != nil {
		return job, &Error{Op: "start", Backend: c.backend, Task: req.Task, Err: err}
	}
	return job, nil
}

// start starts the job of the call.
func (c *call) start(ctx context.Context) (*Job, error) {
	if err := c.prepareStart(ctx); err != nil {
		return nil, err
	}
	t, job := c.terminal, c.starts
	if r := c.req.Ready; r != nil && r.Port != 0 {
		if _, err := t.operate(ctx, c.req.Task, operation{function: "tj_free", vars: r.vars()}); err != nil {
			return nil, err
		}
	}
	command, form, input, limit := c.req.Command, "text", "in", ""
	if len(command) > maxArgument {
		form = "file"
	}
	if c.req.Stdin != nil {
		input = "stdin"
	}
	if c.req.Timeout > 0 {
		limit = seconds(c.req.Timeout)
	}
	job.Started, job.Command = time.Now(), beginning(command, maxJobCommand)
	op := operation{function: "tj_begin", vars: []string{
		"tj_script", command, "tj_form", form, "tj_input", input, "tj_limit", limit,
		"tj_texts", textsName(), "tj_count", strconv.Itoa(t.maxLog / (16 * logBlock)),
	}}
	c.req.Timeout, c.req.Stdout = jobLimit, &c.dropped
	ctx = detached(ctx)
	err := errTextsAbsent
	if c.req.Stdin == nil { // which can be read only once
		err = c.operate(ctx, op)
	}
	if errors.Is(err, errTextsAbsent) {
		op.function, op.vars = "tj_install", append(op.vars, "tj_supervisor", supervisor, "tj_starter", starter())
		err = c.operate(ctx, op)
	}
	if err != nil {
		return nil, err
	}
	return &Job{terminal: t, task: c.req.Task, status: *job}, nil
}

// logBlock is what the supervisor moves to the log at once.
const logBlock = 16 << 10

// prepareStart completes the request of a job, or refuses it.
func (c *call) prepareStart(ctx context.Context) error {
	if c.req.Stdout != nil || c.req.Stderr != nil {
		return errors.New("stdout and stderr: must be nil for a job, whose output is in its log")
	}
	if err := c.req.Ready.validate(); err != nil {
		return err
	}
	return c.prepare(ctx)
}

// newJob gives the call's job its id and its place in the environment, and
// returns what jobs.sh needs to know of it. runID is that of its processes, ""
// for one of its own.
func (c *call) newJob(e *entry, home, runID string) []string {
	job := c.starts
	if c.place.entry != e { // or this is another try
		c.place = c.terminal.reg.newJob(e)
	}
	p := c.place
	job.ID, job.LogPath = p.id, path.Join(home, p.id, "log")
	if h, ok := capability[jobHomer](e.ex); ok && p.few {
		h.makeJob(p.id)
	}
	if runID == "" {
		runID = jobRunID(p.id)
	} else {
		p.oldest = nil // the script's output is something else
	}
	return []string{
		"tj_id", p.id, "tj_spares", strings.Join(p.spares, " "), "tj_oldest", strings.Join(p.oldest, " "), "tj_rubbish", "", "tj_run", runID, "tj_command", job.Command,
		"tj_meta", fmt.Sprintf("%d %d %s\n", job.Started.UnixNano(), len(job.Command), runID),
		"tj_now", job.Started.UTC().Format(time.RFC3339),
	}
}

func newJobID() string {
	var id [6]byte
	_, _ = rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// isJobID keeps everything else out of paths and scripts.
func isJobID(id string) bool {
	raw, err := hex.DecodeString(id)
	return err == nil && len(raw) == 6 && id == strings.ToLower(id)
}

// jobRunID is the run id of all processes of a job. It is not part of the
// path of its log: that may well be in another process's environment.
func jobRunID(id string) string { return "job-run-" + id }

// Job returns the task's job of that id.
func (t *Terminal) Job(ctx context.Context, task, id string) (*Job, error) {
	task = taskOf(ctx, task)
	j := &Job{terminal: t, task: task, status: JobStatus{ID: id}}
	status, err := j.report(ctx)
	if err != nil {
		return nil, t.jobError("job", task, err)
	}
	j.status = status
	return j, nil
}

// Jobs returns what is known of all jobs of the task, the oldest first. A job
// whose environment was lost is among them once, with the exit code -1. Where
// environments share a /tmp, as those of a backend of one's own on this machine
// may, tasks of the same name share their jobs.
func (t *Terminal) Jobs(ctx context.Context, task string) ([]JobStatus, error) {
	task = taskOf(ctx, task)
	all, err := t.reports(ctx, task, "")
	if err != nil {
		return nil, t.jobError("jobs", task, err)
	}
	return append(t.reg.takeLost(task), all...), nil
}

func (t *Terminal) jobError(op, task string, err error) error {
	return &Error{Op: op, Backend: t.reg.backendOf(task), Task: task, Err: err}
}

func (j *Job) error(op string, err error) error {
	return j.terminal.jobError(op+" job "+j.status.ID, j.task, err)
}

// Status asks the environment how the job is.
func (j *Job) Status(ctx context.Context) (JobStatus, error) {
	status, err := j.report(ctx)
	if err != nil {
		return JobStatus{}, j.error("status", err)
	}
	return status, nil
}

func (j *Job) report(ctx context.Context) (JobStatus, error) {
	if !isJobID(j.status.ID) {
		return JobStatus{}, fmt.Errorf("%w: %q is not the id of a job", ErrUnknownJob, clip(j.status.ID))
	}
	all, err := j.terminal.reports(ctx, j.task, j.status.ID)
	if err != nil {
		return JobStatus{}, err
	}
	return all[0], nil
}

// Output returns what the job has written: up to max bytes from the offset on,
// and the offset to go on from. It can be asked for any part, as often as
// wanted. No rune is split at either end: one that began before the offset is
// left out, one that is not yet whole waits for the next call, and a max that
// is too small for a rune is exceeded by it. Bytes that are no UTF-8 come as
// they are.
//
// If the log has lost the part at the offset, data is what comes after that
// part; next-len(data) is always where data begins. At the end of the log data
// is empty. An offset that is negative or beyond the end is an error. max 0
// is 64 KiB; more than 1 MiB is 1 MiB; negative is an error.
func (j *Job) Output(ctx context.Context, offset int64, max int) (data []byte, next int64, err error) {
	var part logPart
	switch {
	case offset < 0:
		err = fmt.Errorf("offset %d: must not be negative", offset)
	case max < 0:
		err = fmt.Errorf("max %d: must not be negative", max)
	default:
		if part, err = j.log(ctx, offset, max); err == nil && offset > part.end {
			err = fmt.Errorf("offset %d: the log has only %d bytes", offset, part.end)
		} else if err == nil && len(part.data) == 0 && part.full {
			err = errors.New("log: could not be written, so the rest of the output was dropped; is the disk full?")
		}
	}
	if err != nil {
		return nil, offset, j.error("output", err)
	}
	return part.data, part.next, nil
}

// logPart is a part of a log.
type logPart struct {
	data        []byte
	next        int64 // where data ends
	first, end  int64 // of what is kept
	ended, full bool  // the job has ended; the disk was full
	exitCode    int   // of a job that has ended, as in JobStatus
}

// log reads a part of the log, from an offset before the end if it is negative.
func (j *Job) log(ctx context.Context, offset int64, most int) (logPart, error) {
	if most == 0 {
		most = defaultOutput
	}
	most = min(most, maxJobOutput)
	const around = utf8.UTFMax - 1 // to see whether a rune is cut
	from := offset
	if offset >= 0 {
		from = max(0, offset-around)
	} else {
		from -= around
	}
	out, err := j.operate(ctx, operation{function: "tj_log", retry: true, vars: []string{
		"tj_offset", strconv.FormatInt(from, 10), "tj_max", strconv.Itoa(most + 3*utf8.UTFMax),
	}})
	if err != nil {
		return logPart{}, err
	}
	head, data, ok := bytes.Cut(out, []byte("\n"))
	fields := strings.Fields(string(head))
	if !ok || len(fields) < 3 {
		return logPart{}, fmt.Errorf("log: unexpected answer %q", clip(string(head)))
	}
	var p logPart
	for i, n := range []*int64{&p.first, &p.end, &from} {
		if *n, err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return logPart{}, fmt.Errorf("log: unexpected answer %q", clip(string(head)))
		}
	}
	for _, word := range fields[3:] {
		if code, ok := strings.CutPrefix(word, "ended="); ok {
			p.ended = true
			if p.exitCode, err = strconv.Atoi(code); err != nil {
				return logPart{}, fmt.Errorf("log: unexpected answer %q", clip(string(head)))
			}
		}
		p.full = p.full || word == "full"
	}
	if offset < 0 {
		offset = max(p.first, p.end+offset)
	}
	offset = max(offset, from)
	begin := int(min(offset-from, int64(len(data))))
	begin, end := wholeRunes(data, begin, most, p.ended && from+int64(len(data)) >= p.end)
	p.data, p.next = data[begin:end], from+int64(end)
	if offset > p.end {
		p.data, p.next = nil, offset
	}
	return p, nil
}

// wholeRunes returns the part of data that begins at begin, or after the rune
// that does not, and ends with the last whole rune within most bytes. At the end
// of a finished stream what is not whole never will be.
func wholeRunes(data []byte, begin, most int, final bool) (int, int) {
	for i := begin - 1; i >= 0 && i > begin-utf8.UTFMax && begin < len(data); i-- {
		if utf8.RuneStart(data[i]) {
			if _, size := utf8.DecodeRune(data[i:]); i+size > begin {
				begin = i + size
			}
			break
		}
	}
	end := begin + most
	if end >= len(data) {
		end = len(data)
		if final {
			return begin, end
		}
	}
	for i := end - 1; i >= begin && i >= end-utf8.UTFMax; i-- {
		if !utf8.RuneStart(data[i]) {
			continue
		}
		if !utf8.FullRune(data[i:]) {
			end = i // more is to come
		} else if _, size := utf8.DecodeRune(data[i:]); i+size > end {
			end = i
			if i == begin {
				end = i + size // most is smaller than the rune
			}
		}
		break
	}
	return begin, end
}

// Wait waits until the job has ended, and returns its exit code; see
// JobStatus. It waits inside the environment, so it notices the end at once
// and costs nothing meanwhile. The job goes on when ctx ends.
func (j *Job) Wait(ctx context.Context) (exitCode int, err error) {
	var out []byte
	for range jobRetries {
		out, err = j.operate(ctx, operation{function: "tj_wait", limit: longestTimeout})
		if err == nil || isFinal(ctx, err) || !pause(ctx, jobPause) {
			break
		}
	}
	if err != nil {
		return exitUnknown, j.error("wait", err)
	}
	code, _, _ := strings.Cut(string(out), " ")
	if exitCode, err = strconv.Atoi(code); err != nil {
		return exitUnknown, j.error("wait", fmt.Errorf("unexpected answer %q", clip(string(out))))
	}
	return exitCode, nil
}

// isFinal tells whether to ask once more would be of no use.
func isFinal(ctx context.Context, err error) bool {
	for _, final := range []error{ErrClosed, ErrGone, ErrUnknownJob, ErrUnavailable, ErrTimeout, ErrTooManyTasks} {
		if errors.Is(err, final) {
			return true
		}
	}
	return ctx.Err() != nil
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Write gives the job input, and returns when the pipe to the job has taken
// it: a job that does not read takes 64 KiB, and then Write waits, for no
// longer than Config.Timeout, with ErrTimeout. Part of p may then be written.
// After the job's end, also where that comes meanwhile, the error matches
// os.ErrProcessDone; after CloseStdin, and if the job was started with a Stdin,
// fs.ErrClosed.
func (j *Job) Write(ctx context.Context, p []byte) error {
	_, err := j.operate(ctx, operation{function: "tj_write", stdin: bytes.NewReader(p), limit: j.terminal.cfg.Timeout})
	if err != nil {
		return j.error("write to", err)
	}
	return nil
}

// CloseStdin ends the job's input. If that, or the job, has ended already there
// is nothing to do and no error.
func (j *Job) CloseStdin(ctx context.Context) error {
	if _, err := j.operate(ctx, operation{function: "tj_close"}); err != nil {
		return j.error("close input of", err)
	}
	return nil
}

// Signal sends a signal to the job's process group, or to its shell alone
// where the environment has no setsid(1). After the job's end the error
// matches os.ErrProcessDone.
func (j *Job) Signal(ctx context.Context, sig syscall.Signal) error {
	name, err := signalName(sig)
	if err == nil {
		_, err = j.operate(ctx, operation{function: "tj_signal", vars: []string{"tj_name", name}})
	}
	if err != nil {
		return j.error("signal", err)
	}
	return nil
}

// Kill ends all processes of the job with KILL, those included that detached
// themselves or outlived it, and returns nil when none is left. Send TERM with
// Signal first to a job that should tidy up. The exit code is 137 if the job
// was running; to kill a finished job is no error.
func (j *Job) Kill(ctx context.Context) error {
	if err := j.kill(ctx); err != nil {
		return j.error("kill", err)
	}
	return nil
}

func (j *Job) kill(ctx context.Context) error {
	out, err := j.operate(ctx, operation{function: "tj_end"})
	run, state, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if errors.Is(err, ErrUnknownJob) && j.terminal.reg.hasJob(j.task, j.status.ID) {
		run, err = jobRunID(j.status.ID), nil // its directory was removed, its processes were not
	}
	if err != nil {
		return err
	}
	if !isRunID(run) {
		return fmt.Errorf("unexpected run id %q", clip(run))
	}
	if err := j.terminal.killRun(ctx, j.task, run); err != nil {
		return err
	}
	if state == "" {
		_, err = j.operate(ctx, operation{function: "tj_bury"})
	}
	if errors.Is(err, ErrUnknownJob) {
		return nil
	}
	return err
}

// isRunID guards a search for processes that has its word from a file: a short
// one would be found in environments that have nothing to do with it.
func isRunID(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return len(s) >= 20
}

// killRun ends all processes of a run in the task's environment.
func (t *Terminal) killRun(ctx context.Context, task, run string) error {
	e, err := t.reg.acquire(ctx, task)
	if err != nil {
		return err
	}
	defer t.reg.release(e)
	ctx, cancel := context.WithTimeout(ctx, sweepLimit)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	return kill(ctx, e.ex, run)
}

// An operation is a function of jobs.sh and what it is to be told.
type operation struct {
	function string
	vars     []string // names and values by turns
	stdin    io.Reader
	stdout   io.Writer     // nil: returned
	stderr   *bytes.Buffer // nil: for errors only
	home     *string       // receives the jobs' directory
	run      string        // of the processes that become a job
	limit    time.Duration // 0: jobLimit
	retry    bool          // once more if it fails for no known reason
}

func (j *Job) operate(ctx context.Context, op operation) ([]byte, error) {
	if !isJobID(j.status.ID) {
		return nil, fmt.Errorf("%w: %q is not the id of a job", ErrUnknownJob, clip(j.status.ID))
	}
	op.vars = append(op.vars, "tj_id", j.status.ID)
	out, err := j.terminal.operate(ctx, j.task, op)
	if errors.Is(err, ErrGone) || errors.Is(err, ErrUnknownJob) {
		if j.terminal.reg.takeLostJob(j.task, j.status.ID) {
			return out, fmt.Errorf("job was lost with its environment: %w", ErrGone)
		}
	}
	return out, err
}

// operate runs a function of jobs.sh in the task's environment.
func (t *Terminal) operate(ctx context.Context, task string, op operation) (out []byte, err error) {
	tries := 1
	if op.retry {
		tries = jobRetries
	}
	limit := op.limit
	if limit == 0 {
		limit = jobLimit
	}
	for range tries {
		var buf bytes.Buffer
		c := &call{terminal: t, req: Request{
			Task: task, Dir: "/", Env: t.cfg.Env, Timeout: limit, Stdin: op.stdin, Stdout: &buf,
		}}
		if op.stdout != nil {
			c.req.Stdout = op.stdout
		}
		err = c.operate(ctx, op)
		out = buf.Bytes()
		if err == nil || isFinal(ctx, err) {
			break
		}
	}
	return out, err
}

// operate runs a function of jobs.sh as the call's command.
func (c *call) operate(ctx context.Context, op operation) error {
	c.compose(&op)
	if err := c.run(ctx); err != nil {
		return err
	}
	return operationError(c.result.ExitCode, strings.TrimSpace(op.stderr.String()))
}

// compose makes the function the call's script.
func (c *call) compose(op *operation) {
	var text strings.Builder
	for i, code := range []string{"unknown", "full", "failed", "taken", "none", "ended", "closed", "absent"} {
		fmt.Fprintf(&text, "tj_%s=%d ", code, codeUnknown+i)
	}
	fmt.Fprintf(&text, "tj_most=%d tj_kept=%d tj_clock=%d tj_id= tj_show=\n",
		MaxJobs, int(JobRetention.Seconds()), time.Now().Unix())
	text.WriteString(assignments(op.vars))
	answer := newAnswer(c.req.Stdout)
	c.req.Stdout = answer
	c.script = func(e *entry) string {
		home := jobHome(e.ex, c.req.Task)
		if op.home != nil {
			*op.home = home
		}
		vars := []string{"tj_base", home}
		if c.starts != nil {
			vars = append(vars, c.newJob(e, home, op.run)...)
		}
		return answer.prologue() + text.String() + assignments(vars) + jobFunction(op.function)
	}
	if op.stderr == nil {
		op.stderr = new(bytes.Buffer)
	}
	c.req.Stderr = op.stderr
}

// operationError says what an exit code of jobs.sh means.
func operationError(code int, message string) error {
	switch code {
	case 0:
		return nil
	case codeUnknown:
		return ErrUnknownJob
	case codeFull:
		return fmt.Errorf("%w: %s; kill one, or wait for the end of one", ErrTooManyJobs, message)
	case codeFailed:
		return marked{fmt.Errorf("job could not be set up: %s", message), ErrNotStarted}
	case codeTaken:
		return marked{fmt.Errorf("ready port: %s; choose another, or stop what listens there", message), ErrNotStarted}
	case codeNone:
		return errNoSurvivors
	case codeAbsent:
		return errTextsAbsent
	case codeEnded:
		return marked{errors.New(message), os.ErrProcessDone}
	case codeClosed:
		return marked{errors.New(message), fs.ErrClosed}
	}
	return fmt.Errorf("job script ended with code %d: %s", code, beginning(message, 500))
}

var errTextsAbsent = errors.New("job texts are not in the environment")

// jobHomer is an Executor that has a better place for the jobs' directories
// than /tmp, which it removes itself, and makes them at less than the price of
// a mkdir(1). What it cannot make is left to jobs.sh, which says why.
type jobHomer interface {
	jobHome() string
	makeJob(id string)
}

func jobHome(ex Executor, task string) string {
	if h, ok := capability[jobHomer](ex); ok {
		return h.jobHome()
	}
	sum := sha256.Sum256([]byte(task))
	return "/tmp/terminal-jobs-" + hex.EncodeToString(sum[:8])
}

// reports asks for what is known of a job, or of all of them.
func (t *Terminal) reports(ctx context.Context, task, id string) ([]JobStatus, error) {
	op := operation{function: "tj_report", retry: true}
	var out []byte
	var err error
	home := ""
	op.home = &home
	if id == "" {
		out, err = t.operate(ctx, task, op)
	} else {
		j := &Job{terminal: t, task: task, status: JobStatus{ID: id}}
		out, err = j.operate(ctx, op)
	}
	if err != nil {
		return nil, err
	}
	all, err := parseReports(out, home)
	if err == nil && id != "" && len(all) != 1 {
		err = ErrUnknownJob
	}
	if err != nil {
		return nil, err
	}
	t.reg.noteJobs(task, all, id == "")
	slices.SortStableFunc(all, func(a, b JobStatus) int { return a.Started.Compare(b.Started) })
	return all, nil
}

// parseReports reads a line about each job, an empty one, and the commands.
func parseReports(out []byte, home string) (all []JobStatus, err error) {
	var lengths []int
	for {
		line, rest, ok := bytes.Cut(out, []byte("\n"))
		out = rest
		f := strings.Fields(string(line))
		if len(f) == 0 {
			if !ok && len(all) > 0 {
				return nil, errors.New("jobs: the answer is cut")
			}
			break
		}
		if len(f) != 4 && len(f) != 7 {
			return nil, fmt.Errorf("jobs: unexpected answer %q", clip(string(line)))
		}
		s := JobStatus{ID: f[0], LogPath: path.Join(home, f[0], "log"), Running: len(f) == 4}
		started, err1 := strconv.ParseInt(f[1], 10, 64)
		length, err2 := strconv.Atoi(f[2])
		size, err3 := strconv.ParseInt(f[3], 10, 64)
		s.Started, s.LogSize = time.Unix(0, started), size
		if !s.Running {
			s.ExitCode, err = strconv.Atoi(f[4])
			s.Ended = s.Started.Add(max(0, clock(f[6])-clock(f[5])))
		}
		if err := errors.Join(err, err1, err2, err3); err != nil {
			return nil, fmt.Errorf("jobs: unexpected answer: %w", err)
		}
		all, lengths = append(all, s), append(lengths, length)
	}
	for i, n := range lengths {
		if n < 0 || n > len(out) {
			return nil, errors.New("jobs: the answer is cut")
		}
		all[i].Command, out = string(out[:n]), out[n:]
	}
	return all, nil
}

// clock reads what date +%s.%N says; %N is not known everywhere.
func clock(text string) time.Duration {
	whole, fraction, _ := strings.Cut(text, ".")
	n, _ := strconv.ParseInt(whole, 10, 64)
	ns, err := strconv.ParseInt(fraction, 10, 64)
	if err != nil || len(fraction) != 9 {
		ns = 0
	}
	return time.Duration(n)*time.Second + time.Duration(ns)
}

// beginning returns the first bytes of a text, whole runes of them.
func beginning(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// anyJobRuns asks an idle entry's environment whether a job is running there.
func (t *Terminal) anyJobRuns(ctx context.Context, e *entry) (bool, error) {
	var home string
	out, err := t.operateIn(ctx, e, nil, operation{function: "tj_report", home: &home})
	if err != nil {
		return false, err
	}
	all, err := parseReports(out, home)
	return slices.ContainsFunc(all, func(s JobStatus) bool { return s.Running }), err
}

// operateIn runs a function of jobs.sh in the environment of an entry that the
// caller holds. starts is the job that begins with it, nil if none does.
func (t *Terminal) operateIn(ctx context.Context, e *entry, starts *JobStatus, op operation) ([]byte, error) {
	var out bytes.Buffer
	c := &call{
		terminal: t,
		req:      Request{Task: e.task, Env: t.cfg.Env, Timeout: jobLimit, Stdout: &out},
		out:      newOutput(t.cfg.MaxOutput, 0),
		deadline: time.Now().Add(jobLimit),
		runID:    newRunID(),
		starts:   starts,
	}
	c.compose(&op)
	err := c.execIn(ctx, e, "/")
	c.out.end()
	if err == nil {
		err = operationError(c.result.ExitCode, strings.TrimSpace(op.stderr.String()))
	}
	if err == nil && starts != nil {
		t.reg.keepJob(e, *starts, nil)
	}
	return out.Bytes(), err
}
