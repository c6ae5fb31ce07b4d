// Package openai offers a terminal to OpenAI's models: as functions of chat
// completions and of responses, and behind the shell tool that some of them know.
//
// Calls run in the task of their context, see [terminal.WithTask]. Whatever goes
// wrong with a command is in the answer, so that the model can react to it.
package openai

import (
	"context"
	"encoding/json"
	"fmt"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"

	"github.com/terminal-go/terminal"
)

// ChatTools returns the Terminal's tools as functions of a chat completion, with
// strict schemas.
func ChatTools(t *terminal.Terminal) (tools []sdk.ChatCompletionToolUnionParam) {
	for _, tool := range t.Tools() {
		tools = append(tools, sdk.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name:        tool.Name,
			Description: sdk.String(tool.Description),
			Strict:      sdk.Bool(true),
			Parameters:  strict(tool),
		}))
	}
	return tools
}

// Tools returns the Terminal's tools as functions of a response, with strict schemas.
func Tools(t *terminal.Terminal) (tools []responses.ToolUnionParam) {
	for _, tool := range t.Tools() {
		param := responses.ToolParamOfFunction(tool.Name, strict(tool), true)
		param.OfFunction.Description = sdk.String(tool.Description)
		tools = append(tools, param)
	}
	return tools
}

func strict(tool terminal.Tool) (schema map[string]any) {
	_ = json.Unmarshal(tool.Strict().Schema, &schema) // a JSON object, by its contract
	return schema
}

// Answer runs a function that the model called, and returns the JSON to answer with.
func Answer(ctx context.Context, t *terminal.Terminal, name, arguments string) string {
	for _, tool := range t.Tools() {
		if tool.Name == name {
			return string(tool.Call(ctx, json.RawMessage(arguments)))
		}
	}
	unknown := terminal.Result{ExitCode: -1, Status: terminal.StatusError, Error: fmt.Sprintf("tool %q: unknown", name)}
	answer, _ := unknown.MarshalJSON() // strings and numbers
	return string(answer)
}
