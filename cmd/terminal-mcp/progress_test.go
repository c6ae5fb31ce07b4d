package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

// notes are what a progress has sent.
type notes struct {
	mu     sync.Mutex
	totals []int64
	texts  []string
	times  []time.Time
}

func (n *notes) send(_ context.Context, total int64, text string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.totals, n.texts, n.times = append(n.totals, total), append(n.texts, text), append(n.times, time.Now())
	return nil
}

func TestProgressRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n notes
		p := newProgress(t.Context(), n.send)
		var all strings.Builder
		for range 1000 { // a second
			_, _ = p.Write([]byte("ä\n"))
			all.WriteString("ä\n")
			time.Sleep(time.Millisecond)
		}
		time.Sleep(progressEvery)
		p.stop()
		assert.Equal(t, all.String(), strings.Join(n.texts, ""))
		assert.InDelta(t, 11, len(n.texts), 1)
		for i := 1; i < len(n.times); i++ {
			assert.GreaterOrEqual(t, n.times[i].Sub(n.times[i-1]), progressEvery)
			assert.Greater(t, n.totals[i], n.totals[i-1])
		}
		assert.EqualValues(t, all.Len(), n.totals[len(n.totals)-1])
	})
}

func TestProgressLargeOutputTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n notes
		p := newProgress(t.Context(), n.send)
		_, _ = p.Write([]byte("begin"))
		synctest.Wait()
		for range 100 {
			_, _ = p.Write([]byte(strings.Repeat("€", 5_000)))
		}
		_, _ = p.Write([]byte(".\xff.\xe2\x82")) // no character, and two thirds of one
		time.Sleep(progressEvery)
		synctest.Wait()
		_, _ = p.Write([]byte("\xac!"))
		time.Sleep(progressEvery)
		synctest.Wait()
		p.stop()
		_, _ = p.Write([]byte("after"))
		synctest.Wait()
		if assert.Len(t, n.texts, 3) {
			assert.Equal(t, "begin", n.texts[0])
			assert.LessOrEqual(t, len(n.texts[1]), progressLength+utf8.UTFMax)
			assert.Greater(t, len(n.texts[1]), progressLength-10)
			assert.Equal(t, "€", n.texts[1][:3], "cut within a character")
			assert.True(t, strings.HasSuffix(n.texts[1], "€.\uFFFD."), n.texts[1])
			assert.Equal(t, "€!", n.texts[2])
			assert.Equal(t, []int64{5, 1_500_010, 1_500_012}, n.totals)
		}
	})
}

func TestProgressNonBlockingWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n notes
		p := newProgress(t.Context(), func(ctx context.Context, total int64, text string) error {
			<-ctx.Done() // a client that does not read
			return n.send(ctx, total, text)
		})
		began := time.Now()
		for range 1000 {
			_, _ = p.Write([]byte("line\n"))
		}
		assert.Equal(t, began, time.Now())
		p.stop()
		assert.LessOrEqual(t, len(n.texts), 1)
	})
}

func TestProgressClientGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		p := newProgress(t.Context(), func(context.Context, int64, string) error {
			sent++
			return errors.New("gone")
		})
		_, _ = p.Write([]byte("one"))
		synctest.Wait()
		_, _ = p.Write([]byte("two"))
		time.Sleep(time.Second)
		p.stop()
		assert.Equal(t, 1, sent)
	})
}
