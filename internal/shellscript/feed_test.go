//go:build unix

package shellscript

import (
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/terminal-go/terminal/internal/spawn"
)

func TestFeedRunsScriptUnchangedInAnyShell(t *testing.T) {
	tail := "\nprintf '%s|' \"$0\" \"$#\" 'a\\\nb' $'x' ; cat; echo \"[${terminal_s-unset}]\" # \\"
	script := ": " + strings.Repeat("xyz ", 70_000) + strings.Repeat("\n# line", 10_000) + tail
	for _, shell := range []string{"bash", "dash", "busybox sh"} {
		for _, stdin := range []string{"", "input\nof the caller"} {
			t.Run(shell+" "+stdin, func(t *testing.T) {
				argv := strings.Fields(shell)
				if _, err := exec.LookPath(argv[0]); err != nil {
					t.Skip(err)
				}
				var in io.Reader
				if stdin != "" {
					in = strings.NewReader(stdin)
				}
				form, in := Feed(script, spawn.NewRunID(), in)
				cmd := exec.Command(argv[0], append(argv[1:], "-c", form)...)
				cmd.Stdin = in
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, string(out))
				short := exec.Command(argv[0], append(argv[1:], "-c", tail)...)
				short.Stdin = strings.NewReader(stdin)
				want, err := short.CombinedOutput()
				require.NoError(t, err, string(want))
				assert.Equal(t, string(want), string(out))
			})
		}
	}
}
