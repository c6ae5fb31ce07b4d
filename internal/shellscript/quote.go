// Quoting and assignments.

package shellscript

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Quote returns s as one word of any POSIX shell. s must not have a NUL byte.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// QuoteLine returns s as one word without a newline, for a shell that has a
// newline in the variable named newline. A word of plain characters is returned
// as it is, because a shell reads its input byte by byte.
func QuoteLine(s, newline string) string {
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return strings.ReplaceAll(Quote(s), "\n", `'"$`+newline+`"'`)
}

const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:,+-"

// Assign returns lines that set shell variables. vars holds names and values in
// turn. A value that is not valid UTF-8 is sent as octal digits, because not
// every way into an environment takes it as it is.
func Assign(vars ...string) string {
	var b strings.Builder
	for i := 0; i < len(vars); i += 2 {
		name, value := vars[i], vars[i+1]
		if utf8.ValidString(value) {
			fmt.Fprintf(&b, "%s=%s\n", name, Quote(value))
			continue
		}
		fmt.Fprintf(&b, "%s=$(printf '", name)
		for _, c := range []byte(value) {
			fmt.Fprintf(&b, `\%03o`, c)
		}
		fmt.Fprintf(&b, ".')\n%s=${%s%%.}\n", name, name) // the dot keeps trailing newlines
	}
	return b.String()
}

// Minify removes indentation, blank lines and lines that are comments, because
// every byte of a script that a shell reads from a pipe costs a system call.
// It must not be used on a script with heredocs.
func Minify(script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimLeft(line, "\t")
		if line != "\n" && !strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}
