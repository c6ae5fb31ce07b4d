// Output: the streams of one command, captured and copied live.

package capture

import (
	"io"
	"sync"
	"time"
)

// liveGrace is how long End waits for a live copy that blocks.
const liveGrace = time.Second

// An Output captures the streams of one command and passes them on to live
// copies. What a process writes after End, because it outlived its command, is
// accepted and discarded. It is safe for concurrent use.
type Output struct {
	mu      sync.Mutex // guards the next five; a leaf, never held while a live copy is written
	buffer  *Buffer
	bytes   int64 // captured so far; final after End
	ended   bool
	liveCut bool // a live copy has not been given everything
	cut     bool // and perhaps the buffer neither

	live []*stream // complete before the command starts
}

// NewOutput returns an Output that keeps limit runes, the share keepHead of
// them from the start.
func NewOutput(limit int, keepHead float64) *Output {
	return &Output{buffer: NewBuffer(limit, keepHead)}
}

// Streams returns the writers for a command's stdout and stderr, which copy to
// stdout and stderr where those are not nil. If stderr is nil or the same as
// stdout, both are one writer, so that the order of writing is kept. It must be
// called before the command starts.
func (o *Output) Streams(stdout, stderr io.Writer) (io.Writer, io.Writer) {
	out := o.stream(stdout)
	if stderr == nil || Same(stdout, stderr) {
		return out, out
	}
	return out, o.stream(stderr)
}

func (o *Output) stream(live io.Writer) *stream {
	s := &stream{output: o, live: live}
	if live != nil {
		s.writing = make(chan struct{}, 1)
		s.dropped = make(chan struct{})
		o.live = append(o.live, s)
	}
	return s
}

// Same reports whether two writers are equal. Values that cannot be compared
// are not.
func Same(a, b io.Writer) bool {
	defer func() { _ = recover() }()
	return a == b
}

// End returns what was captured and the number of characters that were cut from
// it. From then on nothing is written to a live copy, except by a write that
// has been blocked in one for longer than a second.
func (o *Output) End() (text string, omitted int) {
	o.mu.Lock()
	o.ended = true
	text, omitted = o.buffer.Text()
	o.mu.Unlock()
	for _, s := range o.live {
		select {
		case s.writing <- struct{}{}:
			<-s.writing
		case <-time.After(liveGrace):
			o.mu.Lock()
			o.liveCut = true
			o.cut = o.cut || !s.isDropped() // its Write still blocks, and so does the caller of that
			o.mu.Unlock()
		}
	}
	return text, omitted
}

// Notice returns what must be said, after End, about live copies that blocked, or
// "" if none did.
func (o *Output) Notice() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.cut:
		return "a reader of the live output blocked, so its copy and this output may be incomplete"
	case o.liveCut:
		return "a reader of the live output blocked, so its copy is incomplete; this output is not"
	}
	return ""
}

// Bytes returns the number of bytes captured so far, or until End.
func (o *Output) Bytes() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// keep captures p and reports whether the command has not ended.
func (o *Output) keep(p []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended {
		_, _ = o.buffer.Write(p)
		o.bytes += int64(len(p))
	}
	return !o.ended
}

func (o *Output) open() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.ended
}

// A stream is one of a command's two output streams.
type stream struct {
	output  *Output
	writing chan struct{} // holds a token while live or buf is used; nil without live
	live    io.Writer     // nil: there is no live copy, or it has failed
	buf     []byte        // what live is given: a Write that stops waiting for it takes its own bytes back
	drop    sync.Once
	dropped chan struct{} // closed by DropLive
}

// DropLive gives up the live copy; see Drain.
func (s *stream) DropLive() {
	if s.writing != nil {
		s.drop.Do(func() { close(s.dropped) })
	}
}

func (s *stream) isDropped() bool {
	select {
	case <-s.dropped:
		return true
	default:
		return false
	}
}

// skip records that the live copy is not given something.
func (s *stream) skip() {
	if !s.isDropped() {
		return // it failed, or the command has ended
	}
	s.output.mu.Lock()
	defer s.output.mu.Unlock()
	s.output.liveCut = true
}

// Write never fails. A live copy that does is dropped, and the command goes on.
func (s *stream) Write(p []byte) (int, error) {
	if !s.output.keep(p) || s.writing == nil {
		return len(p), nil
	}
	select {
	case s.writing <- struct{}{}:
	case <-s.dropped:
		s.skip()
		return len(p), nil
	}
	if s.isDropped() || s.live == nil || !s.output.open() {
		<-s.writing
		s.skip()
		return len(p), nil
	}
	s.buf = append(s.buf[:0], p...)
	done := make(chan struct{})
	go func() { // ends when live takes it, and holds the token until then
		if _, err := s.live.Write(s.buf); err != nil {
			s.live = nil
		}
		<-s.writing
		close(done)
	}()
	select {
	case <-done:
	case <-s.dropped:
	}
	return len(p), nil
}
