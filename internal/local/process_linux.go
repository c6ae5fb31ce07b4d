// What Linux knows about a process beyond POSIX.

package local

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/terminal-go/terminal/internal/procfs"
)

// watch waits for the shell's exit without reaping it, so that its number and
// its group's stay ours until everything has been signalled.
func (p *process) watch() {
	defer close(p.exited)
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
		}
	}
}

// pipeCapacity returns how many bytes the pipe holds. A command may have changed
// that with F_SETPIPE_SZ (fcntl(2)).
func pipeCapacity(r *os.File) int {
	size := defaultPipeCapacity
	if conn, err := r.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) {
			if n, err := unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0); err == nil {
				size = n
			}
		})
	}
	return size
}

// members are the living processes of a command.
type members = procfs.Set

// members returns the command's processes that have not exited. Those seen
// before stay in, although the parent that they were known by may have exited
// since.
func (p *process) members() members {
	leader := p.cmd.Process.Pid
	p.seen = procfs.Family(func(q procfs.Process) bool {
		return q.Group == leader || q.Session == leader || p.seen.Contains(q) || procfs.Carries(q.PID, p.runID)
	})
	return p.seen
}

func (p *process) alive() bool { return len(p.members()) > 0 }

// signal reaches the group in one stroke, then those who left it.
func (p *process) signal(sig syscall.Signal) {
	members := p.members() // before the group's death cuts its descendants off
	_ = syscall.Kill(-p.cmd.Process.Pid, sig)
	for _, q := range members {
		if sig == syscall.SIGKILL || q.Group != p.cmd.Process.Pid {
			q.Signal(sig)
		}
	}
}

// A search by number is worth it for this many of them, and right for this long:
// until they may have gone once around.
const (
	fewPIDs   = 200
	wrapAfter = 10 * time.Second
)

// survived tells, of a shell that has been reaped, whether it left processes.
// Most are in its group. The others have a later number than it, so after a
// short command there is little to look at: to list /proc would cost more than
// all the rest of a command's bookkeeping.
func (p *process) survived() bool {
	leader := p.cmd.Process.Pid
	if err := syscall.Kill(-leader, 0); err != syscall.ESRCH {
		return true
	}
	last := procfs.LastPID()
	if last < leader || last-leader > fewPIDs || time.Since(p.began) > wrapAfter {
		return procfs.AnyCarries(p.runID)
	}
	for pid := leader + 1; pid <= last; pid++ {
		if procfs.Carries(pid, p.runID) {
			return true
		}
	}
	return false
}
