// TestMain and a helper of the external tests.

package terminal_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/terminal-go/terminal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs a command that must succeed and returns its result.
func run(t *testing.T, term *terminal.Terminal, command string) terminal.Result {
	t.Helper()
	res, err := term.Run(t.Context(), terminal.Request{Command: command})
	require.NoError(t, err)
	require.Zero(t, res.ExitCode, "%+v", res)
	return res
}
