package modalfake

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killLimit is how long the processes of a sandbox may take to die of KILL.
const killLimit = 5 * time.Second

func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// awaitExit waits for the process's end without reaping it, so that its
// number stays its own until that is booked.
func awaitExit(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
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

// killMarked kills whatever carries the mark or is in the session of one of
// the leaders, until two looks in a row find nobody: a process in the middle
// of an exec shows no environment.
func killMarked(mark string, leaders func() []*os.Process) error {
	if len(mark) < 32 {
		return fmt.Errorf("kill processes: mark %q is too short", mark) // the empty one is in every environment
	}
	end := time.Now().Add(killLimit)
	for clean := 0; ; time.Sleep(time.Millisecond) {
		found := carriers(mark)
		sessions := make(map[int]bool)
		for _, p := range leaders() {
			sessions[p.Pid] = true
		}
		if len(sessions) > 0 {
			found = append(found, processes(func(q process) bool { return sessions[q.session] })...)
		}
		for _, q := range found {
			q.kill()
		}
		if len(found) > 0 {
			clean = 0
			if time.Now().After(end) {
				return fmt.Errorf("kill processes: %d of them still there", len(found))
			}
			continue
		}
		if clean++; clean == 2 {
			return nil
		}
	}
}

// process is one that has not exited, see proc_pid_stat(5).
type process struct {
	pid, session int
	started      string // clock ticks since boot; with pid, its identity
}

// carriers are the processes with the mark in their environment.
func carriers(mark string) []process {
	if len(mark) < 32 {
		return nil
	}
	return processes(func(q process) bool {
		environ, err := os.ReadFile("/proc/" + strconv.Itoa(q.pid) + "/environ")
		return err == nil && bytes.Contains(environ, []byte(mark))
	})
}

func processes(is func(process) bool) (found []process) {
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
		if q, ok := readProcess(pid); ok && is(q) {
			found = append(found, q)
		}
	}
	return found
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
	return process{pid, session, fields[19]}, err == nil
}

// kill kills this process and no later one of its number: the handle is taken
// first, then the identity compared.
func (q process) kill() {
	handle, err := os.FindProcess(q.pid)
	if err != nil {
		return
	}
	defer handle.Release()
	if now, ok := readProcess(q.pid); ok && now == q {
		_ = handle.Signal(syscall.SIGKILL)
	}
}
