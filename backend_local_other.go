//go:build unix && !linux

package terminal

import (
	"context"
	"os"
	"syscall"
)

// kin are not to be had without /proc.
type kin struct{}

// watch waits for the shell's exit. There is no portable way to do so without
// reaping it.
func (p *localProcess) watch() {
	defer close(p.exited)
	p.cmd.ProcessState, _ = p.cmd.Process.Wait()
}

func (p *localProcess) alive() bool { return syscall.Kill(-p.cmd.Process.Pid, 0) == nil }

func (p *localProcess) signal(sig syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, sig) }

// pipeCapacity returns the most that a pipe holds: there is no portable way to
// ask for it.
func pipeCapacity(*os.File) int { return defaultPipeCapacity }

// survived has nothing to find a survivor by.
func (p *localProcess) survived() bool { return false }

// killRun has nothing to find a run by: without /proc the process group is
// all there is, and that has been ended.
func killRun(context.Context, string) error { return nil }

// startTime is part of a process's identity, which is not told here.
func startTime(int) string { return "" }
