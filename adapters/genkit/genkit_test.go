package genkit_test

import (
	"context"
	"encoding/json"
	"io"
	"sync"
	"testing"

	"github.com/firebase/genkit/go/ai"
	sdk "github.com/firebase/genkit/go/genkit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/adapters/genkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a model that uses one tool and is done then. It remembers what it
// was asked.
type scripted struct {
	mu    sync.Mutex
	tool  string
	input any
	asked []*ai.ModelRequest
}

// define defines the model in g and returns its name.
func (s *scripted) define(g *sdk.Genkit) string {
	supports := &ai.ModelSupports{Tools: true, Multiturn: true}
	return sdk.DefineModel(g, "test/scripted", &ai.ModelOptions{Supports: supports}, s.generate).Name()
}

func (s *scripted) generate(_ context.Context, req *ai.ModelRequest, _ ai.ModelStreamCallback) (*ai.ModelResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, req)
	part := ai.NewTextPart("done")
	if len(s.asked) == 1 {
		part = ai.NewToolRequestPart(&ai.ToolRequest{Name: s.tool, Ref: "c1", Input: s.input})
	}
	return &ai.ModelResponse{Request: req, FinishReason: ai.FinishReasonStop, Message: ai.NewModelMessage(part)}, nil
}

// answer returns what the tool answered, as JSON.
func (s *scripted) answer() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	messages := s.asked[len(s.asked)-1].Messages
	data, _ := json.Marshal(messages[len(messages)-1].Content[0].ToolResponse.Output)
	return string(data)
}

func newTerminal(t *testing.T, cfg terminal.Config) *terminal.Terminal {
	t.Helper()
	cfg.Dir = t.TempDir()
	term, err := terminal.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, term.Close()) })
	return term
}

// generate lets a model use one tool and returns the model.
func generate(ctx context.Context, t *testing.T, term *terminal.Terminal, tool, input string) *scripted {
	t.Helper()
	g := sdk.Init(t.Context())
	m := &scripted{tool: tool}
	require.NoError(t, json.Unmarshal([]byte(input), &m.input))
	model := m.define(g)
	tools, err := genkit.DefineTools(g, term)
	require.NoError(t, err)
	response, err := sdk.Generate(ctx, g, ai.WithModelName(model), ai.WithPrompt("go"), ai.WithTools(tools...))
	require.NoError(t, err)
	assert.Equal(t, "done", response.Text())
	return m
}

func TestGenerate(t *testing.T) {
	for _, c := range []struct{ name, tool, input, want string }{
		{"a success", "terminal", `{"command":"echo hi"}`, `{"error":null,"exit_code":0,"output":"hi\n"}`},
		{"an exit code", "terminal", `{"command":"echo no; exit 3"}`, `{"error":null,"exit_code":3,"output":"no\n"}`},
		{"a number as a string", "terminal", `{"command":"echo hi","timeout":"5"}`, `"exit_code":0`},
		{"an unknown argument", "terminal", `{"comand":"date"}`, `unknown field \"comand\"`},
		{"a missing argument", "terminal", `{}`, `command: missing`},
		{"arguments that are no object", "terminal", `"date"`, `"status":"error"`},
		{"no arguments", "terminal", `null`, `"status":"error"`},
		{"a limit", "terminal", `{"command":"echo began; sleep 60","timeout":0.3}`, `"exit_code":124`},
		{"the other tool", "process", `{"action":"list"}`, `{"error":null,"exit_code":0,"output":"no jobs\n"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := generate(t.Context(), t, newTerminal(t, terminal.Config{}), c.tool, c.input)
			assert.Contains(t, m.answer(), c.want)
		})
	}
}

func TestTaskFromContext(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	generate(terminal.WithTask(t.Context(), "ada"), t, term, "terminal", `{"command":"true"}`)
	require.Len(t, term.Stats().Tasks, 1)
	assert.Equal(t, "ada", term.Stats().Tasks[0].Task)
}

func TestJob(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	started := generate(t.Context(), t, term, "terminal", `{"command":"sleep 60","background":true}`).answer()
	var job struct {
		ID string `json:"job_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(started), &job))
	killed := generate(t.Context(), t, term, "process", `{"action":"kill","job_id":"`+job.ID+`"}`).answer()
	assert.Contains(t, killed, `"exit_code":137`)
}

func TestToolInvalidArguments(t *testing.T) {
	term := newTerminal(t, terminal.Config{Approve: func(context.Context, terminal.Request) error { return io.ErrNoProgress }})
	assert.Contains(t, generate(t.Context(), t, term, "terminal", `{"command":"true"}`).answer(), `"status":"denied"`)
}

func TestToolDescriptions(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	m := generate(t.Context(), t, term, "terminal", `{"command":"true"}`)
	described := map[string]*ai.ToolDefinition{}
	for _, tool := range m.asked[0].Tools {
		described[tool.Name] = tool
	}
	for _, want := range term.Tools() {
		got := described[want.Name]
		require.NotNil(t, got)
		assert.Equal(t, want.Description, got.Description)
		schema, err := json.Marshal(got.InputSchema)
		require.NoError(t, err)
		assert.JSONEq(t, string(want.Schema), string(schema))
	}
}

func TestToolsDefinedOnce(t *testing.T) {
	g := sdk.Init(t.Context())
	term := newTerminal(t, terminal.Config{})
	_, err := genkit.DefineTools(g, term)
	require.NoError(t, err)
	_, err = genkit.DefineTools(g, term)
	assert.EqualError(t, err, `tool "terminal": already defined`)
}
