// The executor, and one command on it.

package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/terminal-go/terminal/internal/spawn"
)

// An Executor runs the commands of one task. It is safe for concurrent use.
type Executor struct {
	*spawn.Life
	shell   string
	env     map[string]string
	id      string // in every command's RunIDEnv beside its own, so that Close finds what they left
	jobHome string // not named after id, so that it does not match a search for it

	leftovers spawn.Leftovers
	pumping   sync.WaitGroup // pumps; Add only by a command that has begun
	ran       atomic.Bool    // there may be something for Close to find

	mu    sync.Mutex         // guards pumps; a leaf, held for moments
	pumps map[*pump]struct{} // that have not reached the end of their pipe
}

// JobHome returns the directory of the task's jobs, which Close removes.
func (x *Executor) JobHome() string { return x.jobHome }

// MakeJob makes the directory of a job.
func (x *Executor) MakeJob(id string) {
	_ = os.Mkdir(x.jobHome, 0o700)
	_ = os.Mkdir(filepath.Join(x.jobHome, id), 0o700)
}

// Ping returns nil: this machine is there as long as this process.
func (x *Executor) Ping(context.Context) error { return nil }

// Exec runs the command; see terminal.Executor.
func (x *Executor) Exec(ctx context.Context, c spawn.Command) (int, error) {
	use, end, err := x.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	x.ran.Store(true)
	if err := checkDir(c.Dir); err != nil {
		return 0, spawn.NotStarted(err)
	}
	p, err := x.start(c)
	if err != nil {
		return 0, spawn.NotStarted(err)
	}
	select {
	case <-p.exited:
	case <-use.Done():
		p.end()
		err = ctx.Err()
		if x.Over() {
			err = spawn.ErrClosed
		}
	}
	code := p.reap()
	p.drain()
	if err == nil && !spawn.IsDetached(ctx) && p.survived() {
		x.leftovers.Add(p.runID)
	}
	return code, err
}

// checkDir returns an error for a directory that cannot be entered, which a
// failed fork would not name.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return &fs.PathError{Op: "chdir", Path: dir, Err: errors.Unwrap(err)}
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "chdir", Path: dir, Err: syscall.ENOTDIR}
	}
	return nil
}
