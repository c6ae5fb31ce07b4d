// This file holds Run: one command on a lane, from its request to its result.

package lane

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Output of survivors is read until none arrived for drainIdle, and for at most
// drainMax.
const (
	drainIdle = 100 * time.Millisecond
	drainMax  = time.Second
)

// Command is a command to run on a lane.
type Command struct {
	// Script is run with -c. It has at most MaxScript bytes and no NUL.
	Script string

	// Dir is the absolute path of the working directory.
	Dir string

	// Env is added to the shell's own variables. Names are those env(1) accepts;
	// values have no NUL byte.
	Env map[string]string

	// RunID consists of letters, digits, "_", "." and "-". Survivors are found by
	// it. It is exported as TERMINAL_RUN_ID; a value in Env must contain it.
	RunID string

	// Stdin is the command's standard input; nil means /dev/null. A command with
	// Stdin is its lane's last, because it inherits the shell's stdin. Reading
	// begins when the command has started; a blocked Read may outlast it.
	Stdin io.Reader

	// Detached promises that processes left behind hold neither pipe. Nothing is
	// searched for, and Result.Survivors is false.
	Detached bool

	// Stdout and Stderr receive the output; nil discards it. If they are equal,
	// one pipe serves both and keeps the order. They are not used after Done. If a
	// Write fails, the rest of that stream is discarded.
	Stdout, Stderr io.Writer
}

// merged reports whether stdout and stderr share a pipe.
func (c *Command) merged() bool {
	if c.Stdout == nil || c.Stderr == nil {
		return c.Stdout == nil && c.Stderr == nil
	}
	return reflect.TypeOf(c.Stdout).Comparable() && reflect.TypeOf(c.Stderr).Comparable() && c.Stdout == c.Stderr
}

// Result is how a command ended.
type Result struct {
	// ExitCode is the shell's $?, 128+n after signal n.
	ExitCode int

	// Survivors reports whether processes with the run ID are left. It is always
	// false without /proc.
	Survivors bool
}

// Run is one command on a lane. It owns the goroutine that writes to the shell's
// stdin, which ends at the latest when the lane has broken and a pending Read of
// Stdin has returned.
type Run struct {
	lane    *Lane
	command Command
	pid     atomic.Int64
	started chan struct{} // closed when the command has started
	done    chan struct{}

	// Guarded by lane.mu, except for the scanner and writer of each side, which only
	// the writer of that stream uses.
	stdout, stderr side
	sending        bool // the request is being written
	sent           bool // enough of it was written to start the command
	refused        error
	result         Result
	left           bool // processes may still write
	err            error
	busy           int         // streams inside take
	ending         bool        // all marks were seen; draining
	over           bool        // writers must not be used; done closes once busy is 0
	idle, limit    *time.Timer // of the drain
}

// side is the state of stdout or stderr in a Run.
type side struct {
	scanner      scanner
	w            io.Writer
	failed       bool
	began, ended bool // marks seen
}

// write passes output on until a Write fails.
func (s *side) write(p []byte) {
	if s.w == nil || s.failed {
		return
	}
	_, err := s.w.Write(p)
	s.failed = err != nil
}

func newRun(l *Lane, c Command) *Run {
	r := &Run{lane: l, command: c, started: make(chan struct{}), done: make(chan struct{})}
	r.stdout.w, r.stderr.w = c.Stdout, c.Stderr
	r.stderr.began = true
	if c.merged() {
		r.stderr = side{ended: true} // unused
	}
	return r
}

// refuse ends a Run that was never sent.
func (r *Run) refuse(cause error) *Run {
	r.over = true
	r.err = fmt.Errorf("%w: %w", ErrNotStarted, cause)
	close(r.done)
	return r
}

// Done returns a channel that is closed when the command has ended and its output
// was written, or when the lane broke.
func (r *Run) Done() <-chan struct{} { return r.done }

// Started returns a channel that is closed when the command starts, if it does.
func (r *Run) Started() <-chan struct{} { return r.started }

// Result returns the result once Done is closed. The error matches ErrNotStarted,
// and wraps the fault of the directory or script if there is one; or ErrBroken,
// and wraps the stream's error.
func (r *Run) Result() (Result, error) {
	select {
	case <-r.done:
		return r.result, r.err
	default:
		return Result{}, errors.New("command has not ended")
	}
}

// Pid returns the pid of the command's session leader in its environment. It is 0
// until the command starts, and without setsid(1) or /proc.
func (r *Run) Pid() int { return int(r.pid.Load()) }

// send writes the command's lines, whose first enough bytes start it, and then
// copies its input.
func (r *Run) send(lines string, enough int) {
	l := r.lane
	<-l.ready
	l.mu.Lock()
	if r.over {
		l.mu.Unlock()
		return
	}
	if err := l.errLocked(); err != nil {
		r.endLocked(fmt.Errorf("%w: %w", ErrNotStarted, err))
		l.mu.Unlock()
		return
	}
	r.sending = true
	l.mu.Unlock()

	n, err := io.WriteString(l.stdin, lines)

	l.mu.Lock()
	r.sending = false
	r.sent = n >= enough
	whole := n >= len(lines)
	switch {
	case !whole:
		l.breakLocked(fmt.Errorf("%w: %w", ErrBroken, errors.Join(err, io.ErrShortWrite)))
	case l.broken != nil:
		r.lostLocked()
	}
	l.mu.Unlock()
	if !whole {
		_ = l.hangUp()
		return
	}
	if r.command.Stdin != nil {
		r.feed()
	}
}

// feed copies the command's input once the command has started. If it never
// starts, Stdin is not read.
func (r *Run) feed() {
	defer func() { _ = r.lane.hangUp() }()
	select {
	case <-r.started:
	case <-r.done:
		return
	}
	_, _ = io.Copy(r.lane.stdin, r.command.Stdin) // the command may not read it all
}

// markedLocked handles a mark with the given tail.
func (r *Run) markedLocked(s *stream, tail []byte) {
	if s.isStderr {
		r.stderr.ended = true
		return
	}
	kind, text := byte(0), ""
	if len(tail) > 0 {
		kind, text = tail[0], string(tail[1:])
	}
	switch {
	case kind == 's' && !r.stdout.began:
		pid, _ := strconv.ParseInt(text, 10, 64)
		r.pid.Store(pid)
		r.stdout.began = true
		close(r.started)
	case kind == 'n':
		r.refused = &fs.PathError{Op: "chdir", Path: r.command.Dir, Err: refusal(text)}
	case kind == 'e':
		code, left, _ := strings.Cut(text, " ")
		r.result.ExitCode, _ = strconv.Atoi(code)
		if r.refused == nil { // a command that never ran left nothing
			r.result.Survivors = left == "2"
			r.left = left != "0"
		}
		r.lane.spent = r.lane.spent || r.left
		r.stdout.ended = true
		if !r.stdout.began && r.refused == nil {
			r.refused = fmt.Errorf("fork died with code %s", code)
		}
	default:
		r.lane.breakLocked(fmt.Errorf("%w: mark %q makes no sense", ErrBroken, tail))
	}
}

// refusal returns the error for the reason in an n mark.
func refusal(reason string) error {
	switch reason {
	case "e":
		return syscall.ENOENT
	case "d":
		return syscall.ENOTDIR
	default:
		return syscall.EACCES
	}
}

// advanceLocked ends the Run, or starts the drain, if all marks were seen. wrote
// reports whether output arrived, which prolongs the drain.
func (r *Run) advanceLocked(wrote bool) {
	switch {
	case r.over:
		r.finishLocked()
	case r.ending:
		if wrote {
			r.idle.Reset(drainIdle)
		}
	case !r.stdout.ended || !r.stderr.ended:
	case r.refused != nil:
		r.endLocked(fmt.Errorf("%w: %w", ErrNotStarted, r.refused))
	case !r.left:
		r.endLocked(nil)
	default:
		r.ending = true
		r.idle = time.AfterFunc(drainIdle, r.drained)
		r.limit = time.AfterFunc(drainMax, r.drained)
	}
}

// drained ends the Run when a drain timer fires.
func (r *Run) drained() {
	r.lane.mu.Lock()
	defer r.lane.mu.Unlock()
	if !r.over {
		r.endLocked(nil)
	}
}

// lostLocked ends the Run because the lane broke.
func (r *Run) lostLocked() {
	switch {
	case r.over:
	case r.ending:
		r.endLocked(nil)
	case r.refused != nil:
		r.endLocked(fmt.Errorf("%w: %w", ErrNotStarted, r.refused))
	case r.sent:
		r.result = Result{}
		r.endLocked(r.lane.broken)
	default:
		r.endLocked(fmt.Errorf("%w: %w", ErrNotStarted, r.lane.broken))
	}
}

// endLocked sets the error of the Run and forbids the use of its writers.
func (r *Run) endLocked(err error) {
	r.over = true
	r.err = err
	if r.idle != nil {
		r.idle.Stop()
		r.limit.Stop()
	}
	r.finishLocked()
}

// finishLocked frees the lane and closes Done once no writer is in use.
func (r *Run) finishLocked() {
	if r.busy > 0 || r.lane.run != r {
		return
	}
	r.lane.run = nil
	close(r.done)
}
