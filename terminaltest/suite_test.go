package terminaltest_test

import (
	"testing"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/terminaltest"
)

func TestLocalHoldsTheContract(t *testing.T) {
	terminaltest.Run(t, func(*testing.T) terminal.Backend { return terminal.Local{} })
}

func TestFakeInFrontOfLocalHoldsTheContract(t *testing.T) {
	terminaltest.Run(t, func(*testing.T) terminal.Backend { return &terminaltest.Fake{Next: terminal.Local{}} })
}

func TestLocalHoldsTheContractWithAPlainSh(t *testing.T) {
	terminaltest.Run(t, func(*testing.T) terminal.Backend { return terminal.Local{Shell: "sh"} })
}
