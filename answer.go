// This file holds how a script of this package answers through an output that
// others write to as well: startup files, the dynamic linker, a shell's trace.

package terminal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// maxAnswer is the size in bytes up to which most answers are kept.
const maxAnswer = 4 << 10

// maxSaid is how many characters of what a script says on its standard error are
// kept, for the text of an error.
const maxSaid = 1000

// quietShell undoes what SHELLOPTS may have done to a shell. A script that
// lists /proc needs patterns, and a trace of it is of no use to anybody.
const quietShell = "set +efuvx\n"

// An answer is the standard output of a script. It drops everything up to a
// line that holds a random word, which the script prints when it begins. It is
// safe for concurrent use.
type answer struct {
	mark []byte // the line, with the newline before it

	mu    sync.Mutex // guards the rest, also while to is written to
	to    io.Writer
	held  []byte // what may be the beginning of the mark
	begun bool
}

// newAnswer returns an answer that passes on to w what follows the mark.
func newAnswer(w io.Writer) *answer {
	return &answer{mark: []byte("\n" + newRunID() + "\n"), to: w}
}

func (a *answer) word() string { return string(bytes.TrimSpace(a.mark)) }

// prologue returns the lines with which a script begins its answer.
func (a *answer) prologue() string {
	return quietShell + fmt.Sprintf("printf '\\n%%s\\n' %s\n", a.word())
}

// Write fails only where the writer behind it does.
func (a *answer) Write(p []byte) (int, error) {
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

// seen reports whether the mark has come.
func (a *answer) seen() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.begun
}

// A shortAnswer is an answer that is kept and has an end, which is marked as
// its beginning is. Only a whole one counts.
type shortAnswer struct {
	*answer
	kept *limitedBuffer
}

// newShortAnswer returns an answer of at most limit bytes.
func newShortAnswer(limit int) *shortAnswer {
	kept := &limitedBuffer{}
	a := &shortAnswer{answer: newAnswer(kept), kept: kept}
	kept.limit = limit + len(a.mark)
	return a
}

// frame makes script print the marks, whichever way it exits.
func (a *shortAnswer) frame(script string) string {
	return fmt.Sprintf("%strap 'printf \"\\n%%s\\n\" %s' EXIT\n%s", a.prologue(), a.word(), script)
}

// text returns the answer.
func (a *shortAnswer) text() (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	text, _, ok := bytes.Cut(a.kept.data, a.mark)
	switch {
	case ok:
		return string(text), nil
	case len(a.kept.data) >= a.kept.limit:
		return "", errors.New("the script's answer is too long")
	default:
		return "", errNoAnswer
	}
}

var errNoAnswer = errors.New("the script did not answer")

// A limitedBuffer keeps the first bytes that are written to it.
type limitedBuffer struct {
	limit int
	data  []byte
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.data = append(b.data, p[:min(len(p), b.limit-len(b.data))]...)
	return len(p), nil
}
