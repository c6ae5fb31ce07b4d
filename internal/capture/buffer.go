// Package capture keeps what fits of a command's output and copies all of it to
// those who follow it live.
//
// A Buffer keeps the first and the last characters of a stream. An Output joins
// the streams of one command in a Buffer and in its live copies. runes.go cuts
// text, for this package and for everyone else.
package capture

import (
	"fmt"
	"unicode/utf8"
)

// A Buffer keeps the first and the last runes of a stream of any length,
// repaired to valid UTF-8, and counts all of them. It uses at most 4 bytes for
// each rune that it keeps and grows as it is needed. It is not safe for
// concurrent use.
type Buffer struct {
	limit, headLimit int    // runes to keep, and how many of them from the start
	head             []byte // the first headLimit runes
	headRunes        int
	tail             ring // the last bytes of what came after head
	total            int  // runes seen
	part             [utf8.UTFMax]byte
	partLen          int // bytes of an incomplete rune
}

// NewBuffer returns a Buffer that keeps limit runes, the share keepHead of them
// from the start of the stream.
func NewBuffer(limit int, keepHead float64) *Buffer {
	head := int(float64(limit) * keepHead)
	return &Buffer{limit: limit, headLimit: head, tail: ring{limit: utf8.UTFMax * (limit - head)}}
}

var replacement = []byte(string(utf8.RuneError))

// Write takes the next bytes of the stream. It never fails.
func (b *Buffer) Write(p []byte) (int, error) {
	n := len(p)
	for b.partLen > 0 && len(p) > 0 {
		b.part[b.partLen] = p[0]
		b.partLen++
		p = p[1:]
		b.decodePart(false)
	}
	for len(p) > 0 {
		size, runes := validPrefix(p)
		if size > 0 {
			b.add(p[:size], runes)
			p = p[size:]
			continue
		}
		if !utf8.FullRune(p) {
			b.partLen = copy(b.part[:], p)
			break
		}
		b.add(replacement, 1)
		p = p[1:]
	}
	return n, nil
}

// decodePart adds the rune in part once it is complete, and a replacement for
// each byte that cannot belong to one. At the end of the stream an incomplete
// rune is replaced too.
func (b *Buffer) decodePart(end bool) {
	for b.partLen > 0 {
		p := b.part[:b.partLen]
		if !end && !utf8.FullRune(p) {
			return
		}
		r, size := utf8.DecodeRune(p)
		if r == utf8.RuneError && size <= 1 {
			b.add(replacement, 1)
		} else {
			b.add(p[:size], 1)
		}
		b.partLen = copy(b.part[:], p[size:])
	}
}

// add appends valid UTF-8 of the given number of runes.
func (b *Buffer) add(p []byte, runes int) {
	b.total += runes
	if room := b.headLimit - b.headRunes; room > 0 {
		n := len(p)
		if runes > room {
			n, runes = PrefixLen(p, room), room
		}
		b.head = append(b.head, p[:n]...)
		b.headRunes += runes
		p = p[n:]
	}
	b.tail.write(p)
}

// Text ends the stream and returns what was kept, at most limit runes, and the
// number of runes of the stream that are not in it. A mark stands in their
// place, unless the limit is too small for it.
func (b *Buffer) Text() (text string, omitted int) {
	b.decodePart(true)
	tail := b.tail.bytes()
	if b.total <= b.limit {
		return string(b.head) + string(tail), 0
	}
	shown, head := b.limit-len(b.mark(b.limit)), b.headLimit // the mark with a smaller number is no longer
	if shown <= 0 {
		shown = b.limit
		return string(b.head) + string(lastRunes(tail, shown-head)), b.total - shown
	}
	head = int(float64(head) * float64(shown) / float64(b.limit)) // both ends make room in proportion
	return string(b.head[:PrefixLen(b.head, head)]) + b.mark(shown) + string(lastRunes(tail, shown-head)), b.total - shown
}

// mark returns the line that says how much of the stream is shown.
func (b *Buffer) mark(shown int) string {
	line := fmt.Sprintf("[output cut here: %d of %d characters shown]\n", shown, b.total)
	if b.headLimit > 0 {
		return "\n" + line
	}
	return line
}

// A ring keeps the last limit bytes that are written to it.
type ring struct {
	limit int
	buf   []byte // grows to limit, then is overwritten in circles
	next  int    // index of the next byte, once len(buf) == limit
}

func (r *ring) write(p []byte) {
	if len(p) > r.limit {
		p = p[len(p)-r.limit:]
	}
	n := min(len(p), r.limit-len(r.buf))
	r.buf = append(r.buf, p[:n]...)
	for p = p[n:]; len(p) > 0; p = p[n:] {
		n = copy(r.buf[r.next:], p)
		r.next = (r.next + n) % r.limit
	}
}

func (r *ring) bytes() []byte {
	if r.next == 0 {
		return r.buf
	}
	return append(append(make([]byte, 0, len(r.buf)), r.buf[r.next:]...), r.buf[:r.next]...)
}
