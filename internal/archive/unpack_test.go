//go:build unix

package archive

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A sandbox is a directory dst to unpack into, beside files that must not change.
// dst has links to the outside, and a hard link to a file there, from the start.
type sandbox struct {
	dir, dst string
	before   string // outside, before anything is unpacked
}

func newSandbox(t testing.TB) *sandbox {
	t.Helper()
	c := &sandbox{dir: t.TempDir()}
	c.dst = filepath.Join(c.dir, "dst")
	outside := filepath.Join(c.dir, "outside")
	for _, dir := range []string{c.dst, outside, c.dst + "/sub"} {
		require.NoError(t, os.Mkdir(dir, 0o755))
	}
	victim := filepath.Join(outside, "victim")
	require.NoError(t, os.WriteFile(victim, []byte("victim"), 0o640))
	require.NoError(t, os.Symlink("../outside", c.dst+"/out"))
	require.NoError(t, os.Symlink(outside, c.dst+"/abs"))
	require.NoError(t, os.Symlink("../outside/victim", c.dst+"/tovictim"))
	require.NoError(t, os.Symlink("../outside/new", c.dst+"/dangling"))
	require.NoError(t, os.Symlink("../../outside", c.dst+"/sub/out"))
	shared := filepath.Join(outside, "shared")
	require.NoError(t, os.WriteFile(shared, []byte("shared"), 0o640))
	require.NoError(t, os.Link(shared, c.dst+"/hard"))
	past := time.Unix(1_000_000_000, 0)
	for _, name := range []string{victim, shared, outside, c.dir} {
		require.NoError(t, os.Chtimes(name, past, past))
	}
	c.before = c.outside(t)
	return c
}

// outside describes everything in dir that is not in dst.
func (c *sandbox) outside(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(c.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if name == c.dst {
			return fs.SkipDir
		}
		fmt.Fprintln(&b, name, info.Mode(), info.ModTime().UnixNano())
		if d.Name() == "victim" { // shared has a name in dst, which an archive may replace or link
			fmt.Fprintln(&b, "links:", info.Sys().(*syscall.Stat_t).Nlink)
		}
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(name)
			fmt.Fprintln(&b, string(data), err)
		}
		return nil
	})
	require.NoError(t, err)
	return b.String()
}

// unpack unpacks an archive into dst and fails the test if that changed anything
// outside.
func (c *sandbox) unpack(t testing.TB, archive io.Reader) error {
	t.Helper()
	err := Unpack(archive, c.dst)
	require.Equal(t, c.before, c.outside(t), "something outside was changed (%v)", err)
	return err
}

// tarOf returns an archive with the given headers. The content of a file is its
// name.
func tarOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Mode == 0 {
			h.Mode = 0o7777
		}
		h.ModTime = time.Unix(1_234_567_890, 0)
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		require.NoError(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := io.WriteString(w, h.Name)
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func dirEntry(name string) tar.Header  { return tar.Header{Typeflag: tar.TypeDir, Name: name + "/"} }
func fileEntry(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
func linkEntry(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
}

func hardEntry(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to}
}

// hostile archives would write or link outside of dst, or replace a directory.
var hostile = map[string][]tar.Header{
	"a name that leads up":                {fileEntry("./../outside/victim")},
	"a name that leads up further in":     {fileEntry("./sub/../../outside/victim")},
	"an absolute name":                    {fileEntry("/etc/terminal-test")},
	"a doubled slash":                     {fileEntry(".//outside/victim")},
	"a name without the root's":           {fileEntry("../outside/victim")},
	"through a link that was there":       {fileEntry("./out/victim")},
	"through an absolute link":            {fileEntry("./abs/new")},
	"through a deeper link":               {fileEntry("./sub/out/victim")},
	"through a link of the archive":       {linkEntry("./l", "../outside"), fileEntry("./l/victim")},
	"through two links":                   {linkEntry("./l", "sub/out"), fileEntry("./l/victim")},
	"through a link that stays inside":    {linkEntry("./l", "sub"), fileEntry("./l/new")},
	"a directory over a link":             {dirEntry("./out"), fileEntry("./out/new")},
	"a directory over the archive's link": {linkEntry("./l", "../outside"), dirEntry("./l"), fileEntry("./l/new")},
	"a hard link to the outside":          {hardEntry("./h", "./../outside/victim"), fileEntry("./h")},
	"a hard link, absolute":               {hardEntry("./h", "/etc/passwd")},
	"a hard link through a link":          {hardEntry("./h", "./out/victim")},
	"a hard link into a link":             {hardEntry("./out/h", "./hard")},
	"a hard link to a directory":          {hardEntry("./h", "./sub")},
	"a file over a directory":             {fileEntry("./sub")},
	"a link over a directory":             {linkEntry("./sub", "../outside"), fileEntry("./sub/victim")},
	"a file for the root":                 {fileEntry(".")},
	"a link for the root":                 {linkEntry("./", "../outside")},
}

// harmless archives look like the hostile ones and must be unpacked.
var harmless = map[string][]tar.Header{
	"a file over a link":          {fileEntry("./tovictim"), fileEntry("./dangling"), fileEntry("./out")},
	"a file over a hard link":     {fileEntry("./hard")},
	"a link over a link":          {linkEntry("./out", "/etc"), linkEntry("./tovictim", "/etc/passwd")},
	"twice the same":              {fileEntry("./f"), fileEntry("./f"), linkEntry("./f", "x"), fileEntry("./f"), dirEntry("./d"), dirEntry("./d")},
	"a link and then a directory": {linkEntry("./l", "sub"), fileEntry("./new/f")},
	"hard links":                  {fileEntry("./f"), hardEntry("./g", "./f"), hardEntry("./g", "./f"), linkEntry("./l", "/etc"), hardEntry("./m", "./l")},
	"devices": {
		{Typeflag: tar.TypeChar, Name: "./null", Devmajor: 1, Devminor: 3},
		{Typeflag: tar.TypeBlock, Name: "./disk", Devmajor: 8},
		{Typeflag: tar.TypeFifo, Name: "./fifo"},
	},
	"names that only look odd": {fileEntry("./..foo"), fileEntry("./..."), fileEntry("./-rf"), fileEntry("./a\nb"), fileEntry("./\xff")},
}

func TestUnpackStaysBelowDestination(t *testing.T) {
	for name, headers := range hostile {
		t.Run(name, func(t *testing.T) {
			c := newSandbox(t)
			err := c.unpack(t, bytes.NewReader(tarOf(t, append([]tar.Header{dirEntry(".")}, headers...)...)))
			var p *fs.PathError
			require.ErrorAs(t, err, &p)
			assertTidy(t, c.dst)
		})
	}
	for name, headers := range harmless {
		t.Run(name, func(t *testing.T) {
			c := newSandbox(t)
			require.NoError(t, c.unpack(t, bytes.NewReader(tarOf(t, append([]tar.Header{dirEntry(".")}, headers...)...))))
			assertTidy(t, c.dst)
			for _, h := range headers {
				if h.Typeflag == tar.TypeReg && h.Name != "./f" {
					data, err := os.ReadFile(filepath.Join(c.dst, h.Name))
					require.NoError(t, err)
					assert.Equal(t, h.Name, string(data))
				}
			}
		})
	}
}

// assertTidy checks that dir has no temporary file, no device and no file with
// set-user-id, set-group-id or sticky bits.
func assertTidy(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		assert.False(t, strings.HasPrefix(d.Name(), ".terminal-"), "%s is left", name)
		assert.Zero(t, info.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky|fs.ModeDevice|fs.ModeNamedPipe), "%s: %v", name, info.Mode())
		return nil
	}))
}

func TestUnpackRefusesOtherFirstEntries(t *testing.T) {
	for name, headers := range map[string][]tar.Header{
		"a link":               {linkEntry("x", "/etc")},
		"a device":             {{Typeflag: tar.TypeChar, Name: "x"}},
		"a file and more":      {fileEntry("x"), fileEntry("x")},
		"a file and a tree":    {fileEntry("x"), fileEntry("x/y")},
		"a hard link":          {hardEntry("x", "outside/victim")},
		"a tree and a sibling": {dirEntry("x"), fileEntry("xy")},
	} {
		t.Run(name, func(t *testing.T) {
			c := newSandbox(t)
			dst := c.dst
			c.dst = filepath.Join(dst, "new")
			require.Error(t, Unpack(bytes.NewReader(tarOf(t, headers...)), c.dst))
			c.dst = dst
			require.Equal(t, c.before, c.outside(t))
		})
	}
}

func TestUnpackRefusesLongPaths(t *testing.T) {
	deep := strings.Repeat("a/", 100_000)
	for _, h := range []tar.Header{dirEntry("x/" + deep + "d"), fileEntry("x/" + deep + "f"), hardEntry("x/h", "x/"+deep+"f")} {
		h.Format = tar.FormatGNU
		dst := filepath.Join(t.TempDir(), "new")
		require.ErrorIs(t, Unpack(bytes.NewReader(tarOf(t, dirEntry("x"), h)), dst), syscall.ENAMETOOLONG)
		made, err := os.ReadDir(dst)
		require.NoError(t, err)
		require.Empty(t, made)
	}
}

func TestUnpackTruncatedArchive(t *testing.T) {
	whole := tarOf(t, dirEntry("tree"), fileEntry("tree/a"), linkEntry("tree/l", "a"), fileEntry("tree/"+strings.Repeat("n", 200)))
	dir := t.TempDir()
	for n := 0; n < len(whole)-512; n += 64 { // one block of zeros is enough of an end
		err := Unpack(iotest.OneByteReader(bytes.NewReader(whole[:n])), filepath.Join(dir, "dst"))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%d of %d bytes", n, len(whole))
	}
	require.NoError(t, Unpack(bytes.NewReader(whole), filepath.Join(dir, "dst")))
	assertTidy(t, dir)

	single := tarOf(t, fileEntry("f"))
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("old"), 0o600))
	for n := 0; n < len(single)-1024; n += 16 {
		require.ErrorIs(t, Unpack(bytes.NewReader(single[:n]), file), io.ErrUnexpectedEOF, "%d bytes", n)
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		if n < 513 {
			require.Equal(t, "old", string(data), "%d bytes", n)
		}
	}
	assertTidy(t, dir)

	endless := io.MultiReader(bytes.NewReader(whole), zeros{})
	require.ErrorContains(t, Unpack(endless, filepath.Join(dir, "dst")), "behind its end")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestUnpackManyDirectories(t *testing.T) {
	const many = 5000
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range many {
		name := "./"
		if i > 0 {
			name = fmt.Sprintf("./d%d/", i)
		}
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o500}))
	}
	require.NoError(t, w.Close())
	dst := filepath.Join(t.TempDir(), "dst")
	require.NoError(t, Unpack(&b, dst))
	require.NoError(t, os.Chmod(dst, 0o700))
	entries, err := os.ReadDir(dst)
	require.NoError(t, err)
	require.Len(t, entries, many-1)
}

// FuzzUnpack unpacks archives that are made of names and links which could lead
// outside, and raw bytes.
func FuzzUnpack(f *testing.F) {
	names := []string{
		"./", ".", "..", "a", "b", "sub", "out", "abs", "hard", "tovictim", "dangling", "outside", "victim", "", "/", "../outside/victim",
		"./a", "./a/b", "./out/victim", "./sub/out/victim", "./a/../..", "./b", "./sub", "./sub/a", "../outside", "/etc", "./hard", "./out",
	}
	types := []byte{tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeFifo, tar.TypeReg, tar.TypeDir, tar.TypeSymlink}
	f.Add([]byte{0, 2, 3, 24, 0, 3, 17, 0}, false)
	f.Add([]byte{1, 0, 0, 2, 16, 24, 0, 17, 0, 3, 21, 18, 1, 22, 1}, false)
	f.Add(tarOf(f, dirEntry("."), linkEntry("./l", "../outside"), fileEntry("./l/victim")), true)
	f.Add(tarOf(f, fileEntry("f")), true)
	f.Fuzz(func(t *testing.T, data []byte, raw bool) {
		c := newSandbox(t)
		defer func() {
			_ = filepath.WalkDir(c.dst, func(name string, d fs.DirEntry, _ error) error {
				if d != nil && d.IsDir() {
					_ = os.Chmod(name, 0o700)
				}
				return nil
			})
		}()
		if raw {
			_ = c.unpack(t, bytes.NewReader(data))
			return
		}
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755})
		for ; len(data) >= 4; data = data[4:] {
			pick := func(i byte) string { return names[int(i)%len(names)] }
			h := &tar.Header{
				Typeflag: types[int(data[0])%len(types)], Name: pick(data[1]), Linkname: pick(data[2]),
				Mode: int64(data[3])<<4 | 0o600, Format: tar.FormatGNU,
			}
			if data[3]%2 == 1 {
				h.Name = "./" + pick(data[3]/2) + "/" + h.Name
			}
			if h.Typeflag == tar.TypeReg {
				h.Size, h.Linkname = 3, ""
			}
			if w.WriteHeader(h) == nil && h.Typeflag == tar.TypeReg {
				_, _ = w.Write([]byte("new"))
			}
		}
		_ = w.Close()
		_ = c.unpack(t, &b)
	})
}
