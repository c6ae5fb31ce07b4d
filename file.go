// This file holds the file methods of Terminal and the FileSystem capability;
// the shell fallback is in internal/posixfs, the tar format in internal/archive.

package terminal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/terminal-go/terminal/internal/archive"
	"github.com/terminal-go/terminal/internal/posixfs"
	"github.com/terminal-go/terminal/internal/spawn"
)

// MaxFile is the largest size in bytes of a file that Terminal.ReadFile reads.
// CopyFrom has no limit.
const MaxFile = spawn.MaxFile

// Linux limits of names in bytes, NUL excluded: NAME_MAX and PATH_MAX of
// limits.h.
const (
	longestName = 255
	longestPath = 4095
)

// A FileSystem is an Executor that can transfer files natively. For other
// Executors, and if a method returns errors.ErrUnsupported, a Terminal runs sh
// scripts through Exec. Those need cat, chmod, ls, mv, rm and touch in the
// environment, and tar for directories.
//
// A FileSystem guarantees:
//
//  1. Names are absolute paths in the environment. Symbolic links are followed,
//     also in the last element of a name.
//  2. New files belong to the user who runs the commands. No method does what
//     a command could not do.
//  3. If a path is at fault, the error is an *fs.PathError that matches the
//     operating system's error: fs.ErrNotExist, fs.ErrPermission,
//     syscall.EISDIR, syscall.ENOTDIR, syscall.ENOSPC and so on. It matches
//     fs.ErrInvalid if the file is neither regular nor a directory. Other
//     errors are those of Exec.
//  4. When ctx ends, a method returns an error soon.
//  5. A method that returns errors.ErrUnsupported has changed nothing in the
//     environment and written nothing to w or archive. It may have read from
//     archive.
type FileSystem interface {
	// ReadFile writes the content of a regular file to w. If the file is
	// larger than MaxFile, ReadFile writes nothing and returns ErrTooLarge.
	ReadFile(ctx context.Context, name string, w io.Writer) error

	// WriteFile creates or replaces a file with the content of r.
	//
	//  1. Its permissions are exactly perm; the umask does not apply.
	//  2. A reader sees the whole old or the whole new content, never a part.
	//  3. On an error the old file is unchanged, and no temporary file is left.
	//  4. The parent directory must exist.
	WriteFile(ctx context.Context, name string, r io.Reader, perm fs.FileMode) error

	// CopyTo creates name from a tar archive.
	//
	//  1. The first entry is the file or directory itself, under any name. The
	//     names of all other entries begin with that name and a slash.
	//  2. A directory precedes its entries. It comes a second time after them,
	//     with its final mode and time, because writing entries changes both.
	//  3. A file is replaced as by WriteFile. An existing directory is merged
	//     into.
	//  4. Owners in the archive are ignored.
	CopyTo(ctx context.Context, name string, archive io.Reader) error

	// CopyFrom writes the file or directory name as an archive in the format
	// of CopyTo. A directory need not come twice. Sockets, FIFOs and devices
	// inside a directory may be left out.
	CopyFrom(ctx context.Context, name string, archive io.Writer) error
}

// ReadFile returns the content of a regular file in the task's environment. If
// the file is larger than MaxFile, the error matches ErrTooLarge. Files in
// /proc, whose size is reported as 0, can be read too. A relative name is
// relative to Config.Dir. Symbolic links are followed.
//
// The following holds for ReadFile, WriteFile, CopyTo and CopyFrom. If task is
// "", it is the task of the context (see WithTask), else "default". Each is a
// call of the task, like Run, but Config.Approve is not called, and only ctx
// limits its time. The error is an *Error. If a path is at fault, it wraps an
// *fs.PathError and matches fs.ErrNotExist, fs.ErrPermission, syscall.EISDIR,
// syscall.ENOTDIR or syscall.ENOSPC; it matches fs.ErrInvalid if the name is
// invalid or the file is neither regular nor a directory. It matches ErrClosed,
// ErrGone, ErrUnavailable and ErrTooManyTasks in the same cases as Run's.
func (t *Terminal) ReadFile(ctx context.Context, task, name string) ([]byte, error) {
	op := fileOp{what: "read file", verb: "read", name: name, repeat: true}
	var data bytes.Buffer
	err := t.moveFiles(ctx, task, op, func(ctx context.Context, f FileSystem, name string) error {
		data.Reset()
		err := f.ReadFile(ctx, name, &atMost{w: &data, left: MaxFile})
		if errors.Is(err, ErrTooLarge) && !archive.IsPathError(err) { // a file without a known size, as in /proc
			err = &fs.PathError{Op: op.verb, Path: name, Err: posixfs.TooLarge(MaxFile)}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

// atMost writes at most left bytes to w. A Write that exceeds them fails with
// ErrTooLarge.
type atMost struct {
	w    io.Writer
	left int
}

func (a *atMost) Write(p []byte) (int, error) {
	if len(p) > a.left {
		return 0, posixfs.TooLarge(MaxFile)
	}
	a.left -= len(p)
	return a.w.Write(p)
}

// WriteFile creates or replaces a file in the task's environment. Its
// permissions are the nine permission bits of perm; the umask does not apply.
// The parent directory must exist. A relative name is relative to Config.Dir.
// If name is a symbolic link, its target is replaced. If name exists and is not
// a regular file, WriteFile fails.
//
// A reader sees the old or the new content, never a part. On an error, also
// when ctx ends, the old file is unchanged and no temporary file is left; after
// ErrGone or a lost connection that is not known. The file belongs to the user
// who runs the commands.
func (t *Terminal) WriteFile(ctx context.Context, task, name string, data []byte, perm fs.FileMode) error {
	op := fileOp{what: "write file", verb: "write", name: name}
	if strings.HasSuffix(name, "/") {
		op.err = syscall.EISDIR
	}
	return t.moveFiles(ctx, task, op, func(ctx context.Context, f FileSystem, name string) error {
		return f.WriteFile(ctx, name, bytes.NewReader(data), perm.Perm())
	})
}

// A fileOp describes one call of a file method.
type fileOp struct {
	what   string // Error.Op
	verb   string // PathError.Op
	name   string // path in the environment, as the caller gave it
	err    error  // if not nil, name is invalid for this method
	copies bool   // ignore a trailing slash of name
	repeat bool   // idempotent: retry also if the outcome of an attempt is unknown
}

// moveFiles calls move with the file system of the task's environment and the
// absolute name. It calls move again for each retry.
func (t *Terminal) moveFiles(ctx context.Context, task string, op fileOp, move func(context.Context, FileSystem, string) error) error {
	task = taskOf(ctx, task)
	backend := backendName(t.cfg.Backend)
	if err := cmp.Or(op.err, validateName(op.name)); err != nil {
		return &Error{Op: op.what, Backend: backend, Task: task, Err: &fs.PathError{Op: op.verb, Path: op.name, Err: err}}
	}
	name := op.name
	if !absolute(name) {
		name = strings.TrimRight(filepath.ToSlash(t.cfg.Dir), "/") + "/" + name
	}
	if op.copies {
		name = copyName(name)
	}
	a := attempts{subject: "transfer", repeatable: op.repeat}
	err := t.withLease(ctx, task, a, func(l *lease) error {
		backend = l.backend
		return l.moveFiles(func(ctx context.Context, f FileSystem) error { return move(ctx, f, name) })
	})
	if err != nil {
		return &Error{Op: op.what, Backend: backend, Task: task, Err: err}
	}
	return nil
}

// moveFiles calls move with the Executor's FileSystem. If the Executor has none,
// or move returns errors.ErrUnsupported, it calls move with a file system that
// runs scripts through Exec.
func (l *lease) moveFiles(move func(context.Context, FileSystem) error) error {
	err := error(errors.ErrUnsupported)
	if native, ok := capability[FileSystem](l.ex); ok {
		err = l.do("move files", "", func(ctx context.Context) error { return move(ctx, native) })
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	abandoned := false
	run := l.bind()
	defer run.release()
	shell := &posixfs.FS{MaxFile: MaxFile, Exec: func(ctx context.Context, c spawn.Command) (int, error) {
		part := *l
		part.ctx = ctx
		c.Env = spawn.MergeEnv(l.terminal.cfg.Env, map[string]string{RunIDEnv: spawn.NewRunID()})
		code, err := part.exec(Command(c))
		abandoned = abandoned || part.abandoned
		return code, err
	}}
	err = move(run, shell)
	if run.Err() != nil && errors.Is(err, run.Err()) { // a pipe of move's, not a script
		err = l.endedBy(run)
	}
	if err != nil && !abandoned && l.entry.ctx.Err() == nil && !isAny(err, ErrGone, ErrNotStarted) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), sweepLimit)
		defer cancel()
		shell.Clean(ctx)
	}
	return err
}

// validateName returns an error for a name that is invalid in every environment,
// so that no environment is opened for it.
func validateName(name string) error {
	switch {
	case name == "":
		return spawn.Mark(errors.New("empty name"), fs.ErrInvalid)
	case strings.ContainsRune(name, 0):
		return spawn.Mark(errors.New("name with a NUL byte"), fs.ErrInvalid)
	case len(name) > longestPath:
		return syscall.ENAMETOOLONG
	}
	for element := range strings.SplitSeq(name, "/") {
		if len(element) > longestName {
			return syscall.ENAMETOOLONG
		}
	}
	return nil
}

// CopyTo copies a file or a tree of this machine into the task's environment.
// dst is the name of the copy itself, not of a directory to copy into; its
// parent must exist. A relative dst is relative to Config.Dir, a relative src to
// this process's working directory.
//
// If src or dst itself is a symbolic link, it is followed; links inside a tree
// are copied as links, wherever they point. CopyTo keeps the nine permission bits
// and the modification times of files and directories, to the second. It does
// not keep owners: everything belongs to the user who runs the commands. Hard
// links become separate files. Sockets, FIFOs and devices inside a tree are
// left out; if src or dst itself is one, the error matches fs.ErrInvalid.
//
// If dst is a directory, CopyTo merges into it: it replaces files of the same
// name and keeps all others, but never replaces a directory by a file or a file
// by a directory. Links inside dst that lead elsewhere in the environment are
// followed.
//
// A single file is replaced as by WriteFile. A tree is copied file by file, so
// an error may leave a part of it. CopyTo holds in memory only a few buffers and
// the names of one directory. To copy a tree, the environment needs tar, unless
// the backend is a FileSystem that copies trees itself; without tar the error
// matches errors.ErrUnsupported.
func (t *Terminal) CopyTo(ctx context.Context, task, src, dst string) error {
	op := fileOp{what: "copy to", verb: "copy", name: dst, copies: true}
	from, err := archive.Open(src)
	if err != nil {
		return &Error{Op: op.what, Backend: backendName(t.cfg.Backend), Task: taskOf(ctx, task), Err: archive.HostError("copy", src, err)}
	}
	defer from.Close()
	return t.moveFiles(ctx, task, op, func(ctx context.Context, f FileSystem, name string) error {
		r, w := io.Pipe()
		packed := make(chan error, 1)
		go func() {
			err := from.Pack(ctx, w)
			w.CloseWithError(err)
			packed <- err
		}()
		err := f.CopyTo(ctx, name, r)
		r.CloseWithError(errUnread)
		if cause := <-packed; cause != nil && !errors.Is(cause, errUnread) && ctx.Err() == nil {
			return cause
		}
		return err
	})
}

// errUnread is returned to the writer of an archive after its reader has
// stopped, with or without an error.
var errUnread = errors.New("archive is not read any more")

// CopyFrom copies a file or a tree from the task's environment to this machine,
// by the rules of CopyTo: dst is the name of the copy, and its parent must
// exist.
//
// The environment is not trusted. Whatever it sends, nothing outside dst is
// written or changed: symbolic links below dst are created but never followed,
// names that lead outside are an error, set-user-ID, set-group-ID and sticky
// bits are dropped, and all files belong to this process's user. A file gets its
// name only when it is complete. Hard links within the tree may be kept or
// become separate files. Only ctx and the disk limit the size of a tree.
//
// A file that changes while it is copied may be copied in part; one that
// vanishes may be left out. If a part of the tree is not readable, the error
// matches fs.ErrPermission.
func (t *Terminal) CopyFrom(ctx context.Context, task, src, dst string) error {
	op := fileOp{what: "copy from", verb: "copy", name: src, copies: true}
	if dst == "" || strings.ContainsRune(dst, 0) {
		return &Error{Op: op.what, Backend: backendName(t.cfg.Backend), Task: taskOf(ctx, task), Err: archive.HostError("copy", dst, fs.ErrInvalid)}
	}
	return t.moveFiles(ctx, task, op, func(ctx context.Context, f FileSystem, name string) error {
		r, w := io.Pipe()
		defer context.AfterFunc(ctx, func() { r.CloseWithError(ctx.Err()) })()
		unpacked := make(chan error, 1)
		go func() {
			err := archive.Unpack(r, dst)
			r.CloseWithError(cmp.Or(err, errUnread))
			unpacked <- err
		}()
		err := f.CopyFrom(ctx, name, w)
		w.CloseWithError(err)
		cause := <-unpacked
		if err == nil || cause != nil && !errors.Is(cause, err) && ctx.Err() == nil {
			return cause // the first error, or the only one
		}
		return err
	})
}

// copyName returns name without trailing "/" and "/." elements.
func copyName(name string) string {
	for strings.HasSuffix(name, "/") || strings.HasSuffix(name, "/.") {
		name = strings.TrimSuffix(strings.TrimSuffix(name, "."), "/")
		if name == "" {
			return "/"
		}
	}
	return name
}
