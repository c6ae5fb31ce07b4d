package modalfake

import (
	"context"
	"strings"
	"time"

	pb "github.com/modal-labs/modal-client/go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A Build describes how building an image proceeds.
type Build struct {
	Duration time.Duration // on the fake's clock
	Log      []string      // lines, sent while it builds
	Fail     string        // the error it fails with; "": it succeeds
}

type image struct {
	id    string
	build Build
	done  chan struct{} // closed when built

	// Guarded by Server.mu.
	result *pb.GenericResult
}

// ImageGetOrCreate begins to build an image, or finds the one of the same
// recipe. A failed one is built anew.
func (c *controlPlane) ImageGetOrCreate(_ context.Context, r *pb.ImageGetOrCreateRequest) (*pb.ImageGetOrCreateResponse, error) {
	c.mu.Lock()
	if _, err := c.appLocked(r.GetAppId()); err != nil {
		c.mu.Unlock()
		return nil, err
	}
	key, tag := recipe(r.GetImage())
	m := c.images[key]
	fresh := m == nil || m.result.GetStatus() == pb.GenericResult_GENERIC_STATUS_FAILURE || r.GetForceBuild()
	if fresh {
		m = &image{id: newID("im"), build: c.opt.Images[tag], done: make(chan struct{})}
		c.images[key] = m
		c.images[m.id] = m
	}
	c.mu.Unlock()
	if fresh {
		c.build(m)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return pb.ImageGetOrCreateResponse_builder{ImageId: m.id, Result: m.result}.Build(), nil
}

// recipe returns the key under which equal images are cached, and the base tag.
func recipe(m *pb.Image) (key, tag string) {
	commands := m.GetDockerfileCommands()
	if len(commands) > 0 {
		tag = strings.TrimPrefix(commands[0], "FROM ")
	}
	parts := []string{"recipe"} // no id has this form
	for _, base := range m.GetBaseImages() {
		parts = append(parts, base.GetImageId())
	}
	return strings.Join(append(parts, commands...), "\n"), tag
}

// build finishes the image at once or after the build's duration.
func (s *Server) build(m *image) {
	end := func() {
		done := result(pb.GenericResult_GENERIC_STATUS_SUCCESS, 0)
		if m.build.Fail != "" {
			done = pb.GenericResult_builder{Status: pb.GenericResult_GENERIC_STATUS_FAILURE, Exception: m.build.Fail}.Build()
		}
		s.mu.Lock()
		m.result = done
		s.mu.Unlock()
		close(m.done)
	}
	if m.build.Duration > 0 {
		s.clock.AfterFunc(m.build.Duration, end)
		return
	}
	end()
}

// ImageJoinStreaming sends the log of a build, and its result once it has one.
func (c *controlPlane) ImageJoinStreaming(r *pb.ImageJoinStreamingRequest, out grpc.ServerStreamingServer[pb.ImageJoinStreamingResponse]) error {
	c.mu.Lock()
	m := c.images[r.GetImageId()]
	c.mu.Unlock()
	if m == nil {
		return status.Errorf(codes.NotFound, "Image %q not found", r.GetImageId())
	}
	if r.GetLastEntryId() == "" && len(m.build.Log) > 0 {
		logs := make([]*pb.TaskLogs, len(m.build.Log))
		for i, line := range m.build.Log {
			logs[i] = pb.TaskLogs_builder{Data: line + "\n", FileDescriptor: pb.FileDescriptor_FILE_DESCRIPTOR_STDOUT}.Build()
		}
		if err := out.Send(pb.ImageJoinStreamingResponse_builder{TaskLogs: logs, EntryId: "1-0"}.Build()); err != nil {
			return err
		}
	}
	wait := time.NewTimer(time.Duration(float64(r.GetTimeout()) * float64(time.Second)))
	defer wait.Stop()
	select {
	case <-m.done:
	case <-wait.C:
		return nil
	case <-out.Context().Done():
		return status.FromContextError(out.Context().Err()).Err()
	}
	c.mu.Lock()
	done := m.result
	c.mu.Unlock()
	return out.Send(pb.ImageJoinStreamingResponse_builder{Result: done, EntryId: "2-0", Eof: true}.Build())
}

// ImageFromId finds a built image.
func (c *controlPlane) ImageFromId(_ context.Context, r *pb.ImageFromIdRequest) (*pb.ImageFromIdResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.images[r.GetImageId()] == nil {
		return nil, status.Errorf(codes.NotFound, "Image %q not found", r.GetImageId())
	}
	return pb.ImageFromIdResponse_builder{ImageId: r.GetImageId()}.Build(), nil
}
