// Tests of file transfers. What every backend must do is tested by terminaltest.

package terminal_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/terminaltest"
)

// execOnly is a Backend whose executors implement nothing but Executor.
type execOnly struct{ terminal.Backend }

func (b execOnly) Open(ctx context.Context, task string) (terminal.Executor, error) {
	ex, err := b.Backend.Open(ctx, task)
	if err != nil {
		return nil, err
	}
	return hidden{ex}, nil
}

// Lacks skips all subtests of the suite but those about files.
func (execOnly) Lacks(subtest string) string {
	for _, word := range []string{"file ", "files ", "tree ", "copy ", "transfer ", "through a symbolic", "relative name"} {
		if strings.Contains(subtest, word) && !strings.HasPrefix(subtest, "a directory") {
			return ""
		}
	}
	return "only files are tried without capabilities"
}

type hidden struct{ ex terminal.Executor }

func (h hidden) Exec(ctx context.Context, c terminal.Command) (int, error) { return h.ex.Exec(ctx, c) }

func (h hidden) Close(ctx context.Context) error { return h.ex.Close(ctx) }

// The file operations that use only Exec hold the same contract as native ones.
func TestFilesThroughExecConformance(t *testing.T) {
	for _, shell := range []string{"bash", "dash"} {
		t.Run(shell, func(t *testing.T) {
			terminaltest.Run(t, func(*testing.T) terminal.Backend { return execOnly{terminal.Local{Shell: shell}} })
		})
	}
}

// pathError asserts that err is an *Error about a path and matches target.
func pathError(t *testing.T, err, target error) {
	t.Helper()
	var e *terminal.Error
	var p *fs.PathError
	require.ErrorAs(t, err, &e)
	require.ErrorAs(t, err, &p, "%v", err)
	require.ErrorIs(t, err, target)
}

// faulty is an Executor that calls before and after around each Exec and fails
// with their errors.
type faulty struct {
	terminal.Executor
	before, after func() error
}

func (m faulty) Exec(ctx context.Context, c terminal.Command) (int, error) {
	if err := m.before(); err != nil {
		return -1, err
	}
	code, err := m.Executor.Exec(ctx, c)
	if m.after != nil && err == nil {
		err = m.after()
	}
	return code, err
}

type faultyBackend struct{ before, after func() error }

func (b faultyBackend) Open(ctx context.Context, task string) (terminal.Executor, error) {
	ex, err := terminal.Local{}.Open(ctx, task)
	return faulty{hidden{ex}, b.before, b.after}, err
}

// A transfer whose script did not start is retried.
func TestWriteFileNotStartedRetried(t *testing.T) {
	var n atomic.Int64
	term, err := terminal.New(terminal.Config{Backend: faultyBackend{before: func() error {
		if n.Add(1) == 1 {
			return fmt.Errorf("%w: not now", terminal.ErrNotStarted)
		}
		return nil
	}}})
	require.NoError(t, err)
	defer term.Close()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, term.WriteFile(t.Context(), "", name, []byte("once"), 0o600))
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "once", string(data))
	require.EqualValues(t, 2, n.Load())
}

// A failure that the script itself reports is final.
func TestReadFileScriptFailureNotRetried(t *testing.T) {
	var n atomic.Int64
	term, err := terminal.New(terminal.Config{
		Backend: faultyBackend{before: func() error { n.Add(1); return nil }},
		Env:     map[string]string{"PATH": "/nowhere"},
	})
	require.NoError(t, err)
	defer term.Close()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, []byte("x"), 0o600))
	_, err = term.ReadFile(t.Context(), "", name)
	var p *fs.PathError
	require.ErrorAs(t, err, &p)
	require.EqualValues(t, 1, n.Load())
}

// A transfer of unknown outcome is reported and not repeated.
func TestWriteFileUnknownOutcomeNotRetried(t *testing.T) {
	var n atomic.Int64
	lost := errors.New("connection lost")
	term, err := terminal.New(terminal.Config{Backend: faultyBackend{
		before: func() error { n.Add(1); return nil },
		after:  func() error { return lost },
	}})
	require.NoError(t, err)
	defer term.Close()
	name := filepath.Join(t.TempDir(), "file")
	err = term.WriteFile(t.Context(), "", name, []byte("x"), 0o600)
	require.ErrorIs(t, err, lost)
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "x", string(data))
}

// If the environment is gone before the transfer started, a new one is used,
// and the next Run reports that.
func TestWriteFileEnvironmentGone(t *testing.T) {
	var gone atomic.Bool
	term, err := terminal.New(terminal.Config{Backend: faultyBackend{before: func() error {
		if gone.CompareAndSwap(true, false) {
			return fmt.Errorf("%w: %w", terminal.ErrNotStarted, terminal.ErrGone)
		}
		return nil
	}}})
	require.NoError(t, err)
	defer term.Close()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, term.WriteFile(t.Context(), "", name, nil, 0o600))
	gone.Store(true)
	require.NoError(t, term.WriteFile(t.Context(), "", name, nil, 0o600))
	require.EqualValues(t, 2, term.Stats().Created)
	res := run(t, term, "true")
	require.NotEmpty(t, res.Notice, "the new environment was not reported")
}

// CloseTask ends a copy to the task and leaves no partial file.
func TestCloseTaskDuringCopy(t *testing.T) {
	for name, b := range map[string]terminal.Backend{"native": terminal.Local{}, "through Exec": execOnly{terminal.Local{}}} {
		t.Run(name, func(t *testing.T) {
			term, err := terminal.New(terminal.Config{Backend: b})
			require.NoError(t, err)
			defer term.Close()
			dir := t.TempDir()
			src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "sub", "dst")
			require.NoError(t, os.Mkdir(filepath.Dir(dst), 0o755))
			f, err := os.Create(src)
			require.NoError(t, err)
			require.NoError(t, f.Truncate(64<<30))
			require.NoError(t, f.Close())
			done := make(chan error, 1)
			go func() { done <- term.CopyTo(t.Context(), "", src, dst) }()
			require.Eventually(t, func() bool {
				entries, _ := os.ReadDir(filepath.Dir(dst))
				return len(entries) > 0
			}, 10*time.Second, 5*time.Millisecond)
			start := time.Now()
			require.NoError(t, term.CloseTask(t.Context(), ""))
			require.ErrorIs(t, <-done, terminal.ErrClosed)
			require.Less(t, time.Since(start), 5*time.Second)
			entries, err := os.ReadDir(filepath.Dir(dst))
			require.NoError(t, err)
			require.Empty(t, entries)
		})
	}
}

// A FileSystem that returns errors.ErrUnsupported leaves the operation to Exec,
// even after it has read some of the archive.
func TestFileSystemUnsupportedFallsBackToExec(t *testing.T) {
	term, err := terminal.New(terminal.Config{Backend: lazyBackend{}})
	require.NoError(t, err)
	defer term.Close()
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "dst")
	require.NoError(t, os.WriteFile(filepath.Join(src, "file"), []byte("x"), 0o600))
	require.NoError(t, term.CopyTo(t.Context(), "", src, dst))
	data, err := term.ReadFile(t.Context(), "", dst+"/file")
	require.NoError(t, err)
	require.Equal(t, "x", string(data))
}

type lazyBackend struct{}

func (lazyBackend) Open(ctx context.Context, task string) (terminal.Executor, error) {
	ex, err := terminal.Local{}.Open(ctx, task)
	return lazyExecutor{hidden{ex}}, err
}

// lazyExecutor is a FileSystem without support for anything. It returns
// errors.ErrUnsupported after having read some of an archive.
type lazyExecutor struct{ terminal.Executor }

func (lazyExecutor) ReadFile(context.Context, string, io.Writer) error { return errors.ErrUnsupported }

func (lazyExecutor) WriteFile(context.Context, string, io.Reader, fs.FileMode) error {
	return errors.ErrUnsupported
}

func (lazyExecutor) CopyTo(_ context.Context, _ string, r io.Reader) error {
	_, _ = io.CopyN(io.Discard, r, 1000)
	return errors.ErrUnsupported
}

func (lazyExecutor) CopyFrom(context.Context, string, io.Writer) error { return errors.ErrUnsupported }

// hostileBackend opens executors that return archive from every CopyFrom.
type hostileBackend struct{ archive []byte }

func (b hostileBackend) Open(_ context.Context, _ string) (terminal.Executor, error) {
	return hostileExecutor{lazyExecutor{&struct{ terminal.Executor }{}}, b.archive}, nil
}

type hostileExecutor struct {
	lazyExecutor
	archive []byte
}

func (hostileExecutor) Close(context.Context) error                         { return nil }
func (hostileExecutor) Exec(context.Context, terminal.Command) (int, error) { return 0, nil }
func (l hostileExecutor) CopyFrom(_ context.Context, _ string, w io.Writer) error {
	_, err := w.Write(l.archive)
	return err
}

// An archive from the environment cannot write through its own symbolic link to
// a place outside the destination.
func TestCopyFromHostileArchive(t *testing.T) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "x/", Mode: 0o755}))
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "x/l", Linkname: ".."}))
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "x/l/evil", Size: 4, Mode: 0o644}))
	_, err := w.Write([]byte("evil"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	term, err := terminal.New(terminal.Config{Backend: hostileBackend{archive.Bytes()}})
	require.NoError(t, err)
	defer term.Close()
	dir := t.TempDir()
	err = term.CopyFrom(t.Context(), "", "/x", filepath.Join(dir, "x"))
	pathError(t, err, syscall.ENOTDIR)
	require.NoFileExists(t, filepath.Join(dir, "evil"))
}

const gigabyte = 1 << 30

// mostGrowth is far below the size of the copies and above the buffers on the
// way. A stream of Modal may buffer 64 MiB, and with the fake both of its ends
// are in this process.
const (
	mostGrowth      = 32 << 20
	mostModalGrowth = 320 << 20
)

// peak calls f and returns by how much the heap grew at most meanwhile.
func peak(f func()) uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			case <-stop:
				return
			}
		}
	})
	f()
	close(stop)
	wg.Wait()
	return most - before
}

// largeTree makes a directory with a sparse file of a gigabyte.
func largeTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	require.NoError(t, os.Mkdir(dir, 0o755))
	f, err := os.Create(filepath.Join(dir, "large"))
	require.NoError(t, err)
	for i := int64(0); i < 8; i++ {
		_, err = f.WriteAt(bytes.Repeat([]byte{byte('a' + i)}, 4096), i*gigabyte/8+123)
		require.NoError(t, err)
	}
	require.NoError(t, f.Truncate(gigabyte))
	require.NoError(t, f.Close())
	return dir
}

// sameLarge compares two large files block by block.
func sameLarge(t *testing.T, a, b string) {
	t.Helper()
	fa, err := os.Open(a)
	require.NoError(t, err)
	defer fa.Close()
	fb, err := os.Open(b)
	require.NoError(t, err)
	defer fb.Close()
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, errA := io.ReadFull(fa, x)
		m, errB := io.ReadFull(fb, y)
		require.True(t, bytes.Equal(x[:n], y[:m]), "the copy differs")
		require.Equal(t, errA, errB)
		if errA != nil {
			return
		}
	}
}

// copyLarge copies a gigabyte in and out, as a tree and as a file.
func copyLarge(t *testing.T, cfg terminal.Config, most uint64) {
	t.Helper()
	if os.Getenv("TERMINAL_TEST_LONG") == "" {
		t.Skip("copies gigabytes: only with TERMINAL_TEST_LONG")
	}
	term, err := terminal.New(cfg)
	require.NoError(t, err)
	defer term.Close()
	src := largeTree(t)
	where := "/tmp/terminal-large-" + filepath.Base(filepath.Dir(filepath.Dir(src)))
	run(t, term, "true") // opens the environment
	defer func() { run(t, term, "rm -rf "+where+" "+where+".file") }()
	back := filepath.Join(t.TempDir(), "back")
	for _, c := range []struct {
		what string
		f    func() error
	}{
		{"tree in", func() error { return term.CopyTo(t.Context(), "", src, where) }},
		{"tree out", func() error { return term.CopyFrom(t.Context(), "", where, back) }},
		{"file in", func() error { return term.CopyTo(t.Context(), "", filepath.Join(src, "large"), where+".file") }},
		{"file out", func() error { return term.CopyFrom(t.Context(), "", where+".file", back+".file") }},
	} {
		start := time.Now()
		growth := peak(func() { err = c.f() })
		require.NoError(t, err, c.what)
		t.Logf("1 GiB, %s: %.1f s, heap grew by %.1f MiB", c.what, time.Since(start).Seconds(), float64(growth)/(1<<20))
		require.Less(t, growth, most, c.what)
		switch c.what {
		case "tree out":
			sameLarge(t, filepath.Join(src, "large"), filepath.Join(back, "large"))
			require.NoError(t, os.RemoveAll(back))
			run(t, term, "rm -rf "+where)
		case "file out":
			sameLarge(t, filepath.Join(src, "large"), back+".file")
		}
	}
}

// Copies are streamed, so memory does not grow with their size.
func TestCopyGigabyteBoundedMemory(t *testing.T) {
	t.Run("local", func(t *testing.T) { copyLarge(t, terminal.Config{Backend: terminal.Local{}}, mostGrowth) })
	t.Run("through Exec", func(t *testing.T) { copyLarge(t, terminal.Config{Backend: execOnly{terminal.Local{}}}, mostGrowth) })
}
