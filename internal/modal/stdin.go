//go:build !terminal_nomodal

// The standard input of a shell.

package modal

import (
	"bytes"
	"io"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A stdin is the input of a shell. That of the SDK takes one call at a time, and a
// call that is under way can be neither cancelled nor closed; so each call has a
// goroutine of its own.
type stdin struct {
	to     io.WriteCloser
	fail   func() // ends the connection
	over   func() bool
	calls  *sync.WaitGroup
	turn   chan struct{} // holds a token, which a call takes
	once   sync.Once
	closed chan struct{}
}

func (x *Executor) newStdin(to io.WriteCloser) *stdin {
	in := &stdin{to: to, over: x.Over, calls: &x.calls, turn: make(chan struct{}, 1), closed: make(chan struct{})}
	in.turn <- struct{}{}
	return in
}

// Write returns how much may have been written: a call that failed may have
// arrived, so a caller must not send that part again. The output of a command can
// arrive before the call that sent it returns, so the next Write waits for that.
func (in *stdin) Write(b []byte) (n int, err error) {
	for n < len(b) {
		chunk := bytes.Clone(b[n:min(len(b), n+stdinChunk)])
		select {
		case <-in.closed:
			return n, io.ErrClosedPipe
		case <-in.turn:
		}
		done := make(chan error, 1)
		in.calls.Go(func() {
			_, err := in.to.Write(chunk)
			in.turn <- struct{}{}
			done <- err
		})
		n += len(chunk)
		select {
		case err = <-done:
		case <-in.closed:
			return n, io.ErrClosedPipe
		}
		if status.Code(err) == codes.FailedPrecondition {
			return n, err // the shell does not read any more; the end of its output says why
		}
		if err != nil {
			in.fail()
			return n, err
		}
	}
	return n, nil
}

// Close sends end of file in the background, after the call that may be under way.
// It sends nothing if the sandbox has ended.
func (in *stdin) Close() error {
	in.once.Do(func() {
		close(in.closed)
		in.calls.Go(func() {
			<-in.turn
			if !in.over() {
				_ = in.to.Close() // fails if the shell has exited, which is fine
			}
		})
	})
	return nil
}
