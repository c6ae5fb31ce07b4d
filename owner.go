//go:build !terminal_nodocker || !terminal_nomodal

package terminal

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// owner is the process that a container or a sandbox belongs to: where to look
// for it, and its identity there.
type owner struct {
	host, boot, pids string // host name, boot id, and pid namespace: where a pid means something
	pid              int
	started          string // see process
}

// self returns this process as an owner. Where there is no /proc the boot id
// is missing, and nobody can prove then that the owner is gone.
func self() owner {
	var o owner
	o.host, _ = os.Hostname()
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	o.boot = strings.TrimSpace(string(boot))
	o.pids, _ = os.Readlink("/proc/self/ns/pid")
	o.pid = os.Getpid()
	o.started = startTime(o.pid)
	return o
}

// String is the form of the label.
func (o owner) String() string {
	return strings.Join([]string{o.host, o.boot, o.pids, strconv.Itoa(o.pid), o.started}, " ")
}

func parseOwner(label string) (o owner, ok bool) {
	parts := strings.Split(label, " ")
	if len(parts) != 5 {
		return o, false
	}
	pid, err := strconv.Atoi(parts[3])
	return owner{parts[0], parts[1], parts[2], pid, parts[4]}, err == nil && pid > 0
}

// isDead tells whether o has provably ended, as seen by me: its pid means
// something here, and is not o's.
func (o owner) isDead(me owner) bool {
	comparable := me.boot != "" && me.pids != "" && me.started != "" &&
		o.host == me.host && o.boot == me.boot && o.pids == me.pids && o.started != ""
	if !comparable {
		return false
	}
	started := startTime(o.pid)
	return started != o.started && (started != "" || !exists(o.pid))
}

// exists tells whether there is a process, also where /proc hides those of
// other users.
func exists(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release()
	return !errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

const (
	createLimit = time.Minute      // for one step of making an environment on a machine that is there
	lingerLimit = 10 * time.Second // for such a step once nobody wants it any more, and for removal after a failure
)

// lingering returns a context that outlives ctx for a while, if not the limit:
// a request that is cut off leaves behind what the other side was about to make.
func lingering(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	step, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(lingerLimit, cancel)
		context.AfterFunc(step, func() { timer.Stop() })
	})
	return step, func() { stop(); cancel() }
}

// inBackground runs f at once and returns a function that waits for it.
func inBackground(f func() error) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return func() error { return <-done }
}
