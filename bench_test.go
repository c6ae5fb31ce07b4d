// Benchmarks of the Local backend, and what the benchmarks of all backends share.

package terminal

import (
	"context"
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// bare runs script with bash and a pipe, the baseline of the library, and
// returns how long that took.
func bare(tb testing.TB, script string, sink io.Writer) time.Duration {
	tb.Helper()
	began := time.Now()
	cmd := exec.Command("bash", "-c", script)
	out, err := cmd.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, cmd.Start())
	_, err = io.Copy(struct{ io.Writer }{sink}, out)
	require.NoError(tb, err)
	require.NoError(tb, cmd.Wait())
	return time.Since(began)
}

func BenchmarkRunTrue(b *testing.B) {
	term := newTerminal(b, Config{})
	defer term.Close()
	var ours, theirs []time.Duration
	for b.Loop() {
		theirs = append(theirs, bare(b, "true", io.Discard))
		began := time.Now()
		_, err := term.Run(context.Background(), Request{Command: "true"})
		ours = append(ours, time.Since(began))
		require.NoError(b, err)
	}
	report(b, ours, theirs)
}

func report(b *testing.B, ours, theirs []time.Duration) {
	b.Helper()
	o, t := median(ours), median(theirs)
	b.ReportMetric(float64(o.Microseconds()), "run-µs")
	b.ReportMetric(float64(t.Microseconds()), "bare-µs")
	b.ReportMetric(float64(o)/float64(t), "ratio")
}

func BenchmarkRunGigabyteOutput(b *testing.B) {
	const script = "head -c 1000000000 /dev/zero"
	term := newTerminal(b, Config{})
	defer term.Close()
	var ours, theirs []time.Duration
	var growth uint64
	for b.Loop() {
		theirs = append(theirs, bare(b, script, io.Discard))
		stop := watchHeap(&growth)
		began := time.Now()
		res, err := term.Run(context.Background(), Request{Command: script, Timeout: time.Minute})
		ours = append(ours, time.Since(began))
		stop()
		require.NoError(b, err)
		require.Greater(b, res.Omitted, 999_900_000)
	}
	report(b, ours, theirs)
	b.ReportMetric(float64(growth)/(1<<20), "peak-MiB")
}

// watchHeap records in growth by how much the memory obtained from the system
// grows until stop is called.
func watchHeap(growth *uint64) (stop func()) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	start := m.Sys
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-done:
				return
			}
			runtime.ReadMemStats(&m)
			*growth = max(*growth, m.Sys-start)
		}
	})
	return func() { close(done); group.Wait() }
}

// jobFigures measures Start against Run of true, in turn, and how soon Wait
// returns after the end of a short job.
func jobFigures(t *testing.T, backend Backend) {
	t.Helper()
	if os.Getenv("TERMINAL_TEST_LONG") == "" {
		t.Skip("figures: only with TERMINAL_TEST_LONG")
	}
	term, err := New(Config{Backend: backend})
	require.NoError(t, err)
	defer func() { assert.NoError(t, term.Close()) }()
	const rounds, many = 25, MaxJobs + 20
	var start, foreground, notice, full []time.Duration
	ctx := WithTask(t.Context(), rand.Text()) // a random task, because environments that share a /tmp share its jobs
	for i := range many {
		began := time.Now()
		_, err := term.Run(ctx, Request{Command: "true"})
		require.NoError(t, err)
		ran := time.Now()
		job, err := term.Start(ctx, Request{Command: "true"})
		require.NoError(t, err)
		started := time.Now()
		_, err = job.Wait(ctx)
		require.NoError(t, err)
		waited := time.Now()
		switch {
		case i < 2: // opens the environment and a spare lane
			continue
		case i >= MaxJobs: // each evicts a finished one
			full = append(full, started.Sub(ran))
			continue
		case i > rounds:
			continue
		}
		foreground = append(foreground, ran.Sub(began))
		start = append(start, started.Sub(ran))
		notice = append(notice, waited.Sub(started))
	}
	ratio := float64(median(start)) / float64(median(foreground))
	assert.LessOrEqual(t, ratio, 3.0)
	assert.Less(t, median(notice), 100*time.Millisecond)
	t.Logf("Start of a job for which an old one goes: median %v", median(full))
	t.Logf("Start: median %v, %.2f times Run of true (%v); start to the end of Wait %v", median(start), ratio, median(foreground), median(notice))
}

func TestLocalJobFigures(t *testing.T) { jobFigures(t, Local{}) }
