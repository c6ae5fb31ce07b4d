package toolspec

import (
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func TestDecodeTerminal(t *testing.T) {
	for in, want := range map[string]TerminalArgs{
		`{"command":"ls"}`: {Command: "ls"},
		`{"command":" ls\n","background":false,"timeout":1.5,"task_id":"a/../b"}`: {Command: " ls\n", Timeout: 1500 * time.Millisecond, TaskID: "a/../b"},
		`{"command":"ls","background":"true","timeout":"0.25"}`:                   {Command: "ls", Background: true, Timeout: 250 * time.Millisecond},
		`{"command":"ls","background":"False","timeout":" 3 "}`:                   {Command: "ls", Timeout: 3 * time.Second},
		`{"command":"ls","background":null,"timeout":null,"task_id":null}`:        {Command: "ls"},
		`{"command":"ls","timeout":0}`:                                            {Command: "ls"},
		`{"command":"ls","timeout":1e-12}`:                                        {Command: "ls", Timeout: 1},
		`{"command":"ls","background":true,"ready_port":"80","ready_log":"^x"}`:   {Command: "ls", Background: true, HasReady: true, ReadyPort: 80, ReadyLog: "^x"},
	} {
		got, err := DecodeTerminal([]byte(in), true)
		assert.NoError(t, err, in)
		assert.Equal(t, want, got, in)
	}
}

func TestTaskIDUnknownUnlessAsked(t *testing.T) {
	_, err := DecodeTerminal([]byte(`{"command":"ls","task_id":"x"}`), false)
	assert.ErrorContains(t, err, `unknown field "task_id"; known are command, background, timeout, ready_port, ready_log`)
	_, err = DecodeProcess([]byte(`{"action":"list","task_id":"x"}`), false)
	assert.ErrorContains(t, err, `unknown field "task_id"`)
}

func FuzzDecodeTerminal(f *testing.F) {
	for _, in := range []string{
		``, `null`, `[]`, `{`, `{"command":"l`, `{"command":"ls"} x`, `{"command":"ls","command":"rm"}`, `{"command":7}`,
		`{"command":"ls","timeout":1e999}`, `{"command":"ls","timeout":"NaN"}`, "{\"command\":\"\xff\"}",
		`{"command":"ls","background":"true","timeout":"0.25","task_id":"x"}`,
	} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := DecodeTerminal(data, true)
		if err != nil {
			if !utf8.ValidString(err.Error()) && utf8.Valid(data) {
				t.Fatalf("message is not valid UTF-8: %q", err)
			}
			return
		}
		if !json.Valid(data) {
			t.Fatal("accepted what is not JSON")
		}
		if a.Timeout < 0 || a.Timeout > LongestTimeout || a.ReadyPort < 0 {
			t.Fatalf("accepted %+v", a)
		}
	})
}
