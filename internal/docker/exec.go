//go:build !terminal_nodocker

// This file holds Executor and runs commands on the shells of its pool.

package docker

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/terminal-go/terminal/internal/lane"
	"github.com/terminal-go/terminal/internal/spawn"
)

// maxAnswer and maxStderr bound the output of this module's own scripts, in bytes.
const (
	maxAnswer = 4 << 10
	maxStderr = 1000
)

// Executor runs the commands of one task in its container. It is safe for
// concurrent use.
type Executor struct {
	*spawn.Life
	cfg    Config
	daemon daemon
	id     string // container ID
	shells *lane.Pool
	plain  bool        // sh cannot serve a lane; set before the first command
	ending atomic.Bool // the connection to the main process has ended
}

// JobHome returns "": jobs live in the container's /tmp and end with it.
func (x *Executor) JobHome() string { return "" }

// MakeJob does nothing: the container needs no directory on this machine.
func (x *Executor) MakeJob(string) {}

// Exec runs a command and returns its exit code; see terminal.Executor.
func (x *Executor) Exec(ctx context.Context, c spawn.Command) (int, error) {
	use, end, err := x.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	var code int
	if x.plain {
		code, err = x.execPlain(use, c)
	} else {
		code, err = x.shells.Exec(use, c)
	}
	if err == nil {
		return code, nil
	}
	return code, lane.Explain(use, x.Context(), err, fmt.Sprintf("docker: connection into container %.12s", x.id), x.settled)
}
