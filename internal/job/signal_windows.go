package job

import (
	"fmt"
	"syscall"
)

// SignalName returns the name by which kill(1) knows a signal.
func SignalName(sig syscall.Signal) (string, error) {
	names := map[syscall.Signal]string{
		syscall.SIGHUP: "HUP", syscall.SIGINT: "INT", syscall.SIGQUIT: "QUIT", syscall.SIGABRT: "ABRT",
		syscall.SIGKILL: "KILL", syscall.SIGPIPE: "PIPE", syscall.SIGALRM: "ALRM", syscall.SIGTERM: "TERM",
	}
	if name, ok := names[sig]; ok {
		return name, nil
	}
	return "", fmt.Errorf("signal %d: is none of HUP, INT, QUIT, ABRT, KILL, PIPE, ALRM, TERM", int(sig))
}
