package modalfake

import (
	_ "embed"
	"encoding/json"
)

// fsTools is the program that the SDK's file system calls run in a sandbox. It
// is told what to do by JSON in its first argument, takes content from stdin,
// gives it to stdout, and says what went wrong by JSON on stderr.
const fsTools = "/__modal/.bin/modal-sandbox-fs-tools"

// fstools.sh does what of that is needed here.
//
//go:embed fstools.sh
var fsToolsSource string

// fsCommand is what runs instead of the program.
func fsCommand(args []string) []string {
	var call map[string]struct{ Path string }
	what, path := "", ""
	if len(args) > 1 && json.Unmarshal([]byte(args[1]), &call) == nil {
		for name, arg := range call {
			what, path = name, arg.Path
		}
	}
	return []string{"sh", "-c", fsToolsSource, fsTools, what, path}
}
