// Package terminaltest tests implementations of [terminal.Backend], and helps
// to test programs that use a [terminal.Terminal].
//
// [Run] is the contract of package terminal as a list of subtests, each named
// by the sentence it holds a backend to. A backend's own test is that call:
//
//	func TestBackend(t *testing.T) {
//		terminaltest.Run(t, func(t *testing.T) terminal.Backend {
//			return mybackend.New(t.TempDir())
//		})
//	}
//
// [Fake] is a backend whose commands are scripted, for tests that need no
// processes; with a real backend behind it, it records calls and injects
// failures.
package terminaltest
