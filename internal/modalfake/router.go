package modalfake

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"time"

	pb "github.com/modal-labs/modal-client/go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// commandRouter serves the execs of all sandboxes. At Modal each machine has one.
type commandRouter struct {
	pb.UnimplementedTaskCommandRouterServer
	*Server
}

// TaskExecStart starts a command, once for each exec id.
func (c *commandRouter) TaskExecStart(_ context.Context, r *pb.TaskExecStartRequest) (*pb.TaskExecStartResponse, error) {
	b, err := c.alive(r.GetTaskId())
	if err != nil {
		return nil, err
	}
	cmd := command{
		args:    r.GetCommandArgs(),
		dir:     r.GetWorkdir(),
		env:     make(map[string]string),
		stdout:  r.GetStdoutConfig() == pb.TaskExecStdoutConfig_TASK_EXEC_STDOUT_CONFIG_PIPE,
		stderr:  r.GetStderrConfig() == pb.TaskExecStderrConfig_TASK_EXEC_STDERR_CONFIG_PIPE,
		timeout: time.Duration(r.GetTimeoutSecs()) * time.Second,
	}
	if len(cmd.args) == 0 || r.GetExecId() == "" {
		return nil, status.Error(codes.InvalidArgument, "a command and an exec ID are needed")
	}
	if cmd.args[0] == fsTools && !c.opt.NoFSTools {
		cmd.args = fsCommand(cmd.args)
		c.count(func(n *Stats) { n.FSCalls++ })
	}
	dir := cmp.Or(cmd.dir, b.workdir, b.dir)
	if info, err := os.Stat(dir); (err != nil || !info.IsDir()) && c.over(b) == nil {
		return nil, status.Errorf(codes.InvalidArgument, "%q is not a directory", dir)
	}
	maps.Copy(cmd.env, r.GetEnv())
	c.mu.Lock()
	err = c.envLocked(cmd.env, r.GetSecretIds(), r.GetSecretSources())
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	x, fresh, err := c.begin(b, r.GetExecId())
	if err != nil {
		return nil, err
	}
	if fresh {
		c.start(x, cmd)
	}
	<-x.started
	return &pb.TaskExecStartResponse{}, nil
}

// alive returns a task's sandbox, or the error of Options.Ended if it has ended.
func (c *commandRouter) alive(task string) (*sandbox, error) {
	b, err := c.task(task)
	if err != nil {
		return nil, err
	}
	return b, c.ended(b)
}

func (c *commandRouter) ended(b *sandbox) error {
	if c.opt.Ended == codes.OK || c.over(b) == nil {
		return nil
	}
	return status.Errorf(c.opt.Ended, "task %s has ended", b.task)
}

// exec finds an exec that has been started.
func (c *commandRouter) exec(task, id string) (*execution, error) {
	b, err := c.alive(task)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	x := b.execs[id]
	c.mu.Unlock()
	if x == nil {
		return nil, status.Errorf(codes.NotFound, "exec %q not found", id)
	}
	<-x.started
	return x, nil
}

// TaskExecWait answers when the process has ended.
func (c *commandRouter) TaskExecWait(ctx context.Context, r *pb.TaskExecWaitRequest) (*pb.TaskExecWaitResponse, error) {
	x, err := c.exec(r.GetTaskId(), r.GetExecId())
	if err != nil {
		return nil, err
	}
	select {
	case <-x.exited:
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if err := c.ended(x.sandbox); err != nil {
		return nil, err
	}
	code, signal := x.exit()
	return pb.TaskExecWaitResponse_builder{Code: code, Signal: signal}.Build(), nil
}

// TaskExecPoll answers at once, with nothing while the process runs.
func (c *commandRouter) TaskExecPoll(_ context.Context, r *pb.TaskExecPollRequest) (*pb.TaskExecPollResponse, error) {
	x, err := c.exec(r.GetTaskId(), r.GetExecId())
	if err != nil {
		return nil, err
	}
	select {
	case <-x.exited:
	default:
		return &pb.TaskExecPollResponse{}, nil
	}
	code, signal := x.exit()
	return pb.TaskExecPollResponse_builder{Code: code, Signal: signal}.Build(), nil
}

// exit returns the exit code or the signal; the other is nil.
func (x *execution) exit() (code, signal *int32) {
	if x.signal != 0 {
		return nil, new32(x.signal)
	}
	return new32(x.code), nil
}

func new32(n int) *int32 {
	m := int32(n)
	return &m
}

// TaskExecStdioRead sends the output from an offset on, to its end.
func (c *commandRouter) TaskExecStdioRead(r *pb.TaskExecStdioReadRequest, out grpc.ServerStreamingServer[pb.TaskExecStdioReadResponse]) error {
	x, err := c.exec(r.GetTaskId(), r.GetExecId())
	if err != nil {
		return err
	}
	from := x.stdout
	if r.GetFileDescriptor() == pb.TaskExecStdioFileDescriptor_TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDERR {
		from = x.stderr
	}
	if from == nil {
		return nil // ignored
	}
	offset := int64(r.GetOffset())
	c.count(func(n *Stats) {
		n.Streams++
		if offset > 0 {
			n.Resumed++
		}
	})
	defer c.count(func(n *Stats) { n.Streams-- })
	buf := make([]byte, 128<<10)
	for {
		n, err := from.ReadAt(out.Context(), buf, offset)
		switch {
		case errors.Is(err, io.EOF):
			return c.ended(x.sandbox)
		case errors.Is(err, errSpoolLost):
			return status.Error(codes.OutOfRange, err.Error())
		case out.Context().Err() != nil:
			return status.FromContextError(out.Context().Err()).Err()
		case err != nil:
			return status.Error(codes.Internal, err.Error())
		}
		if err := out.Send(pb.TaskExecStdioReadResponse_builder{Data: buf[:n]}.Build()); err != nil {
			return err
		}
		offset += int64(n)
	}
}

// TaskExecStdinWrite writes to the process. What an earlier try of the same
// call has written is not written again.
func (c *commandRouter) TaskExecStdinWrite(ctx context.Context, r *pb.TaskExecStdinWriteRequest) (*pb.TaskExecStdinWriteResponse, error) {
	x, err := c.exec(r.GetTaskId(), r.GetExecId())
	if err != nil {
		return nil, err
	}
	if err := x.feed(ctx, r.GetOffset(), r.GetData(), r.GetEof()); err != nil {
		return nil, err
	}
	return &pb.TaskExecStdinWriteResponse{}, nil
}

// feed writes to stdin after earlier writes, until ctx is done.
func (x *execution) feed(ctx context.Context, offset uint64, data []byte, eof bool) error {
	if x.stdin == nil {
		return status.Error(codes.FailedPrecondition, "the process could not be started")
	}
	select {
	case <-x.input:
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	defer func() { x.input <- struct{}{} }()
	if offset > x.fed {
		return status.Errorf(codes.InvalidArgument, "offset %d is beyond the %d bytes written", offset, x.fed)
	}
	data = data[min(x.fed-offset, uint64(len(data))):]
	if len(data) > 0 {
		if x.eof {
			return status.Error(codes.FailedPrecondition, "stdin is closed")
		}
		if err := x.write(ctx, data); err != nil {
			return err
		}
	}
	if eof && !x.eof {
		x.eof = true
		_ = x.stdin.Close()
	}
	return nil
}

func (x *execution) write(ctx context.Context, data []byte) error {
	defer context.AfterFunc(ctx, func() { _ = x.stdin.SetWriteDeadline(time.Now()) })()
	n, err := x.stdin.Write(data)
	x.fed += uint64(n)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = x.stdin.SetWriteDeadline(time.Time{})
		return status.FromContextError(ctx.Err()).Err()
	}
	if err != nil {
		return status.Error(codes.FailedPrecondition, "the process reads no more")
	}
	return nil
}

// TaskExecStdinStatus returns how many bytes were written to the process.
func (c *commandRouter) TaskExecStdinStatus(ctx context.Context, r *pb.TaskExecStdinStatusRequest) (*pb.TaskExecStdinStatusResponse, error) {
	x, err := c.exec(r.GetTaskId(), r.GetExecId())
	if err != nil {
		return nil, err
	}
	select {
	case <-x.input:
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	defer func() { x.input <- struct{}{} }()
	return pb.TaskExecStdinStatusResponse_builder{NumBytesWritten: x.fed, Closed: x.eof}.Build(), nil
}

// TaskExecStdinWriteStream is TaskExecStdinWrite in many pieces.
func (c *commandRouter) TaskExecStdinWriteStream(in grpc.ClientStreamingServer[pb.TaskExecStdinWriteStreamRequest, pb.TaskExecStdinWriteStreamResponse]) error {
	m, err := in.Recv()
	if err != nil {
		return err
	}
	x, err := c.exec(m.GetStart().GetTaskId(), m.GetStart().GetExecId())
	if err != nil {
		return err
	}
	for offset := m.GetStart().GetOffset(); ; offset += uint64(len(m.GetData())) {
		if m, err = in.Recv(); err != nil {
			return err // without an end the input stays open, so that another stream can go on
		}
		if err := x.feed(in.Context(), offset, m.GetData(), m.HasEnd()); err != nil {
			return err
		}
		if m.HasEnd() {
			return in.SendAndClose(&pb.TaskExecStdinWriteStreamResponse{})
		}
	}
}
