//go:build linux

package terminal

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func start(t testing.TB, term *Terminal, command string) *Job {
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

func TestAJobRunsAndTells(t *testing.T) {
	for _, shell := range []string{"bash", "dash"} {
		t.Run(shell, func(t *testing.T) {
			term := newTerminal(t, Config{Backend: Local{Shell: shell}})
			defer term.Close()
			job := start(t, term, "echo out; echo err >&2; read line; echo \"got $line\"; cat; exit 7")
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

func TestKill(t *testing.T) {
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
	assert.Empty(t, carriers(t, jobRunID(job.ID())))
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
		job := start(b, term, "true")
		ours = append(ours, time.Since(began))
		_, err = job.Wait(context.Background())
		require.NoError(b, err)
	}
	o, t := median(ours), median(theirs)
	b.ReportMetric(float64(o.Microseconds()), "start-µs")
	b.ReportMetric(float64(t.Microseconds()), "run-µs")
	b.ReportMetric(float64(o)/float64(t), "ratio")
}
