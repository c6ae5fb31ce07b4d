package terminaltest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"math/big"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/terminal-go/terminal"
)

const (
	// patience bounds an operation that takes a moment on an idle machine.
	patience = 10 * time.Second

	// grace bounds how long a canceled command may take to return: the two
	// seconds between TERM and KILL, time to search for detached processes,
	// and as much again for a loaded machine.
	grace = 7 * time.Second
)

// A lab is the fixture of one subtest: a backend and, inside each of its
// environments, a directory with a few scripts.
//
// In commands, @D stands for that directory and @W for a random word.
//
//	sh @D/sleeper NAME  writes its process id to @D/pid.NAME and sleeps for minutes
//	sh @D/await FILE    waits until FILE exists, for a bounded time
//	sh @D/alive         prints the NAMEs of the sleepers that still run
//	sh @D/gone          the same, once there are none or after a second
type lab struct {
	*testing.T
	b    terminal.Backend
	word string
	dir  string
	tick string // the sleepers' duration, which identifies one if its pid is reused
}

func newLab(t *testing.T, b terminal.Backend) *lab {
	t.Helper()
	word := strings.ToLower(rand.Text())
	n, err := rand.Int(rand.Reader, big.NewInt(5000))
	if err != nil {
		t.Fatal(err)
	}
	return &lab{T: t, b: b, word: word, dir: "/tmp/terminaltest-" + word, tick: strconv.Itoa(300 + int(n.Int64()))}
}

const setUp = `mkdir -p @D && cd @D || exit 1
cat >sleeper <<'EOF'
echo $$ >@D/new.$1 && mv @D/new.$1 @D/pid.$1 && exec sleep @T
EOF
cat >await <<'EOF'
n=0
while [ ! -e "$1" ]; do
	n=$((n+1))
	[ $n -le 200 ] || { echo "await: no $1" >&2; exit 1; }
	sleep 0.02 2>/dev/null || { sleep 1; n=$((n+25)); }
done
EOF
cat >alive <<'EOF'
for f in @D/pid.*; do
	p= c=
	[ -f "$f" ] && read -r p <"$f" || continue
	if [ -r /proc/self/cmdline ]; then
		{ read -r c </proc/$p/cmdline; } 2>/dev/null
		case $c in *@D*|*sleep*@T*) ;; *) continue ;; esac
	else
		kill -0 "$p" 2>/dev/null || continue
	fi
	[ "$1" != kill ] || kill -9 "$p" 2>/dev/null
	echo "${f##*.}"
done
EOF
cat >gone <<'EOF'
n=0
while left=$(sh @D/alive) && [ -n "$left" ] && [ $n -lt 50 ]; do
	n=$((n+1))
	sleep 0.02 2>/dev/null || { sleep 1; n=50; }
done
[ -z "$left" ] || echo "$left"
EOF
:`

const tearDown = `[ ! -f @D/alive ] || sh @D/alive kill >/dev/null; cd /; rm -rf @D`

func (l *lab) text(script string) string {
	return strings.NewReplacer("@D", l.dir, "@W", l.word, "@T", l.tick).Replace(script)
}

// An outcome is what an Exec returned, wrote and took.
type outcome struct {
	code int
	out  string
	err  error
	took time.Duration
}

// executor opens a task on the backend without a Terminal and sets up the
// directory. When the subtest ends it removes the directory and closes.
func (l *lab) executor(task string) terminal.Executor {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ex, err := l.b.Open(ctx, task)
	if err != nil {
		l.Fatalf("Open(%q): %v", task, err)
	}
	l.Cleanup(func() {
		l.tidy(ex)
		l.close(ex)
	})
	if o := l.exec(ex, setUp); o.err != nil || o.code != 0 {
		l.Fatalf("set up the environment: code %d, error %v, output %q", o.code, o.err, o.out)
	}
	return ex
}

// tidy removes what a subtest left in an environment, as far as possible: the
// executor may be closed or broken.
func (l *lab) tidy(ex terminal.Executor) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = ex.Exec(ctx, terminal.Command{
			Script: l.text(tearDown), Dir: "/", Env: map[string]string{terminal.RunIDEnv: strings.ToLower(rand.Text())},
		})
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func (l *lab) close(ex terminal.Executor) {
	l.Helper()
	l.within(patience, "Close", func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := ex.Close(ctx); err != nil {
			l.Errorf("Close: %v", err)
		}
	})
}

// exec runs a script that must end by itself within patience.
func (l *lab) exec(ex terminal.Executor, script string) outcome {
	l.Helper()
	return l.do(ex, terminal.Command{Script: script})
}

// do runs a command that must end by itself within patience.
func (l *lab) do(ex terminal.Executor, cmd terminal.Command) (o outcome) {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	wait := l.begin(ctx, ex, cmd)
	l.within(patience+grace, "Exec", func() { o = wait() })
	return o
}

// begin starts Exec as a Terminal does, with a run ID, and returns a function
// that waits for its outcome. If cmd has no Stdout, the outcome has the output.
// If cmd has no Dir, it is /.
func (l *lab) begin(ctx context.Context, ex terminal.Executor, cmd terminal.Command) (wait func() outcome) {
	cmd.Script = l.text(cmd.Script)
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.Dir = l.text(cmd.Dir)
	env := map[string]string{terminal.RunIDEnv: strings.ToLower(rand.Text())}
	maps.Copy(env, cmd.Env)
	cmd.Env = env
	var out recorder
	if cmd.Stdout == nil {
		cmd.Stdout, cmd.Stderr = &out, &out
	}
	var o outcome
	done := make(chan struct{})
	go func() {
		defer close(done)
		start := time.Now()
		o.code, o.err = ex.Exec(ctx, cmd)
		o.took = time.Since(start)
		o.out = out.String()
	}()
	return func() outcome {
		<-done
		return o
	}
}

// ended cancels a command once it has written "ready" and returns its outcome.
func (l *lab) ended(ex terminal.Executor, script string) outcome {
	l.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var out recorder
	wait := l.begin(ctx, ex, terminal.Command{Script: script, Stdout: &out, Stderr: &out})
	l.await(&out, "ready\n")
	cancel()
	var o outcome
	l.within(grace, "Exec after its context was cancelled", func() { o = wait() })
	o.out = out.String()
	return o
}

// terminal returns a Terminal on the backend and sets up the directory in the
// default task.
func (l *lab) terminal(cfg terminal.Config) *terminal.Terminal {
	l.Helper()
	if cfg.Backend == nil {
		cfg.Backend = l.b
	}
	cfg.Dir = l.text(cfg.Dir)
	if cfg.Timeout == 0 {
		cfg.Timeout = patience
	}
	term, err := terminal.New(cfg)
	if err != nil {
		l.Fatalf("New: %v", err)
	}
	l.Cleanup(func() {
		l.within(time.Minute, "cleaning up", func() {
			_, _ = term.Run(context.Background(), terminal.Request{Command: l.text(tearDown), Dir: "/"})
			if err := term.Close(); err != nil {
				l.Errorf("Close: %v", err)
			}
		})
	})
	res, err := term.Run(context.Background(), terminal.Request{Command: l.text(setUp), Dir: "/", Timeout: time.Minute})
	if err != nil || res.ExitCode != 0 {
		l.Fatalf("set up the environment: code %d, error %v, output %q", res.ExitCode, err, res.Output)
	}
	return term
}

// run runs a request that must end by itself or at its own timeout.
func (l *lab) run(term *terminal.Terminal, req terminal.Request) (res terminal.Result, err error) {
	l.Helper()
	wait := l.start(context.Background(), term, req)
	l.within(patience+2*grace, "Run", func() { res, err = wait() })
	return res, err
}

// sh runs a command that must end with code 0, and returns its output.
func (l *lab) sh(term *terminal.Terminal, command string) string {
	l.Helper()
	res, err := l.run(term, terminal.Request{Command: command})
	if err != nil || res.ExitCode != 0 {
		l.Fatalf("Run(%s): code %d, error %v, output %s", brief(command), res.ExitCode, err, brief(res.Output))
	}
	return res.Output
}

// start starts Run and returns a function that waits for its result.
func (l *lab) start(ctx context.Context, term *terminal.Terminal, req terminal.Request) (wait func() (terminal.Result, error)) {
	req.Command = l.text(req.Command)
	req.Dir = l.text(req.Dir)
	var res terminal.Result
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		res, err = term.Run(ctx, req)
	}()
	return func() (terminal.Result, error) {
		<-done
		return res, err
	}
}

// within fails the subtest if f takes longer than d.
func (l *lab) within(d time.Duration, what string, f func()) {
	l.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		l.Fatalf("%s has not returned after %v", what, d)
	}
}

// await waits until the recorder has seen a text.
func (l *lab) await(r *recorder, text string) {
	l.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		changed := r.changed()
		if strings.Contains(r.String(), text) {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			l.Fatalf("%q was not written within %v; written so far: %s", text, patience, brief(r.String()))
		}
	}
}

// gone checks from inside an environment that no sleeper is left.
func (l *lab) gone(ex terminal.Executor) {
	l.Helper()
	o := l.exec(ex, "[ ! -f @D/gone ] || sh @D/gone")
	if o.err != nil || o.code != 0 || o.out != "" {
		l.Errorf("processes still run: %s (code %d, error %v)", strings.Join(strings.Fields(o.out), ", "), o.code, o.err)
	}
}

// check compares the outcome of a command with the exit code and output wanted.
func (l *lab) check(what string, o outcome, code int, out string) {
	l.Helper()
	if o.err != nil || o.code != code || o.out != out {
		l.Errorf("%s: code %d, error %v, output %s; want code %d, output %s",
			what, o.code, o.err, brief(o.out), code, brief(out))
	}
}

// brief quotes a text and shortens it if it is long.
func brief(s string) string {
	const most = 300
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q… (%d bytes)", s[:most], len(s))
}

// A recorder buffers what is written to it and signals each Write. It is safe
// for concurrent use.
type recorder struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{} // closed at the next Write
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.more != nil {
		close(r.more)
		r.more = nil
	}
	return r.buf.Write(p)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// changed returns a channel that is closed at the next Write.
func (r *recorder) changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.more == nil {
		r.more = make(chan struct{})
	}
	return r.more
}
