package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"

	mark3labs "github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	mark3labsmcp "github.com/mark3labs/mcp-go/mcp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// client is what the tests need of an MCP client library.
type client interface {
	tools(ctx context.Context) (names []string, err error)
	// call calls a tool; news, if it is not nil, gets the progress.
	call(ctx context.Context, tool string, args any, news func(progress float64, text string)) (result, error)
	close()
}

// result is a tool's answer, as JSON: the text's and the structured one.
type result struct {
	text, structured string
	isError          bool
}

// answered is a tool's answer as the tests look at it.
type answered struct {
	Output   string
	ExitCode int `json:"exit_code"`
	Error    *string
	Status   string
	JobID    string `json:"job_id"`
	isError  bool
}

// do calls a tool and takes the answer apart.
func do(t *testing.T, c client, tool string, args any) answered {
	t.Helper()
	a, err := try(t, t.Context(), c, tool, args, nil)
	require.NoError(t, err)
	return a
}

func try(t *testing.T, ctx context.Context, c client, tool string, args any, news func(float64, string)) (a answered, err error) {
	t.Helper()
	r, err := c.call(ctx, tool, args, news)
	if err != nil {
		return a, err
	}
	assert.JSONEq(t, r.text, r.structured)
	require.NoError(t, json.Unmarshal([]byte(r.text), &a))
	a.isError = r.isError
	assert.Equal(t, a.Error != nil, a.isError, "answer %s", r.text)
	return a, nil
}

// route is a way to a server: how a client library connects, over what.
type route struct {
	name    string
	connect func(t *testing.T, s site) client
	// droppable connects so that drop ends the connection without a word.
	droppable func(t *testing.T, s site) (c client, drop func())
}

// site is a configured server: one that runs at url, or one to be started with
// the same environment and flags for each client.
type site struct {
	url  string
	env  []string
	args []string
}

func (s site) command() *exec.Cmd {
	cmd := exec.Command(program, s.args...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Stderr = io.Discard
	return cmd
}

var routes = []route{
	{
		name: "sdk over stdio",
		connect: func(t *testing.T, s site) client {
			return newSDKClient(t, &mcp.CommandTransport{Command: s.command()})
		},
		droppable: func(t *testing.T, s site) (client, func()) {
			in, out, drop := startPiped(t, s)
			return newSDKClient(t, &mcp.IOTransport{Reader: in, Writer: out}), drop
		},
	},
	{
		name: "sdk over HTTP",
		connect: func(t *testing.T, s site) client {
			c, _ := dropSDKOverHTTP(t, s)
			return c
		},
		droppable: dropSDKOverHTTP,
	},
	{
		name: "mcp-go over stdio",
		connect: func(t *testing.T, s site) client {
			return newMark3labsClient(t, transport.NewStdio(program, s.env, s.args...))
		},
		droppable: func(t *testing.T, s site) (client, func()) {
			in, out, drop := startPiped(t, s)
			return newMark3labsClient(t, transport.NewIO(in, out, io.NopCloser(eof{}))), drop
		},
	},
	{
		name: "mcp-go over HTTP",
		connect: func(t *testing.T, s site) client {
			c, _ := dropMark3labsOverHTTP(t, s)
			return c
		},
		droppable: dropMark3labsOverHTTP,
	},
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// startPiped starts a server whose pipes are the test's own, to be torn.
func startPiped(t *testing.T, s site) (in io.ReadCloser, out io.WriteCloser, drop func()) {
	t.Helper()
	toServer, out, err := os.Pipe()
	require.NoError(t, err)
	in, fromServer, err := os.Pipe()
	require.NoError(t, err)
	p := start(t, toServer, fromServer, s.env, s.args...)
	_, _ = toServer.Close(), fromServer.Close()
	drop = sync.OnceFunc(func() {
		_, _ = in.Close(), out.Close()
		p.ended(t)
	})
	t.Cleanup(drop)
	return in, out, drop
}

// network is the client's side of HTTP.
type network struct {
	http.Client
	mu    sync.Mutex
	conns []net.Conn
	down  bool
}

// newNetwork returns a client of HTTP whose connections can be torn.
func newNetwork(t *testing.T) *network {
	n := &network{}
	var dialer net.Dialer
	transport := &http.Transport{DialContext: func(ctx context.Context, kind, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, kind, address)
		n.mu.Lock()
		defer n.mu.Unlock()
		if err == nil && n.down {
			_ = conn.Close()
			return nil, errors.New("the network is down")
		}
		n.conns = append(n.conns, conn)
		return conn, err
	}}
	n.Transport = transport
	t.Cleanup(transport.CloseIdleConnections)
	return n
}

func (n *network) drop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	for _, conn := range n.conns {
		if conn != nil {
			_ = conn.Close()
		}
	}
}

func dropSDKOverHTTP(t *testing.T, s site) (client, func()) {
	n := newNetwork(t)
	return newSDKClient(t, &mcp.StreamableClientTransport{Endpoint: s.url, HTTPClient: &n.Client, MaxRetries: -1}), n.drop
}

func dropMark3labsOverHTTP(t *testing.T, s site) (client, func()) {
	n := newNetwork(t)
	trans, err := transport.NewStreamableHTTP(s.url, transport.WithHTTPBasicClient(&n.Client))
	require.NoError(t, err)
	return newMark3labsClient(t, trans), n.drop
}

// sdkClient is the official SDK's.
type sdkClient struct {
	session *mcp.ClientSession
	calls   atomic.Int64
	news    sync.Map // of func(float64, string), by token
}

func newSDKClient(t *testing.T, trans mcp.Transport) client {
	t.Helper()
	c := &sdkClient{}
	sdk := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) {
			if news, ok := c.news.Load(fmt.Sprint(req.Params.ProgressToken)); ok {
				news.(func(float64, string))(req.Params.Progress, req.Params.Message)
			}
		},
	})
	var err error
	c.session, err = sdk.Connect(t.Context(), trans, nil)
	require.NoError(t, err)
	t.Cleanup(c.close)
	return c
}

func (c *sdkClient) tools(ctx context.Context) (names []string, err error) {
	list, err := c.session.ListTools(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	return names, nil
}

func (c *sdkClient) call(ctx context.Context, tool string, args any, news func(float64, string)) (r result, err error) {
	params := &mcp.CallToolParams{Name: tool, Arguments: args}
	if news != nil {
		token := fmt.Sprint("token ", c.calls.Add(1))
		c.news.Store(token, news)
		defer c.news.Delete(token)
		params.SetProgressToken(token)
	}
	res, err := c.session.CallTool(ctx, params)
	if err != nil {
		return r, err
	}
	structured, err := json.Marshal(res.StructuredContent)
	text, _ := res.Content[0].(*mcp.TextContent)
	return result{text.Text, string(structured), res.IsError}, err
}

func (c *sdkClient) close() { _ = c.session.Close() }

// mark3labsClient is that of an independent implementation.
type mark3labsClient struct {
	*mark3labs.Client
	calls atomic.Int64
	news  sync.Map
	done  sync.Once
}

func newMark3labsClient(t *testing.T, trans transport.Interface) client {
	t.Helper()
	c := &mark3labsClient{Client: mark3labs.NewClient(trans)}
	t.Cleanup(c.close)
	require.NoError(t, c.Start(context.WithoutCancel(t.Context())))
	c.OnNotification(func(n mark3labsmcp.JSONRPCNotification) {
		fields := n.Params.AdditionalFields
		if news, ok := c.news.Load(fmt.Sprint(fields["progressToken"])); ok && n.Method == "notifications/progress" {
			progress, _ := fields["progress"].(float64)
			text, _ := fields["message"].(string)
			news.(func(float64, string))(progress, text)
		}
	})
	var hello mark3labsmcp.InitializeRequest
	hello.Params.ClientInfo = mark3labsmcp.Implementation{Name: "test", Version: "1"}
	_, err := c.Initialize(t.Context(), hello)
	require.NoError(t, err)
	return c
}

func (c *mark3labsClient) tools(ctx context.Context) (names []string, err error) {
	list, err := c.ListTools(ctx, mark3labsmcp.ListToolsRequest{})
	if err != nil {
		return nil, err
	}
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	return names, nil
}

func (c *mark3labsClient) call(ctx context.Context, tool string, args any, news func(float64, string)) (r result, err error) {
	var req mark3labsmcp.CallToolRequest
	req.Params.Name, req.Params.Arguments = tool, args
	if news != nil {
		token := fmt.Sprint("token ", c.calls.Add(1))
		c.news.Store(token, news)
		defer c.news.Delete(token)
		req.Params.Meta = &mark3labsmcp.Meta{ProgressToken: token}
	}
	res, err := c.CallTool(ctx, req)
	if err != nil {
		return r, err
	}
	text, _ := res.Content[0].(mark3labsmcp.TextContent)
	structured, err := json.Marshal(res.StructuredContent)
	return result{text.Text, string(structured), res.IsError}, err
}

func (c *mark3labsClient) close() { c.done.Do(func() { _ = c.Close() }) }
