package lane

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
)

// longestTail bounds what may stand between a mark's word and the newline
// that ends it.
const longestTail = 64

// newWord makes what nobody can guess: marks begin with it. The first byte is
// one that output seldom has, so that seldom anything must be held back.
func newWord() []byte {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand
	return append([]byte{markByte}, hex.EncodeToString(random[:])...)
}

const markByte = 0x1e

// A scanner finds marks in a stream that comes in pieces. A mark is the word,
// a tail and a newline. It holds back only what may be the beginning of one.
type scanner struct {
	word []byte
	held []byte
}

// next returns the output in front of the first mark in what was held back
// and p, the mark's tail, and what follows it. Without a mark there is no
// rest, and the end of the output may be held back. The slices are good until
// the next call, or until p changes.
func (s *scanner) next(p []byte) (out, tail, rest []byte, found bool) {
	if len(s.held) > 0 {
		p = append(s.held, p...)
		s.held = nil
	}
	at := bytes.Index(p, s.word)
	if at < 0 {
		at = len(p) - s.begun(p)
		s.hold(p[at:])
		return p[:at], nil, nil, false
	}
	tail = p[at+len(s.word):]
	end := bytes.IndexByte(tail[:min(len(tail), longestTail)], '\n')
	switch {
	case end >= 0:
		return p[:at], tail[:end], tail[end+1:], true
	case len(tail) >= longestTail:
		return p[:at], tail[:longestTail], tail[longestTail:], true
	}
	s.hold(p[at:])
	return p[:at], nil, nil, false
}

// begun is the length of the longest end of p with which the word begins.
func (s *scanner) begun(p []byte) int {
	for n := min(len(p), len(s.word)-1); n > 0; n-- {
		if bytes.HasSuffix(p, s.word[:n]) {
			return n
		}
	}
	return 0
}

func (s *scanner) hold(p []byte) {
	s.held = append([]byte(nil), p...)
}
