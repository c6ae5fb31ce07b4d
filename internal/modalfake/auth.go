package modalfake

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	pb "github.com/modal-labs/modal-client/go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// authorizer returns an error if a call's credentials are missing or wrong.
type authorizer func(ctx context.Context, method string, req any) error

// tokenLife is how long the control plane's tokens are valid. The SDK renews
// them some minutes before they expire.
const tokenLife = time.Hour

// authorizeControl requires the token ID and secret on every call, and on unary
// calls also the token that AuthTokenGet returned.
func (s *Server) authorizeControl(ctx context.Context, method string, _ any) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if first(md, "x-modal-token-id") != s.opt.TokenID || first(md, "x-modal-token-secret") != s.opt.TokenSecret {
		return status.Error(codes.Unauthenticated, "Token ID or secret is not valid")
	}
	if method == "AuthTokenGet" || method == "ImageJoinStreaming" {
		return nil
	}
	if !s.signed(first(md, "x-modal-auth-token"), "workspace") {
		return status.Error(codes.Unauthenticated, "Auth token is not valid")
	}
	return nil
}

// authorizeRouter requires the token of the request's task.
func (s *Server) authorizeRouter(ctx context.Context, _ string, req any) error {
	md, _ := metadata.FromIncomingContext(ctx)
	r, ok := req.(interface{ GetTaskId() string })
	if !ok || !s.signed(strings.TrimPrefix(first(md, "authorization"), "Bearer "), r.GetTaskId()) {
		return status.Error(codes.Unauthenticated, "token is not valid for this task")
	}
	return nil
}

func first(md metadata.MD, name string) string {
	if v := md.Get(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// claims is the payload of the fake's tokens.
type claims struct {
	Subject string `json:"sub"`
	Expiry  int64  `json:"exp"` // by the machine's clock, as the SDK reads it
}

// sign returns a token in the form of a JWT.
func (s *Server) sign(subject string, life time.Duration) string {
	b, _ := json.Marshal(claims{subject, time.Now().Add(life).Unix()})
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`))
	body := head + "." + base64.RawURLEncoding.EncodeToString(b)
	return body + "." + s.seal(body)
}

func (s *Server) seal(body string) string {
	h := hmac.New(sha256.New, s.signer)
	h.Write([]byte(body))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// signed reports whether the token was signed here for subject and is not expired.
func (s *Server) signed(token, subject string) bool {
	i := strings.LastIndexByte(token, '.')
	if i < 0 || !hmac.Equal([]byte(s.seal(token[:i])), []byte(token[i+1:])) {
		return false
	}
	_, payload, _ := strings.Cut(token[:i], ".")
	b, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return false
	}
	var c claims
	return json.Unmarshal(b, &c) == nil && c.Subject == subject && time.Now().Unix() < c.Expiry
}

// AuthTokenGet returns a token; authorizeControl has checked the ID and secret.
func (c *controlPlane) AuthTokenGet(context.Context, *pb.AuthTokenGetRequest) (*pb.AuthTokenGetResponse, error) {
	return pb.AuthTokenGetResponse_builder{Token: c.sign("workspace", tokenLife)}.Build(), nil
}
