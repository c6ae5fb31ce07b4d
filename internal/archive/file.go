// Reading and replacing one file of this machine.

package archive

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/terminal-go/terminal/internal/spawn"
)

// OpenRegular opens a regular file for reading. It returns syscall.EISDIR for a
// directory, and ErrSpecial for anything else, without waiting for the other end
// of a FIFO.
func OpenRegular(name string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|nonblocking, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = syscall.EISDIR
	case !info.Mode().IsRegular():
		err = ErrSpecial
	default:
		return f, info, nil
	}
	_ = f.Close()
	return nil, nil, err
}

// ReplaceFile makes the regular file name, or replaces it, with what write
// writes and with the permissions perm. If modified is not zero, it becomes the
// file's modification time. Symbolic links at name are followed and stay.
//
// The content is written to a temporary file in the same directory, which is
// renamed when it is complete. So a reader sees the old content or the new one,
// and after an error the old file is unchanged and nothing else is left. The
// error has no path in it; see HostError.
func ReplaceFile(name string, perm fs.FileMode, modified time.Time, write func(*os.File) error) (err error) {
	name, err = followLinks(name)
	if err != nil {
		return err
	}
	temp := filepath.Dir(name) + string(filepath.Separator) + TempName()
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return cause(err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(temp)
			err = cause(err)
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(perm), f.Close()); err != nil {
		return err
	}
	if !modified.IsZero() {
		if err := os.Chtimes(temp, modified, modified); err != nil {
			return err
		}
	}
	return os.Rename(temp, name)
}

// maxLinks is how many symbolic links are followed, as on Linux
// (path_resolution(7)).
const maxLinks = 40

// followLinks returns the name at the end of the symbolic links at name. There
// must be a regular file or nothing.
func followLinks(name string) (string, error) {
	for range maxLinks {
		info, err := os.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return name, nil
		case err != nil:
			return "", cause(err)
		case info.IsDir():
			return "", syscall.EISDIR
		case info.Mode().IsRegular():
			return name, nil
		case info.Mode().Type() != fs.ModeSymlink:
			return "", ErrSpecial
		}
		target, err := os.Readlink(name)
		if err != nil {
			return "", cause(err)
		}
		if !filepath.IsAbs(target) {
			// Not filepath.Join: the directory may be a link too, and then
			// cleaning ".." away would lead elsewhere.
			target = filepath.Dir(name) + string(filepath.Separator) + target
		}
		name = target
	}
	return "", syscall.ELOOP
}

// TempName returns a random name for a file that is being written, beside the
// one that it will replace.
func TempName() string { return ".terminal-" + spawn.NewRunID()[:16] }
