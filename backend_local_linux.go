package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// watch waits for the shell's exit without reaping it, so that its number and
// its group's stay ours until everything has been signalled.
func (p *localProcess) watch() {
	defer close(p.exited)
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
		}
	}
}

// pipeCapacity returns how many bytes the pipe holds. A command may have changed
// that with F_SETPIPE_SZ.
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

// members are the command's processes that have not exited. Those seen before
// stay in, though the parent they were known by may have exited since.
func (p *localProcess) members() kin {
	leader := p.cmd.Process.Pid
	p.seen = family(func(q process) bool {
		return q.group == leader || q.session == leader || p.seen.contain(q) || carries(q.pid, p.runID)
	})
	return p.seen
}

func (p *localProcess) alive() bool { return len(p.members()) > 0 }

// signal reaches the group in one stroke, then those who left it.
func (p *localProcess) signal(sig syscall.Signal) {
	members := p.members() // before the group's death cuts its descendants off
	_ = syscall.Kill(-p.cmd.Process.Pid, sig)
	for _, q := range members {
		if sig == syscall.SIGKILL || q.group != p.cmd.Process.Pid {
			q.signal(sig)
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
func (p *localProcess) survived() bool {
	leader := p.cmd.Process.Pid
	if err := syscall.Kill(-leader, 0); err != syscall.ESRCH {
		return true
	}
	last := lastPID()
	if last < leader || last-leader > fewPIDs || time.Since(p.began) > wrapAfter {
		return slices.ContainsFunc(pids(), func(pid int) bool { return carries(pid, p.runID) })
	}
	for pid := leader + 1; pid <= last; pid++ {
		if carries(pid, p.runID) {
			return true
		}
	}
	return false
}

// lastPID is the number given out last, 0 if that is not to be known.
func lastPID() int {
	text, _ := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	if len(fields) == 0 {
		return 0
	}
	pid, _ := strconv.Atoi(fields[len(fields)-1])
	return pid
}

// killRun ends all processes that carry a run id, and what descends from
// them, until there are none: a process may fork faster than one pass.
func killRun(ctx context.Context, runID string) error {
	if runID == "" {
		return errors.New("kill processes: no run id") // every environment contains the empty word
	}
	ctx, cancel := context.WithTimeout(ctx, killLimit)
	defer cancel()
	var left kin
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if len(left) == 0 && !slices.ContainsFunc(pids(), func(pid int) bool { return carries(pid, runID) }) {
			return nil // as mostly, and at half the price
		}
		left = family(func(q process) bool { return left.contain(q) || carries(q.pid, runID) })
		for _, q := range left {
			q.signal(syscall.SIGKILL)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("kill processes: %d of them still there: %w", len(left), ctx.Err())
		}
	}
}

// kin are processes that belong to one command.
type kin []process

func (k kin) contain(q process) bool {
	return slices.ContainsFunc(k, q.is)
}

// process is what /proc says of one, see proc_pid_stat(5).
type process struct {
	pid, parent, group, session int
	started                     string // clock ticks since boot; with pid, its identity
}

// family returns the living processes that are in it, and their descendants.
func family(in func(process) bool) kin {
	var members kin
	var others []process
	pids := make(map[int]bool)
	for _, q := range processes() {
		if in(q) {
			members = append(members, q)
			pids[q.pid] = true
		} else {
			others = append(others, q)
		}
	}
	for found := -1; found != len(members); {
		found = len(members)
		others = slices.DeleteFunc(others, func(q process) bool {
			if pids[q.parent] {
				members = append(members, q)
				pids[q.pid] = true
			}
			return pids[q.parent]
		})
	}
	return members
}

// processes returns all that have not exited. One that ends while we look is
// left out.
func processes() []process {
	var all []process
	for _, pid := range pids() {
		if q, ok := readProcess(pid); ok {
			all = append(all, q)
		}
	}
	return all
}

func pids() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	all := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

func readProcess(pid int) (q process, ok bool) {
	fields := readStat(pid)
	if fields == nil {
		return q, false
	}
	q = process{pid: pid, started: fields[22]}
	for i, field := range []*int{&q.parent, &q.group, &q.session} {
		var err error
		if *field, err = strconv.Atoi(fields[4+i]); err != nil {
			return q, false
		}
	}
	return q, true
}

// readStat returns a process's fields by the numbers of proc_pid_stat(5), and
// nil if it has exited.
func readStat(pid int) []string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	// The name, in parentheses, may hold spaces and parentheses itself.
	_, rest, _ := strings.Cut(string(stat[max(0, bytes.LastIndexByte(stat, ')')):]), " ")
	fields := append(make([]string, 3, 64), strings.Fields(rest)...)
	if len(fields) < 53 || fields[3] == "Z" || fields[3] == "X" {
		return nil
	}
	return fields
}

// startTime is when a process started, "" if it is not there.
func startTime(pid int) string {
	q, _ := readProcess(pid)
	return q.started
}

// is tells whether two are the same process, at different times.
func (q process) is(other process) bool { return q.pid == other.pid && q.started == other.started }

// carries tells whether a process has the run id in its environment. The id
// is random, so there is no need to look at which variable it is in.
//
// In the middle of an exec a process shows no environment, so one without is
// looked at again, unless it stays without: its environment ends where it
// starts, and twice at the same place. Kernel threads and zombies have no
// memory at all. And what is read in pieces ends early if there is an exec
// meanwhile; that, too, must come twice.
func carries(pid int, runID string) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	nowhere := "0"
	var before []byte
	for range 100 {
		environ, whole, err := readEnviron(dir + "/environ")
		switch {
		case err != nil:
			return false
		case bytes.Contains(environ, []byte(runID)):
			return true
		case len(environ) > 0 && (whole || bytes.Equal(environ, before)):
			return false
		case len(environ) > 0:
			before = environ
			continue
		}
		stat := readStat(pid)
		if stat == nil || stat[23] == "0" {
			return false
		}
		if start, end := stat[50], stat[51]; start == end && start != "0" {
			if start == nowhere {
				return false
			}
			nowhere = start
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// readEnviron reads an environment. whole says that one read(2) had all of it,
// which an exec cannot cut.
func readEnviron(name string) (environ []byte, whole bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	environ = make([]byte, 16<<10)
	n, err := f.Read(environ)
	if n < len(environ) {
		if err == io.EOF {
			err = nil
		}
		return environ[:n], true, err
	}
	rest, err := io.ReadAll(f)
	return append(environ, rest...), false, err
}

// signal sends a signal to this process and to no later one of its number:
// the handle is taken first, then the identity compared (pidfd_open(2)).
func (q process) signal(sig syscall.Signal) {
	handle, err := os.FindProcess(q.pid)
	if err != nil {
		return
	}
	defer handle.Release()
	if now, ok := readProcess(q.pid); ok && now.is(q) {
		_ = handle.Signal(sig)
	}
}
