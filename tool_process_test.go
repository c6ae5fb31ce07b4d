//go:build linux

// Tests of the process tool with real jobs.

package terminal

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The process tool performs each action on a job that the terminal tool
// started.
func TestProcessToolActions(t *testing.T) {
	term := newTerminal(t, Config{})
	defer term.Close()
	tools := term.Tools()
	tools[0], tools[1] = tools[0].WithTaskID(), tools[1].WithTaskID()
	call := func(tool int, format string, args ...any) Result {
		t.Helper()
		return decodeAnswer(t, tools[tool].Call(t.Context(), json.RawMessage(fmt.Sprintf(format, args...))))
	}

	for command, code := range map[string]int{"no-such-program -x": 127, "if then": 2, "cd /; exit 3": 3, "/": 126} {
		res := call(0, `{"command":%q,"background":true}`, command)
		assert.Equal(t, code, res.ExitCode, command)
		assert.Equal(t, StatusError, res.Status, command)
		assert.Contains(t, res.Error, "ended already")
		if code != 3 {
			assert.NotEmpty(t, res.Output, command)
		}
		assert.NotEmpty(t, res.JobID)
	}
	res := call(0, `{"command":"echo done","background":true}`)
	assert.Equal(t, Result{Output: "done\n", JobID: res.JobID, LogPath: res.LogPath}, res)

	res = call(0, `{"command":"echo up; while read l; do echo got $l; done; echo bye; exit 5","background":true,"ready_log":"^up$","task_id":"a"}`)
	require.Equal(t, StatusRunning, res.Status, "%+v", res)
	assert.Equal(t, "up\n", res.Output)
	assert.Contains(t, res.Notice, "ready")
	id := res.JobID
	assert.Contains(t, call(1, `{"action":"list","task_id":"a"}`).Output, id+"  running")
	assert.Equal(t, "no jobs\n", call(1, `{"action":"list","task_id":"b"}`).Output)
	assert.Contains(t, call(1, `{"action":"poll","job_id":%q}`, id).Error, "unknown job")
	assert.Equal(t, StatusRunning, call(1, `{"action":"poll","job_id":%q,"task_id":"a"}`, id).Status)
	assert.Equal(t, StatusRunning, call(1, `{"action":"write","job_id":%q,"task_id":"a","data":"one\n"}`, id).Status)
	res = call(1, `{"action":"wait","job_id":%q,"task_id":"a","timeout":0.2}`, id)
	assert.Equal(t, StatusRunning, res.Status)
	assert.Contains(t, res.Notice, "0.2 s")
	assert.Equal(t, "up\ngot one\n", res.Output)
	call(1, `{"action":"close_stdin","job_id":%q,"task_id":"a"}`, id)
	res = call(1, `{"action":"wait","job_id":%q,"task_id":"a"}`, id)
	assert.Equal(t, 5, res.ExitCode)
	assert.Equal(t, StatusCompleted, res.Status)
	answer := string(tools[1].Call(WithTask(t.Context(), "a"), json.RawMessage(fmt.Sprintf(`{"action":"log","job_id":%q,"offset":3}`, id))))
	assert.Contains(t, answer, `"output":"got one\nbye\n"`)
	assert.Contains(t, answer, `"next_offset":15}`)
	assert.Contains(t, call(1, `{"action":"log","job_id":%q,"task_id":"a","offset":16}`, id).Error, "has only 15 bytes")
	assert.Contains(t, call(1, `{"action":"write","job_id":%q,"task_id":"a","data":"x"}`, id).Error, "ended")

	res = call(0, `{"command":"trap 'echo hup' HUP; echo up; while :; do sleep 0.05; done","background":true,"ready_log":"up"}`)
	call(1, `{"action":"signal","job_id":%q,"signal":"SIGHUP"}`, res.JobID)
	call(1, `{"action":"wait","job_id":%q,"timeout":0.3}`, res.JobID)
	killed := call(1, `{"action":"kill","job_id":%q}`, res.JobID)
	assert.Equal(t, 137, killed.ExitCode)
	assert.Contains(t, killed.Output, "\nhup\n")
}

// Every answer about a job that has ended has its exit code, and every answer
// about a running one has its status.
func TestProcessToolExitCode(t *testing.T) {
	term := newTerminal(t, Config{})
	defer term.Close()
	tools := term.Tools()
	call := func(t *testing.T, tool int, format string, args ...any) Result {
		t.Helper()
		return decodeAnswer(t, tools[tool].Call(t.Context(), json.RawMessage(fmt.Sprintf(format, args...))))
	}
	start := func(t *testing.T, rest string) (id string) {
		t.Helper()
		res := call(t, 0, `{"background":true,"ready_log":"^up$",%s}`, rest)
		require.Equal(t, StatusRunning, res.Status, "%+v", res)
		return res.JobID
	}
	const process = `{"action":%q,"job_id":%q}`

	id := start(t, `"command":"echo up; exec sleep 1000"`)
	running := Result{Output: "up\n", Status: StatusRunning, JobID: id}
	for _, extra := range []string{
		`"action":"poll"`, `"action":"log"`, `"action":"log","offset":0`, `"action":"wait","timeout":0.1`,
		`"action":"write","data":"x"`, `"action":"close_stdin"`, `"action":"signal","signal":"CONT"`,
	} {
		res := call(t, 1, `{%s,"job_id":%q}`, extra, id)
		res.LogPath, res.Notice = "", ""
		assert.Equal(t, running, res, extra)
	}
	assert.Contains(t, call(t, 1, `{"action":"list"}`).Output, id+"  running")
	assert.Equal(t, 137, call(t, 1, process, "kill", id).ExitCode)

	limited := call(t, 0, `{"background":true,"command":"echo up; exec sleep 1000","timeout":0.2}`) // may have ended by now
	for name, ended := range map[string]struct {
		id   string
		code int
	}{
		"by itself":    {start(t, `"command":"echo up; read x; exit 7"`), 7},
		"at its limit": {limited.JobID, 124},
		"killed":       {id, 137},
	} {
		t.Run(name, func(t *testing.T) {
			if ended.code == 7 {
				call(t, 1, `{"action":"write","data":"\n","job_id":%q}`, ended.id)
			}
			out := call(t, 1, process, "wait", ended.id).Output // nothing, if the limit came before the echo
			want := Result{Output: out, ExitCode: ended.code, JobID: ended.id}
			for _, action := range []string{"wait", "poll", "log", "close_stdin", "kill"} {
				res := call(t, 1, process, action, ended.id)
				res.LogPath = ""
				assert.Equal(t, want, res, action)
			}
			want.Status, want.Error = StatusError, fmt.Sprintf("the job has ended already, with code %d", ended.code)
			for _, extra := range []string{`"action":"write","data":"x"`, `"action":"signal","signal":"TERM"`} {
				res := call(t, 1, `{%s,"job_id":%q}`, extra, ended.id)
				res.LogPath = ""
				assert.Equal(t, want, res, extra)
			}
			assert.Contains(t, call(t, 1, `{"action":"list"}`).Output, fmt.Sprintf("%s  ended with code %d ", ended.id, ended.code))
		})
	}

	t.Run("whose supervisor was killed", func(t *testing.T) {
		id := start(t, `"command":"echo up; exec sleep 1000"`)
		job, err := term.Job(t.Context(), "", id)
		require.NoError(t, err)
		dir := strings.TrimSuffix(job.LogPath(), "log")
		res, err := term.Run(t.Context(), Request{Command: fmt.Sprintf("kill -KILL $(cat %[1]spid) $(cat %[1]sjob)", dir)})
		require.NoError(t, err)
		require.Zero(t, res.ExitCode, res.Output)
		var log Result // only log: every other action records that the job has ended
		require.Eventually(t, func() bool {
			log = call(t, 1, process, "log", id)
			return log.Status != StatusRunning
		}, 10*time.Second, 10*time.Millisecond)
		assert.Equal(t, Result{Output: "up\n", ExitCode: -1, JobID: id}, log)
	})
}

// A port that is in use already cannot prove that the job is ready; a free one
// is waited for.
func TestStartReadyPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	term := newTerminal(t, Config{})
	defer term.Close()
	job, err := term.Start(t.Context(), Request{Command: "sleep 1000", Ready: &Ready{Port: port}})
	require.ErrorIs(t, err, ErrNotStarted)
	assert.Nil(t, job)
	assert.Contains(t, err.Error(), "already")
	jobs, err := term.Jobs(t.Context(), "")
	require.NoError(t, err)
	assert.Empty(t, jobs)

	require.NoError(t, taken.Close())
	server := fmt.Sprintf("sleep 0.2; exec python3 -m http.server --bind 127.0.0.1 %d", port)
	job, err = term.Start(t.Context(), Request{Command: server, Ready: &Ready{Port: port}})
	require.NoError(t, err)
	conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
	require.NoError(t, err)
	conn.Close()
	require.NoError(t, job.Kill(t.Context()))

	res := decodeAnswer(t, term.Call(t.Context(), json.RawMessage(fmt.Sprintf(`{"command":"echo no; exit 4","background":true,"ready_port":%d}`, port))))
	assert.Equal(t, 4, res.ExitCode)
	assert.Equal(t, StatusError, res.Status)
	assert.Equal(t, "no\n", res.Output)
	assert.True(t, strings.Contains(res.Error, "ended"), res.Error)
}
