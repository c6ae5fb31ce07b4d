//go:build linux

// This file tests the encoding of requests.

package lane

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal/internal/shellscript"
)

func TestQuoteSingleLine(t *testing.T) {
	require.Equal(t, "a/b.c", quote("a/b.c"))
	require.Equal(t, "''", quote(""))
	require.Equal(t, `'a b'`, quote("a b"))
	require.Equal(t, `'it'\''s'`, quote("it's"))
	require.Equal(t, `'a'"$lane_n"'b'`, quote("a\nb"))
	require.Equal(t, 1, strings.Count(bootstrap, "\n"))
	require.NotContains(t, shellscript.Minify("# a\n\tb # c\n\n#\n"), "a")
}

// A lane's command line must not match what a user's pkill -f looks for.
func TestArgvShort(t *testing.T) {
	argv := strings.Join(Argv(""), " ")
	require.Less(t, len(argv), 200)
	for _, word := range []string{"bash", "sleep", "server", "python", "node", "java", "test", "TERMINAL"} {
		require.NotContains(t, argv, word)
	}
}

func TestPiecesFitArguments(t *testing.T) {
	for _, n := range []int{0, 1, maxArg, maxArg + 1, MaxScript} {
		script := strings.Repeat("x", n)
		all := pieces(script)
		require.Equal(t, script, strings.Join(all, ""))
		for _, piece := range all {
			require.LessOrEqual(t, len(piece), maxArg)
		}
	}
}

// FuzzQuote checks that a quoted value survives a shell's read and eval.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a'b", "a\nb\n", "\\", "$x `y` \"z\"", "\xff\x01\t", "-n", "'\n'\n''", "\r\n", "a\\\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, 0) {
			t.Skip("has a NUL")
		}
		line := quote(s)
		require.NotContains(t, line, "\n")
		for _, sh := range [][]string{{"dash"}, {"bash"}, {"busybox", "sh"}} {
			if _, err := exec.LookPath(sh[0]); err != nil {
				continue
			}
			script := "LC_ALL=C lane_n='\n'; IFS= read -r l; eval \"printf %s $l\""
			cmd := exec.Command(sh[0], append(sh[1:], "-c", script)...)
			cmd.Stdin = strings.NewReader(line + "\n")
			out, err := cmd.Output()
			require.NoError(t, err)
			require.Equal(t, s, string(out), sh)
		}
	})
}
