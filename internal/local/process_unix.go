//go:build unix

// Processes of Unix systems.

package local

import (
	"io"
	"os"
	"syscall"
	"time"

	"github.com/terminal-go/terminal/internal/spawn"
)

var shellNames = []string{"bash", "sh"}

const shellRemedy = "install one of them or set Local.Shell"

// sysProcAttr gives the command a session of its own: its group can be
// signalled, and without a controlling terminal /dev/tty fails instead of
// waiting for a person.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// end sends TERM to the command's processes and, two seconds later, KILL until none
// is left, because a killed process takes a moment to disappear. The shell stays
// unreaped meanwhile, so that its PID, which is the group's ID, is not reused.
func (p *process) end() {
	p.signal(syscall.SIGTERM)
	killing := time.Now().Add(spawn.TermGrace)
	for pause := 5 * time.Millisecond; p.alive() && time.Since(killing) < spawn.KillLimit; pause = min(2*pause, 50*time.Millisecond) {
		if left := time.Until(killing); left > 0 {
			pause = min(pause, left)
		} else {
			p.signal(syscall.SIGKILL)
		}
		time.Sleep(pause)
	}
	<-p.exited
}

// readReady reads what is in the pipe now. It returns 0 and no error if the pipe
// is empty but not at its end.
func readReady(r *os.File, buf []byte) (n int, err error) {
	conn, err := r.SyscallConn()
	if err != nil {
		return 0, err
	}
	var readErr error
	err = conn.Read(func(fd uintptr) bool {
		for {
			n, readErr = syscall.Read(int(fd), buf) // the runtime made it non-blocking
			if readErr != syscall.EINTR {
				return true
			}
		}
	})
	switch {
	case err != nil:
		return 0, err
	case readErr == syscall.EAGAIN:
		return 0, nil
	case readErr != nil:
		return 0, readErr
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
