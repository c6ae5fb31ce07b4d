package terminal

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// processDescription is what a model reads about the tool for jobs.
//
//go:embed tool_process.md
var processDescription string

var processActions = []string{"list", "poll", "log", "wait", "write", "close_stdin", "signal", "kill"}

// startGrace is how long the answer to a background call waits for a job that
// fails at once, so that a model hears of it before it relies on the job.
const startGrace = 300 * time.Millisecond

// pollEnd is how many bytes of a log an answer about a job's state shows.
const pollEnd = 2000

// callBackground answers a call of the terminal tool that starts a job.
func (t *Terminal) callBackground(ctx context.Context, a arguments) json.RawMessage {
	job, err := t.Start(ctx, Request{Command: a.command, Task: a.task, Timeout: a.timeout, Ready: a.ready})
	if job == nil {
		return failure(cause(err))
	}
	if a.ready == nil {
		_, err = job.follow(ctx, Ready{}, startGrace)
	}
	result, ended := job.result(ctx, 0, 0)
	switch {
	case a.ready != nil && err == nil:
		result.notice("the job is ready: " + a.ready.what())
	case errors.Is(err, ErrTimeout):
		result.notice(cause(err).Error())
	case ended && (a.ready != nil || result.ExitCode != 0):
		result.explainEnded()
	}
	return result.encode()
}

// explainEnded makes the result of a job that has ended an error, for a call that
// needs a running one.
func (r *Result) explainEnded() {
	r.Error = fmt.Sprintf("the job has ended already, with code %d", r.ExitCode)
	if r.ExitCode == exitUnknown {
		r.Error = "the job has ended already, with a code that is not known"
	}
	r.Status = StatusError
}

// cause is an error as an answer tells it: the caller knows what it called.
func cause(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// result tells how a job is and what its log has from an offset on, or before
// the end if that is negative; most 0 is as much as an answer may have.
func (j *Job) result(ctx context.Context, offset int64, most int) (r Result, ended bool) {
	status, err := j.report(ctx)
	var part logPart
	if err == nil {
		part, err = j.log(ctx, offset, cmp.Or(most, maxJobOutput))
	}
	if err != nil {
		r.explain(err)
		return r, false
	}
	kept := newCapture(j.terminal.cfg.MaxOutput, j.terminal.cfg.KeepHead)
	kept.write(part.data)
	r.Output, r.Omitted = kept.text()
	r.JobID, r.LogPath, r.ExitCode = status.ID, status.LogPath, status.ExitCode
	if status.Running {
		r.Status = StatusRunning
	}
	if part.full {
		r.notice("the log could not be written any more: is the disk full?")
	}
	return r, !status.Running
}

func (r *Result) notice(text string) {
	if r.Notice != "" {
		text = r.Notice + "; " + text
	}
	r.Notice = text
}

// processArguments are those of one call of the process tool.
type processArguments struct {
	action, job, data, signal, task string
	offset                          int64
	hasOffset                       bool
	timeout                         time.Duration
}

var processArgumentNames = []string{"action", "job_id", "data", "signal", "offset", "timeout"}

// argumentOf tells which action an argument is for.
var argumentOf = map[string]string{"data": "write", "signal": "signal", "offset": "log", "timeout": "wait"}

func decodeProcessArguments(data []byte, taskID bool) (a processArguments, err error) {
	fields, err := decodeFields(data, processArgumentNames, taskID)
	if err != nil {
		return a, err
	}
	for _, text := range []struct {
		name string
		into *string
	}{{"action", &a.action}, {"job_id", &a.job}, {"data", &a.data}, {"signal", &a.signal}, {"task_id", &a.task}} {
		if *text.into, err = decodeText(fields, text.name); err != nil {
			return a, err
		}
	}
	if !slices.Contains(processActions, a.action) {
		return a, fmt.Errorf("action: must be one of %s, not %q", strings.Join(processActions, ", "), clip(a.action))
	}
	for name, action := range argumentOf {
		if fields[name] != nil && a.action != action {
			return a, fmt.Errorf("%s: is for the action %s, not %s", name, action, a.action)
		}
	}
	if a.hasOffset = fields["offset"] != nil; a.hasOffset {
		if a.offset, err = decodeWhole(fields["offset"]); err != nil {
			return a, fmt.Errorf("offset: %w", err)
		}
	}
	if a.timeout, err = decodeSeconds(fields["timeout"]); err != nil {
		return a, fmt.Errorf("timeout: %w", err)
	}
	switch {
	case a.job == "" && a.action != "list":
		err = errors.New("job_id: missing; the action list shows the jobs")
	case a.job != "" && a.action == "list":
		err = errors.New("job_id: is not for the action list; poll tells about one job")
	case a.action == "write" && fields["data"] == nil:
		err = errors.New("data: missing; give the text to write as a string")
	case a.action == "signal" && !signalWord.MatchString(a.signal):
		err = fmt.Errorf("signal: must be a name such as INT, TERM or HUP, not %q", clip(a.signal))
	}
	return a, err
}

// signalWord is a name that kill(1) may know.
var signalWord = regexp.MustCompile(`^(SIG)?(HUP|INT|QUIT|ABRT|KILL|USR1|USR2|PIPE|ALRM|TERM|CONT|STOP|TSTP|WINCH)$`)

// callProcess is the function of the process tool.
func (t *Terminal) callProcess(ctx context.Context, args json.RawMessage) (answer json.RawMessage) {
	defer func() {
		if p := recover(); p != nil {
			answer = failure(fmt.Errorf("process: panic: %v", p))
		}
	}()
	a, err := decodeProcessArguments(args, allowsTaskID(ctx))
	if err != nil {
		return failure(err)
	}
	task := toolTask(ctx, a.task)
	if a.action == "list" {
		all, err := t.Jobs(ctx, task)
		if err != nil {
			return failure(cause(err))
		}
		kept := newCapture(t.cfg.MaxOutput, t.cfg.KeepHead)
		kept.write([]byte(listJobs(all)))
		var r Result
		r.Output, r.Omitted = kept.text()
		return r.encode()
	}
	j := &Job{terminal: t, task: task, status: JobStatus{ID: a.job}}
	if a.action == "log" {
		return j.answerLog(ctx, a)
	}
	a.timeout = cmp.Or(a.timeout, t.cfg.Timeout)
	late, err := j.act(ctx, a)
	done := errors.Is(err, os.ErrProcessDone)
	if err != nil && !done {
		return failure(cause(err))
	}
	if done { // its supervisor may be still about to write down how it ended
		_, _ = j.follow(ctx, Ready{}, startGrace)
	}
	r, ended := j.result(ctx, -pollEnd, pollEnd)
	switch {
	case done && ended:
		r.explainEnded()
	case done:
		return failure(cause(err))
	case late && r.Status == StatusRunning: // it may have ended since
		r.notice("the job has not ended within " + seconds(a.timeout) + " s")
	}
	return r.encode()
}

// act does what the model wants done to the job; late tells that it went on
// for longer than it was waited for.
func (j *Job) act(ctx context.Context, a processArguments) (late bool, err error) {
	switch a.action {
	case "wait":
		return j.waitFor(ctx, a.timeout)
	case "write":
		err = j.Write(ctx, []byte(a.data))
		if errors.Is(err, ErrTimeout) {
			err = errors.New("the job does not read its input; part of the data may be waiting for it")
		}
	case "close_stdin":
		err = j.CloseStdin(ctx)
	case "signal":
		_, err = j.operate(ctx, operation{function: "tj_signal", vars: []string{"tj_name", strings.TrimPrefix(a.signal, "SIG")}})
	case "kill":
		err = j.Kill(ctx)
	}
	return false, err
}

// waitFor waits as long as a call may, and no longer.
func (j *Job) waitFor(ctx context.Context, limit time.Duration) (late bool, err error) {
	if most := j.terminal.cfg.MaxTimeout; most > 0 && limit > most {
		return false, fmt.Errorf("timeout %v: the longest allowed is %v; wait again instead", limit, most)
	}
	v, err := j.follow(ctx, Ready{}, limit)
	return v != verdictEnded, err
}

// answerLog answers with a part of the log, and where the next one begins.
func (j *Job) answerLog(ctx context.Context, a processArguments) json.RawMessage {
	most := min(4*j.terminal.cfg.MaxOutput, maxJobOutput)
	offset := a.offset
	if !a.hasOffset {
		offset = -int64(most)
	}
	part, err := j.log(ctx, offset, most)
	if err == nil && offset > part.end {
		err = fmt.Errorf("offset %d: the log has only %d bytes", offset, part.end)
	}
	if err != nil {
		return failure(err)
	}
	data := part.data
	if a.hasOffset { // the rest comes with the next call
		data = data[:skipRunes(data, j.terminal.cfg.MaxOutput)]
	}
	kept := newCapture(j.terminal.cfg.MaxOutput, 0)
	kept.write(data)
	next := part.next - int64(len(part.data)-len(data))
	r := Result{JobID: j.status.ID, ExitCode: part.exitCode}
	r.Output, r.Omitted = kept.text()
	if begin := next - int64(len(data)); a.hasOffset && begin > offset+3 {
		r.notice(fmt.Sprintf("the log begins at byte %d: what was before has been dropped", begin))
	}
	if !part.ended {
		r.Status = StatusRunning
	}
	answer := r.encode()
	return append(answer[:len(answer)-1], `,"next_offset":`+strconv.FormatInt(next, 10)+"}"...)
}

// listJobs is a line about each job.
func listJobs(all []JobStatus) string {
	var text strings.Builder
	for _, s := range all {
		state := "running"
		if !s.Running {
			state = fmt.Sprintf("ended with code %d after %v", s.ExitCode, s.Ended.Sub(s.Started).Round(time.Second))
			if s.ExitCode == exitUnknown {
				state = "ended, code not known"
			}
		}
		command, _, more := strings.Cut(strings.TrimSpace(s.Command), "\n")
		if more {
			command += " …"
		}
		fmt.Fprintf(&text, "%s  %s  started %s  log %s (%d bytes)  %s\n", s.ID, state,
			s.Started.UTC().Format(time.RFC3339), s.LogPath, s.LogSize, strings.ToValidUTF8(clip(command), "\uFFFD"))
	}
	if len(all) == 0 {
		return "no jobs\n"
	}
	return text.String()
}
