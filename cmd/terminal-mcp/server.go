package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/terminal-go/terminal"
)

// answerSchema describes what both tools answer.
const answerSchema = `{
	"type": "object",
	"properties": {
		"output": {"type": "string"},
		"exit_code": {"type": "integer"},
		"error": {"type": ["string", "null"]},
		"status": {"type": "string"},
		"omitted_chars": {"type": "integer"},
		"notice": {"type": "string"},
		"job_id": {"type": "string"},
		"log_path": {"type": "string"},
		"next_offset": {"type": "integer"}
	},
	"required": ["output", "exit_code", "error"]
}`

// server offers the tools of a Terminal to MCP clients, each session in an
// environment of its own.
type server struct {
	term  *terminal.Terminal
	log   *slog.Logger
	mcp   *mcp.Server
	named bool            // a client may have several environments, by task_id
	ctx   context.Context // all calls end with it

	// mu guards what follows. It is held for map operations only.
	mu       sync.Mutex
	sessions map[*mcp.ServerSession]*session
	posts    map[string]context.Context // HTTP requests under way, see front
}

// session holds a client's environments.
type session struct {
	task   string          // its environment; a secret of this process
	ctx    context.Context // its calls end with it
	end    context.CancelFunc
	closed chan struct{} // closed when its environments are

	mu    sync.Mutex // guards tasks
	tasks map[string]bool
}

// newServer returns a server whose calls end with ctx. versions are those of
// the protocol, none for all; named offers task_id.
func newServer(ctx context.Context, term *terminal.Terminal, log, sdkLog *slog.Logger, versions []string, named bool) *server {
	s := &server{
		term: term, log: log, named: named, ctx: ctx,
		sessions: make(map[*mcp.ServerSession]*session),
		posts:    make(map[string]context.Context),
	}
	s.mcp = mcp.NewServer(
		&mcp.Implementation{Name: "terminal-mcp", Title: "Terminal", Version: version()},
		&mcp.ServerOptions{
			Logger:                    sdkLog,
			Capabilities:              &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}},
			SupportedProtocolVersions: versions,
		},
	)
	for _, tool := range term.Tools() {
		if named {
			tool = tool.WithTaskID()
		}
		s.mcp.AddTool(&mcp.Tool{
			Name:         tool.Name,
			Description:  tool.Description,
			InputSchema:  tool.Schema,
			OutputSchema: json.RawMessage(answerSchema),
		}, func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return s.call(ctx, tool, req), nil
		})
	}
	s.mcp.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			// Known from its first message on, a session can be ended at any time.
			if ss, ok := req.GetSession().(*mcp.ServerSession); ok && method == "initialize" {
				s.session(ss)
			}
			return next(ctx, method, req)
		}
	})
	return s
}

// version is that of the module, where it was built as one.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return cmp.Or(info.Main.Version, "(devel)")
	}
	return "(devel)"
}

// session returns the client's session, creating it on its first call. Its
// environments are closed when it ends.
func (s *server) session(ss *mcp.ServerSession) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.sessions[ss]; known != nil {
		return known
	}
	// Not the session's id: that lets its bearer in, and tasks are logged.
	sess := &session{task: "mcp-" + strings.ToLower(rand.Text()), closed: make(chan struct{})}
	sess.tasks = map[string]bool{sess.task: true}
	sess.ctx, sess.end = context.WithCancel(s.ctx)
	s.sessions[ss] = sess
	go func() { // ends with the connection; Terminal.Close waits for what it closes
		_ = ss.Wait() // until the last call has returned
		s.close(ss, sess)
	}()
	s.log.Info("session began", "task", sess.task)
	return sess
}

// close closes the environments of a session that has ended.
func (s *server) close(ss *mcp.ServerSession, sess *session) {
	sess.end()
	var closing sync.WaitGroup
	for task := range sess.tasks {
		closing.Go(func() {
			if err := s.term.CloseTask(context.Background(), task); err != nil { // bounded by itself
				s.log.Warn("environment not closed", "task", task, "error", err)
			}
		})
	}
	closing.Wait()
	s.mu.Lock()
	delete(s.sessions, ss)
	s.mu.Unlock()
	close(sess.closed)
	s.log.Info("session ended", "task", sess.task)
}

// find returns the session with the id, or nil.
func (s *server) find(id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ss, sess := range s.sessions {
		if ss.ID() == id {
			return sess
		}
	}
	return nil
}

// call runs a tool in the session's environment. It ends early when the client
// cancels it or goes away, the session ends, or the server.
func (s *server) call(ctx context.Context, tool terminal.Tool, req *mcp.CallToolRequest) *mcp.CallToolResult {
	sess := s.session(req.Session)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, also := range []context.Context{sess.ctx, s.postOf(req)} {
		defer context.AfterFunc(also, cancel)()
	}
	task, args, err := s.choose(sess, req.Params.Arguments)
	if err != nil {
		return answer(refusal(err))
	}
	ctx = terminal.WithTask(ctx, task)
	if p := startProgress(ctx, req); p != nil {
		ctx = terminal.WithOutput(ctx, p)
		defer p.stop()
	}
	return answer(tool.Call(ctx, args))
}

// answer converts a tool's answer to a result. A command's non-zero exit code is
// no error of the tool.
func answer(data json.RawMessage) *mcp.CallToolResult {
	var outcome struct{ Error *string }
	err := json.Unmarshal(data, &outcome)
	return &mcp.CallToolResult{
		Content:           []mcp.Content{&mcp.TextContent{Text: string(data)}},
		StructuredContent: data,
		IsError:           err != nil || outcome.Error != nil,
	}
}

// refusal returns a result like the tools' for invalid arguments.
func refusal(err error) json.RawMessage {
	r := terminal.Result{ExitCode: -1, Error: err.Error(), Status: terminal.StatusError}
	data, _ := r.MarshalJSON() // strings and numbers
	return data
}

// choose returns the task of a call, and its arguments without task_id. The
// name that a client gives is one within its session.
func (s *server) choose(sess *session, args json.RawMessage) (task string, rest json.RawMessage, err error) {
	name, rest, err := cutTaskID(args)
	switch {
	case err != nil:
		return "", nil, err
	case name == "":
		return sess.task, rest, nil
	case !s.named:
		return "", nil, errors.New("task_id: each session has one environment here; leave it out")
	}
	task = sess.task + "/" + name
	sess.mu.Lock()
	defer sess.mu.Unlock()
	sess.tasks[task] = true
	return task, rest, nil
}

// cutTaskID takes task_id out of a call's arguments and leaves all else as it
// is, also what the tool will refuse.
func cutTaskID(args json.RawMessage) (name string, rest json.RawMessage, err error) {
	if !bytes.Contains(args, []byte("task")) && !bytes.ContainsRune(args, '\\') {
		return "", args, nil
	}
	dec := json.NewDecoder(bytes.NewReader(args))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return "", args, nil
	}
	found := false
	rest = json.RawMessage("{")
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return "", args, nil
		}
		key, ok := tok.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil || !ok {
			return "", args, nil
		}
		if key == "task_id" {
			var text *string // nil for null
			if err := json.Unmarshal(value, &text); err != nil {
				return "", nil, errors.New("task_id: must be a string")
			}
			if found {
				return "", nil, fmt.Errorf("arguments: field %q is there twice", key)
			}
			if found = true; text != nil {
				name = *text
			}
			continue
		}
		if len(rest) > 1 {
			rest = append(rest, ',')
		}
		quoted, _ := json.Marshal(key) // a string
		rest = append(append(append(rest, quoted...), ':'), value...)
	}
	if !found {
		return "", args, nil
	}
	if _, err := dec.Token(); err != nil {
		return "", args, nil
	}
	return name, append(append(rest, '}'), args[dec.InputOffset():]...), nil
}
