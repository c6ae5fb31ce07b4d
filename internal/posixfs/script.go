// Running file.sh, and what its exit codes mean.

package posixfs

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"syscall"

	"github.com/terminal-go/terminal/internal/archive"
	"github.com/terminal-go/terminal/internal/capture"
	"github.com/terminal-go/terminal/internal/shellscript"
	"github.com/terminal-go/terminal/internal/spawn"
)

//go:embed file.sh
var source string

var script = sync.OnceValue(func() string { return shellscript.Minify(source) })

// The outcomes of file.sh: outcome i has the exit code firstCode+i, which is in
// the variable fs_NAME. The codes are none of those that shells and signals use.
var outcomes = []struct {
	name string
	err  error // nil for TooLarge, and where the script's stderr says more
}{
	{"none", syscall.ENOENT},
	{"denied", syscall.EACCES},
	{"isdir", syscall.EISDIR},
	{"notdir", syscall.ENOTDIR},
	{"special", archive.ErrSpecial},
	{"large", nil},
	{"full", syscall.ENOSPC},
	{"readonly", syscall.EROFS},
	{"loop", syscall.ELOOP},
	{"notar", spawn.Mark(errors.New("the environment has no tar, which a directory needs; install it there, or copy the files one by one"), errors.ErrUnsupported)},
	{"short", io.ErrUnexpectedEOF},
	{"elsewhere", errors.ErrUnsupported},
	{"failed", nil},
}

const firstCode = 80

// maxStderr is how many characters of the script's stderr an error quotes.
const maxStderr = 1000

// A request is one run of file.sh.
type request struct {
	op string // fs_op
	target
	vars   []string  // further variables, names and values in turn
	stdin  io.Reader // nil for no input
	stdout io.Writer // nil to discard the output
}

func newTarget(name string) target { return target{name, archive.TempName()} }

// verbs are the fs.PathError.Op of each operation.
var verbs = map[string]string{
	"read": "read", "write": "write", "from": "copy", "to": "copy", "place": "copy", "why": "copy",
	"begin": "write", "commit": "write", "abort": "write", "clean": "write",
}

// run runs file.sh. What the script reports is an *fs.PathError; an error of Exec
// or of r's stdout is returned as it is. A write that fails is noted for Clean.
func (f *FS) run(ctx context.Context, r request) error {
	code, stderr, err := f.exec(ctx, r)
	if err == nil && code == 0 {
		return nil
	}
	if r.op == "write" || r.op == "to" {
		f.mu.Lock()
		f.unfinished = append(f.unfinished, r.target)
		f.mu.Unlock()
	}
	if err == nil {
		err = &fs.PathError{Op: verbs[r.op], Path: r.name, Err: f.outcome(code, stderr)}
	}
	return err
}

// outcome returns the error for an exit code of file.sh.
func (f *FS) outcome(code int, stderr string) error {
	if i := code - firstCode; i >= 0 && i < len(outcomes) {
		if outcomes[i].name == "large" {
			return TooLarge(f.MaxFile)
		}
		if outcomes[i].err != nil {
			return outcomes[i].err
		}
	}
	return fmt.Errorf("file script ended with code %d: %s", code, strings.TrimSpace(stderr))
}

// exec gives file.sh to Exec and returns its exit code and stderr. If stdout
// fails, it ends the script and returns that error: a writer that Exec is given
// must not fail.
func (f *FS) exec(ctx context.Context, r request) (code int, stderr string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stdout := &sink{w: r.stdout, failed: cancel}
	defer stdout.close()
	answer := shellscript.NewAnswer(stdout)
	captured := capture.NewOutput(maxStderr, 0)
	defer captured.End()
	_, said := captured.Streams(nil, io.Discard)

	code, err = f.Exec(ctx, spawn.Command{
		Script: answer.Prologue() + r.script(),
		Dir:    "/",
		Env:    f.Env,
		Stdin:  r.stdin,
		Stdout: answer,
		Stderr: said,
	})
	if failed := stdout.close(); failed != nil {
		return 0, "", failed
	}
	if err != nil {
		return 0, "", err
	}
	if code == 0 && !answer.Begun() {
		return 0, "", shellscript.ErrNoAnswer
	}
	stderr, _ = captured.End()
	return code, stderr, nil
}

// script returns file.sh with the variables that it needs.
func (r request) script() string {
	var b strings.Builder
	for i, o := range outcomes {
		fmt.Fprintf(&b, "fs_%s=%d ", o.name, firstCode+i)
	}
	fmt.Fprintf(&b, "fs_op=%s\n", r.op)
	b.WriteString(shellscript.Assign("fs_name", r.name, "fs_temp", r.temp))
	b.WriteString(shellscript.Assign(r.vars...))
	b.WriteString(script())
	return b.String()
}

// A sink is a command's stdout whose writer may fail. It never fails itself, and
// after close it discards what a process writes that outlived the command.
type sink struct {
	failed func() // called once w has failed

	mu  sync.Mutex // guards w and err; held while w is written, so that close waits for that
	w   io.Writer  // nil: discard
	err error      // first error of w
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w == nil || s.err != nil {
		return len(p), nil
	}
	if _, s.err = s.w.Write(p); s.err != nil {
		s.failed()
	}
	return len(p), nil
}

// close stops writing and returns the error of the writer.
func (s *sink) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w = nil
	return s.err
}
