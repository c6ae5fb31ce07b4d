// Long scripts, which travel on standard input.

package shellscript

import (
	"fmt"
	"io"
	"strings"
)

// Feed returns a short script that reads a long one from its standard input and
// runs it, and the input that has the long one in front of stdin, which may be
// nil. word must not occur in the script: a line with it ends the script.
//
// Without stdin, cat reads the script in one go. With stdin, the shell's own
// read does, which takes byte by byte and so leaves stdin to the script. Lines
// are collected in two steps, because appending each to the whole would take
// quadratic time.
func Feed(script, word string, stdin io.Reader) (string, io.Reader) {
	source := strings.NewReader(script + "\n" + word + "\n")
	if stdin == nil {
		return fmt.Sprintf(feed, word, "command -v cat >/dev/null", "exec </dev/null; "), source
	}
	return fmt.Sprintf(feed, word, "false", ""), io.MultiReader(source, stdin)
}

// feed takes the word, a command that succeeds if cat can read all of the
// input, and what to do before the script is run.
const feed = `terminal_w=%s terminal_s= terminal_c= terminal_l= terminal_n='
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
