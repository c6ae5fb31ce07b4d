// This file holds the answers of the process tool and of background calls; what
// they do to a job is in job.go.

package terminal

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/terminal-go/terminal/internal/capture"
	"github.com/terminal-go/terminal/internal/job"
	"github.com/terminal-go/terminal/internal/toolspec"
)

// startGrace is how long a background call waits for its job to end, so that the
// model learns at once of a missing program or a syntax error.
const startGrace = 300 * time.Millisecond

// statusTail is the number of bytes from the end of the log in an answer about a
// job's state.
const statusTail = 2000

// callBackground answers a call of the terminal tool that starts a job.
func (t *Terminal) callBackground(ctx context.Context, req Request) json.RawMessage {
	j, err := t.Start(ctx, req)
	if j == nil {
		return failure(cause(err))
	}
	if req.Ready == nil {
		_, err = j.follow(ctx, Ready{}, startGrace)
	}
	result, ended := j.result(ctx, 0, 0)
	switch {
	case req.Ready != nil && err == nil:
		result.addNotice("the job is ready: " + req.Ready.what())
	case errors.Is(err, ErrTimeout):
		result.addNotice(cause(err).Error())
	case ended && (req.Ready != nil || result.ExitCode != 0):
		result.explainEnded()
	}
	return result.encode()
}

// explainEnded sets r's Error and Status for a call that needs a running job and
// found that the job had ended.
func (r *Result) explainEnded() {
	r.Error = fmt.Sprintf("the job has ended already, with code %d", r.ExitCode)
	if r.ExitCode == exitUnknown {
		r.Error = "the job has ended already, with a code that is not known"
	}
	r.Status = StatusError
}

// addNotice appends text to r's Notice.
func (r *Result) addNotice(text string) {
	n := notices{r.Notice}
	n.add(text)
	r.Notice = n.text
}

// cause returns the cause of an *Error. The model knows the operation and the
// task already.
func cause(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// result returns the state of the job and up to size bytes of its log, starting at
// offset, or that many bytes before the end if offset is negative. If size is 0,
// it is job.MaxOutput. ended reports whether the job has ended.
func (j *Job) result(ctx context.Context, offset int64, size int) (r Result, ended bool) {
	status, err := j.report(ctx)
	var part job.Part
	if err == nil {
		part, err = j.log(ctx, offset, cmp.Or(size, job.MaxOutput))
	}
	if err != nil {
		r.explain(err)
		return r, false
	}
	kept := capture.NewBuffer(j.terminal.cfg.MaxOutput, j.terminal.cfg.KeepHead)
	_, _ = kept.Write(part.Data)
	r.Output, r.Omitted = kept.Text()
	r.JobID, r.LogPath, r.ExitCode = status.ID, status.LogPath, status.ExitCode
	if status.Running {
		r.Status = StatusRunning
	}
	if part.Full {
		r.addNotice("the log could not be written any more: is the disk full?")
	}
	return r, !status.Running
}

// callProcess is the function of the process tool.
func (t *Terminal) callProcess(ctx context.Context, args json.RawMessage) (answer json.RawMessage) {
	defer func() {
		if p := recover(); p != nil {
			answer = failure(fmt.Errorf("process: panic: %v", p))
		}
	}()
	a, err := toolspec.DecodeProcess(args, allowsTaskID(ctx))
	if err != nil {
		return failure(err)
	}
	task := toolTask(ctx, a.TaskID)
	j := &Job{terminal: t, task: task, status: JobStatus{ID: a.JobID}}
	switch a.Action {
	case "list":
		return t.answerList(ctx, task)
	case "log":
		return j.answerLog(ctx, a)
	}
	a.Timeout = cmp.Or(a.Timeout, t.cfg.Timeout)
	late, err := j.act(ctx, a)
	done := errors.Is(err, os.ErrProcessDone)
	if err != nil && !done {
		return failure(cause(err))
	}
	if done { // the supervisor may not have recorded the end yet
		_, _ = j.follow(ctx, Ready{}, startGrace)
	}
	r, ended := j.result(ctx, -statusTail, statusTail)
	switch {
	case done && ended:
		r.explainEnded()
	case done:
		return failure(cause(err))
	case late && r.Status == StatusRunning: // not if the job has ended since the wait
		r.addNotice("the job has not ended within " + toolspec.FormatSeconds(a.Timeout) + " s")
	}
	return r.encode()
}

// answerList returns the answer to action list: one line for each job.
func (t *Terminal) answerList(ctx context.Context, task string) json.RawMessage {
	all, err := t.Jobs(ctx, task)
	if err != nil {
		return failure(cause(err))
	}
	kept := capture.NewBuffer(t.cfg.MaxOutput, t.cfg.KeepHead)
	_, _ = kept.Write([]byte(listJobs(all)))
	var r Result
	r.Output, r.Omitted = kept.Text()
	return r.encode()
}

// act performs the actions wait, write, close_stdin, signal and kill. poll needs
// nothing but the state that callProcess adds to every answer. late reports
// whether a wait ended before the job did.
func (j *Job) act(ctx context.Context, a toolspec.ProcessArgs) (late bool, err error) {
	switch a.Action {
	case "wait":
		return j.waitFor(ctx, a.Timeout)
	case "write":
		err = j.Write(ctx, []byte(a.Data))
		if errors.Is(err, ErrTimeout) {
			err = errors.New("the job does not read its input; part of the data may be waiting for it")
		}
	case "close_stdin":
		err = j.CloseStdin(ctx)
	case "signal":
		err = j.signal(ctx, a.Signal)
	case "kill":
		err = j.Kill(ctx)
	}
	return false, err
}

// waitFor waits for the job to end, for at most limit. A limit above
// Config.MaxTimeout is an error.
func (j *Job) waitFor(ctx context.Context, limit time.Duration) (late bool, err error) {
	if most := j.terminal.cfg.MaxTimeout; most > 0 && limit > most {
		return false, fmt.Errorf("timeout %v: the longest allowed is %v; wait again instead", limit, most)
	}
	v, err := j.follow(ctx, Ready{}, limit)
	return v != job.Ended, err
}

// answerLog returns the answer to action log: a part of the log and next_offset,
// at which the next part begins. With an offset, the part is cut at its end, so
// that no byte is skipped between calls; without one, it is the end of the log.
func (j *Job) answerLog(ctx context.Context, a toolspec.ProcessArgs) json.RawMessage {
	most := min(4*j.terminal.cfg.MaxOutput, job.MaxOutput)
	offset := a.Offset
	if !a.HasOffset {
		offset = -int64(most)
	}
	part, err := j.log(ctx, offset, most)
	if err == nil && offset > part.End {
		err = fmt.Errorf("offset %d: the log has only %d bytes", offset, part.End)
	}
	if err != nil {
		return failure(err)
	}
	data := part.Data
	if a.HasOffset { // the next call returns the rest
		data = data[:capture.PrefixLen(data, j.terminal.cfg.MaxOutput)]
	}
	kept := capture.NewBuffer(j.terminal.cfg.MaxOutput, 0)
	_, _ = kept.Write(data)
	next := part.Next - int64(len(part.Data)-len(data))
	r := Result{JobID: j.status.ID, ExitCode: part.ExitCode}
	r.Output, r.Omitted = kept.Text()
	if begin := next - int64(len(data)); a.HasOffset && begin > offset+3 {
		r.addNotice(fmt.Sprintf("the log begins at byte %d: what was before has been dropped", begin))
	}
	if !part.Ended {
		r.Status = StatusRunning
	}
	answer := r.encode()
	return append(answer[:len(answer)-1], `,"next_offset":`+strconv.FormatInt(next, 10)+"}"...)
}

// listJobs returns one line for each job.
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
			s.Started.UTC().Format(time.RFC3339), s.LogPath, s.LogSize, strings.ToValidUTF8(capture.Clip(command), "\uFFFD"))
	}
	if len(all) == 0 {
		return "no jobs\n"
	}
	return text.String()
}
