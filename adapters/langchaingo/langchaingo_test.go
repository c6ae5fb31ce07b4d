package langchaingo_test

import (
	"context"
	"encoding/json"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tmc/langchaingo/agents"
	"github.com/tmc/langchaingo/chains"
	"github.com/tmc/langchaingo/llms/fake"
	"github.com/tmc/langchaingo/schema"
	"go.uber.org/goleak"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/adapters/langchaingo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// use is what a model says to use a tool.
func use(tool, input string) string {
	return "Thought: it is worth a try\nAction: " + tool + "\nAction Input: " + input
}

const done = "Thought: I now know the final answer\nFinal Answer: done"

func newTerminal(t *testing.T, cfg terminal.Config) *terminal.Terminal {
	t.Helper()
	cfg.Dir = t.TempDir()
	term, err := terminal.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, term.Close()) })
	return term
}

// observe lets an agent whose model uses one tool run to its end, and returns
// what it observed.
func observe(ctx context.Context, t *testing.T, term *terminal.Terminal, tool, input string) string {
	t.Helper()
	agent := agents.NewOneShotAgent(fake.NewFakeLLM([]string{use(tool, input), done}), langchaingo.Tools(term))
	executor := agents.NewExecutor(agent, agents.WithMaxIterations(3), agents.WithReturnIntermediateSteps())
	values, err := chains.Call(ctx, executor, map[string]any{"input": "go"})
	require.NoError(t, err)
	assert.Contains(t, values["output"], "done")
	steps, _ := values["intermediateSteps"].([]schema.AgentStep)
	require.Len(t, steps, 1)
	return steps[0].Observation
}

func TestAgent(t *testing.T) {
	for _, c := range []struct{ name, tool, input, want string }{
		{"a command", "terminal", `echo '<hi>'`, `{"output":"<hi>\n","exit_code":0,"error":null}`},
		{"a command of several lines", "terminal", "for i in 1 2; do\n  echo $i\ndone", `{"output":"1\n2\n","exit_code":0,"error":null}`},
		{"a command that begins with a brace", "terminal", `{ echo "a: b"; }`, `{"output":"a: b\n","exit_code":0,"error":null}`},
		{"arguments", "terminal", `{"command":"echo hi","timeout":5}`, `{"output":"hi\n","exit_code":0,"error":null}`},
		{"an exit code", "terminal", `echo no; exit 3`, `{"output":"no\n","exit_code":3,"error":null}`},
		{"an unknown argument", "terminal", `{"comand":"date"}`, `unknown field \"comand\"`},
		{"broken arguments", "terminal", `{"command":"touch ran",`, `"error":"arguments: `},
		{"a limit", "terminal", `{"command":"echo began; sleep 60","timeout":0.3}`, `"exit_code":124`},
		{"the other tool", "process", `{"action":"list"}`, `{"output":"no jobs\n","exit_code":0,"error":null}`},
		{"text for the other tool", "process", `list`, `"status":"error"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Contains(t, observe(t.Context(), t, newTerminal(t, terminal.Config{}), c.tool, c.input), c.want)
		})
	}
}

func TestTaskFromContext(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	observe(terminal.WithTask(t.Context(), "ada"), t, term, "terminal", "true")
	require.Len(t, term.Stats().Tasks, 1)
	assert.Equal(t, "ada", term.Stats().Tasks[0].Task)
}

func TestJob(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	started := observe(t.Context(), t, term, "terminal", `{"command":"sleep 60","background":true}`)
	var job struct {
		ID string `json:"job_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(started), &job))
	killed := observe(t.Context(), t, term, "process", `{"action":"kill","job_id":"`+job.ID+`"}`)
	assert.Contains(t, killed, `"exit_code":137`)
}

func TestToolInvalidArguments(t *testing.T) {
	term := newTerminal(t, terminal.Config{Approve: func(context.Context, terminal.Request) error { return io.ErrNoProgress }})
	assert.Contains(t, observe(t.Context(), t, term, "terminal", "true"), `"status":"denied"`)
}

func TestToolDescriptions(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	for i, tool := range langchaingo.Tools(term) {
		want := term.Tools()[i]
		assert.Equal(t, want.Name, tool.Name())
		assert.Contains(t, tool.Description(), want.Description)
		assert.Contains(t, tool.Description(), string(want.Schema))
	}
}
