// Package genkit offers a terminal to Genkit's models.
//
// Calls run in the task of their context, see [terminal.WithTask]. The answer is
// an object, also if the command failed, because an error would end the generation.
package genkit

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/firebase/genkit/go/ai"
	"github.com/firebase/genkit/go/core"
	"github.com/firebase/genkit/go/core/api"
	sdk "github.com/firebase/genkit/go/genkit"

	"github.com/terminal-go/terminal"
)

// DefineTools defines the Terminal's tools in g and returns them for ai.WithTools. It
// is an error if g has tools of their names already.
func DefineTools(g *sdk.Genkit, t *terminal.Terminal) (refs []ai.ToolRef, err error) {
	for _, def := range t.Tools() {
		if sdk.LookupTool(g, def.Name) != nil {
			return nil, fmt.Errorf("tool %q: already defined", def.Name)
		}
		refs = append(refs, ai.ToolName(def.Name))
		sdk.RegisterAction(g, newTool(def))
	}
	return refs, nil
}

// tool is a tool's action that shows its schema to the model, but does not hold the
// arguments against it: an error there would end the generation, where the Terminal's
// answer lets the model try again.
type tool struct {
	api.Action
	schema map[string]any
}

func newTool(def terminal.Tool) (t tool) {
	_ = json.Unmarshal(def.Schema, &t.schema) // a JSON object, by its contract
	meta := map[string]any{"type": api.ActionTypeToolV2, "name": def.Name, "description": def.Description}
	t.Action = core.NewAction(def.Name, api.ActionTypeToolV2, meta, nil, func(ctx context.Context, input any) (any, error) {
		args, err := json.Marshal(input)
		return ai.MultipartToolResponse{Output: def.Call(ctx, args)}, err
	})
	return t
}

func (t tool) Desc() api.ActionDesc {
	desc := t.Action.Desc()
	desc.InputSchema = t.schema
	return desc
}

func (t tool) Register(r api.Registry) {
	r.RegisterAction(api.NewKey(api.ActionTypeToolV2, "", t.Name()), t)
	r.RegisterAction(api.NewKey(api.ActionTypeTool, "", t.Name()), t) // where older callers look
}
