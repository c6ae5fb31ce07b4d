//go:build !terminal_nodocker

package terminal_test

import (
	"testing"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/internal/testimage"
	"github.com/terminal-go/terminal/terminaltest"
)

// dockerImages are the two kinds that there are: with bash, and without.
var dockerImages = map[string]func(testing.TB) string{
	"debian":  testimage.Debian,
	"busybox": testimage.Busybox,
}

func TestDockerConformance(t *testing.T) {
	for name, image := range dockerImages {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name == "busybox" {
				t.Skip("-short: only the image with bash")
			}
			terminaltest.Run(t, func(t *testing.T) terminal.Backend {
				return terminal.Docker{Image: image(t), Pull: terminal.PullNever, Network: "none"} // which starts faster
			})
		})
	}
}

func TestDockerCopiesAGigabyteInBoundedMemory(t *testing.T) {
	copyLarge(t, terminal.Config{Backend: terminal.Docker{Image: testimage.Debian(t), Pull: terminal.PullNever, Network: "none"}}, mostGrowth)
}
