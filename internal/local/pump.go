// The reading of one pipe.

package local

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/terminal-go/terminal/internal/capture"
	"github.com/terminal-go/terminal/internal/spawn"
)

// A pump copies one pipe to a writer until the last process that holds
// the other end has gone. A survivor's output is read that long as well,
// because closing the pipe would kill it at its next write.
type pump struct {
	r       *os.File
	w       *capture.Tracker
	exiting atomic.Bool
	drained chan struct{} // closed when everything written before the exit has been passed on

	// interruptible reports whether r has read deadlines; set by exit, and only
	// used by its caller. Windows pipes have none, so there a pump notices
	// nothing but end of file, and waiting for it is bounded by time.
	interruptible bool
}

// defaultPipeCapacity is how many bytes a pipe holds unless somebody changed
// that: 64 KiB on Linux (pipe(7)), and at most that on other systems.
const defaultPipeCapacity = 64 << 10

func newPump(r *os.File, w io.Writer) *pump {
	return &pump{r: r, w: capture.NewTracker(w), drained: make(chan struct{})}
}

// exit tells the pump that the command's shell has exited.
func (p *pump) exit() {
	p.exiting.Store(true)
	err := p.r.SetReadDeadline(time.Now()) // interrupts the read under way
	p.interruptible = !errors.Is(err, os.ErrNoDeadline)
}

func (p *pump) run() {
	defer p.r.Close()
	buf := make([]byte, defaultPipeCapacity)
	open := p.copy(buf, func() bool { return p.exiting.Load() })
	if open {
		open = p.copyReady(buf)
	}
	if open {
		open = p.copyIdle(buf)
	}
	close(p.drained)
	if open {
		_ = p.r.SetReadDeadline(time.Time{})
		p.copy(buf, func() bool { return true })
	}
}

// copy copies what comes until the end of the pipe, and returns false then, or
// until a read is interrupted and stop says that this was meant.
func (p *pump) copy(buf []byte, stop func() bool) (open bool) {
	for {
		n, err := p.r.Read(buf)
		if n > 0 {
			_, _ = p.w.Write(buf[:n])
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && stop() {
			return true
		}
		if err != nil {
			return false
		}
	}
}

// copyReady copies what is in the pipe, and returns false at its end. No time
// limit applies, because this is where the output from before the exit may be. A
// survivor can keep the pipe from ever being empty; once as many bytes as the
// pipe holds have been read, the rest was written after the exit.
func (p *pump) copyReady(buf []byte) (open bool) {
	_ = p.r.SetReadDeadline(time.Time{}) // an expired one makes every read fail
	for left := pipeCapacity(p.r); left > 0; {
		n, err := readReady(p.r, buf)
		if n > 0 {
			_, _ = p.w.Write(buf[:n])
			left -= n
		}
		if err != nil {
			return false
		}
		if n <= 0 {
			return true
		}
	}
	return true
}

// copyIdle copies what survivors write until nothing came for DrainIdle, but at
// most for DrainMax. The deadline of a read may pass before a busy machine gets
// to the read, so the pipe is checked once more before it is considered idle.
func (p *pump) copyIdle(buf []byte) (open bool) {
	for end := time.Now().Add(spawn.DrainMax); ; {
		_ = p.r.SetReadDeadline(time.Now().Add(spawn.DrainIdle))
		n, err := p.r.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			_ = p.r.SetReadDeadline(time.Time{})
			if n, err = readReady(p.r, buf); n <= 0 && err == nil {
				return true
			}
		}
		if n > 0 {
			_, _ = p.w.Write(buf[:n])
		}
		if err != nil {
			return false
		}
		if time.Now().After(end) {
			return true
		}
	}
}

// pump runs a pump and keeps account of it.
func (x *Executor) pump(p *pump) {
	x.mu.Lock()
	x.pumps[p] = struct{}{}
	x.mu.Unlock()
	x.pumping.Go(func() {
		p.run()
		x.mu.Lock()
		delete(x.pumps, p)
		x.mu.Unlock()
	})
}
