package terminal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
)

// MaxFile is the size in bytes of the largest file that Terminal.ReadFile
// reads. CopyFrom has no such limit.
const MaxFile = 64 << 20

// Limits of names, as Linux has them.
const (
	longestName = 255
	longestPath = 4095
)

// A FileSystem is an Executor that moves files natively. For an Executor
// without it, and where it returns errors.ErrUnsupported, a Terminal runs a few
// lines of sh through Exec; those need cat, chmod, ls, mv, rm and touch in the
// environment, and tar for directories.
//
// Names are absolute paths in the environment. Symbolic links are followed
// wherever a name leads, its last element included. What is made belongs to the
// user who runs the commands, and nothing is done that a command could not do.
//
// Errors are *fs.PathError with a cause that matches what the operating system
// would say: fs.ErrNotExist, fs.ErrPermission, syscall.EISDIR, ENOTDIR, ENOSPC
// and so on; fs.ErrInvalid for what is neither a file nor a directory. Other
// sentinels are those of Exec. When ctx ends, a method ends soon, with an error.
// One that returns errors.ErrUnsupported has changed and written nothing; it may
// have read from an archive.
type FileSystem interface {
	// ReadFile writes the content of a regular file to w. One that has more
	// than MaxFile bytes is ErrTooLarge, and nothing of it is written.
	ReadFile(ctx context.Context, name string, w io.Writer) error

	// WriteFile makes the file, or replaces it, with what r has and with
	// exactly the permissions perm. Whoever opens the file at any time finds
	// the whole old or the whole new content; on an error it is the old one,
	// and nothing else is left behind. The directory must be there.
	WriteFile(ctx context.Context, name string, r io.Reader, perm fs.FileMode) error

	// CopyTo makes name from a tar archive. Its first entry is the file or
	// directory itself, under any name; the names of all others begin with
	// that one and a slash. A directory comes before what is in it, and once
	// more after that, when its mode and time are final. A file is made as by
	// WriteFile; a directory that is there is merged into. Owners in the
	// archive mean nothing.
	CopyTo(ctx context.Context, name string, archive io.Reader) error

	// CopyFrom writes the file or directory as such an archive, in which a
	// directory need not come twice. Of what is in a directory, anything but
	// files, directories and links may be left out.
	CopyFrom(ctx context.Context, name string, archive io.Writer) error
}

// ReadFile returns the content of a file in the task's environment. It must be
// a regular file of at most MaxFile bytes, else the error is ErrTooLarge; the
// files below /proc, which have no size, can be read too. A relative name is
// taken from Config.Dir, and symbolic links are followed.
//
// For this method and the other three: task "" is the one in the context, else
// "default". Each is a call of the task, like Run, but Config.Approve is not
// asked and there is no time limit but ctx. An error is an *Error; where a path
// is at fault it wraps an *fs.PathError, so errors.Is finds fs.ErrNotExist,
// fs.ErrPermission, syscall.EISDIR, syscall.ENOTDIR, syscall.ENOSPC, and
// fs.ErrInvalid for a bad name and for what is neither a file nor a directory.
// ErrClosed, ErrGone, ErrUnavailable and ErrTooManyTasks are as with Run.
func (t *Terminal) ReadFile(ctx context.Context, task, name string) ([]byte, error) {
	op := fileOp{what: "read file", verb: "read", name: name, repeat: true}
	var data bytes.Buffer
	err := t.fileCall(ctx, task, op, func(ctx context.Context, f FileSystem, name string) error {
		data.Reset()
		err := f.ReadFile(ctx, name, &atMost{w: &data, left: MaxFile})
		if errors.Is(err, ErrTooLarge) && !isPathError(err) { // it had no size to tell
			err = &fs.PathError{Op: op.verb, Path: name, Err: errTooLarge}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

// atMost is a Writer for no more than left bytes.
type atMost struct {
	w    io.Writer
	left int
}

func (a *atMost) Write(p []byte) (int, error) {
	if len(p) > a.left {
		return 0, errTooLarge
	}
	a.left -= len(p)
	return a.w.Write(p)
}

var errTooLarge = fmt.Errorf("%w: more than %d bytes; CopyFrom takes any size", ErrTooLarge, MaxFile)

// WriteFile makes a file in the task's environment, or replaces it, with the
// permissions perm whatever the umask there; of perm only the nine permission
// bits count. Its directory must be there; parents are not made. A relative
// name is taken from Config.Dir. A symbolic link stays, and what it points to is
// replaced. What is there and is no regular file is an error.
//
// Readers see the old content or the new one, never a part. On an error, also
// when ctx ends, the old file is there as it was, and nothing else; only after
// ErrGone, or a lost connection, can that not be known. The file belongs to
// the user who runs the commands.
func (t *Terminal) WriteFile(ctx context.Context, task, name string, data []byte, perm fs.FileMode) error {
	op := fileOp{what: "write file", verb: "write", name: name}
	if strings.HasSuffix(name, "/") {
		op.err = syscall.EISDIR
	}
	return t.fileCall(ctx, task, op, func(ctx context.Context, f FileSystem, name string) error {
		return f.WriteFile(ctx, name, bytes.NewReader(data), perm.Perm())
	})
}

// fileOp is one call of a method that moves files.
type fileOp struct {
	what   string // Error.Op
	verb   string // PathError.Op
	name   string // in the environment
	err    error  // what is wrong with the name, nil if nothing is
	copies bool   // a slash behind the name means nothing
	repeat bool   // harmless, so it may be done again when nobody knows how it ended
}

// fileCall does something with a name in the task's environment.
func (t *Terminal) fileCall(ctx context.Context, task string, op fileOp, do func(context.Context, FileSystem, string) error) error {
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
	for attempt := 0; ; attempt++ {
		c := &call{terminal: t, req: Request{Task: task}, backend: backend}
		err := c.moveFiles(ctx, func(ctx context.Context, f FileSystem) error { return do(ctx, f, name) })
		if err == nil {
			return nil
		}
		again := retryable(err) || op.repeat && attempt < jobRetries && !isFinal(ctx, err) && !isPathError(err)
		if attempt == len(retryDelays) || !again || !errors.Is(err, ErrGone) && !c.sleep(ctx, retryDelays[attempt]) {
			return &Error{Op: op.what, Backend: c.backend, Task: task, Err: err}
		}
	}
}

// validateName refuses what is no name anywhere, before anything is opened.
func validateName(name string) error {
	switch {
	case name == "":
		return marked{errors.New("empty name"), fs.ErrInvalid}
	case strings.ContainsRune(name, 0):
		return marked{errors.New("name with a NUL byte"), fs.ErrInvalid}
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

func isPathError(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p)
}

// moveFiles gives do the task's file system, and sees to it that the call
// returns soon after ctx or the task ends, with nothing left running.
func (c *call) moveFiles(ctx context.Context, do func(context.Context, FileSystem) error) error {
	t := c.terminal
	e, err := t.reg.acquire(ctx, c.req.Task)
	if err != nil {
		if ctx.Err() != nil {
			return fileCancelled(ctx)
		}
		return err
	}
	defer t.reg.release(e)
	c.backend = e.backend
	run, task, release := e.bind(ctx)
	defer release()

	through := &execFiles{ex: e.ex, env: t.cfg.Env}
	returned, err := bounded(run, "move files", func() error {
		native, ok := capability[FileSystem](e.ex)
		if !ok {
			return do(run, through)
		}
		err := do(run, native)
		if errors.Is(err, errors.ErrUnsupported) && run.Err() == nil {
			err = do(run, through)
		}
		return err
	})
	if err == nil && returned {
		return nil
	}
	stopped := run.Err() != nil
	gone, never := errors.Is(err, ErrGone), errors.Is(err, ErrNotStarted)
	if !gone && !never {
		if through.ran() {
			c.tidy(ctx, e, through, returned)
		} else if !returned {
			t.reg.drop(ctx, e, errAbandoned)
		}
		if !stopped && !isPathError(err) {
			if lost := ping(ctx, e.ex); errors.Is(lost, ErrGone) {
				err, gone = errors.Join(err, lost), true
			}
		}
	}
	if gone {
		t.reg.drop(ctx, e, err)
		if never {
			t.reg.lose(c.req.Task, true)
		}
	}
	switch {
	case stopped && task.ended(run):
		return fmt.Errorf("ended: %w", task.error)
	case stopped:
		return fileCancelled(ctx)
	}
	return err
}

var errAbandoned = errors.New("a transfer that was to end has not")

// tidy ends what a transfer through Exec may have left running, and removes
// what it may have left half written.
func (c *call) tidy(ctx context.Context, e *entry, f *execFiles, returned bool) {
	for _, id := range f.runs() {
		c.sweep(ctx, e, id, returned)
	}
	if !returned || e.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepLimit)
	defer cancel()
	f.clean(ctx)
}

// fileCancelled returns the error of a transfer whose caller gave it up.
func fileCancelled(ctx context.Context) error {
	return marked{fmt.Errorf("cancelled: %w", context.Cause(ctx)), ctx.Err()}
}

// hostError is an error with a path on this machine.
func hostError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: pathless(err)}
}

// CopyTo copies a file or a tree of this machine into the task's environment.
// dst is the name of the copy itself and not of a directory to put it into; its
// parent must be there. A relative dst is taken from Config.Dir, a relative src
// from this process's working directory.
//
// A symbolic link at src or dst itself is followed; links inside a tree are
// copied as links, wherever they point. Kept are the nine permission bits and
// the times of files and directories, to the second; owners are not: all belongs
// to the user who runs the commands. Hard links become files of their own.
// Inside a tree sockets, FIFOs and devices are left out; src or dst being one is
// fs.ErrInvalid. A directory that is there is merged into: files are replaced,
// others stay, but nothing turns a file into a directory or the reverse. Links
// that lead elsewhere inside the environment are the environment's business.
//
// A single file is replaced as by WriteFile. A tree is copied file by file, so
// that an error, or the end of ctx, may leave a part of it. Nothing is held in
// memory but a few buffers and the names of one directory. A tree needs tar in
// the environment, unless the backend has a way of its own; without it the error
// is errors.ErrUnsupported.
func (t *Terminal) CopyTo(ctx context.Context, task, src, dst string) error {
	op := fileOp{what: "copy to", verb: "copy", name: dst, copies: true}
	from, err := openPack(src)
	if err != nil {
		return &Error{Op: op.what, Backend: backendName(t.cfg.Backend), Task: taskOf(ctx, task), Err: hostError("copy", src, err)}
	}
	defer from.close()
	return t.fileCall(ctx, task, op, func(ctx context.Context, f FileSystem, name string) error {
		r, w := io.Pipe()
		packed := make(chan error, 1)
		go func() {
			err := from.pack(ctx, w)
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

// errUnread is what the writer of an archive gets whose reader is content, or
// has failed.
var errUnread = errors.New("archive is not read any more")

// CopyFrom copies a file or a tree of the task's environment to this machine,
// under the rules of CopyTo: dst is the name of the copy, and its parent must
// be there.
//
// The environment is not trusted. Whatever it sends, nothing outside of dst is
// written or changed: links are made but never followed below dst, names that
// lead out are an error, the bits for set-user-id, set-group-id and sticky are
// dropped, and all belongs to this process's user. Each file appears under its
// name when it is whole. Names of one file inside the tree may stay that, or become
// files of their own. How much a tree
// may have is not limited but by ctx and the disk.
//
// Files that change while they are copied may be copied in part, or be left out
// if they vanish. A tree that has something unreadable in it is fs.ErrPermission.
func (t *Terminal) CopyFrom(ctx context.Context, task, src, dst string) error {
	op := fileOp{what: "copy from", verb: "copy", name: src, copies: true}
	if dst == "" || strings.ContainsRune(dst, 0) {
		return &Error{Op: op.what, Backend: backendName(t.cfg.Backend), Task: taskOf(ctx, task), Err: hostError("copy", dst, fs.ErrInvalid)}
	}
	return t.fileCall(ctx, task, op, func(ctx context.Context, f FileSystem, name string) error {
		r, w := io.Pipe()
		defer context.AfterFunc(ctx, func() { r.CloseWithError(ctx.Err()) })()
		unpacked := make(chan error, 1)
		go func() {
			err := unpack(r, dst)
			r.CloseWithError(cmp.Or(err, errUnread))
			unpacked <- err
		}()
		err := f.CopyFrom(ctx, name, w)
		w.CloseWithError(err)
		cause := <-unpacked
		if err == nil || cause != nil && ctx.Err() == nil && !errors.Is(cause, err) {
			return cause // which came first, or there is no other
		}
		return err
	})
}

// copyName is a name without what may stand behind that of a directory.
func copyName(name string) string {
	for strings.HasSuffix(name, "/") || strings.HasSuffix(name, "/.") {
		name = strings.TrimSuffix(strings.TrimSuffix(name, "."), "/")
		if name == "" {
			return "/"
		}
	}
	return name
}
