package lane

import (
	_ "embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
)

// MaxScript is the length in bytes of the longest script that can be sent.
// The shell reads a request byte by byte, which takes about half a second for
// this much; long texts had better be read by the command from its Stdin.
const MaxScript = 1 << 20

// longestArg is what Linux takes for one argument or variable, less the NUL.
const longestArg = 128<<10 - 1

// runIDEnv is the variable by which a command's processes can be found.
const runIDEnv = "TERMINAL_RUN_ID"

//go:embed command.sh
var commandSource string

//go:embed bootstrap.sh
var bootstrapSource string

// listen is all that a lane's shell is started with: it makes its own output
// /dev/null, announces itself and does what it is told, line by line. It is
// short because it is seen in the list of processes, where a command's
// pkill -f should not take it for something else.
const listen = `exec 3>&1 4>&2 >/dev/null 2>&1
unset lane_n lane_l
lane_n='
'
printf '` + readyText + `\n' >&3
while IFS= read -r lane_l
do eval "$lane_l"
done`

const readyText = "lane 1"

// Argv is what to start in an environment to get a lane there. shell is the
// program that commands are run with, a path or a name to be found on PATH;
// "": bash, else sh.
func Argv(shell string) []string {
	return []string{"sh", "-c", listen, "sh", shell}
}

// bootstrap is the first line a shell is sent, after its tag. The locale is
// looked at before command.sh changes it.
var bootstrap = `lane_lc=${LC_ALL-};lane_locale="unset LC_ALL${LC_ALL+;export LC_ALL=\"\$lane_lc\"}";lane_def=;` +
	"lane_text=" + quote(withoutComments(commandSource)) + `;eval "$lane_text";` +
	Line(bootstrapSource)

// Line makes one line of a script, for a shell that reads a line and evals it
// and has a newline in lane_n. Lines that are comments are left out.
func Line(script string) string {
	return "eval " + quote(withoutComments(script)) + "\n"
}

func withoutComments(script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimLeft(line, "\t")
		if line != "\n" && !strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// quote makes one word of any text without NUL, on one line.
func quote(s string) string {
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + quoter.Replace(s) + "'"
}

const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:,+-"

var quoter = strings.NewReplacer("'", `'\''`, "\n", `'"$lane_n"'`)

// request is what makes the shell run the command: the lines, and how many
// bytes of them must have been written for it to start. env is the definition
// of the environment if it has changed, else "". The standby reads the first
// line and becomes the command, the lane's shell reads the others when that
// has ended. With Stdin there are no others: the lane's shell itself must run
// the command, so that it knows not to go on reading.
func (c *Command) request(tag string, word []byte, env string) (lines string, enough int) {
	mode := "x"
	if c.merged() {
		mode += "m"
	}
	if c.Detached {
		mode += "d"
	}
	value := c.Env[runIDEnv]
	if value == c.RunID {
		value = ""
	}
	var b strings.Builder
	if c.Stdin != nil {
		mode += "i"
		b.WriteString(tag + "lane_back\n")
	}
	b.WriteString(tag)
	if env != "" {
		env = "lane_def=" + quote(env) + `;eval "$lane_def"`
		b.WriteString(env + ";")
	}
	b.WriteString("lane_run ")
	b.Write(word[1:])
	for _, arg := range append([]string{mode, c.Dir, c.RunID, value}, pieces(c.Script)...) {
		b.WriteByte(' ')
		b.WriteString(quote(arg))
	}
	b.WriteByte('\n')
	enough = b.Len()
	if c.Stdin != nil {
		return b.String(), enough
	}
	fmt.Fprintf(&b, "%slane_end %s %s %s", tag, word[1:], mode, c.RunID)
	if env != "" {
		b.WriteString(";lane_more\n" + tag + env)
	}
	b.WriteByte('\n')
	return b.String(), enough
}

// pieces cuts a script into what can be arguments.
func pieces(script string) []string {
	var all []string
	for len(script) > longestArg {
		all = append(all, script[:longestArg])
		script = script[longestArg:]
	}
	return append(all, script)
}

// environment is the definition of the functions that export the variables
// and that become the command. It is sent only when it has changed, because
// every byte costs a system call.
func (c *Command) environment() string {
	var export, odd strings.Builder
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		if name == runIDEnv || name == "LC_ALL" {
			continue
		}
		to := &export
		if isOdd(name) {
			to = &odd
		}
		to.WriteByte(' ')
		to.WriteString(quote(name + "=" + c.Env[name]))
	}
	// The locale comes last: until then the shell works on bytes.
	locale := `eval "$lane_locale"`
	if value, ok := c.Env["LC_ALL"]; ok {
		locale = "export " + quote("LC_ALL="+value)
	}
	if export.Len() > 0 {
		locale = "export" + export.String() + ";" + locale
	}
	run := "exec"
	if odd.Len() > 0 {
		run += ` "$lane_env1" --` + odd.String()
	}
	return "lane_env() { " + locale + "; }; lane_exec() { " + run + ` "$@"; }`
}

// isOdd tells whether a variable must go through env(1): a name that no shell
// can assign to, or one that would change this shell instead.
func isOdd(name string) bool {
	for i, r := range name {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return true
		}
	}
	for _, prefix := range []string{"lane_", "BASH", "COMP", "EPOCH", "HIST", "OPT", "READLINE_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains(oddNames, name)
}

var oddNames = []string{
	"_", "COPROC", "DIRSTACK", "EUID", "EXECIGNORE", "FUNCNAME", "FUNCNEST", "GLOBIGNORE", "GROUPS", "IFS", "LINENO",
	"MAPFILE", "OLDPWD", "PIPESTATUS", "POSIXLY_CORRECT", "PPID", "RANDOM", "REPLY", "SECONDS", "SHELLOPTS", "SHLVL",
	"SRANDOM", "TMOUT", "UID",
}

// check refuses what cannot be sent.
func (c *Command) check() error {
	switch {
	case len(c.Script) > MaxScript:
		return syscall.E2BIG
	case strings.ContainsRune(c.Script, 0):
		return &fs.PathError{Op: "run", Path: "script", Err: fs.ErrInvalid}
	case !strings.HasPrefix(c.Dir, "/") || strings.ContainsRune(c.Dir, 0):
		return &fs.PathError{Op: "chdir", Path: c.Dir, Err: fs.ErrInvalid}
	case c.RunID == "" || strings.Trim(c.RunID, runIDBytes) != "":
		return &fs.PathError{Op: "run", Path: c.RunID, Err: fs.ErrInvalid}
	}
	for name, value := range c.Env {
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0):
			return &fs.PathError{Op: "export", Path: name, Err: fs.ErrInvalid}
		case len(name)+1+len(value) > longestArg:
			return &fs.PathError{Op: "export", Path: name, Err: syscall.E2BIG}
		}
	}
	return nil
}

const runIDBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
