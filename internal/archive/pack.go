// Writing a file or a tree of this machine as an archive.

package archive

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Source is a file or a tree of this machine that can be packed, more than
// once. It must be closed.
type Source struct {
	name string   // for errors
	file *os.File // nil if it is a tree
	root *os.Root // nil if it is a file
}

// Open opens the file or directory name for packing. A symbolic link at name is
// followed.
func Open(name string) (*Source, error) {
	if name == "" || strings.ContainsRune(name, 0) {
		return nil, fs.ErrInvalid
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		root, err := os.OpenRoot(name)
		return &Source{name: name, root: root}, err
	case !info.Mode().IsRegular():
		return nil, ErrSpecial
	}
	file, err := os.OpenFile(name, os.O_RDONLY|nonblocking, 0)
	return &Source{name: name, file: file}, err
}

// Close closes the file or the directory.
func (s *Source) Close() error {
	if s.file != nil {
		return s.file.Close()
	}
	return s.root.Close()
}

// Pack writes the archive to w. Links are written as links. Sockets, FIFOs,
// devices and what vanishes meanwhile are left out. Pack returns soon after ctx
// has ended, unless w blocks.
func (s *Source) Pack(ctx context.Context, w io.Writer) error {
	p := packer{s, ctx, tar.NewWriter(w), make([]byte, copyBuffer)}
	if err := p.source(); err != nil {
		return err
	}
	return p.tw.Close()
}

// packer holds the state of one Pack.
type packer struct {
	*Source
	ctx context.Context
	tw  *tar.Writer
	buf []byte
}

func (p *packer) source() error {
	if p.file == nil {
		info, err := p.root.Stat(".")
		if err != nil {
			return p.error(".", err)
		}
		return p.directory(".", info)
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return HostError("copy", p.name, err)
	}
	return p.content("file", p.file)
}

// error returns an error with the path of rel on this machine.
func (p *packer) error(rel string, err error) error {
	return HostError("copy", filepath.Join(p.name, filepath.FromSlash(rel)), err)
}

func newHeader(name string, info fs.FileInfo) *tar.Header {
	return &tar.Header{
		Name:    name,
		Mode:    int64(info.Mode().Perm()),
		ModTime: info.ModTime().Truncate(time.Second),
		Format:  tar.FormatGNU,
	}
}

// directory writes a directory, its entries, and the directory again with its
// own mode: one that ends up read-only must be writable while it is unpacked.
func (p *packer) directory(rel string, info fs.FileInfo) error {
	h := newHeader("./"+rel+"/", info)
	if rel == "." {
		h.Name = "./"
	}
	h.Typeflag = tar.TypeDir
	first := *h
	first.Mode |= 0o700
	if err := p.tw.WriteHeader(&first); err != nil {
		return err
	}
	entries, err := p.list(rel)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		err := p.entry(path.Join(rel, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) && IsPathError(err) {
			continue // vanished since it was listed
		}
		if err != nil {
			return err
		}
	}
	return p.tw.WriteHeader(h)
}

// list returns the entries of a directory, sorted, and closes it, so that a deep
// tree does not use up file descriptors.
func (p *packer) list(rel string) ([]fs.DirEntry, error) {
	dir, err := p.root.Open(filepath.FromSlash(rel))
	if err != nil {
		return nil, p.error(rel, err)
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return nil, p.error(rel, err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, nil
}

func (p *packer) entry(rel string) error {
	name := filepath.FromSlash(rel)
	info, err := p.root.Lstat(name)
	if err != nil {
		return p.error(rel, err)
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		return p.directory(rel, info)
	case fs.ModeSymlink:
		target, err := p.root.Readlink(name)
		if err != nil {
			return p.error(rel, err)
		}
		h := newHeader("./"+rel, info)
		h.Typeflag, h.Linkname = tar.TypeSymlink, target
		return p.tw.WriteHeader(h)
	case 0:
		f, err := p.root.OpenFile(name, os.O_RDONLY|nonblocking, 0)
		if err != nil {
			return p.error(rel, err)
		}
		defer f.Close()
		return p.content(rel, f)
	}
	return nil // a socket, a FIFO or a device
}

// content writes an open file. Its header, which comes first, has the size: what
// is appended to the file meanwhile is left out.
func (p *packer) content(rel string, f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	h := newHeader("./"+rel, info)
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := p.tw.WriteHeader(h); err != nil {
		return err
	}
	for left := h.Size; left > 0; {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		n, err := f.Read(p.buf[:min(left, int64(len(p.buf)))])
		if n > 0 {
			if _, err := p.tw.Write(p.buf[:n]); err != nil {
				return err
			}
		} else if err != nil {
			return p.error(rel, UnexpectedEOF(err)) // EOF: the file was truncated meanwhile
		}
		left -= int64(n)
	}
	return nil
}
