package openai

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTailBoundedOnRune(t *testing.T) {
	const most = 10
	text := strings.Repeat("aé€😀", 1000)
	runes := []rune(text)
	for size := range 9 { // of a write
		w := newTail(most)
		for rest := []byte(text); len(rest) > 0; {
			n := min(size+1, len(rest))
			_, _ = w.Write(rest[:n])
			rest = rest[n:]
		}
		assert.Equal(t, "[the beginning is cut]\n"+string(runes[len(runes)-most:]), w.String())
		assert.LessOrEqual(t, cap(w.data), 200)
	}
}

func TestTailInvalidUTF8(t *testing.T) {
	w := newTail(10)
	_, _ = w.Write([]byte("a\xffb"))
	assert.Equal(t, "a\uFFFDb", w.String())
}
