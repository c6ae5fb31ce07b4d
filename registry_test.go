// Tests of environments: opening, reuse, retries, reaping and closing. Those that
// need time run in synctest bubbles.

package terminal

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stub is a Backend and its Executor made of functions. A nil function succeeds.
type stub struct {
	open   func(context.Context, string) error
	exec   func(context.Context, Command) (int, error)
	close  func(context.Context) error
	opened atomic.Int64
	closed atomic.Int64
}

func (s *stub) Open(ctx context.Context, task string) (Executor, error) {
	s.opened.Add(1)
	if s.open != nil {
		if err := s.open(ctx, task); err != nil {
			return nil, err
		}
	}
	return &stubExecutor{s}, nil
}

type stubExecutor struct{ *stub }

func (s *stubExecutor) Exec(ctx context.Context, c Command) (int, error) {
	if s.exec == nil {
		return 0, nil
	}
	return s.exec(ctx, c)
}

func (s *stubExecutor) Close(ctx context.Context) error {
	s.closed.Add(1)
	if s.stub.close != nil {
		return s.stub.close(ctx)
	}
	return nil
}

func (s *stubExecutor) Kill(context.Context, string) error { return nil }

func newTerminal(t testing.TB, cfg Config) *Terminal {
	t.Helper()
	term, err := New(cfg)
	require.NoError(t, err)
	return term
}

// until returns an exec function that takes d, or less if ctx is done.
func until(d time.Duration) func(context.Context, Command) (int, error) {
	return func(ctx context.Context, _ Command) (int, error) {
		select {
		case <-time.After(d):
			return 0, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// Concurrent first calls of a task share one Open.
func TestRegistryConcurrentFirstUseOpensOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &stub{open: func(context.Context, string) error { time.Sleep(time.Second); return nil }}
		term := newTerminal(t, Config{Backend: b})
		defer term.Close()
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				_, err := term.Run(t.Context(), Request{Command: "true"})
				assert.NoError(t, err)
			})
		}
		group.Wait()
		assert.EqualValues(t, 1, b.opened.Load())
	})
}

// A waiter that gives up does not end the Open for the others.
func TestRegistryContextCanceledDuringOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		b := &stub{open: func(ctx context.Context, _ string) error {
			assert.Equal(t, "value", ctx.Value(key{}))
			time.Sleep(time.Minute)
			return ctx.Err()
		}}
		term := newTerminal(t, Config{Backend: b})
		defer term.Close()
		first, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), time.Second)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() {
			res, err := term.Run(first, Request{Command: "true"})
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, StatusCancelled, res.Status)
		})
		synctest.Wait()
		group.Go(func() {
			_, err := term.Run(t.Context(), Request{Command: "true"})
			assert.NoError(t, err)
		})
		group.Wait()
		assert.EqualValues(t, 1, b.opened.Load())
	})
}

// A failed Open is removed from the registry before its waiters wake, so the
// next call tries again.
func TestRegistryOpenFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := errors.New("no luck")
		b := &stub{open: func(context.Context, string) error { time.Sleep(time.Second); return fail }}
		term := newTerminal(t, Config{Backend: b, MaxTasks: 1})
		defer term.Close()
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				_, err := term.Run(t.Context(), Request{Command: "true"})
				assert.ErrorIs(t, err, fail)
				assert.Empty(t, term.reg.entries)
			})
		}
		group.Wait()
		assert.EqualValues(t, 1, b.opened.Load())
		fail = nil
		_, err := term.Run(t.Context(), Request{Command: "true"})
		assert.NoError(t, err)
	})
}

// An idle task is reaped exactly when its lifetime has passed, and not while a
// command runs.
func TestReaperIdleTaskAtLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &stub{exec: until(time.Hour)}
		term := newTerminal(t, Config{Backend: b, Timeout: 2 * time.Hour, Lifetime: 5 * time.Minute})
		_, err := term.Run(t.Context(), Request{Command: "long"})
		require.NoError(t, err)
		assert.Zero(t, b.closed.Load(), "reaped while in use")
		time.Sleep(5*time.Minute - time.Nanosecond)
		synctest.Wait()
		assert.Zero(t, b.closed.Load(), "reaped too early")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.EqualValues(t, 1, b.closed.Load())
		assert.Equal(t, Stats{Created: 1, Closed: 1, Reaped: 1}, term.Stats())
		assert.False(t, term.reg.reaping, "the reaper outlived the last entry")
		require.NoError(t, term.Close())
	})
}

// Each task expires by its own last use.
func TestReaperExpiryPerTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &stub{}
		term := newTerminal(t, Config{Backend: b, Lifetime: 10 * time.Second})
		defer term.Close()
		use := func(task string) {
			_, err := term.Run(t.Context(), Request{Command: "true", Task: task})
			assert.NoError(t, err)
		}
		use("a")
		time.Sleep(3 * time.Second)
		use("b")
		time.Sleep(3 * time.Second)
		use("a") // at 6 s
		time.Sleep(7 * time.Second)
		synctest.Wait() // at 13 s: b is reaped
		require.Len(t, term.Stats().Tasks, 1)
		assert.Equal(t, "a", term.Stats().Tasks[0].Task)
		assert.Equal(t, 7*time.Second, term.Stats().Tasks[0].Idle)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		assert.Empty(t, term.Stats().Tasks)
	})
}

// A negative Lifetime turns the reaper off.
func TestReaperNegativeLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &stub{}
		term := newTerminal(t, Config{Backend: b, Lifetime: -1})
		_, err := term.Run(t.Context(), Request{Command: "true"})
		require.NoError(t, err)
		time.Sleep(1000 * time.Hour)
		assert.Zero(t, b.closed.Load())
		require.NoError(t, term.Close())
	})
}

// A slow Close delays neither the reaper nor the next call of the task.
func TestReaperSlowClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &stub{close: func(context.Context) error { time.Sleep(20 * time.Second); return nil }}
		term := newTerminal(t, Config{Backend: b, Lifetime: time.Second})
		for _, task := range []string{"a", "b"} {
			_, err := term.Run(t.Context(), Request{Command: "true", Task: task})
			require.NoError(t, err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		assert.EqualValues(t, 2, b.closed.Load())
		began := time.Now()
		_, err := term.Run(t.Context(), Request{Command: "true", Task: "a"})
		assert.NoError(t, err)
		assert.Zero(t, time.Since(began))
		require.NoError(t, term.Close())
	})
}

// Close ends every Open and Run at once, and later calls fail with ErrClosed.
func TestCloseDuringOpenAndRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &stub{exec: until(time.Hour), open: func(ctx context.Context, task string) error {
			if task == "opening" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}}
		term := newTerminal(t, Config{Backend: b, Timeout: 2 * time.Hour})
		var group sync.WaitGroup
		for _, task := range []string{"opening", "running"} {
			group.Go(func() {
				res, err := term.Run(t.Context(), Request{Command: "long", Task: task})
				assert.ErrorIs(t, err, ErrClosed)
				assert.Equal(t, StatusClosed, res.Status)
				assert.Equal(t, -1, res.ExitCode)
			})
		}
		synctest.Wait()
		began := time.Now()
		assert.NoError(t, term.Close())
		group.Wait()
		assert.Zero(t, time.Since(began))
		assert.EqualValues(t, 1, b.closed.Load())
		_, err := term.Run(t.Context(), Request{Command: "true"})
		assert.ErrorIs(t, err, ErrClosed)
		assert.NoError(t, term.Close())
		assert.NoError(t, term.CloseTask(t.Context(), "running"))
	})
}

// CloseTask ends the commands of the task; the next call gets a new executor.
func TestCloseTaskDuringRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &stub{exec: until(time.Hour)}
		term := newTerminal(t, Config{Backend: b, Timeout: 2 * time.Hour})
		defer term.Close()
		var group sync.WaitGroup
		group.Go(func() {
			_, err := term.Run(t.Context(), Request{Command: "long", Task: "a"})
			assert.ErrorIs(t, err, ErrClosed)
		})
		synctest.Wait()
		assert.NoError(t, term.CloseTask(t.Context(), "a"))
		assert.EqualValues(t, 1, b.closed.Load())
		group.Wait()
		b.exec = nil
		_, err := term.Run(t.Context(), Request{Command: "true", Task: "a"})
		assert.NoError(t, err)
		assert.EqualValues(t, 2, b.opened.Load())
		assert.NoError(t, term.CloseTask(t.Context(), "never seen"))
	})
}

// An executor whose Close blocks is abandoned after closeLimit, and the
// Terminal stays usable.
func TestCloseBackendBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := &stub{close: func(context.Context) error { <-release; return nil }}
		term := newTerminal(t, Config{Backend: b})
		_, err := term.Run(t.Context(), Request{Command: "true"})
		require.NoError(t, err)
		began := time.Now()
		assert.ErrorContains(t, term.CloseTask(t.Context(), ""), "not done after 30s")
		assert.Equal(t, closeLimit, time.Since(began))
		_, err = term.Run(t.Context(), Request{Command: "true"})
		assert.NoError(t, err, "the terminal stays usable")
		assert.Error(t, term.Close())
		assert.LessOrEqual(t, time.Since(began), 3*closeLimit)
		close(release)
	})
}

// A backend that panics or returns nil causes an error of the call, not a panic
// of the host.
func TestRunBackendMisbehaves(t *testing.T) {
	for name, b := range map[string]Backend{
		"panics in open":  &stub{open: func(context.Context, string) error { panic("boom") }},
		"panics in exec":  &stub{exec: func(context.Context, Command) (int, error) { panic("boom") }},
		"returns nothing": nilBackend{},
		"routes nowhere":  Route(func(string) Backend { return nil }),
		"panics in route": Route(func(string) Backend { panic("boom") }),
	} {
		t.Run(name, func(t *testing.T) {
			term := newTerminal(t, Config{Backend: b})
			for range 2 {
				res, err := term.Run(t.Context(), Request{Command: "true"})
				assert.Error(t, err)
				assert.Equal(t, -1, res.ExitCode)
				assert.NotEmpty(t, res.Error)
			}
			assert.NoError(t, term.Close())
		})
	}
}

type nilBackend struct{}

func (nilBackend) Open(context.Context, string) (Executor, error) { return nil, nil }

// A panic in an executor's Close is an error of Close.
func TestCloseBackendPanics(t *testing.T) {
	term := newTerminal(t, Config{Backend: &stub{close: func(context.Context) error { panic("boom") }}})
	_, err := term.Run(t.Context(), Request{Command: "true"})
	require.NoError(t, err)
	assert.ErrorContains(t, term.Close(), "boom")
}

// MaxTasks counts live environments, so closing one makes room.
func TestMaxTasksCountsLiveTasks(t *testing.T) {
	term := newTerminal(t, Config{Backend: &stub{}, MaxTasks: 2})
	defer term.Close()
	for _, task := range []string{"a", "b", "a"} {
		_, err := term.Run(t.Context(), Request{Command: "true", Task: task})
		require.NoError(t, err)
	}
	_, err := term.Run(t.Context(), Request{Command: "true", Task: "c"})
	assert.ErrorIs(t, err, ErrTooManyTasks)
	require.NoError(t, term.CloseTask(t.Context(), "a"))
	_, err = term.Run(t.Context(), Request{Command: "true", Task: "c"})
	assert.NoError(t, err)
}

// Only a command that did not start is retried.
func TestRunRetriesNotStartedOnly(t *testing.T) {
	for _, tc := range []struct {
		name  string
		err   error
		tries int
		took  time.Duration
	}{
		{"not started", fmt.Errorf("%w: busy", ErrNotStarted), 4, 14 * time.Second},
		{"unknown end", errors.New("connection lost"), 1, 0},
		{"gone while it ran", ErrGone, 1, 0},
		{"unavailable", fmt.Errorf("%w: %w", ErrNotStarted, ErrUnavailable), 1, 0},
		{"gone before it ran", fmt.Errorf("%w: %w", ErrNotStarted, ErrGone), 4, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				b := &stub{exec: func(context.Context, Command) (int, error) { tries++; return 0, tc.err }}
				term := newTerminal(t, Config{Backend: b})
				defer term.Close()
				began := time.Now()
				_, err := term.Run(t.Context(), Request{Command: "true"})
				assert.ErrorIs(t, err, tc.err)
				assert.Equal(t, tc.tries, tries)
				assert.Equal(t, tc.took, time.Since(began))
			})
		})
	}
}

// No retry is scheduled beyond the timeout.
func TestRunRetriesWithinTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &stub{exec: func(context.Context, Command) (int, error) { return 0, ErrNotStarted }}
		term := newTerminal(t, Config{Backend: b})
		defer term.Close()
		began := time.Now()
		_, err := term.Run(t.Context(), Request{Command: "true", Timeout: 5 * time.Second})
		assert.ErrorIs(t, err, ErrNotStarted)
		assert.Equal(t, 2*time.Second, time.Since(began))
	})
}

// A command that had not started runs in a new environment, and a notice says
// so.
func TestRunEnvironmentGoneBeforeStart(t *testing.T) {
	b := &stub{}
	b.exec = func(context.Context, Command) (int, error) {
		if b.opened.Load() == 1 {
			return 0, fmt.Errorf("%w: %w", ErrNotStarted, ErrGone)
		}
		return 7, nil
	}
	term := newTerminal(t, Config{Backend: b})
	defer term.Close()
	res, err := term.Run(t.Context(), Request{Command: "true"})
	require.NoError(t, err)
	assert.Equal(t, 7, res.ExitCode)
	assert.Contains(t, res.Notice, "files from before are not there")
	assert.EqualValues(t, 2, b.opened.Load())
}

// A command that had started is reported as lost, with its output so far.
func TestRunEnvironmentGoneAfterStart(t *testing.T) {
	b := &stub{exec: func(_ context.Context, c Command) (int, error) {
		fmt.Fprint(c.Stdout, "so far")
		return 0, fmt.Errorf("container abc: %w", ErrGone)
	}}
	term := newTerminal(t, Config{Backend: b})
	defer term.Close()
	res, err := term.Run(t.Context(), Request{Command: "true"})
	assert.ErrorIs(t, err, ErrGone)
	assert.Equal(t, Result{Output: "so far", ExitCode: -1, Error: "container abc: environment is gone", Status: StatusLost, Duration: res.Duration}, res)
	assert.Empty(t, term.Stats().Tasks)
}

// An executor that ignores its context is abandoned after abandonAfter.
func TestRunExecutorIgnoresContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := &stub{exec: func(context.Context, Command) (int, error) { <-release; return 0, nil }}
		term := newTerminal(t, Config{Backend: b})
		began := time.Now()
		res, err := term.Run(t.Context(), Request{Command: "true", Timeout: time.Second})
		assert.ErrorIs(t, err, ErrTimeout)
		assert.Equal(t, 124, res.ExitCode)
		assert.Contains(t, res.Notice, "environment was closed")
		assert.Equal(t, time.Second+abandonAfter, time.Since(began))
		close(release)
		require.NoError(t, term.Close())
	})
}

// A slow Open delays no other task.
func TestRunDuringSlowOpenOfOtherTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &stub{open: func(_ context.Context, task string) error {
			if task == "slow" {
				time.Sleep(5 * time.Second)
			}
			return nil
		}}
		term := newTerminal(t, Config{Backend: b})
		defer term.Close()
		var group sync.WaitGroup
		group.Go(func() { _, _ = term.Run(t.Context(), Request{Command: "true", Task: "slow"}) })
		synctest.Wait()
		began := time.Now()
		_, err := term.Run(t.Context(), Request{Command: "true", Task: "quick"})
		assert.NoError(t, err)
		assert.Zero(t, time.Since(began))
		group.Wait()
	})
}

// fill returns a Terminal with n idle tasks.
func fill(b testing.TB, n int) *Terminal {
	b.Helper()
	term := newTerminal(b, Config{Backend: &stub{}, Lifetime: time.Hour})
	for i := range n {
		e, err := term.reg.acquire(context.Background(), fmt.Sprint("task-", i))
		require.NoError(b, err)
		term.reg.release(e)
	}
	return term
}

// No lock is held during the Open of another task. The bound is on a median in
// real time.
func TestRegistryAcquireDuringOpenOfOtherTask(t *testing.T) {
	opening := make(chan struct{})
	b := &stub{open: func(ctx context.Context, task string) error {
		if task == "slow" {
			close(opening)
			<-ctx.Done()
		}
		return nil
	}}
	term := newTerminal(t, Config{Backend: b})
	var group sync.WaitGroup
	group.Go(func() { _, _ = term.Run(context.Background(), Request{Command: "true", Task: "slow"}) })
	<-opening
	var waited []time.Duration
	for range 1001 {
		began := time.Now()
		e, err := term.reg.acquire(t.Context(), "quick")
		require.NoError(t, err)
		term.reg.release(e)
		waited = append(waited, time.Since(began))
	}
	assert.Less(t, median(waited), time.Millisecond)
	require.NoError(t, term.Close())
	group.Wait()
}

func BenchmarkRegistryHit(b *testing.B) {
	term := fill(b, 100_000)
	defer term.Close()
	ctx := context.Background()
	names := make([]string, 1024)
	for i := range names {
		names[i] = fmt.Sprint("task-", i*97)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		e, err := term.reg.acquire(ctx, names[i%len(names)])
		if err != nil {
			b.Fatal(err)
		}
		term.reg.release(e)
		i++
	}
}

func BenchmarkIdleEntry(b *testing.B) {
	const n = 100_000
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		term := fill(b, n)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/entry")
		term.Close()
	}
}

// jobStub returns a stub that answers in the place of job.sh: whether the job
// runs, or the failure.
func jobStub(running *atomic.Bool, asked *atomic.Int64, fail *atomic.Pointer[error]) *stub {
	return &stub{exec: func(_ context.Context, c Command) (int, error) {
		switch {
		case strings.HasSuffix(c.Script, "\njob_report"):
			asked.Add(1)
			if err := fail.Load(); err != nil {
				return 0, *err
			}
			end := ""
			if !running.Load() {
				end = "0 5 6"
			}
			_, word, _ := strings.Cut(c.Script, `printf '\n%s\n' `) // which the answer begins with
			word, _, _ = strings.Cut(word, "\n")
			_, _ = fmt.Fprintf(c.Stdout, "\n%s\n0123456789ab %d 4 0 %s\n\ntrue", word, time.Now().UnixNano(), end)
		case strings.HasSuffix(c.Script, "\njob_wait"):
			if err := fail.Load(); err != nil {
				return 0, *err
			}
		}
		return 0, nil
	}}
}

// A running job keeps its idle task for JobLifetime; the reaper queries it once
// a Lifetime.
func TestReaperRunningJobKeepsTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Bool
		var asked atomic.Int64
		var fail atomic.Pointer[error]
		b := jobStub(&running, &asked, &fail)
		term := newTerminal(t, Config{Backend: b, Lifetime: 7 * time.Minute, JobLifetime: 30 * time.Minute})
		defer term.Close()
		running.Store(true)
		_, err := term.Start(t.Context(), Request{Command: "true"})
		require.NoError(t, err)
		time.Sleep(7*time.Minute - 1)
		synctest.Wait()
		assert.Zero(t, asked.Load(), "queried too early")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.EqualValues(t, 1, asked.Load())
		time.Sleep(23*time.Minute - 1)
		synctest.Wait()
		assert.EqualValues(t, 4, asked.Load(), "once a Lifetime")
		assert.Zero(t, b.closed.Load())
		assert.Equal(t, 30*time.Minute-1, term.Stats().Tasks[0].Idle, "a query is not a use")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.EqualValues(t, 1, b.closed.Load())
		assert.EqualValues(t, 4, asked.Load())
		jobs, err := term.Jobs(t.Context(), "")
		require.NoError(t, err)
		require.NotEmpty(t, jobs)
		assert.False(t, jobs[0].Running, "a running job that was closed with its task is still listed")
		assert.Equal(t, -1, jobs[0].ExitCode)

		t.Log("a task whose job has ended is closed at the next query")
		require.NoError(t, term.CloseTask(t.Context(), ""))
		_, err = term.Start(t.Context(), Request{Command: "true"})
		require.NoError(t, err)
		running.Store(false)
		closed := b.closed.Load()
		time.Sleep(7 * time.Minute)
		synctest.Wait()
		assert.Equal(t, closed+1, b.closed.Load())
	})
}

// With a negative JobLifetime jobs are not queried and do not keep a task.
func TestReaperNegativeJobLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Bool
		var asked atomic.Int64
		var fail atomic.Pointer[error]
		b := jobStub(&running, &asked, &fail)
		term := newTerminal(t, Config{Backend: b, JobLifetime: -1})
		defer term.Close()
		running.Store(true)
		_, err := term.Start(t.Context(), Request{Command: "true"})
		require.NoError(t, err)
		time.Sleep(DefaultLifetime)
		synctest.Wait()
		assert.EqualValues(t, 1, b.closed.Load())
		assert.Zero(t, asked.Load())
	})
}

// A call that arrives while the reaper queries the jobs keeps the task.
func TestReaperRunDuringJobQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		b := &stub{}
		b.exec = func(ctx context.Context, c Command) (int, error) {
			if strings.HasSuffix(c.Script, "\njob_report") {
				asked.Add(1)
				return until(10*time.Second)(ctx, c)
			}
			return 0, nil
		}
		term := newTerminal(t, Config{Backend: b})
		_, err := term.Start(t.Context(), Request{Command: "true"})
		require.NoError(t, err)
		time.Sleep(DefaultLifetime + 5*time.Second)
		_, err = term.Run(t.Context(), Request{Command: "true"})
		require.NoError(t, err)
		time.Sleep(DefaultLifetime - 1)
		synctest.Wait()
		assert.Zero(t, b.closed.Load(), "the idle time begins with the end of the call")
		assert.EqualValues(t, 1, asked.Load())
		time.Sleep(6 * time.Second) // during the second query
		require.NoError(t, term.Close())
		assert.EqualValues(t, 1, b.closed.Load())
	})
}

// unknownJobCode is the exit code of job.sh for an unknown job.
const unknownJobCode = 81

// A job whose environment is gone is lost once; afterwards it is unknown.
func TestJobEnvironmentGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Bool
		var asked atomic.Int64
		var fail atomic.Pointer[error]
		b := jobStub(&running, &asked, &fail)
		term := newTerminal(t, Config{Backend: b})
		defer term.Close()
		running.Store(true)
		for range 2 {
			job, err := term.Start(t.Context(), Request{Command: "true"})
			require.NoError(t, err)
			gone := ErrGone
			fail.Store(&gone)
			_, err = job.Wait(t.Context())
			require.ErrorIs(t, err, ErrGone)
			fail.Store(nil)
			unknown := func(_ context.Context, _ Command) (int, error) { return unknownJobCode, nil }
			known := b.exec
			b.exec = unknown
			_, err = job.Status(t.Context())
			require.ErrorIs(t, err, ErrUnknownJob)
			b.exec = known
		}
	})
}

// An idle environment that turns out to have vanished is closed at once, although a
// job ran in it when it was last heard of.
func TestReaperClosesVanishedEnvironmentWithJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Bool
		var asked atomic.Int64
		var fail atomic.Pointer[error]
		b := jobStub(&running, &asked, &fail)
		term := newTerminal(t, Config{Backend: b, Lifetime: time.Minute})
		defer term.Close()
		running.Store(true)
		_, err := term.Start(t.Context(), Request{Command: "true"})
		require.NoError(t, err)
		gone := ErrGone
		fail.Store(&gone)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.EqualValues(t, 1, asked.Load())
		assert.EqualValues(t, 1, b.closed.Load())
	})
}

// A start that its environment refused would be refused again, and its input has
// been read.
func TestStartRefusedNotRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int64
		term := newTerminal(t, Config{Backend: &stub{exec: func(context.Context, Command) (int, error) {
			tries.Add(1)
			return refusedJobCode, nil
		}}})
		defer term.Close()
		_, err := term.Start(t.Context(), Request{Command: "true", Stdin: strings.NewReader("input")})
		require.ErrorIs(t, err, ErrNotStarted)
		assert.EqualValues(t, 1, tries.Load())
	})
}

// refusedJobCode is the exit code by which job.sh says that a job cannot be set up.
const refusedJobCode = 83
