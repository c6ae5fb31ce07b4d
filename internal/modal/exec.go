//go:build !terminal_nomodal

// The executor, and the use of it by one command.

package modal

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	sdk "github.com/modal-labs/modal-client/go"
	"github.com/terminal-go/terminal/internal/lane"
	"github.com/terminal-go/terminal/internal/spawn"
)

const (
	watchFirst = time.Second      // from the start of a command to the first poll of the sandbox
	watchPause = 5 * time.Second  // poll interval after that
	restLimit  = 10 * time.Second // idle time after which a command is preceded by a poll
	stdinChunk = 512 << 10        // bytes of input in one call
	goneLimit  = 2 * time.Second  // time in which Modal notices the end of a sandbox after a stream has ended

	// streamGrace is the time from the end of one output stream of a shell to
	// the end of the other.
	streamGrace = time.Second
)

// An Executor runs the commands of one task in its sandbox. It is safe for
// concurrent use.
type Executor struct {
	*spawn.Life
	cfg Config
	workspace
	sandbox *sdk.Sandbox
	id      string // in the RunIDEnv of every shell, but not of what it runs
	shells  *lane.Pool

	watches sync.WaitGroup // see watch and beat; Add only by a command that has begun, and by start
	calls   sync.WaitGroup // see stdin; Add only by a command that has begun, or by the reader of a shell

	withoutTools atomic.Bool // the SDK's file system calls have failed

	mu       sync.Mutex // guards the rest; held for moments, after Life's and before the pool's
	commands int        // that run
	rested   time.Time  // when the last of them ended
	suspect  bool       // a shell has been lost since the sandbox was seen alive
	stop     context.CancelFunc
}

func newExecutor(cfg Config, w workspace, sb *sdk.Sandbox) *Executor {
	x := &Executor{Life: spawn.NewLife(), cfg: cfg, workspace: w, sandbox: sb, id: spawn.NewRunID()}
	x.shells = lane.NewPool(x.dial)
	return x
}

// JobHome returns "": jobs live in /tmp of the sandbox and end with it.
func (x *Executor) JobHome() string { return "" }

// MakeJob does nothing.
func (x *Executor) MakeJob(string) {}

// begin is Begin for a command. While commands run, watch polls the sandbox.
func (x *Executor) begin(ctx context.Context) (use context.Context, end func(), err error) {
	use, endUse, err := x.Begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.commands++; x.commands == 1 {
		watching, cancel := context.WithCancel(x.Context())
		x.stop = cancel
		x.watches.Go(func() { x.watch(watching) })
	}
	return use, func() {
		x.mu.Lock()
		if x.commands--; x.commands == 0 {
			x.stop()
			x.rested = time.Now()
		}
		x.mu.Unlock()
		endUse()
	}, nil
}

// Exec runs the command; see terminal.Executor.
func (x *Executor) Exec(ctx context.Context, c spawn.Command) (int, error) {
	use, end, err := x.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	if x.restedLong() {
		if gone := x.state(use); gone != nil {
			return 0, fmt.Errorf("%w: %w", spawn.ErrNotStarted, gone)
		}
	}
	code, err := x.shells.Exec(use, c)
	if err == nil {
		return code, nil
	}
	return code, lane.Explain(use, x.Context(), err, "modal: connection into sandbox "+x.sandbox.SandboxID, x.settled)
}
