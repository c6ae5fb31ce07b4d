// Package langchaingo offers a terminal to the agents of LangChainGo.
//
// Calls run in the task of their context, see [terminal.WithTask]. The answer is
// JSON, also if the command failed, because an error would end the agent.
package langchaingo

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/tmc/langchaingo/tools"

	"github.com/terminal-go/terminal"
)

// Tools returns the Terminal's tools. LangChainGo gives a tool no schema but text,
// so their descriptions have the schema, and their input is an object of arguments.
// What does not begin like one is for the tool "terminal" the command itself.
func Tools(t *terminal.Terminal) (all []tools.Tool) {
	for _, def := range t.Tools() {
		all = append(all, tool{def})
	}
	return all
}

type tool struct{ def terminal.Tool }

func (t tool) Name() string { return t.def.Name }

func (t tool) Description() string {
	plain := ""
	if t.takesCommand() {
		plain = "the command as it is, or "
	}
	return fmt.Sprintf("%s\n\nThe input is %sa JSON object of this schema: %s", t.def.Description, plain, t.def.Schema)
}

// object matches the beginning of a JSON object with fields. It is no valid one
// where it goes wrong later, but no command either.
var object = regexp.MustCompile(`^\s*\{\s*"(\w*)"\s*:`)

// Call runs the tool. Its error is always nil.
func (t tool) Call(ctx context.Context, input string) (string, error) {
	args := json.RawMessage(input)
	if t.takesCommand() && !object.MatchString(input) {
		args, _ = json.Marshal(map[string]string{"command": input})
	}
	return string(t.def.Call(ctx, args)), nil
}

func (t tool) takesCommand() bool { return t.def.Name == "terminal" }
