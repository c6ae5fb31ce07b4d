//go:build !terminal_nodocker

// Tests of locating a Docker daemon that need Linux system calls.

package terminal_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/internal/fakedocker"
)

// The test thread gives up its file system uid, so that connecting is refused
// even if the tests run as root.
func TestDockerCheckWithoutPermission(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	config := dockerConfig(t)
	socket := deadSocket(t, config)
	require.NoError(t, os.Chmod(socket, 0o600))
	t.Setenv("DOCKER_HOST", "unix://"+socket)
	checked := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		_ = syscall.Setfsuid(65534)
		checked <- terminal.Docker{}.Check(t.Context())
	}()
	isUnavailable(t, <-checked, "no permission", socket, "DOCKER_HOST", "group")
}

// The test runs itself in a mount namespace that hides the default socket of
// this machine.
func TestDockerCheckFindsPodmanSocket(t *testing.T) {
	const inside = "TERMINAL_TEST_PODMAN"
	if os.Getenv(inside) != "" {
		config := dockerConfig(t)
		t.Setenv("XDG_RUNTIME_DIR", config)
		isUnavailable(t, checkDocker(t, terminal.Docker{}), "/var/run/docker.sock", "no such socket")
		d := fakedocker.New(t, "")
		require.NoError(t, os.Mkdir(filepath.Join(config, "podman"), 0o700))
		require.NoError(t, os.Symlink(d.Host()[len("unix://"):], filepath.Join(config, "podman", "podman.sock")))
		require.NoError(t, checkDocker(t, terminal.Docker{}))
		assert.Equal(t, 1, d.Count("HEAD", "/_ping"))
		return
	}
	if out, err := exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "none", "/run").CombinedOutput(); err != nil {
		t.Skipf("no mount namespace: %v: %s", err, out)
	}
	cmd := exec.Command("unshare", "-rm", "sh", "-c", `mount -t tmpfs none /run && exec "$0" -test.v -test.run '^TestDockerCheckFindsPodmanSocket$'`, os.Args[0])
	cmd.Env = append(os.Environ(), inside+"=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "--- PASS: TestDockerCheckFindsPodmanSocket")
}
