package capture

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func captured(limit int, head float64, chunks ...string) (string, int) {
	c := NewBuffer(limit, head)
	for _, chunk := range chunks {
		_, _ = c.Write([]byte(chunk))
	}
	return c.Text()
}

func TestOutputThatFitsIsUnchanged(t *testing.T) {
	for _, head := range []float64{0, 0.4, 1} {
		for _, s := range []string{"", "x", "  indented\n\n", strings.Repeat("ä", 100), "a\x00b", "\U0001F600\r\n\x1b[1m"} {
			text, omitted := captured(100, head, s)
			assert.Equal(t, s, text)
			assert.Zero(t, omitted)
		}
	}
}

func TestOutputIsCutAtTheStartByDefault(t *testing.T) {
	text, omitted := captured(100, 0, strings.Repeat("a", 150)+"END")
	assert.Equal(t, "[output cut here: 53 of 153 characters shown]\n"+strings.Repeat("a", 50)+"END", text)
	assert.Equal(t, 100, omitted)
}

func TestKeepHeadShowsBothEndsWithTheMarkBetween(t *testing.T) {
	text, omitted := captured(200, 0.4, "BEGIN"+strings.Repeat("ü", 1000)+"END")
	assert.LessOrEqual(t, utf8.RuneCountInString(text), 200)
	assert.True(t, strings.HasPrefix(text, "BEGINüüü"))
	assert.True(t, strings.HasSuffix(text, "üüüEND"))
	before, after, ok := strings.Cut(text, "\n[output cut here: 151 of 1008 characters shown]\n")
	require.True(t, ok, text)
	assert.Equal(t, 1008-151, omitted)
	assert.Equal(t, 60, utf8.RuneCountInString(before))
	assert.Equal(t, 91, utf8.RuneCountInString(after))
}

func TestALimitTooSmallForTheMarkHoldsAllTheSame(t *testing.T) {
	text, omitted := captured(5, 0.4, "0123456789")
	assert.Equal(t, "01789", text)
	assert.Equal(t, 5, omitted)
}

func TestInvalidBytesBecomeReplacementsWhereverTheChunksEnd(t *testing.T) {
	in := "a\xffb\xe2\x82c\xf0\x9f\x98\x80\xe2\x82\xacé\xc3"
	want := "a\uFFFDb\uFFFD\uFFFDc\U0001F600€é\uFFFD"
	for cut := range len(in) {
		for cut2 := cut; cut2 < len(in); cut2++ {
			text, _ := captured(100, 0.4, in[:cut], in[cut:cut2], in[cut2:])
			require.Equal(t, want, text, "cut at %d and %d", cut, cut2)
		}
	}
}

// FuzzCapture compares the capture with the same done the simple way, in
// memory, whatever the bytes, the limit and the size of the chunks.
func FuzzCapture(f *testing.F) {
	f.Add([]byte("hello"), uint16(3), uint8(40), uint16(2))
	f.Add([]byte("\xf0\x9f\x98\x80\xff\xe2\x82"), uint16(2), uint8(0), uint16(1))
	f.Add(bytes.Repeat([]byte("é\xc3"), 300), uint16(120), uint8(100), uint16(7))
	f.Fuzz(func(t *testing.T, data []byte, limit uint16, head uint8, chunk uint16) {
		if limit == 0 || chunk == 0 {
			return
		}
		c := NewBuffer(int(limit), float64(head%101)/100)
		for p := data; len(p) > 0; {
			n := min(len(p), int(chunk))
			_, _ = c.Write(p[:n])
			p = p[n:]
		}
		text, omitted := c.Text()
		whole := []rune(string(data))
		if !utf8.ValidString(text) {
			t.Fatal("not valid UTF-8")
		}
		runes := []rune(text)
		if len(runes) > int(limit) {
			t.Fatalf("%d characters, %d allowed", len(runes), limit)
		}
		if len(whole) <= int(limit) {
			if text != string(whole) || omitted != 0 {
				t.Fatalf("got %q and %d omitted, want all of %q", text, omitted, string(whole))
			}
			return
		}
		shown := len(whole) - omitted
		mark := ""
		if shown < int(limit) {
			mark = c.mark(shown)
		}
		if len(runes)-len(mark) != shown {
			t.Fatalf("%d characters shown, %d said", len(runes)-len(mark), shown)
		}
		at := strings.Index(text, mark)
		if mark == "" {
			at = len(string(runes[:c.headLimit]))
		}
		before, after := text[:at], text[at+len(mark):]
		if !strings.HasPrefix(string(whole), before) || !strings.HasSuffix(string(whole), after) {
			t.Fatalf("shown %q and %q of %q", before, after, string(whole))
		}
		if cap(c.tail.buf) > 8*int(limit)+64 {
			t.Fatalf("%d bytes kept for %d characters", cap(c.tail.buf), limit)
		}
	})
}

func TestStreamsAreOneUnlessTheCallerWantsThemApart(t *testing.T) {
	var a, b bytes.Buffer
	for _, tc := range []struct {
		stdout, stderr io.Writer
		one            bool
	}{{nil, nil, true}, {&a, nil, true}, {&a, &a, true}, {&a, &b, false}, {nil, &b, false}, {uncomparable{}, uncomparable{}, false}} {
		out, errs := NewOutput(10, 0).Streams(tc.stdout, tc.stderr)
		assert.Equal(t, tc.one, out == errs)
	}
}

type uncomparable struct{ _ []int }

func (uncomparable) Write(p []byte) (int, error) { return len(p), nil }

func TestAfterTheEndNothingReachesALiveCopy(t *testing.T) {
	var live bytes.Buffer
	o := NewOutput(10, 0)
	w, _ := o.Streams(&live, nil)
	fmt.Fprint(w, "in")
	text, _ := o.End()
	n, err := fmt.Fprint(w, "late")
	assert.Equal(t, 4, n)
	assert.NoError(t, err)
	assert.Equal(t, "in", text)
	assert.Equal(t, "in", live.String())
}

func TestALiveCopyThatFailsOrBlocksDoesNotHurtTheCapture(t *testing.T) {
	o := NewOutput(100, 0)
	broken, _ := o.Streams(failing{}, nil)
	fmt.Fprint(broken, "one ")
	r, w := io.Pipe() // nobody reads
	blocked, _ := o.Streams(w, nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		fmt.Fprint(blocked, "two")
	}()
	require.Eventually(t, func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.buffer.total == 7 }, time.Second, time.Millisecond)
	text, _ := o.End()
	assert.Equal(t, "one two", text)
	r.Close()
	<-done
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestMemoryStaysBoundedAtAnyLength(t *testing.T) {
	c := NewBuffer(1000, 0.4)
	chunk := make([]byte, 32<<10)
	for i := range chunk {
		chunk[i] = byte(rand.IntN(256))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 1000 {
		_, _ = c.Write(chunk)
	}
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<10))
}

func BenchmarkCapture(b *testing.B) {
	for _, tc := range []struct{ name, text string }{
		{"ascii", "all the world's a stage\n"}, {"mixed", "naïve café — ☕\n"}, {"invalid", "\xff\xfe"},
	} {
		b.Run(tc.name, func(b *testing.B) {
			c := NewBuffer(50_000, 0.4)
			chunk := []byte(strings.Repeat(tc.text, 32<<10/len(tc.text)))
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.Write(chunk)
			}
		})
	}
}
