package modalfake

import (
	_ "embed"
	"encoding/json"
)

// fsTools is the program that the SDK's file system calls run in a sandbox. It
// takes its request as JSON in the first argument, reads content from stdin,
// writes it to stdout, and reports errors as JSON on stderr.
const fsTools = "/__modal/.bin/modal-sandbox-fs-tools"

//go:embed fstools.sh
var fsToolsSource string

// fsCommand returns the command that fstools.sh serves args with.
func fsCommand(args []string) []string {
	var call map[string]struct{ Path string }
	operation, path := "", ""
	if len(args) > 1 && json.Unmarshal([]byte(args[1]), &call) == nil {
		for name, arg := range call {
			operation, path = name, arg.Path
		}
	}
	return []string{"sh", "-c", fsToolsSource, fsTools, operation, path}
}
