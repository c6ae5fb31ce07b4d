//go:build linux

// Tests of background jobs on the Local backend.

package terminal

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/terminal-go/terminal/internal/job"
	"github.com/terminal-go/terminal/internal/procfs"
	"github.com/terminal-go/terminal/internal/procfs/procfstest"
	"github.com/terminal-go/terminal/internal/spawn"
)

const (
	maxJobOutput  = job.MaxOutput
	maxJobCommand = 4 << 10
	verdictReady  = job.Ready
	verdictLate   = job.Late
)

func jobRunID(id string) string { return job.RunID(id) }

func startJob(t testing.TB, term *Terminal, command string) *Job {
	t.Helper()
	job, err := term.Start(context.Background(), Request{Command: command})
	require.NoError(t, err)
	return job
}

func finish(t testing.TB, job *Job) (code int, log string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	code, err := job.Wait(ctx)
	require.NoError(t, err)
	data, _, err := job.Output(ctx, 0, maxJobOutput)
	require.NoError(t, err)
	return code, string(data)
}

func TestJobLifecycle(t *testing.T) {
	for _, shell := range []string{"bash", "dash"} {
		t.Run(shell, func(t *testing.T) {
			term := newTerminal(t, Config{Backend: Local{Shell: shell}})
			defer term.Close()
			job := startJob(t, term, "echo out; echo err >&2; read line; echo \"got $line\"; cat; exit 7")
			s, err := job.Status(t.Context())
			require.NoError(t, err)
			assert.True(t, s.Running, "%+v", s)
			require.NoError(t, job.Write(t.Context(), []byte("a line\nand more\n")))
			require.NoError(t, job.CloseStdin(t.Context()))
			require.NoError(t, job.CloseStdin(t.Context()))
			code, log := finish(t, job)
			assert.Equal(t, 7, code)
			assert.Equal(t, "out\nerr\ngot a line\nand more\n", log)
			s, err = job.Status(t.Context())
			require.NoError(t, err)
			assert.False(t, s.Running)
			assert.Equal(t, 7, s.ExitCode)
			assert.EqualValues(t, len(log), s.LogSize)
			assert.Greater(t, s.Ended, s.Started)
			t.Logf("%+v", s)
		})
	}
}

// Kill ends every process of the job, however it detached itself, and may be
// repeated.
func TestJobKill(t *testing.T) {
	term := newTerminal(t, Config{})
	defer term.Close()
	job, err := term.Start(t.Context(), Request{
		Command: "setsid sleep 1000 & (setsid sleep 1000 >/dev/null 2>&1 &) ; echo up; exec sleep 1000",
		Ready:   &Ready{LogPattern: "^up$"},
	})
	require.NoError(t, err)
	began := time.Now()
	require.NoError(t, job.Kill(t.Context()))
	t.Log("kill", time.Since(began))
	assert.Empty(t, procfstest.Carriers(t, jobRunID(job.ID())))
	code, log := finish(t, job)
	assert.Equal(t, 137, code)
	assert.Equal(t, "up\n", log)
	require.NoError(t, job.Kill(t.Context()))
}

func BenchmarkStart(b *testing.B) {
	term := newTerminal(b, Config{})
	defer term.Close()
	var ours, theirs []time.Duration
	for b.Loop() {
		began := time.Now()
		_, err := term.Run(context.Background(), Request{Command: "true"})
		theirs = append(theirs, time.Since(began))
		require.NoError(b, err)
		began = time.Now()
		job := startJob(b, term, "true")
		ours = append(ours, time.Since(began))
		_, err = job.Wait(context.Background())
		require.NoError(b, err)
	}
	o, t := median(ours), median(theirs)
	b.ReportMetric(float64(o.Microseconds()), "start-µs")
	b.ReportMetric(float64(t.Microseconds()), "run-µs")
	b.ReportMetric(float64(o)/float64(t), "ratio")
}

// shapes are scripts that break naive ways of starting a job, such as appending
// an ampersand, with the exit code and the log that they must have.
var shapes = map[string]struct {
	code int
	log  string
}{
	"echo a; echo b":              {0, "a\nb\n"},
	"echo a\necho b\n":            {0, "a\nb\n"},
	"echo a # note":               {0, "a\n"},
	"echo a &":                    {0, "a\n"},
	"sleep 0.05 && echo a & wait": {0, "a\n"},
	"cat <<EOF\n$((1+1)) '\nEOF":  {0, "2 '\n"},
	"cat <<'EOF'\n$x \\\nEOF\n":   {0, "$x \\\n"},
	"cd / && pwd":                 {0, "/\n"},
	"echo A=1 >e.$$; . ./e.$$ && echo $A; rm e.$$":      {0, "1\n"},
	"A=1 sh -c 'echo $A'":                               {0, "1\n"},
	"for i in 1 2; do echo $i; done":                    {0, "1\n2\n"},
	"while read x; do echo $x; done <<E\n1\n2\nE":       {0, "1\n2\n"},
	"( echo a; exit 3 )":                                {3, "a\n"},
	"{ echo a; } 2>&1 | cat":                            {0, "a\n"},
	"if true; then echo a; fi":                          {0, "a\n"},
	"f() { echo \"$1\"; }; f 'x  y'":                    {0, "x  y\n"},
	"exec echo a":                                       {0, "a\n"},
	"-x 2>/dev/null; echo $?":                           {0, "127\n"},
	"echo 'single \"in\"' \"it's\"":                     {0, "single \"in\" it's\n"},
	"printf 'é\\n'; exit 255":                           {255, "é\n"},
	"kill -TERM $$":                                     {143, ""},
	"trap 'echo bye' EXIT; echo hi":                     {0, "hi\nbye\n"},
	"echo $0 >/dev/null; echo $#":                       {0, "0\n"},
	"echo tj_dir=$tj_dir; { set; env; } | grep -c ^tj_": {1, "tj_dir=\n0\n"},
}

// Every kind of script runs as a single job, with the exit code and the output
// that the shell gives it.
func TestJobScriptShapes(t *testing.T) {
	for _, shell := range []string{"bash", "dash"} {
		term := newTerminal(t, Config{Backend: Local{Shell: shell}, Dir: t.TempDir()})
		defer term.Close()
		for script, want := range shapes {
			code, log := finish(t, startJob(t, term, script))
			assert.Equal(t, want.code, code, script)
			assert.Equal(t, want.log, log, script)
		}
		for _, script := range []string{"echo 'a", "if true", "echo $(", "done"} {
			code, log := finish(t, startJob(t, term, script))
			assert.Equal(t, 2, code, script)
			assert.NotEmpty(t, log, script)
		}
		code, log := finish(t, startJob(t, term, "no-such-program --flag"))
		assert.Equal(t, 127, code)
		assert.Contains(t, log, "not found")
		code, log = finish(t, startJob(t, term, `echo a\`))
		assert.Equal(t, 0, code)
		assert.Equal(t, "a", strings.TrimRight(log, "\\\n"))

		long := strings.Repeat(": '0123456789 \"$x\" \\'\n", 1<<16) + "cat; echo end"
		require.Greater(t, len(long), 1<<20)
		job, err := term.Start(t.Context(), Request{Command: long, Stdin: strings.NewReader("input ")})
		require.NoError(t, err)
		code, log = finish(t, job)
		assert.Equal(t, 0, code)
		assert.Equal(t, "input end\n", log)
		assert.ErrorIs(t, job.Write(t.Context(), nil), os.ErrProcessDone)
		s, err := job.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, long[:maxJobCommand], s.Command)
	}
}

// The log of a job keeps its newest part within MaxLog, and offsets stay those
// of the whole output.
func TestJobLogBoundedAfterGigabyte(t *testing.T) {
	if os.Getenv("TERMINAL_TEST_LONG") == "" {
		t.Skip("writes a gigabyte: only with TERMINAL_TEST_LONG")
	}
	term := newTerminal(t, Config{})
	defer term.Close()
	began := time.Now()
	job := startJob(t, term, "head -c 1000000000 /dev/zero | tr '\\0' x; echo end")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	code, err := job.Wait(ctx)
	require.NoError(t, err)
	t.Log(time.Since(began))
	assert.Zero(t, code)
	s, err := job.Status(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 1000000004, s.LogSize)
	var kept int64
	parts, err := filepath.Glob(job.LogPath() + "*")
	require.NoError(t, err)
	for _, part := range parts {
		info, err := os.Stat(part)
		require.NoError(t, err)
		kept += info.Size()
	}
	assert.LessOrEqual(t, kept, int64(MaxLog))
	assert.GreaterOrEqual(t, kept, int64(MaxLog/2))

	data, next, err := job.Output(ctx, 5, 100)
	require.NoError(t, err)
	assert.Equal(t, strings.Repeat("x", 100), string(data))
	assert.Equal(t, s.LogSize-kept+100, next, "the rest is gone, and the offset says so")
	data, next, err = job.Output(ctx, s.LogSize-6, 100)
	require.NoError(t, err)
	assert.Equal(t, "xxend\n", string(data))
	assert.Equal(t, s.LogSize, next)
	for offset := s.LogSize - kept; offset < s.LogSize; offset = next {
		data, next, err = job.Output(ctx, offset, maxJobOutput)
		require.NoError(t, err)
		require.Equal(t, offset+int64(len(data)), next)
		require.NotEmpty(t, data)
	}
}

// sleepers matches processes that sleep, or are about to: those may still be the
// shell.
var sleepers = regexp.MustCompile(` pid [0-9]+: .*sleep 1000`)

// Processes that a command leaves running become a job, which can be queried
// and killed.
func TestRunSurvivorsBecomeJob(t *testing.T) {
	for _, backend := range []Backend{Local{}, Local{Shell: "dash"}, hiding{Local{}}} {
		term := newTerminal(t, Config{Backend: backend})
		defer term.Close()
		res, err := term.Run(t.Context(), Request{Command: "true; echo done >/dev/null"})
		require.NoError(t, err)
		assert.Equal(t, Result{Duration: res.Duration}, res)
		for script, processes := range map[string]int{
			"sleep 1000 & echo hi; exit 3":                                                          1,
			"nohup sleep 1000 >/dev/null 2>&1 & sleep 1000 & echo hi; exit 3":                       2,
			"setsid sleep 1000 >/dev/null 2>&1 & echo hi; exit 3":                                   1,
			"(setsid sh -c '(sleep 1000 >/dev/null 2>&1 &)' &) & wait; sleep 0.05; echo hi; exit 3": 1,
		} {
			res, err := term.Run(t.Context(), Request{Command: script})
			require.NoError(t, err)
			assert.Equal(t, 3, res.ExitCode)
			assert.Equal(t, "hi\n", res.Output)
			require.NotEmpty(t, res.JobID, script)
			assert.Contains(t, res.Notice, res.JobID)
			job, err := term.Job(t.Context(), "", res.JobID)
			require.NoError(t, err)
			assert.Equal(t, res.LogPath, job.LogPath())
			s, err := job.Status(t.Context())
			require.NoError(t, err)
			assert.True(t, s.Running)
			assert.Equal(t, script, s.Command)
			log, _, err := job.Output(t.Context(), 0, 0)
			require.NoError(t, err)
			assert.GreaterOrEqual(t, len(sleepers.FindAllString(string(log), -1)), processes, string(log))
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			_, err = job.Wait(ctx)
			cancel()
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			require.NoError(t, job.CloseStdin(t.Context()))
			require.ErrorIs(t, job.Write(t.Context(), nil), fs.ErrClosed)
			require.NoError(t, job.Signal(t.Context(), syscall.SIGCONT))
			require.NoError(t, job.Kill(t.Context()))
			s, err = job.Status(t.Context())
			require.NoError(t, err)
			assert.False(t, s.Running)
			assert.Equal(t, 137, s.ExitCode)
		}
		assert.Empty(t, procfstest.Carriers(t, "sleep 1000"))
	}
}

// hiding is a Backend whose executors implement nothing but Executor.
type hiding struct{ Backend }

type hidingExecutor struct{ Executor }

func (h hiding) Open(ctx context.Context, task string) (Executor, error) {
	ex, err := h.Backend.Open(ctx, task)
	return hidingExecutor{ex}, err
}

// A task has at most MaxJobs running jobs. Finished ones make room, the oldest
// first, and expire after JobRetention.
func TestStartMaxJobs(t *testing.T) {
	term := newTerminal(t, Config{})
	defer term.Close()
	jobs := make([]*Job, MaxJobs)
	var group sync.WaitGroup
	for i := range jobs {
		group.Go(func() { jobs[i] = startJob(t, term, "read x; echo $x") })
	}
	group.Wait()
	all, err := term.Jobs(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, all, MaxJobs)
	for _, s := range all {
		assert.True(t, s.Running)
	}
	_, err = term.Start(t.Context(), Request{Command: "true"})
	require.ErrorIs(t, err, ErrTooManyJobs)
	for i, job := range jobs[:3] {
		require.NoError(t, job.Write(t.Context(), []byte("x\n")))
		code, log := finish(t, job)
		assert.Zero(t, code, i)
		assert.Equal(t, "x\n", log)
	}
	extra := startJob(t, term, "read x; echo $x")
	_, err = extra.Status(t.Context())
	require.NoError(t, err)
	gone := 0
	var finished *Job // one that was not evicted
	for _, job := range jobs {
		s, err := job.Status(t.Context())
		if err != nil {
			require.ErrorIs(t, err, ErrUnknownJob)
			gone++
			continue
		}
		if !s.Running {
			finished = job
		}
	}
	assert.Equal(t, 1, gone, "the oldest finished one is evicted")
	require.NotNil(t, finished)

	t.Log("half an hour later")
	for _, file := range []string{"meta", "exit"} {
		name := filepath.Join(filepath.Dir(finished.LogPath()), file)
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		if file == "meta" {
			text = append([]byte(strconv.FormatInt(time.Now().Add(-JobRetention-time.Hour).UnixNano(), 10)), text[19:]...)
			require.NoError(t, os.WriteFile(name, text, 0o600))
		}
	}
	all, err = term.Jobs(t.Context(), "")
	require.NoError(t, err)
	assert.Len(t, all, MaxJobs-1)
	_, err = finished.Status(t.Context())
	require.ErrorIs(t, err, ErrUnknownJob)
}

// Wait returns soon after the job has ended.
func TestJobWaitLatency(t *testing.T) {
	term := newTerminal(t, Config{})
	defer term.Close()
	var late []time.Duration
	for range 10 {
		job := startJob(t, term, "sleep 0.2; date +%s.%N")
		code, err := job.Wait(t.Context())
		now := time.Now()
		require.NoError(t, err)
		require.Zero(t, code)
		data, _, err := job.Output(t.Context(), 0, 0)
		require.NoError(t, err)
		end, err := strconv.ParseFloat(strings.TrimSpace(string(data)), 64)
		require.NoError(t, err)
		late = append(late, now.Sub(time.UnixMicro(int64(end*1e6))))
	}
	t.Log(late)
	assert.Less(t, median(late), 100*time.Millisecond)
}

// A job whose supervisor was killed ends with exit code -1 instead of running
// forever.
func TestJobSupervisorKilled(t *testing.T) {
	term := newTerminal(t, Config{})
	defer term.Close()
	job, err := term.Start(t.Context(), Request{Command: "echo up; exec sleep 1000", Ready: &Ready{LogPattern: "up"}})
	require.NoError(t, err)
	wait := make(chan int, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		code, err := job.Wait(ctx)
		assert.NoError(t, err)
		wait <- code
	}()
	s, err := job.Status(t.Context())
	require.NoError(t, err)
	require.True(t, s.Running)
	for _, pid := range procfstest.Carriers(t, jobRunID(job.ID())) {
		n, err := strconv.Atoi(strings.Fields(pid)[0])
		require.NoError(t, err)
		require.Greater(t, n, 1)
		_ = syscall.Kill(n, syscall.SIGKILL)
	}
	require.Equal(t, -1, <-wait)
	s, err = job.Status(t.Context())
	require.NoError(t, err)
	assert.False(t, s.Running)
	assert.Equal(t, -1, s.ExitCode)
}

// A job ends at its timeout with code 124; one that ends earlier leaves no
// watchdog.
func TestJobTimeout(t *testing.T) {
	term := newTerminal(t, Config{})
	defer term.Close()
	job, err := term.Start(t.Context(), Request{Command: "echo a; sleep 1000", Timeout: 300 * time.Millisecond})
	require.NoError(t, err)
	code, log := finish(t, job)
	assert.Equal(t, 124, code)
	assert.Contains(t, log, "a\n")
	job, err = term.Start(t.Context(), Request{Command: "echo a", Timeout: time.Hour})
	require.NoError(t, err)
	code, _ = finish(t, job)
	assert.Zero(t, code)
	assert.Empty(t, procfstest.Carriers(t, jobRunID(job.ID())), "the watchdog is still there")
}

// Start reports why the directory of jobs cannot be used, and never writes
// through a link that somebody else made.
func TestStartSetupFails(t *testing.T) {
	task := "set-up-" + spawn.NewRunID()[:12]
	term := newTerminal(t, Config{Backend: hiding{Local{}}})
	defer term.Close()
	home := defaultJobHome(task)
	t.Cleanup(func() { os.RemoveAll(home) })

	other := t.TempDir()
	require.NoError(t, os.Symlink(other, home))
	_, err := term.Start(t.Context(), Request{Task: task, Command: "true"})
	require.ErrorIs(t, err, ErrNotStarted)
	assert.ErrorContains(t, err, home+" is not a directory of this user")
	left, err := os.ReadDir(other)
	require.NoError(t, err)
	assert.Empty(t, left, "written through a link of somebody else's")

	require.NoError(t, os.Remove(home))
	require.NoError(t, os.WriteFile(home, nil, 0o600))
	_, err = term.Start(t.Context(), Request{Task: task, Command: "true"})
	require.ErrorIs(t, err, ErrNotStarted)
	assert.ErrorContains(t, err, home)

	require.NoError(t, os.Remove(home))
	job, err := term.Start(t.Context(), Request{Task: task, Command: "echo a; sleep 0.3; echo b"})
	require.NoError(t, err)
	code, _ := finish(t, job)
	assert.Zero(t, code)
	info, err := os.Stat(home)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

// A job survives a log that cannot be written: it keeps its exit code, its
// input and its standard output.
func TestJobLogUnwritable(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho \"dd: error writing 'standard output': No space left on device\" >&2; exit 1\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dd"), []byte(script), 0o755))
	term := newTerminal(t, Config{Env: map[string]string{"PATH": dir + ":" + os.Getenv("PATH")}})
	defer term.Close()
	job := startJob(t, term, "head -c 300000 /dev/zero; echo end; exit 3")
	code, err := job.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 3, code)
	_, _, err = job.Output(t.Context(), 0, 0)
	assert.ErrorContains(t, err, "disk full")

	job = startJob(t, term, "echo a; cat; exit 4")
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(filepath.Dir(job.LogPath()), "full")); return err == nil },
		10*time.Second, 10*time.Millisecond)
	require.NoError(t, job.CloseStdin(t.Context()))
	code, err = job.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 4, code, "its input was not closed")

	out := filepath.Join(t.TempDir(), "out")
	job = startJob(t, term, "sleep 0.5; head -c 300000 /dev/zero; echo $? >"+out)
	time.Sleep(200 * time.Millisecond)
	require.NoError(t, os.RemoveAll(filepath.Dir(job.LogPath())))
	assert.Eventually(t, func() bool { data, _ := os.ReadFile(out); return string(data) == "0\n" },
		10*time.Second, 50*time.Millisecond, "it died with its directory")
}

// The second line is more than one part of the log before the end, in the half
// that is always kept.
func TestJobReadyPatternInRotatedLog(t *testing.T) {
	term := newTerminal(t, Config{})
	defer term.Close()
	term.maxLog = 1 << 20
	job := startJob(t, term, "seq 1 300000; exec sleep 1000")
	for _, line := range []string{"^300000$", "^240000$"} {
		v, err := job.follow(t.Context(), Ready{LogPattern: line}, 30*time.Second)
		require.NoError(t, err)
		require.Equal(t, verdictReady, v, line)
	}
	require.NoError(t, job.Kill(t.Context()))
}

// endDD terminates the dd of a job, as pkill dd in a command does.
func endDD(t *testing.T, job *Job) {
	t.Helper()
	keeper, err := os.ReadFile(filepath.Join(filepath.Dir(job.LogPath()), "keeper"))
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(keeper)))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		children := procfs.Family(func(p procfs.Process) bool { return p.Parent == pid })
		for _, dd := range children {
			dd.Signal(syscall.SIGTERM)
		}
		return len(children) > 0
	}, 10*time.Second, time.Millisecond)
}

// A job keeps its log if a command kills the dd that writes it.
func TestJobLogDDKilled(t *testing.T) {
	term := newTerminal(t, Config{})
	defer term.Close()
	job, err := term.Start(t.Context(), Request{Command: "echo up; cat", Ready: &Ready{LogPattern: "up"}})
	require.NoError(t, err)
	want := "up\n"
	for range 3 {
		endDD(t, job)
		require.NoError(t, job.Write(t.Context(), []byte("more\n")))
		want += "more\n"
		require.Eventually(t, func() bool {
			log, _, err := job.Output(t.Context(), 0, 0)
			return err == nil && string(log) == want
		}, 10*time.Second, 10*time.Millisecond)
	}
	require.NoError(t, job.CloseStdin(t.Context()))
	code, log := finish(t, job)
	assert.Zero(t, code)
	assert.Equal(t, want, log)
}

// Jobs need no program that busybox lacks, and no setsid.
func TestJobBusyboxOnly(t *testing.T) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox: ", err)
	}
	dir := t.TempDir()
	for _, name := range strings.Fields("sh cat date dd head ls mkdir mkfifo mv rm sleep tail tr wc grep setsid kill nohup seq") {
		require.NoError(t, os.Symlink(busybox, filepath.Join(dir, name)))
	}
	for _, setsid := range []bool{true, false} {
		if !setsid {
			require.NoError(t, os.Remove(filepath.Join(dir, "setsid")))
		}
		term := newTerminal(t, Config{Backend: hiding{Local{Shell: filepath.Join(dir, "sh")}}, Env: map[string]string{"PATH": dir}})
		defer term.Close()
		task := "busybox-" + spawn.NewRunID()[:12]
		t.Cleanup(func() { os.RemoveAll(defaultJobHome(task)) })
		ctx := WithTask(t.Context(), task)
		job, err := term.Start(ctx, Request{Command: "echo up; read a; echo $a; cat; seq 1 5; sleep 1000 & exit 6", Ready: &Ready{LogPattern: "up"}})
		require.NoError(t, err)
		endDD(t, job)
		require.NoError(t, job.Write(ctx, []byte("a\nb\n")))
		require.NoError(t, job.CloseStdin(ctx))
		code, log := finish(t, job)
		assert.Equal(t, 6, code)
		assert.Equal(t, "up\na\nb\n1\n2\n3\n4\n5\n", log)
		s, err := job.Status(ctx)
		require.NoError(t, err)
		assert.EqualValues(t, len(log), s.LogSize)
		left := func() bool { return len(procfstest.Carriers(t, jobRunID(job.ID()))) > 0 }
		assert.Eventually(t, left, 10*time.Second, 5*time.Millisecond) // during its exec a process shows no run ID
		require.NoError(t, job.Kill(ctx))
		assert.Empty(t, procfstest.Carriers(t, jobRunID(job.ID())))

		term.maxLog = 1 << 20
		job, err = term.Start(ctx, Request{Command: "seq 1 300000; exec sleep 1000", Ready: &Ready{LogPattern: "^300000$"}})
		require.NoError(t, err)
		data, _, err := job.Output(ctx, 0, 0)
		require.NoError(t, err)
		assert.Len(t, data, defaultLogPart)
		data, next, err := job.Output(ctx, 1988895-100, 200)
		require.NoError(t, err)
		assert.Equal(t, "299999\n300000\n", string(data[len(data)-14:]))
		assert.EqualValues(t, 1988895, next)
		require.NoError(t, job.Signal(ctx, syscall.SIGTERM))
		code, err = job.Wait(ctx)
		require.NoError(t, err)
		assert.Equal(t, 143, code)
	}
}

// The supervisor's command line does not contain the script, so that pkill -f
// with a word of the script misses it.
func TestJobSupervisorSurvivesKillByName(t *testing.T) {
	term := newTerminal(t, Config{})
	defer term.Close()
	job, err := term.Start(t.Context(), Request{Command: "echo up; exec sleep 1000", Ready: &Ready{LogPattern: "up"}})
	require.NoError(t, err)
	found := procfstest.Carriers(t, jobRunID(job.ID()))
	require.Len(t, found, 4, "supervisor, keeper, dd and the job")
	for _, process := range found {
		if strings.Contains(process, "sleep") {
			assert.NotContains(t, process, "tj_", "pkill -f sleep would end the supervisor")
		}
	}
}

// Start works after the directory of earlier jobs was removed.
func TestStartJobHomeRemoved(t *testing.T) {
	term := newTerminal(t, Config{})
	defer term.Close()
	for range 3 {
		job := startJob(t, term, "echo out")
		_, log := finish(t, job)
		assert.Equal(t, "out\n", log)
		home := filepath.Dir(filepath.Dir(job.LogPath()))
		require.NoError(t, os.RemoveAll(home))
	}
}

// On a busy machine a job may be queried before its supervisor has begun.
func TestJobStatusBeforeSupervisorStarts(t *testing.T) {
	term := newTerminal(t, Config{})
	defer term.Close()
	job := startJob(t, term, "true")
	_, _ = finish(t, job)
	dir := filepath.Dir(job.LogPath())
	for _, file := range []string{"pid", "exit", "code", "alive"} {
		require.NoError(t, os.Remove(filepath.Join(dir, file)))
	}
	s, err := job.Status(t.Context())
	require.NoError(t, err)
	assert.True(t, s.Running)
	require.NoError(t, job.Kill(t.Context()))
	s, err = job.Status(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 137, s.ExitCode)
	assert.False(t, s.Running)
}

// Kill also ends a job whose supervisor is still starting.
func TestJobKillImmediately(t *testing.T) {
	term := newTerminal(t, Config{})
	defer term.Close()
	var jobs []*Job
	for range 20 {
		job := startJob(t, term, "sleep 1000")
		require.NoError(t, job.Kill(t.Context()))
		jobs = append(jobs, job)
	}
	for _, job := range jobs {
		assert.Empty(t, procfstest.Carriers(t, jobRunID(job.ID())))
	}
}

// At MaxJobs, each new job evicts the oldest finished one and removes its
// directory.
func TestStartEvictsOldestFinishedJobs(t *testing.T) {
	term := newTerminal(t, Config{})
	defer term.Close()
	var jobs []*Job
	another := func(command string) {
		job := startJob(t, term, command)
		if command == "true" {
			finish(t, job)
		}
		jobs = append(jobs, job)
	}
	another("sleep 1000")
	for range MaxJobs - 1 {
		another("true")
	}
	for range 20 {
		another("true")
	}
	for i, job := range jobs {
		_, err := job.Status(t.Context())
		if gone := i >= 1 && i <= 20; gone {
			assert.ErrorIs(t, err, ErrUnknownJob, i)
		} else {
			assert.NoError(t, err, i)
		}
	}
	home := filepath.Dir(filepath.Dir(jobs[0].LogPath()))
	require.Eventually(t, func() bool {
		all, err := os.ReadDir(home)
		dirs := 0
		for _, entry := range all {
			if entry.IsDir() {
				dirs++
			}
		}
		return err == nil && dirs == MaxJobs
	}, 10*time.Second, 10*time.Millisecond, "the directories of evicted jobs are removed")
}

// Jobs that start at once evict as many finished ones.
func TestStartEvictsConcurrently(t *testing.T) {
	term := newTerminal(t, Config{})
	defer term.Close()
	for range MaxJobs {
		finish(t, startJob(t, term, "true"))
	}
	for range 3 {
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() { finish(t, startJob(t, term, "true")) })
		}
		group.Wait()
	}
	all, err := term.Jobs(t.Context(), "")
	require.NoError(t, err)
	assert.Len(t, all, MaxJobs)
}

// The timeout kills processes that ignore TERM.
func TestJobTimeoutSignalIgnored(t *testing.T) {
	term := newTerminal(t, Config{})
	defer term.Close()
	job, err := term.Start(t.Context(), Request{
		Command: "(trap '' TERM; echo up; sleep 1000; sleep 1000) >/dev/null & sleep 1000", Timeout: 300 * time.Millisecond,
	})
	require.NoError(t, err)
	code, _ := finish(t, job)
	assert.Equal(t, 124, code)
	assert.Eventually(t, func() bool { return len(procfstest.Carriers(t, jobRunID(job.ID()))) == 0 }, 10*time.Second, 100*time.Millisecond,
		"a process that ignores TERM outlived the limit")
}

// In a Chinese locale dd's report does not begin with the number of records, so
// the supervisor must run it with LC_ALL=C.
func TestJobLogForeignLocale(t *testing.T) {
	dir := t.TempDir()
	script := `#!/bin/sh
[ "$LC_ALL" != C ] || exec ` + lookPath(t, "dd") + ` "$@"
` + lookPath(t, "dd") + ` "$@" 2>/dev/null
printf '输入了 0+1 块记录\n输出了 0+1 块记录\n' >&2
`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dd"), []byte(script), 0o755))
	term := newTerminal(t, Config{Env: map[string]string{"PATH": dir + ":" + os.Getenv("PATH"), "LC_ALL": "zh_CN.UTF-8"}})
	defer term.Close()
	code, log := finish(t, startJob(t, term, "i=0; while [ $i -lt 600 ]; do i=$((i+1)); echo $i; sleep 0; done; echo \"$LC_ALL\""))
	assert.Zero(t, code)
	assert.True(t, strings.HasSuffix(log, "600\nzh_CN.UTF-8\n"), log[max(0, len(log)-100):])
}

func lookPath(t *testing.T, program string) string {
	t.Helper()
	name, err := exec.LookPath(program)
	require.NoError(t, err)
	return name
}

// The exit code is recorded even if the job filled the disk.
func TestJobExitCodeFullDisk(t *testing.T) {
	task := "full-" + spawn.NewRunID()[:12]
	home := defaultJobHome(task)
	require.NoError(t, os.Mkdir(home, 0o700))
	t.Cleanup(func() { os.RemoveAll(home) })
	if err := syscall.Mount("none", home, "tmpfs", 0, "size=256k,mode=700"); err != nil {
		t.Skip("needs a small file system:", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(home, syscall.MNT_DETACH) })
	term := newTerminal(t, Config{Backend: hiding{Local{}}})
	defer term.Close()
	job, err := term.Start(t.Context(), Request{Task: task, Command: "echo hi; cat /dev/zero >" + home + "/big; exit 7"})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	code, err := job.Wait(ctx)
	require.NoError(t, err)
	assert.Equal(t, 7, code)
	s, err := job.Status(ctx)
	require.NoError(t, err)
	assert.False(t, s.Running)
	assert.Equal(t, 7, s.ExitCode)
}

// A log that was removed begins anew and blocks no query.
func TestJobLogRemoved(t *testing.T) {
	for _, shell := range []string{"bash", "dash"} {
		term := newTerminal(t, Config{Backend: Local{Shell: shell}})
		defer term.Close()
		job := startJob(t, term, "echo hi; read x; echo bye")
		require.Eventually(t, func() bool { s, err := job.Status(t.Context()); return err == nil && s.LogSize == 3 }, 10*time.Second, 10*time.Millisecond)
		require.NoError(t, os.Remove(job.LogPath()))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		s, err := job.Status(ctx)
		require.NoError(t, err)
		assert.Zero(t, s.LogSize)
		require.NoError(t, os.Remove(job.LogPath()))
		_, _, err = job.Output(ctx, 0, 0)
		require.NoError(t, err)
		require.NoError(t, os.Remove(job.LogPath()))
		v, err := job.follow(ctx, Ready{LogPattern: "bye"}, 200*time.Millisecond)
		require.NoError(t, err)
		assert.Equal(t, verdictLate, v)
	}
}

// The limit holds although each sleep of the poll loop takes six times as long
// as it should.
func TestJobFollowSlowSleep(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sleep"), []byte("#!/bin/sh\nexec "+lookPath(t, "sleep")+" 0.3\n"), 0o755))
	term := newTerminal(t, Config{Env: map[string]string{"PATH": dir + ":" + os.Getenv("PATH")}})
	defer term.Close()
	job := startJob(t, term, "read x")
	began := time.Now()
	v, err := job.follow(t.Context(), Ready{}, time.Second)
	require.NoError(t, err)
	assert.Equal(t, verdictLate, v)
	assert.Less(t, time.Since(began), 4*time.Second)
}

// The log is complete when Wait returns, however late its dd gets to run.
func TestJobWaitReturnsAfterLogIsComplete(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\n" + lookPath(t, "sleep") + " 0.3\nexec " + lookPath(t, "dd") + " \"$@\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dd"), []byte(script), 0o755))
	for _, sh := range []string{"dash", "bash", "busybox"} {
		for name, command := range map[string]string{
			"end of file":          "echo out; exit 3",
			"survivor":             "sleep 1000 & echo out; exit 3",
			"survivor that writes": "(while sleep 0.02; do echo more; done) & echo out; exit 3",
		} {
			t.Run(sh+" "+name, func(t *testing.T) {
				t.Parallel()
				shell, err := exec.LookPath(sh)
				if err != nil {
					t.Skip(err)
				}
				path := t.TempDir()
				require.NoError(t, os.Symlink(shell, filepath.Join(path, "sh")))
				term := newTerminal(t, Config{Env: map[string]string{"PATH": dir + ":" + path + ":" + os.Getenv("PATH")}})
				defer term.Close()
				began := time.Now()
				code, log := finish(t, startJob(t, term, command))
				assert.Less(t, time.Since(began), 10*time.Second)
				assert.Equal(t, 3, code)
				assert.True(t, strings.HasPrefix(log, "out\n"), "%q", log)
			})
		}
	}
}
