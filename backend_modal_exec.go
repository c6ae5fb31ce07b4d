//go:build !terminal_nomodal

package terminal

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	modal "github.com/modal-labs/modal-client/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/terminal-go/terminal/internal/lane"
)

const (
	watchFirst  = time.Second      // from a command's start to a look whether the sandbox lives
	watchPause  = 5 * time.Second  // between two later ones
	restLimit   = 10 * time.Second // without a command, after which the next one is preceded by such a look
	stdinChunk  = 512 << 10        // bytes of input in one call
	goneLimit   = 2 * time.Second  // for Modal to notice that a sandbox has ended after a stream has
	streamGrace = time.Second      // from the end of one output stream of a shell to the other's
)

// modalExecutor is one task's sandbox.
type modalExecutor struct {
	modal Modal
	workspace
	sandbox *modal.Sandbox
	id      string // in the RunIDEnv of every shell, but not of what it runs
	shells  *shells
	gone    chan struct{} // closed when it is known that the sandbox has ended
	why     error         // set before gone is closed

	ctx     context.Context // ends on Close
	cancel  context.CancelCauseFunc
	running sync.WaitGroup // commands; Add only under mu and while !closed
	watches sync.WaitGroup // see watch and beat; Add only by a command, and by start
	calls   sync.WaitGroup // see modalStdin; Add only by a command or by the reader of a shell

	withoutTools atomic.Bool // the SDK's file system calls have failed

	mu       sync.Mutex // guards the rest; held for moments
	closed   bool
	commands int       // that run
	rested   time.Time // when the last of them ended
	suspect  bool      // a shell has been lost since the sandbox was seen alive
	stop     context.CancelFunc
}

func newModalExecutor(m Modal, w workspace, sb *modal.Sandbox) *modalExecutor {
	x := &modalExecutor{modal: m, workspace: w, sandbox: sb, id: newRunID(), gone: make(chan struct{})}
	x.shells = newShells(x.dial)
	x.ctx, x.cancel = context.WithCancelCause(context.Background())
	return x
}

// start gets the first shell, and makes the working directory.
func (x *modalExecutor) start(ctx context.Context, o opening) error {
	leashed := inBackground(func() error { return x.hold(ctx) })
	s, err := x.dial(ctx)
	if err = errors.Join(err, leashed()); err != nil {
		return x.modal.refused("start a shell in sandbox "+x.sandbox.SandboxID, err)
	}
	limit := time.NewTimer(readyLimit)
	defer limit.Stop()
	select {
	case <-s.Ready():
	case <-limit.C:
		return fmt.Errorf("%w: modal: no answer from the shell in sandbox %s after %v", ErrNotStarted, x.sandbox.SandboxID, readyLimit)
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.Err(); err != nil {
		if gone := x.settled(ctx); gone != nil {
			return fmt.Errorf("%w: %w", ErrNotStarted, gone)
		}
		return fmt.Errorf("%w: modal: image %s has no usable sh, and commands need one: %w; choose an image with a shell", ErrUnavailable, x.modal.Image, err)
	}
	x.shells.give(s, false, "")
	if o.dir == "" || o.dir == "/" || o.dir == "/tmp" {
		return nil
	}
	said := newOutput(maxSaid, 0)
	w, _ := said.streams(nil, nil)
	code, err := x.Exec(ctx, Command{
		Script: `mkdir -p -- "$TERMINAL_DIR"`,
		Dir:    "/",
		Env:    map[string]string{"TERMINAL_DIR": o.dir, RunIDEnv: newRunID()},
		Stdout: w,
		Stderr: w,
	})
	text, _ := said.end()
	if err == nil && code != 0 {
		return fmt.Errorf("%w: modal: make directory %s: code %d: %s", ErrUnavailable, o.dir, code, strings.TrimSpace(text))
	}
	return err
}

// dial starts another shell in the sandbox.
func (x *modalExecutor) dial(ctx context.Context) (*shell, error) {
	x.mu.Lock()
	suspect := x.suspect
	x.mu.Unlock()
	if suspect { // the SDK would try for ten seconds to reach a sandbox that is no more
		if gone := x.state(ctx); gone != nil {
			return nil, gone
		}
	}
	p, err := x.sandbox.Exec(ctx, lane.Argv(x.modal.Shell), &modal.SandboxExecParams{Env: map[string]string{RunIDEnv: x.id}})
	if err != nil {
		x.suspicious(true)
		return nil, err
	}
	in := x.newStdin(p.Stdin)
	s := &shell{Lane: lane.New(in), stdin: in, hangUp: func() {
		_ = in.Close()
		_ = p.Stdout.Close()
		_ = p.Stderr.Close()
	}}
	in.fail = s.hangUp
	return s, x.shells.adopt(s, func() error {
		err := readBoth(s, p)
		x.suspicious(true)
		return err
	})
}

// leash.sh ends the sandbox's shells when their owner is silent.
//
//go:embed leash.sh
var leashSource string

// hold starts the sandbox's dead-man's switch, and calls on it from time to
// time until Close.
func (x *modalExecutor) hold(ctx context.Context) error {
	seconds := strconv.Itoa(int(x.modal.leash / time.Second))
	p, err := x.sandbox.Exec(ctx, []string{"sh", "-c", leashSource + sweepScript(x.id), "sh", seconds},
		&modal.SandboxExecParams{Stdout: modal.Ignore, Stderr: modal.Ignore})
	if err != nil {
		return err
	}
	x.watches.Go(func() { x.beat(p.Stdin) })
	return nil
}

func (x *modalExecutor) beat(to io.Writer) {
	tick := time.NewTicker(x.modal.leash / 6) // some may get lost
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_, _ = to.Write([]byte("\n"))
		case <-x.gone:
			return
		case <-x.ctx.Done():
			return
		}
	}
}

func (x *modalExecutor) suspicious(yes bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.suspect = yes
}

// readBoth copies a shell's two streams to its lane until both have ended. A
// short while after the first the second is given up: the shell is no more.
func readBoth(s *shell, p *modal.ContainerProcess) error {
	ended := make(chan error, 2)
	copying := func(to io.Writer, from io.Reader) {
		_, err := io.Copy(to, from)
		ended <- err
	}
	go copying(s.Stdout(), p.Stdout)
	go copying(s.Stderr(), p.Stderr)
	err := <-ended
	grace := time.AfterFunc(streamGrace, func() {
		_ = p.Stdout.Close()
		_ = p.Stderr.Close()
	})
	defer grace.Stop()
	if second := <-ended; err == nil && grace.Stop() {
		err = second
	}
	return err
}

// modalStdin is a shell's input. The SDK's can neither be closed nor given up
// while a call is under way, and takes one call at a time; so the calls have
// goroutines of their own.
type modalStdin struct {
	to     io.WriteCloser
	fail   func() // ends the connection
	over   func() bool
	calls  *sync.WaitGroup
	turn   chan struct{} // a token: who has it may call
	once   sync.Once
	closed chan struct{}
}

func (x *modalExecutor) newStdin(to io.WriteCloser) *modalStdin {
	in := &modalStdin{to: to, over: x.over, calls: &x.calls, turn: make(chan struct{}, 1), closed: make(chan struct{})}
	in.turn <- struct{}{}
	return in
}

// Write counts what may have been written, so that nobody takes for unsent
// what is not known to be: a call that failed may have done its work. The
// answer to a command may be here before the end of the call that brought it,
// so the next Write may come before that too, and waits.
func (in *modalStdin) Write(b []byte) (n int, err error) {
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
			return n, err // nobody reads any more; the output tells the rest
		}
		if err != nil {
			in.fail()
			return n, err
		}
	}
	return n, nil
}

// Close sends the end of the input, in the background, behind the call that
// may be under way. A sandbox that has ended does not need it.
func (in *modalStdin) Close() error {
	in.once.Do(func() {
		close(in.closed)
		in.calls.Go(func() {
			<-in.turn
			if !in.over() {
				_ = in.to.Close() // fails where the shell has gone, which is as well
			}
		})
	})
	return nil
}

// state returns nil if the sandbox runs, else ErrGone with what became of it.
// A Modal that does not answer tells nothing.
func (x *modalExecutor) state(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	code, err := x.sandbox.Poll(ctx, nil)
	if err == nil && code == nil {
		x.suspicious(false)
	}
	return x.verdict(code, err)
}

// verdict is what an answer about the sandbox's end says.
func (x *modalExecutor) verdict(code *int, err error) error {
	var why error
	switch {
	case status.Code(err) == codes.NotFound || errors.As(err, &modal.NotFoundError{}):
		why = fmt.Errorf("%w: modal: sandbox %s is not known any more", ErrGone, x.sandbox.SandboxID)
	case err != nil || code == nil:
		return nil
	case *code == 124:
		why = fmt.Errorf("%w: modal: sandbox %s reached the end of its life; raise Modal.Lifetime, %v", ErrGone, x.sandbox.SandboxID, x.modal.Lifetime)
	case *code == 137:
		why = fmt.Errorf("%w: modal: sandbox %s was terminated or ran out of memory; if it was memory, raise Modal.MemoryMiB", ErrGone, x.sandbox.SandboxID)
	default:
		why = fmt.Errorf("%w: modal: sandbox %s ended with %d; it may have been idle for Modal.IdleTimeout, %v", ErrGone, x.sandbox.SandboxID, *code, x.modal.IdleTimeout)
	}
	return x.lost(why)
}

// lost books the end of the sandbox, and ends what waits for it.
func (x *modalExecutor) lost(why error) error {
	x.mu.Lock()
	select {
	case <-x.gone:
	default:
		x.why = why
		close(x.gone)
	}
	x.mu.Unlock()
	x.shells.hangUp()
	return x.why
}

// over tells whether there is nobody left to talk to.
func (x *modalExecutor) over() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	select {
	case <-x.gone:
		return true
	default:
		return x.closed
	}
}

// settled returns ErrGone if the sandbox has ended or ends in a moment, as it
// may have where a stream from it broke.
func (x *modalExecutor) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, goneLimit)
	defer cancel()
	code, err := x.sandbox.Wait(ctx, nil)
	return x.verdict(&code, err)
}

// begin books a command, and refuses it after Close.
func (x *modalExecutor) begin() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return ErrClosed
	}
	select {
	case <-x.gone:
		return x.why
	default:
	}
	x.running.Add(1)
	if x.commands++; x.commands == 1 {
		ctx, cancel := context.WithCancel(x.ctx)
		x.stop = cancel
		x.watches.Go(func() { x.watch(ctx) })
	}
	return nil
}

func (x *modalExecutor) end() {
	x.mu.Lock()
	if x.commands--; x.commands == 0 {
		x.stop()
		x.rested = time.Now()
	}
	x.mu.Unlock()
	x.running.Done()
}

// watch looks whether the sandbox lives, while commands run: a stream from a
// machine that is no more may stay silent for ever.
func (x *modalExecutor) watch(ctx context.Context) {
	next := time.NewTimer(watchFirst)
	defer next.Stop()
	for {
		select {
		case <-next.C:
			if x.state(ctx) != nil {
				return
			}
			next.Reset(watchPause)
		case <-ctx.Done():
			return
		}
	}
}

// restedLong tells whether so much time has passed without a command that the
// sandbox may have ended, and its streams do not tell yet. What is found out
// only after a command was sent is too late for it to be sent elsewhere.
func (x *modalExecutor) restedLong() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.commands == 1 && !x.rested.IsZero() && time.Since(x.rested) > restLimit
}

// Exec runs the command; see Executor.
func (x *modalExecutor) Exec(ctx context.Context, c Command) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, notStarted(err)
	}
	if err := x.begin(); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	defer x.end()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(x.ctx, func() { end(context.Cause(x.ctx)) })()

	if x.restedLong() {
		if gone := x.state(ctx); gone != nil {
			return 0, fmt.Errorf("%w: %w", ErrNotStarted, gone)
		}
	}
	code, err := x.shells.exec(ctx, c)
	if err == nil {
		return code, nil
	}
	return code, explainLane(ctx, x.ctx, err, "modal: connection into sandbox "+x.sandbox.SandboxID, x.settled)
}

// Ping returns ErrGone if the sandbox has ended; see Pinger.
func (x *modalExecutor) Ping(ctx context.Context) error {
	select {
	case <-x.gone:
		return x.why
	default:
		return x.state(ctx)
	}
}

// Survivors tells whether a run left processes behind; see the interface.
func (x *modalExecutor) Survivors(runID string) bool { return x.shells.left.take(runID) }

// Kill ends every process of a run; see Killer.
func (x *modalExecutor) Kill(ctx context.Context, runID string) error {
	if runID == "" {
		return errors.New("modal: kill run: no run id")
	}
	if _, err := x.shells.script(ctx, sweepScript(runID), 0); err != nil {
		if gone := x.Ping(ctx); gone != nil {
			return gone
		}
		return fmt.Errorf("modal: kill run: %w", err)
	}
	return nil
}

// Close terminates the sandbox, with what runs in it.
func (x *modalExecutor) Close(ctx context.Context) error {
	x.mu.Lock()
	again := x.closed
	x.closed = true
	x.mu.Unlock()
	if again {
		return nil
	}
	x.cancel(ErrClosed)
	err := terminate(ctx, x.sandbox)
	err = errors.Join(err, x.shells.close(ctx), wait(ctx, &x.running), wait(ctx, &x.watches), wait(ctx, &x.calls))
	err = errors.Join(err, x.sandbox.Detach())
	x.workspace.close()
	return err
}
