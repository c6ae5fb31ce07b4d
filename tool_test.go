// Tests of what a model sees and of the answers that it gets.

package terminal

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "go test -update writes it")
	assert.Equal(t, string(want), got)
}

// The golden files show what a model sees: name, description and schema.
func TestToolSchemas(t *testing.T) {
	term := newTerminal(t, Config{Backend: &stub{}})
	capped := newTerminal(t, Config{Backend: &stub{}, Timeout: 1500 * time.Millisecond, MaxTimeout: 10 * time.Minute, MaxOutput: 1000})
	for name, tool := range map[string]Tool{
		"tool":                term.Tools()[0],
		"tool_strict":         term.Tools()[0].Strict(),
		"tool_task_id":        term.Tools()[0].WithTaskID(),
		"tool_strict_task_id": term.Tools()[0].Strict().WithTaskID(),
		"tool_configured":     capped.Tools()[0],
		"process":             term.Tools()[1],
		"process_strict":      term.Tools()[1].Strict(),
		"process_configured":  capped.Tools()[1].WithTaskID(),
	} {
		t.Run(name, func(t *testing.T) {
			var schema strings.Builder
			enc := json.NewEncoder(&schema)
			enc.SetIndent("", "  ")
			require.NoError(t, enc.Encode(tool.Schema))
			golden(t, name+".golden", tool.Name+"\n\n"+tool.Description+"\n\n"+schema.String())
		})
	}
	assert.JSONEq(t, string(term.Tools()[0].Strict().WithTaskID().Schema), string(term.Tools()[0].WithTaskID().Strict().Schema))
}

// badArguments maps invalid arguments to a word that the answer must contain.
var badArguments = map[string]string{
	``:                                    "empty",
	`null`:                                "object",
	`[]`:                                  "object",
	`"ls"`:                                "object",
	`{`:                                   "unexpected EOF",
	`{"command":"ls"`:                     "unexpected EOF",
	`{"command":"l`:                       "unexpected EOF",
	`{"command":"ls"} x`:                  "after",
	`{"command":"ls"}{}`:                  "after",
	`{"command":"ls","command":"rm"}`:     "twice",
	`{}`:                                  "command",
	`{"command":null}`:                    "command",
	`{"command":7}`:                       "string",
	`{"command":["ls"]}`:                  "string",
	`{"command":""}`:                      "blank",
	`{"command":" \n\t"}`:                 "blank",
	`{"command":"a\u0000b"}`:              "NUL",
	`{"Command":"ls"}`:                    `"Command"`,
	`{"command":"ls","cwd":"/"}`:          `"cwd"`,
	`{"command":"ls","timeout":-1}`:       "positive",
	`{"command":"ls","timeout":"NaN"}`:    "positive",
	`{"command":"ls","timeout":"inf"}`:    "at most",
	`{"command":"ls","timeout":1e300}`:    "at most",
	`{"command":"ls","timeout":1e999}`:    "at most",
	`{"command":"ls","timeout":"5m"}`:     "number of seconds",
	`{"command":"ls","timeout":[]}`:       "number of seconds",
	`{"command":"ls","timeout":""}`:       "number of seconds",
	`{"command":"ls","background":"yes"}`: "true or false",
	`{"command":"ls","background":1}`:     "true or false",
	`{"command":"ls","background":""}`:    "true or false",
	`{"command":"ls","ready_port":80}`:    "background",
	`{"command":"ls","ready_log":"x"}`:    "background",
	`{"command":"ls","background":true,"ready_port":70000}`:  "65535",
	`{"command":"ls","background":true,"ready_port":0}`:      "needs a port",
	`{"command":"ls","background":true,"ready_port":"http"}`: "whole number",
	`{"command":"ls","background":true,"ready_port":-1}`:     "whole number",
	`{"command":"ls","background":true,"ready_log":"["}`:     "pattern",
	`{"command":"ls","background":true,"ready_log":5}`:       "string",
	`{"command":"ls","task_id":"x"}`:                         `"task_id"`,
	"{\"command\":\"\xff\"}":                                 "UTF-8",
	`{"command":"ls","x":"` + "\x01" + `"}`:                  "invalid",
}

// Invalid arguments are answered with what is wrong, and nothing runs.
func TestToolInvalidArguments(t *testing.T) {
	b := &stub{exec: func(context.Context, Command) (int, error) { t.Error("it ran"); return 0, nil }}
	term := newTerminal(t, Config{Backend: b})
	defer term.Close()
	for in, want := range badArguments {
		answer := term.Call(t.Context(), json.RawMessage(in))
		res := decodeAnswer(t, answer)
		assert.Equal(t, -1, res.ExitCode, in)
		assert.Equal(t, StatusError, res.Status, in)
		assert.Contains(t, res.Error, want, in)
		assert.Less(t, len(res.Error), 400, in)
	}
	assert.Zero(t, b.opened.Load())
}

// decodeAnswer decodes an answer and checks what holds for every answer: output
// is a string, exit_code a number, error a string or null, and no other fields
// than the documented ones.
func decodeAnswer(t testing.TB, answer json.RawMessage) Result {
	t.Helper()
	var fields map[string]any
	require.NoError(t, json.Unmarshal(answer, &fields), string(answer))
	assert.IsType(t, "", fields["output"])
	assert.IsType(t, 0.0, fields["exit_code"])
	if e, ok := fields["error"]; !ok || e != nil {
		assert.IsType(t, "", e)
	}
	for name := range fields {
		assert.Contains(t, []string{"output", "exit_code", "error", "status", "omitted_chars", "notice", "job_id", "log_path", "next_offset"}, name)
	}
	var res Result
	require.NoError(t, json.Unmarshal(answer, &res))
	return res
}

// Ten megabytes of arguments reach the command.
func TestToolLargeArguments(t *testing.T) {
	var got int
	b := &stub{exec: func(_ context.Context, c Command) (int, error) {
		buf := make([]byte, 1<<20)
		for {
			n, err := c.Stdin.Read(buf)
			got += n
			if err != nil {
				return 0, nil
			}
		}
	}}
	term := newTerminal(t, Config{Backend: b})
	defer term.Close()
	args, err := json.Marshal(map[string]string{"command": "# " + strings.Repeat("x", 10<<20)})
	require.NoError(t, err)
	assert.Equal(t, `{"output":"","exit_code":0,"error":null}`, string(term.Call(t.Context(), args)))
	assert.Greater(t, got, 10<<20)
	assert.Contains(t, string(term.Call(t.Context(), args[:len(args)-2])), "unexpected EOF")
}

// Every outcome has its answer: output, exit code, error and status.
func TestToolAnswers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		err    error
		code   int
		answer string
	}{
		{"ran", nil, 3, `{"output":"<out & \u0000>","exit_code":3,"error":null}`},
		{"gone", ErrGone, 0, `{"output":"<out & \u0000>","exit_code":-1,"error":"environment is gone","status":"lost"}`},
		{"failed", errors.New("x < y"), 0, `{"output":"<out & \u0000>","exit_code":-1,"error":"x < y","status":"error"}`},
		{"disabled", ErrUnavailable, 0, `{"output":"<out & \u0000>","exit_code":-1,"error":"backend is unavailable","status":"disabled"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := &stub{exec: func(_ context.Context, c Command) (int, error) {
				_, _ = c.Stdout.Write([]byte("<out & \x00>"))
				return tc.code, tc.err
			}}
			term := newTerminal(t, Config{Backend: b})
			defer term.Close()
			assert.Equal(t, tc.answer, string(term.Call(t.Context(), json.RawMessage(`{"command":"x"}`))))
		})
	}
	t.Run("denied", func(t *testing.T) {
		var asked Request
		term := newTerminal(t, Config{Backend: &stub{}, Approve: func(_ context.Context, r Request) error {
			asked = r
			return errors.New("not on Sundays")
		}})
		defer term.Close()
		answer := term.Call(WithTask(t.Context(), "x"), json.RawMessage(`{"command":"rm -rf /"}`))
		assert.Equal(t, `{"output":"","exit_code":-1,"error":"command was denied: not on Sundays","status":"denied"}`, string(answer))
		assert.Equal(t, Request{Command: "rm -rf /", Task: "x", Timeout: time.Minute, Dir: "/tmp", Env: map[string]string{}}, asked)
		assert.Empty(t, term.Stats().Tasks)
	})
	t.Run("approve panics", func(t *testing.T) {
		term := newTerminal(t, Config{Backend: &stub{}, Approve: func(context.Context, Request) error { panic("boom") }})
		defer term.Close()
		assert.Equal(t, StatusDenied, decodeAnswer(t, term.Call(t.Context(), json.RawMessage(`{"command":"x"}`))).Status)
	})
	t.Run("closed", func(t *testing.T) {
		term := newTerminal(t, Config{Backend: &stub{}})
		require.NoError(t, term.Close())
		assert.Equal(t, `{"output":"","exit_code":-1,"error":"terminal is closed","status":"closed"}`, string(term.Call(t.Context(), json.RawMessage(`{"command":"x"}`))))
	})
}

// A task_id names a task below the host's, and only tools made by WithTaskID
// accept one.
func TestToolTaskID(t *testing.T) {
	var opened []string
	b := &stub{open: func(_ context.Context, task string) error {
		opened = append(opened, task)
		return ErrUnavailable // so that the process tool stops here
	}}
	term := newTerminal(t, Config{Backend: b})
	defer term.Close()
	plain := func(tool Tool) Tool { return tool }
	variants := []struct {
		name   string
		of     func(Tool) Tool
		takeID bool
	}{
		{"plain", plain, false},
		{"strict", Tool.Strict, false},
		{"task id", Tool.WithTaskID, true},
		{"task id twice", func(tool Tool) Tool { return tool.WithTaskID().WithTaskID() }, true},
		{"strict, task id", func(tool Tool) Tool { return tool.Strict().WithTaskID() }, true},
		{"task id, strict", func(tool Tool) Tool { return tool.WithTaskID().Strict() }, true},
	}
	calls := []struct{ host, id, task string }{
		{"", `null`, "default"},
		{"", `""`, "default"},
		{"", `"b"`, "b"},
		{"", `"../b"`, "../b"},
		{"a", `null`, "a"},
		{"a", `""`, "a"},
		{"a", `"b"`, "a/b"},
		{"a", `"a"`, "a/a"},
		{"a", `"../b"`, "a/../b"},
		{"a", `"/b"`, "a//b"},
		{"a", `"\u0000"`, "a/\x00"},
		{"a", `"default"`, "a/default"},
	}
	for i, args := range []string{`{"command":"x","task_id":%s}`, `{"command":"x","background":true,"task_id":%s}`, `{"action":"list","task_id":%s}`, `{"action":"kill","job_id":"0123456789ab","task_id":%s}`} {
		for _, v := range variants {
			tool := v.of(term.Tools()[i/2])
			for _, c := range calls {
				opened = nil
				ctx := t.Context()
				if c.host != "" {
					ctx = WithTask(ctx, c.host)
				}
				in := fmt.Sprintf(args, c.id)
				res := decodeAnswer(t, tool.Call(ctx, json.RawMessage(in)))
				if v.takeID || c.id == "null" {
					assert.Equal(t, []string{c.task}, opened, "%s: %s in %q", v.name, in, c.host)
				} else {
					assert.Contains(t, res.Error, `unknown field "task_id"`, "%s: %s", v.name, in)
					assert.Empty(t, opened, "%s: %s in %q", v.name, in, c.host)
				}
			}
			if v.takeID {
				assert.Contains(t, decodeAnswer(t, tool.Call(t.Context(), json.RawMessage(fmt.Sprintf(args, "5")))).Error, "task_id: must be a string")
			}
		}
	}
	_, err := term.Run(WithTask(t.Context(), "a"), Request{Command: "x", Task: "b"})
	require.ErrorIs(t, err, ErrUnavailable)
	assert.Equal(t, "b", opened[len(opened)-1], "an explicit task of the host's")
}

// badProcessArguments maps invalid arguments of the process tool to a word that
// the answer must contain.
var badProcessArguments = map[string]string{
	``:                                "empty",
	`{}`:                              "action",
	`{"action":"stop","job_id":"x"}`:  "one of list, poll",
	`{"action":5}`:                    "action",
	`{"action":"poll"}`:               "job_id",
	`{"action":"list","job_id":"x"}`:  "job_id",
	`{"action":"poll","job_id":7}`:    "job_id",
	`{"action":"poll","job":"x"}`:     "unknown field",
	`{"action":"list","task_id":"x"}`: `unknown field "task_id"`,
	`{"action":"poll","job_id":"x","data":"y"}`:          "write",
	`{"action":"poll","job_id":"x","offset":1}`:          "log",
	`{"action":"poll","job_id":"x","timeout":1}`:         "wait",
	`{"action":"write","job_id":"x"}`:                    "data",
	`{"action":"signal","job_id":"x"}`:                   "signal",
	`{"action":"signal","job_id":"x","signal":"9; ls"}`:  "INT",
	`{"action":"log","job_id":"x","offset":-1}`:          "offset",
	`{"action":"log","job_id":"x","offset":1.5}`:         "offset",
	`{"action":"wait","job_id":"x","timeout":"5m"}`:      "seconds",
	`{"action":"poll","job_id":"x"}`:                     "unknown job",
	`{"action":"kill","job_id":"../../etc"}`:             "unknown job",
	`{"action":"kill","job_id":"ABCDEFABCDEF"}`:          "unknown job",
	`{"action":"write","job_id":"$(reboot)","data":"x"}`: "unknown job",
}

// Invalid arguments of the process tool are answered with what is wrong, and
// nothing runs.
func TestProcessToolInvalidArguments(t *testing.T) {
	b := &stub{exec: func(context.Context, Command) (int, error) { t.Error("it ran"); return 0, nil }}
	term := newTerminal(t, Config{Backend: b})
	defer term.Close()
	for in, want := range badProcessArguments {
		res := decodeAnswer(t, term.Tools()[1].Call(t.Context(), json.RawMessage(in)))
		assert.Equal(t, -1, res.ExitCode, in)
		assert.Equal(t, StatusError, res.Status, in)
		assert.Contains(t, res.Error, want, in)
	}
	assert.Zero(t, b.opened.Load())
}

// Call copies the output to the writer of WithOutput while the command runs.
func TestCallWithOutput(t *testing.T) {
	term, err := New(Config{})
	require.NoError(t, err)
	defer term.Close()
	var live strings.Builder
	answer := term.Call(WithOutput(t.Context(), &live), json.RawMessage(`{"command":"echo one; echo two >&2"}`))
	assert.JSONEq(t, `{"output":"one\ntwo\n","exit_code":0,"error":null}`, string(answer))
	assert.Equal(t, "one\ntwo\n", live.String())
}
