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

// A call over the pipe takes at most twice the time of the library alone, measured
// in turns in the same run, and more with the race detector, which slows down the
// server but not the commands.
func TestStdioOverhead(t *testing.T) {
	factor, rounds := 2, 200
	if raced {
		factor, rounds = 10, 30
	}
	direct, served := overhead(t, routes[0].connect(t, site{}), rounds)
	t.Logf("true, median of %d: %v by the library, %v over stdio: %v more", rounds, direct, served, served-direct)
	assert.LessOrEqual(t, served, time.Duration(factor)*direct)
}
