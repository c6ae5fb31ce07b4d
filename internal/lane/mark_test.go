// This file tests the scanner for marks.

package lane

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestScannerHoldsPartialMark(t *testing.T) {
	s := scanner{word: []byte("\x1eword")}
	out, _, _, found := s.next([]byte("text\x1e"))
	require.Equal(t, "text", string(out))
	require.False(t, found)
	out, _, _, _ = s.next([]byte("\x1ewo"))
	require.Equal(t, "\x1e", string(out))
	out, _, _, _ = s.next([]byte("x"))
	require.Equal(t, "\x1ewox", string(out))
	require.Empty(t, s.held)
	out, _, _, found = s.next([]byte("no newline\x1eworde1"))
	require.Equal(t, "no newline", string(out))
	require.False(t, found)
	out, tail, rest, found := s.next([]byte("2 0\nrest"))
	require.True(t, found)
	require.Empty(t, out)
	require.Equal(t, "e12 0", string(tail))
	require.Equal(t, "rest", string(rest))
}

func TestNewWordUnique(t *testing.T) {
	a, b := newWord(), newWord()
	require.Len(t, a, 33)
	require.NotEqual(t, a, b)
}

// FuzzScanner checks that any split of the stream yields exactly the bytes before
// the mark, and holds back only a prefix of it.
func FuzzScanner(f *testing.F) {
	f.Add([]byte("out\x1eput"), []byte("\x1ewor\x1e"), uint16(3))
	f.Add([]byte("\x1e\x1e\x1e"), []byte("rest"), uint16(1))
	f.Add(bytes.Repeat([]byte("\x1ewor"), 50), []byte{}, uint16(7))
	f.Fuzz(func(t *testing.T, output, after []byte, cuts uint16) {
		word := []byte("\x1eword")
		if bytes.Contains(append(bytes.Clone(output), word[:4]...), word) || bytes.Contains(output, word) {
			t.Skip("the output has the word")
		}
		stream := append(append(append(bytes.Clone(output), word...), "e7 0\n"...), after...)
		s := scanner{word: word}
		var got []byte
		for fed := 0; fed < len(stream); {
			cuts = cuts*25173 + 13849
			n := min(1+int(cuts>>8)%9, len(stream)-fed)
			piece := bytes.Clone(stream[fed : fed+n])
			fed += n
			out, tail, rest, found := s.next(piece)
			got = append(got, out...)
			if found {
				require.Equal(t, "e7 0", string(tail))
				require.True(t, bytes.Equal(output, got))
				require.Equal(t, string(after), string(rest)+string(stream[fed:]))
				return
			}
			if seen := min(fed, len(output)); fed <= len(output) {
				require.Less(t, seen-len(got), len(word))
				require.True(t, bytes.HasPrefix(word, output[len(got):seen]))
			}
		}
		t.Fatal("mark not found")
	})
}
