package terminal

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// sweep.sh ends every process that carries a run id, with nothing but shell
// builtins, so that it works in any environment that has a /proc.
//
//go:embed sweep.sh
var sweepSource string

func sweepScript(runID string) string {
	return quietShell + "id=" + runID + "\n" + jobFunctions["tj_carries"] + "\n" + sweepSource
}

// longScript is the length in bytes from which on a command no longer travels
// as an argument: Linux takes 128 KiB for one argument, Modal 64 KiB for all.
const longScript = 48 << 10

// feedScript makes a long command travel on standard input instead, in front
// of what the caller put there. The end of the text is a line with a word that
// cannot be in it. Without input of the caller's cat reads it in one go; with
// it the shell's own read does, which takes byte by byte and so leaves the
// rest alone. Lines are gathered in two steps, because appending each one to
// the whole would take quadratic time.
func feedScript(script, word string, stdin io.Reader) (string, io.Reader) {
	source := strings.NewReader(script + "\n" + word + "\n")
	if stdin == nil {
		return fmt.Sprintf(feedForm, word, "command -v cat >/dev/null", "exec </dev/null; "), source
	}
	return fmt.Sprintf(feedForm, word, "false", ""), io.MultiReader(source, stdin)
}

const feedForm = `terminal_w=%s terminal_s= terminal_c= terminal_l= terminal_n='
'
if %s; then
	terminal_s=$(cat; echo .)
	terminal_s=${terminal_s%%"$terminal_n$terminal_w$terminal_n".}
else
	while IFS= read -r terminal_l; do
		[ "$terminal_l" = "$terminal_w" ] && break
		terminal_c=$terminal_c$terminal_l$terminal_n
		[ ${#terminal_c} -lt 8192 ] || { terminal_s=$terminal_s$terminal_c terminal_c=; }
	done
	terminal_s=$terminal_s$terminal_c
	terminal_s=${terminal_s%%"$terminal_n"}
fi
unset terminal_w terminal_l terminal_c terminal_n
%seval "unset terminal_s
$terminal_s"`

// job.sh is the supervisor of one job, jobs.sh what a Terminal does with the
// jobs of a task.
//
//go:embed job.sh
var jobSource string

//go:embed jobs.sh
var jobsSource string

// supervisor is job.sh as it is sent.
var supervisor = withoutComments(jobSource)

// starter is what starts a job, and needs the supervisor; textsName is what
// the files that have the two in an environment are called.
var (
	starter = sync.OnceValue(func() string {
		return "tj_clear=" + quote(jobFunction("tj_room")) + "\n" + jobFunction("tj_start")
	})
	textsName = sync.OnceValue(func() string {
		sum := sha256.Sum256([]byte(supervisor + starter()))
		return hex.EncodeToString(sum[:8])
	})
)

// jobFunctions are the functions of jobs.sh by name. A shell takes
// milliseconds to parse all of them, so a call is sent those it needs.
var jobFunctions = func() map[string]string {
	functions := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?ms)^(tj_\w+)\(\) \{(?: [^\n]* \}$|\n.*?^\}$)`).FindAllStringSubmatch(withoutComments(jobsSource), -1) {
		functions[m[1]] = m[0]
	}
	return functions
}()

var jobWord = regexp.MustCompile(`\btj_\w+`)

// jobFunction returns the named function of jobs.sh, those that it needs, and
// a call of it.
func jobFunction(name string) string { return jobTexts()[name] }

var jobTexts = sync.OnceValue(func() map[string]string {
	texts := make(map[string]string)
	for name := range jobFunctions {
		texts[name] = linkJobFunction(name)
	}
	return texts
})

func linkJobFunction(name string) string {
	needed := []string{name}
	for i := 0; i < len(needed); i++ {
		for _, word := range jobWord.FindAllString(jobFunctions[needed[i]], -1) {
			if jobFunctions[word] != "" && !slices.Contains(needed, word) {
				needed = append(needed, word)
			}
		}
	}
	var text strings.Builder
	for _, function := range needed {
		text.WriteString(jobFunctions[function] + "\n")
	}
	return text.String() + name
}

func withoutComments(source string) string {
	var kept []string
	for line := range strings.Lines(source) {
		if line = strings.TrimLeft(line, "\t"); line != "\n" && !strings.HasPrefix(line, "#") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// assignments set shell variables, names and values by turns.
func assignments(vars []string) string {
	var text strings.Builder
	for i := 0; i < len(vars); i += 2 {
		assign(&text, vars[i], vars[i+1])
	}
	return text.String()
}

// assign sets a shell variable. Not every way into an environment is open to
// what is no UTF-8, so that goes as octal digits.
func assign(script *strings.Builder, name, value string) {
	if utf8.ValidString(value) {
		fmt.Fprintf(script, "%s=%s\n", name, quote(value))
		return
	}
	var octal strings.Builder
	for _, c := range []byte(value) {
		fmt.Fprintf(&octal, `\%03o`, c)
	}
	fmt.Fprintf(script, "%s=$(printf '%s.')\n%s=${%s%%.}\n", name, octal.String(), name, name)
}

// quote makes one word of a text for any POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
