// This file finds marks in a stream; what they mean is left to run.go.

package lane

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
)

// maxTail bounds the bytes between a mark's word and its newline.
const maxTail = 64

// newWord returns an unguessable word that marks begin with. Its first byte is
// rare in output, so that output is rarely held back.
func newWord() []byte {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	return append([]byte{markByte}, hex.EncodeToString(random[:])...)
}

const markByte = 0x1e // ASCII record separator

// scanner finds marks in a stream that arrives in pieces. A mark is the word, a
// tail and a newline. Only bytes that may begin a mark are held back.
type scanner struct {
	word []byte
	held []byte
}

// next returns the output before the first mark in the held bytes and p, the
// mark's tail, and the bytes after it. If there is no mark, rest is nil and the
// end of p may be held back. The slices are valid until the next call or a change
// of p.
func (s *scanner) next(p []byte) (out, tail, rest []byte, found bool) {
	if len(s.held) > 0 {
		p = append(s.held, p...)
		s.held = nil
	}
	at := bytes.Index(p, s.word)
	if at < 0 {
		at = len(p) - s.partial(p)
		s.held = bytes.Clone(p[at:])
		return p[:at], nil, nil, false
	}
	tail = p[at+len(s.word):]
	end := bytes.IndexByte(tail[:min(len(tail), maxTail)], '\n')
	switch {
	case end >= 0:
		return p[:at], tail[:end], tail[end+1:], true
	case len(tail) >= maxTail:
		return p[:at], tail[:maxTail], tail[maxTail:], true
	}
	s.held = bytes.Clone(p[at:])
	return p[:at], nil, nil, false
}

// partial returns the length of the longest suffix of p that is a prefix of word.
func (s *scanner) partial(p []byte) int {
	for n := min(len(p), len(s.word)-1); n > 0; n-- {
		if bytes.HasSuffix(p, s.word[:n]) {
			return n
		}
	}
	return 0
}
