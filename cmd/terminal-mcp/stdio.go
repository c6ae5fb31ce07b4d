package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// maxMessage is how many bytes one message of a client may have, on both
// transports. A longer one is refused without being kept in memory.
const maxMessage = 16 << 20

// lingerLimit is how long the last answers may take when the client has closed
// its end, or the server was told to stop. It covers the end of a command that
// does not listen to TERM.
const lingerLimit = 5 * time.Second

// serveStdio serves the one session of a pipe until the client closes it, or
// ctx ends.
func (s *server) serveStdio(ctx context.Context, in io.ReadCloser, out io.Writer) error {
	replies := &output{w: out}
	messages := newMessages(in, replies)
	session, err := s.mcp.Connect(ctx, &mcp.IOTransport{
		Reader:        messages,
		Writer:        replies,
		MaxLineLength: -1, // messages has its own limit, after which it goes on
	}, nil)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := session.Wait(); err != nil && ctx.Err() == nil {
			s.log.Info("connection lost", "error", err)
		}
	}()
	select {
	case <-ended:
		return nil
	case <-messages.ended:
	case <-ctx.Done(): // the calls hang on it too
		go session.Close()
	}
	// An answer that nobody reads must not keep the process.
	select {
	case <-ended:
		return nil
	case <-time.After(lingerLimit):
		return errors.New("the client does not read its answers")
	}
}

// messages reads the client's lines and passes on those that are a message. It
// answers the others itself, because the SDK would end the session on them. It
// splits a batch into its messages in every protocol version.
type messages struct {
	in    io.ReadCloser
	lines *bufio.Reader
	out   io.Writer     // for answers to what is not passed on
	ended chan struct{} // closed at the end of the input
	ready []byte        // to be read
	err   error
}

func newMessages(in io.ReadCloser, out io.Writer) *messages {
	return &messages{in: in, lines: bufio.NewReaderSize(in, 64<<10), out: out, ended: make(chan struct{})}
}

// Read is called by one goroutine at a time.
func (m *messages) Read(p []byte) (int, error) {
	for len(m.ready) == 0 {
		if m.err != nil {
			return 0, m.err
		}
		var line []byte
		var whole bool
		if line, whole, m.err = readLine(m.lines, maxMessage); m.err != nil {
			close(m.ended)
		}
		if !whole {
			m.refuse(prefixID(line), jsonrpc.CodeInvalidRequest, fmt.Errorf("message is longer than %d bytes", maxMessage))
			continue
		}
		m.accept(line)
	}
	n := copy(p, m.ready)
	if m.ready = m.ready[n:]; len(m.ready) == 0 {
		m.ready = nil // a large one is not kept
	}
	return n, nil
}

func (m *messages) Close() error { return m.in.Close() }

func (m *messages) accept(line []byte) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return
	}
	if !json.Valid(line) { // also what is nested too deeply for a decoder's stack
		m.refuse(nil, jsonrpc.CodeParseError, errors.New("message is not valid JSON on one line"))
		return
	}
	batch := []json.RawMessage{line}
	if line[0] == '[' {
		_ = json.Unmarshal(line, &batch) // an array of anything fits
		if len(batch) == 0 {
			m.refuse(nil, jsonrpc.CodeInvalidRequest, errors.New("batch is empty"))
		}
	}
	for _, message := range batch {
		if _, err := jsonrpc.DecodeMessage(message); err != nil {
			m.refuse(prefixID(message), jsonrpc.CodeInvalidRequest, err)
			continue
		}
		m.ready = append(append(m.ready, message...), '\n')
	}
}

// refuse answers a line that could not be passed on. A write error is ignored:
// the SDK will meet it too.
func (m *messages) refuse(id json.RawMessage, code int, err error) {
	type problem struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	answer, err := json.Marshal(struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"` // null if it is not known
		Error   problem         `json:"error"`
	}{"2.0", id, problem{code, err.Error()}})
	if err == nil {
		_, _ = m.out.Write(append(answer, '\n'))
	}
}

// prefixID returns the id in a message's beginning, or nil if it has none.
func prefixID(message []byte) json.RawMessage {
	dec := json.NewDecoder(bytes.NewReader(message))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil
		}
		if name == "id" && (value[0] == '"' || value[0] == '-' || value[0] >= '0' && value[0] <= '9') {
			return value
		}
	}
	return nil
}

// prefixLength is the number of bytes kept of a line that is too long.
const prefixLength = 4 << 10

// readLine reads up to the end of a line, or of the input. Of a line longer
// than limit it returns the beginning, and whole is false.
func readLine(r *bufio.Reader, limit int) (line []byte, whole bool, err error) {
	for whole = true; ; {
		var part []byte
		part, err = r.ReadSlice('\n')
		switch {
		case !whole:
		case len(line)+len(part) > limit:
			whole = false
			line = bytes.Clone(append(line, part...)[:prefixLength])
		default:
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, whole, err
		}
	}
}

// output is the client's end, for which the SDK and messages take turns. Each
// Write is one whole line.
type output struct {
	mu sync.Mutex // held while a line is written, and for nothing else
	w  io.Writer
}

func (o *output) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(line)
}

// Close leaves the descriptor open: a file that reused its number would receive
// what is still being written.
func (o *output) Close() error { return nil }
