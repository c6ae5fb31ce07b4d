//go:build unix

package posixfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal/internal/archive"
	"github.com/terminal-go/terminal/internal/spawn"
)

const maxTestFile = 1 << 20

// run returns an Exec that runs scripts on this machine with the given shell. When
// ctx ends, it kills the script's process group.
func run(shell ...string) func(context.Context, spawn.Command) (int, error) {
	return func(ctx context.Context, c spawn.Command) (int, error) {
		cmd := exec.CommandContext(ctx, shell[0], append(slices.Clone(shell[1:]), "-c", c.Script)...)
		cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Dir, c.Stdin, c.Stdout, c.Stderr
		cmd.Env = os.Environ()
		for name, value := range c.Env {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		err := cmd.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) && ctx.Err() == nil {
			return exit.ExitCode(), nil
		}
		return 0, err
	}
}

// fakeScript returns an Exec that runs text instead of file.sh.
func fakeScript(text string) func(context.Context, spawn.Command) (int, error) {
	return func(ctx context.Context, c spawn.Command) (int, error) {
		begin := strings.SplitAfterN(c.Script, "\n", 3) // Quiet and the mark
		_, word, _ := strings.Cut(c.Script, "fs_word=")
		word, _, _ = strings.Cut(word, "\n")
		say := "say() { printf '\\n%s\\n%s\\n%s\\n' " + word + " \"$*\" " + word + "; }\n"
		c.Script = begin[0] + begin[1] + say + text
		return run("/bin/sh")(ctx, c)
	}
}

// eachShell runs test with every shell of this machine that is supported. busybox
// comes with its own tools.
func eachShell(t *testing.T, test func(t *testing.T, f *FS)) {
	t.Helper()
	for _, shell := range []string{"/bin/sh", "dash", "bash", "busybox"} {
		t.Run(filepath.Base(shell), func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skip(err)
			}
			f := &FS{Exec: run(path), MaxFile: maxTestFile}
			if shell == "busybox" {
				bin := t.TempDir()
				require.NoError(t, exec.Command(path, "--install", "-s", bin).Run())
				f.Exec, f.Env = run(path, "sh"), map[string]string{"PATH": bin}
			}
			test(t, f)
		})
	}
}

// requirePathError checks that err is about name and matches want.
func requirePathError(t *testing.T, err error, name string, want error) {
	t.Helper()
	var p *fs.PathError
	require.ErrorAs(t, err, &p, "%v", err)
	require.Equal(t, name, p.Path)
	require.ErrorIs(t, err, want)
}

// names returns the names in dir, so that a temporary file that is left shows.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, entry := range entries {
		list = append(list, entry.Name())
	}
	return list
}

func TestWriteFileReadFile(t *testing.T) {
	eachShell(t, func(t *testing.T, f *FS) {
		dir := t.TempDir()
		content := map[string][]byte{
			"empty":           nil,
			"text":            []byte("it's $HOME\\n `id`\n\n"),
			"NUL":             []byte("a\x00b"),
			"not UTF-8 \xff":  []byte("\xff\xfe"),
			"binary":          bytes.Repeat([]byte{0, 1, 254, '\n'}, shortText),
			"newline\n":       bytes.Repeat([]byte("long "), shortText),
			"-rf":             bytes.Repeat([]byte("'"), shortText), // too long once it is quoted
			"it's a \"name\"": []byte("x"),
		}
		for name, data := range content {
			path := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(path, []byte("old"), 0o444))
			require.NoError(t, f.WriteFile(t.Context(), path, bytes.NewBuffer(data), 0o640), "%q", name)
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, fs.FileMode(0o640), info.Mode())
			var out bytes.Buffer
			require.NoError(t, f.ReadFile(t.Context(), path, &out))
			require.Equal(t, string(data), out.String(), "%q", name)
		}
		require.Len(t, names(t, dir), len(content))
	})
}

func TestWriteFileFollowsLinks(t *testing.T) {
	eachShell(t, func(t *testing.T, f *FS) {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(dir+"/sub", 0o755))
		require.NoError(t, os.Symlink("sub/second\n", dir+"/first"))
		require.NoError(t, os.Symlink("../target", dir+"/sub/second\n"))
		require.NoError(t, f.WriteFile(t.Context(), dir+"/first", strings.NewReader("x"), 0o600))
		data, err := os.ReadFile(dir + "/target")
		require.NoError(t, err)
		require.Equal(t, "x", string(data))
		require.Equal(t, []string{"first", "sub", "target"}, names(t, dir))
	})
}

func TestErrors(t *testing.T) {
	eachShell(t, func(t *testing.T, f *FS) {
		dir := t.TempDir()
		file, fifo, loop, large := dir+"/file", dir+"/fifo", dir+"/loop", dir+"/large"
		require.NoError(t, os.WriteFile(file, []byte("old"), 0o600))
		require.NoError(t, syscall.Mkfifo(fifo, 0o600))
		require.NoError(t, os.Symlink("loop", loop))
		require.NoError(t, os.WriteFile(large, make([]byte, maxTestFile+1), 0o600))
		before := names(t, dir)
		read := func(name string) error { return f.ReadFile(t.Context(), name, io.Discard) }
		write := func(name string) error { return f.WriteFile(t.Context(), name, strings.NewReader("x"), 0o600) }
		from := func(name string) error { return f.CopyFrom(t.Context(), name, io.Discard) }
		to := func(name string) error { return f.CopyTo(t.Context(), name, bytes.NewReader(smallTree(t))) }
		for _, c := range []struct {
			what string
			do   func(name string) error
			name string
			want error
		}{
			{"read", read, dir + "/none", fs.ErrNotExist},
			{"read", read, dir + "/none/file", fs.ErrNotExist},
			{"read", read, file + "/file", syscall.ENOTDIR},
			{"read", read, dir, syscall.EISDIR},
			{"read", read, fifo, fs.ErrInvalid},
			{"read", read, large, spawn.ErrTooLarge},
			{"write", write, dir + "/none/file", fs.ErrNotExist},
			{"write", write, file + "/file", syscall.ENOTDIR},
			{"write", write, dir, syscall.EISDIR},
			{"write", write, fifo, fs.ErrInvalid},
			{"write", write, loop, syscall.ELOOP},
			{"copy", from, dir + "/none", fs.ErrNotExist},
			{"copy", from, fifo, fs.ErrInvalid},
			{"copy", to, file, syscall.ENOTDIR},
			{"copy", to, dir + "/none/tree", fs.ErrNotExist},
		} {
			err := c.do(c.name)
			requirePathError(t, err, c.name, c.want)
			assert.True(t, strings.HasPrefix(err.Error(), c.what+" "), "%v", err)
		}
		require.Equal(t, before, names(t, dir))
		require.EqualError(t, read(large), "read "+large+": file is too large: more than 1048576 bytes; CopyFrom takes any size")
	})
}

func smallTree(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "x/", Mode: 0o755, ModTime: time.Unix(1, 0)}))
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "x/file", Size: 4, Mode: 0o640, ModTime: time.Unix(1, 0)}))
	_, err := io.WriteString(w, "data")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestCopyTree(t *testing.T) {
	eachShell(t, func(t *testing.T, f *FS) {
		dir := t.TempDir()
		there, back := dir+"/it's there", dir+"/back"
		require.NoError(t, f.CopyTo(t.Context(), there, bytes.NewReader(smallTree(t))))
		require.NoError(t, os.Symlink("/etc", there+"/link"))
		var out bytes.Buffer
		require.NoError(t, f.CopyFrom(t.Context(), there, &out))
		require.NoError(t, archive.Unpack(&out, back))
		for _, tree := range []string{there, back} {
			require.Equal(t, []string{"file", "link"}, names(t, tree))
			info, err := os.Stat(tree + "/file")
			require.NoError(t, err)
			require.Equal(t, fs.FileMode(0o640), info.Mode())
			require.EqualValues(t, 1, info.ModTime().Unix())
		}
	})
}

func TestCopyFile(t *testing.T) {
	eachShell(t, func(t *testing.T, f *FS) {
		dir := t.TempDir()
		data := bytes.Repeat([]byte("0123456\x00"), 1<<16)
		require.NoError(t, os.WriteFile(dir+"/src", data, 0o754))
		require.NoError(t, os.Chtimes(dir+"/src", time.Unix(1_000_000_000, 0), time.Unix(1_000_000_000, 0)))
		src, err := archive.Open(dir + "/src")
		require.NoError(t, err)
		var in, out bytes.Buffer
		require.NoError(t, src.Pack(t.Context(), &in))
		require.NoError(t, src.Close())
		require.NoError(t, f.CopyTo(t.Context(), dir+"/there", &in))
		require.NoError(t, f.CopyFrom(t.Context(), dir+"/there", &out))
		require.NoError(t, archive.Unpack(&out, dir+"/back"))
		for _, name := range []string{dir + "/there", dir + "/back"} {
			got, err := os.ReadFile(name)
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, got))
			info, err := os.Stat(name)
			require.NoError(t, err)
			require.Equal(t, fs.FileMode(0o754), info.Mode())
			require.EqualValues(t, 1_000_000_000, info.ModTime().Unix())
		}
	})
}

func TestCopyTreeWithoutTar(t *testing.T) {
	bin := t.TempDir()
	for _, tool := range []string{"cat", "chmod", "date", "ls", "mv", "readlink", "rm", "touch"} {
		path, err := exec.LookPath(tool)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(bin, tool)))
	}
	f := &FS{Exec: run("/bin/sh"), Env: map[string]string{"PATH": bin}, MaxFile: maxTestFile}
	dir := t.TempDir()
	for _, err := range []error{
		f.CopyTo(t.Context(), dir+"/dst", bytes.NewReader(smallTree(t))),
		f.CopyFrom(t.Context(), dir, io.Discard),
	} {
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.ErrorContains(t, err, "no tar")
	}
	require.NoDirExists(t, dir+"/dst")
	require.NoError(t, f.WriteFile(t.Context(), dir+"/file", strings.NewReader("x"), 0o600))
	require.NoError(t, f.CopyFrom(t.Context(), dir+"/file", io.Discard))
}

// TestWriteTruncated has input with less content than announced.
func TestWriteTruncated(t *testing.T) {
	eachShell(t, func(t *testing.T, f *FS) {
		dir := t.TempDir()
		name := dir + "/file"
		require.NoError(t, os.WriteFile(name, []byte("old"), 0o600))
		requirePathError(t, f.write(t.Context(), name, strings.NewReader("short"), shortText+1, 0o600, time.Time{}), name, io.ErrUnexpectedEOF)
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, "old", string(data))
		require.Equal(t, []string{"file"}, names(t, dir))
	})
}

func TestReaderErrorStartsNothing(t *testing.T) {
	f := &FS{Exec: func(context.Context, spawn.Command) (int, error) { panic("unexpected Exec") }}
	broken := errors.New("broken")
	r := io.MultiReader(strings.NewReader("part"), &failing{broken})
	require.ErrorIs(t, f.WriteFile(t.Context(), "/file", r, 0o600), broken)
	require.ErrorIs(t, f.CopyTo(t.Context(), "/file", strings.NewReader("")), io.ErrUnexpectedEOF)
}

// failing is a reader and writer that fails.
type failing struct{ err error }

func (f *failing) Read([]byte) (int, error)  { return 0, f.err }
func (f *failing) Write([]byte) (int, error) { return 0, f.err }

func TestWriterErrorEndsScript(t *testing.T) {
	broken := errors.New("broken")
	f := &FS{Exec: fakeScript("echo f 1 -rw-r--r--; exec sleep 600"), MaxFile: maxTestFile}
	start := time.Now()
	require.ErrorIs(t, f.CopyFrom(t.Context(), "/file", &failing{broken}), broken)
	require.ErrorIs(t, f.ReadFile(t.Context(), "/file", &failing{broken}), broken)
	require.Less(t, time.Since(start), time.Minute)
}

func TestCleanRemovesTemporaryFiles(t *testing.T) {
	eachShell(t, func(t *testing.T, f *FS) {
		shell, lost := f.Exec, errors.New("connection lost")
		f.Exec = func(ctx context.Context, c spawn.Command) (int, error) {
			c.Script = "chmod() { kill -9 $$; }\n" + c.Script // before it gets its name
			_, _ = shell(ctx, c)
			return 0, lost
		}
		dir := t.TempDir()
		require.Equal(t, lost, f.WriteFile(t.Context(), dir+"/file", strings.NewReader("x"), 0o600))
		require.Len(t, names(t, dir), 1)
		f.Exec = shell
		f.Clean(t.Context())
		require.Empty(t, names(t, dir))
		require.Empty(t, f.unfinished)
	})
}

func TestUnknownExitCode(t *testing.T) {
	f := &FS{Exec: fakeScript("echo boom >&2; exit 3")}
	err := f.ReadFile(t.Context(), "/file", io.Discard)
	require.EqualError(t, err, "read /file: file script ended with code 3: boom")
	f.Exec = fakeScript("yes boom | head -c 100000 >&2; exit 3")
	require.Less(t, len(f.ReadFile(t.Context(), "/file", io.Discard).Error()), maxStderr+100)
}

func TestCopyFromUnexpectedAnswer(t *testing.T) {
	for _, text := range []string{"x", "f", "f 1 -", "f x -rw-r--r--", "f " + strings.Repeat("9", 200), "f -1 -rw-r--r-- 0"} {
		f := &FS{Exec: fakeScript("echo '" + text + "'")}
		require.Error(t, f.CopyFrom(t.Context(), "/file", io.Discard), "%q", text)
	}
	f := &FS{Exec: fakeScript(":")}
	require.ErrorIs(t, f.CopyFrom(t.Context(), "/file", io.Discard), io.ErrUnexpectedEOF)
	f.Exec = fakeScript("echo f 9 -rw-r--r-- 0; echo short")
	require.ErrorIs(t, f.CopyFrom(t.Context(), "/file", io.Discard), io.ErrUnexpectedEOF)
}

func TestParseMode(t *testing.T) {
	for text, mode := range map[string]int64{
		"-rw-r--r--": 0o644, "-rwsr-Sr-t": 0o745, "-rwxrwxrwT.": 0o776, "----------+": 0,
	} {
		assert.Equal(t, fmt.Sprintf("%o", mode), fmt.Sprintf("%o", parseMode(text)), text)
	}
}

// TestScriptLength has the longest script that travels as an argument; see
// shortText.
func TestScriptLength(t *testing.T) {
	r := request{
		op:     "write",
		target: newTarget(strings.Repeat("\xff", archive.MaxPath)),
		vars:   append(metadata(1<<60, 0o777, time.Now()), "fs_form", "text", "fs_text", strings.Repeat("''xxxxxx", shortText/8)),
	}
	assert.Less(t, len(r.script()), 48<<10)
	t.Logf("file.sh itself has %d bytes", len(script()))
}
