package modalfake

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// markEnv names the variable that holds the marks of the server and of the
// sandbox in the environment of every process.
const markEnv = "MODALFAKE_MARK"

// execution is a command in a sandbox, from TaskExecStart on. What is known of
// it stays until the server is closed.
type execution struct {
	id      string
	sandbox *sandbox
	started chan struct{} // closed when it has been tried to start it
	exited  chan struct{} // closed when the process is dead and reaped

	// Set before started is closed, and not changed then.
	cmd            *exec.Cmd // nil if it could not be started
	stdin          *os.File
	pipes          []*os.File // our ends of its output
	stdout, stderr *spool     // nil where the output is ignored

	// Set before exited is closed.
	code   int
	signal int // that killed it, 0 if none did

	// input is a token: who has taken it writes to stdin and uses the next two.
	input chan struct{}
	fed   uint64 // bytes written to stdin
	eof   bool

	gone atomic.Bool // the sandbox has ended: what still holds a pipe has hidden itself

	// Guarded by Server.mu.
	reaped bool // the process's number may belong to another one
}

// begin registers an exec. fresh reports whether id was not known before.
func (s *Server) begin(b *sandbox, id string) (x *execution, fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := b.execs[id]; x != nil {
		s.stats.ExecDuplicates++
		return x, false, nil
	}
	if b.result != nil {
		return nil, false, status.Errorf(codes.NotFound, "Task %s has finished", b.task)
	}
	x = &execution{id: id, sandbox: b, started: make(chan struct{}), exited: make(chan struct{}), input: make(chan struct{}, 1)}
	x.input <- struct{}{}
	b.execs[id] = x
	b.busy++
	if b.stopIdle != nil {
		b.stopIdle()
		b.stopIdle = nil
	}
	s.stats.ExecsStarted++
	s.stats.ExecsRunning++
	return x, true, nil
}

// command describes what an exec runs.
type command struct {
	args           []string
	dir            string // "": the sandbox's
	env            map[string]string
	stdout, stderr bool          // false: ignored
	timeout        time.Duration // 0: none
}

// start starts a registered exec. If that fails, the exec ends with the exit
// status that a shell would give (POSIX.1-2024, XCU 2.8.2: 126 or 127).
func (s *Server) start(x *execution, c command) {
	defer close(x.started)
	if err := s.fork(x, c); err != nil {
		x.code = 126
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			x.code = 127
		}
		if x.stderr != nil {
			_, _ = fmt.Fprintln(x.stderr, err)
		}
		for _, out := range []*spool{x.stdout, x.stderr} {
			if out != nil {
				out.close()
			}
		}
		x.cmd = nil
		s.settle(x)
		return
	}
	stop := func() bool { return false }
	if c.timeout > 0 {
		stop = s.clock.AfterFunc(c.timeout, func() { s.timeOut(x) })
	}
	s.count(func(n *Stats) { n.Commands++ })
	s.running.Go(func() {
		s.reap(x)
		stop()
		s.settle(x)
	})
}

// fork starts the process with pipes of our own.
func (s *Server) fork(x *execution, c command) (err error) {
	b := x.sandbox
	cmd := exec.Command(c.args[0], c.args[1:]...)
	cmd.Dir = cmp.Or(c.dir, b.workdir, b.dir)
	cmd.Env = s.environ(b, c.env)
	cmd.SysProcAttr = sysProcAttr()
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
		if err != nil {
			for _, f := range append(x.pipes, x.stdin) {
				_ = f.Close()
			}
		}
	}()
	output := func() (*spool, *os.File, error) {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, nil, err
		}
		theirs = append(theirs, w)
		x.pipes = append(x.pipes, r)
		return newSpool(s.dir), w, nil
	}
	var spools []*spool
	if c.stdout {
		var w *os.File
		if x.stdout, w, err = output(); err != nil {
			return err
		}
		cmd.Stdout = w
		spools = append(spools, x.stdout)
	}
	if c.stderr {
		var w *os.File
		if x.stderr, w, err = output(); err != nil {
			return err
		}
		cmd.Stderr = w
		spools = append(spools, x.stderr)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	theirs = append(theirs, r)
	cmd.Stdin, x.stdin = r, w
	if err := cmd.Start(); err != nil {
		return err
	}
	x.cmd = cmd
	for i, out := range spools {
		s.running.Go(func() { s.pump(x, x.pipes[i], out) })
	}
	return nil
}

// environ returns a command's environment. Of this process's own it has only PATH.
func (s *Server) environ(b *sandbox, own map[string]string) []string {
	env := map[string]string{
		"PATH":             os.Getenv("PATH"),
		"HOME":             b.dir,
		"TMPDIR":           b.dir,
		"LANG":             "C.UTF-8",
		"MODAL_SANDBOX_ID": b.id,
		"MODAL_TASK_ID":    b.task,
	}
	maps.Copy(env, b.env)
	maps.Copy(env, own)
	env[markEnv] = s.mark + "," + b.mark
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

// pump copies output from a pipe to its spool until EOF or, with
// Options.EOFAtExit, until the process has exited.
func (s *Server) pump(x *execution, r *os.File, out *spool) {
	defer r.Close()
	defer out.close()
	buf := make([]byte, 64<<10)
	for idle := false; ; {
		n, err := r.Read(buf)
		if n > 0 {
			idle = false
			if _, err := out.Write(buf[:n]); err != nil {
				return
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && !x.gone.Load() && !idle {
			idle = true // the process has exited; what it wrote may still be here
			_ = r.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			continue
		}
		if err != nil {
			break
		}
	}
	out.close()
	_ = r.SetReadDeadline(time.Time{})
	if !x.gone.Load() {
		_, _ = io.Copy(io.Discard, r) // a closed pipe would kill a survivor at its next line
	}
}

// reap waits for the process and records how it ended.
func (s *Server) reap(x *execution) {
	awaitExit(x.cmd.Process.Pid)
	s.mu.Lock()
	x.reaped = true
	s.mu.Unlock()
	_ = x.cmd.Wait() // all files are ours, so it waits for nothing else
	x.code = x.cmd.ProcessState.ExitCode()
	if w, ok := x.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		x.signal = int(w.Signal())
	}
	_ = x.stdin.Close() // or each exec would cost a descriptor
	if s.opt.EOFAtExit {
		for _, r := range x.pipes {
			_ = r.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		}
	}
}

// settle records the end of an exec.
func (s *Server) settle(x *execution) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.ExecsRunning--
	x.sandbox.busy--
	s.restLocked(x.sandbox)
	close(x.exited)
}

// timeOut kills an exec that has reached its own timeout.
func (s *Server) timeOut(x *execution) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.reaped {
		return
	}
	s.stats.ExecsTimedOut++
	killLeader(x.cmd.Process, !s.opt.KillOne)
}

// abandon ends the output of an exec whose sandbox has ended, at the latest a
// second later if a process that escaped the kill holds the pipe.
func (x *execution) abandon() {
	x.gone.Store(true)
	for _, out := range []*spool{x.stdout, x.stderr} {
		if out != nil {
			out.forgo()
		}
	}
	for _, r := range x.pipes {
		_ = r.SetReadDeadline(time.Now().Add(time.Second))
	}
}

// free closes the files of its output.
func (x *execution) free() {
	for _, out := range []*spool{x.stdout, x.stderr} {
		if out != nil {
			out.free()
		}
	}
}

// killAll kills every process of a sandbox: those that carry its mark, and
// those in the session of an exec's own process.
func (s *Server) killAll(b *sandbox) error {
	leaders := func() (live []*os.Process) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, x := range b.execs {
			if x.cmd != nil && !x.reaped {
				live = append(live, x.cmd.Process)
			}
		}
		return live
	}
	s.mu.Lock()
	ran := len(b.execs) > 0
	s.mu.Unlock()
	if !ran {
		return nil
	}
	return s.census.killMarked(b.mark, leaders)
}
