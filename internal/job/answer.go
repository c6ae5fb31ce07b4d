// Answers: what the scripts print, and what their exit codes mean.

package job

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/terminal-go/terminal/internal/capture"
	"github.com/terminal-go/terminal/internal/spawn"
)

// Exit codes of job.sh by the variables that it has them in.
const firstExit = 81

var exitNames = []string{"unknown", "full", "failed", "taken", "none", "ended", "closed", "absent"}

// Errors of requests that only this module sees.
var (
	ErrTextsAbsent = errors.New("job texts are not in the environment")
	ErrNoSurvivors = errors.New("no process was left")
)

// ErrRefused says that the environment refused to start a job, and would do so
// again. It is in the chain beside spawn.ErrNotStarted.
var ErrRefused = errors.New("job was refused")

func refused(format, message string) error {
	return spawn.Mark(spawn.NotStarted(fmt.Errorf(format, message)), ErrRefused)
}

// Error explains the exit code of a request, with what it printed on stderr. It
// returns nil for 0.
func Error(code int, message string) error {
	if code == 0 {
		return nil
	}
	name := ""
	if i := code - firstExit; i >= 0 && i < len(exitNames) {
		name = exitNames[i]
	}
	switch name {
	case "unknown":
		return spawn.ErrUnknownJob
	case "full":
		return fmt.Errorf("%w: %s; kill one, or wait for the end of one", spawn.ErrTooManyJobs, message)
	case "failed":
		return refused("job could not be set up: %s", message)
	case "taken":
		return refused("ready port: %s; choose another, or stop what listens there", message)
	case "none":
		return ErrNoSurvivors
	case "absent":
		return ErrTextsAbsent
	case "ended":
		return spawn.Mark(errors.New(message), os.ErrProcessDone)
	case "closed":
		return spawn.Mark(errors.New(message), fs.ErrClosed)
	}
	return fmt.Errorf("job script ended with code %d: %s", code, capture.Prefix(message, 500))
}

// ParseStatus reads the answer to Report: a line about each job, an empty line,
// and the commands one after the other.
func ParseStatus(answer []byte, home string) (all []Status, err error) {
	var lengths []int
	for {
		line, rest, ok := bytes.Cut(answer, []byte("\n"))
		answer = rest
		f := strings.Fields(string(line))
		if len(f) == 0 {
			if !ok && len(all) > 0 {
				return nil, errors.New("jobs: the answer is cut")
			}
			break
		}
		if len(f) != 4 && len(f) != 7 {
			return nil, fmt.Errorf("jobs: unexpected answer %q", capture.Clip(string(line)))
		}
		s := Status{Running: len(f) == 4}.in(home, f[0])
		started, err1 := strconv.ParseInt(f[1], 10, 64)
		length, err2 := strconv.Atoi(f[2])
		size, err3 := strconv.ParseInt(f[3], 10, 64)
		s.Started, s.LogSize = time.Unix(0, started), size
		if !s.Running {
			s.ExitCode, err = strconv.Atoi(f[4])
			s.Ended = s.Started.Add(max(0, parseClock(f[6])-parseClock(f[5])))
		}
		if err := errors.Join(err, err1, err2, err3); err != nil {
			return nil, fmt.Errorf("jobs: unexpected answer: %w", err)
		}
		all, lengths = append(all, s), append(lengths, length)
	}
	for i, n := range lengths {
		if n < 0 || n > len(answer) {
			return nil, errors.New("jobs: the answer is cut")
		}
		all[i].Command, answer = string(answer[:n]), answer[n:]
	}
	return all, nil
}

// parseClock reads the output of date +%s.%N. Not every date(1) knows %N.
func parseClock(text string) time.Duration {
	whole, fraction, _ := strings.Cut(text, ".")
	n, _ := strconv.ParseInt(whole, 10, 64)
	ns, err := strconv.ParseInt(fraction, 10, 64)
	if err != nil || len(fraction) != 9 {
		ns = 0
	}
	return time.Duration(n)*time.Second + time.Duration(ns)
}

// A Part is a part of a log.
type Part struct {
	Data     []byte
	Next     int64 // offset of the end of Data
	First    int64 // offset of what the log still has
	End      int64 // of the log
	Ended    bool  // the job has ended
	ExitCode int   // of a job that has ended, see Status
	Full     bool  // the disk was full, so the rest of the output was dropped
}

// Parse reads the answer to l's request. No rune is cut at either end of the
// data.
func (l Log) Parse(answer []byte) (Part, error) {
	head, data, ok := bytes.Cut(answer, []byte("\n"))
	fields := strings.Fields(string(head))
	if !ok || len(fields) < 3 {
		return Part{}, fmt.Errorf("log: unexpected answer %q", capture.Clip(string(head)))
	}
	var p Part
	var from int64
	for i, n := range []*int64{&p.First, &p.End, &from} {
		var err error
		if *n, err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return Part{}, fmt.Errorf("log: unexpected answer %q", capture.Clip(string(head)))
		}
	}
	for _, word := range fields[3:] {
		if code, ok := strings.CutPrefix(word, "ended="); ok {
			p.Ended = true
			var err error
			if p.ExitCode, err = strconv.Atoi(code); err != nil {
				return Part{}, fmt.Errorf("log: unexpected answer %q", capture.Clip(string(head)))
			}
		}
		p.Full = p.Full || word == "full"
	}
	offset := l.Offset
	if offset < 0 {
		offset = max(p.First, p.End+offset)
	}
	offset = max(offset, from)
	begin := int(min(offset-from, int64(len(data))))
	begin, end := capture.WholeRunes(data, begin, l.Size, p.Ended && from+int64(len(data)) >= p.End)
	p.Data, p.Next = data[begin:end], from+int64(end)
	if offset > p.End {
		p.Data, p.Next = nil, offset
	}
	return p, nil
}

// ParseWait reads the answer to Wait: the exit code of the job.
func ParseWait(answer []byte) (int, error) {
	text, _, _ := strings.Cut(string(answer), " ")
	code, err := strconv.Atoi(text)
	if err != nil {
		return UnknownCode, fmt.Errorf("unexpected answer %q", capture.Clip(string(answer)))
	}
	return code, nil
}

// ParseEnd reads the answer to End: the run ID of the job's processes, and
// whether its end has been recorded.
func ParseEnd(answer []byte) (runID string, ended bool, err error) {
	runID, state, _ := strings.Cut(strings.TrimSpace(string(answer)), " ")
	if !isRunID(runID) {
		return "", false, fmt.Errorf("unexpected run id %q", capture.Clip(runID))
	}
	return runID, state != "", nil
}

// A Verdict is how Follow ended.
type Verdict int

// The values of Verdict.
const (
	Late  Verdict = iota // the limit is over
	Ready                // something listens on the port
	Ended                // the job has ended
)

// ParseVerdict reads what Follow printed on stderr.
func ParseVerdict(said string) Verdict {
	word, _, _ := strings.Cut(strings.TrimSpace(said), " ")
	switch word {
	case "ready":
		return Ready
	case "exited":
		return Ended
	}
	return Late
}
