package modalfake

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	modal "github.com/modal-labs/modal-client/go"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestFaultCode(t *testing.T) {
	s, client := serve(t, Options{})
	app, image := prepare(t, client)
	s.Inject(Fault{Method: "SandboxCreateV2", Code: codes.Unavailable, Times: 2})
	sb, err := client.Sandboxes.Create(t.Context(), app, image, nil)
	require.NoError(t, err, "the SDK tries again")
	t.Cleanup(func() { _ = sb.Detach() })
	require.EqualValues(t, 3, s.Stats().RPCs["SandboxCreateV2"])
	require.EqualValues(t, 2, s.Stats().Faults["SandboxCreateV2"])
	require.EqualValues(t, 1, s.Stats().Created)

	s.Inject(Fault{Method: "TaskExecStart", Code: codes.ResourceExhausted, Skip: 1})
	sh(t, sb, "true").ok(t)
	_, err = sb.Exec(t.Context(), []string{"true"}, nil)
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	sh(t, sb, "true").ok(t)

	s.Inject(Fault{Code: codes.PermissionDenied, Times: -1})
	for range 3 {
		_, err = sb.Poll(t.Context(), nil)
		require.Equal(t, codes.PermissionDenied, status.Code(err))
	}
	s.Heal()
	_, err = sb.Poll(t.Context(), nil)
	require.NoError(t, err)
}

func TestFaultDelayAndHang(t *testing.T) {
	s, client := serve(t, Options{})
	sb := open(t, client, nil)
	s.Inject(Fault{Method: "TaskExecStart", Delay: 300 * time.Millisecond})
	start := time.Now()
	sh(t, sb, "true").ok(t)
	require.Greater(t, time.Since(start), 300*time.Millisecond)

	s.Inject(Fault{Method: "SandboxTerminateV2", Hang: true})
	_, err := sb.Terminate(within(t, 300*time.Millisecond), nil)
	require.Equal(t, codes.DeadlineExceeded, status.Code(err))
	require.EqualValues(t, 1, s.Stats().Alive)
}

func TestFaultReplyLost(t *testing.T) {
	s, client := serve(t, Options{})
	app, image := prepare(t, client)
	s.Inject(Fault{Method: "SandboxCreateV2", Code: codes.Unavailable, Lost: true, Times: 2})
	sb, err := client.Sandboxes.Create(t.Context(), app, image, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = sb.Detach() })
	require.EqualValues(t, 1, s.Stats().Created)
	require.EqualValues(t, 2, s.Stats().Deduped)

	file := t.TempDir() + "/file"
	s.Inject(Fault{Method: "TaskExecStart", Code: codes.Unavailable, Lost: true, Times: 3})
	sh(t, sb, "echo line >>"+file).ok(t)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "line\n", string(text))
	require.EqualValues(t, 3, s.Stats().ExecDuplicates)
	require.EqualValues(t, 1, s.Stats().Commands)

	s.Inject(Fault{Method: "TaskExecStdinWrite", Code: codes.Unavailable, Lost: true})
	p, err := sb.Exec(t.Context(), []string{"cat"}, nil)
	require.NoError(t, err)
	_, err = p.Stdin.Write([]byte("once\n"))
	require.NoError(t, err)
	require.NoError(t, p.Stdin.Close())
	require.Equal(t, "once\n", finish(t.Context(), p).ok(t).stdout)
}

func TestFaultReplyLostNoDedup(t *testing.T) {
	s, client := serve(t, Options{NoDedup: true})
	app, image := prepare(t, client)
	s.Inject(Fault{Method: "SandboxCreateV2", Code: codes.Unavailable, Lost: true, Times: 2})
	_, err := client.Sandboxes.Create(t.Context(), app, image, nil)
	require.NoError(t, err)
	require.EqualValues(t, 3, s.Stats().Alive)
}

func TestFaultMidStream(t *testing.T) {
	s, client := serve(t, Options{})
	sb := open(t, client, nil)
	s.Inject(
		Fault{Method: "TaskExecStdioRead", Code: codes.Unavailable, Bytes: 100_000},
		Fault{Method: "TaskExecStdioRead", Code: codes.Internal, Bytes: 1_000_000},
		Fault{Method: "TaskExecStdioRead", Code: codes.Unavailable, Bytes: 1},
	)
	p, err := sb.Exec(t.Context(), []string{"sh", "-c", "seq 500000"}, &modal.SandboxExecParams{Stderr: modal.Ignore})
	require.NoError(t, err)
	o := finish(t.Context(), p).ok(t)
	require.Equal(t, "500000", last(strings.Fields(o.stdout)))
	require.Len(t, strings.Fields(o.stdout), 500000)
	require.EqualValues(t, 3, s.Stats().Resumed)
}

func last(words []string) string { return words[len(words)-1] }

func TestFaultSandboxDeath(t *testing.T) {
	for _, moment := range []Moment{Before, After} {
		s, client := serve(t, Options{})
		sb := open(t, client, nil)
		s.Inject(Fault{Method: "TaskExecStart", Death: moment})
		p, err := sb.Exec(t.Context(), []string{"sleep", "60"}, nil)
		if moment == Before {
			require.Equal(t, codes.NotFound, status.Code(err))
			require.Zero(t, s.Stats().Commands)
		} else {
			require.NoError(t, err)
			require.Equal(t, 137, finish(t.Context(), p).ok(t).code)
			require.EqualValues(t, 1, s.Stats().Commands)
		}
		require.Zero(t, s.Stats().Alive)
		over, err := sb.Poll(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, 137, *over)
	}
}

func TestNetworkCutAndRestored(t *testing.T) {
	s, client := serve(t, Options{})
	sb := open(t, client, nil)
	p, err := sb.Exec(t.Context(), []string{"sh", "-c", "seq 1000; sleep 0.5; seq 1000"}, nil)
	require.NoError(t, err)
	s.Router.Drop()
	require.Len(t, strings.Fields(finish(t.Context(), p).ok(t).stdout), 2000)

	restore := s.Control.Cut()
	_, err = sb.Poll(t.Context(), nil)
	require.Equal(t, codes.Unavailable, status.Code(err))
	restore()
	require.Eventually(t, func() bool {
		_, err = sb.Poll(t.Context(), nil)
		return err == nil
	}, 10*time.Second, 50*time.Millisecond)
}

func TestNetworkFreeze(t *testing.T) {
	s, client := serve(t, Options{})
	sb := open(t, client, nil)
	p, err := sb.Exec(t.Context(), []string{"echo", "there"}, nil)
	require.NoError(t, err)
	thaw := s.Router.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = p.Wait(ctx, nil)
	require.Error(t, err)
	thaw()
	require.Equal(t, "there\n", finish(t.Context(), p).ok(t).stdout)
}
