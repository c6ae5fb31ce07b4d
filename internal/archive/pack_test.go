//go:build unix

package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPackUnpackRoundTrip packs and unpacks random trees.
func TestPackUnpackRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		dir := t.TempDir()
		src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
		t.Cleanup(func() { // who is not root cannot remove what is in a read-only directory
			_ = filepath.WalkDir(dst, func(name string, entry fs.DirEntry, _ error) error {
				if entry != nil && entry.IsDir() {
					_ = os.Chmod(name, 0o700)
				}
				return nil
			})
		})
		makeRandomTree(t, rng, src, 3)
		p, err := Open(src)
		require.NoError(t, err)
		r, w := io.Pipe()
		go func() { w.CloseWithError(p.Pack(context.Background(), w)) }()
		require.NoError(t, Unpack(r, dst))
		require.NoError(t, p.Close())
		require.Equal(t, describe(t, src), describe(t, dst))
	}
}

func makeRandomTree(t *testing.T, rng *rand.Rand, dir string, depth int) {
	t.Helper()
	require.NoError(t, os.Mkdir(dir, 0o755))
	for range rng.IntN(6) {
		raw := make([]byte, 1+rng.IntN(254))
		for i := range raw {
			if raw[i] = byte(1 + rng.IntN(255)); raw[i] == '/' {
				raw[i] = 'x'
			}
		}
		name := filepath.Join(dir, "x"+string(raw))
		if _, err := os.Lstat(name); err == nil {
			continue
		}
		switch k := rng.IntN(4); {
		case k == 0 && depth > 0:
			makeRandomTree(t, rng, name, depth-1)
		case k == 1:
			require.NoError(t, os.Symlink(string(raw), name))
		default:
			require.NoError(t, os.WriteFile(name, bytes.Repeat(raw, rng.IntN(5000)), 0o600))
			require.NoError(t, os.Chmod(name, fs.FileMode(0o400|rng.IntN(0o1000))))
			stamp := time.Unix(rng.Int64N(2e9), 0)
			require.NoError(t, os.Chtimes(name, stamp, stamp))
		}
	}
	stamp := time.Unix(rng.Int64N(2e9), 0)
	require.NoError(t, os.Chtimes(dir, stamp, stamp))
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	require.NoError(t, os.Chmod(dir, fs.FileMode(0o500|rng.IntN(0o1000))))
}

func describe(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		fmt.Fprintf(&b, "%q %v ", strings.TrimPrefix(name, dir), info.Mode())
		switch info.Mode().Type() {
		case fs.ModeSymlink:
			target, err := os.Readlink(name)
			fmt.Fprintf(&b, "%q %v", target, err)
		case 0:
			data, err := os.ReadFile(name)
			fmt.Fprintf(&b, "%x %v %v", data, err, info.ModTime())
		default:
			fmt.Fprint(&b, info.ModTime())
		}
		b.WriteByte('\n')
		return nil
	}))
	return b.String()
}

func TestOpenRefusesSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	_, err := Open(fifo)
	require.ErrorIs(t, err, fs.ErrInvalid)
	_, err = Open("a\x00b")
	require.ErrorIs(t, err, fs.ErrInvalid)
	_, _, err = OpenRegular(fifo) // must not wait for a writer
	require.ErrorIs(t, err, ErrSpecial)
	_, _, err = OpenRegular(dir)
	require.ErrorIs(t, err, syscall.EISDIR)
	_, _, err = OpenRegular(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestPackContextCanceled(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600))
	src, err := Open(dir)
	require.NoError(t, err)
	defer src.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, src.Pack(ctx, io.Discard), context.Canceled)
	require.NoError(t, src.Pack(t.Context(), io.Discard))
}

func TestRepack(t *testing.T) {
	in := tarOf(t, dirEntry("x"), fileEntry("x/f"), hardEntry("x/h", "x/f"), linkEntry("x/l", "/etc"), tar.Header{Typeflag: tar.TypeFifo, Name: "x/p"})
	tr := tar.NewReader(bytes.NewReader(in))
	first, err := tr.Next()
	require.NoError(t, err)
	r := Repack(first, tr, func(rel string) string { return "to/" + rel }, func(h *tar.Header) { h.Gid = 7 })
	defer r.Close()
	var got []string
	for out := tar.NewReader(r); ; {
		h, err := out.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		data, err := io.ReadAll(out)
		require.NoError(t, err)
		assert.Equal(t, 7, h.Gid)
		assert.EqualValues(t, 0o777, h.Mode)
		got = append(got, fmt.Sprint(h.Name, " ", h.Linkname, " ", string(data)))
	}
	require.Equal(t, []string{"to/  ", "to/f  x/f", "to/h to/f ", "to/l /etc "}, got)
}

func TestRepackRefusesNamesThatLeadOut(t *testing.T) {
	tr := tar.NewReader(bytes.NewReader(tarOf(t, dirEntry("x"), fileEntry("x/../y"))))
	first, err := tr.Next()
	require.NoError(t, err)
	r := Repack(first, tr, func(rel string) string { return rel }, nil)
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	require.ErrorIs(t, err, fs.ErrInvalid)
	require.True(t, IsPathError(err))
}

func TestReplaceFile(t *testing.T) {
	write := func(text string) func(*os.File) error {
		return func(f *os.File) error { _, err := f.WriteString(text); return err }
	}
	dir := t.TempDir()
	name, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	require.NoError(t, os.Symlink("file", link))

	require.NoError(t, ReplaceFile(link, 0o640, time.Unix(1_000_000_000, 0), write("new")), "dangling link")
	info, err := os.Lstat(name)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o640), info.Mode())
	require.Equal(t, int64(1_000_000_000), info.ModTime().Unix())

	failed := fmt.Errorf("no more")
	require.ErrorIs(t, ReplaceFile(link, 0o600, time.Time{}, func(f *os.File) error {
		_, _ = f.WriteString("part")
		return failed
	}), failed)
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "new", string(data))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2)

	require.NoError(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	for target, want := range map[string]error{dir: syscall.EISDIR, filepath.Join(dir, "loop"): syscall.ELOOP, "/dev/null": ErrSpecial, dir + "/none/f": fs.ErrNotExist} {
		err := ReplaceFile(target, 0o600, time.Time{}, write("x"))
		require.ErrorIs(t, err, want)
		require.False(t, IsPathError(err), "the path is the caller's to add")
	}
}
