package openai_test

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

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/adapters/openai"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// model is an OpenAI API that answers with a script and remembers what it was
// sent.
type model struct {
	*httptest.Server
	mu       sync.Mutex
	answers  []string
	requests []string
}

// newModel returns a client of a model that gives these answers, one after the
// other.
func newModel(answers ...string) (sdk.Client, *model) {
	m := &model{answers: answers}
	m.Server = httptest.NewServer(m)
	return sdk.NewClient(option.WithBaseURL(m.URL), option.WithAPIKey("none"), option.WithHTTPClient(m.Client()), option.WithMaxRetries(0)), m
}

func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests, string(body))
	if len(m.answers) == 0 {
		http.Error(w, "the script is over", http.StatusTeapot)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, m.answers[0])
	m.answers = m.answers[1:]
}

// last returns the last request.
func (m *model) last() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests[len(m.requests)-1]
}

// quote returns the text as JSON, as the client writes it.
func quote(text string) string {
	var data strings.Builder
	enc := json.NewEncoder(&data)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text)
	return strings.TrimSpace(data.String())
}

// functionCall is a response of a model that calls a function.
func functionCall(name, arguments string) string {
	return `{"output":[{"type":"function_call","call_id":"c1","name":` + quote(name) + `,"arguments":` + quote(arguments) + `}]}`
}

const done = `{"output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"done"}]}]}`

// converse is an agent's loop: it answers calls until there are none, and returns
// the answers and the model's last words.
func converse(ctx context.Context, t require.TestingT, client sdk.Client, term *terminal.Terminal) (answers []string, text string) {
	params := responses.ResponseNewParams{Tools: openai.Tools(term)}
	for {
		response, err := client.Responses.New(ctx, params)
		require.NoError(t, err)
		var items []responses.ResponseInputItemUnionParam
		for _, item := range response.Output {
			switch item.Type {
			case "function_call":
				call := item.AsFunctionCall()
				answer := openai.Answer(ctx, term, call.Name, call.Arguments)
				answers = append(answers, answer)
				reply := responses.ResponseInputItemParamOfFunctionCallOutput(answer)
				reply.OfFunctionCallOutput.CallID = sdk.String(call.CallID)
				items = append(items, reply)
			case "shell_call":
				items = append(items, openai.Shell(ctx, term, item.AsShellCall()))
			}
		}
		if len(items) == 0 {
			return answers, response.OutputText()
		}
		params.Input.OfInputItemList = items
	}
}

func newTerminal(t *testing.T, cfg terminal.Config) *terminal.Terminal {
	t.Helper()
	cfg.Dir = t.TempDir()
	term, err := terminal.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, term.Close()) })
	return term
}

func TestFunctions(t *testing.T) {
	for _, c := range []struct{ name, tool, arguments, want string }{
		{"a success", "terminal", `{"command":"echo '<hi>'","timeout":null}`, `{"output":"<hi>\n","exit_code":0,"error":null}`},
		{"an exit code", "terminal", `{"command":"echo no; exit 3"}`, `{"output":"no\n","exit_code":3,"error":null}`},
		{"an unknown argument", "terminal", `{"comand":"date"}`, `unknown field \"comand\"`},
		{"arguments that are no JSON", "terminal", `{"command":`, `"status":"error"`},
		{"a limit", "terminal", `{"command":"echo began; sleep 60","timeout":0.3}`, `"exit_code":124`},
		{"the other tool", "process", `{"action":"list"}`, `{"output":"no jobs\n","exit_code":0,"error":null}`},
		{"an unknown tool", "date", `{}`, `"error":"tool \"date\": unknown","status":"error"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			term := newTerminal(t, terminal.Config{})
			client, m := newModel(functionCall(c.tool, c.arguments), done)
			defer m.Close()
			answers, text := converse(t.Context(), t, client, term)
			require.Len(t, answers, 1)
			assert.Contains(t, answers[0], c.want)
			assert.Contains(t, m.last(), quote(answers[0]), "what the model is sent")
			assert.Equal(t, "done", text)
		})
	}
}

func TestToolDescriptions(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	chat, err := json.Marshal(openai.ChatTools(term))
	require.NoError(t, err)
	response, err := json.Marshal(openai.Tools(term))
	require.NoError(t, err)
	var chatTools []struct{ Function json.RawMessage }
	var tools []json.RawMessage
	require.NoError(t, json.Unmarshal(chat, &chatTools))
	require.NoError(t, json.Unmarshal(response, &tools))
	for i, want := range term.Tools() {
		for _, tool := range []json.RawMessage{chatTools[i].Function, tools[i]} {
			var got struct {
				Name, Description string
				Strict            bool
				Parameters        json.RawMessage
			}
			require.NoError(t, json.Unmarshal(tool, &got))
			assert.Equal(t, want.Name, got.Name)
			assert.Equal(t, want.Description, got.Description)
			assert.JSONEq(t, string(want.Strict().Schema), string(got.Parameters))
			assert.True(t, got.Strict)
		}
	}
}

func TestChatCompletion(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	client, m := newModel(
		`{"choices":[{"message":{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"terminal","arguments":"{\"command\":\"echo hi\"}"}}]}}]}`,
		`{"choices":[{"message":{"role":"assistant","content":"done"}}]}`)
	defer m.Close()
	params := sdk.ChatCompletionNewParams{Model: "any", Tools: openai.ChatTools(term)}
	completion, err := client.Chat.Completions.New(t.Context(), params)
	require.NoError(t, err)
	message := completion.Choices[0].Message
	params.Messages = append(params.Messages, message.ToParam())
	for _, call := range message.ToolCalls {
		answer := openai.Answer(t.Context(), term, call.Function.Name, call.Function.Arguments)
		params.Messages = append(params.Messages, sdk.ToolMessage(answer, call.ID))
	}
	_, err = client.Chat.Completions.New(t.Context(), params)
	require.NoError(t, err)
	assert.Contains(t, m.last(), quote(`{"output":"hi\n","exit_code":0,"error":null}`))
}

func TestTaskFromContext(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	client, m := newModel(
		functionCall("terminal", `{"command":"true"}`),
		`{"output":[{"type":"shell_call","call_id":"c2","action":{"commands":["true"]}}]}`, done)
	defer m.Close()
	converse(terminal.WithTask(t.Context(), "ada"), t, client, term)
	require.Len(t, term.Stats().Tasks, 1)
	assert.Equal(t, "ada", term.Stats().Tasks[0].Task)
}

func TestJob(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	var job struct {
		ID string `json:"job_id"`
	}
	started := openai.Answer(t.Context(), term, "terminal", `{"command":"sleep 60","background":true}`)
	require.NoError(t, json.Unmarshal([]byte(started), &job))
	client, m := newModel(functionCall("process", `{"action":"kill","job_id":"`+job.ID+`"}`), done)
	defer m.Close()
	answers, _ := converse(t.Context(), t, client, term)
	assert.Contains(t, answers[0], `"exit_code":137`)
}

// shellOutput is what a shell_call_output has on the wire.
type shellOutput struct {
	Type            string
	CallID          string `json:"call_id"`
	MaxOutputLength *int64 `json:"max_output_length"`
	Output          []struct {
		Stdout, Stderr string
		Outcome        struct {
			Type     string
			ExitCode *int `json:"exit_code"`
		}
	}
}

// shell lets a model call the shell tool with an action, and returns what it was
// sent for it.
func shell(t *testing.T, term *terminal.Terminal, action string) (sent shellOutput) {
	t.Helper()
	client, m := newModel(`{"output":[{"type":"shell_call","call_id":"c1","action":`+action+`}]}`, done)
	defer m.Close()
	converse(t.Context(), t, client, term)
	var request struct{ Input []shellOutput }
	require.NoError(t, json.Unmarshal([]byte(m.last()), &request))
	require.Len(t, request.Input, 1)
	assert.Equal(t, "shell_call_output", request.Input[0].Type)
	assert.Equal(t, "c1", request.Input[0].CallID)
	return request.Input[0]
}

func TestShellSeparateStreams(t *testing.T) {
	sent := shell(t, newTerminal(t, terminal.Config{}), `{"commands":["echo out > file; cat file; echo err >&2","cat file; exit 3"]}`)
	require.Len(t, sent.Output, 2)
	assert.Nil(t, sent.MaxOutputLength)
	assert.Equal(t, "out\n", sent.Output[0].Stdout)
	assert.Equal(t, "err\n", sent.Output[0].Stderr)
	assert.Equal(t, "exit", sent.Output[0].Outcome.Type)
	assert.Zero(t, *sent.Output[0].Outcome.ExitCode)
	assert.Equal(t, "out\n", sent.Output[1].Stdout, "the commands run in their order")
	assert.Empty(t, sent.Output[1].Stderr)
	assert.Equal(t, 3, *sent.Output[1].Outcome.ExitCode)
}

func TestShellTimeoutSharedByCommands(t *testing.T) {
	sent := shell(t, newTerminal(t, terminal.Config{}), `{"commands":["echo began; sleep 60","touch ran"],"timeout_ms":300}`)
	require.Len(t, sent.Output, 2)
	assert.Equal(t, "timeout", sent.Output[0].Outcome.Type)
	assert.Nil(t, sent.Output[0].Outcome.ExitCode)
	assert.Equal(t, "began\n", sent.Output[0].Stdout)
	assert.Contains(t, sent.Output[0].Stderr, "reached its limit")
	assert.Equal(t, "timeout", sent.Output[1].Outcome.Type)
	assert.Contains(t, sent.Output[1].Stderr, "not started")
}

func TestShellLongOutputTail(t *testing.T) {
	term := newTerminal(t, terminal.Config{})
	sent := shell(t, term, `{"commands":["yes é | head -c 9000000; printf 'the end' ; printf 12345 >&2"],"max_output_length":10}`)
	assert.Equal(t, int64(10), *sent.MaxOutputLength)
	assert.Equal(t, "[the beginning is cut]\n\né\nthe end", sent.Output[0].Stdout)
	assert.Equal(t, "12345", sent.Output[0].Stderr)

	sent = shell(t, term, `{"commands":["yes | head -c 9000000"],"max_output_length":1000000000000}`)
	assert.Less(t, len(sent.Output[0].Stdout), terminal.DefaultMaxOutput+100, "a model has no say about memory")
}

func TestShellNotStartedReason(t *testing.T) {
	term := newTerminal(t, terminal.Config{Approve: func(context.Context, terminal.Request) error { return io.ErrNoProgress }})
	sent := shell(t, term, `{"commands":["true"," "]}`)
	require.Len(t, sent.Output, 2)
	assert.Equal(t, -1, *sent.Output[0].Outcome.ExitCode)
	assert.Contains(t, sent.Output[0].Stderr, io.ErrNoProgress.Error())
	assert.Contains(t, sent.Output[1].Stderr, "must not be blank")

	sent = shell(t, term, `{"commands":[]}`)
	assert.NotNil(t, sent.Output)
	assert.Empty(t, sent.Output)
}
