// Renaming the entries of an archive as it passes.

package archive

import (
	"archive/tar"
	"io"
	"strings"
	"time"
)

// Repack reads the rest of an archive whose first header has been read from tr,
// and returns it with other names and headers:
//
//  1. rename returns the new name for a name below the root of the tree, "" for
//     the root itself.
//  2. Permissions, modification time, size and link target are kept; owners and
//     all else are not. If edit is not nil, it may change each header after that.
//  3. What is no file, directory or link is left out.
//
// The archive is read by a goroutine that ends with the archive or, after the
// returned reader is closed, with the next read of the archive.
func Repack(first *tar.Header, tr *tar.Reader, rename func(rel string) string, edit func(*tar.Header)) *io.PipeReader {
	r, w := io.Pipe()
	go func() {
		w.CloseWithError(repack(w, first, tr, rename, edit))
	}()
	return r
}

func repack(w io.Writer, first *tar.Header, tr *tar.Reader, rename func(string) string, edit func(*tar.Header)) error {
	root := newRootName(first)
	tw := tar.NewWriter(w)
	buf := make([]byte, copyBuffer)
	for h, err := first, error(nil); ; h, err = tr.Next() {
		if err == io.EOF {
			return tw.Close()
		} else if err != nil {
			return err
		}
		renamed, err := root.renamed(h, rename)
		if err != nil {
			return err
		}
		if renamed == nil {
			continue
		}
		if edit != nil {
			edit(renamed)
		}
		if err := tw.WriteHeader(renamed); err != nil {
			return err
		}
		if _, err := io.CopyBuffer(onlyWriter{tw}, &contentReader{tr: tr}, buf); err != nil {
			return err
		}
	}
}

// renamed returns the header that replaces h, or nil if the entry is left out.
func (root rootName) renamed(h *tar.Header, rename func(rel string) string) (*tar.Header, error) {
	next := &tar.Header{Typeflag: h.Typeflag, Mode: h.Mode & 0o777, ModTime: h.ModTime.Truncate(time.Second), Format: tar.FormatGNU}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		next.Typeflag, next.Size = tar.TypeReg, h.Size
	case tar.TypeSymlink:
		next.Linkname = h.Linkname
	case tar.TypeLink:
		old, err := root.relative(h.Linkname)
		if err != nil {
			return nil, err
		}
		next.Linkname = rename(old)
	case tar.TypeDir:
	default:
		return nil, nil
	}
	rel, err := root.relative(h.Name)
	if err != nil {
		return nil, err
	}
	next.Name = rename(rel)
	if h.Typeflag == tar.TypeDir {
		next.Name = strings.TrimSuffix(next.Name, "/") + "/"
	}
	return next, nil
}
