package terminaltest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/terminal-go/terminal"
)

// The lifetimes of tasks and executors.
var taskTests = []subtest{
	{name: "commands of one task run in parallel", test: parallelCommands},
	{name: "files stay from one command of a task to the next", test: filesStay},
	{name: "no shell state passes from one command to the next", test: noShellState},
	{name: "each task has an executor of its own", test: executorEach},
	{name: "closing one task leaves the others alone", test: othersStay},
	{name: "closing a task ends its command, and the next call gets a fresh executor", test: closeTask},
	{name: "closing the Terminal ends its commands and leaves nothing running", test: closeTerminal},
	{name: "Close may come twice", test: closeTwice},
	{name: "Close ends a running command", test: closeDuringExec},
	{name: "Close leaves nothing running", test: closeSurvivors},
	{name: "Exec after Close is an error and runs nothing", test: execAfterClose},
	{name: "Open with an ended context opens nothing that stays", test: openEnded},
	{name: "many tasks open at once, whatever their names", test: openMany},
	{name: "a backend that can be used says so", test: healthy},
}

func parallelCommands(l *lab) {
	ex := l.executor("task")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a := l.begin(ctx, ex, terminal.Command{Script: ": >@D/a; sh @D/await @D/b && echo a"})
	b := l.begin(ctx, ex, terminal.Command{Script: ": >@D/b; sh @D/await @D/a && echo b"})
	l.within(patience+grace, "Exec", func() {
		l.check("a", a(), 0, "a\n")
		l.check("b", b(), 0, "b\n")
	})
	term := l.terminal(terminal.Config{})
	c := l.start(ctx, term, terminal.Request{Command: ": >@D/c; sh @D/await @D/d"})
	d := l.start(ctx, term, terminal.Request{Command: ": >@D/d; sh @D/await @D/c"})
	l.within(patience+grace, "Run", func() {
		for _, wait := range []func() (terminal.Result, error){c, d} {
			if res, err := wait(); err != nil || res.ExitCode != 0 {
				l.Errorf("Run: code %d, error %v, output %q", res.ExitCode, err, res.Output)
			}
		}
	})
}

func filesStay(l *lab) {
	term := l.terminal(terminal.Config{})
	l.sh(term, "mkdir @D/sub && echo kept >@D/sub/file")
	if out := l.sh(term, "cat @D/sub/file"); out != "kept\n" {
		l.Errorf("output %q, want %q", out, "kept\n")
	}
}

func noShellState(l *lab) {
	ex := l.executor("task")
	const look = `pwd; echo "${TT_X-unset} $(umask)"; trap`
	before := l.exec(ex, look)
	l.check("the first command", l.exec(ex, "cd @D && TT_X=1 && export TT_X && umask 0 && trap 'echo trap' EXIT"), 0, "trap\n")
	l.check("the second command", l.exec(ex, look), 0, before.out)
	if !strings.HasPrefix(before.out, "/\nunset ") {
		l.Errorf("at first: output %q", before.out)
	}
}

// opens counts the executors that are opened and closed on a Backend.
type opens struct {
	terminal.Backend
	mu     sync.Mutex
	opened map[string]int
}

func (o *opens) Open(ctx context.Context, task string) (terminal.Executor, error) {
	o.mu.Lock()
	o.opened[task]++
	o.mu.Unlock()
	return o.Backend.Open(ctx, task)
}

func executorEach(l *lab) {
	b := &opens{Backend: l.b, opened: map[string]int{}}
	term := l.terminal(terminal.Config{Backend: b})
	for _, task := range []string{"a", "b", "a", "b"} {
		if res, err := l.run(term, terminal.Request{Command: "echo " + task, Task: task}); err != nil || res.Output != task+"\n" {
			l.Errorf("task %s: error %v, output %q", task, err, res.Output)
		}
	}
	if b.opened["a"] != 1 || b.opened["b"] != 1 || len(b.opened) != 3 { // and the default task
		l.Errorf("opened %v, want one executor for each task", b.opened)
	}
	if s := term.Stats(); s.Created != 3 || len(s.Tasks) != 3 {
		l.Errorf("Stats: %d created, %d tasks; want 3", s.Created, len(s.Tasks))
	}
}

func othersStay(l *lab) {
	a, b := l.executor("a"), l.executor("b")
	l.check("leave a nap", l.exec(b, "sh @D/sleeper old >/dev/null 2>&1 & sh @D/await @D/pid.old"), 0, "")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out recorder
	wait := l.begin(ctx, b, terminal.Command{Script: "echo ready; sh @D/await @D/go; echo done", Stdout: &out, Stderr: &out})
	l.await(&out, "ready\n")
	l.close(a)
	l.check("a new command", l.exec(b, ": >@D/go; sh @D/alive"), 0, "old\n")
	o := wait()
	o.out = out.String()
	l.check("the command that ran", o, 0, "ready\ndone\n")
}

func closeTask(l *lab) {
	term := l.terminal(terminal.Config{})
	var out recorder
	wait := l.start(context.Background(), term, terminal.Request{Stdout: &out, Command: "echo ready; sh @D/sleeper a"})
	l.await(&out, "ready\n")
	l.within(patience, "CloseTask", func() {
		if err := term.CloseTask(context.Background(), "default"); err != nil {
			l.Errorf("CloseTask: %v", err)
		}
	})
	l.closed(wait)
	if out := l.sh(term, "[ ! -f @D/gone ] || sh @D/gone; echo fresh"); out != "fresh\n" {
		l.Errorf("afterwards: output %q, want %q", out, "fresh\n")
	}
	if s := term.Stats(); s.Created != 2 {
		l.Errorf("%d executors were created, want 2", s.Created)
	}
	if err := term.CloseTask(context.Background(), "no such task"); err != nil {
		l.Errorf("CloseTask of an unknown task: %v", err)
	}
}

// closed checks that a Run ended because its task or Terminal was closed.
func (l *lab) closed(wait func() (terminal.Result, error)) {
	l.Helper()
	var res terminal.Result
	var err error
	l.within(grace, "Run after closing", func() { res, err = wait() })
	if !errors.Is(err, terminal.ErrClosed) || res.Status != terminal.StatusClosed || res.ExitCode != -1 || res.Output != "ready\n" {
		l.Errorf("error %v, result %+v; want ErrClosed, status closed, code -1, and the output so far", err, res)
	}
}

func closeTerminal(l *lab) {
	watcher := l.executor("watcher")
	term := l.terminal(terminal.Config{})
	l.sh(term, "sh @D/sleeper old >/dev/null 2>&1 & sh @D/await @D/pid.old")
	if res, _ := l.run(term, terminal.Request{Command: "command -v setsid"}); res.ExitCode == 0 {
		l.sh(term, "(setsid sh @D/sleeper far >/dev/null 2>&1 &); sh @D/await @D/pid.far")
	}
	var out recorder
	wait := l.start(context.Background(), term, terminal.Request{Stdout: &out, Command: "echo ready; sh @D/sleeper a"})
	l.await(&out, "ready\n")
	l.within(patience, "Close", func() {
		if err := term.Close(); err != nil {
			l.Errorf("Close: %v", err)
		}
	})
	l.closed(wait)
	if _, err := l.run(term, terminal.Request{Command: "true"}); !errors.Is(err, terminal.ErrClosed) {
		l.Errorf("Run after Close: error %v, want ErrClosed", err)
	}
	l.gone(watcher)
}

func closeTwice(l *lab) {
	ex := l.executor("task")
	l.close(ex)
	l.close(ex)
	other := l.executor("other")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := other.Close(ctx); err != nil {
				l.Errorf("one of four at once: %v", err)
			}
		})
	}
	l.within(patience, "Close", wg.Wait)
}

func closeDuringExec(l *lab) {
	watcher, ex := l.executor("watcher"), l.executor("task")
	var out recorder
	wait := l.begin(context.Background(), ex, terminal.Command{Script: "echo ready; sh @D/sleeper a", Stdout: &out, Stderr: &out})
	l.await(&out, "ready\n")
	l.close(ex)
	var o outcome
	l.within(grace, "Exec after Close", func() { o = wait() })
	if o.err == nil {
		l.Errorf("code %d without an error", o.code)
	}
	l.gone(watcher)
}

func closeSurvivors(l *lab) {
	watcher, ex := l.executor("watcher"), l.executor("task")
	o := l.exec(ex, `sh @D/sleeper plain >/dev/null 2>&1 &
sh @D/sleeper holds-the-output &
(trap '' TERM HUP; sh @D/sleeper deaf >/dev/null 2>&1 &)
for n in plain holds-the-output deaf; do sh @D/await @D/pid.$n; done; echo left`)
	l.check("the command", o, 0, "left\n")
	l.check("afterwards", l.exec(ex, "sh @D/alive"), 0, "deaf\nholds-the-output\nplain\n")
	l.close(ex)
	l.gone(watcher)
}

func execAfterClose(l *lab) {
	watcher, ex := l.executor("watcher"), l.executor("task")
	l.close(ex)
	o := l.exec(ex, "mkdir -p @D; echo ran; : >@D/ran")
	if o.err == nil || o.out != "" {
		l.Errorf("code %d, error %v, output %q; want an error", o.code, o.err, o.out)
	}
	l.check("look", l.exec(watcher, "[ ! -e @D/ran ] || echo ran"), 0, "")
}

func openEnded(l *lab) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l.within(patience, "Open", func() {
		ex, err := l.b.Open(ctx, "task")
		if err != nil {
			return
		}
		if ex == nil {
			l.Errorf("Open returned neither an executor nor an error")
			return
		}
		l.close(ex)
	})
}

func openMany(l *lab) {
	names := []string{"", "a/b", "../x", "é 😀", "a\nb", "'\"$x", strings.Repeat("long", 100), "UPPER", "upper"}
	executors := make([]terminal.Executor, len(names))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	each := func(what string, f func(i int) error) {
		l.Helper()
		var wg sync.WaitGroup
		for i, name := range names {
			wg.Go(func() {
				if err := f(i); err != nil {
					l.Errorf("%s, task %q: %v", what, name, err)
				}
			})
		}
		l.within(2*time.Minute, what, wg.Wait)
	}
	each("Open", func(i int) (err error) {
		executors[i], err = l.b.Open(ctx, names[i])
		return err
	})
	each("Exec", func(i int) error {
		if executors[i] == nil {
			return nil
		}
		var out recorder
		code, err := executors[i].Exec(ctx, terminal.Command{
			Script: "echo hello", Dir: "/", Stdout: &out, Stderr: &out,
			Env: map[string]string{terminal.RunIDEnv: l.word + itoa(i)},
		})
		if err == nil && (code != 0 || out.String() != "hello\n") {
			err = fmt.Errorf("code %d, output %q", code, out.String())
		}
		return err
	})
	each("Close", func(i int) error {
		if executors[i] == nil {
			return nil
		}
		return executors[i].Close(ctx)
	})
}

func healthy(l *lab) {
	term := l.terminal(terminal.Config{})
	l.within(time.Minute, "Check", func() {
		if err := term.Check(context.Background()); err != nil {
			l.Errorf("Check: %v", err)
		}
	})
	for ex := l.executor("task"); ex != nil; {
		if p, ok := ex.(terminal.Pinger); ok {
			l.within(patience, "Ping", func() {
				if err := p.Ping(context.Background()); err != nil {
					l.Errorf("Ping: %v", err)
				}
			})
		}
		u, ok := ex.(interface{ Unwrap() terminal.Executor })
		if !ok {
			break
		}
		ex = u.Unwrap()
	}
}
