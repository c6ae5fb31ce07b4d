package eino_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/cloudwego/eino/components/model"
	"github.com/cloudwego/eino/compose"
	"github.com/cloudwego/eino/flow/agent/react"
	"github.com/cloudwego/eino/schema"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/adapters/eino"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a chat model that says its lines one after the other, and
// remembers what it was told.
type scripted struct {
	mu    sync.Mutex
	lines []*schema.Message
	heard []*schema.Message
	tools []*schema.ToolInfo
}

// use is a model that uses a tool and is done then.
func use(tool, arguments string) *scripted {
	call := schema.ToolCall{ID: "c1", Function: schema.FunctionCall{Name: tool, Arguments: arguments}}
	return &scripted{lines: []*schema.Message{
		schema.AssistantMessage("", []schema.ToolCall{call}),
		schema.AssistantMessage("done", nil),
	}}
}

func (s *scripted) Generate(_ context.Context, input []*schema.Message, _ ...model.Option) (*schema.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heard = input; len(s.lines) == 0 {
		return nil, errors.New("the script is over")
	}
	line := s.lines[0]
	s.lines = s.lines[1:]
	return line, nil
}

func (s *scripted) Stream(ctx context.Context, input []*schema.Message, opts ...model.Option) (*schema.StreamReader[*schema.Message], error) {
	line, err := s.Generate(ctx, input, opts...)
	return schema.StreamReaderFromArray([]*schema.Message{line}), err
}

func (s *scripted) WithTools(tools []*schema.ToolInfo) (model.ToolCallingChatModel, error) {
	s.tools = tools
	return s, nil
}

func newTerminal(t *testing.T, cfg terminal.Config) *terminal.Terminal {
	t.Helper()
	cfg.Dir = t.TempDir()
	term, err := terminal.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, term.Close()) })
	return term
}

func newAgent(ctx context.Context, t *testing.T, term *terminal.Terminal, m *scripted) *react.Agent {
	t.Helper()
	agent, err := react.NewAgent(ctx, &react.AgentConfig{
		ToolCallingModel: m,
		ToolsConfig:      compose.ToolsNodeConfig{Tools: eino.Tools(term)},
	})
	require.NoError(t, err)
	return agent
}

// answer lets an agent whose model uses one tool run to its end, and returns
// what the model was answered.
func answer(ctx context.Context, t *testing.T, term *terminal.Terminal, tool, arguments string) string {
	t.Helper()
	m := use(tool, arguments)
	last, err := newAgent(ctx, t, term, m).Generate(ctx, []*schema.Message{schema.UserMessage("go")})
	require.NoError(t, err)
	assert.Equal(t, "done", last.Content)
	got := m.heard[len(m.heard)-1]
	assert.Equal(t, schema.Tool, got.Role)
	assert.Equal(t, "c1", got.ToolCallID)
	return got.Content
}

func TestAgent(t *testing.T) {
	for _, c := range []struct{ name, tool, arguments, want string }{
		{"a success", "terminal", `{"command":"echo '<hi>'"}`, `{"output":"<hi>\n","exit_code":0,"error":null}`},
		{"an exit code", "terminal", `{"command":"echo no; exit 3"}`, `{"output":"no\n","exit_code":3,"error":null}`},
		{"an unknown argument", "terminal", `{"comand":"date"}`, `unknown field \"comand\"`},
		{"arguments that are no JSON", "terminal", `{"command":`, `"status":"error"`},
		{"a limit", "terminal", `{"command":"echo began; sleep 60","timeout":0.3}`, `"exit_code":124`},
		{"the other tool", "process", `{"action":"list"}`, `{"output":"no jobs\n","exit_code":0,"error":null}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Contains(t, answer(t.Context(), t, newTerminal(t, terminal.Config{}), c.tool, c.arguments), c.want)
		})
	}
}

func TestAgentStream(t *testing.T) {
	m := use("terminal", `{"command":"echo hi"}`)
	var live bytes.Buffer
	ctx := terminal.WithOutput(t.Context(), &live)
	stream, err := newAgent(ctx, t, newTerminal(t, terminal.Config{}), m).Stream(ctx, []*schema.Message{schema.UserMessage("go")})
	require.NoError(t, err)
	last, err := schema.ConcatMessageStream(stream)
	require.NoError(t, err)
	assert.Equal(t, "done", last.Content)
	assert.Equal(t, `{"output":"hi\n","exit_code":0,"error":null}`, m.heard[len(m.heard)-1].Content)
	assert.Equal(t, "hi\n", live.String())
}

func TestTaskFromContext(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	answer(terminal.WithTask(t.Context(), "ada"), t, term, "terminal", `{"command":"true"}`)
	require.Len(t, term.Stats().Tasks, 1)
	assert.Equal(t, "ada", term.Stats().Tasks[0].Task)
}

func TestJob(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	started := answer(t.Context(), t, term, "terminal", `{"command":"sleep 60","background":true}`)
	var job struct {
		ID string `json:"job_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(started), &job))
	killed := answer(t.Context(), t, term, "process", `{"action":"kill","job_id":"`+job.ID+`"}`)
	assert.Contains(t, killed, `"exit_code":137`)
}

func TestToolInvalidArguments(t *testing.T) {
	term := newTerminal(t, terminal.Config{Approve: func(context.Context, terminal.Request) error { return io.ErrNoProgress }})
	assert.Contains(t, answer(t.Context(), t, term, "terminal", `{"command":"true"}`), `"status":"denied"`)
}

func TestToolDescriptions(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	m := use("terminal", "")
	newAgent(t.Context(), t, term, m)
	require.Len(t, m.tools, len(term.Tools()))
	for i, want := range term.Tools() {
		assert.Equal(t, want.Name, m.tools[i].Name)
		assert.Equal(t, want.Description, m.tools[i].Desc)
		params, err := m.tools[i].ToJSONSchema()
		require.NoError(t, err)
		data, err := json.Marshal(params)
		require.NoError(t, err)
		assert.JSONEq(t, string(want.Schema), string(data))
	}
}
