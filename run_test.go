// Tests of Run: the working directory, and many tasks at once.

package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal/internal/spawn"
)

// dirs is a Backend whose environments have the directories that are true in
// have.
type dirs struct {
	stub
	have map[string]bool
	ran  []string // the directories in which commands ran
}

func newDirs(have ...string) *dirs {
	d := &dirs{have: map[string]bool{"/": true}}
	for _, dir := range have {
		d.have[dir] = true
	}
	d.exec = func(_ context.Context, c Command) (int, error) {
		if !d.have[c.Dir] {
			return 0, fmt.Errorf("%w: %w", ErrNotStarted, &fs.PathError{Op: "chdir", Path: c.Dir, Err: fs.ErrNotExist})
		}
		d.ran = append(d.ran, c.Dir)
		return 0, nil
	}
	return d
}

func (d *dirs) requireRefused(t *testing.T, term *Terminal, task, dir string) {
	t.Helper()
	d.ran = nil
	res, err := term.Run(t.Context(), Request{Command: "rm -rf *", Task: task})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, err, ErrNotStarted)
	assert.Contains(t, res.Error, dir+":")
	assert.Equal(t, StatusError, res.Status)
	assert.Empty(t, res.Notice)
	assert.Empty(t, d.ran, "it ran")
}

func TestRunInVanishedDir(t *testing.T) {
	const deep = "/srv/data/work"
	run := func(t *testing.T, term *Terminal, task string) Result {
		t.Helper()
		res, err := term.Run(t.Context(), Request{Command: "rm -rf *", Task: task})
		require.NoError(t, err)
		return res
	}
	setup := func(t *testing.T, dir string) (term *Terminal, a, b *dirs) {
		a, b = newDirs("/srv", dir), newDirs("/srv", dir)
		term = newTerminal(t, Config{Dir: dir, Backend: Route(func(task string) Backend { return map[string]Backend{"a": a, "b": b}[task] })})
		t.Cleanup(func() { _ = term.Close() })
		return term, a, b
	}

	t.Run("existed in another environment only", func(t *testing.T) {
		for _, dir := range []string{"/work", deep} {
			term, _, b := setup(t, dir)
			delete(b.have, dir)
			run(t, term, "a")
			b.requireRefused(t, term, "b", dir)
		}
	})
	t.Run("only the root is left", func(t *testing.T) {
		for _, dir := range []string{"/work", "/work/", "/work/.", "//work", deep} {
			term, a, _ := setup(t, dir)
			run(t, term, "a")
			a.have = map[string]bool{"/": true}
			a.requireRefused(t, term, "a", dir)
		}
	})
	t.Run("existed in an earlier environment of the task", func(t *testing.T) {
		term, a, _ := setup(t, deep)
		run(t, term, "a")
		delete(a.have, deep)
		require.NoError(t, term.CloseTask(t.Context(), "a"))
		a.requireRefused(t, term, "a", deep)
	})
	t.Run("a parent is left", func(t *testing.T) {
		term, a, _ := setup(t, deep)
		run(t, term, "a")
		delete(a.have, deep)
		res := run(t, term, "a")
		assert.Equal(t, `directory "/srv/data/work" no longer exists, so the command ran in "/srv"`, res.Notice)
		assert.Equal(t, []string{deep, "/srv"}, a.ran)
	})
	t.Run("the root is the directory", func(t *testing.T) {
		term, a, _ := setup(t, "/")
		assert.Empty(t, run(t, term, "a").Notice)
		assert.Equal(t, []string{"/"}, a.ran)
	})
}

// errorList is an error that == panics for.
type errorList []error

func (e errorList) Error() string { return fmt.Sprint([]error(e)) }

// causes are those of a caller's context. None of them may be taken for an end
// that the Terminal brought about.
var causes = map[string]error{
	"a list":                  errorList{io.EOF},
	"a value that has a list": spawn.Mark(errorList{io.EOF}, io.EOF),
	"nil":                     nil,
	"ErrTimeout":              ErrTimeout,
	"ErrClosed":               ErrClosed,
	"another call's":          &stop{ErrClosed},
}

// cancelling returns a Backend whose first Exec of a script with that word cancels
// with the cause and returns it, and the context that it cancels.
func cancelling(t *testing.T, word string, cause error) (*stub, context.Context) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	var done atomic.Bool
	return &stub{exec: func(run context.Context, c Command) (int, error) {
		if strings.Contains(c.Script, word) && !done.Swap(true) {
			cancel(cause)
			<-run.Done()
			return -1, context.Cause(run)
		}
		return 0, nil
	}}, ctx
}

func TestCancelCause(t *testing.T) {
	for name, cause := range causes {
		t.Run(name, func(t *testing.T) {
			terminal := func(word string) (*Terminal, context.Context) {
				b, ctx := cancelling(t, word, cause)
				term := newTerminal(t, Config{Backend: b})
				t.Cleanup(func() { _ = term.Close() })
				return term, ctx
			}
			cancelled := func(err error) {
				t.Helper()
				require.ErrorIs(t, err, context.Canceled)
				assert.Contains(t, err.Error(), "cancelled")
				if cause != nil {
					assert.Contains(t, err.Error(), cause.Error())
				}
			}
			term, ctx := terminal("word")
			res, err := term.Run(ctx, Request{Command: "word"})
			cancelled(err)
			assert.Equal(t, 130, res.ExitCode)
			assert.Equal(t, StatusCancelled, res.Status)
			res, err = term.Run(ctx, Request{Command: "again"}) // ended before it begins
			cancelled(err)
			assert.Equal(t, StatusCancelled, res.Status)

			term, ctx = terminal("job_follow")
			_, err = term.Start(ctx, Request{Command: "x", Ready: &Ready{LogPattern: "never"}})
			cancelled(err)
			_, err = term.Start(ctx, Request{Command: "x"})
			cancelled(err)

			term, ctx = terminal("")
			_, err = term.ReadFile(ctx, "", "/file")
			cancelled(err)
			_, err = term.ReadFile(ctx, "", "/file")
			cancelled(err)
			term, ctx = terminal("")
			cancelled(term.CopyTo(ctx, "", t.TempDir(), "/dir"))
			term, ctx = terminal("")
			cancelled(term.CopyFrom(ctx, "", "/dir", filepath.Join(t.TempDir(), "dir")))
		})
	}
}

// TestEndedByTerminal checks that a caller's context that ends as well, and later,
// does not change how a command was ended.
func TestEndedByTerminal(t *testing.T) {
	for name, tc := range map[string]struct {
		limit  time.Duration
		end    func(*Terminal)
		code   int
		status Status
		err    error
	}{
		"limit":  {time.Millisecond, func(*Terminal) {}, 124, StatusTimeout, ErrTimeout},
		"closed": {time.Minute, func(term *Terminal) { go term.Close() }, -1, StatusClosed, ErrClosed},
		"lost": {time.Minute, func(term *Terminal) {
			term.reg.mu.Lock()
			e := term.reg.entries[DefaultTask]
			term.reg.mu.Unlock()
			term.reg.drop(context.Background(), e, ErrGone)
		}, -1, StatusLost, ErrGone},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			var term *Terminal
			var done atomic.Bool
			term = newTerminal(t, Config{Backend: &stub{exec: func(run context.Context, _ Command) (int, error) {
				if !done.Swap(true) {
					tc.end(term)
					<-run.Done()
					cancel(errorList{io.EOF})
				}
				return -1, errors.New("ended")
			}}})
			defer term.Close()
			res, err := term.Run(ctx, Request{Command: "x", Timeout: tc.limit})
			require.ErrorIs(t, err, tc.err)
			assert.NotErrorIs(t, err, context.Canceled)
			assert.Equal(t, tc.code, res.ExitCode)
			assert.Equal(t, tc.status, res.Status)
		})
	}
}

// A thousand tasks at once leave no file descriptor and no child process after
// Close.
func TestRunThousandTasksConcurrently(t *testing.T) {
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
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc/self/fd to count descriptors in: ", err)
	}
	return len(names)
}
