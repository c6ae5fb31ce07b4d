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
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	pathChange = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	passwd     = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
	group      = "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n"
)

// The results are kept for the process, because many tests ask for them.
var (
	busybox = sync.OnceValues(makeBusybox)
	files   = sync.OnceValues(makeFiles)
)

func makeBusybox() (image, error) {
	return fromBusybox("busybox", busyboxPrograms, []string{`CMD ["/bin/sh"]`}, func(w *tree, prog []byte, applets []string) {
		w.users()
		w.file("bin/busybox", 0o755, prog)
		for _, applet := range applets {
			w.link(applet, "/bin/busybox")
		}
	})
}

func exits() (image, error) {
	img, err := busybox()
	img.changes = []string{pathChange, `ENTRYPOINT ["/bin/false"]`}
	img.recipe = recipeID("exits", img.recipe, img.changes)
	return img, err
}

// laneless is a sh that recognizes the script of a lane's shell by the name of
// a variable in it.
const laneless = `#!/bin/busybox sh
case $2 in *lane_l*) exec /bin/busybox cat >/dev/null ;; esac
exec /bin/busybox sh "$@"
`

func noLane() (image, error) {
	return fromBusybox("nolane", busyboxPrograms, nil, func(w *tree, prog []byte, applets []string) {
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
	return fromBusybox("noshell", []string{"sleep"}, changes, func(w *tree, prog []byte, _ []string) {
		w.users()
		w.file("bin/sleep", 0o755, prog) // busybox acts by the name it is called by
	})
}

func fromBusybox(name string, programs, changes []string, fill func(w *tree, prog []byte, applets []string)) (image, error) {
	path, err := findProgram("busybox")
	if err != nil {
		return image{}, errors.New("no busybox here (Debian's package is busybox-static)")
	}
	prog, err := os.ReadFile(path)
	if err != nil {
		return image{}, err
	}
	if loader, err := loaderOf(prog); err != nil {
		return image{}, fmt.Errorf("%s: %w", path, err)
	} else if loader != "" {
		return image{}, fmt.Errorf("%s is not static (Debian's package is busybox-static)", path)
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
		recipe:   recipeID(name, sha256.Sum256(buf.Bytes()), changes, programs),
		changes:  changes,
		programs: programs,
		rootfs: func(context.Context) (io.ReadSeekCloser, error) {
			return inMemory{bytes.NewReader(buf.Bytes())}, nil
		},
	}, nil
}

// inMemory is a tar that needs no Close.
type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

// tree writes a file system as a tar. The same calls give the same bytes.
type tree struct {
	*tar.Writer
	done map[string]bool // names written, including parent directories
	err  error           // the first error; later calls do nothing
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

var debianChanges = []string{pathChange, `CMD ["/bin/bash"]`}

// packArgs pack a tree made by debootstrap, without what is of use to apt and
// to readers only, which is two thirds of it.
var packArgs = []string{
	"--numeric-owner", "--one-file-system",
	"--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./debootstrap",
	"--exclude=./var/cache/apt/*.bin", "--exclude=./var/cache/apt/archives/*", "--exclude=./var/lib/apt/lists/*",
	"--exclude=./var/log/*", "--exclude=./usr/share/doc/*", "--exclude=./usr/share/man/*",
	"--exclude=./usr/share/info/*", "--exclude=./usr/share/locale/*",
}

// debootstrap is the recipe of a minimal Debian of this machine's release.
func debootstrap() (image, error) {
	src, err := ownSource("/etc")
	if err != nil {
		return image{}, fmt.Errorf("debootstrap: %w", err)
	}
	args := []string{"--variant=minbase"}
	if src.keyring != "" {
		args = append(args, "--keyring="+src.keyring)
	}
	recipe := recipeID("debootstrap", args, src, packArgs, debianChanges, debianPrograms)
	return image{
		recipe:   recipe,
		changes:  debianChanges,
		programs: debianPrograms,
		rootfs: func(ctx context.Context) (io.ReadSeekCloser, error) {
			root, err := debootstrapped(ctx, recipe, src, args)
			if err != nil {
				err = fmt.Errorf("debootstrap: %w", err)
				bootstrapFailed.CompareAndSwap(nil, &err)
			}
			return root, err
		},
	}, nil
}

// bootstrapFailed is the error of an earlier attempt. It is not repeated in
// this process: every test would have to wait for it to fail again.
var bootstrapFailed atomic.Pointer[error]

// debootstrapped returns a minimal Debian as a tar. It is made once and kept in
// the cache directory.
func debootstrapped(ctx context.Context, recipe string, src source, args []string) (io.ReadSeekCloser, error) {
	if err := bootstrapFailed.Load(); err != nil {
		return nil, *err
	}
	dir, err := cacheDir()
	if err != nil {
		return nil, err
	}
	cached := filepath.Join(dir, recipe+".tar")
	if f, err := os.Open(cached); err == nil {
		return f, nil
	}
	if os.Getuid() != 0 {
		return nil, errors.New("it needs root")
	}
	if _, err := findProgram("debootstrap"); err != nil {
		return nil, err
	}
	// A minute is left for another recipe.
	ctx, cancel := context.WithTimeout(ctx, makeLimit-time.Minute)
	defer cancel()
	if err := reach(ctx, src); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(dir, "debian")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	root, packed := filepath.Join(work, "root"), filepath.Join(work, "tar")
	if err := tool(ctx, "debootstrap", append(slices.Clone(args), src.suite, root, src.mirror)...); err != nil {
		return nil, err
	}
	if err := tool(ctx, "tar", append([]string{"-C", root, "-cf", packed}, append(slices.Clone(packArgs), ".")...)...); err != nil {
		return nil, err
	}
	if err := os.Rename(packed, cached); err != nil {
		return nil, err
	}
	return os.Open(cached)
}

// reach reports an error unless the mirror answers within 15 seconds.
// debootstrap itself would wait for minutes where packets are dropped.
func reach(ctx context.Context, src source) error {
	if !strings.HasPrefix(src.mirror, "http") {
		return nil // debootstrap knows other schemes too
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	release := strings.TrimSuffix(src.mirror, "/") + "/dists/" + src.suite + "/Release"
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, release, nil)
	if err != nil {
		return err
	}
	req.Close = true // no idle connection, whose goroutine would be a leak
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", release, res.Status)
	}
	return nil
}

// tool runs a program and kills its process group when ctx is done.
func tool(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	// In a mount namespace of its own, what debootstrap mounts is unmounted
	// when it exits, before its tree is removed.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Unshareflags: unix.CLONE_NEWNS}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out[max(0, len(out)-2000):])
	}
	return nil
}

// source describes an apt source.
type source struct{ mirror, suite, keyring string }

// ownSource returns the source of this machine's release, from the apt
// configuration in etc.
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

// oneLine parses "deb [option=value …] mirror suite component …".
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

// deb822 parses a stanza of a .sources file.
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

// makeFiles is the recipe of an image of this machine's programs.
func makeFiles() (image, error) {
	hash := sha256.New()
	if err := writeFiles(hash); err != nil {
		return image{}, fmt.Errorf("files: %w", err)
	}
	return image{
		recipe:   recipeID("files", hash.Sum(nil), debianChanges, debianPrograms),
		changes:  debianChanges,
		programs: debianPrograms,
		rootfs: func(context.Context) (io.ReadSeekCloser, error) {
			var buf bytes.Buffer // not kept: it is large
			err := writeFiles(&buf)
			return inMemory{bytes.NewReader(buf.Bytes())}, err
		},
	}, nil
}

// writeFiles writes a tar of debianPrograms and the libraries that they need.
func writeFiles(out io.Writer) error {
	w := newTree(out)
	w.users()
	w.dir("usr/bin", 0o755, 0)
	w.dir("usr/sbin", 0o755, 0)
	for _, dir := range merged {
		w.link(dir, "usr/"+dir)
	}
	var missing []string
	for _, name := range debianPrograms {
		path, err := findProgram(name)
		if err != nil {
			missing = append(missing, name)
			continue
		}
		resolved := w.program(path)
		w.link("usr/bin/"+name, "/"+inTree(resolved)) // nothing if it is there itself
	}
	if len(missing) > 0 {
		return fmt.Errorf("this machine has no %s", strings.Join(missing, ", "))
	}
	return w.close()
}

// findProgram returns the path of a program. It looks into the system's
// directories first, so that all users find the same one: sbin is often not in
// PATH, and PATH may begin with a directory of the user's.
func findProgram(name string) (string, error) {
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return exec.LookPath(name)
}

// merged are the directories that are links to those of the same name in usr.
var merged = []string{"bin", "sbin", "lib", "lib32", "lib64"}

// inTree returns where in the tree the machine's file path belongs.
func inTree(path string) string {
	name := strings.TrimPrefix(filepath.Clean(path), "/")
	if dir, _, _ := strings.Cut(name, "/"); slices.Contains(merged, dir) {
		return "usr/" + name
	}
	return name
}

// copy adds the file at path, where symbolic links are followed, and a link if
// there are any. It returns the file's own path and, if it is new, what is in it.
func (w *tree) copy(path string) (resolved string, body []byte) {
	if w.err != nil {
		return "", nil
	}
	if resolved, w.err = filepath.EvalSymlinks(path); w.err != nil {
		return "", nil
	}
	if !w.done[inTree(resolved)] {
		if body, w.err = os.ReadFile(resolved); w.err == nil {
			w.file(inTree(resolved), 0o755, body)
		}
	}
	w.link(inTree(path), "/"+inTree(resolved)) // nothing if path is no link
	return resolved, body
}

// program adds a program with all that the kernel and the dynamic loader need
// to run it, and returns its path with symbolic links followed.
func (w *tree) program(path string) string {
	resolved, body := w.copy(path)
	if body == nil {
		return resolved
	}
	if line, ok := bytes.CutPrefix(body, []byte("#!")); ok {
		line, _, _ = bytes.Cut(line, []byte("\n"))
		if interp := strings.Fields(string(line)); len(interp) > 0 {
			w.program(interp[0])
		}
		return resolved
	}
	loader, err := loaderOf(body)
	if err == nil && loader == "" {
		return resolved // static
	}
	var list []byte
	if err == nil {
		cmd := exec.Command(loader, "--list", resolved)
		cmd.Env = []string{} // no LD_PRELOAD or LD_LIBRARY_PATH
		list, err = cmd.Output()
	}
	if err == nil && bytes.Contains(list, []byte("not found")) {
		err = errors.New(strings.TrimSpace(string(list)))
	}
	if err != nil {
		w.err = errors.Join(w.err, fmt.Errorf("libraries of %s: %w", resolved, err))
		return resolved
	}
	w.copy(loader)
	for word := range strings.FieldsSeq(string(list)) {
		if filepath.IsAbs(word) {
			w.library(word)
		}
	}
	return resolved
}

// loaderOf returns the dynamic loader of an ELF program, empty if it is static.
func loaderOf(body []byte) (string, error) {
	f, err := elf.NewFile(bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	for _, prog := range f.Progs {
		if prog.Type == elf.PT_INTERP {
			name, err := io.ReadAll(prog.Open())
			return string(bytes.TrimRight(name, "\x00")), err
		}
	}
	return "", nil
}

// library adds a library, and what it opens at run time, which no ELF file
// lists.
func (w *tree) library(path string) {
	w.copy(path)
	dir, name := filepath.Split(path)
	switch name {
	case "libc.so.6": // before 2.34, glibc reads /etc/passwd by this
		if nss := dir + "libnss_files.so.2"; unix.Access(nss, unix.R_OK) == nil {
			w.copy(nss)
		}
	case "libpam.so.0": // su, which only root runs here
		w.copy(dir + "security/pam_permit.so")
		w.file("etc/pam.d/su", 0o644, []byte("auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n"))
	}
}

// cacheDir returns the user's cache directory for this package, or one in the
// directory for temporary files if the user has none or may not write there,
// such as one who runs with the HOME of another.
func cacheDir() (string, error) {
	if dir, err := os.UserCacheDir(); err == nil {
		dir = filepath.Join(dir, "terminal-go", "testimage")
		if os.MkdirAll(dir, 0o755) == nil && unix.Access(dir, unix.W_OK) == nil {
			return dir, nil
		}
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("terminal-go-testimage-%d", os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	// Another user may have made it first, to have us use an image of theirs.
	var stat unix.Stat_t
	if err := unix.Lstat(dir, &stat); err != nil {
		return "", err
	}
	if int(stat.Uid) != os.Getuid() || stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return "", fmt.Errorf("%s is not a directory of this user", dir)
	}
	return dir, nil
}

// lock waits until no other process of this user makes the same image.
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
