//go:build linux && !terminal_nomodal

package terminal_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/internal/modalfake"
	"github.com/terminal-go/terminal/terminaltest"
)

// fakeModal starts a fake and returns a backend on it. At the end it looks
// whether anything is left there.
func fakeModal(t *testing.T, opt modalfake.Options) (*modalfake.Server, terminal.Modal) {
	t.Helper()
	s, err := modalfake.Start(opt)
	require.NoError(t, err)
	client, err := s.NewClient(nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		n := s.Stats()
		assert.Zero(t, n.Alive, "sandboxes left")
		assert.Zero(t, n.Processes, "processes left")
		client.Close()
		assert.NoError(t, s.Close())
	})
	return s, terminal.Modal{Client: client}
}

func TestModalConformance(t *testing.T) {
	terminaltest.Run(t, func(t *testing.T) terminal.Backend {
		_, m := fakeModal(t, modalfake.Options{})
		return m
	})
}
