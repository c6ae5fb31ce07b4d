// Times and sizes that hold for every backend.

package spawn

import "time"

// Times that hold for every backend.
const (
	// TermGrace is the time from TERM to KILL.
	TermGrace = 2 * time.Second

	// KillLimit bounds the wait for killed processes to disappear: one in an
	// uninterruptible sleep may stay for ever.
	KillLimit = 5 * time.Second

	// DrainIdle is how long no output must come after a command's exit for its
	// output to be complete, and DrainMax how long at most a process that goes
	// on writing delays that.
	DrainIdle = 100 * time.Millisecond
	DrainMax  = time.Second

	// EndLimit bounds the end of a command that has to be ended from a second
	// shell: its grace, and the time to get that shell.
	EndLimit = 6 * time.Second
)

// MaxFile is the size in bytes of the largest file that ReadFile reads. Package
// terminal documents and exports it.
const MaxFile = 64 << 20
