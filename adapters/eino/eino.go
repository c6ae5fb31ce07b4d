// Package eino offers a terminal to Eino's agents and graphs.
//
// Calls run in the task of their context, see [terminal.WithTask]. The answer is
// JSON, also if the command failed, because an error would end the graph. While a
// command runs, [terminal.WithOutput] shows its output.
package eino

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/cloudwego/eino/components/tool"
	"github.com/cloudwego/eino/schema"
	"github.com/eino-contrib/jsonschema"

	"github.com/terminal-go/terminal"
)

// Tools returns the Terminal's tools, for ToolsNodeConfig.Tools. Each is a
// tool.InvokableTool.
func Tools(t *terminal.Terminal) (tools []tool.BaseTool) {
	for _, def := range t.Tools() {
		tools = append(tools, invokable{def})
	}
	return tools
}

type invokable struct{ def terminal.Tool }

// Info describes the tool to a model.
func (i invokable) Info(context.Context) (*schema.ToolInfo, error) {
	params := &jsonschema.Schema{}
	if err := json.Unmarshal(i.def.Schema, params); err != nil {
		return nil, fmt.Errorf("tool %s: schema: %w", i.def.Name, err)
	}
	return &schema.ToolInfo{
		Name:        i.def.Name,
		Desc:        i.def.Description,
		ParamsOneOf: schema.NewParamsOneOfByJSONSchema(params),
	}, nil
}

// InvokableRun runs the tool. Its error is always nil.
func (i invokable) InvokableRun(ctx context.Context, arguments string, _ ...tool.Option) (string, error) {
	return string(i.def.Call(ctx, json.RawMessage(arguments))), nil
}
