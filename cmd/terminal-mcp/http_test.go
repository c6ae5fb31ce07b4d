package main

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const secret = "a token of some length"

// request sends one to the server and returns the status, the session and the
// body.
func request(t *testing.T, method, url, body string, headers ...string) (status int, session, answer string) {
	t.Helper()
	var r io.Reader // so that its length is not told
	if body != "" {
		r = io.MultiReader(strings.NewReader(body))
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, r)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := (&http.Client{Timeout: 90 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, res.Header.Get("Mcp-Session-Id"), string(data)
}

func TestHTTPInvalidRequests(t *testing.T) {
	t.Parallel()
	open, p := startHTTP(t, nil)
	guarded, _ := startHTTP(t, []string{tokenVariable + "=" + secret})
	_, session, _ := request(t, http.MethodPost, open, initialize)
	require.NotEmpty(t, session)
	before := p.peakMiB(t)
	t.Run("what", func(t *testing.T) {
		for name, c := range map[string]struct {
			method, url, body string
			headers           []string
			status            int
		}{
			"nothing":                        {"POST", open, initialize, nil, 200},
			"nothing of a page of its own":   {"POST", open, initialize, []string{"Origin", strings.TrimSuffix(open, endpoint)}, 200},
			"a page of another site":         {"POST", open, initialize, []string{"Origin", "http://evil.example"}, 403},
			"a page in a sandbox":            {"POST", open, initialize, []string{"Origin", "null"}, 403},
			"a page that only looks":         {"GET", open, "", []string{"Origin", "http://evil.example", "Mcp-Session-Id", session}, 403},
			"a name that was led here":       {"POST", open, initialize, []string{"Host", "evil.example", "Origin", "http://evil.example"}, 403},
			"a missing token":                {"POST", guarded, initialize, nil, 401},
			"a wrong token":                  {"POST", guarded, initialize, []string{"Authorization", "Bearer " + secret + "."}, 401},
			"a token of another kind":        {"POST", guarded, initialize, []string{"Authorization", "Basic " + secret}, 401},
			"no right token":                 {"POST", guarded, initialize, []string{"Authorization", "bearer " + secret}, 200},
			"another path":                   {"POST", strings.TrimSuffix(open, endpoint), initialize, nil, 404},
			"an unknown session":             {"POST", open, callLine(1, "terminal", object{"command": "true"}), []string{"Mcp-Session-Id", "x"}, 404},
			"the end of an unknown session":  {"DELETE", open, "", []string{"Mcp-Session-Id", "x"}, 404},
			"garbage":                        {"POST", open, "garbage", []string{"Mcp-Session-Id", session}, 400},
			"a message cut off":              {"POST", open, initialize[:40], []string{"Mcp-Session-Id", session}, 400},
			"an empty body":                  {"POST", open, "", []string{"Mcp-Session-Id", session}, 400},
			"an unknown method":              {"POST", open, `{"jsonrpc":"2.0","id":1,"method":"no/such"}`, []string{"Mcp-Session-Id", session}, 400},
			"what is nested too deeply":      {"POST", open, strings.Repeat("[", 10_000_000), []string{"Mcp-Session-Id", session}, 400},
			"what is too long":               {"POST", open, strings.Repeat(" ", 100<<20) + initialize, []string{"Mcp-Session-Id", session}, 413},
			"a long message without session": {"POST", open, strings.Repeat(" ", 100<<20) + initialize, nil, 413},
		} {
			t.Run(name, func(t *testing.T) {
				status, _, body := request(t, c.method, c.url, c.body, c.headers...)
				assert.Equal(t, c.status, status, "%s", body)
			})
		}
	})
	assertPeak(t, p, before)
	status, _, body := request(t, http.MethodPost, open, callLine(1, "terminal", object{"command": "echo still here"}), "Mcp-Session-Id", session)
	assert.Equal(t, 200, status)
	assert.Contains(t, body, "still here")
}

func TestHTTPUnknownToolProtocolError(t *testing.T) {
	t.Parallel()
	url, _ := startHTTP(t, nil)
	_, session, _ := request(t, http.MethodPost, url, initialize)
	_, _, body := request(t, http.MethodPost, url, callLine(1, "nonesuch", nil), "Mcp-Session-Id", session)
	assert.Contains(t, body, "-32602")
}

// The SDK lets a session's calls go on when the session is to end.
func TestHTTPDeleteEndsCommandAndJob(t *testing.T) {
	t.Parallel()
	url, _ := startHTTP(t, nil)
	_, session, _ := request(t, http.MethodPost, url, initialize)
	command, word := sleeper()
	job, other := sleeper()
	request(t, http.MethodPost, url, callLine(1, "terminal", object{"command": job, "background": true}), "Mcp-Session-Id", session)
	requireRunning(t, other)
	done := make(chan struct{})
	go func() {
		defer close(done)
		request(t, http.MethodPost, url, callLine(2, "terminal", object{"command": command}), "Mcp-Session-Id", session)
	}()
	requireRunning(t, word)
	began := time.Now()
	status, _, _ := request(t, http.MethodDelete, url, "", "Mcp-Session-Id", session)
	assert.Equal(t, 204, status)
	assert.Less(t, time.Since(began), 20*time.Second, "the command went on to its limit")
	assert.Empty(t, running(t, word))
	assert.Empty(t, running(t, other))
	<-done
	status, _, _ = request(t, http.MethodPost, url, callLine(3, "terminal", object{"command": "true"}), "Mcp-Session-Id", session)
	assert.Equal(t, 404, status)
}

func TestHTTPIdleSessionEnds(t *testing.T) {
	t.Parallel()
	url, _ := startHTTP(t, nil, "-session-timeout", "500ms")
	_, session, _ := request(t, http.MethodPost, url, initialize)
	sleep, word := sleeper()
	request(t, http.MethodPost, url, callLine(1, "terminal", object{"command": sleep, "background": true}), "Mcp-Session-Id", session)
	requireGone(t, word)
	require.Eventually(t, func() bool {
		status, _, _ := request(t, http.MethodDelete, url, "", "Mcp-Session-Id", session)
		return status == 404
	}, 10*time.Second, 20*time.Millisecond)
}

func TestHTTPSignalEndsCommandsAndJobs(t *testing.T) {
	t.Parallel()
	url, p := startHTTP(t, nil)
	_, session, _ := request(t, http.MethodPost, url, initialize)
	command, word := sleeper()
	job, other := sleeper()
	request(t, http.MethodPost, url, callLine(1, "terminal", object{"command": job, "background": true}), "Mcp-Session-Id", session)
	done := make(chan struct{})
	go func() {
		defer close(done)
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(callLine(2, "terminal", object{"command": command})))
		req.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"*/*"}, "Mcp-Session-Id": {session}}
		if res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	}()
	requireRunning(t, word)
	requireRunning(t, other)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	p.ended(t)
	assert.Empty(t, running(t, word))
	assert.Empty(t, running(t, other))
	<-done
}

func TestHTTPAddressWithoutToken(t *testing.T) {
	for address, ok := range map[string]bool{
		"127.0.0.1:80": true, "[::1]:80": true, "localhost:80": true, "127.9.9.9:0": true,
		":80": false, "0.0.0.0:80": false, "[::]:80": false, "192.0.2.1:80": false, "example.org:80": false, "127.0.0.1.example.org:80": false,
		"localhost": false, "": false,
	} {
		assert.Equal(t, ok, checkAddress(address, "") == nil, address)
	}
	assert.NoError(t, checkAddress(":80", secret))
}
