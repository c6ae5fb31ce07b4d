//go:build linux && !terminal_nomodal

package modal

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal/internal/modalfake"
)

// A sandbox whose owner has vanished is found idle by Modal, though shells
// were waiting in it; one that hears from its owner is not.
func TestSandboxOfSilentOwnerBecomesIdle(t *testing.T) {
	defer func(d time.Duration) { ownerTimeout = d }(ownerTimeout)
	ownerTimeout = time.Second
	clock := modalfake.NewManualClock()
	s, err := modalfake.Start(modalfake.Options{Clock: clock})
	require.NoError(t, err)
	defer s.Close()
	client, err := s.NewClient(nil)
	require.NoError(t, err)
	defer client.Close()
	ex, err := Open(t.Context(), Config{Client: client, IdleTimeout: time.Minute}, "task")
	require.NoError(t, err)
	defer func() { require.NoError(t, ex.Close(context.Background())) }()

	time.Sleep(3 * time.Second) // several times the leash
	require.EqualValues(t, 2, s.Stats().ExecsRunning, "a shell and the leash")
	clock.Advance(time.Hour)
	require.EqualValues(t, 1, s.Stats().Alive)

	restore := s.Router.Cut()
	defer restore()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, s.Wait(ctx, func(n modalfake.Stats) bool { return n.ExecsRunning == 0 }))
	clock.Advance(time.Minute)
	require.EqualValues(t, 1, s.Stats().IdledOut)
}
