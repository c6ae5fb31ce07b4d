// Processes of Windows.

package local

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

var shellNames = []string{"bash"}

const shellRemedy = "install Git for Windows, whose bash serves, and put it on PATH, or set Local.Shell"

func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

func exitCode(state *os.ProcessState) int { return state.ExitCode() }

// members is unused: without /proc processes cannot be enumerated.
type members struct{}

// watch waits for the shell's exit.
func (p *process) watch() {
	defer close(p.exited)
	p.cmd.ProcessState, _ = p.cmd.Process.Wait()
}

// end ends the shell and its descendants. Windows has no signal that a
// program could answer in its own time.
func (p *process) end() {
	_ = exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(p.cmd.Process.Pid)).Run()
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// readReady always finds the pipe empty. It is never called: these pipes have no
// read deadlines, so no read of them is interrupted.
func readReady(*os.File, []byte) (int, error) { return 0, nil }

func pipeCapacity(*os.File) int { return defaultPipeCapacity }

// survived has nothing to find a survivor by.
func (p *process) survived() bool { return false }
