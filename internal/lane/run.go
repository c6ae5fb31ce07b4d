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

// What survivors write is waited for until none came for drainIdle, and at
// most for drainMax.
const (
	drainIdle = 100 * time.Millisecond
	drainMax  = time.Second
)

// A Command is what a lane is asked to run.
type Command struct {
	// Script is run as with -c. It may have any bytes but NUL, and at most
	// MaxScript of them.
	Script string

	// Dir is the absolute path of the working directory.
	Dir string

	// Env is added to the shell's own variables. Names may be whatever env(1)
	// takes; values may not have NUL bytes.
	Env map[string]string

	// RunID is a word of letters, digits, "_", "." and "-". It is exported as
	// TERMINAL_RUN_ID, unless Env has that, which should then contain it:
	// survivors are searched by it.
	RunID string

	// Stdin is the command's standard input; nil means /dev/null. A command
	// with Stdin is its lane's last, because it gets the rest of the shell's.
	// It is read from when the command has started, and a Read that blocks
	// may outlast the command.
	Stdin io.Reader

	// Detached promises that what the command leaves behind holds neither
	// pipe, so that there is nothing to look for, and Result.Survivors is
	// false.
	Detached bool

	// Stdout and Stderr receive the output; nil discards it. If they are
	// equal, the command has one pipe for both, which keeps the order. They
	// are not used after Done. An error makes the rest be discarded.
	Stdout, Stderr io.Writer
}

// merged tells whether stdout and stderr are to be one pipe.
func (c *Command) merged() bool {
	if c.Stdout == nil || c.Stderr == nil {
		return c.Stdout == nil && c.Stderr == nil
	}
	return reflect.TypeOf(c.Stdout).Comparable() && reflect.TypeOf(c.Stderr).Comparable() && c.Stdout == c.Stderr
}

// A Result says how a command ended.
type Result struct {
	// ExitCode is the shell's $?: 128+n after signal n.
	ExitCode int

	// Survivors tells that processes were left that carry the run id. It is
	// false where there is no /proc.
	Survivors bool
}

// A Run is one command on a lane. It owns the goroutine that writes to the
// shell's stdin; that ends at the latest when the lane is broken and a Read of
// the command's Stdin has returned.
type Run struct {
	lane    *Lane
	command Command
	pid     atomic.Int64
	started chan struct{} // closed when the command has
	done    chan struct{}

	// Guarded by lane.mu, except for the sides' scanners and writers, which
	// belong to the two streams' writers.
	stdout, stderr side
	sending        bool // the line is being written
	sent           bool // all of it was
	refused        error
	result         Result
	left           bool // processes that may write more
	err            error
	busy           int         // streams that are using a writer
	ending         bool        // all marks have been seen
	over           bool        // the writers are not to be used any more; done when !busy
	idle, limit    *time.Timer // of the drain
}

// A side is what a Run has of each of the two streams.
type side struct {
	scanner      scanner
	w            io.Writer
	failed       bool
	began, ended bool // marks seen
}

func (s *side) give(p []byte) {
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
		r.stderr = side{ended: true} // nobody writes there
	}
	return r
}

// refuse ends a Run that never got to the lane.
func (r *Run) refuse(cause error) *Run {
	r.over = true
	r.err = fmt.Errorf("%w: %w", ErrNotStarted, cause)
	close(r.done)
	return r
}

// Done is closed when the command has ended and its output has been given to
// its writers, or when the lane broke.
func (r *Run) Done() <-chan struct{} { return r.done }

// Started is closed when the command has started. It stays open if it never
// does.
func (r *Run) Started() <-chan struct{} { return r.started }

// Result is valid when Done is closed. An error is ErrNotStarted, together
// with what is wrong with the directory or the script if that is the reason;
// or ErrBroken, together with the stream's error.
func (r *Run) Result() (Result, error) {
	select {
	case <-r.done:
		return r.result, r.err
	default:
		return Result{}, errors.New("command has not ended")
	}
}

// Pid is the process id of the command's session leader in its environment, or
// 0 while it is not known, or if it cannot be: without setsid(1) or /proc.
func (r *Run) Pid() int { return int(r.pid.Load()) }

// send writes the command's lines, of which the first bytes are enough to start
// it, and then its input.
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

// feed copies the command's input when the command has started: of one that
// never does the input is not touched.
func (r *Run) feed() {
	defer func() { _ = r.lane.hangUp() }()
	select {
	case <-r.started:
	case <-r.done:
		return
	}
	_, _ = io.Copy(r.lane.stdin, r.command.Stdin) // a command need not read it
}

// markedLocked takes note of a mark.
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
		if r.refused == nil { // what never ran has left nothing
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

// goOnLocked ends the Run if it is time to. wrote tells that output came.
func (r *Run) goOnLocked(wrote bool) {
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

func (r *Run) endLocked(err error) {
	r.over = true
	r.err = err
	if r.idle != nil {
		r.idle.Stop()
		r.limit.Stop()
	}
	r.finishLocked()
}

// finishLocked closes Done once no writer is in use.
func (r *Run) finishLocked() {
	if r.busy > 0 || r.lane.run != r {
		return
	}
	r.lane.run = nil
	close(r.done)
}
