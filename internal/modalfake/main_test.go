package modalfake

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	modal "github.com/modal-labs/modal-client/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a fake and a client of the official SDK, and looks at the end
// whether anything is left.
func serve(t *testing.T, opt Options) (*Server, *modal.Client) {
	t.Helper()
	s, err := Start(opt)
	require.NoError(t, err)
	client, err := s.NewClient(nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		client.Close()
		assert.NoError(t, s.Close())
		n := s.Stats()
		assert.Zero(t, n.Alive, "sandboxes left")
		assert.Zero(t, n.Processes, "processes left")
		assert.Zero(t, n.ExecsRunning, "execs left")
		assert.Zero(t, n.Streams, "streams left")
		assert.NoDirExists(t, s.dir)
	})
	return s, client
}

// prepare is what comes before the first sandbox.
func prepare(t *testing.T, client *modal.Client) (*modal.App, *modal.Image) {
	t.Helper()
	app, err := client.Apps.FromName(t.Context(), "terminal", &modal.AppFromNameParams{CreateIfMissing: true})
	require.NoError(t, err)
	image, err := client.Images.FromRegistry("python:3.11-slim", nil).Build(t.Context(), app, nil)
	require.NoError(t, err)
	return app, image
}

func open(t *testing.T, client *modal.Client, params *modal.SandboxCreateParams) *modal.Sandbox {
	t.Helper()
	app, image := prepare(t, client)
	sb, err := client.Sandboxes.Create(t.Context(), app, image, params)
	require.NoError(t, err)
	t.Cleanup(func() { _ = sb.Detach() })
	return sb
}

// outcome is all that the SDK tells of a command.
type outcome struct {
	stdout, stderr       string
	code                 int
	outErr, errErr, wErr error
}

func (o outcome) ok(t *testing.T) outcome {
	t.Helper()
	require.NoError(t, o.wErr)
	require.NoError(t, o.outErr)
	require.NoError(t, o.errErr)
	return o
}

func run(ctx context.Context, t *testing.T, sb *modal.Sandbox, params *modal.SandboxExecParams, args ...string) outcome {
	t.Helper()
	p, err := sb.Exec(ctx, args, params)
	require.NoError(t, err)
	return finish(ctx, p)
}

func sh(t *testing.T, sb *modal.Sandbox, script string) outcome {
	t.Helper()
	return run(t.Context(), t, sb, nil, "sh", "-c", script)
}

// finish reads both outputs and waits, all at once.
func finish(ctx context.Context, p *modal.ContainerProcess) (o outcome) {
	var reading sync.WaitGroup
	read := func(r io.ReadCloser, s *string, err *error) {
		reading.Go(func() {
			var b []byte
			b, *err = io.ReadAll(r)
			*s = string(b)
		})
	}
	read(p.Stdout, &o.stdout, &o.outErr)
	read(p.Stderr, &o.stderr, &o.errErr)
	o.code, o.wErr = p.Wait(ctx, nil)
	reading.Wait()
	_ = p.Stdout.Close()
	_ = p.Stderr.Close()
	return o
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
