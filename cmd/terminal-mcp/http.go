package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// endpoint is the path of the MCP endpoint.
const endpoint = "/mcp"

// shutdownLimit is how long answers under way may take when the server stops.
const shutdownLimit = 5 * time.Second

// postHeader names an HTTP request to the tool calls in it: of the request, the
// SDK shows them only the header.
const postHeader = "Terminal-Mcp-Post"

// sessionless is the first version of the protocol that has no sessions over
// HTTP, and so nothing that an environment could belong to. It is not offered
// there: clients then take the version before.
const sessionless = "2026-07-28"

func versionsWithSessions() []string {
	return slices.DeleteFunc(mcp.SupportedProtocolVersions(), func(v string) bool { return v >= sessionless })
}

// front is the HTTP side of a server. It ends the commands of a client that
// went away: sessions outlive their connections, but the answer to a dropped
// request could never be delivered, because streams are not resumable here.
type front struct {
	server *server
	next   http.Handler
	token  string // that a client must bear; "" if none
}

// newFront returns the handler of the endpoint. A session without requests
// ends after idle.
func newFront(s *server, sdkLog *slog.Logger, token string, idle time.Duration) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(endpoint, &front{server: s, token: token, next: mcp.NewStreamableHTTPHandler(
		func(*http.Request) *mcp.Server { return s.mcp },
		&mcp.StreamableHTTPOptions{Logger: sdkLog, SessionTimeout: idle, MaxRequestBodyBytes: maxMessage},
	)})
	return mux
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A page of another site, in the browser of somebody here, must not reach
	// the server; where no token is asked for, the SDK also wants a Host that
	// is this machine, lest that site's name has been made to lead here.
	if !sameOrigin(r) {
		http.Error(w, "Forbidden: invalid Origin header", http.StatusForbidden)
		return
	}
	if !f.admits(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "Unauthorized: bearer token missing or wrong", http.StatusUnauthorized)
		return
	}
	switch r.Method {
	case http.MethodPost:
		id := rand.Text()
		r = r.Clone(r.Context())
		r.Header.Set(postHeader, id)
		f.server.beginPost(id, r.Context())
		defer f.server.endPost(id)
		f.next.ServeHTTP(w, r)
	case http.MethodDelete:
		sess := f.server.find(r.Header.Get("Mcp-Session-Id"))
		if sess != nil {
			sess.end() // the SDK waits for the calls to end, and does not end them
		}
		f.next.ServeHTTP(w, r)
		if sess != nil {
			select {
			case <-sess.closed: // so that the client knows
			case <-r.Context().Done():
			}
		}
	default:
		f.next.ServeHTTP(w, r)
	}
}

func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true // no browser
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
}

// admits compares in constant time, so that timing reveals nothing of the token.
func (f *front) admits(r *http.Request) bool {
	if f.token == "" {
		return true
	}
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	have, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(f.token))
	return strings.EqualFold(kind, "Bearer") && subtle.ConstantTimeCompare(have[:], want[:]) == 1
}

func (s *server) beginPost(id string, ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posts[id] = ctx
}

func (s *server) endPost(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.posts, id)
}

// postOf returns the context of the HTTP request that a call came in, which
// ends when the client goes away. On stdio there is none.
func (s *server) postOf(req *mcp.CallToolRequest) context.Context {
	if req.Extra == nil {
		return context.Background()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx := s.posts[req.Extra.Header.Get(postHeader)]; ctx != nil {
		return ctx
	}
	return gone
}

// gone is the context of a request that has ended.
var gone = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// checkAddress returns an error if other machines would be served without a token.
func checkAddress(address, token string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ip, err := netip.ParseAddr(host)
	if token == "" && host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return fmt.Errorf("%s can be reached from other machines: set %s, or listen on 127.0.0.1", address, tokenVariable)
	}
	return nil
}

// serveHTTP serves until ctx ends.
func serveHTTP(ctx context.Context, address string, handler http.Handler, log *slog.Logger) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	log.Info("listening", "url", "http://"+listener.Addr().String()+endpoint)
	// No ReadTimeout or WriteTimeout: an answer takes as long as its command.
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer cancel()
	err = srv.Shutdown(limited)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close()
	}
	<-failed
	return err
}
