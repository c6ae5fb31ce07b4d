//go:build !terminal_nomodal

package terminal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	modal "github.com/modal-labs/modal-client/go"
	pb "github.com/modal-labs/modal-client/go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ModalClient is the client of Modal's SDK.
type ModalClient = modal.Client

const (
	askLimit      = 10 * time.Second // for a question that Modal answers at once if at all
	throttleLimit = 5 * time.Second  // for the SDK's own patience with a busy Modal; ours comes after it
	buildLogTail  = 2000             // bytes of a failed build's log that an error shows
)

// workspace is the SDK's client, and what its builds said.
type workspace struct {
	*modal.Client
	own bool
	log *buildLog
}

// connect makes a client. It asks Modal nothing.
func (m Modal) connect(log *slog.Logger) (workspace, error) {
	if m.Client != nil {
		return workspace{Client: m.Client, log: &buildLog{log: log}}, nil
	}
	w := workspace{own: true, log: &buildLog{log: log}}
	patience := throttleLimit
	var err error
	w.Client, err = modal.NewClientWithOptions(&modal.ClientParams{
		Environment:            m.Environment,
		Logger:                 slog.New(slog.DiscardHandler), // what matters of it comes back as an error
		MaxThrottleWait:        &patience,
		GRPCStreamInterceptors: []grpc.StreamClientInterceptor{w.log.intercept},
	})
	if err != nil {
		return workspace{}, fmt.Errorf("%w: modal: configuration: %w; correct ~/.modal.toml, MODAL_CONFIG_PATH or the MODAL_ variables", ErrUnavailable, err)
	}
	return w, nil
}

func (w workspace) close() {
	if w.own {
		w.Close()
	}
}

// Check tells apart: no credentials, credentials that Modal refuses, and no
// answer.
func (m Modal) Check(ctx context.Context) error {
	m, err := m.complete()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	w, err := m.connect(slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer w.close()
	asking, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	_, err = w.Apps.FromName(asking, m.App, &modal.AppFromNameParams{Environment: m.Environment})
	if err == nil || errors.As(err, &modal.NotFoundError{}) {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return m.refused("look up app "+m.App, err)
}

// refused says what an error of the SDK's means for an opening. What the SDK
// has tried again in vain is not for us to try again.
func (m Modal) refused(op string, err error) error {
	var full modal.ResourceExhaustedError
	st, isStatus := status.FromError(err)
	switch {
	case errors.As(err, &full):
		return m.busy(op, err)
	case !isStatus && isTyped(err):
		return m.wrong(op, err)
	case !isStatus && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		return m.silent(op, err)
	case !isStatus: // the SDK has no type for it: a call without credentials
		return fmt.Errorf("%w: modal: %s: no credentials: %w; there are none in MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, nor in the file of MODAL_CONFIG_PATH or ~/.modal.toml; run modal token new, or set the two variables", ErrUnavailable, op, err)
	}
	switch st.Code() {
	case codes.Unauthenticated, codes.PermissionDenied:
		return fmt.Errorf("%w: modal: %s: the credentials are refused: %w; run modal token new, or correct MODAL_TOKEN_ID and MODAL_TOKEN_SECRET", ErrUnavailable, op, err)
	case codes.ResourceExhausted, codes.Aborted:
		return m.busy(op, err)
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown:
		return m.silent(op, err)
	default:
		return m.wrong(op, err)
	}
}

// isTyped tells whether the SDK has understood an error.
func isTyped(err error) bool {
	return errors.As(err, &modal.RemoteError{}) || errors.As(err, &modal.InvalidError{}) || errors.As(err, &modal.NotFoundError{}) ||
		errors.As(err, &modal.AlreadyExistsError{}) || errors.As(err, &modal.ConflictError{}) || errors.As(err, &modal.TimeoutError{}) ||
		errors.As(err, &modal.ClientClosedError{})
}

func (m Modal) busy(op string, err error) error {
	return fmt.Errorf("%w: modal: %s: %w; if it stays, close tasks, lower Config.MaxTasks, or ask Modal for a higher limit", ErrNotStarted, op, err)
}

func (m Modal) wrong(op string, err error) error {
	return fmt.Errorf("%w: modal: %s: %w; correct the field of Modal that asks for it", ErrUnavailable, op, err)
}

func (m Modal) silent(op string, err error) error {
	return fmt.Errorf("%w: modal: %s: no usable answer from Modal: %w; look at the network, at MODAL_SERVER_URL if it is set, and at status.modal.com", ErrUnavailable, op, err)
}

// buildLog keeps the end of what image builds said, which the SDK drops.
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

// end is what an error shows of it.
func (b *buildLog) end() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(b.tail, ""))
}
