//go:build linux

package terminaltest_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/terminaltest"
)

// The names of the suite's subtests.
const (
	subAtLimit       = "a command at its limit is 124, keeps its output, and leaves the environment usable"
	subCancelled     = "a cancelled command is 130, keeps its output, and leaves the environment usable"
	subGroup         = "at the end of its context Exec ends the command's whole process group"
	subIgnoresTerm   = "a command that ignores TERM is killed"
	subTermFirst     = "TERM comes before KILL"
	subNohup         = "at the limit nothing is left, not even with nohup or a double fork"
	subSetsid        = "at the limit nothing is left, not even with setsid"
	subSpares        = "ending a command spares what an earlier one left running"
	subChildHolds    = "a background child does not hold the call"
	subChildLives    = "what a command leaves running lives on and may go on writing"
	subChildUnheard  = "what is written after a call is in no other call's output"
	subParallel      = "commands of one task run in parallel"
	subShellState    = "no shell state passes from one command to the next"
	subOthersStay    = "closing one task leaves the others alone"
	subCloseTask     = "closing a task ends its command, and the next call gets a fresh executor"
	subCloseTerminal = "closing the Terminal ends its commands and leaves nothing running"
	subCloseTwice    = "Close may come twice"
	subCloseRunning  = "Close ends a running command"
	subCloseLeaves   = "Close leaves nothing running"
	subAfterClose    = "Exec after Close is an error and runs nothing"
	subOpenEnded     = "Open with an ended context opens nothing that stays"
	subOpenMany      = "many tasks open at once, whatever their names"
	subHealthy       = "a backend that can be used says so"
	subOrder         = "stdout and stderr come in the order in which they were written"
	subSeparate      = "stdout and stderr come apart where there is a writer for each"
	subDiscarded     = "output that nobody wants is discarded and ends nothing"
	subLive          = "output is passed on while the command runs"
	subUntrimmed     = "output keeps its indentation, its blank lines and its unfinished last line"
	subBytes         = "every byte comes out as it was written"
	subUTF8          = "invalid UTF-8 becomes U+FFFD, NUL survives and no rune is split"
	subLarge         = "large output is counted to the last character"
	subTail          = "everything written before the exit comes out, even if a survivor holds the output open"
	subMemory        = "memory stays bounded whatever a command writes"
	subEmptyStdin    = "standard input is at end of file unless given"
	subHostStdin     = "standard input is never the host's"
	subGivenStdin    = "standard input that is given is delivered"
	subUnreadStdin   = "standard input may be left unread"
	subOddEnv        = "variables reach the command whatever their value"
	subEnvOrder      = "variables of a request win over those of the Config, and last for one command"
	subNobody        = "variables tell programs that nobody is there to answer"
	subDir           = "a command runs in its directory"
	subMissingDir    = "a directory that is missing is an error that names it, and nothing runs"
	subFileDir       = "a directory that is a file is an error that names it, and nothing runs"
	subVanishedDir   = "a Config.Dir that vanished is replaced by its nearest parent, with a Notice"
	subCodes         = "a non-zero exit code is a result and not an error"
	subSignals       = "a command killed by signal n exits with 128+n"
	subNotFound      = "a program that is not found is 127 and one that cannot be executed is 126"
	subAnyScript     = "a script runs unchanged whatever it contains"
	subLong          = "a script of 1 MiB runs unchanged"
	subLogin         = "a script is not run by a login shell"
	subOnce          = "a command runs exactly once"
	subJobScripts    = "a job is its whole script whatever that contains"
	subJobOutput     = "a job's output comes from any offset and never splits a rune"
	subJobInput      = "a job reads what is written to it until its input is closed"
	subJobSignal     = "a signal reaches a job"
	subJobKill       = "killing a job leaves nothing running, however it detached"
	subJobReady      = "a start can wait until the job is ready, or has ended, or time is up"
	subJobLeft       = "what a command leaves running is a job"
	subJobTasks      = "jobs of one task are unknown in another, and end with their own"
	subFileBytes     = "a file is read back byte for byte as it was written"
	subFileMode      = "a written file has the mode that was asked for and the owner of what commands make"
	subFileRelative  = "a relative name is taken from Config.Dir"
	subFileAtomic    = "a file is replaced at once and nothing else is left"
	subFileLink      = "a write through a symbolic link leaves the link"
	subFileErrors    = "a file that cannot be read or written is an error that says why"
	subFileTooLarge  = "a file of more than MaxFile is refused"
	subFileNoSize    = "a file that has no size is read"
	subFileCopy      = "a file is copied in and out with its mode and time"
	subTreeCopy      = "a tree is copied in and out with its links and whatever its names"
	subTreeMerge     = "a tree is merged into a directory that is there"
	subCopyErrors    = "a copy that cannot be made is an error that says why"
	subFileCancelled = "a cancelled transfer ends and leaves nothing"
	subFileClosed    = "files of a closed Terminal are ErrClosed"
)

var fileSubtests = []string{
	subFileBytes, subFileMode, subFileRelative, subFileAtomic, subFileLink, subFileErrors, subFileTooLarge, subFileNoSize,
	subFileCopy, subTreeCopy, subTreeMerge, subCopyErrors, subFileCancelled, subFileClosed,
}

// broken is Local with one fault.
type broken struct {
	name  string
	fails []string // exactly the subtests that must fail

	exec  func(x *brokenExecutor, ctx context.Context, cmd terminal.Command) (int, error)
	close func(x *brokenExecutor, ctx context.Context) error
	open  func(ctx context.Context, task string) (terminal.Executor, error)
	check error
}

// backend returns a new Backend with the fault.
func (b broken) backend() terminal.Backend { return &brokenBackend{broken: b} }

type brokenBackend struct {
	broken
	mu     sync.Mutex
	shared *brokenExecutor // of "all tasks share one executor"
}

func (b *brokenBackend) Check(context.Context) error { return b.check }

func (b *brokenBackend) Open(ctx context.Context, task string) (terminal.Executor, error) {
	open := b.open
	if open == nil {
		open = terminal.Local{}.Open
	}
	if b.name == sharesExecutors {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.shared != nil && b.shared.open() {
			return b.shared, nil
		}
	}
	inner, err := open(ctx, task)
	if inner == nil || err != nil {
		return nil, err
	}
	x := &brokenExecutor{Executor: inner, broken: b.broken, env: map[string]string{}}
	if b.name == sharesExecutors {
		b.shared = x
	}
	return x, nil
}

type brokenExecutor struct {
	terminal.Executor
	broken broken

	serial sync.Mutex // for a fault to use
	mu     sync.Mutex // guards the rest
	closed bool
	env    map[string]string // for a fault to use
}

func (x *brokenExecutor) Unwrap() terminal.Executor { return x.Executor }

func (x *brokenExecutor) open() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return !x.closed
}

func (x *brokenExecutor) Exec(ctx context.Context, cmd terminal.Command) (int, error) {
	if x.broken.exec == nil {
		return x.Executor.Exec(ctx, cmd)
	}
	return x.broken.exec(x, ctx, cmd)
}

func (x *brokenExecutor) Close(ctx context.Context) error {
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	if x.broken.close == nil {
		return x.Executor.Close(ctx)
	}
	return x.broken.close(x, ctx)
}

// alter returns a fault that changes the command before it runs.
func alter(f func(cmd *terminal.Command)) func(*brokenExecutor, context.Context, terminal.Command) (int, error) {
	return func(x *brokenExecutor, ctx context.Context, cmd terminal.Command) (int, error) {
		f(&cmd)
		return x.Executor.Exec(ctx, cmd)
	}
}

// outcomes returns a fault that changes what Exec returns.
func outcomes(f func(code int, err error) (int, error)) func(*brokenExecutor, context.Context, terminal.Command) (int, error) {
	return func(x *brokenExecutor, ctx context.Context, cmd terminal.Command) (int, error) {
		return f(x.Executor.Exec(ctx, cmd))
	}
}

// ending returns a fault in how a command is ended. end gets the pid of the shell.
func ending(end func(pid int, exited <-chan struct{})) func(*brokenExecutor, context.Context, terminal.Command) (int, error) {
	return func(x *brokenExecutor, ctx context.Context, cmd terminal.Command) (code int, err error) {
		dir, err := os.MkdirTemp("", "broken")
		if err != nil {
			return -1, err
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "pid")
		cmd.Script = "echo $$ >" + file + "\n" + cmd.Script
		exited := make(chan struct{})
		go func() {
			defer close(exited)
			code, err = x.Executor.Exec(context.WithoutCancel(ctx), cmd)
		}()
		select {
		case <-exited:
			return code, err
		case <-ctx.Done():
		}
		text, _ := os.ReadFile(file)
		if pid, convErr := strconv.Atoi(strings.TrimSpace(string(text))); convErr == nil && pid > 1 {
			select {
			case <-exited: // the pid may have been reused
			default:
				end(pid, exited)
			}
		}
		<-exited
		return -1, ctx.Err()
	}
}

// left returns the pids of the processes with the command's run ID.
func left(cmd terminal.Command) (pids []string) {
	id := cmd.Env[terminal.RunIDEnv]
	if id == "" {
		return nil
	}
	return carriers(id)
}

// carriers returns the pids of the processes with the word in their environment.
func carriers(word string) (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		if env, _ := os.ReadFile(file); bytes.Contains(env, []byte(word)) {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}

// holdsOutput reports whether a surviving process has the command's pipe open.
func holdsOutput(cmd terminal.Command) bool {
	return slices.ContainsFunc(left(cmd), func(pid string) bool {
		out, _ := os.Readlink("/proc/" + pid + "/fd/1")
		return strings.HasPrefix(out, "pipe:")
	})
}

type writerFunc func(p []byte) (int, error)

func (f *writerFunc) Write(p []byte) (int, error) { return (*f)(p) }

// through inserts f between the command's output and its one or two writers.
func through(cmd *terminal.Command, f func(w io.Writer) writerFunc) {
	wrap := func(w io.Writer) io.Writer {
		if w == nil {
			return nil
		}
		wf := f(w)
		return &wf
	}
	same := cmd.Stderr == cmd.Stdout
	cmd.Stdout = wrap(cmd.Stdout)
	if same {
		cmd.Stderr = cmd.Stdout
		return
	}
	cmd.Stderr = wrap(cmd.Stderr)
}

const sharesExecutors = "all tasks share one executor"

var errBroken = errors.New("broken on purpose")

// forgetful never reports that a command left processes running.
type forgetful struct{ terminal.Executor }

func (forgetful) Survivors(string) bool       { return false }
func (f forgetful) Unwrap() terminal.Executor { return f.Executor }

// brokenFiles is a FileSystem with a fault in front of a correct one.
type brokenFiles struct {
	terminal.Executor
	terminal.FileSystem
	write    func(ctx context.Context, name string, r io.Reader, perm fs.FileMode) error
	read     func(w io.Writer) io.Writer
	packed   func(h *tar.Header)
	explains bool
}

func (f brokenFiles) Unwrap() terminal.Executor { return f.Executor }

func (f brokenFiles) said(err error) error {
	if err != nil && !f.explains && !errors.Is(err, terminal.ErrClosed) && !errors.Is(err, context.Canceled) {
		return errBroken
	}
	return err
}

func (f brokenFiles) ReadFile(ctx context.Context, name string, w io.Writer) error {
	if f.read != nil {
		w = f.read(w)
	}
	return f.said(f.FileSystem.ReadFile(ctx, name, w))
}

func (f brokenFiles) WriteFile(ctx context.Context, name string, r io.Reader, perm fs.FileMode) error {
	if info, err := os.Stat(name); f.write != nil && (err != nil || info.Mode().IsRegular()) {
		return f.said(f.write(ctx, name, r, perm))
	}
	return f.said(f.FileSystem.WriteFile(ctx, name, r, perm))
}

func (f brokenFiles) CopyTo(ctx context.Context, name string, archive io.Reader) error {
	if f.packed == nil {
		return f.said(f.FileSystem.CopyTo(ctx, name, archive))
	}
	r, w := io.Pipe()
	defer r.Close()
	go func() {
		from, to := tar.NewReader(archive), tar.NewWriter(w)
		for {
			h, err := from.Next()
			if err != nil {
				if errors.Is(err, io.EOF) {
					err = to.Close()
				}
				w.CloseWithError(err)
				return
			}
			f.packed(h)
			err = to.WriteHeader(h)
			if err == nil {
				_, err = io.Copy(to, from)
			}
			if err != nil {
				w.CloseWithError(err)
				return
			}
		}
	}()
	return f.said(f.FileSystem.CopyTo(ctx, name, r))
}

func (f brokenFiles) CopyFrom(ctx context.Context, name string, archive io.Writer) error {
	return f.said(f.FileSystem.CopyFrom(ctx, name, archive))
}

// files returns an Open that adds the fault to the executors of Local.
func files(f brokenFiles) func(context.Context, string) (terminal.Executor, error) {
	return func(ctx context.Context, task string) (terminal.Executor, error) {
		ex, err := terminal.Local{}.Open(ctx, task)
		if err != nil {
			return nil, err
		}
		f := f
		f.Executor, f.FileSystem = ex, ex.(terminal.FileSystem)
		return f, nil
	}
}

var brokenExecutors = []broken{
	{
		name:  "writes files in place",
		fails: []string{subFileAtomic},
		open: files(brokenFiles{explains: true, write: func(_ context.Context, name string, r io.Reader, perm fs.FileMode) error {
			f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
			if err != nil {
				return err
			}
			defer f.Close()
			time.Sleep(20 * time.Millisecond)
			_, err = io.Copy(f, r)
			return errors.Join(err, f.Chmod(perm))
		}}),
	},
	{
		name:  "does not mind the mode of a file",
		fails: []string{subFileMode},
		open: files(brokenFiles{explains: true, write: func(_ context.Context, name string, r io.Reader, _ fs.FileMode) error {
			return replace(name, r)
		}}),
	},
	{
		name:  "replaces links by files",
		fails: []string{subFileLink, subFileErrors},
		open: files(brokenFiles{explains: true, write: func(_ context.Context, name string, r io.Reader, perm fs.FileMode) error {
			data, _ := io.ReadAll(r)
			temp := filepath.Join(filepath.Dir(name), ".t")
			if err := os.WriteFile(temp, data, 0o600); err != nil {
				return err
			}
			return errors.Join(os.Chmod(temp, perm), os.Rename(temp, name))
		}}),
	},
	{
		name:  "does not say what is wrong with a file",
		fails: []string{subFileErrors, subFileTooLarge, subCopyErrors},
		open:  files(brokenFiles{}),
	},
	{
		name:  "drops NUL bytes of files",
		fails: []string{subFileBytes, subFileCopy},
		open: files(brokenFiles{explains: true, read: func(w io.Writer) io.Writer {
			f := writerFunc(func(p []byte) (int, error) {
				_, err := w.Write(bytes.ReplaceAll(p, []byte{0}, nil))
				return len(p), err
			})
			return &f
		}}),
	},
	{
		name:  "forgets the modes of copies",
		fails: []string{subFileCopy, subTreeCopy, subTreeMerge},
		open:  files(brokenFiles{explains: true, packed: func(h *tar.Header) { h.Mode = 0o644 | h.Mode&0o100 }}),
	},
	{
		name:  "copies a tree without its links",
		fails: []string{subTreeCopy},
		open: files(brokenFiles{explains: true, packed: func(h *tar.Header) {
			if h.Typeflag == tar.TypeSymlink {
				h.Typeflag = tar.TypeFifo
			}
		}}),
	},
	{
		name:  "does not know its survivors",
		fails: []string{subJobLeft},
		open: func(ctx context.Context, task string) (terminal.Executor, error) {
			ex, err := terminal.Local{}.Open(ctx, task)
			return forgetful{ex}, err
		},
	},
	{
		name:  "kills only the leader",
		fails: []string{subGroup, subIgnoresTerm},
		exec: ending(func(pid int, exited <-chan struct{}) {
			_ = syscall.Kill(pid, syscall.SIGTERM)
			select {
			case <-exited:
			case <-time.After(2 * time.Second):
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}),
	},
	{
		name:  "never sends TERM",
		fails: []string{subTermFirst},
		exec:  ending(func(pid int, _ <-chan struct{}) { _ = syscall.Kill(-pid, syscall.SIGKILL) }),
	},
	{
		name:  "never sends KILL",
		fails: []string{subIgnoresTerm},
		exec:  ending(func(pid int, _ <-chan struct{}) { _ = syscall.Kill(-pid, syscall.SIGTERM) }),
	},
	{
		name: "ignores its context",
		fails: []string{
			subAtLimit, subCancelled, subGroup, subIgnoresTerm, subTermFirst, subSetsid, subSpares, subMemory, subOnce,
			subCloseTask, subCloseTerminal,
			subJobKill, subJobTasks, subJobReady, subJobSignal,
		},
		exec: func(x *brokenExecutor, ctx context.Context, cmd terminal.Command) (int, error) {
			return x.Executor.Exec(context.WithoutCancel(ctx), cmd)
		},
	},
	{
		name: "takes the end of its context for the command's",
		fails: []string{
			subAtLimit, subCancelled, subGroup, subIgnoresTerm, subNohup, subMemory, subCloseTask, subCloseTerminal,
		},
		exec: func(x *brokenExecutor, ctx context.Context, cmd terminal.Command) (int, error) {
			code, err := x.Executor.Exec(ctx, cmd)
			if ctx.Err() != nil {
				return code, nil
			}
			return code, err
		},
	},
	{
		name:  "waits for end of file",
		fails: []string{subChildHolds, subChildLives, subChildUnheard, subTail, subCloseLeaves, subJobLeft},
		exec: func(x *brokenExecutor, ctx context.Context, cmd terminal.Command) (int, error) {
			code, err := x.Executor.Exec(ctx, cmd)
			for err == nil && holdsOutput(cmd) {
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
					return -1, ctx.Err()
				}
			}
			return code, err
		},
	},
	{
		name:  "kills what a command left running",
		fails: []string{subChildLives, subChildUnheard, subSpares, subOthersStay, subCloseLeaves}, // and sometimes those about jobs
		exec: func(x *brokenExecutor, ctx context.Context, cmd terminal.Command) (int, error) {
			code, err := x.Executor.Exec(ctx, cmd)
			if id := cmd.Env[terminal.RunIDEnv]; id != "" { // an empty word would match every environment
				_ = x.Executor.(terminal.Killer).Kill(context.WithoutCancel(ctx), id)
			}
			return code, err
		},
	},
	{
		name:  "loses the end of the output when there are survivors",
		fails: []string{subTail},
		exec: func(x *brokenExecutor, ctx context.Context, cmd terminal.Command) (int, error) {
			var mu sync.Mutex
			total, flush := 0, []func(){}
			through(&cmd, func(w io.Writer) writerFunc {
				var held []byte
				flush = append(flush, func() { w.Write(held) })
				return func(p []byte) (int, error) {
					mu.Lock()
					defer mu.Unlock()
					if total += len(p); total < 4096 {
						return w.Write(p)
					}
					held = append(held, p...)
					keep := max(0, len(held)-100)
					_, err := w.Write(held[:keep])
					held = append([]byte(nil), held[keep:]...)
					return len(p), err
				}
			})
			code, err := x.Executor.Exec(ctx, cmd)
			if !holdsOutput(cmd) {
				mu.Lock()
				defer mu.Unlock()
				for _, f := range flush {
					f()
				}
			}
			return code, err
		},
	},
	{
		name:  "loses the order of the two streams",
		fails: []string{subOrder},
		exec: func(x *brokenExecutor, ctx context.Context, cmd terminal.Command) (int, error) {
			if cmd.Stdout != nil && cmd.Stdout == cmd.Stderr {
				w, mu := cmd.Stdout, new(sync.Mutex)
				locked := func(p []byte) (int, error) {
					mu.Lock()
					defer mu.Unlock()
					return w.Write(p)
				}
				a, b := writerFunc(locked), writerFunc(locked)
				cmd.Stdout, cmd.Stderr = &a, &b
			}
			return x.Executor.Exec(ctx, cmd)
		},
	},
	{
		name:  "merges the two streams",
		fails: []string{subSeparate, subDiscarded, subJobReady},
		exec:  alter(func(cmd *terminal.Command) { cmd.Stderr = cmd.Stdout }),
	},
	{
		name:  "drops stderr",
		fails: []string{subOrder, subSeparate, subDiscarded, subCodes, subNotFound, subJobReady},
		exec:  alter(func(cmd *terminal.Command) { cmd.Stderr = nil }),
	},
	{
		name:  "trims the output's first line",
		fails: []string{subUntrimmed},
		exec: alter(func(cmd *terminal.Command) {
			through(cmd, func(w io.Writer) writerFunc {
				first := true
				return func(p []byte) (int, error) {
					q := p
					if first {
						q, first = bytes.TrimLeft(p, " \t\n"), false
					}
					_, err := w.Write(q)
					return len(p), err
				}
			})
		}),
	},
	{
		name:  "repairs the output in pieces",
		fails: []string{subBytes, subUTF8, subGivenStdin, subAnyScript, subJobInput, subJobOutput},
		exec: alter(func(cmd *terminal.Command) {
			through(cmd, func(w io.Writer) writerFunc {
				return func(p []byte) (int, error) {
					_, err := w.Write(bytes.ToValidUTF8(p, []byte("?")))
					return len(p), err
				}
			})
		}),
	},
	{
		name:  "drops NUL bytes",
		fails: []string{subBytes, subUTF8, subGivenStdin, subDiscarded},
		exec: alter(func(cmd *terminal.Command) {
			through(cmd, func(w io.Writer) writerFunc {
				return func(p []byte) (int, error) {
					_, err := w.Write(bytes.ReplaceAll(p, []byte{0}, nil))
					return len(p), err
				}
			})
		}),
	},
	{
		name:  "keeps a quarter of a megabyte of output",
		fails: []string{subTail, subDiscarded, subLarge, subGivenStdin},
		exec: alter(func(cmd *terminal.Command) {
			through(cmd, func(w io.Writer) writerFunc {
				room := 256 << 10
				return func(p []byte) (int, error) {
					n, err := w.Write(p[:min(room, len(p))])
					room -= n
					return len(p), err
				}
			})
		}),
	},
	{
		name:  "hands the host's stdin to the command",
		fails: []string{subHostStdin},
		exec: alter(func(cmd *terminal.Command) {
			if cmd.Stdin == nil {
				cmd.Stdin = os.Stdin
			}
		}),
	},
	{
		name:  "leaves the standard input open",
		fails: []string{subEmptyStdin, subHostStdin},
		exec: alter(func(cmd *terminal.Command) {
			if cmd.Stdin == nil {
				cmd.Stdin, _ = io.Pipe()
			}
		}),
	},
	{
		name:  "does not deliver standard input",
		fails: []string{subGivenStdin, subUnreadStdin, subLong, subJobInput, subJobScripts},
		exec:  alter(func(cmd *terminal.Command) { cmd.Stdin = nil }),
	},
	{
		name:  "reads all of the standard input first",
		fails: []string{subUnreadStdin},
		exec: alter(func(cmd *terminal.Command) {
			if cmd.Stdin != nil {
				data, _ := io.ReadAll(io.LimitReader(cmd.Stdin, 8<<20))
				cmd.Stdin = bytes.NewReader(data)
			}
		}),
	},
	{
		name:  "reports 0 for a signal",
		fails: []string{subSignals},
		exec: outcomes(func(code int, err error) (int, error) {
			if code == 129 || code == 137 || code == 143 {
				code = 0
			}
			return code, err
		}),
	},
	{
		name:  "reports -1 for a signal",
		fails: []string{subSignals},
		exec: outcomes(func(code int, err error) (int, error) {
			if code == 129 || code == 137 || code == 143 {
				code = -1
			}
			return code, err
		}),
	},
	{
		name:  "makes an error of a program that is not there",
		fails: []string{subNotFound},
		exec: outcomes(func(code int, err error) (int, error) {
			if code == 127 {
				return -1, errBroken
			}
			return code, err
		}),
	},
	{
		name:  "makes an error of exit code 7",
		fails: []string{subCodes},
		exec: outcomes(func(code int, err error) (int, error) {
			if code == 7 {
				return code, errBroken
			}
			return code, err
		}),
	},
	{
		name:  "runs what failed once more",
		fails: []string{subOnce, subJobLeft},
		exec: func(x *brokenExecutor, ctx context.Context, cmd terminal.Command) (int, error) {
			code, err := x.Executor.Exec(ctx, cmd)
			if err == nil && code != 0 {
				_, _ = x.Executor.Exec(ctx, terminal.Command{Script: cmd.Script, Dir: cmd.Dir, Env: cmd.Env})
			}
			return code, err
		},
	},
	{
		name:  "drops the variables",
		fails: []string{subOddEnv, subEnvOrder, subNobody, subDir},
		exec: alter(func(cmd *terminal.Command) {
			cmd.Env = map[string]string{terminal.RunIDEnv: cmd.Env[terminal.RunIDEnv]}
		}),
	},
	{
		name:  "keeps a command's variables for the next",
		fails: []string{subEnvOrder},
		exec: func(x *brokenExecutor, ctx context.Context, cmd terminal.Command) (int, error) {
			x.mu.Lock()
			maps.Copy(x.env, cmd.Env)
			cmd.Env = maps.Clone(x.env)
			x.mu.Unlock()
			return x.Executor.Exec(ctx, cmd)
		},
	},
	{
		name:  "ignores the directory",
		fails: []string{subDir, subMissingDir, subFileDir, subVanishedDir},
		exec:  alter(func(cmd *terminal.Command) { cmd.Dir = "/" }),
	},
	{
		name:  "takes another directory for a missing one",
		fails: []string{subMissingDir, subVanishedDir},
		exec: alter(func(cmd *terminal.Command) {
			if _, err := os.Stat(cmd.Dir); errors.Is(err, fs.ErrNotExist) {
				cmd.Dir = "/"
			}
		}),
	},
	{
		name:  "does not say what is wrong with a directory",
		fails: []string{subMissingDir, subFileDir, subVanishedDir},
		exec: outcomes(func(code int, err error) (int, error) {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
				err = errBroken
			}
			return code, err
		}),
	},
	{
		name:  "appends to the script",
		fails: []string{subAnyScript},
		exec:  alter(func(cmd *terminal.Command) { cmd.Script = strings.TrimRight(cmd.Script, "\n") + " ; exit $?" }),
	},
	{
		name:  "reads the profile",
		fails: []string{subLogin},
		exec: alter(func(cmd *terminal.Command) {
			if cmd.Env["HOME"] != "" {
				cmd.Script = ". ~/.profile\n" + cmd.Script
			}
		}),
	},
	{
		name:  "goes on in the directory of the command before",
		fails: []string{subShellState},
		exec: func(x *brokenExecutor, ctx context.Context, cmd terminal.Command) (int, error) {
			x.mu.Lock()
			if _, err := os.Stat(x.env["dir"]); err == nil && cmd.Dir == "/" {
				cmd.Dir = x.env["dir"]
			}
			if dir, ok := strings.CutPrefix(cmd.Script, "cd "); ok {
				x.env["dir"], _, _ = strings.Cut(dir, " ")
			}
			x.mu.Unlock()
			return x.Executor.Exec(ctx, cmd)
		},
	},
	{
		name:  "runs one command at a time",
		fails: []string{subParallel, subLive, subOthersStay},
		exec: func(x *brokenExecutor, ctx context.Context, cmd terminal.Command) (int, error) {
			x.serial.Lock()
			defer x.serial.Unlock()
			return x.Executor.Exec(ctx, cmd)
		},
	},
	{
		name:  sharesExecutors,
		fails: []string{subOthersStay, subCloseRunning, subCloseLeaves, subAfterClose, subCloseTerminal, subJobTasks},
	},
	{
		name:  "Close ends nothing",
		fails: []string{subCloseRunning, subCloseLeaves, subCloseTerminal, subJobTasks},
		exec: func(x *brokenExecutor, ctx context.Context, cmd terminal.Command) (int, error) {
			if !x.open() {
				return -1, terminal.ErrClosed
			}
			return x.Executor.Exec(ctx, cmd)
		},
		close: func(*brokenExecutor, context.Context) error { return nil },
	},
	{
		name:  "Exec works after Close",
		fails: []string{subAfterClose},
		exec: func(x *brokenExecutor, ctx context.Context, cmd terminal.Command) (int, error) {
			if x.open() {
				return x.Executor.Exec(ctx, cmd)
			}
			fresh, err := terminal.Local{}.Open(ctx, "")
			if err != nil {
				return -1, err
			}
			defer fresh.Close(ctx)
			return fresh.Exec(ctx, cmd)
		},
	},
	{
		name:  "a second Close is an error",
		fails: []string{subCloseTwice, subOthersStay, subCloseRunning, subCloseLeaves, subAfterClose},
		close: func(x *brokenExecutor, ctx context.Context) error {
			x.mu.Lock()
			defer x.mu.Unlock()
			if x.env["closed"] != "" {
				return errBroken
			}
			x.env["closed"] = "yes"
			return x.Executor.Close(ctx)
		},
	},
	{
		name:  "Open returns nothing at all",
		fails: []string{subOpenEnded},
		open: func(ctx context.Context, task string) (terminal.Executor, error) {
			if ctx.Err() != nil {
				return nil, nil
			}
			return terminal.Local{}.Open(ctx, task)
		},
	},
	{
		name:  "makes a file name of the task",
		fails: []string{subOpenMany},
		open: func(ctx context.Context, task string) (terminal.Executor, error) {
			if strings.Contains(task, "/") || len(task) > 255 {
				return nil, errBroken
			}
			return terminal.Local{}.Open(ctx, task)
		},
	},
	{
		name:  "says that it cannot be used",
		fails: []string{subHealthy},
		check: errBroken,
	},
}

// TestBrokenExecutors tests the suite: each fault must fail exactly the subtests
// that are about it. The suite runs in a child process for each fault, because
// its failures would be those of this test.
func TestBrokenExecutors(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the suite some forty times")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, b := range brokenExecutors {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, self, "-test.run=^TestOneBrokenExecutor$", "-test.v", "-test.short", "-test.parallel=6")
			mark := brokenEnv + "=" + b.name
			cmd.Env = append(os.Environ(), mark)
			out, err := cmd.CombinedOutput()
			for range 3 { // leftovers may be about to fork
				for _, pid := range carriers(mark + "\x00") {
					if pid, err := strconv.Atoi(pid); err == nil {
						_ = syscall.Kill(pid, syscall.SIGKILL)
					}
				}
			}
			require.Error(t, err, "the suite passed:\n%s", out)
			want, got := testNames(b.fails), failures(out)
			require.ElementsMatch(t, want, got, "not found: %q\nfound elsewhere: %q\n%s", without(want, got), without(got, want), out)
		})
	}
}

// spared skips subtests that are unrelated to the fault: those about jobs, which
// take as long as all others together, and those about files. For a fault of the
// file system it skips all others.
type spared struct {
	terminal.Backend
	jobs, files bool
}

func (b spared) Lacks(subtest string) string {
	switch {
	case slices.Contains(fileSubtests, subtest) != b.files:
		return "the fault is not one of those that files notice, or of those that others do"
	case isJobs(subtest) && !b.jobs:
		return "the fault is not one of those that jobs notice"
	}
	return ""
}

func (b spared) Check(ctx context.Context) error {
	if c, ok := b.Backend.(terminal.Checker); ok {
		return c.Check(ctx)
	}
	return nil
}

func isJobs(subtest string) bool { return strings.Contains(subtest, "job") }

// TestOneBrokenExecutor runs the suite in the child processes of
// TestBrokenExecutors.
func TestOneBrokenExecutor(t *testing.T) {
	name := os.Getenv(brokenEnv)
	if name == "" {
		t.Skip("only for the processes that TestBrokenExecutors starts")
	}
	i := slices.IndexFunc(brokenExecutors, func(b broken) bool { return b.name == name })
	require.GreaterOrEqual(t, i, 0, "no broken executor is called %q", name)
	b := brokenExecutors[i]
	terminaltest.Run(t, func(*testing.T) terminal.Backend {
		return spared{b.backend(), slices.ContainsFunc(b.fails, isJobs), slices.Contains(fileSubtests, b.fails[0])}
	})
}

var failLine = regexp.MustCompile(`(?m)^ +--- FAIL: TestOneBrokenExecutor/(.*) \([0-9.]+s\)$`)

func failures(out []byte) (names []string) {
	for _, m := range failLine.FindAllSubmatch(out, -1) {
		names = append(names, string(m[1]))
	}
	return names
}

// replace atomically replaces the content of a file, or of the target of a link.
func replace(name string, r io.Reader) error {
	if _, err := os.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	} else if target, err := os.Readlink(name); err == nil {
		name = filepath.Join(filepath.Dir(name), target)
	}
	data, _ := io.ReadAll(r)
	temp := filepath.Join(filepath.Dir(name), ".t")
	if err := os.WriteFile(temp, data, 0o640); err != nil {
		return err
	}
	return os.Rename(temp, name)
}

// without returns the names in a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(name string) bool { return slices.Contains(b, name) })
}

// testNames returns the sentences as go test prints them.
func testNames(sentences []string) (names []string) {
	for _, s := range sentences {
		names = append(names, strings.ReplaceAll(s, " ", "_"))
	}
	return names
}
