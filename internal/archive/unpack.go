// Making a file or a tree of an archive that is not trusted.

package archive

import (
	"archive/tar"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/terminal-go/terminal/internal/capture"
)

// Unpack makes the file or directory dst of an archive from an untrusted source:
//
//  1. Nothing outside of dst is written or changed, whatever the archive has in
//     it. Links are made, but none below dst is followed.
//  2. A name that leads out of the tree is an error that matches fs.ErrInvalid.
//  3. A file replaces what has its name once it is complete, as by ReplaceFile. A
//     directory is merged into one that is there. Neither replaces the other.
//  4. Permissions and modification times are set; owners and the bits for
//     set-user-id, set-group-id and sticky are not. Devices and FIFOs are left out.
//  5. An archive that is truncated is io.ErrUnexpectedEOF. After an error in a
//     tree, the part that was unpacked stays.
func Unpack(archive io.Reader, dst string) error {
	in := &endReader{r: archive}
	tr := tar.NewReader(in)
	first, err := tr.Next()
	if err != nil {
		return UnexpectedEOF(err)
	}
	switch {
	case IsFile(first):
		if err = unpackFile(tr, first, dst); err == nil {
			err = in.end(tr)
		}
	case first.Typeflag == tar.TypeDir:
		err = unpackTree(tr, first, dst, in)
	default:
		err = HostError("copy", dst, ErrSpecial)
	}
	if err != nil {
		return err
	}
	return in.drain()
}

// unpackFile replaces the file dst, or the one that a symbolic link there points
// to.
func unpackFile(tr *tar.Reader, h *tar.Header, dst string) error {
	content := &contentReader{tr: tr}
	err := ReplaceFile(dst, h.FileInfo().Mode().Perm(), h.ModTime, func(f *os.File) error {
		_, err := io.CopyBuffer(onlyWriter{f}, content, make([]byte, copyBuffer))
		return err
	})
	switch {
	case content.err != nil:
		return content.err
	case err != nil:
		return HostError("copy", dst, err)
	}
	return nil
}

// An unpacker makes a tree of an archive. It works below an os.Root, out of
// which no name, no link and no race leads; and it goes through no link either,
// because one that stays inside may come from the archive.
type unpacker struct {
	root  *os.Root
	dst   string // path of root, for errors
	first rootName
	in    *contentReader
	buf   []byte

	entered string        // directory that was entered last; neither it nor its parents are links
	open    []dirMetadata // directories that the last entry is in, the outermost first
}

// dirMetadata is set on a directory once all of its entries have been made.
type dirMetadata struct {
	rel      string
	mode     fs.FileMode
	modified time.Time
}

// unpackTree makes the directory dst, or merges the tree into it.
func unpackTree(tr *tar.Reader, first *tar.Header, dst string, in *endReader) (err error) {
	info, err := os.Stat(dst)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = os.Mkdir(dst, 0o700)
	case err == nil && !info.IsDir():
		err = syscall.ENOTDIR
	}
	if err != nil {
		return HostError("copy", dst, err)
	}
	root, err := os.OpenRoot(dst)
	if err != nil {
		return HostError("copy", dst, err)
	}
	defer root.Close()
	u := &unpacker{root: root, dst: dst, first: newRootName(first), in: &contentReader{tr: tr}, buf: make([]byte, copyBuffer)}
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
		if !IsFile(h) && h.Size > 0 { // entry does not read the content
			if _, err := io.CopyBuffer(onlyWriter{io.Discard}, u.in, u.buf); err != nil {
				return err
			}
		}
	}
}

// error returns an error with the path of rel on this machine.
func (u *unpacker) error(rel string, err error) error {
	return HostError("copy", filepath.Join(u.dst, filepath.FromSlash(rel)), err)
}

// entry makes what one entry of the archive describes.
func (u *unpacker) entry(h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeReg, tar.TypeGNUSparse, tar.TypeSymlink, tar.TypeLink:
	default:
		return nil // devices and FIFOs, and headers about the archive itself
	}
	rel, err := u.first.relative(h.Name)
	if err != nil {
		return err
	}
	if rel == "" && h.Typeflag != tar.TypeDir {
		return u.error("", syscall.EISDIR)
	}
	if len(rel) > MaxPath { // os.Root takes time that grows with the square of the depth
		return &fs.PathError{Op: "copy", Path: capture.Clip(rel), Err: syscall.ENAMETOOLONG}
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
		err = u.replace(rel, func(temp string) error { return u.root.Symlink(h.Linkname, temp) })
	case tar.TypeLink:
		err = u.link(rel, h)
	default:
		err = u.replace(rel, func(temp string) error { return u.file(temp, h) })
	}
	switch {
	case u.in.err != nil:
		return u.in.err
	case err != nil:
		return u.error(rel, err)
	}
	return nil
}

// enter checks that each element of dir is a directory and not a link to one,
// and makes those that are missing.
func (u *unpacker) enter(dir string) error {
	if dir == u.entered {
		return nil
	}
	for i := 0; i < len(dir); {
		end := strings.IndexByte(dir[i:], '/')
		if end < 0 {
			end = len(dir) - i
		}
		rel := dir[:i+end]
		i += end + 1
		if strings.HasPrefix(u.entered, rel+"/") {
			continue
		}
		err := u.mkdir(rel, 0o755)
		if err != nil {
			return u.error(rel, err)
		}
	}
	u.entered = dir
	return nil
}

// mkdir makes the directory rel unless there is one.
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

// directory makes the directory rel, writable until its own mode is set by
// finish.
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
	u.open = append(u.open, dirMetadata{rel, mode, h.ModTime})
	return nil
}

// finish sets mode and time of the open directories that rel is not in; if all
// is true, of all of them. It returns the first error.
func (u *unpacker) finish(rel string, all bool) error {
	var first error
	for len(u.open) > 0 {
		last := u.open[len(u.open)-1]
		if !all && (last.rel == "" && rel != "" || strings.HasPrefix(rel, last.rel+"/")) {
			break
		}
		u.open = u.open[:len(u.open)-1]
		name := local(last.rel)
		if err := cmp.Or(u.root.Chtimes(name, last.modified, last.modified), u.root.Chmod(name, last.mode)); err != nil && first == nil {
			first = u.error(last.rel, err)
		}
	}
	return first
}

// replace calls create with a temporary name and renames what that made to rel.
// So nothing is written through a link at rel, and what is there is whole.
func (u *unpacker) replace(rel string, create func(temp string) error) error {
	if info, err := u.root.Lstat(local(rel)); err == nil && info.IsDir() {
		return syscall.EISDIR
	}
	temp := local(path.Join(parentOf(rel), TempName()))
	err := create(temp)
	if err == nil {
		err = u.root.Rename(temp, local(rel))
	}
	_ = u.root.Remove(temp) // there after an error, and after a rename between two names of one file (rename(2))
	return err
}

// file makes the file temp with the content and the metadata of an entry.
func (u *unpacker) file(temp string, h *tar.Header) error {
	f, err := u.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(onlyWriter{f}, u.in, u.buf)
	if err = cmp.Or(err, f.Chmod(h.FileInfo().Mode().Perm())); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return u.root.Chtimes(temp, h.ModTime, h.ModTime)
}

// link makes rel another name of what came earlier, a file or a symbolic link.
func (u *unpacker) link(rel string, h *tar.Header) error {
	old, err := u.first.relative(h.Linkname)
	if err != nil {
		return err
	}
	if len(old) > MaxPath {
		return syscall.ENAMETOOLONG
	}
	entered := u.entered
	if err := u.enter(parentOf(old)); err != nil {
		return err
	}
	u.entered = entered
	info, err := u.root.Lstat(local(old))
	switch {
	case err != nil:
		return err
	case info.Mode().IsRegular():
		return u.replace(rel, func(temp string) error { return u.root.Link(local(old), temp) })
	case info.Mode().Type() == fs.ModeSymlink:
		target, err := u.root.Readlink(local(old))
		if err != nil {
			return err
		}
		return u.replace(rel, func(temp string) error { return u.root.Symlink(target, temp) })
	}
	return ErrSpecial
}
