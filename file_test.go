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
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/terminaltest"
)

// execOnly is a Backend whose Executors have no capabilities.
type execOnly struct{ terminal.Backend }

func (b execOnly) Open(ctx context.Context, task string) (terminal.Executor, error) {
	ex, err := b.Backend.Open(ctx, task)
	if err != nil {
		return nil, err
	}
	return hidden{ex}, nil
}

// Lacks leaves the suite's sentences about files.
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
func (h hidden) Close(ctx context.Context) error                           { return h.ex.Close(ctx) }

func TestFilesThroughExecHoldTheContract(t *testing.T) {
	for _, shell := range []string{"bash", "dash"} {
		t.Run(shell, func(t *testing.T) {
			terminaltest.Run(t, func(*testing.T) terminal.Backend { return execOnly{terminal.Local{Shell: shell}} })
		})
	}
}

// pathError wants an *Error about a path that matches target.
func pathError(t *testing.T, err, target error) {
	t.Helper()
	var e *terminal.Error
	var p *fs.PathError
	require.ErrorAs(t, err, &e)
	require.ErrorAs(t, err, &p, "%v", err)
	require.ErrorIs(t, err, target)
}

func TestATreeNeedsTarWhereThereIsNoOtherWay(t *testing.T) {
	bin := t.TempDir()
	for _, tool := range []string{"cat", "chmod", "date", "ls", "mv", "readlink", "rm", "touch"} {
		path, err := exec.LookPath(tool)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(bin, tool)))
	}
	term, err := terminal.New(terminal.Config{Backend: execOnly{terminal.Local{}}, Env: map[string]string{"PATH": bin}})
	require.NoError(t, err)
	defer term.Close()
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "dst")
	require.NoError(t, os.WriteFile(filepath.Join(src, "file"), []byte("x"), 0o600))

	for _, err := range []error{term.CopyTo(t.Context(), "", src, dst), term.CopyFrom(t.Context(), "", src, dst)} {
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.ErrorContains(t, err, "no tar")
	}
	require.NoDirExists(t, dst)
	require.NoError(t, term.CopyTo(t.Context(), "", filepath.Join(src, "file"), dst))
	require.NoError(t, term.CopyFrom(t.Context(), "", dst, dst+"2"))
	require.FileExists(t, dst+"2")
}

// moody is an Executor that fails as a test says, before or after its work.
type moody struct {
	terminal.Executor
	before, after func() error
}

func (m moody) Exec(ctx context.Context, c terminal.Command) (int, error) {
	if err := m.before(); err != nil {
		return -1, err
	}
	code, err := m.Executor.Exec(ctx, c)
	if m.after != nil && err == nil {
		err = m.after()
	}
	return code, err
}

type moodyBackend struct{ before, after func() error }

func (b moodyBackend) Open(ctx context.Context, task string) (terminal.Executor, error) {
	ex, err := terminal.Local{}.Open(ctx, task)
	return moody{hidden{ex}, b.before, b.after}, err
}

func TestATransferIsTriedAgainIfNothingRan(t *testing.T) {
	var n atomic.Int64
	term, err := terminal.New(terminal.Config{Backend: moodyBackend{before: func() error {
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

func TestAFailureThatTheScriptReportsIsFinal(t *testing.T) {
	var n atomic.Int64
	term, err := terminal.New(terminal.Config{
		Backend: moodyBackend{before: func() error { n.Add(1); return nil }},
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

func TestATransferOfUnknownEndIsReportedAndNotRepeated(t *testing.T) {
	var n atomic.Int64
	lost := errors.New("connection lost")
	term, err := terminal.New(terminal.Config{Backend: moodyBackend{
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

func TestAnEnvironmentThatGoesIsReplaced(t *testing.T) {
	var gone atomic.Bool
	term, err := terminal.New(terminal.Config{Backend: moodyBackend{before: func() error {
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
	require.NotEmpty(t, res.Notice, "nobody was told that the environment is another one")
}

// TestClosingATaskEndsItsTransfer does so in the middle of one to nowhere.
func TestClosingATaskEndsItsTransfer(t *testing.T) {
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

func TestAFileSystemMayLeaveThingsToExec(t *testing.T) {
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

// lazyExecutor reads from archives, and then leaves them to others.
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

// liar is an Executor whose tar is not to be trusted.
type liarBackend struct{ archive []byte }

func (b liarBackend) Open(ctx context.Context, task string) (terminal.Executor, error) {
	return liar{lazyExecutor{&struct{ terminal.Executor }{}}, b.archive}, nil
}

type liar struct {
	lazyExecutor
	archive []byte
}

func (liar) Close(context.Context) error                         { return nil }
func (liar) Exec(context.Context, terminal.Command) (int, error) { return 0, nil }
func (l liar) CopyFrom(_ context.Context, _ string, w io.Writer) error {
	_, err := w.Write(l.archive)
	return err
}

func TestAHostileEnvironmentCannotWriteElsewhere(t *testing.T) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "x/", Mode: 0o755}))
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "x/l", Linkname: ".."}))
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "x/l/evil", Size: 4, Mode: 0o644}))
	_, err := w.Write([]byte("evil"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	term, err := terminal.New(terminal.Config{Backend: liarBackend{archive.Bytes()}})
	require.NoError(t, err)
	defer term.Close()
	dir := t.TempDir()
	err = term.CopyFrom(t.Context(), "", "/x", filepath.Join(dir, "x"))
	pathError(t, err, syscall.ENOTDIR)
	require.NoFileExists(t, filepath.Join(dir, "evil"))
}
