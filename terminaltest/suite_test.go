package terminaltest_test

import (
	"testing"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/terminaltest"
)

func TestLocalConformance(t *testing.T) {
	terminaltest.Run(t, func(*testing.T) terminal.Backend { return terminal.Local{} })
}

func TestFakeNextConformance(t *testing.T) {
	terminaltest.Run(t, func(*testing.T) terminal.Backend { return &terminaltest.Fake{Next: terminal.Local{}} })
}

// The contract holds with sh in place of bash.
func TestLocalPlainShConformance(t *testing.T) {
	terminaltest.Run(t, func(*testing.T) terminal.Backend { return terminal.Local{Shell: "sh"} })
}
