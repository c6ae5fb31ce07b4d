//go:build !terminal_nomodal

// The client of the SDK, and what its errors mean.

package modal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	sdk "github.com/modal-labs/modal-client/go"
	pb "github.com/modal-labs/modal-client/go/proto/modal_proto"
	"github.com/terminal-go/terminal/internal/spawn"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Client is the client of Modal's SDK.
type Client = sdk.Client

const (
	askLimit      = 10 * time.Second // bounds a call that Modal answers at once or not at all
	throttleLimit = 5 * time.Second  // bounds the SDK's own retries while Modal is busy; the Terminal retries after that
	buildLogTail  = 2000             // bytes at the end of a failed build's log that an error shows
)

// A workspace is a client of the SDK with the log of its image builds.
type workspace struct {
	*sdk.Client
	own bool
	log *buildLog
}

// connect returns a client. It makes no call.
func (cfg Config) connect(log *slog.Logger) (workspace, error) {
	if cfg.Client != nil {
		return workspace{Client: cfg.Client, log: &buildLog{log: log}}, nil
	}
	w := workspace{own: true, log: &buildLog{log: log}}
	patience := throttleLimit
	var err error
	w.Client, err = sdk.NewClientWithOptions(&sdk.ClientParams{
		Environment:            cfg.Environment,
		Logger:                 slog.New(slog.DiscardHandler), // errors are returned too
		MaxThrottleWait:        &patience,
		GRPCStreamInterceptors: []grpc.StreamClientInterceptor{w.log.intercept},
	})
	if err != nil {
		return workspace{}, fmt.Errorf("%w: modal: configuration: %w; correct ~/.modal.toml, MODAL_CONFIG_PATH or the MODAL_ variables", spawn.ErrUnavailable, err)
	}
	return w, nil
}

func (w workspace) close() {
	if w.own {
		w.Close()
	}
}

// refused returns what an error of the SDK means for Open. ErrNotStarted, which is
// retried, is only for what the SDK does not retry itself.
func (cfg Config) refused(op string, err error) error {
	var full sdk.ResourceExhaustedError
	st, isStatus := status.FromError(err)
	switch {
	case errors.As(err, &full):
		return cfg.busy(op, err)
	case !isStatus && isTyped(err):
		return cfg.wrong(op, err)
	case !isStatus && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		return cfg.silent(op, err)
	case !isStatus: // a call without credentials, for which the SDK has no type
		return fmt.Errorf("%w: modal: %s: no credentials: %w; there are none in MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, nor in the file of MODAL_CONFIG_PATH or ~/.modal.toml; run modal token new, or set the two variables", spawn.ErrUnavailable, op, err)
	}
	switch st.Code() {
	case codes.Unauthenticated, codes.PermissionDenied:
		return fmt.Errorf("%w: modal: %s: the credentials are refused: %w; run modal token new, or correct MODAL_TOKEN_ID and MODAL_TOKEN_SECRET", spawn.ErrUnavailable, op, err)
	case codes.ResourceExhausted, codes.Aborted:
		return cfg.busy(op, err)
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown:
		return cfg.silent(op, err)
	default:
		return cfg.wrong(op, err)
	}
}

// isTyped reports whether err has one of the SDK's error types.
func isTyped(err error) bool {
	return errors.As(err, &sdk.RemoteError{}) || errors.As(err, &sdk.InvalidError{}) || errors.As(err, &sdk.NotFoundError{}) ||
		errors.As(err, &sdk.AlreadyExistsError{}) || errors.As(err, &sdk.ConflictError{}) || errors.As(err, &sdk.TimeoutError{}) ||
		errors.As(err, &sdk.ClientClosedError{})
}

func (cfg Config) busy(op string, err error) error {
	return fmt.Errorf("%w: modal: %s: %w; if it stays, close tasks, lower Config.MaxTasks, or ask Modal for a higher limit", spawn.ErrNotStarted, op, err)
}

func (cfg Config) wrong(op string, err error) error {
	return fmt.Errorf("%w: modal: %s: %w; correct the field of Modal that asks for it", spawn.ErrUnavailable, op, err)
}

func (cfg Config) silent(op string, err error) error {
	return fmt.Errorf("%w: modal: %s: no usable answer from Modal: %w; look at the network, at MODAL_SERVER_URL if it is set, and at status.modal.com", spawn.ErrUnavailable, op, err)
}

// A buildLog keeps the end of the log of image builds, which the SDK discards.
type buildLog struct {
	log *slog.Logger

	mu   sync.Mutex // guards the rest
	tail string
}

func (b *buildLog) intercept(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, cc, method, opts...)
	if err != nil || method != pb.ModalClient_ImageJoinStreaming_FullMethodName {
		return s, err
	}
	return buildStream{s, b}, nil
}

type buildStream struct {
	grpc.ClientStream
	log *buildLog
}

func (s buildStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if answer, ok := m.(*pb.ImageJoinStreamingResponse); err == nil && ok {
		for _, entry := range answer.GetTaskLogs() {
			s.log.add(entry.GetData())
		}
	}
	return err
}

func (b *buildLog) add(text string) {
	if text == "" {
		return
	}
	b.mu.Lock()
	b.tail += text
	b.tail = b.tail[max(0, len(b.tail)-buildLogTail):]
	b.mu.Unlock()
	b.log.Debug("building image", "backend", "modal", "log", text)
}

// end returns the part of the log that an error shows.
func (b *buildLog) end() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(b.tail, ""))
}
