// Cuts of text, for the whole module: no rune is ever split.

package capture

import (
	"encoding/binary"
	"unicode/utf8"
)

// clipped is the number of runes that Clip keeps.
const clipped = 60

// Clip shortens a text that is quoted in a message to 60 runes and an ellipsis.
func Clip(s string) string {
	if utf8.RuneCountInString(s) <= clipped {
		return s
	}
	return s[:PrefixLen([]byte(s), clipped)] + "…"
}

// Prefix returns the longest prefix of s that has at most size bytes and ends
// between two runes.
func Prefix(s string, size int) string {
	if len(s) <= size {
		return s
	}
	for size > 0 && !utf8.RuneStart(s[size]) {
		size--
	}
	return s[:size]
}

// PrefixLen returns the length in bytes of the first n runes of p, which must be
// valid UTF-8.
func PrefixLen(p []byte, n int) int {
	size := 0
	for ; n > 0 && size < len(p); n-- {
		_, width := utf8.DecodeRune(p[size:])
		size += width
	}
	return size
}

// lastRunes returns the last n runes of p, whose end is valid UTF-8.
func lastRunes(p []byte, n int) []byte {
	start := len(p)
	for ; n > 0 && start > 0; n-- {
		_, width := utf8.DecodeLastRune(p[:start])
		start -= width
	}
	return p[start:]
}

// WholeRunes returns the bounds of the part of data that starts at begin, or
// after the rune that begin is in, and ends with the last whole rune within
// size bytes. A rune that is longer than size is returned whole. final says
// that data is the end of its stream: an incomplete rune there will never be
// completed, so it is included.
func WholeRunes(data []byte, begin, size int, final bool) (from, to int) {
	for i := begin - 1; i >= 0 && i > begin-utf8.UTFMax && begin < len(data); i-- {
		if utf8.RuneStart(data[i]) {
			if _, width := utf8.DecodeRune(data[i:]); i+width > begin {
				begin = i + width
			}
			break
		}
	}
	end := begin + size
	if end >= len(data) {
		end = len(data)
		if final {
			return begin, end
		}
	}
	for i := end - 1; i >= begin && i >= end-utf8.UTFMax; i-- {
		if !utf8.RuneStart(data[i]) {
			continue
		}
		if !utf8.FullRune(data[i:]) {
			end = i // the rest has not been written yet
		} else if _, width := utf8.DecodeRune(data[i:]); i+width > end {
			end = i
			if i == begin {
				end = i + width // size is smaller than the rune
			}
		}
		break
	}
	return begin, end
}

// validPrefix returns the length in bytes of the longest prefix of p that is
// valid UTF-8, and its number of runes. ASCII is skipped eight bytes at a time.
func validPrefix(p []byte) (size, runes int) {
	for size < len(p) {
		for len(p)-size >= 8 && binary.LittleEndian.Uint64(p[size:])&0x8080808080808080 == 0 {
			size += 8
			runes += 8
		}
		if size == len(p) {
			break
		}
		if p[size] < utf8.RuneSelf {
			size++
			runes++
			continue
		}
		r, width := utf8.DecodeRune(p[size:])
		if r == utf8.RuneError && width <= 1 {
			break
		}
		size += width
		runes++
	}
	return size, runes
}
