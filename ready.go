package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// DefaultReady is the limit that a zero Ready.Timeout stands for.
const DefaultReady = 30 * time.Second

// Ready says when a job that Start starts is ready. Of Port and LogPattern one
// is needed; if both are given, whichever comes first will do.
type Ready struct {
	// Port is a TCP port from 1 to 65535 on which something in the
	// environment has begun to listen. It must be free before, or nothing is
	// started. 0: no port.
	Port int

	// LogPattern is a regular expression in Go's syntax that matches in a
	// line of the job's log. "": no pattern.
	LogPattern string

	// Timeout is how long to wait; the job goes on after it. 0: 30 s.
	// Negative, or more than a year: an error.
	Timeout time.Duration
}

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

func (r *Ready) vars() []string {
	return []string{"tj_port", strconv.Itoa(r.Port), "tj_hex", fmt.Sprintf("%04X", r.Port)}
}

// limit is the time to wait.
func (r *Ready) limit() time.Duration {
	if r.Timeout == 0 {
		return DefaultReady
	}
	return r.Timeout
}

// verdict is what came of waiting for a job.
type verdict int

const (
	verdictLate verdict = iota // neither of the others in time
	verdictReady
	verdictEnded
)

// nap is the time between two looks at a job, inside its environment.
const nap = 50 * time.Millisecond

// follow watches a job for some time, from inside its environment, and
// returns what came of it.
func (j *Job) follow(ctx context.Context, r Ready, limit time.Duration) (verdict, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	op := operation{
		function: "tj_follow",
		vars:     append(r.vars(), "tj_rounds", strconv.Itoa(int(limit/nap))),
		stderr:   new(bytes.Buffer),
		limit:    limit + jobLimit,
	}
	watch := &watcher{found: stop}
	if r.LogPattern != "" {
		watch.pattern = regexp.MustCompile(r.LogPattern)
		op.vars = append(op.vars, "tj_show", "yes")
	}
	op.stdout = watch
	_, err := j.operate(ctx, op)
	if watch.seen {
		return verdictReady, nil
	}
	if err != nil {
		return verdictLate, err
	}
	word, _, _ := strings.Cut(strings.TrimSpace(op.stderr.String()), " ")
	switch word {
	case "ready":
		return verdictReady, nil
	case "exited":
		return verdictEnded, nil
	}
	return verdictLate, nil
}

// watcher looks for a pattern in the lines that are written to it. The
// unfinished last line counts too: a prompt has no end of line.
type watcher struct {
	pattern *regexp.Regexp // nil: none
	found   func()
	line    []byte // the last one, so far; of a long one the end
	seen    bool
}

const longestLine = 64 << 10

func (w *watcher) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && !w.seen && w.pattern != nil; {
		n := bytes.IndexByte(rest, '\n') + 1
		if n == 0 {
			n = len(rest)
		}
		w.line = append(w.line, rest[:n]...)
		rest = rest[n:]
		if len(w.line) > longestLine {
			w.line = append(w.line[:0], w.line[len(w.line)-longestLine:]...)
		}
		w.seen = w.pattern.Match(bytes.TrimSuffix(w.line, []byte("\n")))
		if w.line[len(w.line)-1] == '\n' {
			w.line = w.line[:0]
		}
		if w.seen {
			w.found()
		}
	}
	return len(p), nil
}

// awaitReady waits until a job that has just been started is ready, and says
// so if it is not.
func (j *Job) awaitReady(ctx context.Context, r Ready) error {
	v, err := j.follow(ctx, r, r.limit())
	switch {
	case err != nil:
		return err
	case v == verdictLate:
		text := fmt.Errorf("job %s is not ready after %v (waited for %s); it goes on", j.ID(), r.limit(), r.what())
		return marked{text, ErrTimeout}
	case v == verdictEnded:
		return j.endedEarly(ctx)
	}
	return nil
}

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

// endedEarly is the error of a job that ended instead of becoming ready.
func (j *Job) endedEarly(ctx context.Context) error {
	status, err := j.report(ctx)
	if err != nil {
		return err
	}
	part, err := j.log(ctx, -2000, 2000)
	if err != nil {
		return err
	}
	log := strings.TrimSpace(strings.ToValidUTF8(string(part.data), "\uFFFD"))
	return marked{fmt.Errorf("job %s ended with code %d before it was ready; its log ends: %s", j.ID(), status.ExitCode, log), os.ErrProcessDone}
}
