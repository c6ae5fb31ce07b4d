package terminal

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"
	"unicode/utf8"
)

// capture keeps what fits of a byte stream of any length: the first runes and
// the last ones, repaired to valid UTF-8, with an exact count of all of them.
// Its memory is at most 4 bytes for each rune kept, and grows as it is needed.
type capture struct {
	max, headMax int    // runes to keep, and how many of them from the start
	head         []byte // the first headMax runes
	headRunes    int
	tail         ring // the last bytes of what came after head
	total        int  // runes seen
	part         [utf8.UTFMax]byte
	partLen      int // bytes of a rune that is not yet whole
}

func newCapture(max int, keepHead float64) *capture {
	head := int(float64(max) * keepHead)
	return &capture{max: max, headMax: head, tail: ring{limit: utf8.UTFMax * (max - head)}}
}

var replacement = []byte(string(utf8.RuneError))

// write takes the next bytes of the stream.
func (c *capture) write(p []byte) {
	for c.partLen > 0 && len(p) > 0 {
		c.part[c.partLen] = p[0]
		c.partLen++
		p = p[1:]
		c.settle(false)
	}
	for len(p) > 0 {
		n, runes := validPrefix(p)
		if n > 0 {
			c.add(p[:n], runes)
			p = p[n:]
			continue
		}
		if !utf8.FullRune(p) {
			c.partLen = copy(c.part[:], p)
			return
		}
		c.add(replacement, 1)
		p = p[1:]
	}
}

// settle moves what is decided of the unfinished rune into the stream: a
// whole rune, or a replacement for each byte that cannot belong to one. At
// the end of the stream everything is decided.
func (c *capture) settle(end bool) {
	for c.partLen > 0 {
		p := c.part[:c.partLen]
		if !end && !utf8.FullRune(p) {
			return
		}
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n <= 1 {
			c.add(replacement, 1)
		} else {
			c.add(p[:n], 1)
		}
		c.partLen = copy(c.part[:], p[n:])
	}
}

// add takes valid UTF-8 of the given number of runes.
func (c *capture) add(p []byte, runes int) {
	c.total += runes
	if room := c.headMax - c.headRunes; room > 0 {
		n := len(p)
		if runes > room {
			n, runes = skipRunes(p, room), room
		}
		c.head = append(c.head, p[:n]...)
		c.headRunes += runes
		p = p[n:]
	}
	c.tail.write(p)
}

// text returns what was kept, never more than max runes, and the number of
// runes of the stream that are not in it. A mark stands where they were, if
// there is room for it.
func (c *capture) text() (text string, omitted int) {
	c.settle(true)
	tail := c.tail.bytes()
	if c.total <= c.max {
		return string(c.head) + string(tail), 0
	}
	shown, head := c.max-len(c.mark(c.max)), c.headMax // a smaller number is no longer
	if shown <= 0 {
		shown = c.max
		return string(c.head) + string(lastRunes(tail, shown-head)), c.total - shown
	}
	head = int(float64(head) * float64(shown) / float64(c.max)) // both ends make room alike
	return string(c.head[:skipRunes(c.head, head)]) + c.mark(shown) + string(lastRunes(tail, shown-head)), c.total - shown
}

// mark says how much is shown of how much, on a line of its own.
func (c *capture) mark(shown int) string {
	line := fmt.Sprintf("[output cut here: %d of %d characters shown]\n", shown, c.total)
	if c.headMax > 0 {
		return "\n" + line
	}
	return line
}

// validPrefix returns how many bytes at the start of p are whole, valid runes,
// and how many runes they are. Mostly that is ASCII, eight bytes at a time.
func validPrefix(p []byte) (n, runes int) {
	for n < len(p) {
		for len(p)-n >= 8 && binary.LittleEndian.Uint64(p[n:])&0x8080808080808080 == 0 {
			n += 8
			runes += 8
		}
		if n == len(p) {
			break
		}
		if p[n] < utf8.RuneSelf {
			n++
			runes++
			continue
		}
		r, size := utf8.DecodeRune(p[n:])
		if r == utf8.RuneError && size <= 1 {
			break
		}
		n += size
		runes++
	}
	return n, runes
}

// skipRunes returns the length in bytes of the first k runes of valid p.
func skipRunes(p []byte, k int) int {
	n := 0
	for ; k > 0 && n < len(p); k-- {
		_, size := utf8.DecodeRune(p[n:])
		n += size
	}
	return n
}

// lastRunes returns the last k runes of p, whose end is valid.
func lastRunes(p []byte, k int) []byte {
	n := len(p)
	for ; k > 0 && n > 0; k-- {
		_, size := utf8.DecodeLastRune(p[:n])
		n -= size
	}
	return p[n:]
}

// ring keeps the last limit bytes of what is written to it.
type ring struct {
	limit int
	buf   []byte // grows up to limit, then is written in circles
	next  int    // where the next byte goes, once len(buf) == limit
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

// output is where one command's streams meet: the capture, and the live
// copies a caller asked for. Writers that come late, because a process
// outlived its command, are listened to and ignored.
type output struct {
	mu      sync.Mutex // guards the next five; never held while a live copy is written
	capture *capture
	bytes   int64 // captured; fixed at the end
	ended   bool
	cut     bool // a live copy has not been given everything
	gap     bool // and the capture neither, perhaps

	live []*stream // fixed before the command starts
}

func newOutput(max int, keepHead float64) *output {
	return &output{capture: newCapture(max, keepHead)}
}

// streams returns the writers for a command's stdout and stderr. They are
// equal, one stream in true order, unless the caller wants the two apart.
func (o *output) streams(stdout, stderr io.Writer) (io.Writer, io.Writer) {
	out := o.stream(stdout)
	if stderr == nil || same(stdout, stderr) {
		return out, out
	}
	return out, o.stream(stderr)
}

func (o *output) stream(live io.Writer) *stream {
	s := &stream{output: o, copy: live}
	if live != nil {
		s.busy = make(chan struct{}, 1)
		s.dropped = make(chan struct{})
		o.live = append(o.live, s)
	}
	return s
}

// same tells whether two writers are one; values that cannot be compared are
// not.
func same(a, b io.Writer) bool {
	defer func() { _ = recover() }()
	return a == b
}

// liveGrace is how long the end of a command waits for a live copy that blocks.
const liveGrace = time.Second

// end returns what was captured. From then on nothing reaches a live copy any
// more, except by a write that was blocked in it already, beyond the grace.
func (o *output) end() (text string, omitted int) {
	o.mu.Lock()
	o.ended = true
	text, omitted = o.capture.text()
	o.mu.Unlock()
	for _, s := range o.live {
		select {
		case s.busy <- struct{}{}:
			<-s.busy
		case <-time.After(liveGrace):
			o.mu.Lock()
			o.cut = true
			o.gap = o.gap || !s.isDropped() // its Write still blocks, and so does who called it
			o.mu.Unlock()
		}
	}
	return text, omitted
}

// notice returns what there is to say, after the end, of live copies that
// blocked; "" if none did.
func (o *output) notice() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.gap:
		return "a reader of the live output blocked, so its copy and this output may be incomplete"
	case o.cut:
		return "a reader of the live output blocked, so its copy is incomplete; this output is not"
	}
	return ""
}

// keep captures p, and reports whether the command is still being listened to.
func (o *output) keep(p []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended {
		o.capture.write(p)
		o.bytes += int64(len(p))
	}
	return !o.ended
}

func (o *output) listening() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.ended
}

// stream is one of a command's two output streams.
type stream struct {
	*output
	busy    chan struct{} // holds a token while copy or buf is used
	copy    io.Writer     // nil: none, or it failed
	buf     []byte        // what copy is given: a Write that stops waiting for it takes its own bytes back
	drop    sync.Once
	dropped chan struct{} // closed by DropLive
}

// DropLive gives up the live copy, see liveDropper.
func (s *stream) DropLive() {
	if s.busy != nil {
		s.drop.Do(func() { close(s.dropped) })
	}
}

// skip records that the copy is not given something.
func (s *stream) skip() {
	if !s.isDropped() {
		return // it failed, or the command has ended
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
}

func (s *stream) isDropped() bool {
	select {
	case <-s.dropped:
		return true
	default:
		return false
	}
}

// Write never fails: a live copy that does is dropped, and the command goes on.
func (s *stream) Write(p []byte) (int, error) {
	if !s.keep(p) || s.busy == nil {
		return len(p), nil
	}
	select {
	case s.busy <- struct{}{}:
	case <-s.dropped:
		s.skip()
		return len(p), nil
	}
	if s.isDropped() || s.copy == nil || !s.listening() {
		<-s.busy
		s.skip()
		return len(p), nil
	}
	s.buf = append(s.buf[:0], p...)
	done := make(chan struct{})
	go func() { // ends when the copy takes it; holds the token until then
		if _, err := s.copy.Write(s.buf); err != nil {
			s.copy = nil
		}
		<-s.busy
		close(done)
	}()
	select {
	case <-done:
	case <-s.dropped:
	}
	return len(p), nil
}
