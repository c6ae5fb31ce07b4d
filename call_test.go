package terminal

import (
	"context"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dirs is a Backend whose environments have the directories that are true.
type dirs struct {
	stub
	have map[string]bool
	ran  []string // the directories that commands ran in
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
