//go:build !terminal_nomodal

// The dead-man's switch: a sandbox whose owner is silent becomes idle.

package modal

import (
	"context"
	_ "embed"
	"io"
	"strconv"
	"time"

	sdk "github.com/modal-labs/modal-client/go"

	"github.com/terminal-go/terminal/internal/procfs"
)

// ownerTimeout is how long a sandbox waits for a sign of life of its owner
// before it ends the shells in it, which would keep it from being idle. Tests
// shorten it.
var ownerTimeout = 30 * time.Minute

// leash.sh ends the shells in the sandbox when no line has come for a while.
//
//go:embed leash.sh
var leashSource string

// hold starts the dead-man's switch and writes to it regularly until Close.
func (x *Executor) hold(ctx context.Context) error {
	seconds := strconv.Itoa(int(ownerTimeout / time.Second))
	p, err := x.sandbox.Exec(ctx, []string{"sh", "-c", leashSource + procfs.SweepScript(x.id), "sh", seconds},
		&sdk.SandboxExecParams{Stdout: sdk.Ignore, Stderr: sdk.Ignore})
	if err != nil {
		return err
	}
	x.watches.Go(func() { x.beat(p.Stdin) })
	return nil
}

func (x *Executor) beat(to io.Writer) {
	tick := time.NewTicker(ownerTimeout / 6) // five of six may be lost
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_, _ = to.Write([]byte("\n"))
		case <-x.Gone():
			return
		case <-x.Context().Done():
			return
		}
	}
}
