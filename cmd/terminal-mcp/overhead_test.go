package main

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
)

// overhead measures a call of `true` by the library in this process and by the
// server over a pipe, in turns, and returns the medians.
func overhead(t testing.TB, c client, rounds int) (direct, served time.Duration) {
	t.Helper()
	term, err := terminal.New(terminal.Config{})
	require.NoError(t, err)
	defer term.Close()
	var directly, remotely []time.Duration
	for i := range rounds + 10 {
		began := time.Now()
		_, err := term.Run(t.Context(), terminal.Request{Command: "true"})
		middle := time.Now()
		require.NoError(t, err)
		_, err = c.call(t.Context(), "terminal", object{"command": "true"}, nil)
		end := time.Now()
		require.NoError(t, err)
		if i >= 10 { // warm
			directly, remotely = append(directly, middle.Sub(began)), append(remotely, end.Sub(middle))
		}
	}
	slices.Sort(directly)
	slices.Sort(remotely)
	return directly[rounds/2], remotely[rounds/2]
}

// The server is to add a millisecond at most. With -short, on machines that are
// busy, the limit is wider, and with the race detector more so.
func TestOverheadOfThePipe(t *testing.T) {
	limit, rounds := time.Millisecond, 200
	switch {
	case raced:
		limit, rounds = 15*time.Millisecond, 30
	case testing.Short():
		limit = 3 * time.Millisecond
	}
	c := routes[0].connect(t, site{})
	for try := 1; ; try++ {
		direct, served := overhead(t, c, rounds)
		t.Logf("true, median of %d: %v by the library, %v over stdio: %v more", rounds, direct, served, served-direct)
		if served-direct <= limit || try == 3 {
			assert.LessOrEqual(t, served-direct, limit)
			return
		}
	}
}
