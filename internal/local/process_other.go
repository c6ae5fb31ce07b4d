//go:build unix && !linux

// What Unix systems without /proc cannot do.

package local

import (
	"os"
	"syscall"
)

// members is unused: without /proc processes cannot be enumerated.
type members struct{}

// watch waits for the shell's exit. There is no portable way to do so without
// reaping it.
func (p *process) watch() {
	defer close(p.exited)
	p.cmd.ProcessState, _ = p.cmd.Process.Wait()
}

func (p *process) alive() bool { return syscall.Kill(-p.cmd.Process.Pid, 0) == nil }

func (p *process) signal(sig syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, sig) }

// survived has nothing to find a survivor by.
func (p *process) survived() bool { return false }

// pipeCapacity returns the most that a pipe holds: there is no portable way to
// ask for it.
func pipeCapacity(*os.File) int { return defaultPipeCapacity }
