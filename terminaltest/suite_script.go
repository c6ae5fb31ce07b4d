package terminaltest

import (
	"strings"
	"testing"
	"time"

	"github.com/terminal-go/terminal"
)

// Scripts: how they are run and what their exit codes mean.
var scriptTests = []subtest{
	{name: "a non-zero exit code is a result and not an error", test: exitCodes},
	{name: "a command killed by signal n exits with 128+n", test: signalCodes},
	{name: "a program that is not found is 127 and one that cannot be executed is 126", test: notFoundCodes},
	{name: "a script runs unchanged whatever it contains", test: anyScript},
	{name: "a script may begin with a dash", test: dashScript},
	{name: "a script of 1 MiB runs unchanged", test: longScript},
	{name: "a script is not run by a login shell", test: noLogin},
	{name: "a command runs exactly once", test: runsOnce},
}

func exitCodes(l *lab) {
	ex, term := l.executor("task"), l.terminal(terminal.Config{})
	for _, code := range []int{0, 1, 7, 124, 130, 255} {
		script := "echo out; exit " + itoa(code)
		l.check(script, l.exec(ex, script), code, "out\n")
		res, err := l.run(term, terminal.Request{Command: script})
		if err != nil || res.ExitCode != code || res.Error != "" || res.Status != terminal.StatusCompleted || res.Output != "out\n" {
			l.Errorf("Run(%s): error %v, %+v", script, err, res)
		}
	}
	if o := l.exec(ex, "if then fi"); o.err != nil || o.code == 0 || o.out == "" {
		l.Errorf("a syntax error: code %d, error %v, output %q; want a code and the shell's message", o.code, o.err, o.out)
	}
}

func signalCodes(l *lab) {
	ex := l.executor("task")
	for script, code := range map[string]int{
		"echo out; kill -KILL $$; sleep 5":              137,
		"echo out; kill -TERM $$; sleep 5":              143,
		"echo out; kill -HUP $$; sleep 5":               129,
		"echo out; exec sh -c 'kill -KILL $$; sleep 5'": 137,
	} {
		l.check(script, l.exec(ex, script), code, "out\n")
	}
}

func notFoundCodes(l *lab) {
	ex := l.executor("task")
	for script, code := range map[string]int{
		"no-such-program-@W":      127,
		"exec no-such-program-@W": 127,
		"@D/no-such-program":      127,
		"@D/sleeper":              126, // has no x bit
		"@D":                      126,
	} {
		if o := l.exec(ex, script); o.err != nil || o.code != code || o.out == "" {
			l.Errorf("%s: code %d, error %v, output %q; want code %d and the shell's message", script, o.code, o.err, o.out, code)
		}
	}
}

func anyScript(l *lab) {
	ex := l.executor("task")
	for _, c := range []struct{ script, want string }{
		{"", ""},
		{"# only a comment", ""},
		{"echo a # comment at the end", "a\n"},
		{"echo a\n", "a\n"},
		{"\n\n  echo a  \n\n", "a\n"},
		{`echo 'single "in"' "double 'in'"`, "single \"in\" double 'in'\n"},
		{`printf '%s\n' "a\\b" 'c\d' e\'f \$x \"`, "a\\b\nc\\d\ne'f\n$x\n\"\n"},
		{"echo one; echo two &&\\\n echo three", "one\ntwo\nthree\n"},
		{"cat <<A; cat <<'B'\n$((1+1))\nA\n'\"`\nB", "2\n'\"`\n"},
		{"cat <<'A'\n$x `y` \\\n  indented\t\n\nA\n", "$x `y` \\\n  indented\t\n\n"},
		{"cat <<-A\n\tx\n\tA\necho y", "x\ny\n"},
		{"echo $#", "0\n"},
		{"set -- a b; echo $# $*", "2 a b\n"},
		{"exec echo a; echo b", "a\n"},
		{"(exit 3); echo $?", "3\n"},
		{"{ echo a; } 2>&1 | cat; echo b", "a\nb\n"},
		{"trap 'echo bye' EXIT; echo hi", "hi\nbye\n"},
		{"echo '%s %d %%' '!!' '~' '{a,b}'", "%s %d %% !! ~ {a,b}\n"},
		{"echo 'é 😀'\r", "é 😀\r\n"},
		{"printf '%s' 'a\r\nb\x01\x7f\xff'", "a\r\nb\x01\x7f\xff"},
		{"echo a &\nwait", "a\n"},
		{"echo a; exit; echo b", "a\n"},
		{"f() { echo \"$1\"; }; f 'x  y'", "x  y\n"},
		{"case a in (a) echo yes;; esac", "yes\n"},
		{"(set -e; false; echo not here); echo $?", "1\n"},
		{"EOF=1; echo $EOF; cat <<EOF\nEOF2\nEOF", "1\nEOF2\n"},
	} {
		l.check(brief(c.script), l.exec(ex, c.script), 0, c.want)
	}
	// Shells differ in the meaning of a trailing backslash, but nothing may be
	// appended to the script.
	if o := l.exec(ex, `echo a\`); o.err != nil || o.code != 0 || o.out != "a\\\n" && o.out != "a\n" {
		l.Errorf("a trailing backslash: code %d, error %v, output %q", o.code, o.err, o.out)
	}
}

func dashScript(l *lab) {
	ex := l.executor("task")
	l.check("-", l.exec(ex, "-no-such-program-@W 2>/dev/null; echo $?"), 0, "127\n")
	l.check("+", l.exec(ex, "+e 2>/dev/null; echo $?"), 0, "127\n")
	l.check("--", l.exec(ex, "-- 2>/dev/null; echo $?"), 0, "127\n")
}

// longScript passes a script of 40 KiB, which fits an argument list, to the
// Executor. A Terminal passes longer ones on standard input.
func longScript(l *lab) {
	const line = ": '0123456789 \"$x\" \\'\n"
	lines := func(size int) string { return strings.Repeat(line, size/len(line)) + "cat; echo end" }
	o := l.do(l.executor("task"), terminal.Command{Script: lines(40 << 10), Stdin: strings.NewReader("input ")})
	l.check("Exec", o, 0, "input end\n")

	size, repeat := 1<<20, 1<<13
	if testing.Short() {
		size, repeat = 60<<10, 1<<12
	}
	term := l.terminal(terminal.Config{})
	res, err := l.run(term, terminal.Request{Command: lines(size), Stdin: strings.NewReader("input ")})
	if err != nil || res.ExitCode != 0 || res.Output != "input end\n" {
		l.Errorf("Run with many lines: code %d, error %v, output %s", res.ExitCode, err, brief(res.Output))
	}
	word := "x='" + strings.Repeat("0123456789abcd \n", repeat) + "'; echo ${#x}"
	if out := l.sh(term, word); out != itoa(16*repeat)+"\n" {
		l.Errorf("Run with a long word: output is %s", brief(out))
	}
}

func noLogin(l *lab) {
	ex := l.executor("task")
	l.check("set up", l.exec(ex, `for f in .profile .bash_profile .bash_login .bashrc; do echo "echo read $f" >@D/$f; done`), 0, "")
	o := l.do(ex, terminal.Command{Script: "echo a", Env: map[string]string{"HOME": l.dir}})
	l.check("with profiles in HOME", o, 0, "a\n")
}

func runsOnce(l *lab) {
	ex := l.executor("task")
	l.check("exit 0", l.exec(ex, "echo x >>@D/zero"), 0, "")
	l.check("exit 1", l.exec(ex, "echo x >>@D/one; exit 1"), 1, "")
	l.exec(ex, "echo x >>@D/killed; kill -KILL $$")
	l.ended(ex, "echo x >>@D/ended; echo ready; exec sh @D/sleeper ended")
	l.check("log", l.exec(ex, "cat @D/zero; echo; cat @D/one; echo; cat @D/killed; echo; cat @D/ended"), 0, "x\n\nx\n\nx\n\nx\n")

	term := l.terminal(terminal.Config{})
	_, _ = l.run(term, terminal.Request{Command: "echo x >>@D/t.zero"})
	_, _ = l.run(term, terminal.Request{Command: "echo x >>@D/t.one; exit 1"})
	_, _ = l.run(term, terminal.Request{Command: "echo x >>@D/t.limit; exec sh @D/sleeper limit", Timeout: 1500 * time.Millisecond})
	const log = "cat @D/t.zero; echo; cat @D/t.one; echo; cat @D/t.limit"
	if out := l.sh(term, log); out != "x\n\nx\n\nx\n" {
		l.Errorf("the log says %q", out)
	}
}
