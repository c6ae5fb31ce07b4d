package terminal

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A Survivors is an Executor that can tell, at next to no cost, whether a
// command has left processes running. Those become a job of the task (D6.4),
// which takes a search inside the environment. For an Executor without it a
// Terminal searches after commands whose text starts something in the
// background, in its last 48 KiB: a single &, nohup, setsid, disown, coproc, or
// a word with daemon.
type Survivors interface {
	// Survivors reports whether the command with this run id, whose Exec has
	// just returned with a nil error, left processes that still ran then. A
	// Terminal asks at most once for each command, and never for what it runs
	// by itself, so what is kept for an answer must not be kept for ever. A
	// wrong yes costs a search that finds nothing.
	Survivors(runID string) bool
}

// leavers are the runs that left processes, until somebody asks.
type leavers struct {
	mu   sync.Mutex // guards runs; held for moments
	runs map[string]struct{}
}

// maxLeavers bounds what is kept for a caller that does not ask.
const maxLeavers = 1000

func (l *leavers) note(runID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.runs == nil {
		l.runs = make(map[string]struct{})
	}
	if len(l.runs) < maxLeavers {
		l.runs[runID] = struct{}{}
	}
}

func (l *leavers) take(runID string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, left := l.runs[runID]
	delete(l.runs, runID)
	return left
}

// background is what a command mostly says that leaves something running.
var background = regexp.MustCompile(`(^|[^&>|\\])&([^&>0-9]|$)|\b(nohup|setsid|disown|coproc)\b|daemon`)

func maySurvive(ex Executor, runID, command string) bool {
	if s, ok := capability[Survivors](ex); ok {
		return s.Survivors(runID)
	}
	return background.MatchString(command[max(0, len(command)-longScript):])
}

// adopt makes a job of what the command left running, if it did. The command
// has ended by itself, and whatever happens here does not change its result
// but for what it says about the job.
func (c *call) adopt(ctx context.Context, e *entry, runID string) {
	job := &JobStatus{Command: beginning(c.req.Command, maxJobCommand), Running: true, Started: time.Now()}
	ctx, cancel := context.WithTimeout(ctx, sweepLimit)
	defer cancel()
	out, err := c.terminal.operateIn(ctx, e, job, operation{function: "tj_adopt", run: runID, vars: []string{"tj_clear", jobFunction("tj_room")}})
	switch {
	case errors.Is(err, errNoSurvivors):
		return
	case err != nil:
		c.terminal.cfg.Logger.Info("processes left by a command not known", "task", e.task, "backend", e.backend, "error", err)
		c.notice(fmt.Sprintf("the command may have left processes running, which are not listed as a job: %v", err))
		return
	}
	c.result.JobID, c.result.LogPath = job.ID, job.LogPath
	c.tell(ctx, Event{Kind: EventJobStarted, JobID: job.ID, Command: job.Command})
	what := "a process of the command still runs"
	if n := strings.Count(string(out), "\n"); n > 1 {
		what = fmt.Sprintf("%d processes of the command still run", n)
	}
	c.notice(what + ", as job " + job.ID)
}

var errNoSurvivors = errors.New("no process was left")
