package terminaltest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/terminal-go/terminal"
)

// The input of a command: standard input, variables, working directory.
var inputTests = []subtest{
	{name: "standard input is at end of file unless given", test: emptyStdin},
	{name: "standard input is never the host's", test: hostStdin, alone: true},
	{name: "standard input that is given is delivered", test: givenStdin},
	{name: "standard input may be left unread", test: unreadStdin},
	{name: "variables reach the command whatever their value", test: oddVariables},
	{name: "variables of a request win over those of the Config, and last for one command", test: variableOrder},
	{name: "variables tell programs that nobody is there to answer", test: nobodyThere},
	{name: "there is no controlling terminal", test: noTerminal},
	{name: "a command runs in its directory", test: givenDir},
	{name: "a directory that is missing is an error that names it, and nothing runs", test: missingDir},
	{name: "a directory that is a file is an error that names it, and nothing runs", test: fileAsDir},
	{name: "a Config.Dir that vanished is replaced by its nearest parent, with a Notice", test: vanishedDir},
}

func itoa(n int) string { return strconv.Itoa(n) }

func emptyStdin(l *lab) {
	l.check("Exec", l.exec(l.executor("task"), "cat; read x || echo end"), 0, "end\n")
	if out := l.sh(l.terminal(terminal.Config{}), "cat; read x || echo end"); out != "end\n" {
		l.Errorf("Run: output is %q, want %q", out, "end\n")
	}
}

var hostStdinMu sync.Mutex // two suites may run at once

func hostStdin(l *lab) {
	hostStdinMu.Lock()
	defer hostStdinMu.Unlock()
	r, w, err := os.Pipe()
	if err != nil {
		l.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("this is the host's\n"); err != nil {
		l.Fatal(err)
	}
	w.Close()
	old := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = old }()
	l.check("Exec", l.exec(l.executor("task"), "cat"), 0, "")
	if out := l.sh(l.terminal(terminal.Config{}), "cat"); out != "" {
		l.Errorf("Run: output is %q", out)
	}
}

func givenStdin(l *lab) {
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	ex := l.executor("task")
	o := l.do(ex, terminal.Command{Script: "cat", Stdin: bytes.NewReader(data)})
	if o.code != 0 || o.err != nil || o.out != string(data) {
		l.Errorf("cat: code %d, error %v, %d bytes, equal: %t", o.code, o.err, len(o.out), o.out == string(data))
	}
	o = l.do(ex, terminal.Command{Script: `read -r a; echo "[$a]"; cat; echo done`, Stdin: strings.NewReader("one\ntwo\n")})
	l.check("read", o, 0, "[one]\ntwo\ndone\n")

	res, err := l.run(l.terminal(terminal.Config{}), terminal.Request{Command: "cat", Stdin: strings.NewReader("héllo\n")})
	if err != nil || res.ExitCode != 0 || res.Output != "héllo\n" {
		l.Errorf("Run: code %d, error %v, output %q", res.ExitCode, err, res.Output)
	}
}

func unreadStdin(l *lab) {
	ex := l.executor("task")
	r, w := io.Pipe() // nobody ever writes to it
	defer w.Close()
	o := l.do(ex, terminal.Command{Script: "exit 4", Stdin: r})
	l.check("a reader that gives nothing", o, 4, "")
	o = l.do(ex, terminal.Command{Script: "head -c 10; exit 5", Stdin: endless{}})
	l.check("a reader without end", o, 5, "zzzzzzzzzz")
}

// endless is a reader without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'z'
	}
	return len(p), nil
}

func oddVariables(l *lab) {
	values := []string{
		"plain", "", "two words", `'single' "double"`, "a\nb", "ends with newline\n", "$HOME `id` $(id) \\", "-n", "a=b",
		"é 😀", "*", "a\tb\r", "\x01\x7f", strings.Repeat("long ", 2000),
	}
	env := map[string]string{"lower_case_": "lower"}
	script, want := `printf '<%s>' "$lower_case_"`, "<lower>"
	for i, v := range values {
		env["ODD_"+itoa(i)] = v
		script += ` "${ODD_` + itoa(i) + `-unset}"`
		want += "<" + v + ">"
	}
	l.check("Exec", l.do(l.executor("task"), terminal.Command{Script: script, Env: env}), 0, want)
	res, err := l.run(l.terminal(terminal.Config{}), terminal.Request{Command: script, Env: env})
	if err != nil || res.Output != want {
		l.Errorf("Run: error %v, output %s, want %s", err, brief(res.Output), brief(want))
	}
}

func variableOrder(l *lab) {
	term := l.terminal(terminal.Config{Env: map[string]string{"TT_A": "config", "TT_B": "config"}})
	const script = `echo "$TT_A $TT_B ${TT_C-unset}"`
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{nil, "config config unset\n"},
		{map[string]string{"TT_B": "request", "TT_C": "request"}, "config request request\n"},
		{nil, "config config unset\n"},
	} {
		res, err := l.run(term, terminal.Request{Command: script, Env: c.env})
		if err != nil || res.Output != c.want {
			l.Errorf("with %v: error %v, output %q, want %q", c.env, err, res.Output, c.want)
		}
	}
}

func nobodyThere(l *lab) {
	out := l.sh(l.terminal(terminal.Config{}), `for v in PAGER GIT_PAGER EDITOR GIT_EDITOR DEBIAN_FRONTEND GIT_TERMINAL_PROMPT TERM; do
	eval "echo $v=\$$v"
done`)
	values := map[string]string{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[name] = value
	}
	for _, name := range []string{"PAGER", "GIT_PAGER", "EDITOR", "GIT_EDITOR", "DEBIAN_FRONTEND"} {
		if values[name] == "" {
			l.Errorf("%s is not set", name)
		}
	}
	if values["GIT_TERMINAL_PROMPT"] != "0" {
		l.Errorf("GIT_TERMINAL_PROMPT is %q, want 0", values["GIT_TERMINAL_PROMPT"])
	}
	if values["TERM"] != "dumb" {
		l.Errorf("TERM is %q, want dumb", values["TERM"])
	}
}

func noTerminal(l *lab) {
	ex := l.executor("task")
	l.check("/dev/tty", l.exec(ex, "if (: </dev/tty) 2>/dev/null; then echo opened; else echo none; fi"), 0, "none\n")
	l.check("standard streams", l.exec(ex, "for n in 0 1 2; do [ ! -t $n ] || echo $n is a terminal; done"), 0, "")
}

func givenDir(l *lab) {
	ex, term := l.executor("task"), l.terminal(terminal.Config{})
	for _, name := range []string{"plain", "two words", `q'uo"te`, "é$x", "-dash"} {
		dir := l.dir + "/" + name
		mkdir := terminal.Command{Script: `mkdir -p "$TT_DIR" && cd "$TT_DIR" && : >here`, Env: map[string]string{"TT_DIR": dir}}
		l.check("mkdir", l.do(ex, mkdir), 0, "")
		o := l.do(ex, terminal.Command{Script: "echo *", Dir: dir})
		l.check("Exec in "+dir, o, 0, "here\n")
	}
	l.sh(term, "mkdir @D/sub && : >@D/sub/here")
	if res, err := l.run(term, terminal.Request{Command: "echo *", Dir: "@D/sub"}); err != nil || res.Output != "here\n" {
		l.Errorf("Run in a directory: error %v, output %q, want %q", err, res.Output, "here\n")
	}
}

func missingDir(l *lab) {
	badDir(l, l.dir+"/no such dir", fs.ErrNotExist)
}

func fileAsDir(l *lab) {
	badDir(l, l.dir+"/sleeper", syscall.ENOTDIR)
}

// badDir runs commands in a path that is no usable directory. They must fail at
// once, with the cause and without a retry.
func badDir(l *lab, dir string, cause error) {
	l.Helper()
	ex, term := l.executor("task"), l.terminal(terminal.Config{})
	const script = "echo ran; : >@D/ran"
	refused := func(what string, err error, took time.Duration) {
		l.Helper()
		switch {
		case err == nil:
			l.Errorf("%s: no error", what)
		case !strings.Contains(err.Error(), dir):
			l.Errorf("%s: the error does not name %s: %v", what, dir, err)
		case !errors.Is(err, terminal.ErrNotStarted) || !errors.Is(err, cause):
			l.Errorf("%s: %v does not match both %q and %q", what, err, terminal.ErrNotStarted, cause)
		}
		if took > 4*time.Second {
			l.Errorf("%s: it took %v", what, took)
		}
	}
	o := l.do(ex, terminal.Command{Script: script, Dir: dir})
	refused("Exec", o.err, o.took)
	start := time.Now()
	res, err := l.run(term, terminal.Request{Command: script, Dir: dir})
	refused("Run", err, time.Since(start))
	if res.Error == "" || res.ExitCode != -1 || res.Status != terminal.StatusError {
		l.Errorf("Run: code %d, error %q, status %q", res.ExitCode, res.Error, res.Status)
	}
	const look = "[ ! -e @D/ran ] || echo ran"
	l.check("look", l.exec(ex, look), 0, "")
	if out := l.sh(term, look); out != "" || o.out != "" || strings.Contains(res.Output, "ran\n") {
		l.Errorf("the command ran")
	}
}

func vanishedDir(l *lab) {
	term := l.terminal(terminal.Config{Dir: "@D/a/b"})
	run := func(command, dir string) terminal.Result {
		l.Helper()
		res, err := l.run(term, terminal.Request{Command: command, Dir: dir})
		if err != nil || res.ExitCode != 0 {
			l.Fatalf("%s: code %d, error %v, output %q", command, res.ExitCode, err, res.Output)
		}
		return res
	}
	const here = "@D/a/b && : >@D/a/b/here"
	run("mkdir -p "+here, "/")
	if res := run("echo *", ""); res.Output != "here\n" || res.Notice != "" {
		l.Errorf("at first: output %q, notice %q", res.Output, res.Notice)
	}
	run(`rm -rf "$PWD" && rm -rf @D/a`, "")
	if res := run("echo sleepe[r]", ""); res.Output != "sleeper\n" || !strings.Contains(res.Notice, l.dir+"/a/b") {
		l.Errorf("after the directory vanished: output %q, notice %q; want to be in %s, and a notice that names what vanished",
			res.Output, res.Notice, l.dir)
	}
	run("mkdir -p "+here, "/")
	if res := run("echo *", ""); res.Output != "here\n" || res.Notice != "" {
		l.Errorf("after it was made again: output %q, notice %q", res.Output, res.Notice)
	}
}
