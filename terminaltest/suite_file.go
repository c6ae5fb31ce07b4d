package terminaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/terminal-go/terminal"
)

// File transfers.
var fileTests = []subtest{
	{name: "a file is read back byte for byte as it was written", test: fileBytes},
	{name: "a written file has the mode that was asked for and the owner of what commands make", test: fileMode},
	{name: "a relative name is taken from Config.Dir", test: fileRelative},
	{name: "a file is replaced at once and nothing else is left", test: fileAtomic},
	{name: "a write through a symbolic link leaves the link", test: fileThroughLink},
	{name: "a file that cannot be read or written is an error that says why", test: fileErrors},
	{name: "a file of more than MaxFile is refused", test: fileTooLarge},
	{name: "a file that has no size is read", test: fileWithoutSize},
	{name: "a file is copied in and out with its mode and time", test: fileCopy},
	{name: "a tree is copied in and out with its links and whatever its names", test: treeCopy},
	{name: "a tree is merged into a directory that is there", test: treeMerge},
	{name: "a copy that cannot be made is an error that says why", test: copyErrors},
	{name: "a cancelled transfer ends and leaves nothing", test: fileCancelled},
	{name: "files of a closed Terminal are ErrClosed", test: fileClosed},
}

// oddBytes returns all byte values, after a start that no text has.
func oddBytes() []byte {
	all := []byte{0, 0xff, '\r', '\n', 0}
	for i := range 256 {
		all = append(all, byte(i))
	}
	return append(all, "no newline at the end"...)
}

// read returns the content of a file in the lab's directory, which must exist.
func (l *lab) read(term *terminal.Terminal, name string) string {
	l.Helper()
	var data []byte
	var err error
	l.within(patience+grace, "ReadFile", func() { data, err = term.ReadFile(context.Background(), "", l.text(name)) })
	if err != nil {
		l.Fatalf("ReadFile(%s): %v", name, err)
	}
	return string(data)
}

// write writes a file in the lab's directory.
func (l *lab) write(term *terminal.Terminal, name, data string, perm fs.FileMode) {
	l.Helper()
	var err error
	l.within(patience+grace, "WriteFile", func() {
		err = term.WriteFile(context.Background(), "", l.text(name), []byte(data), perm)
	})
	if err != nil {
		l.Fatalf("WriteFile(%s): %v", name, err)
	}
}

// copied ends the subtest if a copy failed, and skips it if copies are not
// supported.
func (l *lab) copied(what string, err error) {
	l.Helper()
	if errors.Is(err, errors.ErrUnsupported) {
		l.Skipf("directories cannot be copied here: %v", err)
	}
	if err != nil {
		l.Fatalf("%s: %v", what, err)
	}
}

func (l *lab) copyTo(term *terminal.Terminal, src, dst string) {
	l.Helper()
	var err error
	l.within(time.Minute, "CopyTo", func() { err = term.CopyTo(context.Background(), "", src, l.text(dst)) })
	l.copied("CopyTo "+dst, err)
}

func (l *lab) copyFrom(term *terminal.Terminal, src, dst string) {
	l.Helper()
	var err error
	l.within(time.Minute, "CopyFrom", func() { err = term.CopyFrom(context.Background(), "", l.text(src), dst) })
	l.copied("CopyFrom "+src, err)
}

func fileBytes(l *lab) {
	term := l.terminal(terminal.Config{})
	large := bytes.Repeat(oddBytes(), 4000) // over a megabyte
	for _, c := range []struct{ name, data string }{
		{"@D/odd", string(oddBytes())},
		{"@D/empty", ""},
		{"@D/newlines", "\n\n"},
		{"@D/large", string(large)},
		{"@D/odd", "shorter"},
		{"@D/-n '\"$x\n é \x01", "odd name"},
		{"@D/not \xff\xfe UTF-8\n", "odd bytes in a name"},
		{"@D/" + longName, "long name"},
	} {
		l.write(term, c.name, c.data, 0o600)
		if got := l.read(term, c.name); got != c.data {
			l.Errorf("%q: read %s, want %s", c.name, brief(got), brief(c.data))
		}
	}
	if out := l.sh(term, "wc -c <@D/large"); strings.TrimSpace(out) != itoa(len(large)) {
		l.Errorf("a command finds %q bytes, want %d", out, len(large))
	}
	l.sh(term, `printf 'a\0b' >@D/made`)
	if got := l.read(term, "@D/made"); got != "a\x00b" {
		l.Errorf("of what a command wrote, read %q", got)
	}
}

func fileMode(l *lab) {
	term := l.terminal(terminal.Config{})
	l.sh(term, ": >@D/made")
	made := l.row(term, "@D/made")
	for _, perm := range []fs.FileMode{0o600, 0o666, 0o755, 0o444, 0o777} {
		for range 2 { // a new file, and one that is there
			l.write(term, "@D/file", "x", perm)
			row := l.row(term, "@D/file")
			if row[0] != perm.String() || row[1] != made[1] || row[2] != made[2] {
				l.Errorf("ls says %v, want %v and the owner of %v", row, perm, made)
			}
		}
	}
	l.write(term, "@D/script", "#!/bin/sh\necho ran", 0o755)
	if out := l.sh(term, "@D/script"); out != "ran\n" {
		l.Errorf("a script that was written: output %q", out)
	}
}

// row returns mode, owner and group of a file as ls prints them.
func (l *lab) row(term *terminal.Terminal, name string) [3]string {
	l.Helper()
	f := strings.Fields(l.sh(term, "ls -ldn "+name))
	if len(f) < 4 || len(f[0]) < 10 {
		l.Fatalf("ls -ldn %s: %q", name, f)
	}
	return [3]string{f[0][:10], f[2], f[3]}
}

func fileRelative(l *lab) {
	l.terminal(terminal.Config{}) // where environments share a /tmp, or else:
	term, err := terminal.New(terminal.Config{Backend: l.b, Dir: l.dir})
	if err != nil {
		l.Fatalf("New: %v", err)
	}
	defer term.Close()
	if res, err := l.run(term, terminal.Request{Command: "mkdir -p @D/sub", Dir: "/"}); err != nil || res.ExitCode != 0 {
		l.Fatalf("mkdir: %v, %+v", err, res)
	}
	l.write(term, "sub/file", "here", 0o600)
	if got := l.read(term, l.dir+"/sub/file"); got != "here" {
		l.Errorf("read %q", got)
	}
	if got := l.read(term, "./sub/../sub/file"); got != "here" {
		l.Errorf("read %q", got)
	}
}

func fileAtomic(l *lab) {
	term := l.terminal(terminal.Config{})
	texts := [2]string{strings.Repeat("a", 300<<10), strings.Repeat("b", 200<<10)}
	l.sh(term, "mkdir @D/sub")
	l.write(term, "@D/sub/file", texts[0], 0o644)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// One command reads all the time and checks that it never sees a mixture.
	wait := l.start(ctx, term, terminal.Request{Timeout: time.Minute, Command: `: >@D/looking; n=0
while [ ! -e @D/stop ]; do
	case $(tr -s ab <@D/sub/file) in a|b) n=$((n+1)) ;; *) echo torn; exit 1 ;; esac
	case $(wc -c <@D/sub/file) in *307200*|*204800*) ;; *) echo part; exit 1 ;; esac
done; [ $n -gt 0 ]`})
	l.sh(term, "sh @D/await @D/looking")
	for i := range 10 {
		l.write(term, "@D/sub/file", texts[(i+1)%2], 0o644)
		if got := l.read(term, "@D/sub/file"); got != texts[(i+1)%2] {
			l.Errorf("read %s", brief(got))
		}
	}
	l.sh(term, ": >@D/stop")
	l.within(time.Minute, "the command that looks", func() {
		if res, err := wait(); err != nil || res.ExitCode != 0 {
			l.Errorf("a reader saw a part: %v, code %d, output %q", err, res.ExitCode, res.Output)
		}
	})
	if out := l.sh(term, "ls -A @D/sub"); out != "file\n" {
		l.Errorf("the directory has %q", out)
	}
}

func fileThroughLink(l *lab) {
	term := l.terminal(terminal.Config{})
	l.sh(term, "mkdir @D/a @D/b && echo old >@D/a/file && ln -s ../a/file @D/b/link && ln -s link @D/b/again && ln -s ../a/new @D/b/dangling")
	l.write(term, "@D/b/again", "new", 0o640)
	l.write(term, "@D/b/dangling", "made", 0o640)
	if out := l.sh(term, "[ -L @D/b/again ] && [ -L @D/b/link ] && [ -L @D/b/dangling ] && [ ! -L @D/a/file ] && cat @D/a/file && echo && cat @D/a/new && echo; ls -A @D/a @D/b | wc -w"); strings.Join(strings.Fields(out), " ") != "new made 7" {
		l.Errorf("afterwards: %q", out)
	}
	if got := l.read(term, "@D/b/again"); got != "new" {
		l.Errorf("read %q", got)
	}
}

// failure returns what is wrong with an error about a file, or "".
func failure(err, want error) string {
	var e *terminal.Error
	var p *fs.PathError
	switch {
	case err == nil:
		return "no error"
	case !errors.Is(err, want):
		return fmt.Sprintf("error %v; want it to match %v", err, want)
	case !errors.As(err, &e) || e.Op == "" || e.Task == "" || e.Backend == "":
		return fmt.Sprintf("error %#v is no *Error that says what it is about", err)
	case !errors.As(err, &p) || p.Op == "" || p.Err == nil:
		return fmt.Sprintf("error %v has no *fs.PathError", err)
	}
	return ""
}

func fileErrors(l *lab) {
	term := l.terminal(terminal.Config{})
	l.sh(term, "mkdir @D/sub && echo kept >@D/file && mkfifo @D/fifo && ln -s nowhere @D/dangling && ln -s loop @D/loop")
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name        string
		read, write error
	}{
		{"@D/missing", fs.ErrNotExist, nil},
		{"@D/missing/file", fs.ErrNotExist, fs.ErrNotExist},
		{"@D/dangling", fs.ErrNotExist, nil},
		{"@D/sub", syscall.EISDIR, syscall.EISDIR},
		{"@D/sub/", syscall.EISDIR, syscall.EISDIR},
		{"@D/sub/.", syscall.EISDIR, syscall.EISDIR},
		{"/", syscall.EISDIR, syscall.EISDIR},
		{"@D/file/", syscall.ENOTDIR, syscall.EISDIR},
		{"@D/file/below", syscall.ENOTDIR, syscall.ENOTDIR},
		{"@D/file/further/below", syscall.ENOTDIR, syscall.ENOTDIR},
		{"@D/fifo", fs.ErrInvalid, fs.ErrInvalid},
		{"/dev/zero", fs.ErrInvalid, fs.ErrInvalid},
		{"@D/loop", nil, syscall.ELOOP},
		{"", fs.ErrInvalid, fs.ErrInvalid},
		{"@D/a\x00b", fs.ErrInvalid, fs.ErrInvalid},
		{"@D/" + long, syscall.ENAMETOOLONG, syscall.ENAMETOOLONG},
	} {
		name := l.text(c.name)
		if c.read != nil {
			l.within(patience, "ReadFile", func() {
				data, err := term.ReadFile(context.Background(), "", name)
				if problem := failure(err, c.read); problem != "" || data != nil {
					l.Errorf("ReadFile(%q): %s, data %q", c.name, problem, data)
				}
			})
		}
		if c.write != nil {
			l.within(patience, "WriteFile", func() {
				err := term.WriteFile(context.Background(), "", name, []byte("x"), 0o600)
				if problem := failure(err, c.write); problem != "" {
					l.Errorf("WriteFile(%q): %s", c.name, problem)
				}
			})
		}
	}
	if out := l.sh(term, "cat @D/file; ls -A @D | grep -c terminal-; [ -p @D/fifo ]"); out != "kept\n0\n" {
		l.Errorf("afterwards: %q", out)
	}
}

func fileTooLarge(l *lab) {
	term := l.terminal(terminal.Config{})
	l.sh(term, fmt.Sprintf("dd if=/dev/null of=@D/large bs=1 seek=%d 2>/dev/null", terminal.MaxFile+1))
	l.within(patience, "ReadFile", func() {
		_, err := term.ReadFile(context.Background(), "", l.text("@D/large"))
		if problem := failure(err, terminal.ErrTooLarge); problem != "" {
			l.Error(problem)
		}
	})
}

func fileWithoutSize(l *lab) {
	term := l.terminal(terminal.Config{})
	if out := l.sh(term, "[ -r /proc/self/status ] || echo none"); out != "" {
		l.Skip("the environment has no /proc")
	}
	if got := l.read(term, "/proc/self/status"); !strings.HasPrefix(got, "Name:") {
		l.Errorf("read %s", brief(got))
	}
}

// someTime is a time long ago, without a fraction of a second.
var someTime = time.Unix(1_234_567_890, 0)

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func fileCopy(l *lab) {
	term := l.terminal(terminal.Config{})
	dir := l.TempDir()
	src, back := filepath.Join(dir, "src"), filepath.Join(dir, "back")
	l.must(os.WriteFile(src, oddBytes(), 0o600))
	l.must(os.Chmod(src, 0o754))
	l.must(os.Chtimes(src, someTime, someTime))
	l.copyTo(term, src, "@D/file")
	if row := l.row(term, "@D/file"); row[0] != "-rwxr-xr--" {
		l.Errorf("ls says %v", row)
	}
	if got := l.read(term, "@D/file"); got != string(oddBytes()) {
		l.Errorf("in the environment: %s", brief(got))
	}
	l.copyFrom(term, "@D/file", back)
	l.sameFile(back, string(oddBytes()), 0o754, someTime)
	l.must(os.WriteFile(src, []byte("second"), 0o600))
	l.copyTo(term, src, "@D/file")
	l.copyFrom(term, "@D/file", back)
	l.sameFile(back, "second", 0o754, time.Time{})
	if names, err := os.ReadDir(dir); err != nil || len(names) != 2 {
		l.Errorf("on this machine there are %v, %v", names, err)
	}
	if out := l.sh(term, "ls -A @D | grep -c terminal- || :"); out != "0\n" {
		l.Errorf("in the environment %q things are left", out)
	}
}

// sameFile checks content, permissions and, unless zero, the time of a file on
// the host.
func (l *lab) sameFile(name, data string, perm fs.FileMode, changed time.Time) {
	l.Helper()
	got, err := os.ReadFile(name)
	if err != nil || string(got) != data {
		l.Errorf("%q: %v, %s; want %s", name, err, brief(string(got)), brief(data))
		return
	}
	info, err := os.Stat(name)
	l.must(err)
	if runtime.GOOS != "windows" && info.Mode().Perm() != perm {
		l.Errorf("%q: mode %v, want %v", name, info.Mode(), perm)
	}
	if !changed.IsZero() && !info.ModTime().Equal(changed) {
		l.Errorf("%q: time %v, want %v", name, info.ModTime(), changed)
	}
}

// oddNames are valid names of files that shells and programs often mishandle.
var oddNames = []string{
	"plain", "-rf", "--help", "with space", " leading", "trailing ", "new\nline", "tab\t", `quote"'`, "$HOME `id`", `back\slash`, "*?[a]",
	"..foo", "...", ".hidden", "é 😀", "not \xff\xfe UTF-8", "~", "#c", "a=b", longName,
}

// longName is shorter than NAME_MAX (255), because some layered file systems
// reserve a part of it.
var longName = strings.Repeat("n", 240)

func treeCopy(l *lab) {
	if runtime.GOOS == "windows" {
		l.Skip("needs a Unix file system on this machine")
	}
	term := l.terminal(terminal.Config{})
	dir := l.TempDir()
	src, back := filepath.Join(dir, "src"), filepath.Join(dir, "back")
	names := oddNames
	for _, d := range []string{"src", "src/sub", "src/sub/deeper", "src/empty", "src/locked"} {
		l.must(os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	deep := "src/" + strings.Repeat(strings.Repeat("d", 60)+"/", 5)
	l.must(os.MkdirAll(filepath.Join(dir, deep), 0o755))
	l.must(os.WriteFile(filepath.Join(dir, deep, "file"), []byte("deep"), 0o600))
	for i, name := range names {
		if runtime.GOOS == "darwin" && !isASCII(name) {
			continue
		}
		l.must(os.WriteFile(filepath.Join(src, "sub", name), append(oddBytes(), byte(i)), 0o600))
	}
	l.must(os.WriteFile(filepath.Join(src, "locked", "file"), []byte("locked"), 0o444))
	l.must(os.Symlink("sub/plain", filepath.Join(src, "link")))
	l.must(os.Symlink("/nowhere/at\n all", filepath.Join(src, "dangling")))
	l.must(os.Symlink("../../..", filepath.Join(src, "sub", "up")))
	l.must(os.Symlink(strings.Repeat("t/", 90), filepath.Join(src, "long")))
	l.must(os.Link(filepath.Join(src, "sub", "plain"), filepath.Join(src, "hard")))
	l.must(os.Chmod(filepath.Join(src, "sub", "plain"), 0o751))
	for _, d := range []string{"src/empty", "src/locked", "src/sub/plain", "src/sub", "src"} {
		l.must(os.Chtimes(filepath.Join(dir, d), someTime, someTime))
	}
	l.must(os.Chmod(filepath.Join(src, "locked"), 0o555))
	l.Cleanup(func() {
		_ = os.Chmod(filepath.Join(src, "locked"), 0o755)
		_ = os.Chmod(filepath.Join(back, "locked"), 0o755)
		l.sh(term, "[ ! -d @D/tree ] || chmod -R u+w @D/tree")
	})

	l.copyTo(term, src+"/", "@D/tree")
	if out := l.sh(term, "cat @D/tree/locked/file; [ -L @D/tree/link ] && [ -L @D/tree/dangling ] && [ -d @D/tree/empty ] && [ ! -L @D/tree/hard ] && echo all"); out != "lockedall\n" {
		l.Errorf("in the environment: %q", out)
	}
	row := l.row(term, "@D/tree/sub/plain")
	if mine := l.row(term, "@D"); row[1] != mine[1] || row[2] != mine[2] || row[0] != "-rwxr-x--x" {
		l.Errorf("ls says %v, and of what a command made %v", row, mine)
	}
	if row := l.row(term, "@D/tree/locked"); row[0] != "dr-xr-xr-x" {
		l.Errorf("ls says %v of a directory", row)
	}
	l.sh(term, "mkfifo @D/tree/fifo && ln @D/tree/hard @D/tree/harder && chmod 7755 @D/tree/hard && touch -t 200902132331.30 @D/tree/hard")
	l.copyFrom(term, "@D/tree", back)

	for i, name := range names {
		if runtime.GOOS == "darwin" && !isASCII(name) || name == "plain" {
			continue
		}
		l.sameFile(filepath.Join(back, "sub", name), string(append(oddBytes(), byte(i))), 0o600, time.Time{})
	}
	plain := string(append(oddBytes(), 0))
	l.sameFile(filepath.Join(back, "sub", "plain"), plain, 0o751, someTime)
	l.sameFile(filepath.Join(back, "hard"), plain, 0o755, time.Time{})
	l.sameFile(filepath.Join(back, "harder"), plain, 0o755, time.Time{})
	l.sameFile(filepath.Join(back, "locked", "file"), "locked", 0o444, time.Time{})
	l.sameFile(filepath.Join(dir, strings.Replace(deep, "src", "back", 1), "file"), "deep", 0o600, time.Time{})
	for name, want := range map[string]string{"link": "sub/plain", "dangling": "/nowhere/at\n all", "sub/up": "../../..", "long": strings.Repeat("t/", 90)} {
		if got, err := os.Readlink(filepath.Join(back, name)); err != nil || got != want {
			l.Errorf("link %s: %q, %v; want %q", name, got, err, want)
		}
	}
	for name, mode := range map[string]fs.FileMode{"empty": fs.ModeDir | 0o755, "locked": fs.ModeDir | 0o555, "hard": 0o755} {
		if info, err := os.Lstat(filepath.Join(back, name)); err != nil || info.Mode() != mode {
			l.Errorf("%s: %v, %v; want mode %v", name, info, err, mode)
		}
	}
	for _, name := range []string{"empty", "sub"} {
		if info, err := os.Lstat(filepath.Join(back, name)); err != nil || !info.ModTime().Equal(someTime) {
			l.Errorf("%s: %v, time %v; want %v", name, err, info.ModTime(), someTime)
		}
	}
	if _, err := os.Lstat(filepath.Join(back, "fifo")); !errors.Is(err, fs.ErrNotExist) {
		l.Errorf("a FIFO was copied: %v", err)
	}
	in, err := os.ReadDir(filepath.Join(back, "sub"))
	l.must(err)
	if len(in) != len(names)+2 && runtime.GOOS != "darwin" {
		l.Errorf("%d names in sub, want %d", len(in), len(names)+2)
	}
}

func isASCII(s string) bool {
	for _, c := range []byte(s) {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func treeMerge(l *lab) {
	term := l.terminal(terminal.Config{})
	dir := l.TempDir()
	src, back := filepath.Join(dir, "src"), filepath.Join(dir, "back")
	l.must(os.MkdirAll(filepath.Join(src, "sub"), 0o755))
	l.must(os.WriteFile(filepath.Join(src, "sub", "file"), []byte("new"), 0o600))
	l.sh(term, "mkdir -p @D/real/sub && echo old >@D/real/sub/file && echo other >@D/real/sub/other && ln -s real @D/tree")
	l.copyTo(term, src, "@D/tree")
	if out := l.sh(term, "[ -L @D/tree ] && cd @D/real/sub && cat file other && ls"); out != "newother\nfile\nother\n" {
		l.Errorf("in the environment: %q", out)
	}
	l.must(os.MkdirAll(filepath.Join(back, "sub"), 0o755))
	l.must(os.WriteFile(filepath.Join(back, "sub", "file"), []byte("older"), 0o600))
	l.must(os.WriteFile(filepath.Join(back, "sub", "mine"), []byte("mine"), 0o600))
	l.copyFrom(term, "@D/tree", back)
	l.sameFile(filepath.Join(back, "sub", "file"), "new", 0o600, time.Time{})
	l.sameFile(filepath.Join(back, "sub", "mine"), "mine", 0o600, time.Time{})
	// A directory may be named by any path that leads to it.
	l.copyFrom(term, "@D/real/sub/..", filepath.Join(dir, "more"))
	l.sameFile(filepath.Join(dir, "more", "sub", "file"), "new", 0o600, time.Time{})
}

func copyErrors(l *lab) {
	term := l.terminal(terminal.Config{})
	dir := l.TempDir()
	file, tree := filepath.Join(dir, "file"), filepath.Join(dir, "tree")
	l.must(os.WriteFile(file, []byte("x"), 0o600))
	l.must(os.Mkdir(tree, 0o755))
	l.sh(term, "mkdir @D/tree && : >@D/file && mkfifo @D/fifo")
	bad := func(what string, err, want error) {
		l.Helper()
		if errors.Is(err, errors.ErrUnsupported) {
			return // a directory, where they cannot be copied
		}
		var p *fs.PathError
		if !errors.Is(err, want) || !errors.As(err, &p) {
			l.Errorf("%s: error %v; want an *fs.PathError that matches %v", what, err, want)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, c := range []struct {
		src, dst string
		want     error
	}{
		{filepath.Join(dir, "missing"), "@D/new", fs.ErrNotExist},
		{"", "@D/new", fs.ErrInvalid},
		{file, "", fs.ErrInvalid},
		{file, "@D/a\x00", fs.ErrInvalid},
		{file, "@D/missing/file", fs.ErrNotExist},
		{tree, "@D/missing/tree", fs.ErrNotExist},
		{file, "@D/tree", syscall.EISDIR},
		{tree, "@D/file", syscall.ENOTDIR},
		{file, "@D/fifo", fs.ErrInvalid},
		{tree, "@D/file/below", syscall.ENOTDIR},
	} {
		bad("CopyTo "+c.dst, term.CopyTo(ctx, "", c.src, l.text(c.dst)), c.want)
	}
	for _, c := range []struct {
		src, dst string
		want     error
	}{
		{"@D/missing", filepath.Join(dir, "new"), fs.ErrNotExist},
		{"", filepath.Join(dir, "new"), fs.ErrInvalid},
		{"@D/a\x00", filepath.Join(dir, "new"), fs.ErrInvalid},
		{"@D/file", "", fs.ErrInvalid},
		{"@D/file/below", filepath.Join(dir, "new"), syscall.ENOTDIR},
		{"@D/fifo", filepath.Join(dir, "new"), fs.ErrInvalid},
		{"/dev/zero", filepath.Join(dir, "new"), fs.ErrInvalid},
		{"@D/file", filepath.Join(dir, "missing", "file"), fs.ErrNotExist},
		{"@D/tree", filepath.Join(dir, "missing", "tree"), fs.ErrNotExist},
		{"@D/file", tree, syscall.EISDIR},
		{"@D/tree", file, syscall.ENOTDIR},
	} {
		bad("CopyFrom "+c.src+" to "+c.dst, term.CopyFrom(ctx, "", l.text(c.src), c.dst), c.want)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 2 {
		l.Errorf("on this machine there are %v, %v", names, err)
	}
	if out := l.sh(term, "ls -A @D/tree; ls -A @D | grep -c -e terminal- -e new || :"); strings.TrimSpace(out) != "0" {
		l.Errorf("in the environment there are %q", out)
	}
}

func fileCancelled(l *lab) {
	term := l.terminal(terminal.Config{})
	dir := l.TempDir()
	src := filepath.Join(dir, "src")
	f, err := os.Create(src)
	l.must(err)
	l.must(f.Truncate(4 << 30)) // of nothing; more than can be copied before it is cancelled
	l.must(f.Close())
	l.sh(term, "mkdir @D/sub")
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := term.CopyTo(ctx, "", src, l.text("@D/sub/file")); !errors.Is(err, context.Canceled) {
			l.Errorf("CopyTo: error %v, want context.Canceled", err)
		}
	})
	// If the file appears only when it is complete, the loop ends by its count.
	l.sh(term, "n=0; while [ $n -lt 60 ] && [ -z \"$(ls -A @D/sub)\" ]; do n=$((n+1)); sleep 0.02 2>/dev/null || sleep 1; done")
	cancel()
	l.within(2*grace, "CopyTo", wg.Wait)
	if out := l.sh(term, "ls -A @D/sub"); out != "" {
		l.Errorf("it left %q", out)
	}
	if _, err := term.ReadFile(ctx, "", l.text("@D/sleeper")); !errors.Is(err, context.Canceled) {
		l.Errorf("ReadFile: error %v, want context.Canceled", err)
	}
	if s := term.Stats(); s.Created != 1 {
		l.Errorf("%d executors were created, want 1", s.Created)
	}
}

func fileClosed(l *lab) {
	term := l.terminal(terminal.Config{})
	l.write(term, "@D/file", "x", 0o600)
	l.within(patience, "Close", func() { term.Close() })
	ctx := context.Background()
	name, here := l.text("@D/file"), filepath.Join(l.TempDir(), "file")
	l.must(os.WriteFile(here, nil, 0o600))
	_, err := term.ReadFile(ctx, "", name)
	for what, err := range map[string]error{
		"ReadFile":  err,
		"WriteFile": term.WriteFile(ctx, "", name, nil, 0o600),
		"CopyTo":    term.CopyTo(ctx, "", here, name),
		"CopyFrom":  term.CopyFrom(ctx, "", name, here),
	} {
		if !errors.Is(err, terminal.ErrClosed) {
			l.Errorf("%s: error %v, want ErrClosed", what, err)
		}
	}
}
