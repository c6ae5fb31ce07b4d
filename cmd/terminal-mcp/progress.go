package main

import (
	"context"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	// progressEvery is the shortest time between two notifications of a call.
	progressEvery = 100 * time.Millisecond

	// progressLength is how many bytes of output one notification has at most:
	// the newest.
	progressLength = 1000
)

// progress sends a client the output of its call as notifications. It is the
// io.Writer of the live output and never blocks it: during a notification it
// counts further output and keeps the end of it.
type progress struct {
	send   func(ctx context.Context, bytes int64, news string) error
	cancel context.CancelFunc
	done   chan struct{} // closed when the sender has ended
	wake   chan struct{} // there is something to send

	// mu guards what follows. It is held for copying only.
	mu    sync.Mutex
	total int64
	news  []byte // not sent yet
	cut   bool   // something before news was dropped
}

// startProgress begins to send; stop ends it. It returns nil if the client
// asked for no progress.
func startProgress(ctx context.Context, req *mcp.CallToolRequest) *progress {
	token := req.Params.GetProgressToken()
	if token == nil {
		return nil
	}
	return newProgress(ctx, func(ctx context.Context, bytes int64, news string) error {
		return req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
			ProgressToken: token, Progress: float64(bytes), Message: news,
		})
	})
}

func newProgress(ctx context.Context, send func(context.Context, int64, string) error) *progress {
	p := &progress{send: send, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	ctx, p.cancel = context.WithCancel(ctx)
	go p.run(ctx)
	return p
}

// stop waits until nothing more will be sent: the result must follow all
// progress.
func (p *progress) stop() {
	p.cancel()
	<-p.done
}

func (p *progress) Write(data []byte) (int, error) {
	p.mu.Lock()
	p.total += int64(len(data))
	if fresh := data[max(0, len(data)-progressLength):]; len(fresh) > 0 {
		p.news = append(p.news, fresh...)
		p.cut = p.cut || len(fresh) < len(data)
	}
	if more := len(p.news) - progressLength; more > 0 {
		p.news = p.news[:copy(p.news, p.news[more:])]
		p.cut = true
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return len(data), nil
}

func (p *progress) run(ctx context.Context) {
	defer close(p.done)
	pause := time.NewTimer(0)
	defer pause.Stop()
	for wait(ctx, pause.C) && wait(ctx, p.wake) {
		total, news := p.take()
		if news == "" {
			pause.Reset(0)
			continue
		}
		if p.send(ctx, total, news) != nil {
			return // the client is gone, or the call has ended
		}
		pause.Reset(progressEvery)
	}
}

func wait[T any](ctx context.Context, event <-chan T) bool {
	select {
	case <-event:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// take returns the output since its last call as valid UTF-8. An incomplete
// character at the end is left for the next call.
func (p *progress) take() (total int64, news string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	data := p.news
	if p.cut {
		for i := 0; i < utf8.UTFMax-1 && len(data) > 0 && !utf8.RuneStart(data[0]); i++ {
			data = data[1:]
		}
	}
	end := len(data)
	for i := end - 1; i >= 0 && i >= end-utf8.UTFMax; i-- {
		if utf8.RuneStart(data[i]) {
			if !utf8.FullRune(data[i:]) {
				end = i
			}
			break
		}
	}
	news = strings.ToValidUTF8(string(data[:end]), "\uFFFD")
	p.news = append(p.news[:0], data[end:]...)
	p.cut = false
	return p.total, news
}
