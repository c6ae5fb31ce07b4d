package procfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/terminal-go/terminal/internal/procfs/procfstest"
	"github.com/terminal-go/terminal/internal/spawn"
)

func TestKillRunEmptyID(t *testing.T) {
	assert.Error(t, KillRun(t.Context(), ""))
}

func TestSweepScriptEndsRunInAnyShell(t *testing.T) {
	for _, shell := range []string{"bash", "dash", "busybox sh"} {
		t.Run(shell, func(t *testing.T) {
			argv := strings.Fields(shell)
			if _, err := exec.LookPath(argv[0]); err != nil {
				t.Skip(err)
			}
			id, other := spawn.NewRunID(), spawn.NewRunID()
			start := func(id string) {
				cmd := exec.Command("bash", "-c", "setsid sleep 1001 >/dev/null 2>&1 & exit 0")
				cmd.Env = append(os.Environ(), "A=b\nc", spawn.RunIDEnv+"=x,"+id)
				require.NoError(t, cmd.Run())
			}
			start(id)
			start(id)
			start(other)
			out, err := exec.Command(argv[0], append(argv[1:], "-c", SweepScript(id))...).CombinedOutput()
			assert.NoError(t, err, string(out))
			assert.Empty(t, procfstest.Carriers(t, id))
			assert.Len(t, procfstest.Carriers(t, other), 1)
			require.NoError(t, KillRun(t.Context(), other))
		})
	}
}

// A process that does nothing but execute itself shows no environment for a
// good part of its time, or just the beginning of it.
func TestCarriesDuringExec(t *testing.T) {
	id := spawn.NewRunID()
	restless := filepath.Join(t.TempDir(), "restless")
	require.NoError(t, os.WriteFile(restless, []byte("[ \"$1\" != xxxxx ] && exec dash \"$0\" $1$2 $2\nexec sleep 1001\n"), 0o600))
	environ := append(os.Environ(), spawn.RunIDEnv+"="+id)
	t.Run("Go", func(t *testing.T) {
		cmd := exec.Command("dash", restless)
		cmd.Env = environ
		require.NoError(t, cmd.Start())
		for range 2000 {
			if !assert.True(t, Carries(cmd.Process.Pid, id)) {
				break
			}
		}
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
	})
	// dash and busybox read byte by byte, and an exec makes what is left of the
	// environment vanish; so there, as with most processes, it ends sometime.
	for _, shell := range []string{"bash", "dash", "busybox sh"} {
		t.Run(shell, func(t *testing.T) {
			script := library.Link("proc_carries") + `
				n=0
				while [ $n -lt 100 ]; do
					n=$((n + 1))
					dash "$0" "" x &
					proc_carries $! "$TERMINAL_RUN_ID" || exit 9
					kill -9 $! && wait $!
				done 2>/dev/null; exit 0`
			argv := append(strings.Fields(shell), "-c", script, restless)
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Env = environ
			assert.NoError(t, cmd.Run())
		})
	}
	require.NoError(t, KillRun(t.Context(), id))
}
