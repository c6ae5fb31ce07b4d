package terminaltest

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/terminal-go/terminal"
)

// Background jobs.
var jobTests = []subtest{
	{name: "a job is its whole script whatever that contains", test: jobScripts},
	{name: "a job goes on after its start and keeps its log and its exit code", test: jobOutlives},
	{name: "a job's output comes from any offset and never splits a rune", test: jobOutput},
	{name: "a job reads what is written to it until its input is closed", test: jobInput},
	{name: "a signal reaches a job", test: jobSignal},
	{name: "killing a job leaves nothing running, however it detached", test: jobKill},
	{name: "a job that cannot run ends at once with the shell's code and message", test: jobCannotRun},
	{name: "a start can wait until the job is ready, or has ended, or time is up", test: jobReady},
	{name: "what a command leaves running is a job", test: jobSurvivors},
	{name: "sixteen jobs run at once", test: jobMany},
	{name: "jobs of one task are unknown in another, and end with their own", test: jobTasks},
	{name: "a job is found again by another Terminal on the same environment", test: jobFound},
}

// job starts a job and fails the subtest if that fails.
func (l *lab) job(term *terminal.Terminal, req terminal.Request) (job *terminal.Job) {
	l.Helper()
	req.Command = l.text(req.Command)
	var err error
	l.within(patience+grace, "Start", func() { job, err = term.Start(context.Background(), req) })
	if err != nil {
		l.Fatalf("Start(%s): %v", brief(req.Command), err)
	}
	return job
}

// wait waits for the end of a job and returns its exit code and its log.
func (l *lab) wait(job *terminal.Job) (code int, log string) {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l.within(patience+grace, "Wait", func() {
		var err error
		if code, err = job.Wait(ctx); err != nil {
			l.Errorf("Wait: %v", err)
		}
	})
	return code, l.log(job)
}

// jobs returns the status of these jobs from Jobs. Environments that share a
// /tmp may also list jobs that an earlier Terminal started in a task of the same
// name.
func (l *lab) jobs(term *terminal.Terminal, task string, jobs ...*terminal.Job) (mine []terminal.JobStatus) {
	l.Helper()
	all, err := term.Jobs(context.Background(), task)
	if err != nil {
		l.Errorf("Jobs: %v", err)
	}
	for _, s := range all {
		if slices.ContainsFunc(jobs, func(j *terminal.Job) bool { return j.ID() == s.ID }) {
			mine = append(mine, s)
		}
	}
	return mine
}

func (l *lab) log(job *terminal.Job) (log string) {
	l.Helper()
	l.within(patience+grace, "Output", func() {
		data, next, err := job.Output(context.Background(), 0, 1<<20)
		if err != nil || next != int64(len(data)) {
			l.Errorf("Output: %d bytes, next %d, error %v", len(data), next, err)
		}
		log = string(data)
	})
	return log
}

func jobScripts(l *lab) {
	term := l.terminal(terminal.Config{})
	for _, c := range []struct {
		script, log string
		code        int
	}{
		{"echo a; echo b", "a\nb\n", 0},
		{"echo a\necho b\n", "a\nb\n", 0},
		{"echo a # a note", "a\n", 0},
		{"echo a & wait", "a\n", 0},
		{"cat <<EOF\n$((1+1)) '\nEOF", "2 '\n", 0},
		{"cd / && pwd", "/\n", 0},
		{"echo A=1 >@D/e; . @D/e && echo $A", "1\n", 0},
		{"A=1 sh -c 'echo $A'", "1\n", 0},
		{"for i in 1 2; do echo $i; done", "1\n2\n", 0},
		{"(echo a; exit 3)", "a\n", 3},
		{"exec echo 'it''s'", "its\n", 0},
		{": " + strings.Repeat("x", 60<<10) + "\necho long", "long\n", 0},
	} {
		if code, log := l.wait(l.job(term, terminal.Request{Command: c.script})); code != c.code || log != c.log {
			l.Errorf("%s: code %d, log %s; want code %d, log %q", brief(c.script), code, brief(log), c.code, c.log)
		}
	}
}

func jobOutlives(l *lab) {
	term := l.terminal(terminal.Config{})
	job := l.job(term, terminal.Request{Command: "echo out; echo err >&2; until [ -e @D/go ]; do sleep 0.05 || sleep 1; done; echo end; exit 7"})
	ctx := context.Background()
	if s, err := job.Status(ctx); err != nil || !s.Running || s.ID != job.ID() || s.Command == "" {
		l.Errorf("Status of a running job: error %v, %+v", err, s)
	}
	l.sh(term, ": >@D/go")
	if code, log := l.wait(job); code != 7 || log != "out\nerr\nend\n" {
		l.Errorf("code %d, log %q; want code 7, log %q", code, log, "out\nerr\nend\n")
	}
	if s, err := job.Status(ctx); err != nil || s.Running || s.ExitCode != 7 || s.LogSize != 12 || s.Ended.Before(s.Started) {
		l.Errorf("Status of an ended job: error %v, %+v", err, s)
	}
	if out := l.sh(term, "cat "+job.LogPath()); out != "out\nerr\nend\n" {
		l.Errorf("the file at the log's path has %q", out)
	}
	if out := l.sh(term, "ls -ld "+strings.TrimSuffix(job.LogPath(), "/log")); !strings.HasPrefix(out, "drwx------") {
		l.Errorf("the job's directory is open to others: %s", out)
	}
	if all := l.jobs(term, "", job); len(all) != 1 || all[0].ExitCode != 7 {
		l.Errorf("Jobs: %+v", all)
	}
	if err := job.Write(ctx, []byte("x")); !errors.Is(err, os.ErrProcessDone) {
		l.Errorf("Write to an ended job: %v", err)
	}
	if err := job.Signal(ctx, syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		l.Errorf("Signal to an ended job: %v", err)
	}
	if err := errors.Join(job.CloseStdin(ctx), job.Kill(ctx), job.Kill(ctx)); err != nil {
		l.Errorf("CloseStdin and Kill of an ended job: %v", err)
	}
}

func jobOutput(l *lab) {
	term := l.terminal(terminal.Config{})
	const text = "aé😀\n"
	job := l.job(term, terminal.Request{Command: "printf 'aé😀\\n'; printf '\\303'; until [ -e @D/go ]; do sleep 0.05 || sleep 1; done; printf '\\251'"})
	ctx := context.Background()
	for deadline := time.Now().Add(patience); ; {
		log := l.log(job)
		if log == text {
			break
		}
		if s, err := job.Status(ctx); err != nil || !s.Running || time.Now().After(deadline) {
			l.Fatalf("log %q, want %q; Status: %+v, error %v", log, text, s, err)
		}
	}
	for _, c := range []struct {
		offset int64
		max    int
		want   string
		next   int64
	}{
		{0, 100, text, 8},
		{0, 2, "a", 1},
		{1, 1, "é", 3},
		{2, 100, "😀\n", 8},
		{3, 4, "😀", 7},
		{4, 100, "\n", 8},
		{6, 100, "\n", 8},
		{1, 5, "é", 3},
		{8, 100, "", 8},
	} {
		data, next, err := job.Output(ctx, c.offset, c.max)
		if err != nil || string(data) != c.want || next != c.next {
			l.Errorf("Output(%d, %d): %q, next %d, error %v; want %q, next %d", c.offset, c.max, data, next, err, c.want, c.next)
		}
	}
	for _, offset := range []int64{-1, 100} {
		if _, _, err := job.Output(ctx, offset, 10); err == nil {
			l.Errorf("Output from %d: no error", offset)
		}
	}
	l.sh(term, ": >@D/go")
	if _, log := l.wait(job); log != text+"é" {
		l.Errorf("log %q, want %q", log, text+"é")
	}
}

func jobInput(l *lab) {
	term := l.terminal(terminal.Config{})
	job := l.job(term, terminal.Request{Command: "read line; echo \"got $line\"; cat; echo end"})
	ctx := context.Background()
	for _, text := range []string{"one\n", "two \x01\xff\n", "$three"} {
		if err := job.Write(ctx, []byte(text)); err != nil {
			l.Errorf("Write: %v", err)
		}
	}
	if err := errors.Join(job.CloseStdin(ctx), job.CloseStdin(ctx)); err != nil {
		l.Errorf("CloseStdin: %v", err)
	}
	if code, log := l.wait(job); code != 0 || log != "got one\ntwo \x01\xff\n$threeend\n" {
		l.Errorf("code %d, log %q", code, log)
	}
	job = l.job(term, terminal.Request{Command: "cat; echo end", Stdin: strings.NewReader("given ")})
	if code, log := l.wait(job); code != 0 || log != "given end\n" {
		l.Errorf("with a Stdin: code %d, log %q", code, log)
	}
	job = l.job(term, terminal.Request{Command: "read line; exit 3"})
	if err := job.Write(ctx, []byte("x\n"+strings.Repeat("more than a pipe takes\n", 10_000))); !errors.Is(err, os.ErrProcessDone) {
		l.Errorf("Write to a job that ends meanwhile: %v, want os.ErrProcessDone", err)
	}
}

func jobSignal(l *lab) {
	term := l.terminal(terminal.Config{})
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		job := l.job(term, terminal.Request{
			Command: "trap 'echo caught; exit 9' INT TERM HUP; echo up; while :; do sleep 0.1 || sleep 1; done",
			Ready:   &terminal.Ready{LogPattern: "up"},
		})
		if err := job.Signal(context.Background(), sig); err != nil {
			l.Errorf("Signal: %v", err)
		}
		if code, log := l.wait(job); code != 9 || !strings.HasPrefix(log, "up\n") || !strings.HasSuffix(log, "caught\n") {
			l.Errorf("%v: code %d, log %q", sig, code, log)
		}
	}
}

func jobKill(l *lab) {
	term := l.terminal(terminal.Config{})
	job := l.job(term, terminal.Request{
		Command: "trap '' TERM HUP INT; sh @D/sleeper a & (sh @D/sleeper b >/dev/null 2>&1 &) & $(command -v nohup) sh @D/sleeper c >/dev/null 2>&1 & " +
			"if command -v setsid >/dev/null; then setsid sh -c '(setsid sh @D/sleeper d </dev/null >/dev/null 2>&1 &) &'; else sh @D/sleeper d & fi; " +
			"for f in a b c d; do sh @D/await @D/pid.$f; done; echo up; wait; sleep 1000",
		Ready: &terminal.Ready{LogPattern: "up"},
	})
	if out := l.sh(term, "sh @D/alive"); len(strings.Fields(out)) != 4 {
		l.Errorf("before: %q run", out)
	}
	if err := job.Kill(context.Background()); err != nil {
		l.Errorf("Kill: %v", err)
	}
	if out := l.sh(term, "sh @D/gone"); out != "" {
		l.Errorf("still running: %q", out)
	}
	if code, _ := l.wait(job); code != 137 {
		l.Errorf("code %d, want 137", code)
	}
}

func jobCannotRun(l *lab) {
	term := l.terminal(terminal.Config{})
	for script, code := range map[string]int{"no-such-program-@W": 127, "@D": 126, "if then fi": 2, "echo 'a": 2} {
		if got, log := l.wait(l.job(term, terminal.Request{Command: script})); got != code || log == "" {
			l.Errorf("%s: code %d, log %q; want code %d and the shell's message", script, got, log, code)
		}
	}
}

func jobReady(l *lab) {
	term := l.terminal(terminal.Config{})
	ctx := context.Background()
	job := l.job(term, terminal.Request{
		Command: "echo starting; sleep 0.2 || sleep 1; echo listening on 80; cat", Ready: &terminal.Ready{LogPattern: `^listening on \d+`},
	})
	if log := l.log(job); log != "starting\nlistening on 80\n" {
		l.Errorf("ready: log %q", log)
	}
	began := time.Now()
	job, err := term.Start(ctx, terminal.Request{
		Command: "echo starting; cat", Ready: &terminal.Ready{LogPattern: "ready", Timeout: 300 * time.Millisecond},
	})
	if job == nil || !errors.Is(err, terminal.ErrTimeout) || time.Since(began) > patience {
		l.Fatalf("not ready: job %v, error %v after %v", job, err, time.Since(began))
	}
	if s, err := job.Status(ctx); err != nil || !s.Running {
		l.Errorf("a job that is not ready does not go on: error %v, %+v", err, s)
	}
	job, err = term.Start(ctx, terminal.Request{Command: "echo because; exit 5", Ready: &terminal.Ready{LogPattern: "ready"}})
	if job == nil || !errors.Is(err, os.ErrProcessDone) || !strings.Contains(err.Error(), "because") {
		l.Errorf("ended: job %v, error %v", job, err)
	}
}

func jobSurvivors(l *lab) {
	term := l.terminal(terminal.Config{})
	ctx := context.Background()
	if res, err := l.run(term, terminal.Request{Command: "echo a; (exit 3)"}); err != nil || res.JobID != "" || res.Notice != "" {
		l.Errorf("nothing left: error %v, %+v", err, res)
	}
	res, err := l.run(term, terminal.Request{Command: "sh @D/sleeper a & $(command -v nohup) sh @D/sleeper b >/dev/null 2>&1 & sh @D/await @D/pid.a; sh @D/await @D/pid.b; echo hi; exit 3"})
	if err != nil || res.ExitCode != 3 || res.Output != "hi\n" || res.JobID == "" || res.LogPath == "" {
		l.Fatalf("two processes left: error %v, %+v", err, res)
	}
	job, err := term.Job(ctx, "", res.JobID)
	if err != nil {
		l.Fatalf("Job: %v", err)
	}
	// A process that is about to sleep may still be the shell.
	if log := l.log(job); strings.Count(log, "sleep "+l.tick+" ")+strings.Count(log, l.dir+"/sleeper ") != 2 {
		l.Errorf("the log does not name the two processes: %q", log)
	}
	if s, err := job.Status(ctx); err != nil || !s.Running {
		l.Errorf("Status: error %v, %+v", err, s)
	}
	if err := job.Kill(ctx); err != nil {
		l.Errorf("Kill: %v", err)
	}
	if out := l.sh(term, "sh @D/gone"); out != "" {
		l.Errorf("still running: %q", out)
	}
	if s, err := job.Status(ctx); err != nil || s.Running {
		l.Errorf("Status after Kill: error %v, %+v", err, s)
	}
}

func jobMany(l *lab) {
	term := l.terminal(terminal.Config{})
	jobs := make([]*terminal.Job, 16)
	for i := range jobs {
		jobs[i] = l.job(term, terminal.Request{Command: "echo " + itoa(i) + "; until [ -e @D/go ]; do sleep 0.05 || sleep 1; done; exit " + itoa(i)})
	}
	all := l.jobs(term, "", jobs...)
	if len(all) != len(jobs) {
		l.Fatalf("Jobs: %d of %d", len(all), len(jobs))
	}
	for i, s := range all {
		if !s.Running || s.ID != jobs[i].ID() {
			l.Errorf("job %d: %+v", i, s)
		}
	}
	l.sh(term, ": >@D/go")
	for i, job := range jobs {
		if code, log := l.wait(job); code != i || log != itoa(i)+"\n" {
			l.Errorf("job %d: code %d, log %q", i, code, log)
		}
	}
}

func jobTasks(l *lab) {
	term := l.terminal(terminal.Config{})
	ctx := context.Background()
	job := l.job(term, terminal.Request{Task: "other", Command: "echo a; cat"})
	if _, err := term.Job(ctx, "", job.ID()); !errors.Is(err, terminal.ErrUnknownJob) {
		l.Errorf("Job of another task: %v", err)
	}
	if all := l.jobs(term, "", job); len(all) != 0 {
		l.Errorf("Jobs of another task: %+v", all)
	}
	if again, err := term.Job(ctx, "other", job.ID()); err != nil || again.LogPath() != job.LogPath() {
		l.Errorf("Job: error %v", err)
	}
	for _, id := range []string{"", "x", "000000000000", "../" + job.ID(), job.ID() + "/"} {
		if _, err := term.Job(ctx, "other", id); !errors.Is(err, terminal.ErrUnknownJob) {
			l.Errorf("Job(%q): %v", id, err)
		}
	}
	third := l.job(term, terminal.Request{Task: "third", Command: "cd /; " + setUp + "\nsh @D/sleeper third & sh @D/await @D/pid.third; echo up; wait", Ready: &terminal.Ready{LogPattern: "up"}})
	if err := term.CloseTask(ctx, "third"); err != nil {
		l.Errorf("CloseTask: %v", err)
	}
	if out := l.sh(term, "sh @D/gone"); out != "" {
		l.Errorf("the job of a closed task still runs: %q", out)
	}
	if s, err := third.Status(ctx); err == nil && s.Running || err != nil && !errors.Is(err, terminal.ErrUnknownJob) {
		l.Errorf("Status of a job of a closed task: error %v, %+v", err, s)
	}
}

func jobFound(l *lab) {
	ex := l.executor("task")
	one, err := terminal.New(terminal.Config{Backend: persistent{ex}})
	if err != nil {
		l.Fatal(err)
	}
	job := l.job(one, terminal.Request{Command: "echo a; until [ -e @D/go ]; do sleep 0.05 || sleep 1; done; echo b; exit 7"})
	if err := one.Close(); err != nil {
		l.Errorf("Close: %v", err)
	}
	two, err := terminal.New(terminal.Config{Backend: persistent{ex}})
	if err != nil {
		l.Fatal(err)
	}
	defer two.Close()
	again, err := two.Job(context.Background(), "", job.ID())
	if err != nil {
		l.Fatalf("Job: %v", err)
	}
	l.check("go on", l.exec(ex, ": >@D/go"), 0, "")
	if code, log := l.wait(again); code != 7 || log != "a\nb\n" {
		l.Errorf("code %d, log %q", code, log)
	}
}

// persistent is a Backend with one environment that outlives its Terminals.
type persistent struct{ terminal.Executor }

func (p persistent) Open(context.Context, string) (terminal.Executor, error) {
	return lasting(p), nil
}

type lasting struct{ terminal.Executor }

func (lasting) Close(context.Context) error { return nil }
func (l lasting) Unwrap() terminal.Executor { return l.Executor }
