package modalfake

import (
	"bufio"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	modal "github.com/modal-labs/modal-client/go"
	pb "github.com/modal-labs/modal-client/go/proto/modal_proto"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestTerminateKillsAllProcesses(t *testing.T) {
	s, client := serve(t, Options{})
	sb := open(t, client, nil)
	other := open(t, client, nil)
	neighbour, err := other.Exec(t.Context(), []string{"sleep", "60"}, nil)
	require.NoError(t, err)
	p, err := sb.Exec(t.Context(), []string{
		"sh", "-c",
		`trap "" TERM; setsid sleep 61 & nohup sleep 62 >/dev/null 2>&1 & env -i sleep 63 & echo ready; wait`,
	}, nil)
	require.NoError(t, err)
	_, err = bufio.NewReader(p.Stdout).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, s.Wait(within(t, 5*time.Second), func(n Stats) bool { return n.Processes >= 4 }))

	_, err = sb.Terminate(t.Context(), nil)
	require.NoError(t, err)
	n := s.Stats()
	require.EqualValues(t, 1, n.Processes, "all but the neighbour")
	require.EqualValues(t, 1, n.Alive)
	code, err := p.Wait(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 137, code)

	over, err := sb.Poll(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 137, *over)
	_, err = sb.Terminate(t.Context(), nil)
	require.NoError(t, err, "a second time is no error")
	_, err = sb.Exec(t.Context(), []string{"true"}, nil)
	require.Equal(t, codes.NotFound, status.Code(err))

	still, err := other.Poll(t.Context(), nil)
	require.NoError(t, err)
	require.Nil(t, still)
	_, err = other.Terminate(t.Context(), &modal.SandboxTerminateParams{Wait: true})
	require.NoError(t, err)
	_, err = neighbour.Wait(t.Context(), nil)
	require.NoError(t, err)
	finish(t.Context(), p)
}

func TestSandboxLifetimeExpired(t *testing.T) {
	clock := NewManualClock()
	s, client := serve(t, Options{Clock: clock})
	sb := open(t, client, &modal.SandboxCreateParams{Timeout: time.Hour})
	p, err := sb.Exec(t.Context(), []string{"sleep", "60"}, nil)
	require.NoError(t, err)
	clock.Advance(time.Hour - time.Second)
	over, err := sb.Poll(t.Context(), nil)
	require.NoError(t, err)
	require.Nil(t, over)

	clock.Advance(time.Second)
	over, err = sb.Poll(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 124, *over)
	code, err := sb.Wait(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 124, code)
	require.Equal(t, 137, finish(t.Context(), p).ok(t).code)
	require.EqualValues(t, 1, s.Stats().TimedOut)

	// Without a lifetime it is the five minutes of the SDK.
	open(t, client, nil)
	clock.Advance(5 * time.Minute)
	require.Zero(t, s.Stats().Alive)
}

func TestSandboxIdleTimeout(t *testing.T) {
	clock := NewManualClock()
	s, client := serve(t, Options{Clock: clock})
	sb := open(t, client, &modal.SandboxCreateParams{Timeout: 24 * time.Hour, IdleTimeout: time.Minute})
	p, err := sb.Exec(t.Context(), []string{"cat"}, nil)
	require.NoError(t, err)
	clock.Advance(time.Hour)
	require.EqualValues(t, 1, s.Stats().Alive, "an exec keeps it from being idle")

	require.NoError(t, p.Stdin.Close())
	finish(t.Context(), p).ok(t)
	clock.Advance(59 * time.Second)
	sh(t, sb, "true").ok(t)
	clock.Advance(59 * time.Second)
	require.EqualValues(t, 1, s.Stats().Alive, "idle time starts anew after each exec")
	clock.Advance(time.Second)
	require.EqualValues(t, 1, s.Stats().IdledOut)
	over, err := sb.Poll(t.Context(), nil)
	require.NoError(t, err)
	require.NotNil(t, over)
}

func TestSandboxEntrypointExit(t *testing.T) {
	s, client := serve(t, Options{})
	sb := open(t, client, &modal.SandboxCreateParams{Command: []string{"sh", "-c", "exit 7"}})
	code, err := sb.Wait(within(t, 10*time.Second), nil)
	require.NoError(t, err)
	require.Equal(t, 7, code)
	require.EqualValues(t, 1, s.Stats().Exited)
}

func TestSandboxEndedExternally(t *testing.T) {
	s, client := serve(t, Options{})
	sb := open(t, client, nil)
	require.NoError(t, s.End(sb.SandboxID, pb.GenericResult_GENERIC_STATUS_FAILURE, 137)) // out of memory
	over, err := sb.Poll(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 137, *over)
}

func TestRouterSandboxEnded(t *testing.T) {
	for _, code := range []codes.Code{codes.NotFound, codes.FailedPrecondition} {
		s, client := serve(t, Options{Ended: code})
		sb := open(t, client, nil)
		p, err := sb.Exec(t.Context(), []string{"sleep", "60"}, nil)
		require.NoError(t, err)
		require.NoError(t, s.EndAll())
		o := finish(t.Context(), p)
		require.Equal(t, code, status.Code(o.wErr))
		require.Equal(t, code, status.Code(o.outErr))
	}
}

func TestSandboxTagsAndList(t *testing.T) {
	_, client := serve(t, Options{})
	app, image := prepare(t, client)
	const many = 2*pageSize + 3
	ids := make(map[string]bool)
	for i := range many {
		sb, err := client.Sandboxes.Create(t.Context(), app, image, &modal.SandboxCreateParams{
			Tags: map[string]string{"owner": "me", "number": fmt.Sprint(i)},
		})
		require.NoError(t, err)
		ids[sb.SandboxID] = true
	}
	other := open(t, client, nil)
	require.NoError(t, other.SetTags(t.Context(), map[string]string{"owner": "you"}, nil))
	tags, err := other.GetTags(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"owner": "you"}, tags)

	require.Len(t, list(t, client, app.AppID, nil), many+1)
	require.Equal(t, ids, list(t, client, app.AppID, map[string]string{"owner": "me"}))
	require.Len(t, list(t, client, app.AppID, map[string]string{"owner": "me", "number": "7"}), 1)
	require.Len(t, list(t, client, "", nil), many+1)

	_, err = other.Terminate(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, list(t, client, app.AppID, map[string]string{"owner": "you"}))
}

func list(t *testing.T, client *modal.Client, app string, tags map[string]string) map[string]bool {
	t.Helper()
	found, err := client.Sandboxes.List(t.Context(), &modal.SandboxListParams{AppID: app, Tags: tags})
	require.NoError(t, err)
	ids := make(map[string]bool)
	for sb, err := range found {
		require.NoError(t, err)
		ids[sb.SandboxID] = true
	}
	return ids
}

func TestSandboxNames(t *testing.T) {
	_, client := serve(t, Options{})
	sb := open(t, client, &modal.SandboxCreateParams{Name: "mine"})
	app, image := prepare(t, client)
	_, err := client.Sandboxes.Create(t.Context(), app, image, &modal.SandboxCreateParams{Name: "mine"})
	require.ErrorAs(t, err, &modal.AlreadyExistsError{})
	found, err := client.Sandboxes.FromName(t.Context(), "terminal", "mine", nil)
	require.NoError(t, err)
	require.Equal(t, sb.SandboxID, found.SandboxID)

	_, err = found.Terminate(t.Context(), nil)
	require.NoError(t, err)
	_, err = client.Sandboxes.FromName(t.Context(), "terminal", "mine", nil)
	require.ErrorAs(t, err, &modal.NotFoundError{})
	open(t, client, &modal.SandboxCreateParams{Name: "mine"}) // free again
}

func TestSandboxFromID(t *testing.T) {
	s, client := serve(t, Options{})
	sb := open(t, client, nil)
	sh(t, sb, `echo kept >"$HOME"/file`).ok(t)
	require.NoError(t, sb.Detach())
	again, err := client.Sandboxes.FromID(t.Context(), sb.SandboxID, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = again.Detach() })
	require.Equal(t, "kept\n", sh(t, again, `cat "$HOME"/file`).ok(t).stdout)
	require.EqualValues(t, 1, s.Stats().RPCs["SandboxGetTaskIdV2"])
	require.EqualValues(t, 1, s.Stats().RPCs["SandboxGetCommandRouterAccess"])
}

func TestSandboxV1(t *testing.T) {
	t.Setenv("MODAL_SANDBOX_V2", "0")
	clock := NewManualClock()
	s, client := serve(t, Options{Clock: clock, StartDelay: time.Second})
	app, image := prepare(t, client)
	var creating sync.WaitGroup
	var sb *modal.Sandbox
	var err error
	creating.Go(func() {
		sb, err = client.Sandboxes.Create(t.Context(), app, image, &modal.SandboxCreateParams{
			Name: "old", Env: map[string]string{"A": "1"}, Tags: map[string]string{"owner": "me"},
		})
	})
	require.NoError(t, s.Wait(within(t, 5*time.Second), func(n Stats) bool { return n.RPCs["SandboxGetTaskId"] > 0 }))
	clock.Advance(time.Second)
	creating.Wait()
	require.NoError(t, err)
	t.Cleanup(func() { _ = sb.Detach() })
	require.Equal(t, "1\n", sh(t, sb, "echo $A").ok(t).stdout)
	require.Len(t, list(t, client, app.AppID, map[string]string{"owner": "me"}), 1)
	found, err := client.Sandboxes.FromName(t.Context(), "terminal", "old", nil)
	require.NoError(t, err)
	require.Equal(t, sb.SandboxID, found.SandboxID)
	_, err = sb.Terminate(t.Context(), &modal.SandboxTerminateParams{Wait: true})
	require.NoError(t, err)
	require.Zero(t, s.Stats().RPCs["SandboxCreateV2"])
}

func TestSandboxCreateInvalidArguments(t *testing.T) {
	s, client := serve(t, Options{MaxSandboxes: 1})
	app, image := prepare(t, client)
	_, err := client.Sandboxes.Create(t.Context(), app, image, &modal.SandboxCreateParams{Regions: []string{"mars"}})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	_, err = client.Sandboxes.Create(t.Context(), app, image, &modal.SandboxCreateParams{GPU: "abacus"})
	require.Equal(t, codes.InvalidArgument, status.Code(err))

	sb, err := client.Sandboxes.Create(t.Context(), app, image, &modal.SandboxCreateParams{GPU: "T4:2", Regions: []string{"us-east"}})
	require.NoError(t, err)
	_, err = client.Sandboxes.Create(t.Context(), app, image, nil)
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	_, err = sb.Terminate(t.Context(), nil)
	require.NoError(t, err)
	open(t, client, nil)
	require.EqualValues(t, 2, s.Stats().Created)

	_, err = client.Apps.FromName(t.Context(), "none", nil)
	require.ErrorAs(t, err, &modal.NotFoundError{})
}

func TestAuthWrongTokens(t *testing.T) {
	s, _ := serve(t, Options{})
	client, err := s.NewClient(&modal.ClientParams{TokenID: "ak-fake", TokenSecret: "as-wrong"})
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Apps.FromName(t.Context(), "terminal", &modal.AppFromNameParams{CreateIfMissing: true})
	require.Equal(t, codes.Unauthenticated, status.Code(err))
}

func TestRouterTokenRenewed(t *testing.T) {
	s, client := serve(t, Options{RouterToken: time.Second})
	sb := open(t, client, nil)
	sh(t, sb, "true").ok(t)
	time.Sleep(2 * time.Second) // tokens live on the machine's clock, as the SDK reads it
	sh(t, sb, "true").ok(t)
	require.NotZero(t, s.Stats().RPCs["SandboxGetCommandRouterAccess"])
}

func TestImageBuildSlowOrFailing(t *testing.T) {
	clock := NewManualClock()
	s, client := serve(t, Options{Clock: clock, Images: map[string]Build{
		"slow":   {Duration: time.Minute, Log: []string{"Step 1/1"}},
		"broken": {Log: []string{"Step 1/1", "no space left"}, Fail: "exit code 1"},
	}})
	app, _ := prepare(t, client)
	var building sync.WaitGroup
	building.Go(func() {
		image, err := client.Images.FromRegistry("slow", nil).Build(t.Context(), app, nil)
		require.NoError(t, err)
		require.NotEmpty(t, image.ImageID)
	})
	require.NoError(t, s.Wait(within(t, 5*time.Second), func(n Stats) bool { return n.RPCs["ImageJoinStreaming"] > 0 }))
	clock.Advance(time.Minute)
	building.Wait()

	_, err := client.Images.FromRegistry("broken", nil).Build(t.Context(), app, nil)
	require.ErrorAs(t, err, &modal.RemoteError{})
	require.ErrorContains(t, err, "exit code 1")
}

func TestSandboxHundredConcurrent(t *testing.T) {
	s, client := serve(t, Options{})
	app, image := prepare(t, client)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			sb, err := client.Sandboxes.Create(t.Context(), app, image, nil)
			if err != nil {
				t.Error(err)
				return
			}
			p, err := sb.Exec(t.Context(), []string{"sleep", "60"}, nil)
			if err != nil {
				t.Error(err)
				return
			}
			_, err = sb.Terminate(context.WithoutCancel(t.Context()), nil)
			if err != nil {
				t.Error(err)
			}
			finish(t.Context(), p)
			_ = sb.Detach()
		})
	}
	all.Wait()
	n := s.Stats()
	require.EqualValues(t, 100, n.Created)
	require.EqualValues(t, 100, n.Terminated)
	require.Zero(t, n.Processes)
}
