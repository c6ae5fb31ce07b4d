package main

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal/internal/testimage"
)

type object = map[string]any

// TestClients is what a client can rely on, with each client library, over
// each transport, on each backend.
func TestClients(t *testing.T) {
	for _, backend := range []struct {
		name string
		site func(t *testing.T) site
	}{
		{"local", func(t *testing.T) site { return site{env: []string{"TERMINAL_CWD=" + t.TempDir()}} }},
		{"Docker", func(t *testing.T) site {
			return site{args: []string{"-env", "docker", "-image", testimage.Busybox(t)}}
		}},
	} {
		t.Run(backend.name, func(t *testing.T) {
			t.Parallel()
			s := backend.site(t)
			s.url, _ = startHTTP(t, s.env, s.args...)
			// Its own, so that the server outlives all that use it.
			t.Run("by", func(t *testing.T) {
				for _, r := range routes {
					t.Run(r.name, func(t *testing.T) {
						t.Parallel()
						testRoute(t, r, s)
					})
				}
			})
		})
	}
}

func testRoute(t *testing.T, r route, s site) {
	c := r.connect(t, s)

	t.Run("lists the tools", func(t *testing.T) {
		names, err := c.tools(t.Context())
		require.NoError(t, err)
		assert.ElementsMatch(t, []string{"terminal", "process"}, names)
	})

	t.Run("runs a command", func(t *testing.T) {
		a := do(t, c, "terminal", object{"command": "printf 'a<b>\\n\\303\\244'"})
		assert.Equal(t, answered{Output: "a<b>\nä"}, a)
	})

	t.Run("an exit code is no error", func(t *testing.T) {
		a := do(t, c, "terminal", object{"command": "echo so; exit 3"})
		assert.Equal(t, answered{Output: "so\n", ExitCode: 3}, a)
	})

	t.Run("bad arguments are an error and run nothing", func(t *testing.T) {
		for _, args := range []object{
			nil, {}, {"command": 7}, {"command": " "}, {"command": "true", "cwd": "/"}, {"command": "true", "timeout": -1},
		} {
			a := do(t, c, "terminal", args)
			assert.True(t, a.isError, "%v", args)
			assert.Equal(t, -1, a.ExitCode, "%v", args)
			assert.Equal(t, "error", a.Status, "%v", args)
		}
		a := do(t, c, "terminal", object{"command": "echo fine", "timeout": "5"})
		assert.Equal(t, answered{Output: "fine\n"}, a, "a number may be a string")
	})

	t.Run("an unknown tool is an error of the protocol", func(t *testing.T) {
		_, err := c.call(t.Context(), "nonesuch", object{}, nil)
		assert.ErrorContains(t, err, "nonesuch")
	})

	t.Run("a command of 1 MiB runs", func(t *testing.T) {
		if testing.Short() && len(s.args) > 0 {
			t.Skip("on the other backend in short tests")
		}
		script := "echo begin\n" + strings.Repeat("# 0123456789abcdef0123456789abcdef\n", 30_000) + "echo end"
		a := do(t, c, "terminal", object{"command": script})
		assert.Equal(t, answered{Output: "begin\nend\n"}, a)
	})

	t.Run("a limit ends the command", func(t *testing.T) {
		sleep, word := sleeper()
		a := do(t, c, "terminal", object{"command": "echo started; " + sleep, "timeout": 0.4})
		assert.True(t, a.isError)
		assert.Equal(t, "started\n", a.Output)
		assert.Equal(t, 124, a.ExitCode)
		assert.Equal(t, "timeout", a.Status)
		assert.Empty(t, running(t, word))
	})

	t.Run("a job is started, listed and killed", func(t *testing.T) {
		sleep, word := sleeper()
		a := do(t, c, "terminal", object{"command": "echo up; " + sleep, "background": true})
		assert.False(t, a.isError)
		assert.Equal(t, "running", a.Status)
		require.NotEmpty(t, a.JobID)
		requireRunning(t, word)
		assert.Contains(t, do(t, c, "process", object{"action": "list"}).Output, a.JobID)
		assert.Equal(t, "up\n", do(t, c, "process", object{"action": "log", "job_id": a.JobID}).Output)
		killed := do(t, c, "process", object{"action": "kill", "job_id": a.JobID})
		assert.Equal(t, 137, killed.ExitCode)
		requireGone(t, word)
	})

	t.Run("progress shows the output as it comes", func(t *testing.T) {
		var mu sync.Mutex
		var last float64
		var text strings.Builder
		first := make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		sleep, word := sleeper()
		done := make(chan error, 1)
		go func() {
			_, err := try(t, ctx, c, "terminal", object{"command": "echo one; " + sleep + "; echo no"}, func(progress float64, news string) {
				mu.Lock()
				defer mu.Unlock()
				assert.Greater(t, progress, last)
				if last == 0 {
					close(first)
				}
				last = progress
				text.WriteString(news)
			})
			done <- err
		}()
		select {
		case <-first: // while the command runs
		case err := <-done:
			t.Fatalf("the call returned without progress: %v", err)
		}
		assert.NotEmpty(t, running(t, word))
		cancel()
		<-done
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, "one\n", text.String())
		assert.Equal(t, 4.0, last)
		requireGone(t, word)
	})

	t.Run("cancelling a call ends its processes, detached ones too", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		sleep, word := sleeper()
		detached, other := sleeper()
		done := make(chan error, 1)
		go func() {
			_, err := c.call(ctx, "terminal", object{"command": "setsid " + detached + " & " + sleep}, nil)
			done <- err
		}()
		requireRunning(t, word)
		requireRunning(t, other)
		cancel()
		assert.ErrorIs(t, <-done, context.Canceled)
		requireGone(t, word)
		requireGone(t, other)
		assert.Equal(t, answered{Output: "on\n"}, do(t, c, "terminal", object{"command": "echo on"}))
	})

	t.Run("sessions are apart, and do not wait for each other", func(t *testing.T) {
		d := r.connect(t, s)
		sleep, word := sleeper()
		job := do(t, c, "terminal", object{"command": sleep, "background": true}).JobID
		require.NotEmpty(t, job)
		assert.Equal(t, "no jobs\n", do(t, d, "process", object{"action": "list"}).Output)
		assert.True(t, do(t, d, "process", object{"action": "kill", "job_id": job}).isError)
		for _, task := range []string{"default", "mcp-x", "../x"} {
			a := do(t, d, "terminal", object{"command": "echo in", "task_id": task})
			assert.True(t, a.isError)
			assert.Empty(t, a.Output)
			assert.Contains(t, *a.Error, "task_id")
			assert.True(t, do(t, d, "process", object{"action": "list", "task_id": task}).isError)
		}

		ctx, cancel := context.WithCancel(t.Context())
		long, slow := sleeper()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = c.call(ctx, "terminal", object{"command": long}, nil)
		}()
		requireRunning(t, slow)
		assert.Equal(t, "quick\n", do(t, d, "terminal", object{"command": "echo quick"}).Output)
		assert.Equal(t, "too\n", do(t, c, "terminal", object{"command": "echo too"}).Output)
		cancel()
		<-done

		d.close()
		assert.NotEmpty(t, running(t, word), "the end of one session ended another's job")
	})

	t.Run("the end of a session ends its jobs", func(t *testing.T) {
		d := r.connect(t, s)
		sleep, word := sleeper()
		do(t, d, "terminal", object{"command": sleep, "background": true})
		requireRunning(t, word)
		d.close()
		requireGone(t, word)
	})

	t.Run("a client that vanishes takes its command along", func(t *testing.T) {
		d, drop := r.droppable(t, s)
		sleep, word := sleeper()
		done := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			defer close(done)
			// Output, so that the server writes to nobody.
			_, _ = d.call(ctx, "terminal", object{"command": "while echo busy; do sleep 0.05; done & " + sleep}, func(float64, string) {})
		}()
		requireRunning(t, word)
		drop()
		requireGone(t, word)
		cancel()
		<-done
		d.close()
	})
}
