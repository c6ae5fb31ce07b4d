//go:build !terminal_nodocker

package terminal_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/internal/testimage"
)

// smallTree is a directory of this machine with a file in it.
func smallTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", "file"), []byte("content"), 0o640))
	return dir
}

func TestDockerFilesHaveTheRightsOfTheUser(t *testing.T) {
	for _, image := range []func(testing.TB) string{testimage.Debian, testimage.Busybox} {
		lab := newDockerLab(t, terminal.Docker{Image: image(t), Network: "none", User: "1000:1001"}, terminal.Config{Dir: "/work"})
		ctx := t.Context()
		require.NoError(t, lab.WriteFile(ctx, "", "file", []byte("x"), 0o640))
		require.NoError(t, lab.CopyTo(ctx, "", smallTree(t), "tree"))
		for _, name := range []string{"file", "tree", "tree/sub/file"} {
			fields := strings.Fields(lab.out(t, "ls -ldn "+name))
			assert.Equal(t, []string{"1000", "1001"}, fields[2:4], name)
		}
		back := filepath.Join(t.TempDir(), "back")
		require.NoError(t, lab.CopyFrom(ctx, "", "tree", back))

		for _, dst := range []string{"/file", "/etc/file"} {
			pathError(t, lab.WriteFile(ctx, "", dst, nil, 0o600), fs.ErrPermission)
			pathError(t, lab.CopyTo(ctx, "", smallTree(t), dst), fs.ErrPermission)
		}
		lab.out(t, "chmod 0 file tree/sub/file; mkdir closed; echo x >closed/file; chmod 0 closed")
		for _, name := range []string{"file", "closed/file"} {
			_, err := lab.ReadFile(ctx, "", name)
			pathError(t, err, fs.ErrPermission)
		}
		for _, name := range []string{"file", "tree", "closed", "closed/file"} {
			pathError(t, lab.CopyFrom(ctx, "", name, filepath.Join(t.TempDir(), "back")), fs.ErrPermission)
		}
		pathError(t, lab.WriteFile(ctx, "", "closed/file", nil, 0o600), fs.ErrPermission)
		require.NoError(t, lab.WriteFile(ctx, "", "file", []byte("new"), 0o600), "the directory is the user's, so the file can be replaced")
	}
}

func TestDockerFilesOnAFullFileSystem(t *testing.T) {
	lab := newDockerLab(t, terminal.Docker{Network: "none", Tmpfs: map[string]string{"/small": "size=1m"}}, terminal.Config{})
	ctx := t.Context()
	require.NoError(t, lab.WriteFile(ctx, "", "/small/file", []byte("old"), 0o600))
	large := bytes.Repeat([]byte("x"), 2<<20)
	pathError(t, lab.WriteFile(ctx, "", "/small/file", large, 0o600), syscall.ENOSPC)
	require.Equal(t, "file\nold", lab.out(t, "ls -A /small; cat /small/file"))

	tree := smallTree(t)
	require.NoError(t, lab.CopyTo(ctx, "", tree, "/small/tree"), "the archive API does not see a tmpfs")
	require.Equal(t, "content", lab.out(t, "cat /small/tree/sub/file"))
	require.NoError(t, lab.CopyFrom(ctx, "", "/small", filepath.Join(t.TempDir(), "back")))
	require.NoError(t, os.WriteFile(filepath.Join(tree, "large"), large, 0o600))
	pathError(t, lab.CopyTo(ctx, "", tree, "/small/tree"), syscall.ENOSPC)
	pathError(t, lab.CopyTo(ctx, "", filepath.Join(tree, "large"), "/small/large"), syscall.ENOSPC)
	require.Equal(t, "0", lab.out(t, "ls -A /small | grep -c -e terminal -e large || :"))
	lab.out(t, "rm -r /small/tree")
	require.NoError(t, lab.WriteFile(ctx, "", "/small/file", []byte("again"), 0o600))
}

func TestDockerFilesOnAReadOnlyFileSystem(t *testing.T) {
	lab := newDockerLab(t, terminal.Docker{Network: "none", ReadOnly: true}, terminal.Config{})
	ctx := t.Context()
	pathError(t, lab.WriteFile(ctx, "", "/file", nil, 0o600), syscall.EROFS)
	pathError(t, lab.CopyTo(ctx, "", smallTree(t), "/tree"), syscall.EROFS)
	require.NoError(t, lab.CopyTo(ctx, "", smallTree(t), "/tmp/tree"))
	back := filepath.Join(t.TempDir(), "back")
	require.NoError(t, lab.CopyFrom(ctx, "", "/tmp/tree", back))
	require.FileExists(t, filepath.Join(back, "sub", "file"))
	require.NoError(t, lab.CopyFrom(ctx, "", "/etc", filepath.Join(t.TempDir(), "etc")), "with files that are mounted")
}

func TestDockerTreesNeedNoTarInTheImage(t *testing.T) {
	lab := newDockerLab(t, terminal.Docker{Image: testimage.Debian(t), Network: "none"}, terminal.Config{})
	ctx := t.Context()
	lab.out(t, "rm $(command -v tar)")
	require.NoError(t, lab.CopyTo(ctx, "", smallTree(t), "/root/tree"))
	require.Equal(t, "content0:0 640", lab.out(t, "cat /root/tree/sub/file; stat -c '%u:%g %a' /root/tree/sub/file"))
	back := filepath.Join(t.TempDir(), "back")
	require.NoError(t, lab.CopyFrom(ctx, "", "/root/tree/", back))
	require.FileExists(t, filepath.Join(back, "sub", "file"))
	require.ErrorIs(t, lab.CopyTo(ctx, "", smallTree(t), "/dev/shm/tree"), errors.ErrUnsupported)
	lab.out(t, "rm -r /root/tree/sub && : >/root/tree/sub")
	err := lab.CopyTo(ctx, "", smallTree(t), "/root/tree")
	require.Error(t, err, "a directory has replaced a file")
}

func TestDockerFilesWithoutALane(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: waits ten seconds for a lane")
	}
	lab := newDockerLab(t, terminal.Docker{Image: testimage.NoLane(t), Network: "none"}, terminal.Config{})
	data := bytes.Repeat([]byte{0, 1, 2, 0xff, '\n'}, 100_000)
	for _, name := range []string{"/tmp/file", "/tmp/not \xff\xfe UTF-8", "/tmp/new\nline"} {
		require.NoError(t, lab.WriteFile(t.Context(), "", name, data, 0o751))
		got, err := lab.ReadFile(t.Context(), "", name)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
	}
	_, err := lab.ReadFile(t.Context(), "", "/tmp")
	pathError(t, err, syscall.EISDIR)
	require.NoError(t, lab.CopyTo(t.Context(), "", smallTree(t), "/tmp/tree"))
	require.NoError(t, lab.CopyFrom(t.Context(), "", "/tmp/tree", filepath.Join(t.TempDir(), "back")))
}

func TestDockerContainerThatIsGoneDuringACopy(t *testing.T) {
	lab := newDockerLab(t, terminal.Docker{Network: "none"}, terminal.Config{})
	lab.out(t, "true")
	src := filepath.Join(t.TempDir(), "src")
	f, err := os.Create(src)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(16<<30))
	require.NoError(t, f.Close())
	done := make(chan error, 1)
	go func() { done <- lab.CopyTo(t.Context(), "", src, "/tmp/file") }()
	lab.out(t, "n=0; until ls -A /tmp | grep -q terminal || [ $n -gt 200 ]; do n=$((n+1)); sleep 0.05; done")
	_, err = lab.cli.ContainerKill(t.Context(), lab.id(t, terminal.DefaultTask), client.ContainerKillOptions{Signal: "KILL"})
	require.NoError(t, err)
	require.ErrorIs(t, <-done, terminal.ErrGone)
	require.NoError(t, lab.WriteFile(t.Context(), "", "/tmp/file", nil, 0o600))
}
