package terminal

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// toolDescription is what a model reads about the tool, with names in braces
// for what the Config decides.
//
//go:embed tool.md
var toolDescription string

// Tool is a function that a model can call, in the form every provider and
// framework takes: a name, a description, a JSON schema of the arguments, and
// the function itself, which is safe for concurrent use.
type Tool struct {
	Name, Description string
	Schema            json.RawMessage
	Call              func(context.Context, json.RawMessage) json.RawMessage
}

// Tools returns the tools that this Terminal offers to a model.
func (t *Terminal) Tools() []Tool {
	fill := strings.NewReplacer(
		"{timeout}", seconds(t.cfg.Timeout),
		"{max_output}", strconv.Itoa(t.cfg.MaxOutput),
		"{longest}", t.longest(),
	)
	return []Tool{{
		Name:        "terminal",
		Description: strings.TrimSpace(fill.Replace(toolDescription)),
		Schema: schema{Type: "object", Required: []string{"command"}, Properties: &schemaProperties{
			Command:    schemaOf("string", "The script to run, as you would type it into bash. Any length, any number of lines."),
			Background: schemaOf("boolean", "Start the command as a background job and return at once."),
			Timeout:    schemaOf("number", fill.Replace("Seconds after which the command and all its processes are ended; {timeout} by default{longest}. A background job has no limit by default.")),
			ReadyPort:  schemaOf("integer", "With background: wait until something listens on this TCP port, for half a minute at most."),
			ReadyLog:   schemaOf("string", "With background: wait until a line of the job's output matches this regular expression, for half a minute at most."),
		}}.encode(),
		Call: t.Call,
	}, {
		Name:        "process",
		Description: strings.TrimSpace(fill.Replace(processDescription)),
		Schema: schema{Type: "object", Required: []string{"action"}, Properties: &schemaProperties{
			Action:  &schemaProperty{Type: "string", Description: "What to do.", Enum: processActions},
			JobID:   schemaOf("string", "The job, by its job_id. Needed by all actions but list."),
			Data:    schemaOf("string", "write: the text to write, as it is; a line ends with \\n."),
			Signal:  schemaOf("string", "signal: its name, such as INT, TERM or HUP."),
			Offset:  schemaOf("integer", "log: the byte of the log to begin with; 0 is its start. Without it: the end of the log."),
			Timeout: schemaOf("number", fill.Replace("wait: seconds to wait at most; {timeout} by default{longest}.")),
		}}.encode(),
		Call: t.callProcess,
	}}
}

func (t *Terminal) longest() string {
	if t.cfg.MaxTimeout == 0 {
		return ""
	}
	return ", at most " + seconds(t.cfg.MaxTimeout)
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
}

// WithTaskID returns the tool with an optional argument task_id, for a host that
// wants the model to choose between environments. Other tools refuse task_id.
//
// The host's task comes first: if the context has the task "a" (see [WithTask]),
// the task_id "b" is the task "a/b". Whatever its text, a task_id leads to no task
// whose name does not begin with "a/", so a host should give such names to nothing
// else. If the context has no task, task_id is the name of the task.
func (t Tool) WithTaskID() Tool {
	s := decodeSchema(t.Schema)
	s.Properties.TaskID = schemaOf("string", "Name of the environment to run in. Files and processes of one are not seen in another.")
	if s.strict() {
		s = s.asStrict()
	}
	t.Schema = s.encode()
	call := t.Call
	t.Call = func(ctx context.Context, args json.RawMessage) json.RawMessage {
		return call(context.WithValue(ctx, taskIDKey{}, true), args)
	}
	return t
}

type taskIDKey struct{}

// allowsTaskID reports whether the call came through a tool made by WithTaskID.
func allowsTaskID(ctx context.Context) bool { return ctx.Value(taskIDKey{}) != nil }

// toolTask returns the task of a tool call with that task_id, "" for none.
func toolTask(ctx context.Context, taskID string) string {
	host, _ := TaskFrom(ctx)
	if host != "" && taskID != "" {
		return host + "/" + taskID
	}
	return cmp.Or(host, taskID, DefaultTask)
}

// Strict returns the tool with a schema for providers that want every
// property to be required: those that were optional may be null, which Call
// takes for absent.
func (t Tool) Strict() Tool {
	t.Schema = decodeSchema(t.Schema).asStrict().encode()
	return t
}

// schema is the part of JSON Schema that the tools need, in a fixed order.
type schema struct {
	Type                 string            `json:"type"`
	Properties           *schemaProperties `json:"properties"`
	Required             []string          `json:"required"`
	AdditionalProperties bool              `json:"additionalProperties"` // always false
}

type schemaProperties struct {
	Action     *schemaProperty `json:"action,omitempty"`
	Command    *schemaProperty `json:"command,omitempty"`
	Background *schemaProperty `json:"background,omitempty"`
	JobID      *schemaProperty `json:"job_id,omitempty"`
	Data       *schemaProperty `json:"data,omitempty"`
	Signal     *schemaProperty `json:"signal,omitempty"`
	Offset     *schemaProperty `json:"offset,omitempty"`
	Timeout    *schemaProperty `json:"timeout,omitempty"`
	ReadyPort  *schemaProperty `json:"ready_port,omitempty"`
	ReadyLog   *schemaProperty `json:"ready_log,omitempty"`
	TaskID     *schemaProperty `json:"task_id,omitempty"`
}

// schemaProperty describes one argument. Type is a string, or a list of two
// with "null".
type schemaProperty struct {
	Type        any      `json:"type"`
	Description string   `json:"description"`
	Enum        []string `json:"enum,omitempty"`
}

func schemaOf(kind, description string) *schemaProperty {
	return &schemaProperty{Type: kind, Description: description}
}

func (s schema) encode() json.RawMessage {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings and lists of strings: a mistake in this file
	}
	return data
}

func decodeSchema(data json.RawMessage) (s schema) {
	if err := json.Unmarshal(data, &s); err != nil || s.Properties == nil {
		s.Properties = &schemaProperties{} // a schema of somebody else's: nothing to add to
	}
	return s
}

func (s schema) strict() bool { return len(s.Required) > 1 }

// asStrict makes all properties required, and those nullable that were not.
func (s schema) asStrict() schema {
	required := s.Required[:0:0]
	for _, p := range []struct {
		name     string
		property *schemaProperty
	}{
		{"action", s.Properties.Action},
		{"command", s.Properties.Command},
		{"background", s.Properties.Background},
		{"job_id", s.Properties.JobID},
		{"data", s.Properties.Data},
		{"signal", s.Properties.Signal},
		{"offset", s.Properties.Offset},
		{"timeout", s.Properties.Timeout},
		{"ready_port", s.Properties.ReadyPort},
		{"ready_log", s.Properties.ReadyLog},
		{"task_id", s.Properties.TaskID},
	} {
		if p.property == nil {
			continue
		}
		required = append(required, p.name)
		if kind, ok := p.property.Type.(string); ok && !slices.Contains(s.Required, p.name) {
			p.property.Type = []string{kind, "null"}
		}
	}
	s.Required = required
	return s
}

// Call is the tool function: the arguments of a model's call in, one JSON
// object out, whatever it is given. See the package documentation for both.
func (t *Terminal) Call(ctx context.Context, args json.RawMessage) (answer json.RawMessage) {
	defer func() {
		if p := recover(); p != nil {
			answer = failure(fmt.Errorf("terminal: panic: %v", p))
		}
	}()
	a, err := decodeArguments(args, allowsTaskID(ctx))
	if err != nil {
		return failure(err)
	}
	a.task = toolTask(ctx, a.task)
	if a.background {
		return t.callBackground(ctx, a)
	}
	live, _ := ctx.Value(outputKey{}).(io.Writer)
	result, _ := t.Run(ctx, Request{Command: a.command, Task: a.task, Timeout: a.timeout, Stdout: live})
	return result.encode()
}

func failure(err error) json.RawMessage {
	var r Result
	r.explain(err)
	return r.encode()
}

// arguments are those of one tool call, as far as they were given.
type arguments struct {
	command    string
	background bool
	timeout    time.Duration
	ready      *Ready
	task       string
}

var argumentNames = []string{"command", "background", "timeout", "ready_port", "ready_log"}

// decodeArguments is strict where a guess could run something else than what
// was meant: names are exact and occur once. It is lenient where there is
// nothing to guess: numbers and booleans may be strings, null is absent.
func decodeArguments(data []byte, taskID bool) (a arguments, err error) {
	fields, err := decodeFields(data, argumentNames, taskID)
	if err != nil {
		return a, err
	}
	raw, ok := fields["command"]
	if !ok {
		return a, errors.New("command: missing; give the script to run as a string")
	}
	if err := json.Unmarshal(raw, &a.command); err != nil {
		return a, fmt.Errorf("command: must be a string, not %s", clip(string(raw)))
	}
	if err := validateCommand(a.command); err != nil {
		return a, err
	}
	if a.background, err = decodeBool(fields["background"]); err != nil {
		return a, fmt.Errorf("background: %w", err)
	}
	if a.timeout, err = decodeSeconds(fields["timeout"]); err != nil {
		return a, fmt.Errorf("timeout: %w", err)
	}
	if a.ready, err = decodeReady(fields); err != nil {
		return a, err
	}
	if a.ready != nil && !a.background {
		return a, errors.New("ready_port and ready_log: need background to be true")
	}
	a.task, err = decodeText(fields, "task_id")
	return a, err
}

func decodeReady(fields map[string]json.RawMessage) (*Ready, error) {
	port, err := decodeWhole(fields["ready_port"])
	if err != nil {
		return nil, fmt.Errorf("ready_port: %w", err)
	}
	pattern, err := decodeText(fields, "ready_log")
	if err != nil || fields["ready_port"] == nil && fields["ready_log"] == nil {
		return nil, err
	}
	r := &Ready{Port: int(min(port, math.MaxInt32)), LogPattern: pattern}
	return r, r.validate()
}

// decodeFields splits the arguments of a call. Known are names and, if taskID is
// true, task_id.
func decodeFields(data []byte, names []string, taskID bool) (map[string]json.RawMessage, error) {
	if taskID {
		names = append(slices.Clip(names), "task_id")
	}
	if !utf8.Valid(data) {
		return nil, errors.New("arguments: not valid UTF-8")
	}
	fields, err := decodeObject(data)
	if err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	for name := range fields {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("arguments: unknown field %q; known are %s", clip(name), strings.Join(names, ", "))
		}
	}
	return fields, nil
}

// decodeText takes a string, "" if there is none.
func decodeText(fields map[string]json.RawMessage, name string) (text string, err error) {
	raw, ok := fields[name]
	if !ok {
		return "", nil
	}
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", fmt.Errorf("%s: must be a string, not %s", name, clip(string(raw)))
	}
	return text, nil
}

// decodeWhole takes a whole number that is not negative, or a string of one.
func decodeWhole(raw json.RawMessage) (int64, error) {
	if raw == nil {
		return 0, nil
	}
	text := strings.TrimSpace(strings.Trim(string(raw), `"`))
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("must be a whole number, 0 or more, not %s", clip(string(raw)))
	}
	return n, nil
}

// decodeObject splits one JSON object into its fields, those that are null
// left out.
func decodeObject(data []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if tok, err := dec.Token(); err == io.EOF {
		return nil, errors.New("empty; a JSON object is wanted")
	} else if err != nil {
		return nil, err
	} else if tok != json.Delim('{') {
		return nil, errors.New("must be a JSON object")
	}
	fields := make(map[string]json.RawMessage)
	seen := make(map[string]bool)
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, truncated(err)
		}
		name, _ := tok.(string) // an object's keys are strings
		if seen[name] {
			return nil, fmt.Errorf("field %q is there twice", clip(name))
		}
		seen[name] = true
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, truncated(err)
		}
		if string(raw) != "null" {
			fields[name] = raw
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, truncated(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("there is something after the JSON object")
	}
	return fields, nil
}

func truncated(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func decodeBool(raw json.RawMessage) (bool, error) {
	switch strings.ToLower(string(raw)) {
	case "", "false", `"false"`:
		return false, nil
	case "true", `"true"`:
		return true, nil
	}
	return false, fmt.Errorf("must be true or false, not %s", clip(string(raw)))
}

// decodeSeconds takes a number, or a string of one. 0 is the default.
func decodeSeconds(raw json.RawMessage) (time.Duration, error) {
	if raw == nil {
		return 0, nil
	}
	text := string(raw)
	if text[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return 0, err
		}
		text = strings.TrimSpace(text)
	}
	return parseSeconds(text)
}

// parseSeconds reads a number of seconds, rounded up to whole nanoseconds so
// that a short limit does not become none.
func parseSeconds(text string) (time.Duration, error) {
	n, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("must be a number of seconds, not %s", clip(text))
	case math.IsNaN(n) || n < 0:
		return 0, fmt.Errorf("must be a positive number of seconds, not %s", clip(text))
	case n > longestTimeout.Seconds():
		return 0, fmt.Errorf("must be at most %s seconds, not %s", seconds(longestTimeout), clip(text))
	}
	return time.Duration(math.Ceil(n * float64(time.Second))), nil
}

// clip shortens what is quoted in a message.
func clip(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return s[:skipRunes([]byte(s), most)] + "…"
}
