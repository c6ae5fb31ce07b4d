package terminaltest

import (
	"testing"

	"github.com/terminal-go/terminal"
)

// Limited is implemented by a Backend that cannot do everything, such as one that
// runs no real processes. [Run] calls Lacks before every subtest.
type Limited interface {
	// Lacks returns the reason why the backend cannot pass the subtest of this
	// name, with which Run skips it, or "" to run it. It may be called from
	// several goroutines at once.
	Lacks(subtest string) (reason string)
}

// Run tests a Backend against the contract of package terminal. Each subtest gets
// a Backend of its own from newBackend, which may register cleanups on the
// subtest's t. Most subtests open a single executor on it.
//
// Most subtests go through a Terminal, as users do. Where a Terminal would hide a
// fault of the backend, they call the Executor directly.
//
// The environment needs a POSIX sh, cat, chmod, date, dd, grep, head, ln, ls,
// mkdir, mkfifo, mv, rm, sleep, tail, touch, tr, wc, and a writable /tmp, where
// each subtest works in a directory of its own and removes it. Subtests that copy
// directories are skipped if the Terminal returns errors.ErrUnsupported.
//
// All subtests but one run in parallel (go test -parallel); that one replaces
// os.Stdin while it runs. With go test -short two of them use less data.
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
