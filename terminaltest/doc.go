// Package terminaltest tests implementations of [terminal.Backend], and helps
// to test programs that use a [terminal.Terminal].
//
// [Run] tests the contract of package terminal as a list of subtests, each named
// by the sentence that it tests. The test of a backend is a single call:
//
//	func TestBackend(t *testing.T) {
//		terminaltest.Run(t, func(t *testing.T) terminal.Backend {
//			return mybackend.New(t.TempDir())
//		})
//	}
//
// [Fake] is a backend with scripted replies, for tests that need no processes.
// In front of a real backend it records calls and injects failures.
package terminaltest
