package testimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// run is what a container of the image writes, and its exit code.
func run(t *testing.T, image, user string, cmd ...string) (output string, code int64) {
	t.Helper()
	cli := Engine(t)
	created, err := cli.ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Config:     &container.Config{Image: image, User: user, Cmd: cmd},
		HostConfig: &container.HostConfig{NetworkMode: "none"},
	})
	require.NoError(t, err)
	defer func() {
		_, err := cli.ContainerRemove(context.Background(), created.ID, client.ContainerRemoveOptions{Force: true})
		assert.NoError(t, err)
	}()
	if _, err = cli.ContainerStart(t.Context(), created.ID, client.ContainerStartOptions{}); err != nil {
		return err.Error(), -1
	}
	wait := cli.ContainerWait(t.Context(), created.ID, client.ContainerWaitOptions{})
	select {
	case res := <-wait.Result:
		code = res.StatusCode
	case err := <-wait.Error:
		require.NoError(t, err)
	}
	logs, err := cli.ContainerLogs(t.Context(), created.ID, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	require.NoError(t, err)
	defer logs.Close()
	var buf bytes.Buffer
	_, err = stdcopy.StdCopy(&buf, &buf, logs)
	require.NoError(t, err)
	return buf.String(), code
}

// ownTag is one that no other test process makes.
func ownTag(t *testing.T) string {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // for the file of its lock
	return fmt.Sprintf("terminal-test/own:%d", os.Getpid())
}

func TestBusyboxHasAShellAndNoBash(t *testing.T) {
	out, code := run(t, Busybox(t), "", "sh", "-c", "id -un; command -v bash; echo x >/tmp/x && cat /tmp/x; cd; pwd")
	assert.Equal(t, "root\nx\n/root\n", out)
	assert.Zero(t, code)
	out, code = run(t, Busybox(t), "user", "sh", "-c", "id -un; echo x >/tmp/x; cd; pwd; echo y >y && cat y")
	assert.Equal(t, "user\n/home/user\ny\n", out)
	assert.Zero(t, code)
}

// hasAll checks in a container what check cannot see: that each program runs
// from where a link leads.
func hasAll(t *testing.T, image string, programs []string) {
	t.Helper()
	script := "for p in " + strings.Join(programs, " ") + `; do f=$(command -v "$p") || { echo "no $p"; continue; }
		case $f in /*) [ -x "$f" ] || echo "$f cannot be executed" ;; esac
	done`
	out, code := run(t, image, "", "sh", "-c", script)
	assert.Empty(t, out)
	assert.Zero(t, code)
}

func TestImagesHaveEveryProgram(t *testing.T) {
	hasAll(t, Busybox(t), busyboxPrograms)
	hasAll(t, NoLane(t), busyboxPrograms)
	hasAll(t, Debian(t), debianPrograms)
}

func TestEnsureRefusesIncompleteImage(t *testing.T) {
	img, err := busybox()
	if err != nil {
		t.Skip(err)
	}
	img.programs = append([]string{"first-lacking", "second-lacking"}, img.programs...)
	tag := ownTag(t)
	err = ensure(t.Context(), Engine(t), tag, img)
	assert.ErrorContains(t, err, "lack first-lacking, second-lacking")
	_, _, err = recipeOf(t.Context(), Engine(t), tag)
	assert.True(t, errdefs.IsNotFound(err), "%v", err)
}

func TestNeedTriesNextPlan(t *testing.T) {
	refuses := func(why string) func() (image, error) {
		return func() (image, error) { return image{}, errors.New(why) }
	}
	assert.Equal(t, Busybox(t), need(t, busyboxRepo, refuses("a"), busybox))

	t.Setenv(RequireEnv, "docker")
	rec := &recorder{TB: t}
	var wg sync.WaitGroup
	wg.Go(func() { need(rec, busyboxRepo, refuses("no debootstrap"), refuses("no dash")) })
	wg.Wait()
	assert.Equal(t, "fail", rec.said)
	assert.Contains(t, rec.reason, "no debootstrap")
	assert.Contains(t, rec.reason, "no dash")
}

func TestImageFromEnvironment(t *testing.T) {
	tag := Busybox(t)
	t.Setenv(DebianEnv, tag)
	assert.Equal(t, tag, Debian(t))
	t.Setenv(BusyboxEnv, "terminal-test/none:none")
	t.Setenv(RequireEnv, "docker")
	rec := &recorder{TB: t}
	var wg sync.WaitGroup
	wg.Go(func() { Busybox(rec) })
	wg.Wait()
	assert.Equal(t, "fail", rec.said)
	assert.Contains(t, rec.reason, BusyboxEnv)
}

// Podman's service leaves out the OSType header of a ping.
func TestEngineAcceptsPodman(t *testing.T) {
	for ostype, want := range map[string]string{"": "", "linux": "", "windows": "skip"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Api-Version", "1.44")
			if ostype != "" {
				w.Header().Set("OSType", ostype)
			}
		}))
		defer server.Close()
		t.Setenv("DOCKER_HOST", "tcp://"+server.Listener.Addr().String())
		t.Setenv(RequireEnv, "")
		rec := &recorder{TB: t}
		var wg sync.WaitGroup
		wg.Go(func() { Engine(rec) })
		wg.Wait()
		assert.Equal(t, want, rec.said, "%q: %s", ostype, rec.reason)
	}
}

func TestNoShellHasNone(t *testing.T) {
	_, code := run(t, NoShell(t), "", "/bin/sleep", "0")
	assert.Zero(t, code)
	out, code := run(t, NoShell(t), "", "sh", "-c", "true")
	assert.Contains(t, out, "not found")
	assert.EqualValues(t, -1, code)
}

func TestExitsExits(t *testing.T) {
	_, code := run(t, Exits(t), "", "sleep", "1000")
	assert.EqualValues(t, 1, code)
}

func TestDefaultHasTheNameTheLibraryUses(t *testing.T) {
	out, code := run(t, Default(t), "", "bash", "-c", "echo $((1+1))")
	assert.Equal(t, "2\n", out)
	assert.Zero(t, code)
}

func TestAnImageIsMadeOnceByManyAtATime(t *testing.T) {
	tag := ownTag(t)
	cli := Engine(t)
	img, err := busybox()
	if err != nil {
		t.Skip(err)
	}
	made := 0
	rootfsOf := img.rootfs
	img.rootfs = func(ctx context.Context) (io.ReadSeekCloser, error) {
		made++ // by the lock, one at a time
		return rootfsOf(ctx)
	}
	defer func() {
		_, err := cli.ImageRemove(t.Context(), tag, client.ImageRemoveOptions{PruneChildren: true})
		assert.NoError(t, err)
	}()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { assert.NoError(t, ensure(t.Context(), cli, tag, img)) })
	}
	wg.Wait()
	assert.Equal(t, 1, made)

	before, err := cli.ImageInspect(t.Context(), tag)
	require.NoError(t, err)
	img.recipe += "-changed"
	require.NoError(t, ensure(t.Context(), cli, tag, img))
	assert.Equal(t, 2, made)
	_, err = cli.ImageInspect(t.Context(), before.ID)
	assert.Error(t, err, "the image it replaces is left behind")
}

func TestWithoutAnEngineATestIsSkippedOrFailsAsRequired(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+t.TempDir()+"/none.sock")
	for require, want := range map[string]string{"": "skip", "modal": "skip", "docker": "fail", "modal, docker": "fail"} {
		t.Setenv(RequireEnv, require)
		rec := &recorder{TB: t}
		var wg sync.WaitGroup
		wg.Go(func() { Busybox(rec) }) // Skipf and Fatalf end their goroutine
		wg.Wait()
		assert.Equal(t, want, rec.said, "%s=%s", RequireEnv, require)
		assert.Contains(t, rec.reason, "no Docker Engine answers")
	}
}

// recorder keeps what a test is told, and ends the caller's goroutine only.
type recorder struct {
	testing.TB
	said, reason string
}

func (r *recorder) Helper()                           {}
func (r *recorder) Skipf(format string, args ...any)  { r.end("skip", format, args...) }
func (r *recorder) Fatalf(format string, args ...any) { r.end("fail", format, args...) }

func (r *recorder) end(said, format string, args ...any) {
	r.said, r.reason = said, fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestNoLaneRunsAScriptAndNoLane(t *testing.T) {
	out, code := run(t, NoLane(t), "", "sh", "-c", "id -un; exit 7")
	assert.Equal(t, "root\n", out)
	assert.EqualValues(t, 7, code)
	out, code = run(t, NoLane(t), "", "sh", "-c", "read -r lane_l; echo on")
	assert.Empty(t, out)
	assert.Zero(t, code)
}
