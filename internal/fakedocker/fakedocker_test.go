package fakedocker_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal/internal/fakedocker"
	"github.com/terminal-go/terminal/internal/testimage"
)

func clientOf(t *testing.T, d *fakedocker.Daemon) *client.Client {
	t.Helper()
	cli, err := client.New(client.WithHost(d.Host()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = cli.Close() })
	return cli
}

// inFront is a fake in front of the real Engine, a client of each, and a
// container to try things in.
func inFront(t *testing.T) (d *fakedocker.Daemon, fake, engine *client.Client, id string) {
	t.Helper()
	engine = testimage.Engine(t)
	image := testimage.Busybox(t)
	d = fakedocker.New(t, engine.DaemonHost())
	fake = clientOf(t, d)
	id = create(t, fake, image)
	cleanUp(t, engine, id)
	_, err := fake.ContainerStart(t.Context(), id, client.ContainerStartOptions{})
	require.NoError(t, err)
	return d, fake, engine, id
}

func options(image string) client.ContainerCreateOptions {
	yes := true
	return client.ContainerCreateOptions{
		Config:     &container.Config{Image: image, Cmd: []string{"sleep", "1000"}},
		HostConfig: &container.HostConfig{NetworkMode: "none", Init: &yes},
	}
}

func create(t *testing.T, cli *client.Client, image string) string {
	t.Helper()
	res, err := cli.ContainerCreate(t.Context(), options(image))
	require.NoError(t, err)
	return res.ID
}

func cleanUp(t *testing.T, engine *client.Client, id string) {
	t.Helper()
	t.Cleanup(func() {
		_, err := engine.ContainerRemove(context.Background(), id, client.ContainerRemoveOptions{Force: true})
		if !errdefs.IsNotFound(err) {
			assert.NoError(t, err)
		}
	})
}

// attach starts a command in the container and returns its stream.
func attach(t *testing.T, cli *client.Client, id string, cmd ...string) (execID string, stream client.ExecAttachResult) {
	t.Helper()
	created, err := cli.ExecCreate(t.Context(), id, client.ExecCreateOptions{
		Cmd: cmd, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	require.NoError(t, err)
	stream, err = cli.ExecAttach(t.Context(), created.ID, client.ExecAttachOptions{})
	require.NoError(t, err)
	t.Cleanup(stream.Close)
	return created.ID, stream
}

func TestAPingComesThrough(t *testing.T) {
	engine := testimage.Engine(t)
	d := fakedocker.New(t, engine.DaemonHost())
	fake := clientOf(t, d)
	want, err := engine.Ping(t.Context(), client.PingOptions{})
	require.NoError(t, err)
	got, err := fake.Ping(t.Context(), client.PingOptions{NegotiateAPIVersion: true})
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Equal(t, engine.ClientVersion(), fake.ClientVersion())
	assert.Equal(t, 1, d.Count("HEAD", "/_ping"))
	_, err = fake.ServerVersion(t.Context(), client.ServerVersionOptions{})
	require.NoError(t, err)
	assert.Equal(t, 1, d.Count("GET", "/version"))
}

func TestProxyStreamHalfClose(t *testing.T) {
	d, fake, _, id := inFront(t)
	execID, stream := attach(t, fake, id, "sh", "-c", "cat; echo end; echo err >&2; exit 3")
	text := strings.Repeat("0123456789abcde\n", 1<<16) // a megabyte
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(stream.Conn, text)
		if err == nil {
			err = stream.CloseWrite()
		}
		wrote <- err
	}()
	var stdout, stderr bytes.Buffer
	_, err := stdcopy.StdCopy(&stdout, &stderr, stream.Reader)
	require.NoError(t, err)
	require.NoError(t, <-wrote)
	assert.True(t, stdout.String() == text+"end\n", "%d bytes", stdout.Len())
	assert.Equal(t, "err\n", stderr.String())
	assert.Eventually(t, func() bool {
		res, err := fake.ExecInspect(t.Context(), execID, client.ExecInspectOptions{})
		return err == nil && !res.Running && res.ExitCode == 3
	}, 5*time.Second, 10*time.Millisecond)
	assert.Equal(t, 1, d.Count("POST", "/exec/*/start"))
	assert.Equal(t, 1, d.Count("POST", "/containers/*/exec"))
}

func TestProxyStreamRefused(t *testing.T) {
	_, fake, _, _ := inFront(t)
	_, err := fake.ExecAttach(t.Context(), "none", client.ExecAttachOptions{})
	assert.ErrorContains(t, err, "404")
}

func TestAnAnswerThatIsLongInComingComesThrough(t *testing.T) {
	_, fake, engine, id := inFront(t)
	wait := fake.ContainerWait(t.Context(), id, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	logs, err := fake.ContainerLogs(t.Context(), id, client.ContainerLogsOptions{ShowStdout: true, Follow: true})
	require.NoError(t, err)
	defer logs.Close()
	_, err = engine.ContainerKill(t.Context(), id, client.ContainerKillOptions{Signal: "KILL"})
	require.NoError(t, err)
	select {
	case res := <-wait.Result:
		assert.EqualValues(t, 137, res.StatusCode)
	case err := <-wait.Error:
		require.NoError(t, err)
	}
	_, err = io.ReadAll(logs)
	assert.NoError(t, err)
}

func TestStreamBreakAfterServerBytes(t *testing.T) {
	d, fake, _, id := inFront(t)
	d.Fault(fakedocker.Rule{PathRegexp: "^/exec/.*/start$", DropAfterBytes: 1000, Times: 1})
	_, stream := attach(t, fake, id, "sh", "-c", "yes; sleep 1000")
	got, _ := io.ReadAll(stream.Reader)
	assert.Len(t, got, 1000)

	_, stream = attach(t, fake, id, "sh", "-c", "yes | head -2000")
	got, err := io.ReadAll(stream.Reader)
	require.NoError(t, err)
	assert.Greater(t, len(got), 4000, "the rule has had its time")
}

func TestStreamBreakAfterClientBytes(t *testing.T) {
	d, fake, _, id := inFront(t)
	d.Fault(fakedocker.Rule{PathRegexp: "^/exec/.*/start$", DropAfterSent: 1000, Times: 1})
	_, stream := attach(t, fake, id, "sh", "-c", "cat; sleep 1000")
	_, err := io.WriteString(stream.Conn, strings.Repeat("x", 1000))
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, stream.Reader)
	assert.Error(t, errors.Join(err, errOf(io.WriteString(stream.Conn, "x"))))
}

func errOf(_ int, err error) error { return err }

func TestStreamBreakOnRequest(t *testing.T) {
	d, fake, _, id := inFront(t)
	_, stream := attach(t, fake, id, "sh", "-c", "echo on; exec sleep 1000")
	_, err := stream.Reader.Peek(1)
	require.NoError(t, err)
	assert.Zero(t, d.Break("/containers/*/attach"))
	assert.Equal(t, 1, d.Break("/exec/*/start"))
	_, err = io.WriteString(stream.Conn, "x")
	assert.Error(t, err, "known at once")
	_, _ = io.ReadAll(stream.Reader)
	require.Eventually(t, func() bool { return d.Break("/exec/*/start") == 0 }, 5*time.Second, 10*time.Millisecond)
}

func TestProxyHeadersKept(t *testing.T) {
	d := fakedocker.New(t, "")
	_, err := clientOf(t, d).Ping(t.Context(), client.PingOptions{})
	require.NoError(t, err)
	headers := d.Headers("HEAD", "/_ping")
	require.Len(t, headers, 1)
	assert.NotEmpty(t, headers[0].Get("User-Agent"))
}

func TestResponseBodyBreak(t *testing.T) {
	d := fakedocker.New(t, "")
	d.Fault(fakedocker.Rule{PathRegexp: "^/info$", Status: 200, Body: `{"ID":"x"}`, DropAfterBytes: 4})
	_, err := clientOf(t, d).Info(t.Context(), client.InfoOptions{})
	assert.ErrorContains(t, err, "unexpected EOF")
}

func TestCreateFailsOnce(t *testing.T) {
	d, fake, engine, _ := inFront(t)
	image := testimage.Busybox(t)
	d.Fault(fakedocker.Rule{Method: "POST", PathRegexp: "^/containers/create$", Status: 500, Body: `{"message":"no space left"}`, Times: 1})
	_, err := fake.ContainerCreate(t.Context(), options(image))
	assert.True(t, errdefs.IsInternal(err), "%v", err)
	assert.ErrorContains(t, err, "no space left")
	cleanUp(t, engine, create(t, fake, image))
	assert.Equal(t, 3, d.Count("POST", "/containers/create"))
}

func TestAnAnswerIsLostAndTheDeedIsDone(t *testing.T) {
	d, fake, engine, id := inFront(t)
	d.Fault(fakedocker.Rule{Method: "DELETE", DropAnswer: true})
	_, err := fake.ContainerRemove(t.Context(), id, client.ContainerRemoveOptions{Force: true})
	assert.ErrorIs(t, err, io.EOF)
	_, err = engine.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
	assert.True(t, errdefs.IsNotFound(err), "%v", err)
}

func TestARequestIsDropped(t *testing.T) {
	d, fake, engine, id := inFront(t)
	remove := d.Fault(fakedocker.Rule{Method: "DELETE", Drop: true})
	_, err := fake.ContainerRemove(t.Context(), id, client.ContainerRemoveOptions{Force: true})
	assert.ErrorIs(t, err, io.EOF)
	_, err = engine.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
	assert.NoError(t, err)
	remove()
	_, err = fake.ContainerRemove(t.Context(), id, client.ContainerRemoveOptions{Force: true})
	assert.NoError(t, err)
	assert.Equal(t, 2, d.Count("DELETE", "/containers/*"))
}

func TestExecReportedRunningAfterExit(t *testing.T) {
	d, fake, _, id := inFront(t)
	d.Fault(fakedocker.Rule{Method: "GET", PathRegexp: "^/exec/.*/json$", Times: 3, Rewrite: func(body []byte) []byte {
		return bytes.Replace(body, []byte(`"Running":false`), []byte(`"Running":true`), 1)
	}})
	execID, stream := attach(t, fake, id, "true")
	_, err := io.ReadAll(stream.Reader)
	require.NoError(t, err)
	for range 3 {
		res, err := fake.ExecInspect(t.Context(), execID, client.ExecInspectOptions{})
		require.NoError(t, err)
		assert.True(t, res.Running)
	}
	assert.Eventually(t, func() bool {
		res, err := fake.ExecInspect(t.Context(), execID, client.ExecInspectOptions{})
		return err == nil && !res.Running
	}, 5*time.Second, 10*time.Millisecond)
}

func TestDaemonDownAndUp(t *testing.T) {
	d, fake, _, id := inFront(t)
	_, stream := attach(t, fake, id, "sh", "-c", "echo on; exec sleep 1000")
	_, err := stream.Reader.Peek(1)
	require.NoError(t, err)
	d.Stop()
	_, err = io.ReadAll(stream.Reader)
	assert.NoError(t, err, "the end of the stream")
	_, err = fake.Ping(t.Context(), client.PingOptions{})
	assert.True(t, client.IsErrConnectionFailed(err), "%v", err)
	d.Stop()

	d.Resume()
	res, err := fake.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
	require.NoError(t, err)
	assert.True(t, res.Container.State.Running)
}

func TestDaemonHang(t *testing.T) {
	d, fake, _, id := inFront(t)
	_, stream := attach(t, fake, id, "sh", "-c", "while sleep 0.05; do echo tick; done")
	d.Stall()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := fake.Info(ctx, client.InfoOptions{})
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	for { // what was on its way
		require.NoError(t, stream.Conn.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
		if _, err = stream.Reader.ReadByte(); err != nil {
			break
		}
	}
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	assert.True(t, timeout.Timeout())
	require.NoError(t, stream.Conn.SetReadDeadline(time.Time{}))

	d.Resume()
	_, err = stream.Reader.ReadByte()
	assert.NoError(t, err)
	_, err = fake.Info(t.Context(), client.InfoOptions{})
	assert.NoError(t, err)
}

func TestCloseDuringHang(t *testing.T) {
	d, fake, _, id := inFront(t)
	_, stream := attach(t, fake, id, "sh", "-c", "while sleep 0.05; do echo tick; done")
	d.Stall()
	d.Close()
	_, err := io.ReadAll(stream.Reader)
	assert.NoError(t, err)
	d.Close()
}

func TestResponseDelayed(t *testing.T) {
	d := fakedocker.New(t, "")
	fake := clientOf(t, d)
	d.Fault(fakedocker.Rule{PathRegexp: "^/version$", Delay: 200 * time.Millisecond})
	began := time.Now()
	_, err := fake.ServerVersion(t.Context(), client.ServerVersionOptions{})
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(began), 200*time.Millisecond)

	d.Fault(fakedocker.Rule{PathRegexp: "^/version$", Delay: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = fake.ServerVersion(ctx, client.ServerVersionOptions{})
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestNoEnginePing(t *testing.T) {
	d := fakedocker.New(t, "")
	fake := clientOf(t, d)
	ping, err := fake.Ping(t.Context(), client.PingOptions{NegotiateAPIVersion: true})
	require.NoError(t, err)
	assert.Equal(t, "1.41", ping.APIVersion)
	assert.Equal(t, "linux", ping.OSType)
	_, err = fake.Info(t.Context(), client.InfoOptions{})
	assert.ErrorContains(t, err, "no rule for GET /v1.41/info")

	d.Fault(fakedocker.Rule{PathRegexp: "^/_ping$", Header: map[string]string{"Api-Version": "1.20"}})
	_, err = clientOf(t, d).Ping(t.Context(), client.PingOptions{NegotiateAPIVersion: true})
	assert.ErrorContains(t, err, "1.20")
}

func TestNoEngineStreamRule(t *testing.T) {
	d := fakedocker.New(t, "")
	fake := clientOf(t, d)
	d.Fault(fakedocker.Rule{PathRegexp: "^/exec/1/start$", Status: http.StatusSwitchingProtocols, Body: "some bytes"})
	stream, err := fake.ExecAttach(t.Context(), "1", client.ExecAttachOptions{})
	require.NoError(t, err)
	defer stream.Close()
	got := make([]byte, 10)
	_, err = io.ReadFull(stream.Reader, got)
	require.NoError(t, err)
	assert.Equal(t, "some bytes", string(got))
	_, err = io.WriteString(stream.Conn, "stdin")
	require.NoError(t, err)
	require.NoError(t, stream.CloseWrite())
	_, err = stream.Reader.ReadByte()
	assert.ErrorIs(t, err, io.EOF, "it is held until the client leaves")
}
