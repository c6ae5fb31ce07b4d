// Processes by the run ID in their environment.

package procfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/terminal-go/terminal/internal/spawn"
)

// KillRun sends KILL to all processes that carry the run ID and to their
// descendants until none is left, because a process may fork faster than one
// pass. It returns an error if some are left when ctx ends or after 5 s.
func KillRun(ctx context.Context, runID string) error {
	if runID == "" {
		return errors.New("kill processes: no run id") // every environment contains the empty word
	}
	ctx, cancel := context.WithTimeout(ctx, spawn.KillLimit)
	defer cancel()
	var left Set
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if len(left) == 0 && !AnyCarries(runID) {
			return nil // the common case, at half the price of Family
		}
		left = Family(func(p Process) bool { return left.Contains(p) || Carries(p.PID, runID) })
		for _, p := range left {
			p.Signal(syscall.SIGKILL)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("kill processes: %d of them still there: %w", len(left), ctx.Err())
		}
	}
}

// AnyCarries reports whether any process carries the run ID.
func AnyCarries(runID string) bool {
	return slices.ContainsFunc(pids(), func(pid int) bool { return Carries(pid, runID) })
}

// Carries reports whether a process has the run ID in its environment. The ID
// is random, so it does not matter in which variable it is.
//
// In the middle of an exec a process has no environment. So a process without
// one is read again until the kernel says twice that its environment is empty
// (it ends where it starts) at the same place, or that it has no memory at all,
// as kernel threads and zombies. An environment that takes more than one read
// may end early for the same reason, so it counts when it was read twice.
func Carries(pid int, runID string) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	emptyAt := "0"
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
		if stat == nil || stat[statSize] == "0" {
			return false
		}
		if start, end := stat[statEnvStart], stat[statEnvEnd]; start == end && start != "0" {
			if start == emptyAt {
				return false
			}
			emptyAt = start
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// readEnviron reads an environment. whole reports whether one read(2) returned
// all of it, which an exec cannot cut short.
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
