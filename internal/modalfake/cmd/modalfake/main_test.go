//go:build linux

package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	modal "github.com/modal-labs/modal-client/go"
	"github.com/stretchr/testify/require"
)

// TestMain makes this test the command when it is asked to be.
func TestMain(m *testing.M) {
	if os.Getenv("MODALFAKE_TEST_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestServeInterruptLeavesNothing(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MODALFAKE_TEST_MAIN=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for range 5 {
		require.True(t, lines.Scan())
		name, value, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "export "), "=")
		require.True(t, ok, lines.Text())
		t.Setenv(name, strings.Trim(value, "'"))
	}

	client, err := modal.NewClient()
	require.NoError(t, err)
	defer client.Close()
	app, err := client.Apps.FromName(t.Context(), "terminal", &modal.AppFromNameParams{CreateIfMissing: true})
	require.NoError(t, err)
	sb, err := client.Sandboxes.Create(t.Context(), app, client.Images.FromRegistry("any", nil), nil)
	require.NoError(t, err)
	defer sb.Detach()
	p, err := sb.Exec(t.Context(), []string{"setsid", "sh", "-c", "readlink /proc/self/cwd; exec sleep 300"}, nil)
	require.NoError(t, err)
	dir, err := bufio.NewReader(p.Stdout).ReadString('\n')
	require.NoError(t, err)
	dir = strings.TrimSpace(dir)
	require.DirExists(t, dir)

	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.NoError(t, cmd.Wait())
	require.NoDirExists(t, dir)
	links, err := exec.Command("sh", "-c", "readlink /proc/[0-9]*/cwd; true").Output()
	require.NoError(t, err)
	require.NotContains(t, string(links), dir)
}
