package anthropic

import (
	"context"
	"encoding/json"

	sdk "github.com/anthropics/anthropic-sdk-go"
)

// tool is a BetaTool whose answer is text; an error becomes an answer with is_error.
type tool struct {
	name, description string
	schema            json.RawMessage
	call              func(context.Context, json.RawMessage) (string, error)
}

func (t tool) Name() string        { return t.name }
func (t tool) Description() string { return t.description }

func (t tool) InputSchema() (schema sdk.BetaToolInputSchemaParam) {
	_ = schema.UnmarshalJSON(t.schema) // a JSON schema, written by this module
	return schema
}

func (t tool) Execute(ctx context.Context, input json.RawMessage) ([]sdk.BetaToolResultBlockParamContentUnion, error) {
	text, err := t.call(ctx, input)
	if err != nil {
		return nil, err
	}
	return []sdk.BetaToolResultBlockParamContentUnion{{OfText: &sdk.BetaTextBlockParam{Text: text}}}, nil
}
