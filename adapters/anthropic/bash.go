package anthropic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	sdk "github.com/anthropics/anthropic-sdk-go"

	"github.com/terminal-go/terminal"
)

// Bash returns what executes Claude's own bash tool, bash_20250124. It answers with
// the output, and the exit code if that is not 0; with an error if the command did not
// run to its own end. restart closes the task, and then runs the command if there is one.
//
// Claude expects one shell that persists between calls. Here each call has its own:
// files persist, the directory and variables do not. The system prompt should say so.
//
// A runner describes it as a custom tool, unless Params.Tools is made to say
// BetaToolUnionParam{OfBashTool20250124: &BetaToolBash20250124Param{}} in its place.
func Bash(t *terminal.Terminal) sdk.BetaTool {
	const schema = `{"type":"object","properties":{"command":{"type":"string"},"restart":{"type":"boolean"}}}`
	return tool{"bash", "Runs a bash command, in a new shell.", json.RawMessage(schema), func(ctx context.Context, input json.RawMessage) (string, error) {
		var in struct {
			Command *string
			Restart bool
		}
		dec := json.NewDecoder(bytes.NewReader(input))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&in); err != nil {
			return "", fmt.Errorf("bash input: %w", err)
		}
		if in.Restart {
			task, _ := terminal.TaskFrom(ctx)
			if err := t.CloseTask(ctx, task); err != nil || in.Command == nil {
				return "restarted", err
			}
		}
		args, _ := json.Marshal(map[string]*string{"command": in.Command})
		var res terminal.Result
		if err := json.Unmarshal(t.Call(ctx, args), &res); err != nil {
			return "", err
		}
		if res.Error != "" {
			return "", errors.New(strings.TrimSpace(res.Error + "\n" + res.Output + "\n" + res.Notice))
		}
		if res.ExitCode != 0 {
			res.Output += fmt.Sprintf("\n[exit code %d]", res.ExitCode)
		}
		if res.Notice != "" {
			res.Output += "\n[" + res.Notice + "]"
		}
		return res.Output, nil
	}}
}
