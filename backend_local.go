package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Times of the local backend, and of D3 for every other one.
const (
	termGrace = 2 * time.Second        // from TERM to KILL
	killLimit = 5 * time.Second        // for a process to die of that: for ever, if the kernel has it in an uninterruptible wait
	drainIdle = 100 * time.Millisecond // output is over when none came for this long after the exit,
	drainMax  = time.Second            // and at the latest then
)

// defaultPipeCapacity is how many bytes a pipe holds unless somebody changed
// that: 64 KiB on Linux, and at most that on other systems.
const defaultPipeCapacity = 64 << 10

// Local runs commands as processes of this machine, with the rights of this
// process. It is not a sandbox: tasks are kept apart by nothing but their
// working directories. The zero value is ready to use.
//
// Each command is a bash -c (sh -c without bash) in a session of its own,
// without a controlling terminal. A command that is ended loses every process
// that is in its group or session, descends from it, or carries its run id. On
// Linux that finds what was detached with setsid, nohup or a double fork, but
// not a process that did both that and cleared its environment. On other
// Unix systems there is the process group.
//
// On Windows bash must be on PATH, and a command's process tree is ended by
// taskkill; nothing there has been tried on a real machine.
type Local struct {
	// Shell is the program that runs commands with -c: a path, or a name to
	// be found on PATH. "": bash, else sh.
	Shell string

	// PassEnv names variables of this process that commands get although
	// they look like secrets. By default a variable is withheld if one of the
	// words that underscores make of its name is KEY, SECRET, PASS, PASSWD,
	// PASSPHRASE, PWD, CREDENTIAL, AUTH or COOKIE, or ends in TOKEN, PASSWORD
	// or APIKEY; SSH_AUTH_SOCK is among them, PWD and OLDPWD are not. This is
	// hygiene, not a wall: a command may read what this process may read.
	PassEnv []string
}

// String returns "local", the name in errors and Stats.
func (Local) String() string { return "local" }

// Check tells whether there is a shell to run commands with.
func (l Local) Check(context.Context) error {
	_, err := l.shell()
	return err
}

// Open returns an Executor for the task. It starts nothing.
func (l Local) Open(ctx context.Context, _ string) (Executor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	shell, err := l.shell()
	if err != nil {
		return nil, err
	}
	x := &localExecutor{
		shell: shell,
		env:   hostEnv(l.PassEnv),
		id:    newRunID(),
		jobs:  filepath.Join(os.TempDir(), "terminal-jobs-"+newRunID()[:16]),
		pumps: make(map[*pump]struct{}),
	}
	x.ctx, x.cancel = context.WithCancelCause(context.Background())
	return x, nil
}

func (l Local) shell() (string, error) {
	names := shellNames
	if l.Shell != "" {
		names = []string{l.Shell}
	}
	for _, name := range names {
		if shell, err := exec.LookPath(name); err == nil {
			return filepath.Abs(shell) // commands run in other directories
		}
	}
	return "", fmt.Errorf("%w: no %s on PATH; %s", ErrUnavailable, strings.Join(names, " or "), shellRemedy)
}

// secretWords in a variable's name make it a secret.
var secretWords = []string{
	"KEY", "KEYS", "APIKEY", "TOKEN", "TOKENS", "SECRET", "SECRETS", "PASSWORD", "PASSWD",
	"PASSPHRASE", "PASS", "PWD", "CREDENTIAL", "CREDENTIALS", "AUTH", "COOKIE",
}

func isSecret(name string) bool {
	words := strings.Split(strings.ToUpper(name), "_")
	if len(words) == 1 || name == "OLDPWD" {
		return strings.HasSuffix(words[0], "PASSWORD") || slices.Contains([]string{"APIKEY", "TOKEN", "SECRET", "PASSWORD"}, words[0])
	}
	for _, word := range words {
		if slices.Contains(secretWords, word) || strings.HasSuffix(word, "PASSWORD") || strings.HasSuffix(word, "APIKEY") || strings.HasSuffix(word, "TOKEN") {
			return true
		}
	}
	return false
}

// hostEnv is what commands inherit from this process.
func hostEnv(pass []string) map[string]string {
	env := make(map[string]string)
	for _, kv := range os.Environ() {
		name, value, ok := strings.Cut(kv, "=")
		if ok && name != "" && (!isSecret(name) || slices.Contains(pass, name)) {
			env[name] = value
		}
	}
	return env
}

// localExecutor runs commands for one task.
type localExecutor struct {
	shell  string
	env    map[string]string
	id     string // in every command's RunIDEnv beside its own, so that Close finds what they left
	jobs   string // directory of the jobs, if there are any; not named after id, see jobRunID
	ctx    context.Context
	cancel context.CancelCauseFunc

	left    leavers
	running sync.WaitGroup // commands; Add only under mu and while !closed
	pumping sync.WaitGroup // pumps; Add only by a running command

	mu     sync.Mutex // guards the rest; held for moments
	closed bool
	ran    bool               // a command has been started, so there may be something to find
	pumps  map[*pump]struct{} // that have not seen the end of their pipe
}

// jobHome returns the directory for jobs; Close removes it.
func (x *localExecutor) jobHome() string { return x.jobs }

// makeJob makes the directory of a job.
func (x *localExecutor) makeJob(id string) {
	_ = os.Mkdir(x.jobs, 0o700)
	_ = os.Mkdir(filepath.Join(x.jobs, id), 0o700)
}

// begin books a command, and refuses it after Close.
func (x *localExecutor) begin() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return fmt.Errorf("%w: %w", ErrNotStarted, ErrClosed)
	}
	x.ran = true
	x.running.Add(1)
	return nil
}

// Exec runs the command; see Executor.
func (x *localExecutor) Exec(ctx context.Context, c Command) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, notStarted(err)
	}
	if err := x.begin(); err != nil {
		return 0, err
	}
	defer x.running.Done()
	if err := checkDir(c.Dir); err != nil {
		return 0, notStarted(err)
	}
	p, err := x.start(c)
	if err != nil {
		return 0, notStarted(err)
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(x.ctx, func() { end(context.Cause(x.ctx)) })()

	select {
	case <-p.exited:
	case <-ctx.Done():
		p.end()
		err = ctx.Err()
		if x.ctx.Err() != nil {
			err = ErrClosed
		}
	}
	code := p.reap()
	p.drain()
	if err == nil && !isDetached(ctx) && p.survived() {
		x.left.note(p.runID)
	}
	return code, err
}

// Survivors tells whether a run left processes behind; see the interface.
func (x *localExecutor) Survivors(runID string) bool { return x.left.take(runID) }

func notStarted(err error) error { return marked{err, ErrNotStarted} }

// checkDir says of a bad directory what a failed fork would not.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return &fs.PathError{Op: "chdir", Path: dir, Err: errors.Unwrap(err)}
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "chdir", Path: dir, Err: syscall.ENOTDIR}
	}
	return nil
}

// localProcess is one running command: its shell, and the pipes to it.
type localProcess struct {
	cmd    *exec.Cmd
	began  time.Time
	runID  string
	exited chan struct{} // closed when the shell has exited, before it is reaped
	pumps  []*pump
	stdin  *os.File // our end, nil if there is none
	seen   kin      // its living processes when last looked for, where that can be told
}

// start starts the command's shell, with pipes of our own: those of os/exec
// would make its end wait for whoever else holds them.
func (x *localExecutor) start(c Command) (_ *localProcess, err error) {
	p := &localProcess{runID: c.Env[RunIDEnv], began: time.Now(), exited: make(chan struct{})}
	if p.runID == "" {
		p.runID = newRunID()
	}
	cmd := exec.Command(x.shell, "-c", "--", c.Script) // a script may begin with a dash
	p.cmd = cmd
	cmd.Dir = c.Dir
	cmd.Env = x.environ(c, p.runID)
	cmd.SysProcAttr = sysProcAttr()

	var theirs []*os.File // the command's ends of the pipes
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
		if err != nil {
			p.closePipes()
		}
	}()
	output := func(w io.Writer) (*os.File, error) {
		r, f, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, f)
		p.pumps = append(p.pumps, newPump(r, w))
		return f, nil
	}
	if c.Stdout != nil {
		if cmd.Stdout, err = output(c.Stdout); err != nil {
			return nil, err
		}
	}
	switch {
	case c.Stderr == nil:
	case same(c.Stdout, c.Stderr):
		cmd.Stderr = cmd.Stdout
	default:
		if cmd.Stderr, err = output(c.Stderr); err != nil {
			return nil, err
		}
	}
	var feed *os.File
	if f, ok := c.Stdin.(*os.File); ok {
		cmd.Stdin = f
	} else if c.Stdin != nil {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, r)
		cmd.Stdin, p.stdin, feed = r, w, w
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go p.watch()
	for _, pump := range p.pumps {
		x.pump(pump)
	}
	if feed != nil {
		go func() { // ends with the reader, or at the first write after the command's end
			_, _ = io.Copy(feed, c.Stdin)
			_ = feed.Close()
		}()
	}
	return p, nil
}

func (p *localProcess) closePipes() {
	for _, pump := range p.pumps {
		_ = pump.r.Close()
	}
	if p.stdin != nil {
		_ = p.stdin.Close()
	}
}

// environ is the host's environment under the command's own. The run ids of a
// Terminal around this process stay in front, so that it finds our processes.
func (x *localExecutor) environ(c Command, runID string) []string {
	env := merge(x.env, c.Env)
	env["PWD"] = c.Dir
	env[RunIDEnv] = x.id + "," + runID
	if outer := x.env[RunIDEnv]; outer != "" {
		env[RunIDEnv] = outer + "," + env[RunIDEnv]
	}
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

// reap collects the exited shell and returns its code.
func (p *localProcess) reap() int {
	_ = p.cmd.Wait() // no goroutines of os/exec to wait for: all files are ours
	if p.stdin != nil {
		_ = p.stdin.Close()
	}
	return exitCode(p.cmd.ProcessState)
}

// drain returns when everything written before the exit has been passed on. Only
// a writer that blocks ends it earlier.
func (p *localProcess) drain() {
	for _, pump := range p.pumps {
		pump.exit()
	}
	for _, pump := range p.pumps {
		awaitOutput(pump.drained, !pump.interruptible, pump.w)
	}
}

// pump gives one pipe's bytes to a writer, until the last process that holds
// the other end has gone. A survivor's output is read that long as well,
// because closing the pipe would kill it at its next write.
type pump struct {
	r       *os.File
	w       *outputWriter
	exiting atomic.Bool
	drained chan struct{} // closed when everything written before the exit has been passed on

	// interruptible reports whether r has read deadlines; set by exit, and only
	// used by its caller. Windows pipes have none, so there a pump notices
	// nothing but end of file, and waiting for it is bounded by time.
	interruptible bool
}

func newPump(r *os.File, w io.Writer) *pump {
	return &pump{r: r, w: &outputWriter{w: w}, drained: make(chan struct{})}
}

// exit tells the pump that the command's shell has exited.
func (p *pump) exit() {
	p.exiting.Store(true)
	err := p.r.SetReadDeadline(time.Now()) // interrupts the read under way
	p.interruptible = !errors.Is(err, os.ErrNoDeadline)
}

func (p *pump) run() {
	defer p.r.Close()
	buf := make([]byte, defaultPipeCapacity)
	open := p.copy(buf, func() bool { return p.exiting.Load() })
	if open {
		open = p.copyReady(buf)
	}
	if open {
		open = p.copyIdle(buf)
	}
	close(p.drained)
	if open {
		_ = p.r.SetReadDeadline(time.Time{})
		p.copy(buf, func() bool { return true })
	}
}

// copy gives on what comes until the end of the pipe, and returns false then;
// or until a read is interrupted and stop says that this was meant.
func (p *pump) copy(buf []byte, stop func() bool) (open bool) {
	for {
		n, err := p.r.Read(buf)
		if n > 0 {
			_, _ = p.w.Write(buf[:n])
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && stop() {
			return true
		}
		if err != nil {
			return false
		}
	}
}

// copyReady copies what is in the pipe, and returns false at its end. No time
// limit applies, because this is where the output from before the exit may be. A
// survivor can keep the pipe from ever being empty; once as many bytes as the
// pipe holds have been read, the rest was written after the exit.
func (p *pump) copyReady(buf []byte) (open bool) {
	_ = p.r.SetReadDeadline(time.Time{}) // an expired one makes every read fail
	for left := pipeCapacity(p.r); left > 0; {
		n, err := readReady(p.r, buf)
		if n > 0 {
			_, _ = p.w.Write(buf[:n])
			left -= n
		}
		if err != nil {
			return false
		}
		if n <= 0 {
			return true
		}
	}
	return true
}

// copyIdle copies what survivors write until nothing came for drainIdle, but at
// most for drainMax. The deadline of a read may pass before a busy machine gets
// to the read, so the pipe is checked once more before it is considered idle.
func (p *pump) copyIdle(buf []byte) (open bool) {
	for end := time.Now().Add(drainMax); ; {
		_ = p.r.SetReadDeadline(time.Now().Add(drainIdle))
		n, err := p.r.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			_ = p.r.SetReadDeadline(time.Time{})
			if n, err = readReady(p.r, buf); n <= 0 && err == nil {
				return true
			}
		}
		if n > 0 {
			_, _ = p.w.Write(buf[:n])
		}
		if err != nil {
			return false
		}
		if time.Now().After(end) {
			return true
		}
	}
}

// pump runs a pump and keeps account of it.
func (x *localExecutor) pump(p *pump) {
	x.mu.Lock()
	x.pumps[p] = struct{}{}
	x.mu.Unlock()
	x.pumping.Go(func() {
		p.run()
		x.mu.Lock()
		delete(x.pumps, p)
		x.mu.Unlock()
	})
}

// Kill ends every process of a run; see Killer.
func (x *localExecutor) Kill(ctx context.Context, runID string) error {
	return killRun(ctx, runID)
}

// Close ends all commands and what they left behind.
func (x *localExecutor) Close(ctx context.Context) error {
	x.mu.Lock()
	again := x.closed
	x.closed = true
	ran := x.ran
	x.mu.Unlock()
	if again || !ran {
		return nil
	}
	x.cancel(ErrClosed)
	err := errors.Join(wait(ctx, &x.running), killRun(ctx, x.id))

	// What still holds a pipe has hidden from us; it does not keep us here.
	idle, cancel := context.WithTimeout(ctx, drainMax)
	defer cancel()
	err = errors.Join(err, os.RemoveAll(x.jobs))
	if wait(idle, &x.pumping) == nil {
		return err
	}
	x.mu.Lock()
	for p := range x.pumps {
		_ = p.r.Close()
	}
	x.mu.Unlock()
	return errors.Join(err, wait(ctx, &x.pumping))
}

// wait waits for the group, but no longer than ctx.
func wait(ctx context.Context, group *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		group.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
