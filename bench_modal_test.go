//go:build linux && !terminal_nomodal

// Benchmarks of the Modal backend against a fake service.

package terminal

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal/internal/modalfake"
)

// BenchmarkModalRunTrue measures over loopback; the real service adds a round
// trip.
func BenchmarkModalRunTrue(b *testing.B) {
	s, err := modalfake.Start(modalfake.Options{})
	require.NoError(b, err)
	defer s.Close()
	client, err := s.NewClient(nil)
	require.NoError(b, err)
	defer client.Close()
	term := newTerminal(b, Config{Backend: Modal{Client: client}})
	defer term.Close()
	_, err = term.Run(context.Background(), Request{Command: "true"})
	require.NoError(b, err)
	before := s.Stats().Calls()
	var ours, theirs []time.Duration
	for b.Loop() {
		theirs = append(theirs, bare(b, "true", io.Discard))
		began := time.Now()
		_, err := term.Run(context.Background(), Request{Command: "true"})
		ours = append(ours, time.Since(began))
		require.NoError(b, err)
	}
	report(b, ours, theirs)
	b.ReportMetric(float64(s.Stats().Calls()-before)/float64(len(ours)), "calls/op")
}

func TestModalJobFigures(t *testing.T) {
	s, err := modalfake.Start(modalfake.Options{})
	require.NoError(t, err)
	defer s.Close()
	client, err := s.NewClient(nil)
	require.NoError(t, err)
	defer client.Close()
	jobFigures(t, Modal{Client: client})
}
