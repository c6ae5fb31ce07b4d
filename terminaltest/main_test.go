package terminaltest_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// brokenEnv is the variable that names the broken executor for a child process
// of TestBrokenExecutors.
const brokenEnv = "TERMINALTEST_BROKEN"

// TestMain checks for leaked goroutines, except in the child processes of
// TestBrokenExecutors, whose broken executors leak them.
func TestMain(m *testing.M) {
	if os.Getenv(brokenEnv) != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}
