package terminal

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// jobFigures prints what Start costs beside a foreground true, both measured
// in turn, and how soon Wait notices the end of a job that ends at once.
func jobFigures(t *testing.T, backend Backend) {
	if testing.Short() {
		t.Skip("a measurement: not with -short")
	}
	term, err := New(Config{Backend: backend})
	require.NoError(t, err)
	defer func() { assert.NoError(t, term.Close()) }()
	const rounds, many = 25, MaxJobs + 20
	var start, foreground, notice, full []time.Duration
	ctx := WithTask(t.Context(), rand.Text()) // environments that share a /tmp share the jobs of a task
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
		case i < 2: // the environment is made, and a spare lane
			continue
		case i >= MaxJobs: // each makes another one go
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
