//go:build unix

package posixfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/terminal-go/terminal/internal/shellscript"
)

func TestUploadCommit(t *testing.T) {
	eachShell(t, func(t *testing.T, f *FS) {
		dir := t.TempDir()
		require.NoError(t, os.Symlink("file", dir+"/link"))
		u, err := f.Begin(t.Context(), dir+"/link")
		require.NoError(t, err)
		require.Equal(t, dir, filepath.Dir(u.Path))
		require.NoError(t, os.WriteFile(u.Path, []byte("content"), 0o600))
		require.ErrorIs(t, u.Commit(t.Context(), 8, 0o640, time.Time{}), io.ErrUnexpectedEOF)
		require.Equal(t, []string{"link"}, names(t, dir), "a file that is cut must be removed")

		u, err = f.Begin(t.Context(), dir+"/link")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(u.Path, []byte("content"), 0o600))
		require.NoError(t, u.Commit(t.Context(), 7, 0o640, time.Unix(1_000_000_000, 0)))
		require.Equal(t, []string{"file", "link"}, names(t, dir))
		info, err := os.Stat(dir + "/file")
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o640), info.Mode())
		require.EqualValues(t, 1_000_000_000, info.ModTime().Unix())
	})
}

func TestBeginErrors(t *testing.T) {
	eachShell(t, func(t *testing.T, f *FS) {
		dir := t.TempDir()
		_, err := f.Begin(t.Context(), dir+"/none/file")
		requirePathError(t, err, dir+"/none/file", fs.ErrNotExist)
		require.True(t, strings.HasPrefix(err.Error(), "write "))
	})
}

func TestUploadAbort(t *testing.T) {
	eachShell(t, func(t *testing.T, f *FS) {
		dir := t.TempDir()
		u, err := f.Begin(t.Context(), dir+"/file")
		require.NoError(t, err)
		tail := exec.Command("tail", "-f", u.Path) // a writer that hangs
		require.NoError(t, tail.Start())
		ended := make(chan error, 1)
		go func() { ended <- tail.Wait() }()
		require.NoError(t, u.Abort(t.Context()))
		require.Empty(t, names(t, dir))
		if runtime.GOOS != "linux" {
			_ = tail.Process.Kill() // there is no /proc in which Abort could find it
		}
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = tail.Process.Kill()
			<-ended
			t.Fatal("the process was not ended")
		}
	})
}

func TestDiagnose(t *testing.T) {
	eachShell(t, func(t *testing.T, f *FS) {
		dir := t.TempDir()
		requirePathError(t, f.Diagnose(t.Context(), dir+"/none/tree"), dir+"/none/tree", fs.ErrNotExist)
		require.ErrorContains(t, f.Diagnose(t.Context(), dir), "file script ended", "nothing is wrong there")
		require.Empty(t, names(t, dir))
	})
}

func TestRootPath(t *testing.T) {
	for _, c := range []struct {
		script, dir string
		gid         int
		err         error
	}{
		{script: "say 7 /a/b", dir: "/a/b", gid: 7},
		{script: "say /a/b", err: errors.ErrUnsupported},
		{script: "say 7 a/b", err: errors.ErrUnsupported},
		{script: "say", err: errors.ErrUnsupported},
		{script: "say 7 /a/../b", err: errors.ErrUnsupported},
		{script: "echo 7 /a/b", err: shellscript.ErrNoAnswer},
		{script: "exit 1", err: errors.ErrUnsupported},
	} {
		f := &FS{Exec: fakeScript(c.script)}
		dir, gid, err := f.RootPath(t.Context(), To, "/x")
		require.ErrorIs(t, err, c.err)
		require.Equal(t, c.dir, dir)
		require.Equal(t, c.gid, gid)
	}
	f := &FS{Exec: fakeScript("while :; do say 7 /a/b; done")}
	_, _, err := f.RootPath(t.Context(), To, "/x")
	require.ErrorContains(t, err, "too long")
}

// TestRootPathOfThisMachine accepts both outcomes: it depends on the user and on
// what is mounted.
func TestRootPathOfThisMachine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	eachShell(t, func(t *testing.T, f *FS) {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(dir+"/tree", 0o755))
		require.NoError(t, os.Symlink("tree", dir+"/link"))
		for _, d := range []Direction{To, From} {
			got, gid, err := f.RootPath(t.Context(), d, dir+"/link")
			if err != nil {
				require.ErrorIs(t, err, errors.ErrUnsupported)
				continue
			}
			require.Equal(t, dir+"/tree", got)
			require.Equal(t, os.Getgid(), gid)
			_, _, err = f.RootPath(t.Context(), d, dir+"/a b")
			require.ErrorIs(t, err, errors.ErrUnsupported)
		}
	})
}
