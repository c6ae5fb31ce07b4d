// Processes as /proc describes them, and signals to them.

package procfs

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// A Process is what /proc/PID/stat says about a process. PID and Started
// together identify it: a PID alone may have been given to a later process.
type Process struct {
	PID, Parent, Group, Session int

	Started string // clock ticks since boot
}

// Equal reports whether p and q are the same process, perhaps read at different
// times.
func (p Process) Equal(q Process) bool { return p.PID == q.PID && p.Started == q.Started }

// Signal sends a signal to the process, and not to a later one with its PID:
// it takes a handle first (pidfd_open(2)) and compares the identity then.
// Errors are ignored, because the process may end at any time.
func (p Process) Signal(sig syscall.Signal) {
	handle, err := os.FindProcess(p.PID)
	if err != nil {
		return
	}
	defer func() { _ = handle.Release() }()
	if now, ok := Read(p.PID); ok && now.Equal(p) {
		_ = handle.Signal(sig)
	}
}

// A Set is a set of processes.
type Set []Process

// Contains reports whether p is in the set.
func (s Set) Contains(p Process) bool { return slices.ContainsFunc(s, p.Equal) }

// Family returns the living processes for which in returns true, and all their
// descendants.
func Family(in func(Process) bool) Set {
	var members Set
	var others []Process
	isMember := make(map[int]bool)
	for _, p := range all() {
		if in(p) {
			members = append(members, p)
			isMember[p.PID] = true
		} else {
			others = append(others, p)
		}
	}
	for before := -1; before != len(members); {
		before = len(members)
		others = slices.DeleteFunc(others, func(p Process) bool {
			if isMember[p.Parent] {
				members = append(members, p)
				isMember[p.PID] = true
			}
			return isMember[p.Parent]
		})
	}
	return members
}

// all returns all living processes. One that ends meanwhile may be missing.
func all() []Process {
	var list []Process
	for _, pid := range pids() {
		if p, ok := Read(pid); ok {
			list = append(list, p)
		}
	}
	return list
}

func pids() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	list := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

// Read returns the process with a PID. ok is false if it has exited or cannot
// be read.
func Read(pid int) (p Process, ok bool) {
	fields := readStat(pid)
	if fields == nil {
		return p, false
	}
	p = Process{PID: pid, Started: fields[statStartTime]}
	for i, field := range []*int{&p.Parent, &p.Group, &p.Session} {
		var err error
		if *field, err = strconv.Atoi(fields[statParent+i]); err != nil {
			return p, false
		}
	}
	return p, true
}

// Numbers of the fields in proc_pid_stat(5).
const (
	statState     = 3
	statParent    = 4 // followed by the group and the session
	statStartTime = 22
	statSize      = 23
	statEnvStart  = 50
	statEnvEnd    = 51
)

// readStat returns the fields of /proc/PID/stat by their numbers, or nil if the
// process has exited.
func readStat(pid int) []string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	// The second field is the name in parentheses, which may hold spaces and
	// parentheses itself.
	_, rest, _ := strings.Cut(string(stat[max(0, bytes.LastIndexByte(stat, ')')):]), " ")
	fields := append(make([]string, statState, 64), strings.Fields(rest)...)
	if len(fields) <= statEnvEnd || fields[statState] == "Z" || fields[statState] == "X" {
		return nil
	}
	return fields
}

// startTime returns Process.Started of a PID, or "" if there is no such process.
func startTime(pid int) string {
	p, _ := Read(pid)
	return p.Started
}

// LastPID returns the PID that the kernel gave out last, or 0 if that is not
// known (proc_loadavg(5)).
func LastPID() int {
	text, _ := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	if len(fields) == 0 {
		return 0
	}
	pid, _ := strconv.Atoi(fields[len(fields)-1])
	return pid
}
