package shellscript

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAnswerDropsWhatPrecedesItsMark(t *testing.T) {
	for _, size := range []int{1, 7, 1000} { // of the pieces in which it comes
		var got bytes.Buffer
		a := NewAnswer(&got)
		text := "activated\n" + a.Word() + "x\n" + string(a.mark[:20]) + string(a.mark) + "one\n" + string(a.mark) + "two"
		for len(text) > 0 {
			n, err := a.Write([]byte(text[:min(size, len(text))]))
			require.NoError(t, err)
			text = text[n:]
		}
		assert.True(t, a.Begun())
		assert.Equal(t, "one\n"+string(a.mark)+"two", got.String())
	}
}

func TestAnswerWithoutMark(t *testing.T) {
	var got bytes.Buffer
	a := NewAnswer(&got)
	_, _ = a.Write([]byte(strings.Repeat("0:0\n", 1<<20)))
	assert.False(t, a.Begun())
	assert.Empty(t, got.String())
	assert.Less(t, cap(a.held), 100, "noise is not kept")
}

func TestShortAnswer(t *testing.T) {
	tests := map[string]struct {
		text string // M is the mark
		want string
		err  string
	}{
		"between":  {text: "noiseM12:12\n0:0\nMnoiseM1:1M", want: "12:12\n0:0\n"},
		"empty":    {text: "MM", want: ""},
		"longest":  {text: "M" + strings.Repeat("x", 64) + "M", want: strings.Repeat("x", 64)},
		"too long": {text: "M" + strings.Repeat("x", 64<<10) + "M", err: "too long"},
		"none":     {text: "0:0\n", err: "did not answer"},
		"cut":      {text: "M0:0\n", err: "did not answer"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := NewShortAnswer(64)
			_, err := a.Write([]byte(strings.ReplaceAll(test.text, "M", string(a.mark))))
			if test.err == "" {
				require.NoError(t, err)
			}
			got, err := a.Text()
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
			} else {
				require.NoError(t, err)
			}
			assert.Equal(t, test.want, got)
			assert.LessOrEqual(t, a.kept.Len(), 64+len(a.mark))
		})
	}
}
