package terminaltest

import (
	"context"
	"errors"
	"time"

	"github.com/terminal-go/terminal"
)

// How a command is ended by its context or by Kill.
var limitTests = []subtest{
	{name: "a command at its limit is 124, keeps its output, and leaves the environment usable", test: atLimit},
	{name: "a cancelled command is 130, keeps its output, and leaves the environment usable", test: cancelled},
	{name: "at the end of its context Exec ends the command's whole process group", test: endsGroup},
	{name: "a command that ignores TERM is killed", test: ignoresTerm},
	{name: "TERM comes before KILL", test: termFirst},
	{name: "at the limit nothing is left, not even with nohup or a double fork", test: leavesNothing},
	{name: "at the limit nothing is left, not even with setsid", test: leavesNothingWithSetsid},
	{name: "ending a command spares what an earlier one left running", test: sparesOthers},
}

func atLimit(l *lab) {
	const limit = 1500 * time.Millisecond // a busy machine needs part of it to start the command
	term := l.terminal(terminal.Config{})
	start := time.Now()
	res, err := l.run(term, terminal.Request{Command: "echo x >@D/file; echo before; sh @D/sleeper a; echo after", Timeout: limit})
	if took := time.Since(start); took < limit || took > limit+grace {
		l.Errorf("it returned after %v, the limit is %v", took, limit)
	}
	if !errors.Is(err, terminal.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		l.Errorf("error %v, want both ErrTimeout and DeadlineExceeded", err)
	}
	if res.ExitCode != 124 || res.Status != terminal.StatusTimeout || res.Error == "" || res.Output != "before\n" {
		l.Errorf("result %+v; want code 124, status timeout, an error, and the output so far", res)
	}
	if out := l.sh(term, "cat @D/file"); out != "x\n" {
		l.Errorf("the file has %q after the limit, want %q", out, "x\n")
	}
}

func cancelled(l *lab) {
	term := l.terminal(terminal.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var out recorder
	wait := l.start(ctx, term, terminal.Request{Command: "echo x >@D/file; echo ready; sh @D/sleeper a; echo after", Stdout: &out})
	l.await(&out, "ready\n")
	cancel()
	var res terminal.Result
	var err error
	l.within(grace, "Run after its context was cancelled", func() { res, err = wait() })
	if !errors.Is(err, context.Canceled) || errors.Is(err, terminal.ErrTimeout) {
		l.Errorf("error %v, want that of the context", err)
	}
	if res.ExitCode != 130 || res.Status != terminal.StatusCancelled || res.Error == "" || res.Output != "ready\n" {
		l.Errorf("result %+v; want code 130, status cancelled, an error, and the output so far", res)
	}
	if out := l.sh(term, "cat @D/file"); out != "x\n" {
		l.Errorf("the file has %q afterwards, want %q", out, "x\n")
	}
}

func endsGroup(l *lab) {
	ex := l.executor("task")
	o := l.ended(ex, `sh @D/sleeper child & (sh @D/sleeper grandchild & wait) &
sh @D/await @D/pid.child; sh @D/await @D/pid.grandchild; echo ready; wait`)
	if !errors.Is(o.err, context.Canceled) {
		l.Errorf("error %v, want that of the context", o.err)
	}
	l.gone(ex)
}

func ignoresTerm(l *lab) {
	ex := l.executor("task")
	o := l.ended(ex, "trap '' TERM; sh @D/sleeper child & sh @D/await @D/pid.child; echo ready; exec sh @D/sleeper leader")
	if !errors.Is(o.err, context.Canceled) {
		l.Errorf("error %v, want that of the context", o.err)
	}
	l.gone(ex)
}

func termFirst(l *lab) {
	ex := l.executor("task")
	l.ended(ex, `trap 'echo got TERM >@D/term; exit 0' TERM; echo ready
n=0; while [ $n -lt 100 ]; do sleep 0.05 2>/dev/null || sleep 1; n=$((n+1)); done`)
	l.check("the trap's file", l.exec(ex, "cat @D/term"), 0, "got TERM\n")
}

func leavesNothing(l *lab) {
	term := l.terminal(terminal.Config{})
	res, _ := l.run(term, terminal.Request{Timeout: time.Second, Command: `sh @D/sleeper plain &
if command -v nohup >/dev/null; then nohup sh @D/sleeper nohup >/dev/null 2>&1 & fi
( ( sh @D/sleeper fork & ) & )
(trap '' TERM HUP INT; sh @D/sleeper deaf >/dev/null 2>&1 &)
sh @D/sleeper last`})
	if res.Status != terminal.StatusTimeout {
		l.Errorf("status %q, want timeout", res.Status)
	}
	if out := l.sh(term, "sh @D/gone"); out != "" {
		l.Errorf("processes still run: %s", out)
	}
}

func leavesNothingWithSetsid(l *lab) {
	term := l.terminal(terminal.Config{})
	if res, _ := l.run(term, terminal.Request{Command: "command -v setsid"}); res.ExitCode != 0 {
		l.Skip("the environment has no setsid")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var out recorder
	wait := l.start(ctx, term, terminal.Request{Stdout: &out, Command: `setsid sh @D/sleeper a &
(setsid sh @D/sleeper b >/dev/null 2>&1 </dev/null &)
setsid sh -c 'setsid sh @D/sleeper c & setsid sh @D/sleeper d & exit' >/dev/null 2>&1
(trap '' TERM HUP; setsid sh @D/sleeper e >/dev/null 2>&1 &)
for n in a b c d e; do sh @D/await @D/pid.$n; done
echo ready; sh @D/sleeper last`})
	l.await(&out, "ready\n")
	cancel()
	l.within(grace, "Run after its context was cancelled", func() { _, _ = wait() })
	if out := l.sh(term, "sh @D/gone"); out != "" {
		l.Errorf("processes still run: %s", out)
	}
}

func sparesOthers(l *lab) {
	term := l.terminal(terminal.Config{})
	l.sh(term, "sh @D/sleeper old >/dev/null 2>&1 & sh @D/await @D/pid.old")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var out recorder
	wait := l.start(ctx, term, terminal.Request{Stdout: &out, Command: "echo ready; sh @D/sleeper new"})
	l.await(&out, "ready\n")
	cancel()
	l.within(grace, "Run after its context was cancelled", func() { _, _ = wait() })
	if out := l.sh(term, "sh @D/alive"); out != "old\n" {
		l.Errorf("processes left: %q, want %q", out, "old\n")
	}
}
