// This file holds Lane: the states of the stream to one shell.

// Package lane runs commands through a shell that is already running in a
// container or sandbox, at the far end of a byte stream. A command costs a fork
// there instead of a round trip through the backend's API.
//
// # Data flow
//
// Pool.Exec takes a Shell (pool.go), Lane.Start sends it a request (request.go),
// the shell's output comes back through Stdout and Stderr, where a scanner
// (mark.go) finds the marks, and Run (run.go) passes the output on to the
// command's writers.
//
// # Locks
//
// Lane.mu guards a Lane and its Run, Pool.mu a Pool. Pool.mu may be held while
// Lane.mu is taken, never the reverse. Neither is held during a read or write.
//
// # Protocol
//
// The shell (bash, dash or busybox ash) is started with [Argv], prints readyText
// on stdout and then evals its stdin line by line. Nothing is written before
// that, so if anything fails earlier, no command has started.
//
// The first line defines the functions of command.sh and bootstrap.sh. From then
// on the shell keeps a standby: a shell in a session of its own, started by
// setsid(1), that waits for the next command. A command is these lines:
//
//	lane_run WORD MODE DIR ID VALUE SCRIPT...   read by the standby, which enters the
//	                                            directory, exports the variables and
//	                                            execs the command's shell
//	lane_end WORD MODE ID                       read by the lane's shell after that
//
// Every line begins with the lane's random tag, so that the second half of a line
// is recognized if a standby was killed after the first. A newline in a word is
// written as "$lane_n". If the environment has changed, the function that exports
// it is defined before the first line and after the second. So each command is a
// new process in its own session, without waiting for a fork or setsid(1). The
// lane's shell forks itself if there is no standby, and for a command with Stdin,
// which inherits the rest of the shell's stdin and is therefore its last.
//
// WORD is 0x1e and 128 random bits that are hidden from the command. A mark is
// the word, a tail and a newline:
//
//	stdout  WORD s PID          output begins; PID leads the session, or is 0
//	stdout  WORD n REASON       the directory cannot be entered: e, d or p
//	stdout  WORD e CODE LEFT    output ends; LEFT is 1 or 2 if processes are left
//	stderr  WORD                output ends; absent if stderr is stdout
//
// Bytes between the marks are output, unchanged; bytes outside are discarded.
// Only bytes that may begin a mark are held back.
//
// A process that outlives its command may still write to the lane's pipes. The
// shell looks for such processes after each command (lane_look). A lane that has
// any takes no more commands, but must be kept open and read: a closed pipe would
// kill them (SIGPIPE) and a full one would block them.
package lane

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

var (
	// ErrNotStarted means that the command did not start and will not.
	ErrNotStarted = errors.New("command did not start in its lane")

	// ErrBroken means that the stream to the shell ended. Whether a command ran,
	// and how it ended, is unknown.
	ErrBroken = errors.New("lane broke")

	// ErrClosed is the Err of a lane after Close.
	ErrClosed = errors.New("lane is closed")
)

var (
	errBusy  = errors.New("another command is under way")
	errSpent = errors.New("an earlier command left processes behind or was given the lane's stdin")
)

// maxNotice bounds the output kept for the error if no shell announces itself.
const maxNotice = 512

// Lane is the near end of a shell that runs one command after another. All its
// methods are safe for concurrent use.
type Lane struct {
	stdin          io.WriteCloser
	stdout, stderr stream
	ready          chan struct{} // closed by awaitLocked or breakLocked
	announcement   scanner       // used only by the writer of stdout
	tag            string        // random; every line to the shell begins with it

	mu        sync.Mutex // guards the rest and the Run's fields marked so; never held during I/O
	announced bool
	notice    []byte // output before the announcement
	broken    error  // why the stream from the shell ended
	closed    bool   // Close was called
	hungUp    bool   // stdin has been closed, or is about to be
	run       *Run   // running command, or nil
	spent     bool   // a command left processes or took the rest of stdin
	primed    bool   // the bootstrap was sent
	env       string // environment that was sent last
}

// New returns a lane to a shell that was started with [Argv]. stdin is the shell's
// standard input; its Close must unblock a Write, as it does for pipes and
// connections. The caller copies the shell's output to Stdout and Stderr, and
// calls Broken when the output has ended.
func New(stdin io.WriteCloser) *Lane {
	l := &Lane{stdin: stdin, ready: make(chan struct{}), tag: string(newWord()[1:])}
	l.announcement.word = []byte(readyText)
	l.stdout = stream{lane: l}
	l.stderr = stream{lane: l, isStderr: true}
	return l
}

// Stdout returns the writer for the shell's standard output. A Write never fails;
// before it returns, it passes the command's output on.
func (l *Lane) Stdout() io.Writer { return &l.stdout }

// Stderr returns the writer for the shell's standard error. It and Stdout may be
// used by one goroutine or by one each.
func (l *Lane) Stderr() io.Writer { return &l.stderr }

// Broken records that the stream from the shell ended with err; nil means io.EOF.
// It must be called after the last write to Stdout and Stderr. It ends the running
// command and closes the shell's stdin. Only the first call has an effect.
func (l *Lane) Broken(err error) {
	if err == nil {
		err = io.EOF
	}
	l.mu.Lock()
	if !l.announced && len(l.notice) > 0 {
		err = fmt.Errorf("%w: %q", err, strings.TrimSpace(string(l.notice)))
	}
	l.breakLocked(fmt.Errorf("%w: %w", ErrBroken, err))
	l.mu.Unlock()
	_ = l.hangUp()
}

// breakLocked makes the lane unusable. If a request is being written, send ends
// its Run when it knows how much was written; closing stdin unblocks it.
func (l *Lane) breakLocked(err error) {
	if l.broken == nil {
		l.broken = err
	}
	if !l.announced {
		l.announced = true
		close(l.ready)
	}
	if r := l.run; r != nil && !r.sending {
		r.lostLocked()
	}
}

// Ready returns a channel that is closed when the shell has announced
// itself or the lane broke.
func (l *Lane) Ready() <-chan struct{} { return l.ready }

// Err returns why the lane is unusable, or nil while it is usable.
func (l *Lane) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errLocked()
}

func (l *Lane) errLocked() error {
	if l.broken == nil && l.closed {
		return ErrClosed
	}
	return l.broken
}

// Reusable reports whether the lane can take a command now: it is ready, idle and
// unbroken, and the last command left no processes and had no Stdin.
func (l *Lane) Reusable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.announced && l.errLocked() == nil && !l.hungUp && l.run == nil && !l.spent
}

// Close closes the shell's stdin, so that it exits after its running command. It
// waits for neither; Broken must still be called. Close is idempotent.
func (l *Lane) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	return l.hangUp()
}

// hangUp closes stdin once.
func (l *Lane) hangUp() error {
	l.mu.Lock()
	again := l.hungUp
	l.hungUp = true
	l.mu.Unlock()
	if again {
		return nil
	}
	return l.stdin.Close()
}

// Start sends a command and returns at once. If the lane is busy or unusable, the
// Run has already ended with ErrNotStarted. If the shell has not announced itself
// yet, the command is sent when it does.
func (l *Lane) Start(c Command) *Run {
	r := newRun(l, c)
	if err := c.check(); err != nil {
		return r.refuse(err)
	}
	word := newWord()
	r.stdout.scanner.word, r.stderr.scanner.word = word, word
	env := c.environment()

	l.mu.Lock()
	switch {
	case l.errLocked() != nil:
		defer l.mu.Unlock()
		return r.refuse(l.errLocked())
	case l.run != nil:
		defer l.mu.Unlock()
		return r.refuse(errBusy)
	case l.spent || l.hungUp:
		defer l.mu.Unlock()
		return r.refuse(errSpent)
	}
	if env == l.env {
		env = ""
	} else {
		l.env = env
	}
	primed := l.primed
	l.primed = true
	l.run = r
	l.spent = c.Stdin != nil
	l.mu.Unlock()

	lines, enough := c.request(l.tag, word, env)
	if !primed {
		first := "lane_tag=" + l.tag + ";" + bootstrap
		lines, enough = first+lines, len(first)+enough
	}
	go r.send(lines, enough)
	return r
}

// stream is the writer for the shell's stdout or stderr.
type stream struct {
	lane     *Lane
	isStderr bool
}

// Write handles what the shell wrote; it never fails.
func (s *stream) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		rest = s.lane.take(s, rest)
	}
	return len(p), nil
}

// take handles p up to and including the first mark, and returns the rest.
func (l *Lane) take(s *stream, p []byte) []byte {
	l.mu.Lock()
	if !l.announced {
		defer l.mu.Unlock()
		return l.awaitLocked(s, p)
	}
	r := l.run
	if r == nil || r.over {
		l.mu.Unlock()
		return nil // outside of any command
	}
	side := &r.stdout
	if s.isStderr {
		side = &r.stderr
	}
	r.busy++
	ended := side.ended
	wanted := side.began && !(r.stdout.ended && !r.left && ended)
	l.mu.Unlock()

	out, tail, rest, found := p, []byte(nil), []byte(nil), false
	if !ended {
		out, tail, rest, found = side.scanner.next(p)
	}
	if wanted && len(out) > 0 {
		side.write(out)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	r.busy--
	if found {
		r.markedLocked(s, tail)
	}
	r.advanceLocked(wanted && len(out) > 0)
	return rest
}

// awaitLocked looks for the announcement and keeps other output for the error.
func (l *Lane) awaitLocked(s *stream, p []byte) []byte {
	out, rest, found := p, []byte(nil), false
	if !s.isStderr {
		out, _, rest, found = l.announcement.next(p)
	}
	l.notice = append(l.notice, out[:min(len(out), maxNotice-len(l.notice))]...)
	if found {
		l.announced = true
		l.notice = nil
		close(l.ready)
	}
	return rest
}
