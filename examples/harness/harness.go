// Package harness shows how an evaluation uses a terminal: each exercise runs
// in a task and a directory of its own, as many at once as the caller likes,
// and a command decides whether it was solved.
package harness

import (
	"context"
	"fmt"

	"github.com/terminal-go/terminal"
)

// Exercise is something to be solved in a terminal. Its scripts run in a
// directory of the task's own.
type Exercise struct {
	Setup  string // prepares the directory; must end with code 0
	Answer string // is graded, so it may fail or reach its limit
	Check  string // ends with code 0 if the answer is right
}

// Grade runs the exercise in the task, in the directory of that name below the
// Terminal's, closes the task, and reports whether the answer is right. why is
// what the check printed, or how the answer ended. An error means that there
// is no grade.
func Grade(ctx context.Context, term *terminal.Terminal, task string, e Exercise) (pass bool, why string, err error) {
	defer func() { _ = term.CloseTask(context.WithoutCancel(ctx), task) }()
	run := func(dir, command string) (terminal.Result, error) {
		return term.Run(ctx, terminal.Request{Task: task, Dir: dir, Command: command})
	}
	res, err := run("", "mkdir "+task+" && cd "+task+" || exit\n"+e.Setup)
	if err != nil {
		return false, "", err
	}
	if res.ExitCode != 0 {
		return false, "", fmt.Errorf("set up %s: exit code %d: %s", task, res.ExitCode, res.Output)
	}
	if res, err = run(task, e.Answer); res.Status == terminal.StatusTimeout {
		return false, res.Error, nil
	} else if err != nil {
		return false, "", err
	}
	if res, err = run(task, e.Check); err != nil {
		return false, "", err
	}
	return res.ExitCode == 0, res.Output, nil
}
