package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCutTaskID(t *testing.T) {
	for in, want := range map[string]struct{ name, rest string }{
		`{"command":"x"}`:                                 {"", `{"command":"x"}`},
		`{"command":"x","task_id":"a"}`:                   {"a", `{"command":"x"}`},
		`{"task_id":"a" , "command":"x"}`:                 {"a", `{"command":"x"}`},
		`{"task\u005fid":"a","command":"x"}`:              {"a", `{"command":"x"}`},
		`{"task_id":null,"command":"x"}`:                  {"", `{"command":"x"}`},
		`{"task_id":"","command":"x"}`:                    {"", `{"command":"x"}`},
		`{"task_id":"a"}`:                                 {"a", `{}`},
		`{"command":"task_id","n":{"task_id":"a"}}`:       {"", `{"command":"task_id","n":{"task_id":"a"}}`},
		`{"command":"x","task_id":"a","command":"y"}`:     {"a", `{"command":"x","command":"y"}`}, // which the tool refuses
		`{"command":"x","task_id":"a"} more`:              {"a", `{"command":"x"} more`},
		`{"command":"x","task_id":"a"`:                    {"", `{"command":"x","task_id":"a"`},
		`{"task_id":"a","command":"<&\u2028","b":1.50e3}`: {"a", `{"command":"<&\u2028","b":1.50e3}`},
		`["task_id"]`:                                     {"", `["task_id"]`},
		``:                                                {"", ``},
	} {
		name, rest, err := cutTaskID(json.RawMessage(in))
		require.NoError(t, err, in)
		assert.Equal(t, want.name, name, in)
		assert.Equal(t, want.rest, string(rest), in)
	}
	for _, in := range []string{`{"task_id":7}`, `{"task_id":{}}`, `{"task_id":"a","task_id":"a"}`, `{"task_id":null,"task_id":"a"}`} {
		_, _, err := cutTaskID(json.RawMessage(in))
		assert.ErrorContains(t, err, "task_id", in)
	}
}

func TestTaskIDScopedToSession(t *testing.T) {
	t.Parallel()
	s := site{args: []string{"-task-id"}}
	s.url, _ = startHTTP(t, s.env, s.args...)
	c, d := routes[1].connect(t, s).(*sdkClient), routes[1].connect(t, s)
	list, err := c.session.ListTools(t.Context(), nil)
	require.NoError(t, err)
	for _, tool := range list.Tools {
		assert.Contains(t, tool.InputSchema.(object)["properties"], "task_id")
	}
	sleep, word := sleeper()
	job := do(t, c, "terminal", object{"command": sleep, "background": true, "task_id": "one"}).JobID
	require.NotEmpty(t, job)
	jobs := func(c client, task string) string {
		return do(t, c, "process", object{"action": "list", "task_id": task}).Output
	}
	assert.Contains(t, jobs(c, "one"), job)
	assert.Equal(t, "no jobs\n", jobs(c, "two"))
	assert.Equal(t, "no jobs\n", jobs(c, ""))
	assert.Equal(t, "no jobs\n", jobs(d, "one"), "a name reaches into another session")
	requireRunning(t, word)
	d.close()
	assert.NotEmpty(t, running(t, word))
	c.close()
	requireGone(t, word)
}

func TestResultsMatchSchema(t *testing.T) {
	t.Parallel()
	c := routes[0].connect(t, site{args: []string{"-max-output", "200"}}).(*sdkClient)
	list, err := c.session.ListTools(t.Context(), nil)
	require.NoError(t, err)
	for _, tool := range list.Tools {
		data, err := json.Marshal(tool.OutputSchema)
		require.NoError(t, err)
		var schema jsonschema.Schema
		require.NoError(t, json.Unmarshal(data, &schema))
		resolved, err := schema.Resolve(nil)
		require.NoError(t, err)
		known := make(map[string]bool)
		for name := range schema.Properties {
			known[name] = true
		}
		calls := map[string][]object{
			"terminal": {
				{"command": "seq 1000; exit 1"},
				{"command": "sleep 60", "timeout": 0.1},
				{"command": 1},
				{"command": "sleep 60 &"},
				{"command": "sleep 60", "background": true},
				{"command": "exit 9", "background": true},
			},
			"process": {{"action": "list"}, {"action": "nonesuch"}, {"action": "log", "job_id": "none"}},
		}[tool.Name]
		if tool.Name == "process" {
			job := do(t, c, "terminal", object{"command": "echo on; sleep 60", "background": true}).JobID
			calls = append(calls, object{"action": "log", "job_id": job, "offset": 0}, object{"action": "poll", "job_id": job})
		}
		for _, args := range calls {
			res, err := c.session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool.Name, Arguments: args})
			require.NoError(t, err)
			assert.NoError(t, resolved.Validate(res.StructuredContent), "%v", args)
			for name := range res.StructuredContent.(object) {
				assert.True(t, known[name], "%s in the answer to %v is not in the schema", name, args)
			}
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args, env []string
		says      string
	}{
		"an unknown flag":         {[]string{"-nonesuch"}, nil, "-nonesuch"},
		"an argument":             {[]string{"serve"}, nil, `"serve"`},
		"a timeout that is none":  {[]string{"-timeout", "soon"}, nil, "-timeout sets TERMINAL_TIMEOUT"},
		"a variable":              {nil, []string{"TERMINAL_MAX_TASKS=many"}, "TERMINAL_MAX_TASKS"},
		"an unknown backend":      {[]string{"-env", "moon"}, nil, "known are docker, local, modal"},
		"a relative directory":    {[]string{"-cwd", "here"}, nil, "TERMINAL_CWD"},
		"timeouts at odds":        {[]string{"-timeout", "9", "-max-timeout", "5"}, nil, "TERMINAL_MAX_TIMEOUT"},
		"no session at all":       {[]string{"-session-timeout", "0s"}, nil, "-session-timeout"},
		"all of the world":        {[]string{"-http", ":0"}, nil, tokenVariable},
		"no port":                 {[]string{"-http", "localhost"}, nil, "port"},
		"a token for all to find": {[]string{"-http", ":0"}, []string{tokenVariable + "=guess"}, tokenVariable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, stderr bytes.Buffer
			cmd := site{args: c.args, env: c.env}.command()
			cmd.Stdout, cmd.Stderr = &out, &stderr
			var exit *exec.ExitError
			require.ErrorAs(t, cmd.Run(), &exit)
			assert.Equal(t, exitUsage, exit.ExitCode())
			assert.Contains(t, stderr.String(), c.says)
			assert.Empty(t, out.String())
		})
	}
	help, err := exec.Command(program, "-h").CombinedOutput()
	require.NoError(t, err)
	for _, v := range variables {
		assert.Contains(t, string(help), "-"+v.flag+" ")
	}
}
