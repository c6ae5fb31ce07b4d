// Tests that a container works on when a command has removed its working
// directory.

//go:build !terminal_nodocker

package terminal_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/internal/testimage"
)

func TestDockerWorkingDirectoryRemoved(t *testing.T) {
	const dir = "/srv/workspace"
	ways := map[string]func(t *testing.T, lab *dockerLab){
		"input": func(t *testing.T, lab *dockerLab) {
			res, err := lab.Run(t.Context(), terminal.Request{Command: "cat; pwd", Stdin: strings.NewReader("input\n")})
			require.NoError(t, err)
			assert.Equal(t, "input\n/srv\n", res.Output)
			assert.NotEmpty(t, res.Notice)
		},
		"file": func(t *testing.T, lab *dockerLab) {
			data := bytes.Repeat([]byte("0123456789"), 10_000)
			require.NoError(t, lab.WriteFile(t.Context(), "", "/tmp/large", data, 0o600))
			got, err := lab.ReadFile(t.Context(), "", "/tmp/large")
			require.NoError(t, err)
			assert.True(t, bytes.Equal(data, got))
		},
		"parallel": func(t *testing.T, lab *dockerLab) {
			// Each waits for the others, so that each has a lane of its own.
			const script = `: >/tmp/here.$0; while set -- /tmp/here.*; [ $# -lt 3 ]; do sleep 0.05; done; pwd`
			var all sync.WaitGroup
			for _, name := range []string{"a", "b", "c"} {
				all.Go(func() {
					res, err := lab.Run(t.Context(), terminal.Request{Command: strings.ReplaceAll(script, "$0", name)})
					assert.NoError(t, err)
					assert.Equal(t, "/srv\n", res.Output)
				})
			}
			all.Wait()
		},
		"limit": func(t *testing.T, lab *dockerLab) {
			res, err := lab.Run(t.Context(), terminal.Request{Command: "sleep 4323", Timeout: 500 * time.Millisecond})
			require.ErrorIs(t, err, terminal.ErrTimeout)
			assert.NotContains(t, res.Notice, "could not be ended")
		},
		"job": func(t *testing.T, lab *dockerLab) {
			job, err := lab.Start(t.Context(), terminal.Request{Command: "sleep 4324", Dir: "/"})
			require.NoError(t, err)
			require.NoError(t, job.Kill(t.Context()))
		},
	}
	for name, call := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab := newDockerLab(t, terminal.Docker{Image: testimage.Busybox(t), Network: "none"}, terminal.Config{Dir: dir})
			lab.out(t, "rmdir "+dir)
			id := lab.id(t, terminal.DefaultTask)
			began := time.Now()
			call(t, lab)
			assert.Less(t, time.Since(began), 4*time.Second)
			assert.Equal(t, id, lab.id(t, terminal.DefaultTask))
		})
	}
}
