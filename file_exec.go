package terminal

import (
	"archive/tar"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"
)

// file.sh is what a Terminal does with files through Exec.
//
//go:embed file.sh
var fileSource string

var fileScript = sync.OnceValue(func() string { return withoutComments(fileSource) })

// fileCodes are the exit codes of file.sh that have a meaning.
var fileCodes = []struct {
	name string
	err  error
}{
	{"none", syscall.ENOENT},
	{"denied", syscall.EACCES},
	{"isdir", syscall.EISDIR},
	{"notdir", syscall.ENOTDIR},
	{"special", errSpecial},
	{"large", errTooLarge},
	{"full", syscall.ENOSPC},
	{"readonly", syscall.EROFS},
	{"loop", syscall.ELOOP},
	{"notar", marked{errors.New("the environment has no tar, which a directory needs; install it there, or copy the files one by one"), errors.ErrUnsupported}},
	{"short", io.ErrUnexpectedEOF},
	{"elsewhere", errors.ErrUnsupported},
	{"failed", nil}, // the script's stderr says more
}

const firstFileCode = 80

var errSpecial = marked{errors.New("neither a file nor a directory"), fs.ErrInvalid}

// execFiles is the FileSystem of an Executor that has none.
type execFiles struct {
	ex  Executor
	env map[string]string

	mu   sync.Mutex // guards the rest
	ids  []string   // of the runs so far
	dirt [][]string // what was written to, for clean
}

func (f *execFiles) ran() bool { return len(f.runs()) > 0 }

func (f *execFiles) runs() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ids
}

// ReadFile reads a file through cat.
func (f *execFiles) ReadFile(ctx context.Context, name string, w io.Writer) error {
	return f.do(ctx, "read", name, nil, w, "fs_max", strconv.Itoa(MaxFile))
}

// WriteFile writes what r has, all of which it reads first: only then is it
// known how much there should be.
func (f *execFiles) WriteFile(ctx context.Context, name string, r io.Reader, perm fs.FileMode) error {
	sized, ok := r.(*bytes.Reader)
	if !ok {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		sized = bytes.NewReader(data)
	}
	return f.write(ctx, name, sized, int64(sized.Len()), perm, time.Time{})
}

func (f *execFiles) write(ctx context.Context, name string, r io.Reader, size int64, perm fs.FileMode, changed time.Time) error {
	vars := commitVars(size, perm, changed)
	if size <= shortText {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if utf8.Valid(data) && bytes.IndexByte(data, 0) < 0 && len(quote(string(data))) <= 2*shortText {
			return f.do(ctx, "write", name, nil, nil, append(vars, "fs_form", "text", "fs_text", string(data))...)
		}
		r = bytes.NewReader(data)
	}
	return f.do(ctx, "write", name, r, nil, append(vars, "fs_form", "input")...)
}

// shortText is the size up to which a text goes in the script itself: input
// may cost a connection of its own.
const shortText = 8 << 10

// commitVars are what a file is to have before it gets its name.
func commitVars(size int64, perm fs.FileMode, changed time.Time) []string {
	stamp := ""
	if !changed.IsZero() {
		stamp = changed.UTC().Format("200601021504.05")
	}
	return []string{"fs_size", strconv.FormatInt(size, 10), "fs_mode", strconv.FormatUint(uint64(perm.Perm()), 8), "fs_time", stamp}
}

// CopyTo writes a file as WriteFile does, and gives a tree to tar.
func (f *execFiles) CopyTo(ctx context.Context, name string, archive io.Reader) error {
	tr := tar.NewReader(archive)
	first, err := tr.Next()
	if err != nil {
		return cutShort(err)
	}
	if isFile(first) {
		return f.write(ctx, name, tr, first.Size, first.FileInfo().Mode(), first.ModTime)
	}
	r := repack(first, tr, func(rel string) string { return "./" + rel }, func(*tar.Header) {})
	defer r.Close()
	return f.do(ctx, "to", name, r, nil)
}

// CopyFrom gets a file from cat, and a tree from tar.
func (f *execFiles) CopyFrom(ctx context.Context, name string, archive io.Writer) error {
	w := &fromWriter{archive: archive}
	if err := f.do(ctx, "from", name, nil, w); err != nil {
		return err
	}
	return w.end()
}

// clean removes what a write may have left.
func (f *execFiles) clean(ctx context.Context) {
	f.mu.Lock()
	dirt := f.dirt
	f.dirt = nil
	f.mu.Unlock()
	for _, vars := range dirt {
		_ = f.exec(ctx, "clean", nil, nil, vars...)
	}
}

// do runs file.sh and makes a PathError of what it says.
func (f *execFiles) do(ctx context.Context, op, name string, stdin io.Reader, stdout io.Writer, vars ...string) error {
	vars = append([]string{"fs_name", name, "fs_temp", tempName()}, vars...)
	err := f.exec(ctx, op, stdin, stdout, vars...)
	if err == nil {
		return nil
	}
	if op == "write" || op == "to" {
		f.mu.Lock()
		f.dirt = append(f.dirt, vars[:4])
		f.mu.Unlock()
	}
	if said, ok := err.(scriptError); ok {
		return &fs.PathError{Op: verbs[op], Path: name, Err: said.error}
	}
	return err
}

// ask runs an operation of file.sh that prints no more than a name.
func (f *execFiles) ask(ctx context.Context, op, name string, vars ...string) (string, error) {
	a := newShortAnswer(maxAnswer)
	if err := f.do(ctx, op, name, nil, a, append(vars, "fs_word", a.word())...); err != nil {
		return "", err
	}
	return a.text()
}

// scriptError is what file.sh has to say about a path.
type scriptError struct{ error }

// verbs are PathError's for the words of file.sh.
var verbs = map[string]string{
	"read": "read", "write": "write", "from": "copy", "to": "copy", "place": "copy", "why": "copy", "begin": "write", "commit": "write",
}

// exec runs file.sh. A writer of ours may fail, which one that an Executor is
// given may not: it ends the command instead.
func (f *execFiles) exec(ctx context.Context, op string, stdin io.Reader, stdout io.Writer, vars ...string) error {
	run, end := context.WithCancel(ctx)
	defer end()
	out := &fileSink{w: stdout, fail: end}
	defer out.end()
	said := newOutput(maxSaid, 0)
	defer said.end()
	_, stderr := said.streams(nil, io.Discard)

	var script strings.Builder
	for i, c := range fileCodes {
		fmt.Fprintf(&script, "fs_%s=%d ", c.name, firstFileCode+i)
	}
	fmt.Fprintf(&script, "fs_op=%s\n", op)
	answer := newAnswer(out)
	script.WriteString(answer.prologue() + assignments(vars) + fileScript())
	id := newRunID()
	f.mu.Lock()
	f.ids = append(f.ids, id)
	f.mu.Unlock()
	code, err := f.ex.Exec(run, Command{
		Script: script.String(),
		Dir:    "/",
		Env:    merge(f.env, map[string]string{RunIDEnv: id}),
		Stdin:  stdin,
		Stdout: answer,
		Stderr: stderr,
	})
	if failed := out.end(); failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.ids = f.ids[:len(f.ids)-1] // it has ended by itself
	f.mu.Unlock()
	if code == 0 {
		if !answer.seen() {
			return scriptError{errNoAnswer}
		}
		return nil
	}
	if i := code - firstFileCode; i >= 0 && i < len(fileCodes) && fileCodes[i].err != nil {
		return scriptError{fileCodes[i].err}
	}
	text, _ := said.end()
	return scriptError{fmt.Errorf("file script ended with code %d: %s", code, strings.TrimSpace(text))}
}

func tempName() string { return ".terminal-" + newRunID()[:16] }

// fileSink is the output of a command whose reader may fail.
type fileSink struct {
	fail func()

	mu  sync.Mutex // guards the rest, also while w is written to
	w   io.Writer  // nil: nobody listens any more
	err error
}

func (s *fileSink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w == nil || s.err != nil {
		return len(p), nil
	}
	if _, s.err = s.w.Write(p); s.err != nil {
		s.fail()
	}
	return len(p), nil
}

func (s *fileSink) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w = nil
	return s.err
}

// fromWriter makes an archive of what file.sh prints: a line that says what
// follows, and then that.
type fromWriter struct {
	archive io.Writer
	head    []byte
	begun   bool
	file    *tar.Writer // nil: an archive follows
	left    int64       // bytes of the file still to come
}

func (w *fromWriter) Write(p []byte) (int, error) {
	n := len(p)
	if !w.begun {
		head, rest, ok := bytes.Cut(p, []byte("\n"))
		w.head = append(w.head, head...)
		if len(w.head) > 100 {
			return 0, fmt.Errorf("file script: unexpected answer %q", clip(string(w.head)))
		}
		if !ok {
			return n, nil
		}
		w.begun = true
		if err := w.begin(strings.Fields(string(w.head))); err != nil {
			return 0, err
		}
		p = rest
	}
	if w.file == nil {
		_, err := w.archive.Write(p)
		return n, err
	}
	p = p[:min(int64(len(p)), w.left)] // the file may be growing
	w.left -= int64(len(p))
	_, err := w.file.Write(p)
	return n, err
}

// begin reads the line: d, or f with the size, the mode as ls writes it, and
// the time if that is known.
func (w *fromWriter) begin(words []string) (err error) {
	if len(words) == 1 && words[0] == "d" {
		return nil
	}
	if len(words) < 3 || words[0] != "f" || len(words[2]) < 10 {
		return fmt.Errorf("file script: unexpected answer %q", clip(string(w.head)))
	}
	if w.left, err = strconv.ParseInt(words[1], 10, 64); err != nil {
		return fmt.Errorf("file script: size: %w", err)
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: "file", Size: w.left, Format: tar.FormatGNU, ModTime: time.Now()}
	for i, c := range []byte(words[2][1:10]) {
		h.Mode <<= 1
		if c != '-' && !(i%3 == 2 && (c == 'S' || c == 'T')) {
			h.Mode |= 1
		}
	}
	if len(words) > 3 {
		if s, err := strconv.ParseInt(words[3], 10, 64); err == nil {
			h.ModTime = time.Unix(s, 0)
		}
	}
	w.file = tar.NewWriter(w.archive)
	return w.file.WriteHeader(h)
}

func (w *fromWriter) end() error {
	switch {
	case !w.begun || w.left > 0:
		return io.ErrUnexpectedEOF
	case w.file != nil:
		return w.file.Close()
	}
	return nil
}
