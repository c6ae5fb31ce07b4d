package terminaltest

import (
	"context"
	"strings"
	"time"

	"github.com/terminal-go/terminal"
)

// Processes that a command leaves running.
var backgroundTests = []subtest{
	{name: "a background child does not hold the call", test: childHoldsNothing},
	{name: "what a command leaves running lives on and may go on writing", test: childLives},
	{name: "what is written after a call is in no other call's output", test: childIsNotHeard},
}

func childHoldsNothing(l *lab) {
	const soon = 5 * time.Second
	ex := l.executor("task")
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	wait := l.begin(ctx, ex, terminal.Command{Script: "sh @D/sleeper a & sh @D/await @D/pid.a; echo started; exit 3"})
	var o outcome
	l.within(soon+grace, "Exec", func() { o = wait() })
	l.check("Exec", o, 3, "started\n")

	res, err := l.run(l.terminal(terminal.Config{}), terminal.Request{
		Command: "sh @D/sleeper a & sh @D/await @D/pid.a; echo started; exit 3", Timeout: soon,
	})
	if err != nil || res.ExitCode != 3 || res.Output != "started\n" {
		l.Errorf("Run: code %d, error %v, output %q; want code 3, output %q", res.ExitCode, err, res.Output, "started\n")
	}
}

func childLives(l *lab) {
	ex := l.executor("task")
	l.check("the first command", l.exec(ex, `(sh @D/await @D/go; head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; echo late >@D/new && mv @D/new @D/late) &
echo started`), 0, "started\n")
	l.check("the second command", l.exec(ex, ": >@D/go; sh @D/await @D/late; cat @D/late"), 0, "late\n")
}

func childIsNotHeard(l *lab) {
	term := l.terminal(terminal.Config{})
	var live recorder
	res, err := l.run(term, terminal.Request{Stdout: &live, Command: `(sh @D/await @D/go; echo noise; echo noise >&2; : >@D/done) &
echo first`})
	if err != nil || res.Output != "first\n" {
		l.Errorf("first: error %v, output %q", err, res.Output)
	}
	if out := l.sh(term, ": >@D/go; sh @D/await @D/done; echo second"); out != "second\n" {
		l.Errorf("second: output %q, want %q", out, "second\n")
	}
	if out := l.sh(term, "echo third"); out != "third\n" {
		l.Errorf("third: output %q, want %q", out, "third\n")
	}
	if strings.Contains(live.String(), "noise") {
		l.Errorf("the first call's writer was used after the call")
	}
}
