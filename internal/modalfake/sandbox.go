package modalfake

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	pb "github.com/modal-labs/modal-client/go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// sandbox is a directory, and the processes that carry its mark.
type sandbox struct {
	id, task  string
	v2        bool
	app       *app
	name      string
	mark      string
	dir       string
	workdir   string
	env       map[string]string
	created   time.Time
	lifetime  time.Duration
	idleLimit time.Duration // 0: none
	scheduled chan struct{} // closed when it has a task
	ended     chan struct{} // closed when its last process is dead

	// Guarded by Server.mu.
	tags     map[string]string
	execs    map[string]*execution
	busy     int               // execs that run
	result   *pb.GenericResult // not nil: it takes no execs any more
	stopIdle func() bool       // nil unless it is idle and may not be for ever
	stopLife func() bool
	problem  error // of its ending
}

func result(kind pb.GenericResult_GenericStatus, code int32) *pb.GenericResult {
	return pb.GenericResult_builder{Status: kind, Exitcode: code}.Build()
}

// What exists if Options do not say.
var (
	commonRegions = []string{"us", "us-east", "us-central", "us-south", "us-west", "eu", "eu-west", "eu-north", "eu-south", "ap", "uk", "ca", "jp", "me", "sa", "af", "mx"}
	commonGPUs    = []string{"T4", "L4", "A10", "A10G", "A100", "A100-40GB", "A100-80GB", "L40S", "H100", "H200", "B200"}
)

func (s *Server) regions() []string {
	if s.opt.Regions != nil {
		return s.opt.Regions
	}
	return commonRegions
}

func (s *Server) gpus() []string {
	if s.opt.GPUs != nil {
		return s.opt.GPUs
	}
	return commonGPUs
}

// order holds the request of either generation of SandboxCreate.
type order struct {
	v2      bool
	app     string
	def     *pb.Sandbox
	sources []*pb.SecretSource
	tags    []*pb.SandboxTag
}

// create creates a sandbox, or returns the one that an earlier attempt of the
// same call created.
func (s *Server) create(ctx context.Context, o order) (*sandbox, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	key := first(md, "x-idempotency-key")
	b, err := s.add(o, key)
	if err != nil {
		return nil, err
	}
	if len(o.def.GetEntrypointArgs()) > 0 {
		s.enter(b, o.def)
	}
	return b, nil
}

// add registers a sandbox.
func (s *Server) add(o order, key string) (*sandbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, status.Error(codes.Unavailable, "the fake is closed")
	}
	if b := s.creations[key]; b != nil && key != "" && !s.opt.NoDedup {
		s.stats.Deduped++
		return b, nil
	}
	a, err := s.checkLocked(o)
	if err != nil {
		return nil, err
	}
	b := &sandbox{
		id:        newSandboxID(o.v2),
		task:      newID("ta"),
		v2:        o.v2,
		app:       a,
		name:      o.def.GetName(),
		mark:      randomWord(32),
		workdir:   o.def.GetWorkdir(),
		env:       make(map[string]string),
		created:   s.clock.Now(),
		lifetime:  time.Duration(o.def.GetTimeoutSecs()) * time.Second,
		idleLimit: time.Duration(o.def.GetIdleTimeoutSecs()) * time.Second,
		scheduled: make(chan struct{}),
		ended:     make(chan struct{}),
		tags:      tagMap(o.tags),
		execs:     make(map[string]*execution),
	}
	if err := s.envLocked(b.env, o.def.GetSecretIds(), o.sources); err != nil {
		return nil, err
	}
	if least := s.last.Add(10 * time.Microsecond); b.created.Before(least) {
		b.created = least // SandboxList turns its pages by this time
	}
	s.last = b.created
	b.dir = filepath.Join(s.dir, b.id)
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	s.sandboxes[b.id], s.tasks[b.task] = b, b
	if key != "" {
		s.creations[key] = b
	}
	s.stats.Created++
	s.stats.Alive++
	b.stopLife = s.clock.AfterFunc(b.lifetime, func() {
		_ = s.end(b, result(pb.GenericResult_GENERIC_STATUS_TIMEOUT, 124))
	})
	s.restLocked(b)
	if s.opt.StartDelay > 0 {
		s.clock.AfterFunc(s.opt.StartDelay, func() { close(b.scheduled) })
	} else {
		close(b.scheduled)
	}
	return b, nil
}

// checkLocked returns the errors of requests that Modal rejects.
func (s *Server) checkLocked(o order) (*app, error) {
	a, err := s.appLocked(o.app)
	if err != nil {
		return nil, err
	}
	m := s.images[o.def.GetImageId()]
	if m == nil || m.result.GetStatus() != pb.GenericResult_GENERIC_STATUS_SUCCESS {
		return nil, status.Errorf(codes.FailedPrecondition, "Image %q is not built", o.def.GetImageId())
	}
	for _, region := range o.def.GetSchedulerPlacement().GetRegions() {
		if !slices.Contains(s.regions(), region) {
			return nil, status.Errorf(codes.InvalidArgument, "Unknown region %q; there are %s", region, strings.Join(s.regions(), ", "))
		}
	}
	if gpu := o.def.GetResources().GetGpuConfig().GetGpuType(); gpu != "" && !slices.Contains(s.gpus(), gpu) {
		return nil, status.Errorf(codes.InvalidArgument, "Unknown GPU type %q; there are %s", gpu, strings.Join(s.gpus(), ", "))
	}
	if s.opt.MaxSandboxes > 0 && s.stats.Alive >= int64(s.opt.MaxSandboxes) {
		return nil, status.Errorf(codes.ResourceExhausted, "Sandbox limit reached: %d are running", s.stats.Alive)
	}
	if s.runningLocked(a, o.def.GetName()) != nil {
		return nil, status.Errorf(codes.AlreadyExists, "Sandbox with name %q already exists", o.def.GetName())
	}
	return a, nil
}

// runningLocked returns the app's running sandbox with the name, or nil.
func (s *Server) runningLocked(a *app, name string) *sandbox {
	for _, b := range s.sandboxes {
		if b.app == a && b.name == name && name != "" && b.result == nil {
			return b
		}
	}
	return nil
}

// restLocked starts the idle time of a sandbox in which nothing runs.
func (s *Server) restLocked(b *sandbox) {
	if b.busy > 0 || b.idleLimit == 0 || b.result != nil {
		return
	}
	b.stopIdle = s.clock.AfterFunc(b.idleLimit, func() { s.idleOut(b) })
}

func (s *Server) idleOut(b *sandbox) {
	s.mu.Lock()
	busy := b.busy > 0 // an exec came when the time was over
	s.mu.Unlock()
	if !busy {
		_ = s.end(b, result(pb.GenericResult_GENERIC_STATUS_IDLE_TIMEOUT, 0))
	}
}

// enter runs the sandbox's entrypoint, with which it ends.
func (s *Server) enter(b *sandbox, def *pb.Sandbox) {
	x, fresh, err := s.begin(b, "entrypoint")
	if err != nil || !fresh {
		return // ended already, or entered by an earlier try of the same call
	}
	s.start(x, command{args: def.GetEntrypointArgs()})
	s.running.Go(func() {
		<-x.exited
		kind := pb.GenericResult_GENERIC_STATUS_SUCCESS
		if x.code != 0 || x.signal != 0 {
			kind = pb.GenericResult_GENERIC_STATUS_FAILURE
		}
		_ = s.end(b, result(kind, int32(x.code)))
	})
}

// end ends a sandbox: no exec starts in it from now on, and all its processes
// are dead when end returns, whoever called it first.
func (s *Server) end(b *sandbox, r *pb.GenericResult) error {
	s.mu.Lock()
	if b.result != nil {
		s.mu.Unlock()
		<-b.ended
		return b.problem
	}
	b.result = r
	execs := slices.Collect(maps.Values(b.execs))
	stops := []func() bool{b.stopIdle, b.stopLife}
	s.stats.Alive--
	switch r.GetStatus() {
	case pb.GenericResult_GENERIC_STATUS_TIMEOUT:
		s.stats.TimedOut++
	case pb.GenericResult_GENERIC_STATUS_IDLE_TIMEOUT:
		s.stats.IdledOut++
	case pb.GenericResult_GENERIC_STATUS_TERMINATED:
		s.stats.Terminated++
	default:
		s.stats.Exited++
	}
	s.mu.Unlock()

	for _, stop := range stops {
		if stop != nil {
			stop()
		}
	}
	for _, x := range execs {
		<-x.started // what is being started must not miss the kill
	}
	b.problem = s.killAll(b)
	for _, x := range execs {
		x.abandon()
	}
	b.problem = errors.Join(b.problem, os.RemoveAll(b.dir))
	close(b.ended)
	return b.problem
}

// sandbox finds one by its id, dead or alive.
func (s *Server) sandbox(id string) (*sandbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.sandboxes[id]; b != nil {
		return b, nil
	}
	return nil, status.Errorf(codes.NotFound, "Sandbox %q not found", id)
}

// task finds the sandbox that a router is asked about.
func (s *Server) task(id string) (*sandbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.tasks[id]; b != nil {
		return b, nil
	}
	return nil, status.Errorf(codes.NotFound, "Task %q not found", id)
}

// over returns the result of a sandbox, or nil while it runs.
func (s *Server) over(b *sandbox) *pb.GenericResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	return b.result
}

func tagMap(tags []*pb.SandboxTag) map[string]string {
	m := make(map[string]string, len(tags))
	for _, tag := range tags {
		m[tag.GetTagName()] = tag.GetTagValue()
	}
	return m
}

func tagList(tags map[string]string) []*pb.SandboxTag {
	list := make([]*pb.SandboxTag, 0, len(tags))
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, pb.SandboxTag_builder{TagName: name, TagValue: tags[name]}.Build())
	}
	return list
}
