package terminaltest_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// brokenEnv names the broken executor that a process of TestBrokenExecutors
// is to test.
const brokenEnv = "TERMINALTEST_BROKEN"

// TestMain looks for leaked goroutines, except in the processes that
// TestBrokenExecutors starts: those leak because they are broken.
func TestMain(m *testing.M) {
	if os.Getenv(brokenEnv) != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}
