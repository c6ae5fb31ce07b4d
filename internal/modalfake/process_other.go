//go:build !linux

package modalfake

import (
	"os"
	"syscall"
)

// Without /proc the fake knows the processes that it started, and no others:
// it is there to be compiled, and for tests that leave nothing behind.

func sysProcAttr() *syscall.SysProcAttr { return nil }

func awaitExit(int) {}

func killLeader(p *os.Process, _ bool) { _ = p.Kill() }

type census struct{}

func (*census) killMarked(_ string, leaders func() []*os.Process) error {
	for _, p := range leaders() {
		_ = p.Kill()
	}
	return nil
}

func (*census) carriers(string) int64 { return 0 }
