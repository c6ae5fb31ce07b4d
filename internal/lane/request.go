// This file holds what is sent to the shell: the bootstrap and one request a command.

package lane

import (
	_ "embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/terminal-go/terminal/internal/shellscript"
	"github.com/terminal-go/terminal/internal/spawn"
)

// MaxScript is the length in bytes of the longest script. The shell's read takes
// one byte a system call, about half a second for this length, because it must not
// read ahead on a pipe (POSIX, read); long input should go through Stdin.
const MaxScript = 1 << 20

// maxArg is the longest argument or variable: MAX_ARG_STRLEN of execve(2), less
// the NUL.
const maxArg = 128<<10 - 1

//go:embed command.sh
var commandSource string

//go:embed bootstrap.sh
var bootstrapSource string

// listen is the script a lane's shell is started with: it moves its output to 3
// and 4, announces itself and evals each line. It is short because a command's
// pkill -f sees it.
const listen = `exec 3>&1 4>&2 >/dev/null 2>&1
unset lane_n lane_l
lane_n='
'
printf '` + readyText + `\n' >&3
while IFS= read -r lane_l
do eval "$lane_l"
done`

const readyText = "lane 1"

// Argv returns the argv of a lane's shell. shell runs the commands: a path or a
// name on PATH. If it is "", bash is used, or sh if there is no bash.
func Argv(shell string) []string {
	return []string{"sh", "-c", listen, "sh", shell}
}

// bootstrap is the first line that is sent, after the tag. It saves the locale
// before command.sh changes it.
var bootstrap = `lane_lc=${LC_ALL-};lane_locale="unset LC_ALL${LC_ALL+;export LC_ALL=\"\$lane_lc\"}";lane_def=;` +
	"lane_text=" + quote(shellscript.Minify(commandSource)) + `;eval "$lane_text";` +
	Line(bootstrapSource)

// Line returns script, without comments, as one line for a shell that evals what
// it reads and has a newline in lane_n.
func Line(script string) string {
	return "eval " + quote(shellscript.Minify(script)) + "\n"
}

// quote returns s, which has no NUL, as one shell word on one line.
func quote(s string) string { return shellscript.QuoteLine(s, "lane_n") }

// request returns the lines that run the command, and how many of their bytes
// start it. env defines the environment; it is "" if that is unchanged. The
// standby reads the first line and becomes the command; the lane's shell reads the
// others afterwards. With Stdin there are no others: the lane's shell runs the
// command itself, so that it stops reading.
func (c *Command) request(tag string, word []byte, env string) (lines string, enough int) {
	mode := "x"
	if c.merged() {
		mode += "m"
	}
	if c.Detached {
		mode += "d"
	}
	value := c.Env[spawn.RunIDEnv]
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

// pieces splits a script into arguments of at most maxArg bytes.
func pieces(script string) []string {
	var all []string
	for len(script) > maxArg {
		all = append(all, script[:maxArg])
		script = script[maxArg:]
	}
	return append(all, script)
}

// environment returns the definitions of lane_env, which exports the variables,
// and lane_exec, which execs the command. It is sent only if it has changed,
// because the shell reads byte by byte.
func (c *Command) environment() string {
	var export, viaEnv strings.Builder
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		if name == spawn.RunIDEnv || name == "LC_ALL" {
			continue
		}
		to := &export
		if needsEnv(name) {
			to = &viaEnv
		}
		to.WriteByte(' ')
		to.WriteString(quote(name + "=" + c.Env[name]))
	}
	// LC_ALL is exported last: until then the shell works on bytes.
	locale := `eval "$lane_locale"`
	if value, ok := c.Env["LC_ALL"]; ok {
		locale = "export " + quote("LC_ALL="+value)
	}
	if export.Len() > 0 {
		locale = "export" + export.String() + ";" + locale
	}
	run := "exec"
	if viaEnv.Len() > 0 {
		run += ` "$lane_env1" --` + viaEnv.String()
	}
	return "lane_env() { " + locale + "; }; lane_exec() { " + run + ` "$@"; }`
}

// needsEnv reports whether a variable must go through env(1), because a shell
// cannot assign it or would change its own behavior.
func needsEnv(name string) bool {
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
	return slices.Contains(shellVariables, name)
}

// shellVariables are names that bash, dash or ash treat specially.
var shellVariables = []string{
	"_", "COPROC", "DIRSTACK", "EUID", "EXECIGNORE", "FUNCNAME", "FUNCNEST", "GLOBIGNORE", "GROUPS", "IFS", "LINENO",
	"MAPFILE", "OLDPWD", "PIPESTATUS", "POSIXLY_CORRECT", "PPID", "RANDOM", "REPLY", "SECONDS", "SHELLOPTS", "SHLVL",
	"SRANDOM", "TMOUT", "UID",
}

// check returns an error for a command that cannot be sent.
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
		case len(name)+1+len(value) > maxArg:
			return &fs.PathError{Op: "export", Path: name, Err: syscall.E2BIG}
		}
	}
	return nil
}

const runIDBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
