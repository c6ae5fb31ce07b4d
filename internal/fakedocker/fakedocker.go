// Package fakedocker is a proxy for a Docker Engine that injects failures. It
// listens on a unix socket, forwards requests to a real Engine, hijacked streams
// included, and applies rules to them: errors, delays, lost responses, broken
// streams, a daemon that hangs or is down. Without an upstream it answers only
// a client's first requests.
package fakedocker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Rule describes what happens to the requests it matches. The paths it sees have no
// version prefix: /containers/create, /exec/0123…/start.
type Rule struct {
	Method     string // empty: any
	PathRegexp string // unanchored; empty: any
	Times      int    // how many requests it applies to; 0: all

	// Delay passes before anything else happens.
	Delay time.Duration
	// Drop closes the connection in place of an answer; the Engine does not
	// get the request.
	Drop bool
	// DropAnswer closes the connection in place of an answer; the Engine has
	// done what it was asked to.
	DropAnswer bool
	// Status answers with Body; the Engine does not get the request. With 101
	// Body is what the hijacked stream carries to the client, and the stream
	// is then held until the client leaves.
	Status int
	Body   string

	// These change the Engine's answer, or the rule's own.
	Header  map[string]string        // set in it
	Rewrite func(body []byte) []byte // not for hijacked streams
	// DropAfterBytes breaks the connection once so many bytes of the stream,
	// or of the answer's body, have gone to the client. 0: never.
	DropAfterBytes int64
	// DropAfterSent breaks a hijacked stream once so many bytes of it have
	// come from the client. 0: never.
	DropAfterSent int64
}

type rule struct {
	Rule
	path *regexp.Regexp
	left int // requests it still applies to; <0: all
}

// Daemon is the fake. Its methods may be called from any goroutine.
type Daemon struct {
	t        testing.TB
	dir      string
	upstream *url.URL // nil: none
	proxy    *httputil.ReverseProxy

	mu      sync.Mutex
	rules   []*rule // the newest first
	counts  []request
	streams map[*hijacked]struct{}
	serving *service      // nil: stopped
	stall   chan struct{} // closed on Resume; nil: not stalled
	closed  bool
}

// service is a Daemon between Resume and Stop.
type service struct {
	server *http.Server
	cancel func()         // ends its requests
	work   sync.WaitGroup // its requests and itself
}

type request struct {
	method, path string
	header       http.Header
}

// hijacked is an open hijacked stream.
type hijacked struct {
	path string
	cut  func() // the client knows when it returns
}

// New starts a Daemon that ends with the test. upstream is the host of a real
// Engine, as DOCKER_HOST has it (unix:// or tcp://), or empty.
func New(t testing.TB, upstream string) *Daemon {
	t.Helper()
	// Not t.TempDir: the path of a socket may have 100 characters.
	dir, err := os.MkdirTemp("", "fakedocker") //nolint:usetesting // a socket's path must be short, see unix(7)
	require.NoError(t, err)
	d := &Daemon{t: t, dir: dir, streams: make(map[*hijacked]struct{})}
	t.Cleanup(d.Close)
	if upstream != "" {
		d.upstream, err = url.Parse(upstream)
		require.NoError(t, err)
	}
	d.proxy = &httputil.ReverseProxy{
		Rewrite:        func(pr *httputil.ProxyRequest) { d.rewriteRequest(pr) },
		Transport:      d.transport(),
		FlushInterval:  -1,
		ModifyResponse: d.modify,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	d.Resume()
	return d
}

// Host returns the address for DOCKER_HOST: unix:///….
func (d *Daemon) Host() string { return "unix://" + d.socket() }

func (d *Daemon) socket() string { return filepath.Join(d.dir, "docker.sock") }

// Fault adds a rule. Where several match, the newest one alone applies. A bad
// expression panics.
func (d *Daemon) Fault(r Rule) (remove func()) {
	added := &rule{Rule: r, path: regexp.MustCompile(r.PathRegexp), left: r.Times}
	if r.Times == 0 {
		added.left = -1
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rules = append([]*rule{added}, d.rules...)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		added.left = 0
	}
}

// Count returns the number of requests for the path; * in it stands for one
// part: /exec/*/start. Requests that a rule answered or dropped count too.
func (d *Daemon) Count(method, pattern string) int { return len(d.Headers(method, pattern)) }

// Headers returns the headers of the requests that Count counts.
func (d *Daemon) Headers(method, pattern string) (all []http.Header) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, req := range d.counts {
		if ok, _ := path.Match(pattern, req.path); ok && req.method == method {
			all = append(all, req.header)
		}
	}
	return all
}

// Break breaks the hijacked streams under way for the path, which is as in
// Count, and returns how many.
func (d *Daemon) Break(pattern string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for h := range d.streams {
		if ok, _ := path.Match(pattern, h.path); ok {
			h.cut()
			n++
		}
	}
	return n
}

// Stall makes the daemon hang until Resume: it accepts connections but forwards
// no byte in either direction.
func (d *Daemon) Stall() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stall == nil {
		d.stall = make(chan struct{})
	}
}

// Stop closes all connections and removes the socket. It returns when no handler
// runs. The Engine continues what it was asked to do, as containers do during a
// restart of their daemon.
func (d *Daemon) Stop() {
	d.mu.Lock()
	s := d.serving
	d.serving = nil
	d.mu.Unlock()
	if s != nil {
		s.cancel()
		_ = s.server.Close()
		s.work.Wait()
	}
}

// Resume ends Stall and Stop.
func (d *Daemon) Resume() {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stall != nil {
		close(d.stall)
		d.stall = nil
	}
	if d.serving != nil || d.closed {
		return
	}
	listener, err := net.Listen("unix", d.socket())
	require.NoError(d.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	s := &service{cancel: cancel}
	s.server = &http.Server{
		Handler:     http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.serve(s, w, r) }),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(io.Discard, "", 0),
	}
	s.work.Go(func() { _ = s.server.Serve(listener) })
	d.serving = s
}

// Close stops the daemon and waits for its handlers. A second call does nothing.
func (d *Daemon) Close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.Stop()
	_ = os.RemoveAll(d.dir)
}

// enter registers a request; it fails after Stop.
func (d *Daemon) enter(s *service) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.serving != s {
		return false
	}
	s.work.Add(1)
	return true
}

// match counts the request and returns the rule for it, or an empty one.
func (d *Daemon) match(method, path string, header http.Header) Rule {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts = append(d.counts, request{method, path, header.Clone()})
	for _, r := range d.rules {
		if r.left == 0 || r.Method != "" && r.Method != method || !r.path.MatchString(path) {
			continue
		}
		if r.left > 0 {
			r.left--
		}
		return r.Rule
	}
	return Rule{}
}

// flows waits until bytes may flow and reports false if ctx is done first.
func (d *Daemon) flows(ctx context.Context) bool {
	for {
		d.mu.Lock()
		stall := d.stall
		d.mu.Unlock()
		if stall == nil {
			return ctx.Err() == nil
		}
		select {
		case <-stall:
		case <-ctx.Done():
			return false
		}
	}
}

var version = regexp.MustCompile(`^/v[0-9.]+/`)

func unversioned(r *http.Request) string { return version.ReplaceAllString(r.URL.Path, "/") }

type ruleKey struct{}

// serve answers a request, or breaks its connection by a panic that net/http
// has for this.
func (d *Daemon) serve(s *service, w http.ResponseWriter, r *http.Request) {
	if !d.enter(s) {
		panic(http.ErrAbortHandler)
	}
	defer s.work.Done()
	rule := d.match(r.Method, unversioned(r), r.Header)
	if rule.Delay > 0 {
		select {
		case <-time.After(rule.Delay):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	if rule.Drop || !d.flows(r.Context()) {
		panic(http.ErrAbortHandler)
	}
	if r.Header.Get("Upgrade") != "" {
		if rule.Status == http.StatusSwitchingProtocols || rule.Status == 0 && d.upstream != nil {
			d.hijack(w, r, rule)
			return
		}
		r.Header.Del("Upgrade")
	}
	d.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), ruleKey{}, rule)))
}

func (d *Daemon) rewriteRequest(pr *httputil.ProxyRequest) {
	pr.Out.URL.Scheme, pr.Out.URL.Host = "http", "docker"
	pr.Out.Header.Del("Accept-Encoding") // Rewrite is to see plain text
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// transport returns the response of the rule, else of the Engine, else a default.
func (d *Daemon) transport() http.RoundTripper {
	engine := &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return d.dial(ctx) },
		DisableKeepAlives:  true, // no idle connection stays for the next test
		DisableCompression: true,
	}
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		rule := r.Context().Value(ruleKey{}).(Rule)
		switch {
		case rule.Status != 0:
			return answer(r, rule.Status, rule.Body), nil
		case d.upstream != nil:
			return engine.RoundTrip(r)
		}
		switch unversioned(r) {
		case "/_ping":
			return answer(r, http.StatusOK, "OK"), nil
		case "/version":
			return answer(r, http.StatusOK, `{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux","Arch":"amd64"}`), nil
		}
		return answer(r, http.StatusNotImplemented, fmt.Sprintf(`{"message":"no rule for %s %s"}`, r.Method, r.URL.Path)), nil
	})
}

func answer(r *http.Request, status int, body string) *http.Response {
	resp := &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{
			"Api-Version":  {"1.41"},
			"Ostype":       {"linux"},
			"Content-Type": {"application/json"},
		},
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
	}
	if r.Method == http.MethodHead {
		resp.Body = http.NoBody
	}
	return resp
}

// modify applies the rule to a response. An error drops the connection.
func (d *Daemon) modify(resp *http.Response) error {
	ctx := resp.Request.Context()
	rule := ctx.Value(ruleKey{}).(Rule)
	if rule.DropAnswer || !d.flows(ctx) {
		return errDropped
	}
	for key, value := range rule.Header {
		resp.Header.Set(key, value)
	}
	if rule.Rewrite != nil {
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		body = rule.Rewrite(body)
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{d.flow(ctx, resp.Body, rule.DropAfterBytes), resp.Body}
	return nil
}

var errDropped = errors.New("dropped by a rule")

// flow reads one direction of one connection, as far as the Daemon lets it.
type flow struct {
	d    *Daemon
	ctx  context.Context
	src  io.Reader
	left int64 // bytes until it breaks; <0: never
}

func (d *Daemon) flow(ctx context.Context, src io.Reader, dropAfter int64) *flow {
	if dropAfter == 0 {
		dropAfter = -1
	}
	return &flow{d, ctx, src, dropAfter}
}

func (f *flow) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, errDropped
	}
	if f.left > 0 {
		p = p[:min(int64(len(p)), f.left)]
	}
	n, err := f.src.Read(p)
	if !f.d.flows(f.ctx) {
		return 0, errDropped
	}
	if f.left > 0 {
		f.left -= int64(n)
	}
	return n, err
}

// hijack forwards a request for a byte stream, and then the bytes.
func (d *Daemon) hijack(w http.ResponseWriter, r *http.Request, rule Rule) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	resp := answer(r, http.StatusSwitchingProtocols, "")
	resp.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"tcp"}, "Content-Type": {"application/vnd.docker.raw-stream"}}
	var fromEngine io.Reader = strings.NewReader(rule.Body)
	var engine net.Conn // nil: the rule is the engine
	if rule.Status == 0 {
		var err error
		if engine, err = d.dial(ctx); err != nil {
			panic(http.ErrAbortHandler)
		}
		context.AfterFunc(ctx, func() { _ = engine.Close() })
		if err := r.Write(engine); err != nil {
			panic(http.ErrAbortHandler)
		}
		reader := bufio.NewReader(engine)
		if resp, err = http.ReadResponse(reader, r); err != nil {
			panic(http.ErrAbortHandler)
		}
		fromEngine = reader
	}
	// Old Engines and old requests stream after 200, without a length.
	stream := resp.StatusCode == http.StatusSwitchingProtocols ||
		resp.StatusCode == http.StatusOK && resp.ContentLength < 0 && len(resp.TransferEncoding) == 0
	if !stream {
		d.refused(w, resp, rule)
		return
	}
	if rule.DropAnswer || !d.flows(ctx) {
		panic(http.ErrAbortHandler)
	}
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	context.AfterFunc(ctx, func() { _ = client.Close() })
	h := &hijacked{unversioned(r), func() {
		half := client.(*net.UnixConn) // Close would leave it to a Read that is under way
		_, _ = half.CloseRead(), half.CloseWrite()
		cancel()
	}}
	d.mu.Lock()
	d.streams[h] = struct{}{}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.streams, h)
	}()
	for key, value := range rule.Header {
		resp.Header.Set(key, value)
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "HTTP/1.1 %d UPGRADED\r\n", resp.StatusCode)
	_ = resp.Header.Write(&head)
	head.WriteString("\r\n")
	if _, err := client.Write(head.Bytes()); err != nil {
		return
	}

	// The reader of net/http would take the end of the client's half for the
	// end of the request, and cancel ctx.
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	fromClient := io.MultiReader(bytes.NewReader(early), client)

	var in sync.WaitGroup
	defer in.Wait()
	defer cancel()
	in.Go(func() {
		src := d.flow(ctx, fromClient, rule.DropAfterSent)
		if engine == nil {
			_, _ = io.Copy(io.Discard, src)
			return
		}
		// The end of the client's half is passed on; so is that of its whole,
		// since the Engine cannot tell them apart either.
		if _, err := io.Copy(engine, src); err == nil {
			_ = engine.(interface{ CloseWrite() error }).CloseWrite()
		} else if errors.Is(err, errDropped) {
			cancel()
		}
	})
	_, err = io.Copy(client, d.flow(ctx, fromEngine, rule.DropAfterBytes))
	if engine == nil && err == nil {
		in.Wait()
	}
}

// refused forwards an ordinary response to a request for a stream.
func (d *Daemon) refused(w http.ResponseWriter, resp *http.Response, rule Rule) {
	resp.Request = resp.Request.WithContext(context.WithValue(resp.Request.Context(), ruleKey{}, rule))
	if err := d.modify(resp); err != nil {
		panic(http.ErrAbortHandler)
	}
	resp.Header.Del("Connection")
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (d *Daemon) dial(ctx context.Context) (net.Conn, error) {
	address := d.upstream.Host
	if d.upstream.Scheme == "unix" {
		address = d.upstream.Path
	}
	return new(net.Dialer).DialContext(ctx, d.upstream.Scheme, address)
}
