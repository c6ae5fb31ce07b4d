package terminal

import (
	"context"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// bare is what the library is measured against: bash and a pipe, nothing else.
func bare(tb testing.TB, script string, sink io.Writer) time.Duration {
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
	o, t := median(ours), median(theirs)
	b.ReportMetric(float64(o.Microseconds()), "run-µs")
	b.ReportMetric(float64(t.Microseconds()), "bare-µs")
	b.ReportMetric(float64(o)/float64(t), "ratio")
}

func BenchmarkGigabyteOfOutput(b *testing.B) {
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

// watchHeap records how far the memory that Go has from the system grows.
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

func TestAThousandTasksAtOnceLeaveNothing(t *testing.T) {
	term := newTerminal(t, Config{Timeout: 5 * time.Minute})
	_, err := term.Run(t.Context(), Request{Command: "true"})
	require.NoError(t, err)
	before := descriptors(t)
	var group sync.WaitGroup
	var failed atomic.Int64
	for i := range 1000 {
		group.Go(func() {
			res, err := term.Run(t.Context(), Request{Command: "true", Task: string(rune('a'+i%26)) + time.Duration(i).String()})
			if err != nil || res.ExitCode != 0 {
				failed.Add(1)
				t.Logf("task %d: %v, code %d", i, err, res.ExitCode)
			}
		})
	}
	group.Wait()
	require.Zero(t, failed.Load())
	require.NoError(t, term.Close())
	require.LessOrEqual(t, descriptors(t), before)
	children, err := os.ReadFile("/proc/thread-self/children")
	if err == nil {
		require.Empty(t, string(children), "children or zombies left")
	}
}

func descriptors(t *testing.T) int {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc/self/fd to count descriptors in: ", err)
	}
	return len(names)
}
