// Tests that what an environment makes every shell print is not taken for what
// the scripts of this package answer.

//go:build !terminal_nodocker

package terminal_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/internal/testimage"
)

// noises are environments in which shells or all programs print what nobody
// asked for, or expand no patterns.
var noises = map[string]map[string]string{
	"locale":   {"LC_ALL": "xx_XX.UTF-8"},
	"preload":  {"LD_PRELOAD": "/nonexistent.so"},
	"xtrace":   {"SHELLOPTS": "xtrace"},
	"noglob":   {"SHELLOPTS": "noglob"},
	"complain": {"BASH_ENV": "/tmp/startup"},
}

// startup is a file that BASH_ENV names. Its output looks like answers.
const startup = `echo 0:0; echo activated; echo 'startup: 12:12' >&2`

func TestDockerScriptsIgnoreNoise(t *testing.T) {
	for _, sh := range []string{"dash", "bash"} { // which /bin/sh may be
		for name, env := range noises {
			t.Run(sh+"/"+name, func(t *testing.T) {
				t.Parallel()
				lab := newDockerLab(t, terminal.Docker{
					Image: testimage.Debian(t), Network: "none", Env: env,
					InitScript: "echo \"" + startup + "\" >/tmp/startup; ln -sf " + sh + " /bin/sh",
				}, terminal.Config{})
				res, err := lab.Run(t.Context(), terminal.Request{Command: "echo kept >/tmp/file"})
				require.NoError(t, err)
				require.Zero(t, res.ExitCode, res.Output)
				id := lab.id(t, terminal.DefaultTask)

				killed := lab.start(t, terminal.Request{Command: "setsid sleep 4321 & echo started; exec sleep 4321", Timeout: time.Second})
				res, err = killed.wait(t)
				require.ErrorIs(t, err, terminal.ErrTimeout)
				assert.Empty(t, res.Notice)
				require.NotContains(t, lab.top(t, id), "sleep 4321")

				res, err = lab.Run(t.Context(), terminal.Request{Command: "cat /tmp/file"})
				require.NoError(t, err)
				assert.Contains(t, res.Output, "kept")

				job, err := lab.Start(t.Context(), terminal.Request{Command: "exec sleep 4322"})
				require.NoError(t, err)
				require.Eventually(t, func() bool { return strings.Contains(lab.top(t, id), "sleep 4322") }, 10*time.Second, 20*time.Millisecond)
				jobs, err := lab.Jobs(t.Context(), "")
				require.NoError(t, err)
				assert.Len(t, jobs, 1)
				require.NoError(t, job.Kill(t.Context()))
				assert.NotContains(t, lab.top(t, id), "sleep 4322")

				require.NoError(t, lab.WriteFile(t.Context(), "", "/tmp/data", []byte("data\n"), 0o600))
				data, err := lab.ReadFile(t.Context(), "", "/tmp/data")
				require.NoError(t, err)
				assert.Equal(t, "data\n", string(data))
				dir := t.TempDir()
				require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("copied"), 0o600))
				require.NoError(t, lab.CopyTo(t.Context(), "", dir, "/srv/tree"))
				back := filepath.Join(t.TempDir(), "tree")
				require.NoError(t, lab.CopyFrom(t.Context(), "", "/srv/tree", back))
				data, err = os.ReadFile(filepath.Join(back, "file"))
				require.NoError(t, err)
				assert.Equal(t, "copied", string(data))
				assert.Equal(t, id, lab.id(t, terminal.DefaultTask), "the same container")
			})
		}
	}
}
