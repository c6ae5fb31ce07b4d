package terminal

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// copyBuffer is what moves at once between a file and an archive.
const copyBuffer = 256 << 10

// An archive here is a tar stream as FileSystem describes it. Those we write are
// in GNU's format, which every tar reads: busybox passes over the long names of
// the POSIX one.

// pack is a file or tree of this machine that is to be an archive. It can be
// written more than once.
type pack struct {
	name string   // for errors
	file *os.File // nil: it is a tree
	root *os.Root
}

func openPack(name string) (*pack, error) {
	if name == "" || strings.ContainsRune(name, 0) {
		return nil, fs.ErrInvalid
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		root, err := os.OpenRoot(name)
		return &pack{name: name, root: root}, err
	case !info.Mode().IsRegular():
		return nil, errSpecial
	}
	file, err := os.OpenFile(name, os.O_RDONLY|nonblocking, 0)
	return &pack{name: name, file: file}, err
}

func (p *pack) close() {
	if p.root != nil {
		_ = p.root.Close()
	}
	if p.file != nil {
		_ = p.file.Close()
	}
}

// packing is one writing of a pack.
type packing struct {
	*pack
	ctx context.Context
	tw  *tar.Writer
	buf []byte
}

// pack writes the archive.
func (p *pack) pack(ctx context.Context, w io.Writer) error {
	g := packing{p, ctx, tar.NewWriter(w), make([]byte, copyBuffer)}
	err := g.write()
	if err != nil {
		return err
	}
	return g.tw.Close()
}

func (g *packing) write() error {
	if g.file == nil {
		info, err := g.root.Stat(".")
		if err != nil {
			return g.error(".", err)
		}
		return g.directory(".", info)
	}
	if _, err := g.file.Seek(0, io.SeekStart); err != nil {
		return hostError("copy", g.name, err)
	}
	return g.content("file", g.file)
}

// error is one with the path of something in the tree.
func (g *packing) error(rel string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &fs.PathError{Op: "copy", Path: filepath.Join(g.name, filepath.FromSlash(rel)), Err: err}
}

func header(name string, info fs.FileInfo) *tar.Header {
	return &tar.Header{
		Name:    name,
		Mode:    int64(info.Mode().Perm()),
		ModTime: info.ModTime().Truncate(time.Second),
		Format:  tar.FormatGNU,
	}
}

// directory writes a directory, what is in it, and the directory again: what
// unpacks it may have to write into one that is read-only in the end.
func (g *packing) directory(rel string, info fs.FileInfo) error {
	h := header("./"+rel+"/", info)
	if rel == "." {
		h.Name = "./"
	}
	h.Typeflag = tar.TypeDir
	first := *h
	first.Mode |= 0o700
	if err := g.tw.WriteHeader(&first); err != nil {
		return err
	}
	entries, err := g.list(rel)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := g.ctx.Err(); err != nil {
			return err
		}
		below := path.Join(rel, entry.Name())
		err := g.entry(below)
		if errors.Is(err, fs.ErrNotExist) && isPathError(err) {
			continue // vanished meanwhile
		}
		if err != nil {
			return err
		}
	}
	return g.tw.WriteHeader(h)
}

func (g *packing) list(rel string) ([]fs.DirEntry, error) {
	dir, err := g.root.Open(filepath.FromSlash(rel))
	if err != nil {
		return nil, g.error(rel, err)
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return nil, g.error(rel, err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, nil
}

func (g *packing) entry(rel string) error {
	local := filepath.FromSlash(rel)
	info, err := g.root.Lstat(local)
	if err != nil {
		return g.error(rel, err)
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		return g.directory(rel, info)
	case fs.ModeSymlink:
		target, err := g.root.Readlink(local)
		if err != nil {
			return g.error(rel, err)
		}
		h := header("./"+rel, info)
		h.Typeflag, h.Linkname = tar.TypeSymlink, target
		return g.tw.WriteHeader(h)
	case 0:
		f, err := g.root.OpenFile(local, os.O_RDONLY|nonblocking, 0)
		if err != nil {
			return g.error(rel, err)
		}
		defer f.Close()
		return g.content(rel, f)
	}
	return nil // a socket, a FIFO or a device
}

// content writes an open file. What is appended to it meanwhile is left out.
func (g *packing) content(rel string, f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	h := header("./"+rel, info)
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := g.tw.WriteHeader(h); err != nil {
		return err
	}
	for left := h.Size; left > 0; {
		if err := g.ctx.Err(); err != nil {
			return err
		}
		n, err := f.Read(g.buf[:min(left, int64(len(g.buf)))])
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // it was cut meanwhile
		}
		if n > 0 {
			if _, err := g.tw.Write(g.buf[:n]); err != nil {
				return err
			}
		} else if err != nil {
			return g.error(rel, err)
		}
		left -= int64(n)
	}
	return nil
}

func isFile(h *tar.Header) bool {
	return h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeGNUSparse
}

// cutShort is what the end of an archive means where more must come.
func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// within returns an entry's name below that of the first one: "" is the first
// one itself. Every element of it is a name.
func (first treeName) within(name string) (rel string, err error) {
	name = strings.TrimSuffix(name, "/")
	if name == string(first) {
		return "", nil
	}
	rel, ok := strings.CutPrefix(name, string(first)+"/")
	if !ok || !filepath.IsLocal(filepath.FromSlash(rel)) || filepath.Separator != '/' && strings.ContainsRune(rel, filepath.Separator) {
		return "", badName(name)
	}
	for element := range strings.SplitSeq(rel, "/") {
		if element == "" || element == "." || element == ".." {
			return "", badName(name)
		}
	}
	return rel, nil
}

// treeName is the name of an archive's first entry.
type treeName string

func newTreeName(h *tar.Header) treeName { return treeName(strings.TrimSuffix(h.Name, "/")) }

var errOutside = marked{errors.New("name leads out of the tree"), fs.ErrInvalid}

func badName(name string) error {
	return &fs.PathError{Op: "unpack", Path: clip(name), Err: errOutside}
}

// unpacker makes a tree of an archive that nobody vouches for. All it does is
// done below root, which no name, no link and no race leads out of; and it goes
// through no link either.
type unpacker struct {
	root  *os.Root
	dst   string // of root, for errors
	first treeName
	in    *source
	buf   []byte

	known string     // the directory that is known to be one, and to be reached through others only
	open  []finished // directories around the last entry, the outermost first
}

// finished is what a directory gets when all that is in it has come.
type finished struct {
	rel  string
	mode fs.FileMode
	time time.Time
}

// unpack makes a file or directory dst of an archive.
func unpack(archive io.Reader, dst string) error {
	in := &meter{r: archive}
	tr := tar.NewReader(in)
	first, err := tr.Next()
	if err != nil {
		return cutShort(err)
	}
	switch {
	case isFile(first):
		if err = unpackFile(tr, first, dst); err == nil {
			err = in.last(tr)
		}
	case first.Typeflag == tar.TypeDir:
		err = unpackTree(tr, first, dst, in)
	default:
		err = hostError("copy", dst, errSpecial)
	}
	if err != nil {
		return err
	}
	return in.drain()
}

// meter counts the zeros that were read last, to know an end from a cut: only at
// the former there is a block of them.
type meter struct {
	r     io.Reader
	on    bool // while headers are read
	zeros int
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if m.on {
		rest := len(bytes.TrimRight(p[:n], "\x00"))
		if rest > 0 {
			m.zeros = 0
		}
		m.zeros += n - rest
	}
	return n, err
}

// justWriter hides the ReadFrom that would do without the buffer.
type justWriter struct{ io.Writer }

// next is tr.Next, but the archive must have its proper end. The content of the
// entry before must have been read.
func (m *meter) next(tr *tar.Reader) (*tar.Header, error) {
	m.on, m.zeros = true, 0
	h, err := tr.Next()
	m.on = false
	if err == io.EOF && m.zeros < 512 {
		err = io.ErrUnexpectedEOF
	}
	return h, err
}

// mostPadding is what may come behind the end of an archive. tar fills up to
// 10 KiB; more would be an odd way to keep us reading.
const mostPadding = 1 << 20

// last wants the end of the archive next.
func (m *meter) last(tr *tar.Reader) error {
	h, err := m.next(tr)
	switch {
	case err == io.EOF:
		return nil
	case err == nil:
		return badName(h.Name)
	}
	return err
}

// drain reads the rest, so that its writer can come to an end.
func (m *meter) drain() error {
	n, err := io.CopyN(io.Discard, m.r, mostPadding)
	if err == io.EOF {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("archive: more than %d bytes behind its end", n-1)
	}
	return err
}

// unpackFile replaces the file dst, or what the link there points to.
func unpackFile(tr *tar.Reader, h *tar.Header, dst string) error {
	content := &source{tr: tr}
	target, err := replaceable(dst)
	if err == nil {
		err = replaceFile(target, func(f *os.File) error {
			_, err := io.CopyBuffer(justWriter{f}, content, make([]byte, copyBuffer))
			return err
		}, h.FileInfo().Mode().Perm(), h.ModTime)
	}
	switch {
	case content.err != nil:
		return content.err
	case err != nil:
		return hostError("copy", dst, err)
	}
	return nil
}

// source is the content of an archive's entries. It tells an error of the archive
// from one of the file that the content goes to, and has no method by which
// io.CopyBuffer would do without its buffer.
type source struct {
	tr  *tar.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.tr.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// replaceable returns the name at the end of the links that a name leads to,
// if there is a regular file or nothing.
func replaceable(name string) (string, error) {
	for range 40 {
		info, err := os.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return name, nil
		case err != nil:
			return "", pathless(err)
		case info.IsDir():
			return "", syscall.EISDIR
		case info.Mode().IsRegular():
			return name, nil
		case info.Mode().Type() != fs.ModeSymlink:
			return "", errSpecial
		}
		target, err := os.Readlink(name)
		if err != nil {
			return "", pathless(err)
		}
		if !filepath.IsAbs(target) {
			target = filepath.Dir(name) + string(filepath.Separator) + target // not cleaned: the directory may be a link
		}
		name = target
	}
	return "", syscall.ELOOP
}

// pathless is an error without the path that it came with.
func pathless(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}

// replaceFile writes a file beside name and then gives it the name. A zero time
// is now.
func replaceFile(name string, write func(*os.File) error, perm fs.FileMode, changed time.Time) (err error) {
	temp := filepath.Dir(name) + string(filepath.Separator) + tempName()
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return pathless(err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(temp)
			err = pathless(err)
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(perm), f.Close()); err != nil {
		return err
	}
	if !changed.IsZero() {
		if err := os.Chtimes(temp, changed, changed); err != nil {
			return err
		}
	}
	return os.Rename(temp, name)
}

// unpackTree makes or merges into the directory dst.
func unpackTree(tr *tar.Reader, first *tar.Header, dst string, in *meter) (err error) {
	info, err := os.Stat(dst)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = os.Mkdir(dst, 0o700)
	case err == nil && !info.IsDir():
		err = syscall.ENOTDIR
	}
	if err != nil {
		return hostError("copy", dst, err)
	}
	root, err := os.OpenRoot(dst)
	if err != nil {
		return hostError("copy", dst, err)
	}
	defer root.Close()
	u := &unpacker{root: root, dst: dst, first: newTreeName(first), in: &source{tr: tr}, buf: make([]byte, copyBuffer)}
	defer func() { err = cmp.Or(err, u.finish("", true)) }()
	for h := first; ; {
		if err := u.entry(h); err != nil {
			return err
		}
		if h, err = in.next(tr); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse && h.Size > 0 {
			if _, err := io.CopyBuffer(justWriter{io.Discard}, u.in, u.buf); err != nil {
				return err
			}
		}
	}
}

// error is one with the path of what could not be made.
func (u *unpacker) error(rel string, err error) error {
	return &fs.PathError{Op: "copy", Path: filepath.Join(u.dst, filepath.FromSlash(rel)), Err: pathless(err)}
}

// entry makes one entry of the archive.
func (u *unpacker) entry(h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeReg, tar.TypeGNUSparse, tar.TypeSymlink, tar.TypeLink:
	default:
		return nil // devices and the like, and what only speaks of the archive
	}
	rel, err := u.first.within(h.Name)
	if err != nil {
		return err
	}
	if rel == "" && h.Typeflag != tar.TypeDir {
		return u.error("", syscall.EISDIR)
	}
	if len(rel) > longestPath { // to go down grows with the square of the depth
		return &fs.PathError{Op: "copy", Path: clip(rel), Err: syscall.ENAMETOOLONG}
	}
	if err := u.finish(rel, false); err != nil {
		return err
	}
	if err := u.enter(parentOf(rel)); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		err = u.directory(rel, h)
	case tar.TypeSymlink:
		err = u.make(rel, func(temp string) error { return u.root.Symlink(h.Linkname, temp) })
	case tar.TypeLink:
		err = u.link(rel, h)
	default:
		err = u.make(rel, func(temp string) error { return u.file(temp, h) })
	}
	switch {
	case u.in.err != nil:
		return u.in.err
	case err != nil:
		return u.error(rel, err)
	}
	return nil
}

// parentOf returns the directory that something is in, "" for the tree's root.
func parentOf(rel string) string {
	return rel[:max(0, strings.LastIndexByte(rel, '/'))]
}

// local is a name for root.
func local(rel string) string { return filepath.FromSlash(cmp.Or(rel, ".")) }

// enter sees to it that all elements of a directory's name are directories and
// not links to some, and makes those that are missing.
func (u *unpacker) enter(dir string) error {
	if dir == u.known {
		return nil
	}
	for i := 0; i < len(dir); {
		end := strings.IndexByte(dir[i:], '/')
		if end < 0 {
			end = len(dir) - i
		}
		rel := dir[:i+end]
		i += end + 1
		if strings.HasPrefix(u.known, rel+"/") {
			continue
		}
		err := u.mkdir(rel, 0o755)
		if err != nil {
			return u.error(rel, err)
		}
	}
	u.known = dir
	return nil
}

// mkdir makes a directory unless there is one.
func (u *unpacker) mkdir(rel string, perm fs.FileMode) error {
	info, err := u.root.Lstat(local(rel))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return u.root.Mkdir(local(rel), perm)
	case err == nil && !info.IsDir():
		return syscall.ENOTDIR
	}
	return err
}

// directory makes a directory that can be written to until its mode is set.
func (u *unpacker) directory(rel string, h *tar.Header) error {
	if rel != "" {
		if err := u.mkdir(rel, 0o700); err != nil {
			return u.error(rel, err)
		}
	}
	mode := h.FileInfo().Mode().Perm()
	if err := u.root.Chmod(local(rel), mode|0o700); err != nil {
		return u.error(rel, err)
	}
	u.open = append(u.open, finished{rel, mode, h.ModTime})
	return nil
}

// finish sets mode and time of the directories that rel is not in.
func (u *unpacker) finish(rel string, all bool) error {
	var errs error
	for len(u.open) > 0 {
		last := u.open[len(u.open)-1]
		if !all && (last.rel == "" && rel != "" || strings.HasPrefix(rel, last.rel+"/")) {
			break
		}
		u.open = u.open[:len(u.open)-1]
		name := local(last.rel)
		if err := cmp.Or(u.root.Chtimes(name, last.time, last.time), u.root.Chmod(name, last.mode)); err != nil && errs == nil {
			errs = u.error(last.rel, err)
		}
	}
	return errs
}

// make makes something under a name of ours, which then replaces what is there
// under its own; so nothing is written through a link.
func (u *unpacker) make(rel string, f func(temp string) error) error {
	if info, err := u.root.Lstat(local(rel)); err == nil && info.IsDir() {
		return syscall.EISDIR
	}
	temp := local(path.Join(parentOf(rel), tempName()))
	err := f(temp)
	if err == nil {
		err = u.root.Rename(temp, local(rel))
	}
	_ = u.root.Remove(temp) // it is there after an error, and where both were names of one file
	return err
}

func (u *unpacker) file(temp string, h *tar.Header) error {
	f, err := u.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(justWriter{f}, u.in, u.buf)
	if err = cmp.Or(err, f.Chmod(h.FileInfo().Mode().Perm())); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return u.root.Chtimes(temp, h.ModTime, h.ModTime)
}

// link makes another name for what came earlier, be it a file or a link.
func (u *unpacker) link(rel string, h *tar.Header) error {
	old, err := u.first.within(h.Linkname)
	if err != nil {
		return err
	}
	if len(old) > longestPath {
		return syscall.ENAMETOOLONG
	}
	known := u.known
	if err := u.enter(parentOf(old)); err != nil {
		return err
	}
	u.known = known
	info, err := u.root.Lstat(local(old))
	switch {
	case err != nil:
		return err
	case info.Mode().IsRegular():
		return u.make(rel, func(temp string) error { return u.root.Link(local(old), temp) })
	case info.Mode().Type() == fs.ModeSymlink:
		target, err := u.root.Readlink(local(old))
		if err != nil {
			return err
		}
		return u.make(rel, func(temp string) error { return u.root.Symlink(target, temp) })
	}
	return errSpecial
}

// repack reads an archive whose first header has been read, and returns it with
// other names, made of those below the tree's root, "" for that itself, and with
// what edit makes of the headers. What is no file, directory or link is left out.
func repack(first *tar.Header, tr *tar.Reader, name func(rel string) string, edit func(*tar.Header)) *io.PipeReader {
	r, w := io.Pipe()
	go func() { // ends with the archive, or when its reader is closed
		w.CloseWithError(repackTo(w, first, tr, name, edit))
	}()
	return r
}

func repackTo(w io.Writer, first *tar.Header, tr *tar.Reader, name func(string) string, edit func(*tar.Header)) error {
	tree := newTreeName(first)
	tw := tar.NewWriter(w)
	buf := make([]byte, copyBuffer)
	for h, err := first, error(nil); ; h, err = tr.Next() {
		if err == io.EOF {
			return tw.Close()
		} else if err != nil {
			return err
		}
		next, err := tree.renamed(h, name)
		if err != nil {
			return err
		}
		if next == nil {
			continue
		}
		edit(next)
		if err := tw.WriteHeader(next); err != nil {
			return err
		}
		if _, err := io.CopyBuffer(justWriter{tw}, &source{tr: tr}, buf); err != nil {
			return err
		}
	}
}

// renamed is what becomes of a header, nil if nothing does.
func (first treeName) renamed(h *tar.Header, name func(rel string) string) (*tar.Header, error) {
	next := &tar.Header{Typeflag: h.Typeflag, Mode: h.Mode & 0o777, ModTime: h.ModTime.Truncate(time.Second), Format: tar.FormatGNU}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		next.Typeflag, next.Size = tar.TypeReg, h.Size
	case tar.TypeSymlink:
		next.Linkname = h.Linkname
	case tar.TypeLink:
		old, err := first.within(h.Linkname)
		if err != nil {
			return nil, err
		}
		next.Linkname = name(old)
	case tar.TypeDir:
	default:
		return nil, nil
	}
	rel, err := first.within(h.Name)
	if err != nil {
		return nil, err
	}
	next.Name = name(rel)
	if h.Typeflag == tar.TypeDir {
		next.Name = strings.TrimSuffix(next.Name, "/") + "/"
	}
	return next, nil
}
