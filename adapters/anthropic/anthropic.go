// Package anthropic offers a terminal to Claude: as custom tools, for a tool runner
// or a loop of yours, and behind the bash tool that Claude knows by itself.
//
// Calls run in the task of their context, see [terminal.WithTask].
package anthropic

import (
	"context"
	"encoding/json"
	"fmt"

	sdk "github.com/anthropics/anthropic-sdk-go"

	"github.com/terminal-go/terminal"
)

// Tools returns the Terminal's tools for BetaMessageService.NewToolRunner. They
// answer with JSON, also if a command failed, and never with an error.
func Tools(t *terminal.Terminal) (tools []sdk.BetaTool) {
	for _, def := range t.Tools() {
		tools = append(tools, tool{def.Name, def.Description, def.Schema, func(ctx context.Context, input json.RawMessage) (string, error) {
			return string(def.Call(ctx, input)), nil
		}})
	}
	return tools
}

// Params returns the same tools for MessageNewParams.Tools; [Answer] runs them.
func Params(t *terminal.Terminal) (params []sdk.ToolUnionParam) {
	for _, tool := range Tools(t) {
		param := sdk.ToolUnionParamOfTool(sdk.ToolInputSchemaParam(tool.InputSchema()), tool.Name())
		param.OfTool.Description = sdk.String(tool.Description())
		params = append(params, param)
	}
	return params
}

// Answer runs the tool that Claude used, the bash tool included, and returns the
// block to answer with.
func Answer(ctx context.Context, t *terminal.Terminal, use sdk.ToolUseBlock) sdk.ContentBlockParamUnion {
	for _, tool := range append(Tools(t), Bash(t)) {
		if tool.Name() == use.Name {
			content, err := tool.Execute(ctx, use.Input)
			if err != nil {
				return sdk.NewToolResultBlock(use.ID, err.Error(), true)
			}
			return sdk.NewToolResultBlock(use.ID, content[0].OfText.Text, false)
		}
	}
	return sdk.NewToolResultBlock(use.ID, fmt.Sprintf("tool %q: unknown", use.Name), true)
}
