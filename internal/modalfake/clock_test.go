package modalfake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestManualClockAdvanceOrder(t *testing.T) {
	c := NewManualClock()
	start := c.Now()
	var calls []time.Duration
	note := func() { calls = append(calls, c.Now().Sub(start)) }
	c.AfterFunc(3*time.Second, note)
	c.AfterFunc(time.Second, func() {
		note()
		c.AfterFunc(time.Second, note)
	})
	stop := c.AfterFunc(2*time.Second, note)
	require.True(t, stop())
	require.False(t, stop())
	c.Advance(2500 * time.Millisecond)
	require.Equal(t, []time.Duration{time.Second, 2 * time.Second}, calls)
	c.Advance(time.Second)
	require.Len(t, calls, 3)
	require.Equal(t, 3500*time.Millisecond, c.Now().Sub(start))
}
