// Owner: the process that a container or a sandbox belongs to.

package procfs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// An Owner is the process that a container or a sandbox belongs to.
type Owner struct {
	// Host, Boot and Namespace say where PID means something: the host name,
	// the boot ID and the PID namespace.
	Host, Boot, Namespace string

	PID     int
	Started string // see Process
}

// Self returns this process as an Owner. Where there is no /proc, Boot is "" and
// nobody can prove that the owner is dead.
func Self() Owner {
	var o Owner
	o.Host, _ = os.Hostname()
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	o.Boot = strings.TrimSpace(string(boot))
	o.Namespace, _ = os.Readlink("/proc/self/ns/pid")
	o.PID = os.Getpid()
	o.Started = startTime(o.PID)
	return o
}

// String returns the form that ParseOwner reads.
func (o Owner) String() string {
	return strings.Join([]string{o.Host, o.Boot, o.Namespace, strconv.Itoa(o.PID), o.Started}, " ")
}

// ParseOwner parses what String returns.
func ParseOwner(text string) (o Owner, ok bool) {
	parts := strings.Split(text, " ")
	if len(parts) != 5 {
		return o, false
	}
	pid, err := strconv.Atoi(parts[3])
	return Owner{parts[0], parts[1], parts[2], pid, parts[4]}, err == nil && pid > 0
}

// Place returns a short hash of where the owner's PID means something.
func (o Owner) Place() string {
	sum := sha256.Sum256([]byte(o.Host + " " + o.Boot + " " + o.Namespace))
	return hex.EncodeToString(sum[:8])
}

// IsDead reports whether o has provably ended, as seen by self: its PID means
// something here, and belongs to no process or to a later one.
func (o Owner) IsDead(self Owner) bool {
	known := self.Boot != "" && self.Namespace != "" && self.Started != "" &&
		o.Host == self.Host && o.Boot == self.Boot && o.Namespace == self.Namespace && o.Started != ""
	if !known {
		return false
	}
	started := startTime(o.PID)
	return started != o.Started && (started != "" || !exists(o.PID))
}

// exists reports whether there is a process with the PID, also where /proc
// hides the processes of other users.
func exists(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer func() { _ = p.Release() }()
	return !errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}
