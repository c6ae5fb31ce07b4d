package modalfake

import (
	"context"
	"math"
	"slices"
	"time"

	pb "github.com/modal-labs/modal-client/go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// pageSize is small, so that tests exercise the paging of SandboxList.
const pageSize = 20

// SandboxCreate makes a sandbox of the first generation and returns before it
// is scheduled.
func (c *controlPlane) SandboxCreate(ctx context.Context, r *pb.SandboxCreateRequest) (*pb.SandboxCreateResponse, error) {
	b, err := c.create(ctx, order{app: r.GetAppId(), def: r.GetDefinition(), tags: r.GetTags()})
	if err != nil {
		return nil, err
	}
	return pb.SandboxCreateResponse_builder{SandboxId: b.id}.Build(), nil
}

// SandboxCreateV2 makes one of the second generation, waits until it is
// scheduled, and returns the access to its router. A caller that gives up leaves
// the sandbox behind.
func (c *controlPlane) SandboxCreateV2(ctx context.Context, r *pb.SandboxCreateV2Request) (*pb.SandboxCreateV2Response, error) {
	if r.GetDefinition().GetResources().GetGpuConfig().GetGpuType() != "" {
		return nil, status.Error(codes.InvalidArgument, "GPUs are not supported by V2 sandboxes")
	}
	b, err := c.create(ctx, order{v2: true, app: r.GetAppId(), def: r.GetDefinition(), sources: r.GetSecretSources(), tags: r.GetTags()})
	if err != nil {
		return nil, err
	}
	select {
	case <-b.scheduled:
	case <-b.ended:
		return nil, status.Errorf(codes.FailedPrecondition, "Sandbox %s ended before it was scheduled", b.id)
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	jwt, url := c.access(b)
	return pb.SandboxCreateV2Response_builder{
		SandboxId:           b.id,
		TaskId:              b.task,
		CommandRouterAccess: pb.CommandRouterAccess_builder{Jwt: jwt, Url: url}.Build(),
	}.Build(), nil
}

// access returns a token for a sandbox's router and its URL. The SDK wants https in the URL and
// speaks plain text if the control plane is on this machine.
func (c *controlPlane) access(b *sandbox) (jwt, url string) {
	life := c.opt.RouterToken
	if life == 0 {
		life = time.Hour
	}
	return c.sign(b.task, life), "https://" + c.Router.Addr().String()
}

// SandboxGetTaskId returns the task ID once there is one, or how the sandbox ended.
func (c *controlPlane) SandboxGetTaskId(_ context.Context, r *pb.SandboxGetTaskIdRequest) (*pb.SandboxGetTaskIdResponse, error) {
	b, err := c.sandbox(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	if over := c.over(b); over != nil {
		return pb.SandboxGetTaskIdResponse_builder{TaskResult: over}.Build(), nil
	}
	select {
	case <-b.scheduled:
		return pb.SandboxGetTaskIdResponse_builder{TaskId: &b.task}.Build(), nil
	default:
		return &pb.SandboxGetTaskIdResponse{}, nil
	}
}

// SandboxGetTaskIdV2 is SandboxGetTaskId.
func (c *controlPlane) SandboxGetTaskIdV2(ctx context.Context, r *pb.SandboxGetTaskIdRequest) (*pb.SandboxGetTaskIdResponse, error) {
	return c.SandboxGetTaskId(ctx, r)
}

// TaskGetCommandRouterAccess returns the access to the router of a task.
func (c *controlPlane) TaskGetCommandRouterAccess(_ context.Context, r *pb.TaskGetCommandRouterAccessRequest) (*pb.TaskGetCommandRouterAccessResponse, error) {
	b, err := c.task(r.GetTaskId())
	if err != nil {
		return nil, err
	}
	jwt, url := c.access(b)
	return pb.TaskGetCommandRouterAccessResponse_builder{Jwt: jwt, Url: url}.Build(), nil
}

// SandboxGetCommandRouterAccess returns the access to the router of a sandbox.
func (c *controlPlane) SandboxGetCommandRouterAccess(_ context.Context, r *pb.SandboxGetCommandRouterAccessRequest) (*pb.SandboxGetCommandRouterAccessResponse, error) {
	b, err := c.sandbox(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	if c.over(b) != nil {
		return nil, status.Errorf(codes.NotFound, "Sandbox %s has finished", b.id)
	}
	jwt, url := c.access(b)
	return pb.SandboxGetCommandRouterAccessResponse_builder{Jwt: jwt, Url: url}.Build(), nil
}

// SandboxWait answers when the sandbox has ended, or without a result after
// the time that the caller wants to wait.
func (c *controlPlane) SandboxWait(ctx context.Context, r *pb.SandboxWaitRequest) (*pb.SandboxWaitResponse, error) {
	b, err := c.sandbox(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	wait := time.NewTimer(time.Duration(float64(r.GetTimeout()) * float64(time.Second)))
	defer wait.Stop()
	select {
	case <-b.ended:
	case <-wait.C:
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	over := c.over(b)
	return pb.SandboxWaitResponse_builder{
		Result:   over,
		Metadata: pb.SandboxHandleMetadata_builder{Result: over, AppId: b.app.id}.Build(),
	}.Build(), nil
}

// SandboxWaitV2 is SandboxWait.
func (c *controlPlane) SandboxWaitV2(ctx context.Context, r *pb.SandboxWaitRequest) (*pb.SandboxWaitResponse, error) {
	return c.SandboxWait(ctx, r)
}

// SandboxTerminate ends a sandbox. Ending it again is no error.
func (c *controlPlane) SandboxTerminate(_ context.Context, r *pb.SandboxTerminateRequest) (*pb.SandboxTerminateResponse, error) {
	b, err := c.sandbox(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	before := c.over(b)
	if err := c.end(b, result(pb.GenericResult_GENERIC_STATUS_TERMINATED, 137)); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return pb.SandboxTerminateResponse_builder{ExistingResult: before}.Build(), nil
}

// SandboxTerminateV2 is SandboxTerminate.
func (c *controlPlane) SandboxTerminateV2(ctx context.Context, r *pb.SandboxTerminateRequest) (*pb.SandboxTerminateResponse, error) {
	return c.SandboxTerminate(ctx, r)
}

// SandboxGetFromName finds the running sandbox of a name.
func (c *controlPlane) SandboxGetFromName(_ context.Context, r *pb.SandboxGetFromNameRequest) (*pb.SandboxGetFromNameResponse, error) {
	return c.fromName(r, false)
}

// SandboxGetFromNameV2 is the same for the second generation.
func (c *controlPlane) SandboxGetFromNameV2(_ context.Context, r *pb.SandboxGetFromNameRequest) (*pb.SandboxGetFromNameResponse, error) {
	return c.fromName(r, true)
}

func (c *controlPlane) fromName(r *pb.SandboxGetFromNameRequest, v2 bool) (*pb.SandboxGetFromNameResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var newest *sandbox
	for _, b := range c.sandboxes {
		if b.v2 != v2 || b.name != r.GetSandboxName() || b.app.name != r.GetAppName() || b.app.environment != r.GetEnvironmentName() {
			continue
		}
		if b.result != nil && !r.GetIncludeTerminated() {
			continue
		}
		if newest == nil || b.created.After(newest.created) {
			newest = b
		}
	}
	if newest == nil {
		return nil, status.Errorf(codes.NotFound, "Sandbox with name %q not found", r.GetSandboxName())
	}
	return pb.SandboxGetFromNameResponse_builder{SandboxId: newest.id}.Build(), nil
}

// SandboxList lists the first generation, the newest first, a page at a time.
func (c *controlPlane) SandboxList(_ context.Context, r *pb.SandboxListRequest) (*pb.SandboxListResponse, error) {
	return c.list(r, false), nil
}

// SandboxListV2 lists both generations.
func (c *controlPlane) SandboxListV2(_ context.Context, r *pb.SandboxListRequest) (*pb.SandboxListResponse, error) {
	return c.list(r, true), nil
}

func (c *controlPlane) list(r *pb.SandboxListRequest, v2 bool) *pb.SandboxListResponse {
	before := r.GetBeforeTimestamp()
	if before == 0 {
		before = math.Inf(1)
	}
	want := tagMap(r.GetTags())
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []*sandbox
	for _, b := range c.sandboxes {
		if b.v2 && !v2 || r.GetAppId() != "" && b.app.id != r.GetAppId() || r.GetAppId() == "" && b.app.environment != r.GetEnvironmentName() {
			continue
		}
		if b.result != nil && !r.GetIncludeFinished() || seconds(b.created) >= before || !hasTags(b.tags, want) {
			continue
		}
		found = append(found, b)
	}
	slices.SortFunc(found, func(a, b *sandbox) int { return b.created.Compare(a.created) })
	page := make([]*pb.SandboxInfo, 0, pageSize)
	for _, b := range found[:min(len(found), pageSize)] {
		page = append(page, pb.SandboxInfo_builder{
			Id: b.id, CreatedAt: seconds(b.created), AppId: b.app.id, Name: b.name, Tags: tagList(b.tags),
		}.Build())
	}
	return pb.SandboxListResponse_builder{Sandboxes: page}.Build()
}

func hasTags(tags, want map[string]string) bool {
	for name, value := range want {
		if have, ok := tags[name]; !ok || have != value {
			return false
		}
	}
	return true
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// SandboxTagsSet replaces all tags of a sandbox.
func (c *controlPlane) SandboxTagsSet(_ context.Context, r *pb.SandboxTagsSetRequest) (*emptypb.Empty, error) {
	b, err := c.sandbox(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b.tags = tagMap(r.GetTags())
	return &emptypb.Empty{}, nil
}

// SandboxTagsSetV2 is SandboxTagsSet.
func (c *controlPlane) SandboxTagsSetV2(ctx context.Context, r *pb.SandboxTagsSetRequest) (*emptypb.Empty, error) {
	return c.SandboxTagsSet(ctx, r)
}

// SandboxTagsGet returns the tags of a sandbox.
func (c *controlPlane) SandboxTagsGet(_ context.Context, r *pb.SandboxTagsGetRequest) (*pb.SandboxTagsGetResponse, error) {
	b, err := c.sandbox(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return pb.SandboxTagsGetResponse_builder{Tags: tagList(b.tags)}.Build(), nil
}

// SandboxTagsGetV2 is SandboxTagsGet.
func (c *controlPlane) SandboxTagsGetV2(ctx context.Context, r *pb.SandboxTagsGetRequest) (*pb.SandboxTagsGetResponse, error) {
	return c.SandboxTagsGet(ctx, r)
}
