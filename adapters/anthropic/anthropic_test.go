package anthropic_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/adapters/anthropic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// model is an Anthropic API that answers with a script and remembers what it
// was sent.
type model struct {
	*httptest.Server
	mu       sync.Mutex
	answers  []string
	requests []request
}

// request is what the tests look at of a request to the model.
type request struct {
	Tools    []map[string]any
	Messages []struct {
		Role    string
		Content []struct {
			Type      string
			ToolUseID string `json:"tool_use_id"`
			IsError   bool   `json:"is_error"`
			Content   []struct{ Text string }
		}
	}
}

// newModel returns a client of a model that gives these answers, one after the
// other.
func newModel(answers ...string) (sdk.Client, *model) {
	m := &model{answers: answers}
	m.Server = httptest.NewServer(m)
	return sdk.NewClient(option.WithBaseURL(m.URL), option.WithAPIKey("none"), option.WithHTTPClient(m.Client()), option.WithMaxRetries(0)), m
}

func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req request
	err := json.NewDecoder(r.Body).Decode(&req)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests, req)
	if len(m.answers) == 0 || err != nil {
		http.Error(w, "the script is over", http.StatusTeapot)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, m.answers[0])
	m.answers = m.answers[1:]
}

// result returns the tool result that the model was sent last.
func (m *model) result(t *testing.T) (text string, isError bool) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	messages := m.requests[len(m.requests)-1].Messages
	content := messages[len(messages)-1].Content
	require.Len(t, content, 1)
	assert.Equal(t, "tool_result", content[0].Type)
	assert.Equal(t, "u1", content[0].ToolUseID)
	return content[0].Content[0].Text, content[0].IsError
}

// use is a message of a model that uses a tool.
func use(tool, input string) string {
	return `{"role":"assistant","stop_reason":"tool_use","content":[{"type":"tool_use","id":"u1","name":"` + tool + `","input":` + input + `}]}`
}

const done = `{"role":"assistant","stop_reason":"end_turn","content":[{"type":"text","text":"done"}]}`

var hello = sdk.BetaToolRunnerParams{BetaMessageNewParams: sdk.BetaMessageNewParams{
	Model:     "claude-sonnet-4-5",
	MaxTokens: 1000,
	Messages:  []sdk.BetaMessageParam{sdk.NewBetaUserMessage(sdk.NewBetaTextBlock("hello"))},
}}

func newTerminal(t *testing.T, cfg terminal.Config) *terminal.Terminal {
	t.Helper()
	cfg.Dir = t.TempDir()
	term, err := terminal.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, term.Close()) })
	return term
}

// runTool lets a model use one tool through the SDK's runner, and returns what
// it was sent for it.
func runTool(ctx context.Context, t *testing.T, term *terminal.Terminal, tool, input string) (text string, isError bool) {
	t.Helper()
	client, m := newModel(use(tool, input), done)
	defer m.Close()
	runner := client.Beta.Messages.NewToolRunner(append(anthropic.Tools(term), anthropic.Bash(term)), hello)
	last, err := runner.RunToCompletion(ctx)
	require.NoError(t, err)
	assert.Equal(t, "done", last.Content[0].Text)
	return m.result(t)
}

func TestRunner(t *testing.T) {
	for _, c := range []struct {
		name, tool, input, want string
		isError                 bool
	}{
		{"a success", "terminal", `{"command":"echo '<hi>'"}`, `{"output":"<hi>\n","exit_code":0,"error":null}`, false},
		{"an exit code", "terminal", `{"command":"echo no; exit 3"}`, `{"output":"no\n","exit_code":3,"error":null}`, false},
		{"an unknown argument", "terminal", `{"comand":"date"}`, `unknown field \"comand\"`, false},
		{"arguments that are no object", "terminal", `"date"`, `"status":"error"`, false},
		{"a limit", "terminal", `{"command":"echo began; sleep 60","timeout":0.3}`, `"exit_code":124`, false},
		{"the other tool", "process", `{"action":"list"}`, `{"output":"no jobs\n","exit_code":0,"error":null}`, false},
		{"bash", "bash", `{"command":"echo hi"}`, "hi\n", false},
		{"bash, an exit code", "bash", `{"command":"echo no; exit 3"}`, "no\n\n[exit code 3]", false},
		{"bash, an unknown argument", "bash", `{"comand":"date"}`, `unknown field "comand"`, true},
		{"bash, arguments that are no object", "bash", `"date"`, "bash input", true},
		{"bash, no command", "bash", `{}`, "command: missing", true},
		{"bash, a survivor", "bash", `{"command":"sleep 60 >/dev/null & echo hi"}`, "hi\n\n[", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, isError := runTool(t.Context(), t, newTerminal(t, terminal.Config{}), c.tool, c.input)
			assert.Contains(t, text, c.want)
			assert.Equal(t, c.isError, isError)
		})
	}
}

func TestBashTimeoutErrorHasOutput(t *testing.T) {
	term := newTerminal(t, terminal.Config{Timeout: 300e6})
	text, isError := runTool(t.Context(), t, term, "bash", `{"command":"echo began; sleep 60"}`)
	assert.True(t, isError)
	assert.Contains(t, text, "reached its limit of 300ms")
	assert.True(t, strings.HasSuffix(text, "\nbegan"), "%q", text)
}

func TestBashRestartClosesContextTask(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	ada, bob := terminal.WithTask(t.Context(), "ada"), terminal.WithTask(t.Context(), "bob")
	for _, ctx := range []context.Context{ada, bob} {
		runTool(ctx, t, term, "bash", `{"command":"true"}`)
	}
	require.Len(t, term.Stats().Tasks, 2)
	text, isError := runTool(ada, t, term, "bash", `{"restart":true}`)
	assert.Equal(t, "restarted", text)
	assert.False(t, isError)
	require.Len(t, term.Stats().Tasks, 1)
	assert.Equal(t, "bob", term.Stats().Tasks[0].Task)

	text, _ = runTool(bob, t, term, "bash", `{"restart":true,"command":"echo again"}`)
	assert.Equal(t, "again\n", text)
	assert.EqualValues(t, 3, term.Stats().Created)
}

func TestNativeBash(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	client, m := newModel(use("bash", `{"command":"echo hi"}`), done)
	defer m.Close()
	runner := client.Beta.Messages.NewToolRunner([]sdk.BetaTool{anthropic.Bash(term)}, hello)
	runner.Params.Tools[0] = sdk.BetaToolUnionParam{OfBashTool20250124: &sdk.BetaToolBash20250124Param{}}
	_, err := runner.RunToCompletion(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []map[string]any{{"name": "bash", "type": "bash_20250124"}}, m.requests[0].Tools)
	text, _ := m.result(t)
	assert.Equal(t, "hi\n", text)
}

func TestAnswer(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	for _, c := range []struct {
		tool, input, want string
		isError           bool
	}{
		{"terminal", `{"command":"echo hi"}`, `{"output":"hi\n","exit_code":0,"error":null}`, false},
		{"bash", `{"command":"echo hi"}`, "hi\n", false},
		{"bash", `{"command":" "}`, "must not be blank", true},
		{"date", `{}`, `tool "date": unknown`, true},
	} {
		client, m := newModel(use(c.tool, c.input), done)
		params := sdk.MessageNewParams{Model: "claude-sonnet-4-5", MaxTokens: 1000, Tools: anthropic.Params(term)}
		message, err := client.Messages.New(t.Context(), params)
		require.NoError(t, err)
		block := anthropic.Answer(t.Context(), term, message.Content[0].AsToolUse())
		params.Messages = append(params.Messages, message.ToParam(), sdk.NewUserMessage(block))
		_, err = client.Messages.New(t.Context(), params)
		require.NoError(t, err)
		text, isError := m.result(t)
		assert.Contains(t, text, c.want)
		assert.Equal(t, c.isError, isError)
		m.Close()
	}
}

func TestToolDescriptions(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	params, err := json.Marshal(anthropic.Params(term))
	require.NoError(t, err)
	var tools []struct {
		Name, Description string
		Schema            json.RawMessage `json:"input_schema"`
	}
	require.NoError(t, json.Unmarshal(params, &tools))
	for i, want := range term.Tools() {
		assert.Equal(t, want.Name, tools[i].Name)
		assert.Equal(t, want.Description, tools[i].Description)
		assert.JSONEq(t, string(want.Schema), string(tools[i].Schema))
	}
}

func TestJob(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	started, _ := runTool(t.Context(), t, term, "terminal", `{"command":"sleep 60","background":true}`)
	var job struct {
		ID string `json:"job_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(started), &job))
	killed, _ := runTool(t.Context(), t, term, "process", `{"action":"kill","job_id":"`+job.ID+`"}`)
	assert.Contains(t, killed, `"exit_code":137`)
}

func TestToolInvalidArguments(t *testing.T) {
	term := newTerminal(t, terminal.Config{Approve: func(context.Context, terminal.Request) error { return io.ErrNoProgress }})
	text, isError := runTool(t.Context(), t, term, "terminal", `{"command":"true"}`)
	assert.Contains(t, text, `"status":"denied"`)
	assert.False(t, isError)
	text, isError = runTool(t.Context(), t, term, "bash", `{"command":"true"}`)
	assert.Contains(t, text, io.ErrNoProgress.Error())
	assert.True(t, isError)
}
