//go:build linux

// This file fuzzes commands through a real shell.

package lane

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzLane checks that a real shell passes output and exit codes on unchanged.
func FuzzLane(f *testing.F) {
	f.Add([]byte("out"), []byte("err"), byte(0), "x", "/")
	f.Add([]byte("\x1e\x1e0123456789abcdef"), []byte("\n\n"), byte(255), "a\n'b", "/tmp")
	f.Add([]byte{}, []byte{0, 0x1e}, byte(137), "", "/")
	p := flavours[0].start(f)
	f.Fuzz(func(t *testing.T, out, errOut []byte, code byte, value, dir string) {
		c := Command{Dir: "/", Env: map[string]string{"V": value}}
		tmp := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(tmp, "out"), out, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(tmp, "err"), errOut, 0o600))
		c.Script = fmt.Sprintf("cat %s/out; cat %s/err >&2; printf '%%s' \"$V\"; exit %d", tmp, tmp, code)
		c.RunID = newRunID()
		if c.check() != nil {
			t.Skip("cannot be sent")
		}
		got := p.must(t, c)
		require.Equal(t, ran{Result{ExitCode: int(code)}, string(out) + value, string(errOut)}, got)
		require.True(t, p.Reusable())

		// A directory is entered or refused with ErrNotStarted.
		c = Command{Script: "pwd", Dir: "/" + dir}
		if c.RunID = newRunID(); c.check() == nil {
			_, err := p.run(t, c)
			if err != nil {
				require.ErrorIs(t, err, ErrNotStarted)
			}
		}
	})
}
