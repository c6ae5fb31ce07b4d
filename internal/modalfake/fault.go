package modalfake

import (
	"context"
	"path"
	"slices"
	"time"

	pb "github.com/modal-labs/modal-client/go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A Fault makes one RPC fail. Its fields take effect in their order.
type Fault struct {
	Method string // the RPC, such as "TaskExecStart"; "": any
	Skip   int    // calls that succeed first
	Times  int    // calls that fail then; 0: one, negative: all

	Delay time.Duration // before the work, by the machine's clock
	Hang  bool          // no work and no answer until the caller gives up
	Death Moment        // when the request's sandbox dies

	// Code is the answer instead of the work; with Lost, after the work was
	// done. On a stream that sends it comes after Bytes, in the middle of it.
	Code  codes.Code
	Lost  bool
	Bytes int
}

// A Moment is a point in the course of an RPC.
type Moment int

// The moments at which a sandbox may die.
const (
	Never Moment = iota
	Before
	After
)

// armed is a Fault that has been injected. Guarded by Server.mu.
type armed struct {
	Fault
	skip, times int
}

// Inject adds faults to later RPCs. If several match a call, the earliest injected
// one applies.
func (s *Server) Inject(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		times := f.Times
		if times == 0 {
			times = 1
		}
		s.faults = append(s.faults, &armed{Fault: f, skip: f.Skip, times: times})
	}
}

// Heal removes all injected faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// arrive counts a call and returns the fault to apply to it, or nil.
func (s *Server) arrive(method string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.RPCs[method]++
	for i, a := range s.faults {
		if a.Method != "" && a.Method != method {
			continue
		}
		if a.skip > 0 {
			a.skip--
			continue
		}
		if a.times > 0 {
			if a.times--; a.times == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		s.stats.Faults[method]++
		f := a.Fault
		return &f
	}
	return nil
}

// before applies the part of f that precedes the call; an error is the reply.
func (s *Server) before(ctx context.Context, f *Fault, req any) error {
	if f == nil {
		return nil
	}
	if err := sleep(ctx, machineClock{}, f.Delay); err != nil {
		return status.FromContextError(err).Err()
	}
	if f.Hang {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	if f.Death == Before {
		s.kill(req)
	}
	if f.Code != codes.OK && !f.Lost && f.Bytes == 0 {
		return status.Error(f.Code, "injected before the work")
	}
	return nil
}

// after applies the part of f that follows the call.
func (s *Server) after(f *Fault, req any) error {
	if f == nil {
		return nil
	}
	if f.Death == After {
		s.kill(req)
	}
	if f.Code != codes.OK && f.Lost {
		return status.Error(f.Code, "injected after the work")
	}
	return nil
}

// kill ends the sandbox that a request is about.
func (s *Server) kill(req any) {
	var b *sandbox
	switch r := req.(type) {
	case interface{ GetTaskId() string }:
		b, _ = s.task(r.GetTaskId())
	case interface{ GetSandboxId() string }:
		b, _ = s.sandbox(r.GetSandboxId())
	}
	if b != nil {
		_ = s.end(b, result(pb.GenericResult_GENERIC_STATUS_TERMINATED, 137))
	}
}

func (s *Server) unary(authorize authorizer) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		method := path.Base(info.FullMethod)
		f := s.arrive(method)
		if err := s.before(ctx, f, req); err != nil {
			return nil, err
		}
		if err := authorize(ctx, method, req); err != nil {
			return nil, err
		}
		answer, err := handle(ctx, req)
		if lost := s.after(f, req); lost != nil {
			return nil, lost
		}
		return answer, err
	}
}

func (s *Server) stream(authorize authorizer) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		method := path.Base(info.FullMethod)
		x := &stream{ServerStream: ss, server: s, method: method, authorize: authorize, fault: s.arrive(method)}
		err := handle(srv, x)
		if x.failed != nil {
			return x.failed
		}
		if lost := s.after(x.fault, x.req); lost != nil {
			return lost
		}
		return err
	}
}

// stream applies a fault to a streaming RPC. One goroutine uses it.
type stream struct {
	grpc.ServerStream
	server    *Server
	method    string
	authorize authorizer
	fault     *Fault
	req       any // the first message, which names the task
	sent      int
	failed    error
}

func (x *stream) RecvMsg(m any) error {
	if x.failed != nil {
		return x.failed
	}
	if err := x.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if x.req != nil {
		return nil
	}
	x.req = m
	if start, ok := m.(*pb.TaskExecStdinWriteStreamRequest); ok {
		x.req = start.GetStart()
	}
	if x.failed = x.server.before(x.Context(), x.fault, x.req); x.failed == nil {
		x.failed = x.authorize(x.Context(), x.method, x.req)
	}
	return x.failed
}

func (x *stream) SendMsg(m any) error {
	if f := x.fault; f != nil && f.Bytes > 0 {
		if data, ok := m.(*pb.TaskExecStdioReadResponse); ok {
			if left := f.Bytes - x.sent; len(data.GetData()) > left {
				_ = x.ServerStream.SendMsg(pb.TaskExecStdioReadResponse_builder{Data: data.GetData()[:left]}.Build())
				x.failed = status.Error(f.Code, "injected in the middle of the stream")
				return x.failed
			}
			x.sent += len(data.GetData())
		}
	}
	return x.ServerStream.SendMsg(m)
}
