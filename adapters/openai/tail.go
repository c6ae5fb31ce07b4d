package openai

import (
	"strings"
	"unicode/utf8"

	"github.com/terminal-go/terminal"
)

// tail keeps the end of what is written to it, in bounded memory. One goroutine
// writes; String is called after it has ended.
type tail struct {
	most int // characters
	data []byte
	cut  bool
}

// newTail returns a tail of most characters; none, or more than a Result has by
// default, are the latter.
func newTail(most int64) *tail {
	if most <= 0 || most > terminal.DefaultMaxOutput {
		most = terminal.DefaultMaxOutput
	}
	return &tail{most: int(most)}
}

func (w *tail) Write(p []byte) (int, error) {
	w.data = append(w.data, p...)
	room := utf8.UTFMax * (w.most + 1) // one more, as the first may be split
	if over := len(w.data) - room; over > room {
		w.data = append(w.data[:0], w.data[over:]...)
		w.cut = true
	}
	return len(p), nil
}

// String returns valid UTF-8, with a line in front if something was cut.
func (w *tail) String() string {
	text := strings.ToValidUTF8(string(w.data), string(utf8.RuneError))
	over := utf8.RuneCountInString(text) - w.most
	if over <= 0 && !w.cut {
		return text
	}
	for ; over > 0; over-- {
		_, size := utf8.DecodeRuneInString(text)
		text = text[size:]
	}
	return "[the beginning is cut]\n" + text
}
