package testimage

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	pathChange = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	passwd     = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
	group      = "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n"
)

func busybox() (image, error) {
	return fromBusybox("busybox", []string{`CMD ["/bin/sh"]`}, func(w *tree, prog []byte, applets []string) {
		w.users()
		w.file("bin/busybox", 0o755, prog)
		for _, applet := range applets {
			w.link(applet, "/bin/busybox")
		}
	})
}

func exits() (image, error) {
	img, err := busybox()
	img.recipe = "exits 1 " + img.recipe
	img.changes = []string{pathChange, `ENTRYPOINT ["/bin/false"]`}
	return img, err
}

// laneless knows by a name in it what a lane's shell is started with.
const laneless = `#!/bin/busybox sh
case $2 in *lane_l*) exec /bin/busybox cat >/dev/null ;; esac
exec /bin/busybox sh "$@"
`

func noLane() (image, error) {
	return fromBusybox("nolane", nil, func(w *tree, prog []byte, applets []string) {
		w.users()
		w.file("bin/busybox", 0o755, prog)
		w.file("bin/sh", 0o755, []byte(laneless))
		for _, applet := range applets {
			w.link(applet, "/bin/busybox")
		}
	})
}

func noShell() (image, error) {
	changes := []string{`CMD ["/bin/sleep","1000000"]`}
	return fromBusybox("noshell", changes, func(w *tree, prog []byte, _ []string) {
		w.users()
		w.file("bin/sleep", 0o755, prog) // busybox acts by the name it is called by
	})
}

func fromBusybox(name string, changes []string, fill func(w *tree, prog []byte, applets []string)) (image, error) {
	path, err := staticBusybox()
	if err != nil {
		return image{}, err
	}
	prog, err := os.ReadFile(path)
	if err != nil {
		return image{}, err
	}
	list, err := exec.Command(path, "--list-full").Output()
	if err != nil {
		return image{}, fmt.Errorf("%s --list-full: %w", path, err)
	}
	var buf bytes.Buffer
	w := newTree(&buf)
	fill(w, prog, strings.Fields(string(list)))
	if err := w.close(); err != nil {
		return image{}, err
	}
	changes = append([]string{pathChange}, changes...)
	return image{
		recipe:  fmt.Sprintf("%s %x", name, sha256.Sum256(append(buf.Bytes(), fmt.Sprint(changes)...))),
		changes: changes,
		rootfs: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
		},
	}, nil
}

// staticBusybox looks for a busybox that needs no library.
func staticBusybox() (string, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		if path, err = exec.LookPath("/bin/busybox"); err != nil {
			return "", errors.New("no busybox here (Debian's package is busybox-static)")
		}
	}
	f, err := elf.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for _, prog := range f.Progs {
		if prog.Type == elf.PT_INTERP {
			return "", fmt.Errorf("%s is not static (Debian's package is busybox-static)", path)
		}
	}
	return path, nil
}

// tree writes a file system as a tar, the same bytes whenever it is asked to.
type tree struct {
	*tar.Writer
	done map[string]bool // what is written, directories above a file included
	err  error           // the first one
}

func newTree(w io.Writer) *tree { return &tree{Writer: tar.NewWriter(w), done: map[string]bool{}} }

func (w *tree) add(hdr *tar.Header, body []byte) {
	if w.done[hdr.Name] || w.err != nil {
		return
	}
	w.done[hdr.Name] = true
	if dir := filepath.Dir(hdr.Name); dir != "." {
		w.dir(dir, 0o755, 0)
	}
	hdr.ModTime = time.Unix(0, 0)
	hdr.Size = int64(len(body))
	if w.err = w.WriteHeader(hdr); w.err == nil {
		_, w.err = w.Write(body)
	}
}

func (w *tree) dir(name string, mode int64, owner int) {
	w.add(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode, Uid: owner, Gid: owner}, nil)
}

func (w *tree) file(name string, mode int64, body []byte) {
	w.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, body)
}

func (w *tree) link(name, target string) {
	w.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Mode: 0o777, Linkname: target}, nil)
}

func (w *tree) users() {
	w.file("etc/passwd", 0o644, []byte(passwd))
	w.file("etc/group", 0o644, []byte(group))
	w.dir("root", 0o700, 0)
	w.dir("home/user", 0o755, 1000)
	w.dir("tmp", 0o1777, 0)
}

func (w *tree) close() error {
	if w.err != nil {
		return w.err
	}
	return w.Close()
}

func debian() (image, error) {
	return image{
		recipe:  "debian 1",
		changes: []string{pathChange, `CMD ["/bin/bash"]`},
		rootfs: func(ctx context.Context) (io.ReadCloser, error) {
			root, err := debootstrapped(ctx)
			if err == nil {
				return root, nil
			}
			files, filesErr := ownFiles()
			if filesErr != nil {
				return nil, fmt.Errorf("neither debootstrap (%w) nor own files (%w)", err, filesErr)
			}
			return files, nil
		},
	}, nil
}

// debootstrapped returns a minimal Debian as a tar, from the cache if an
// earlier call left it there.
func debootstrapped(ctx context.Context) (io.ReadCloser, error) {
	src, err := ownSource("/etc")
	if err != nil {
		return nil, err
	}
	dir, err := cacheDir()
	if err != nil {
		return nil, err
	}
	cached := filepath.Join(dir, "debian-1-"+src.suite+".tar")
	if f, err := os.Open(cached); err == nil {
		return f, nil
	}
	if os.Getuid() != 0 {
		return nil, errors.New("debootstrap needs root")
	}
	work, err := os.MkdirTemp(dir, "debian")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	root, packed := filepath.Join(work, "root"), filepath.Join(work, "tar")
	args := []string{"--variant=minbase"}
	if src.keyring != "" {
		args = append(args, "--keyring="+src.keyring)
	}
	if err := tool(ctx, "debootstrap", append(args, src.suite, root, src.mirror)...); err != nil {
		return nil, err
	}
	// What apt and a reader would want is two thirds of it.
	if err := tool(ctx, "tar", "-C", root, "--numeric-owner", "--one-file-system",
		"--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./debootstrap",
		"--exclude=./var/cache/apt/*.bin", "--exclude=./var/cache/apt/archives/*", "--exclude=./var/lib/apt/lists/*",
		"--exclude=./var/log/*", "--exclude=./usr/share/doc/*", "--exclude=./usr/share/man/*",
		"--exclude=./usr/share/info/*", "--exclude=./usr/share/locale/*",
		"-cf", packed, "."); err != nil {
		return nil, err
	}
	if err := os.Rename(packed, cached); err != nil {
		return nil, err
	}
	return os.Open(cached)
}

// tool runs a program to its end, or kills it with all it has started.
func tool(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	// Mounts of its own: those of debootstrap end with it, before its tree
	// is removed.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Unshareflags: unix.CLONE_NEWNS}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out[max(0, len(out)-2000):])
	}
	return nil
}

// source is where packages come from.
type source struct{ mirror, suite, keyring string }

// ownSource is where this machine's own packages come from, read from the
// sources of apt in etc.
func ownSource(etc string) (source, error) {
	release, err := os.ReadFile(filepath.Join(etc, "os-release"))
	if err != nil {
		return source{}, err
	}
	var suite string
	for line := range strings.Lines(string(release)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			suite = strings.Trim(value, `"'`)
		}
	}
	if suite == "" {
		return source{}, errors.New("os-release names no suite")
	}
	lists, _ := filepath.Glob(filepath.Join(etc, "apt/sources.list.d/*.list"))
	for _, path := range append([]string{filepath.Join(etc, "apt/sources.list")}, lists...) {
		text, _ := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			if src, ok := oneLine(line); ok && src.suite == suite {
				return src, nil
			}
		}
	}
	stanzas, _ := filepath.Glob(filepath.Join(etc, "apt/sources.list.d/*.sources"))
	for _, path := range stanzas {
		text, _ := os.ReadFile(path)
		for stanza := range strings.SplitSeq(string(text), "\n\n") {
			if src, ok := deb822(stanza, suite); ok {
				return src, nil
			}
		}
	}
	return source{}, fmt.Errorf("the sources of apt have no mirror for %s", suite)
}

// oneLine reads "deb [option=value …] mirror suite component …".
func oneLine(line string) (source, bool) {
	line, ok := strings.CutPrefix(strings.TrimSpace(line), "deb ")
	if !ok {
		return source{}, false
	}
	var src source
	line = strings.TrimSpace(line)
	if options, rest, ok := strings.Cut(line, "]"); ok && strings.HasPrefix(options, "[") {
		for option := range strings.FieldsSeq(options[1:]) {
			if value, ok := strings.CutPrefix(option, "signed-by="); ok {
				src.keyring = value
			}
		}
		line = rest
	}
	fields := strings.Fields(line)
	if len(fields) < 3 || fields[2] != "main" {
		return source{}, false
	}
	src.mirror, src.suite = fields[0], fields[1]
	return src, true
}

// deb822 reads a stanza of a .sources file.
func deb822(stanza, suite string) (source, bool) {
	fields := map[string][]string{}
	for line := range strings.Lines(stanza) {
		if key, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, " ") {
			fields[strings.ToLower(key)] = strings.Fields(value)
		}
	}
	has := func(key, word string) bool {
		for _, value := range fields[key] {
			if value == word {
				return true
			}
		}
		return false
	}
	if !has("types", "deb") || !has("suites", suite) || !has("components", "main") || len(fields["uris"]) == 0 {
		return source{}, false
	}
	src := source{mirror: fields["uris"][0], suite: suite}
	if keys := fields["signed-by"]; len(keys) == 1 && filepath.IsAbs(keys[0]) {
		src.keyring = keys[0]
	}
	return src, true
}

// programs are what a script of the tests may use, and bash.
var programs = strings.Fields(`
	bash sh cat chmod chown cp cut date dd df dirname du echo env expr false find grep head hostname id kill ln ls
	mkdir mktemp mv nl nohup nproc od pkill printf ps pwd readlink realpath rm rmdir sed seq setsid sleep sort stat
	stty su sum sync tail tar tee test timeout touch tr true uname uniq useradd wc whoami xargs yes`)

// ownFiles returns a tar of this machine's own programs and the libraries
// they need.
func ownFiles() (io.ReadCloser, error) {
	var buf bytes.Buffer
	w := newTree(&buf)
	w.users()
	w.dir("usr/bin", 0o755, 0)
	w.link("bin", "usr/bin")
	for _, name := range programs {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		w.copy("usr/bin/"+name, path)
		libs, _ := exec.Command("ldd", path).Output() // fails for what is static
		for word := range strings.FieldsSeq(string(libs)) {
			if filepath.IsAbs(word) {
				w.copy(strings.TrimPrefix(word, "/"), word)
			}
		}
	}
	if !w.done["usr/bin/bash"] {
		return nil, errors.New("no bash here")
	}
	if err := w.close(); err != nil {
		return nil, err
	}
	return io.NopCloser(&buf), nil
}

func (w *tree) copy(name, path string) {
	if w.done[name] || w.err != nil {
		return
	}
	body, err := os.ReadFile(path)
	if err != nil {
		w.err = err
		return
	}
	w.file(name, 0o755, body)
}

func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil { // no HOME
		dir = os.TempDir()
	}
	dir = filepath.Join(dir, "terminal-go", "testimage")
	return dir, os.MkdirAll(dir, 0o755)
}

// lock keeps other processes from making the same image.
func lock(ctx context.Context, tag string) (unlock func(), err error) {
	dir, err := cacheDir()
	if err != nil {
		return nil, err
	}
	name := strings.Map(func(r rune) rune {
		if r == '/' || r == ':' {
			return '-'
		}
		return r
	}, tag)
	f, err := os.OpenFile(filepath.Join(dir, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
