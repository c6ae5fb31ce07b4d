// Package lane runs commands through a shell that is already there: inside a
// container or a sandbox, at the far end of a byte stream. A command costs
// what a fork costs over there and not what the way in costs.
//
// # Protocol
//
// The shell (bash, dash or busybox ash) is started with [Argv], announces
// itself with a line on its stdout, and then does what it reads from its
// stdin, line by line. Nothing is written before it has announced itself, so
// whatever is in the way of that, no command has started.
//
// The first line defines the functions of command.sh and bootstrap.sh. From
// then on the shell keeps a standby: a shell in a session of its own, made by
// setsid(1), that waits for the next command. A command is these lines:
//
//	lane_run WORD MODE DIR ID VALUE SCRIPT...   read by the standby, which enters the
//	                                            directory, exports the variables and
//	                                            becomes the command's shell
//	lane_end WORD MODE ID                       read by the lane's shell when that has ended
//
// Every line begins with a random tag of the lane's, so that the rest of one of
// which a standby read half before it was killed is not taken for a line. A
// newline in any of the words is written as "$lane_n". In front of the first
// line, and after the second, goes the definition of a function that exports
// the environment, if that has changed. Each command is so a fresh process in
// a session of its own, but neither a fork nor setsid(1) is waited for. Without
// a standby, because there is no setsid(1) or somebody killed it, the lane's
// shell reads the first line and forks. So it does for a command with Stdin,
// which gets the rest of the lane's stdin: it must be the shell's last.
//
// The word is 128 random bits that the command does not get to see, after a
// byte 0x1e. It makes the marks by which this end knows what is going on, each
// a word, a tail and a newline:
//
//	stdout  WORD s PID          output begins; PID leads the session, or is 0
//	stdout  WORD n REASON       the directory cannot be entered: e, d or p
//	stdout  WORD e CODE LEFT    output ends; LEFT is 1 or 2 if processes are left
//	stderr  WORD                output ends
//
// Where stderr is stdout there is no mark on stderr. What is between the marks
// is the output, byte for byte; what is outside of them is discarded. Of the
// output only that is held back which a mark might begin with.
//
// A process that outlives its command may go on writing to the lane's pipes.
// The shell looks for such processes after each command (see lane_look), and a
// lane that has any is not to be used again, so that no output gets into
// another command's. It must be kept and read from: they might block on a full
// pipe or be killed by a closed one.
package lane

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

var (
	// ErrNotStarted says that the command did not start, and will not.
	ErrNotStarted = errors.New("command did not start in its lane")

	// ErrBroken says that the stream to the shell ended, and of a command
	// that it cannot be known whether it ran, or to what end.
	ErrBroken = errors.New("lane broke")

	// ErrClosed is the Err of a lane that was closed at this end.
	ErrClosed = errors.New("lane is closed")
)

var (
	errBusy  = errors.New("another command is under way")
	errSpent = errors.New("an earlier command left processes behind or was given the lane's stdin")
)

// longestNotice bounds what is kept of what came instead of a shell.
const longestNotice = 512

// A Lane is the near end of a shell that runs commands, one after another. All
// its methods are safe for concurrent use.
type Lane struct {
	stdin          io.WriteCloser
	stdout, stderr stream
	ready          chan struct{} // closed by announceLocked or breakLocked
	announcement   scanner       // of stdout's writer only
	tag            string        // random; every line to the shell begins with it

	mu        sync.Mutex // guards the rest and the Run's fields that say so; held for moments, never while reading or writing
	announced bool
	notice    []byte // what came on stdout and stderr before the announcement
	broken    error  // how the stream from the shell ended
	closed    bool   // by Close
	hungUp    bool   // stdin has been closed, or is about to be
	run       *Run   // the one under way
	spent     bool   // a command left processes, or was given the rest of stdin
	told      bool   // the shell has been sent the bootstrap
	env       string // the environment the shell was sent last
}

// New makes the near end of a lane. stdin is the standard input of a shell
// started with [Argv]; its Close must make a Write that blocks return, as that
// of pipes and connections does. The caller copies what the shell writes into
// Stdout and Stderr, and says with Broken when that has ended.
func New(stdin io.WriteCloser) *Lane {
	l := &Lane{stdin: stdin, ready: make(chan struct{}), tag: string(newWord()[1:])}
	l.announcement.word = []byte(readyText)
	l.stdout = stream{lane: l}
	l.stderr = stream{lane: l, isStderr: true}
	return l
}

// Stdout takes what the shell writes to its standard output. Writes never
// fail; they pass the command's output on to its writer before they return.
func (l *Lane) Stdout() io.Writer { return &l.stdout }

// Stderr takes what the shell writes to its standard error, like Stdout. The
// two may be written to from one goroutine or from one each.
func (l *Lane) Stderr() io.Writer { return &l.stderr }

// Broken says that the stream from the shell has ended, and with what error;
// nil means at its end. It must be called when nothing more will be written to
// Stdout and Stderr. A command that is under way ends, and the lane's stdin is
// closed. Only the first call counts.
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

// breakLocked makes the lane unusable. A command whose line is just being
// written ends when it is known how far that got; closing stdin sees to it.
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

// Ready is closed when the shell has announced itself, or the lane broke.
func (l *Lane) Ready() <-chan struct{} { return l.ready }

// Err says why the lane cannot be used any more, and is nil while it can.
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

// Reusable tells whether the lane can take a command now: it is ready, idle
// and unbroken, the last command left no processes and was not given Stdin.
func (l *Lane) Reusable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.announced && l.errLocked() == nil && !l.hungUp && l.run == nil && !l.spent
}

// Close closes the shell's standard input, so that it ends when its command
// has. It does not wait for that, nor end the command; Broken must be called
// all the same when the stream has ended. It is idempotent.
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

// Start sends a command and returns at once; the Run tells the rest. A lane
// takes one command at a time: if it is not free, or cannot be used any more,
// the Run has ended with ErrNotStarted. A shell that has not announced itself
// yet is waited for.
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
	told := l.told
	l.told = true
	l.run = r
	l.spent = c.Stdin != nil
	l.mu.Unlock()

	lines, enough := c.request(l.tag, word, env)
	if !told {
		first := "lane_tag=" + l.tag + ";" + bootstrap
		lines, enough = first+lines, len(first)+enough
	}
	go r.send(lines, enough)
	return r
}

// A stream is one of the two on which the shell writes.
type stream struct {
	lane     *Lane
	isStderr bool
}

// Write takes what the shell wrote.
func (s *stream) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		rest = s.lane.take(s, rest)
	}
	return len(p), nil
}

// take deals with p up to the first mark in it, and returns the rest.
func (l *Lane) take(s *stream, p []byte) []byte {
	l.mu.Lock()
	if !l.announced {
		defer l.mu.Unlock()
		return l.awaitLocked(s, p)
	}
	r := l.run
	if r == nil || r.over {
		l.mu.Unlock()
		return nil // nobody's
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
		side.give(out)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	r.busy--
	if found {
		r.markedLocked(s, tail)
	}
	r.goOnLocked(wanted && len(out) > 0)
	return rest
}

// awaitLocked looks for the announcement, and keeps what comes instead.
func (l *Lane) awaitLocked(s *stream, p []byte) []byte {
	out, rest, found := p, []byte(nil), false
	if !s.isStderr {
		out, _, rest, found = l.announcement.next(p)
	}
	l.notice = append(l.notice, out[:min(len(out), longestNotice-len(l.notice))]...)
	if found {
		l.announced = true
		l.notice = nil
		close(l.ready)
	}
	return rest
}
