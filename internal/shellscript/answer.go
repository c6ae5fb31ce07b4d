// Answers, told from whatever else a shell prints.

package shellscript

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/terminal-go/terminal/internal/spawn"
)

// Startup files, the dynamic linker and a shell's trace write to the output of a
// script as well as the script itself. So what counts as its answer is marked
// with a word that nobody else knows.

// Quiet undoes what SHELLOPTS may have done to a shell: a script needs its
// patterns, and nobody reads a trace of it.
const Quiet = "set +efuvx\n"

// ErrNoAnswer says that a script ended without an answer.
var ErrNoAnswer = errors.New("the script did not answer")

// An Answer is the standard output of a script. It drops everything up to a line
// with a random word, which the script prints when it begins. It is safe for
// concurrent use.
type Answer struct {
	mark []byte // the line, with the newline before it

	mu    sync.Mutex // guards the rest, also while to is written to
	to    io.Writer
	held  []byte // what may be the beginning of the mark
	begun bool
}

// NewAnswer returns an Answer that writes to w what follows the mark.
func NewAnswer(w io.Writer) *Answer {
	return &Answer{mark: []byte("\n" + spawn.NewRunID() + "\n"), to: w}
}

// Word returns the word of the mark.
func (a *Answer) Word() string { return string(bytes.TrimSpace(a.mark)) }

// Prologue returns the lines with which a script begins its answer.
func (a *Answer) Prologue() string {
	return Quiet + fmt.Sprintf("printf '\\n%%s\\n' %s\n", a.Word())
}

// Write returns the errors of the writer behind it only.
func (a *Answer) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.begun {
		return a.to.Write(p)
	}
	a.held = append(a.held, p...)
	at := bytes.Index(a.held, a.mark)
	if at < 0 {
		a.held = bytes.Clone(a.held[max(0, len(a.held)-len(a.mark)+1):])
		return len(p), nil
	}
	rest := a.held[at+len(a.mark):]
	a.held, a.begun = nil, true
	if len(rest) > 0 {
		if _, err := a.to.Write(rest); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Begun reports whether the mark has come.
func (a *Answer) Begun() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.begun
}

// A ShortAnswer is an Answer that is kept, up to a limit, and whose end is marked
// like its beginning. Only a complete one counts.
type ShortAnswer struct {
	*Answer
	limit int

	kept    bytes.Buffer // guarded by Answer.mu, as dropped is
	dropped int          // bytes beyond limit
}

// maxNoise is how many bytes may follow an answer.
const maxNoise = 64 << 10

// NewShortAnswer returns an answer of at most limit bytes. Write fails beyond it.
func NewShortAnswer(limit int) *ShortAnswer {
	s := &ShortAnswer{}
	s.Answer = NewAnswer(limitedWriter{s})
	s.limit = limit + len(s.mark)
	return s
}

type limitedWriter struct{ s *ShortAnswer }

func (w limitedWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.s.limit-w.s.kept.Len())
	w.s.kept.Write(p[:n])
	w.s.dropped += len(p) - n
	if w.s.dropped > maxNoise || w.s.dropped > 0 && !bytes.Contains(w.s.kept.Bytes(), w.s.mark) {
		return n, errTooLong
	}
	return len(p), nil
}

var errTooLong = errors.New("the script's answer is too long")

// Frame returns script with the marks, the last of which it prints whichever way
// it exits.
func (s *ShortAnswer) Frame(script string) string {
	return fmt.Sprintf("%strap 'printf \"\\n%%s\\n\" %s' EXIT\n%s", s.Prologue(), s.Word(), script)
}

// Text returns the answer, without its marks.
func (s *ShortAnswer) Text() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, _, ok := bytes.Cut(s.kept.Bytes(), s.mark)
	switch {
	case ok:
		return string(text), nil
	case s.kept.Len() >= s.limit:
		return "", errTooLong
	default:
		return "", ErrNoAnswer
	}
}
