package terminaltest

import (
	"testing"

	"github.com/terminal-go/terminal"
)

// Limited is a Backend that cannot do everything, such as one that runs no
// real processes. [Run] asks it before every subtest.
type Limited interface {
	// Lacks returns why the backend cannot do what the subtest of this name
	// asks for; the subtest is then skipped with that reason. "" means that
	// the subtest is to run. It may be called from several goroutines at once.
	Lacks(subtest string) (reason string)
}

// Run holds a Backend to the contract of package terminal. Each subtest gets a
// Backend of its own from newBackend, which may use the subtest's t to register
// cleanups, and opens as many executors on it as it needs: most need one.
//
// Most subtests go through a Terminal, as users do. Those that a Terminal
// would help out use the Executor alone.
//
// The environment needs a POSIX sh, cat, chmod, date, dd, grep, head, ln, ls,
// mkdir, mkfifo, mv, rm, sleep, tail, touch, tr, wc, and a writable /tmp, where
// each subtest works in a directory of its own and removes it. Subtests that copy
// directories are skipped where a Terminal says that it cannot. All subtests but one run in parallel (go test -parallel); the
// one that is not replaces os.Stdin while it runs. With go test -short two of
// them use less data.
func Run(t *testing.T, newBackend func(t *testing.T) terminal.Backend) {
	t.Helper()
	for _, group := range [][]subtest{limitTests, taskTests, backgroundTests, jobTests, outputTests, inputTests, scriptTests, fileTests} {
		for _, s := range group {
			t.Run(s.name, func(t *testing.T) {
				if !s.alone {
					t.Parallel()
				}
				b := newBackend(t)
				if l, ok := b.(Limited); ok {
					if reason := l.Lacks(s.name); reason != "" {
						t.Skipf("%s: %s", s.name, reason)
					}
				}
				s.test(newLab(t, b))
			})
		}
	}
}

// A subtest is one sentence of the contract.
type subtest struct {
	name  string
	test  func(*lab)
	alone bool // not in parallel with others
}
