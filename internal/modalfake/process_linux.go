package modalfake

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killLimit bounds the time a sandbox's processes take to die of SIGKILL.
const killLimit = 10 * time.Second

func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// awaitExit waits for the process's end without reaping it, so that its
// pid is not reused before reaped is set.
func awaitExit(pid int) {
	for {
		if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != unix.EINTR {
			return
		}
	}
}

// killLeader kills an unreaped process, or its whole group.
func killLeader(p *os.Process, group bool) {
	if group {
		_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
		return
	}
	_ = p.Kill()
}

// killMarked kills the processes with the mark or in the session of a leader,
// until two scans in a row find none: /proc/pid/environ is empty during execve.
func (c *census) killMarked(mark string, leaders func() []*os.Process) error {
	if len(mark) < 32 {
		return fmt.Errorf("kill processes: mark %q is too short", mark) // the empty one is in every environment
	}
	end := time.Now().Add(killLimit)
	for clean := 0; ; time.Sleep(time.Millisecond) {
		sessions := make(map[int]bool)
		for _, p := range leaders() {
			sessions[p.Pid] = true
		}
		found := 0
		for _, q := range c.take() {
			if sessions[q.session] || strings.Contains(q.marks, mark) {
				q.kill()
				found++
			}
		}
		if found > 0 {
			clean = 0
			if time.Now().After(end) {
				return fmt.Errorf("kill processes: %d of them still there", found)
			}
			continue
		}
		if clean++; clean == 2 {
			return nil
		}
	}
}

// carriers counts the processes with the mark in their environment.
func (c *census) carriers(mark string) (n int64) {
	for _, q := range c.take() {
		if len(mark) >= 32 && strings.Contains(q.marks, mark) {
			n++
		}
	}
	return n
}

// census lists all processes of the machine. Callers that arrive during a scan
// share the next one, so that a hundred sandboxes that end at once do not cost
// a hundred scans.
type census struct {
	mu   sync.Mutex // guards the rest
	next *scan
	busy bool // a goroutine is scanning
}

type scan struct {
	done  chan struct{} // closed when the next is set
	found []process
}

// take returns the result of a scan that began after take was called.
func (c *census) take() []process {
	c.mu.Lock()
	if c.next == nil {
		c.next = &scan{done: make(chan struct{})}
	}
	mine := c.next
	if !c.busy {
		c.busy = true
		go c.run() // ends when nobody waits any more
	}
	c.mu.Unlock()
	<-mine.done
	return mine.found
}

func (c *census) run() {
	for {
		c.mu.Lock()
		now := c.next
		c.next = nil
		c.busy = now != nil
		c.mu.Unlock()
		if now == nil {
			return
		}
		now.found = processes()
		close(now.done)
	}
}

// process is one that has not exited, see proc_pid_stat(5).
type process struct {
	pid, session int
	started      string // clock ticks since boot; with pid, its identity
	marks        string // the value of markEnv in its environment, "" if it has none
}

func processes() (found []process) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if q, ok := readProcess(pid); ok {
			q.marks = readMarks(pid)
			found = append(found, q)
		}
	}
	return found
}

func readMarks(pid int) string {
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return ""
	}
	_, rest, _ := bytes.Cut(environ, []byte(markEnv+"="))
	value, _, _ := bytes.Cut(rest, []byte{0})
	return string(value)
}

func readProcess(pid int) (process, bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, false
	}
	// The name, in parentheses, may hold spaces and parentheses itself.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return process{}, false
	}
	session, err := strconv.Atoi(fields[3])
	return process{pid: pid, session: session, started: fields[19]}, err == nil
}

// kill kills this process but not a later one with its pid: it opens the handle
// (a pidfd) first and compares the start time then.
func (q process) kill() {
	handle, err := os.FindProcess(q.pid)
	if err != nil {
		return
	}
	defer func() { _ = handle.Release() }()
	if now, ok := readProcess(q.pid); ok && now.started == q.started {
		_ = handle.Signal(syscall.SIGKILL)
	}
}
