package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wire is a client without a library: lines in, lines out.
type wire struct {
	*process
	in  io.WriteCloser
	out *bufio.Scanner
}

// message is what a server may write.
type message struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string
	Result  json.RawMessage
	Error   *struct {
		Code    int
		Message string
	}
}

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`

func newWire(t *testing.T, env []string, args ...string) *wire {
	t.Helper()
	toServer, in, err := os.Pipe()
	require.NoError(t, err)
	out, fromServer, err := os.Pipe()
	require.NoError(t, err)
	w := &wire{process: start(t, toServer, fromServer, env, args...), in: in, out: lines(out)}
	_, _ = toServer.Close(), fromServer.Close()
	t.Cleanup(func() { _, _ = in.Close(), out.Close() }) // before the process is waited for
	w.send(t, initialize)
	assert.Equal(t, "0", string(w.read(t).ID))
	w.send(t, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return w
}

func (w *wire) send(t *testing.T, line string) {
	t.Helper()
	_, err := io.WriteString(w.in, line+"\n")
	require.NoError(t, err)
}

func callLine(id int, tool string, args object) string {
	line, _ := json.Marshal(object{"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": object{
		"name": tool, "arguments": args, "_meta": object{"progressToken": id},
	}})
	return string(line)
}

// read returns the next line, which must be a message of the protocol.
func (w *wire) read(t *testing.T) (m message) {
	t.Helper()
	require.True(t, w.out.Scan(), "no more output: %v; stderr:\n%s", w.out.Err(), w.stderr)
	require.NoError(t, json.Unmarshal(w.out.Bytes(), &m), "%q", w.out.Text())
	require.Equal(t, "2.0", m.Version, "%q", w.out.Text())
	return m
}

// answer skips notifications.
func (w *wire) answer(t *testing.T) message {
	t.Helper()
	for {
		if m := w.read(t); m.Method == "" {
			return m
		}
	}
}

func TestStdioStdoutProtocolOnly(t *testing.T) {
	t.Parallel()
	w := newWire(t, []string{"TERMINAL_CWD=" + t.TempDir()}, "-v")
	for id, args := range []object{
		{"command": "echo out; echo err >&2; echo tty >/dev/tty"},
		{"command": "echo up; sleep 0.2; echo down >/proc/$PPID/fd/1; false"}, // $PPID is the server
		{"command": "exit 7", "background": true},
		{"command": "true", "unknown": 1},
		{"command": "sleep 60", "timeout": 0.2},
	} {
		w.send(t, callLine(id+1, "terminal", args))
		if strings.Contains(args["command"].(string), "PPID") {
			// A command can write wherever it may on this machine; that is its own
			// doing, and shows here that such a line would be noticed.
			var stray bool
			for w.out.Scan() {
				stray = stray || w.out.Text() == "down"
				if strings.Contains(w.out.Text(), `"id":2`) {
					break
				}
			}
			assert.True(t, stray)
			continue
		}
		assert.Equal(t, strconv.Itoa(id+1), string(w.answer(t).ID))
	}
	w.send(t, "garbage")
	assert.NotNil(t, w.answer(t).Error)
	require.NoError(t, w.in.Close())
	for w.out.Scan() {
		t.Errorf("after the end: %q", w.out.Text())
	}
	assert.Contains(t, w.stderr.String(), "level=DEBUG", "the log is on stderr")
}

func TestStdioInvalidMessage(t *testing.T) {
	t.Parallel()
	w := newWire(t, nil)
	ping := func(id int) string { return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"ping"}`, id) }
	for name, c := range map[string]struct {
		line string
		id   string
		code int
	}{
		"no JSON":              {"garbage", "null", -32700},
		"cut off":              {`{"jsonrpc":"2.0","id":1,`, "null", -32700},
		"nested too deeply":    {strings.Repeat("[", 1_000_000), "null", -32700},
		"no message":           {`{}`, "null", -32600},
		"a number":             {`42`, "null", -32600},
		"another version":      {`{"jsonrpc":"1.0","id":2,"method":"ping"}`, "2", -32600},
		"an id that is none":   {`{"jsonrpc":"2.0","id":{},"method":"ping"}`, "null", -32600},
		"an empty batch":       {`[]`, "null", -32600},
		"a batch of something": {`[7]`, "null", -32600},
		"an unknown method":    {`{"jsonrpc":"2.0","id":"x","method":"no/such","params":{}}`, `"x"`, -32601},
		"parameters missing":   {`{"jsonrpc":"2.0","id":3,"method":"tools/call"}`, "3", -32600},
		"an unknown tool":      {callLine(4, "nonesuch", nil), "4", -32602},
		"parameters wrong":     {`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":[1]}`, "5", -32602},
		"initialized twice":    {initialize, "0", 0},
	} {
		w.send(t, c.line)
		m := w.answer(t)
		if assert.NotNil(t, m.Error, name) {
			assert.Equal(t, c.id, string(m.ID), name)
			assert.Equal(t, c.code, m.Error.Code, name)
		}
	}
	w.send(t, "[ "+ping(10)+" , "+ping(11)+"]\r\n\r\n")
	assert.ElementsMatch(t, []string{"10", "11"}, []string{string(w.answer(t).ID), string(w.answer(t).ID)})
}

var peak = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peakMiB is how much memory the server has had at most.
func (p *process) peakMiB(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skip("no /proc to look at the server's memory in")
	}
	found := peak.FindSubmatch(status)
	require.NotNil(t, found)
	kib, err := strconv.Atoi(string(found[1]))
	require.NoError(t, err)
	return kib >> 10
}

// assertPeak allows for some copies of the longest message, but not for one of
// 100 MiB. The race detector has memory of its own.
func assertPeak(t *testing.T, p *process, before int) {
	t.Helper()
	if !raced {
		assert.Less(t, p.peakMiB(t), before+90, "MiB")
	}
}

func TestStdioHugeMessageMemoryBounded(t *testing.T) {
	t.Parallel()
	w := newWire(t, nil)
	before := w.peakMiB(t)
	go func() {
		_, _ = io.WriteString(w.in, `{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"terminal","arguments":{"command":"`)
		chunk := strings.Repeat("x", 1<<20)
		for range 100 {
			_, _ = io.WriteString(w.in, chunk)
		}
		_, _ = io.WriteString(w.in, `"}}}`+"\n"+callLine(10, "terminal", object{"command": "echo on"})+"\n")
	}()
	m := w.answer(t)
	require.NotNil(t, m.Error)
	assert.Equal(t, "9", string(m.ID))
	assert.Contains(t, m.Error.Message, "longer than 16777216 bytes")
	m = w.answer(t)
	assert.Equal(t, "10", string(m.ID))
	assert.Contains(t, string(m.Result), "on")
	assertPeak(t, w.process, before)
}

func TestStdioEOFEndsCommand(t *testing.T) {
	t.Parallel()
	w := newWire(t, nil)
	sleep, word := sleeper()
	w.send(t, callLine(1, "terminal", object{"command": "echo on; " + sleep}))
	requireRunning(t, word)
	require.NoError(t, w.in.Close())
	w.ended(t)
	assert.Empty(t, running(t, word))
}

// A write to a pipe that nobody reads any more is a signal that would end the
// process before its commands.
func TestStdioBrokenOutputEndsCommand(t *testing.T) {
	t.Parallel()
	toServer, in, err := os.Pipe()
	require.NoError(t, err)
	out, fromServer, err := os.Pipe()
	require.NoError(t, err)
	p := start(t, toServer, fromServer, nil)
	_, _ = toServer.Close(), fromServer.Close()
	w := &wire{process: p, in: in, out: lines(out)}
	defer in.Close()
	w.send(t, initialize)
	w.read(t)
	sleep, word := sleeper()
	w.send(t, callLine(1, "terminal", object{"command": sleep + " & while :; do echo busy; sleep 0.05; done"}))
	requireRunning(t, word)
	require.NoError(t, out.Close())
	requireGone(t, word)
	w.ended(t) // nothing can be served any more
}

func TestStdioSignalEndsCommandsAndJobs(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			w := newWire(t, nil)
			command, deaf := sleeper()
			job, word := sleeper()
			w.send(t, callLine(1, "terminal", object{"command": job, "background": true}))
			w.answer(t)
			w.send(t, callLine(2, "terminal", object{"command": "trap '' TERM; " + command + "; " + command}))
			requireRunning(t, deaf)
			require.NoError(t, w.cmd.Process.Signal(signal))
			w.ended(t)
			assert.Empty(t, running(t, deaf))
			assert.Empty(t, running(t, word))
		})
	}
}

// A client that does not read must neither hold up a command nor keep the
// server from ending.
func TestStdioUnreadResponsesNonBlocking(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds: the server gives the client a last chance")
	}
	t.Parallel()
	for name, end := range map[string]func(w *wire){
		"signal":       func(w *wire) { _ = w.cmd.Process.Signal(syscall.SIGTERM) },
		"end of input": func(w *wire) { _ = w.in.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testUnread(t, end)
		})
	}
}

func testUnread(t *testing.T, end func(w *wire)) {
	toServer, in, err := os.Pipe()
	require.NoError(t, err)
	out, fromServer, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	defer in.Close()
	p := launch(t, toServer, fromServer, nil) // it will complain, and exit with 1
	_, _ = toServer.Close(), fromServer.Close()
	w := &wire{process: p, in: in, out: lines(out)}
	w.send(t, initialize)
	w.read(t)
	for id := range 40 { // more than a pipe takes
		w.send(t, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/list"}`, 100+id))
	}
	done := filepath.Join(t.TempDir(), "done")
	sleep, word := sleeper()
	w.send(t, callLine(1, "terminal", object{"command": "head -c 10000000 /dev/zero; touch '" + done + "'; " + sleep}))
	require.Eventually(t, func() bool {
		_, err := os.Stat(done)
		return err == nil
	}, 10*time.Second, 10*time.Millisecond, "the command is held up")
	requireRunning(t, word)
	end(w)
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		t.Error("the server does not end")
	}
	assert.Empty(t, running(t, word))
}
