// This file holds the tools for models: Tools, Call and the task of a call. The
// process tool is in process.go; schemas and argument parsing are in
// internal/toolspec.

package terminal

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/terminal-go/terminal/internal/toolspec"
)

// Tool is a function that a model can call. Providers and frameworks take it as a
// name, a description, a JSON schema of the arguments, and the function Call,
// which is safe for concurrent use.
type Tool struct {
	Name, Description string
	Schema            json.RawMessage
	Call              func(context.Context, json.RawMessage) json.RawMessage
}

// Tools returns the tools for a model: "terminal", which calls Terminal.Call, and
// "process", which queries and controls background jobs. Their descriptions name
// the limits of t's Config.
func (t *Terminal) Tools() []Tool {
	limits := toolspec.Limits{Timeout: t.cfg.Timeout, MaxTimeout: t.cfg.MaxTimeout, MaxOutput: t.cfg.MaxOutput}
	return []Tool{
		newTool(toolspec.Terminal(limits), t.Call),
		newTool(toolspec.Process(limits), t.callProcess),
	}
}

// newTool returns the Tool of a specification.
func newTool(s toolspec.Spec, call func(context.Context, json.RawMessage) json.RawMessage) Tool {
	return Tool{Name: s.Name, Description: s.Description, Schema: s.Schema, Call: call}
}

// WithTaskID returns the tool with an optional argument task_id, with which the
// model chooses an environment. Without it, task_id is an unknown argument and an
// error.
//
// If the context has the task "a" (see [WithTask]), the task_id "b" stands for the
// task "a/b". A model can thus reach only tasks whose names begin with "a/", and
// the host should not use such names for other purposes. If the context has no
// task, task_id is the name of the task.
func (t Tool) WithTaskID() Tool {
	t.Schema = toolspec.WithTaskID(t.Schema)
	call := t.Call
	t.Call = func(ctx context.Context, args json.RawMessage) json.RawMessage {
		return call(context.WithValue(ctx, taskIDKey{}, true), args)
	}
	return t
}

// Strict returns the tool with a schema for providers that require every property
// and allow no other. A property that was optional may be null, which Call treats
// as absent. What else the schema says stays as it is.
func (t Tool) Strict() Tool {
	t.Schema = toolspec.Strict(t.Schema)
	return t
}

// taskIDKey is the context key of WithTaskID.
type taskIDKey struct{}

// allowsTaskID reports whether the call came through a tool made by WithTaskID.
func allowsTaskID(ctx context.Context) bool { return ctx.Value(taskIDKey{}) != nil }

// toolTask returns the task of a tool call. taskID may be "".
func toolTask(ctx context.Context, taskID string) string {
	host, _ := TaskFrom(ctx)
	if host != "" && taskID != "" {
		return host + "/" + taskID
	}
	return cmp.Or(host, taskID, DefaultTask)
}

// Call is the function of the terminal tool. It takes the JSON arguments of a
// model's call and always returns one JSON object, also for invalid arguments and
// after a panic. The package documentation describes both.
func (t *Terminal) Call(ctx context.Context, args json.RawMessage) (answer json.RawMessage) {
	defer func() {
		if p := recover(); p != nil {
			answer = failure(fmt.Errorf("terminal: panic: %v", p))
		}
	}()
	a, err := toolspec.DecodeTerminal(args, allowsTaskID(ctx))
	if err != nil {
		return failure(err)
	}
	req := Request{Command: a.Command, Task: toolTask(ctx, a.TaskID), Timeout: a.Timeout}
	if a.HasReady {
		req.Ready = &Ready{Port: a.ReadyPort, LogPattern: a.ReadyLog}
	}
	if a.Background {
		return t.callBackground(ctx, req)
	}
	req.Stdout, _ = ctx.Value(outputKey{}).(io.Writer)
	result, _ := t.Run(ctx, req) // the result includes the error
	return result.encode()
}

// failure returns the answer to a call that failed before it had a result.
func failure(err error) json.RawMessage {
	var r Result
	r.explain(err)
	return r.encode()
}
