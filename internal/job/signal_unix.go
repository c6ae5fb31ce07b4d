//go:build unix

package job

import (
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// SignalName returns the name by which kill(1) knows a signal: its number may
// be another one in the environment.
func SignalName(sig syscall.Signal) (string, error) {
	name, ok := strings.CutPrefix(unix.SignalName(sig), "SIG")
	if !ok {
		return "", fmt.Errorf("signal %d: is none of this system's", int(sig))
	}
	return name, nil
}
