// Package modalfake is a fake of Modal for tests: the control plane and the task
// command router, served over gRPC on loopback with the public stubs of the
// official SDK. It runs commands as real processes and injects the failures that
// the real service can have.
//
// It isolates nothing. A sandbox is a directory, HOME and TMPDIR of its commands,
// and a mark in the environment of its processes, by which they are found and
// killed when it ends. Images, volumes, regions and resources are checked and
// otherwise have no effect.
//
// Where the real service's behavior is not documented, Options selects one of
// the possible ones.
package modalfake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	modal "github.com/modal-labs/modal-client/go"
	pb "github.com/modal-labs/modal-client/go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
)

// Options configures the fake. The zero value is a healthy service with one
// workspace and no limits.
type Options struct {
	TokenID, TokenSecret string // "": a pair of the fake's own
	Clock                Clock  // what lifetimes, builds and exec limits run on; nil: the machine's

	Images  map[string]Build             // by tag: how their build goes; others succeed at once
	Secrets map[string]map[string]string // the workspace's named secrets
	Regions []string                     // that exist; nil: Modal's broad ones
	GPUs    []string                     // that exist; nil: Modal's common ones

	MaxSandboxes int           // one more at a time is ResourceExhausted; 0: no cap
	StartDelay   time.Duration // from creation to scheduling; until then there is no task id
	RouterToken  time.Duration // how long access to a router holds; 0: an hour

	// NoDedup makes every SandboxCreate a new one, whatever its idempotency key.
	NoDedup bool
	// NoFSTools is a sandbox without the program that the SDK's file system
	// calls run.
	NoFSTools bool
	// KillOne makes an exec's own timeout kill one process, not its group.
	KillOne bool
	// EOFAtExit ends an exec's output with the process, not with the last
	// holder of the pipe.
	EOFAtExit bool
	// Ended is what the router answers about a sandbox that has ended. With OK
	// the results and the output of its execs can still be had.
	Ended codes.Code
}

// Server is a running fake. Its methods are safe for concurrent use.
type Server struct {
	// Control and Router are the network in front of the two services.
	Control, Router *Network

	opt    Options
	clock  Clock
	mark   string // in every process of this server
	dir    string // holds a directory for each sandbox
	signer []byte // of our tokens
	grpc   []*grpc.Server
	census census

	serving sync.WaitGroup // the goroutines of Serve
	running sync.WaitGroup // those of execs; Add only while the sandbox is alive

	// mu guards everything below, and the fields of apps, images, sandboxes
	// and execs that say so. It is held for map operations and for sending a
	// signal: never across an RPC, a read or write, or the end of a process.
	mu        sync.Mutex
	closed    bool
	faults    []*armed
	apps      map[string]*app // by environment and name
	images    map[string]*image
	secrets   map[string]map[string]string // by id
	named     map[string]string            // ids of named secrets and volumes
	sandboxes map[string]*sandbox
	tasks     map[string]*sandbox // the same, by task id
	creations map[string]*sandbox // the same, by idempotency key
	last      time.Time           // when the newest sandbox was created
	stats     Stats
}

// Start starts a fake that serves on loopback until Close.
func Start(opt Options) (*Server, error) {
	s := &Server{
		opt:       opt,
		clock:     opt.Clock,
		mark:      randomWord(32),
		signer:    []byte(randomWord(32)),
		apps:      make(map[string]*app),
		images:    make(map[string]*image),
		secrets:   make(map[string]map[string]string),
		named:     make(map[string]string),
		sandboxes: make(map[string]*sandbox),
		tasks:     make(map[string]*sandbox),
		creations: make(map[string]*sandbox),
		stats:     Stats{RPCs: make(map[string]int64), Faults: make(map[string]int64)},
	}
	if s.clock == nil {
		s.clock = machineClock{}
	}
	if s.opt.TokenID == "" {
		s.opt.TokenID, s.opt.TokenSecret = "ak-fake", "as-fake"
	}
	for name, env := range opt.Secrets {
		id := newID("st")
		s.named["secret "+name], s.secrets[id] = id, env
	}
	var err error
	if s.dir, err = os.MkdirTemp("", "modalfake-"); err != nil {
		return nil, err
	}
	if s.Control, err = listen(); err == nil {
		s.Router, err = listen()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	control := s.newServer(s.authorizeControl)
	pb.RegisterModalClientServer(control, &controlPlane{Server: s})
	s.serve(control, s.Control)
	router := s.newServer(s.authorizeRouter)
	pb.RegisterTaskCommandRouterServer(router, &commandRouter{Server: s})
	s.serve(router, s.Router)
	return s, nil
}

func (s *Server) newServer(authorize authorizer) *grpc.Server {
	return grpc.NewServer(
		grpc.MaxRecvMsgSize(100<<20), // as much as the SDK sends
		grpc.MaxConcurrentStreams(math.MaxUint32),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: 10 * time.Second, PermitWithoutStream: true, // the SDK pings twice a minute, always
		}),
		grpc.WaitForHandlers(true),
		grpc.UnaryInterceptor(s.unary(authorize)),
		grpc.StreamInterceptor(s.stream(authorize)),
	)
}

func (s *Server) serve(server *grpc.Server, n *Network) {
	s.grpc = append(s.grpc, server)
	s.serving.Go(func() { _ = server.Serve(n) })
}

// Close ends all sandboxes with all their processes, and stops serving.
func (s *Server) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return nil
	}
	err := s.EndAll()
	for _, n := range []*Network{s.Control, s.Router} {
		if n != nil {
			n.restore() // a frozen connection would keep its handlers
		}
	}
	for _, server := range s.grpc {
		server.Stop()
	}
	s.serving.Wait()
	for _, n := range []*Network{s.Control, s.Router} {
		if n != nil {
			_ = n.Close() // without a server nobody else does
		}
	}
	s.running.Wait()
	for _, b := range s.sandboxes {
		for _, x := range b.execs {
			x.free()
		}
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// URL returns the value for MODAL_SERVER_URL.
func (s *Server) URL() string { return "http://" + s.Control.Addr().String() }

// Environ returns the variables that point the SDK to the fake, as "NAME=value".
func (s *Server) Environ() []string {
	return []string{
		"MODAL_SERVER_URL=" + s.URL(),
		"MODAL_TOKEN_ID=" + s.opt.TokenID,
		"MODAL_TOKEN_SECRET=" + s.opt.TokenSecret,
		"MODAL_CONFIG_PATH=" + os.DevNull, // so that no profile of the person's interferes
		"MODAL_PROFILE=",
	}
}

// clientEnv serializes NewClient: the SDK takes a server's URL from the
// environment only, once, when a client is made.
var clientEnv sync.Mutex

// NewClient returns a client of the SDK's for this server. It changes the
// process's environment for a moment.
func (s *Server) NewClient(params *modal.ClientParams) (*modal.Client, error) {
	var p modal.ClientParams
	if params != nil {
		p = *params
	}
	if p.Logger == nil {
		p.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	clientEnv.Lock()
	defer clientEnv.Unlock()
	for _, kv := range s.Environ() {
		defer setenv(kv)()
	}
	return modal.NewClientWithOptions(&p)
}

// setenv sets a variable and returns a function that puts it back.
func setenv(kv string) (restore func()) {
	name, value, _ := strings.Cut(kv, "=")
	old, had := os.LookupEnv(name)
	_ = os.Setenv(name, value)
	return func() {
		if had {
			_ = os.Setenv(name, old)
		} else {
			_ = os.Unsetenv(name)
		}
	}
}

// EndAll ends every sandbox as if its machine had failed.
func (s *Server) EndAll() error {
	s.mu.Lock()
	all := make([]*sandbox, 0, len(s.sandboxes))
	for _, b := range s.sandboxes {
		all = append(all, b)
	}
	s.mu.Unlock()
	errs := make([]error, len(all))
	var ending sync.WaitGroup
	for i, b := range all {
		ending.Go(func() { errs[i] = s.end(b, result(pb.GenericResult_GENERIC_STATUS_TERMINATED, 137)) })
	}
	ending.Wait()
	return errors.Join(errs...)
}

// End ends one sandbox from outside: kind is how Modal would report it, and
// code the exit code that goes with it.
func (s *Server) End(id string, kind pb.GenericResult_GenericStatus, code int32) error {
	b, err := s.sandbox(id)
	if err != nil {
		return err
	}
	return s.end(b, result(kind, code))
}

// Sandboxes returns the ids of those that are alive.
func (s *Server) Sandboxes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id, b := range s.sandboxes {
		if b.result == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// Wait waits until cond holds for the counters, looking at every change of
// them, or until ctx ends.
func (s *Server) Wait(ctx context.Context, cond func(Stats) bool) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		now := s.Stats()
		if cond(now) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: counters are %+v", ctx.Err(), now)
		case <-time.After(pause):
		}
	}
}

var _ net.Listener = (*Network)(nil)
