//go:build linux && !terminal_nomodal

// Tests of the Modal backend against a fake service.

package terminal_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	modal "github.com/modal-labs/modal-client/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/internal/modalfake"
	"github.com/terminal-go/terminal/terminaltest"
)

// fakeModal starts a fake service and returns it with a backend on it. When the
// test ends it asserts that no sandbox and no process is left.
func fakeModal(t *testing.T, opt modalfake.Options) (*modalfake.Server, terminal.Modal) {
	t.Helper()
	s, err := modalfake.Start(opt)
	require.NoError(t, err)
	client, err := s.NewClient(nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		n := s.Stats()
		assert.Zero(t, n.Alive, "sandboxes left")
		assert.Zero(t, n.Processes, "processes left")
		client.Close()
		assert.NoError(t, s.Close())
	})
	return s, terminal.Modal{Client: client}
}

func TestModalConformance(t *testing.T) {
	terminaltest.Run(t, func(t *testing.T) terminal.Backend {
		_, m := fakeModal(t, modalfake.Options{})
		return m
	})
}

// TestModalLive runs the suite on the real service, with the credentials and at
// the cost of whoever runs it.
func TestModalLive(t *testing.T) {
	if os.Getenv("TERMINAL_TEST_MODAL") != "live" {
		t.Skip("set TERMINAL_TEST_MODAL=live to run on Modal itself")
	}
	m := terminal.Modal{Lifetime: time.Hour, IdleTimeout: 10 * time.Minute}
	require.NoError(t, m.Check(t.Context()))
	terminaltest.Run(t, func(*testing.T) terminal.Backend { return m })
}

// modalTerminal returns a Terminal on a fake service of its own.
func modalTerminal(t *testing.T, opt modalfake.Options, cfg terminal.Config) (*modalfake.Server, *terminal.Terminal) {
	t.Helper()
	s, m := fakeModal(t, opt)
	if custom, ok := cfg.Backend.(terminal.Modal); ok {
		custom.Client = m.Client
		m = custom
	}
	cfg.Backend = m
	term, err := terminal.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, term.Close()) })
	return s, term
}

// A command costs at most two calls to the service.
func TestModalRunMakesTwoCalls(t *testing.T) {
	s, term := modalTerminal(t, modalfake.Options{}, terminal.Config{})
	run(t, term, "true")
	before := s.Stats().Calls()
	const n = 20
	for range n {
		run(t, term, "true")
	}
	require.LessOrEqual(t, s.Stats().Calls()-before, int64(2*n))
}

// A timeout kills the command and keeps the sandbox with its files.
func TestModalTimeoutKeepsSandbox(t *testing.T) {
	s, term := modalTerminal(t, modalfake.Options{}, terminal.Config{})
	run(t, term, "echo kept >$HOME/file")
	start := time.Now()
	res, err := term.Run(t.Context(), terminal.Request{Command: "setsid sleep 30 & sleep 30", Timeout: 500 * time.Millisecond})
	require.ErrorIs(t, err, terminal.ErrTimeout)
	require.Equal(t, 124, res.ExitCode)
	require.Less(t, time.Since(start), 4*time.Second)
	require.Equal(t, "kept\n", run(t, term, "cat $HOME/file").Output)
	require.EqualValues(t, 1, s.Stats().Created)
}

// If the sandbox ended between two commands, the next one runs in a new
// sandbox, or fails with ErrGone if it may have run already.
func TestModalSandboxDiesBetweenCommands(t *testing.T) {
	t.Parallel() // waits most of the time
	for _, ended := range []codes.Code{codes.OK, codes.NotFound, codes.Unavailable} {
		t.Run(ended.String(), func(t *testing.T) {
			s, term := modalTerminal(t, modalfake.Options{Ended: ended}, terminal.Config{})
			run(t, term, "true")
			require.NoError(t, s.EndAll())
			start := time.Now()
			res, err := term.Run(t.Context(), terminal.Request{Command: "echo again"})
			if ended == codes.Unavailable { // the command may have arrived
				require.ErrorIs(t, err, terminal.ErrGone)
				res, err = term.Run(t.Context(), terminal.Request{Command: "echo again"})
			} else {
				require.NotEmpty(t, res.Notice)
			}
			require.NoError(t, err)
			require.Equal(t, "again\n", res.Output)
			require.EqualValues(t, 2, s.Stats().Created)
			require.Less(t, time.Since(start), 5*time.Second)
		})
	}
}

// A command whose sandbox ends is reported as gone and not repeated.
func TestModalSandboxDiesDuringCommand(t *testing.T) {
	for _, ended := range []codes.Code{codes.OK, codes.NotFound, codes.Unavailable} {
		t.Run(ended.String(), func(t *testing.T) {
			s, term := modalTerminal(t, modalfake.Options{Ended: ended}, terminal.Config{})
			file := t.TempDir() + "/file"
			done := make(chan error, 1)
			go func() {
				_, err := term.Run(t.Context(), terminal.Request{Command: "echo line >>" + file + "; sleep 30"})
				done <- err
			}()
			require.Eventually(t, func() bool { text, _ := os.ReadFile(file); return len(text) > 0 }, 10*time.Second, 10*time.Millisecond)
			require.NoError(t, s.EndAll())
			start := time.Now()
			require.ErrorIs(t, <-done, terminal.ErrGone)
			require.Less(t, time.Since(start), 10*time.Second)
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, "line\n", string(text))
			require.Equal(t, "again\n", run(t, term, "echo again").Output)
		})
	}
}

func TestModalCheck(t *testing.T) {
	s, m := fakeModal(t, modalfake.Options{})
	require.NoError(t, m.Check(t.Context()))

	client, err := s.NewClient(&modal.ClientParams{TokenID: "ak-fake", TokenSecret: "wrong"})
	require.NoError(t, err)
	defer client.Close()
	err = terminal.Modal{Client: client}.Check(t.Context())
	require.ErrorIs(t, err, terminal.ErrUnavailable)
	require.ErrorContains(t, err, "credentials are refused")

	t.Setenv("MODAL_SERVER_URL", s.URL())
	t.Setenv("MODAL_CONFIG_PATH", os.DevNull)
	t.Setenv("MODAL_TOKEN_ID", "")
	t.Setenv("MODAL_TOKEN_SECRET", "")
	err = terminal.Modal{}.Check(t.Context())
	require.ErrorIs(t, err, terminal.ErrUnavailable)
	require.ErrorContains(t, err, "no credentials")
	require.ErrorContains(t, err, "~/.modal.toml")

	defer s.Control.Cut()()
	err = m.Check(t.Context())
	require.ErrorIs(t, err, terminal.ErrUnavailable)
	require.ErrorContains(t, err, "no usable answer")
}

// Without Modal.Client the backend makes a client from the variables that the
// SDK reads.
func TestModalClientFromEnv(t *testing.T) {
	s, _ := fakeModal(t, modalfake.Options{})
	for _, kv := range s.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	t.Setenv("TERMINAL_ENV", "modal")
	cfg, err := terminal.FromEnv()
	require.NoError(t, err)
	term, err := terminal.New(cfg)
	require.NoError(t, err)
	require.Equal(t, "hello\n", run(t, term, "echo hello").Output)
	require.NoError(t, term.Close())
}

// Open names the setting at fault and creates no sandbox.
func TestModalOpenInvalidConfig(t *testing.T) {
	opt := modalfake.Options{Images: map[string]modalfake.Build{
		"broken": {Duration: 10 * time.Millisecond, Log: []string{"Step 1/1", "no space left on device"}, Fail: "build failed"},
		"slow":   {Duration: time.Hour},
	}}
	for name, c := range map[string]struct {
		m    terminal.Modal
		want []string
	}{
		"region":    {terminal.Modal{Region: "mars"}, []string{"mars", "correct the field"}},
		"gpu":       {terminal.Modal{GPU: "abacus"}, []string{"ABACUS", "correct the field"}},
		"image":     {terminal.Modal{Image: "slow", BuildTimeout: 50 * time.Millisecond}, []string{"BuildTimeout"}},
		"log":       {terminal.Modal{Image: "broken"}, []string{"build failed"}},
		"secret":    {terminal.Modal{Secrets: []string{"none"}}, []string{"none"}},
		"shell":     {terminal.Modal{Lifetime: -1}, []string{"lifetime"}},
		"not UTF-8": {terminal.Modal{Env: map[string]string{"A": "\xff"}}, []string{"UTF-8"}},
		"tag":       {terminal.Modal{Tags: map[string]string{"terminal-x": ""}}, []string{"terminal-x"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, term := modalTerminal(t, opt, terminal.Config{Backend: c.m})
			start := time.Now()
			_, err := term.Run(t.Context(), terminal.Request{Command: "true"})
			require.ErrorIs(t, err, terminal.ErrUnavailable)
			for _, text := range c.want {
				require.ErrorContains(t, err, text)
			}
			require.Less(t, time.Since(start), 3*time.Second)
			require.Zero(t, s.Stats().Created)
		})
	}
}

// A failed image build is reported with its log.
func TestModalOpenBuildFailsShowsLog(t *testing.T) {
	s, _ := fakeModal(t, modalfake.Options{Images: map[string]modalfake.Build{
		"broken": {Duration: 10 * time.Millisecond, Log: []string{"Step 1/1", "no space left on device"}, Fail: "build failed"},
	}})
	for _, kv := range s.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	_, err := terminal.Modal{Image: "broken"}.Open(t.Context(), "task")
	require.ErrorIs(t, err, terminal.ErrUnavailable)
	require.ErrorContains(t, err, "no space left on device")
}

// If the quota is used up, Open waits for a sandbox to end, within the limit of
// the call.
func TestModalOpenWaitsForQuota(t *testing.T) {
	t.Parallel() // waits most of the time
	s, term := modalTerminal(t, modalfake.Options{MaxSandboxes: 1}, terminal.Config{Timeout: 8 * time.Second})
	run(t, term, "true")
	_, err := term.Run(t.Context(), terminal.Request{Command: "true", Task: "other", Timeout: 100 * time.Millisecond})
	require.ErrorIs(t, err, terminal.ErrNotStarted)
	go func() {
		_ = s.Wait(context.Background(), func(n modalfake.Stats) bool { return n.RPCs["SandboxCreateV2"] >= 6 })
		_ = term.CloseTask(context.Background(), "default")
	}()
	_, err = term.Run(t.Context(), terminal.Request{Command: "true", Task: "other"})
	require.NoError(t, err)
}

// Open terminates sandboxes whose owner, a process of this machine, is dead.
func TestModalSweepDeadOwners(t *testing.T) {
	s, m := fakeModal(t, modalfake.Options{})
	ex, err := m.Open(t.Context(), "left")
	require.NoError(t, err)
	app, err := m.Client.Apps.FromName(t.Context(), "terminal", nil)
	require.NoError(t, err)
	list, err := m.Client.Sandboxes.List(t.Context(), &modal.SandboxListParams{AppID: app.AppID})
	require.NoError(t, err)
	for sb, err := range list {
		require.NoError(t, err)
		tags, err := sb.GetTags(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, "left", tags[terminal.ModalTagPrefix+"task"])
		tags[terminal.ModalTagPrefix+"owner"] = "4194304.1" // above the largest pid of Linux
		require.NoError(t, sb.SetTags(t.Context(), tags, nil))
	}
	again, err := m.Open(t.Context(), "new")
	require.NoError(t, err)
	require.EqualValues(t, 1, s.Stats().Alive)
	require.EqualValues(t, 1, s.Stats().Terminated)
	require.NoError(t, again.Close(t.Context()))
	require.NoError(t, ex.Close(t.Context()))
}

func TestModalHundredTasksConcurrently(t *testing.T) {
	s, term := modalTerminal(t, modalfake.Options{}, terminal.Config{})
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			res, err := term.Run(t.Context(), terminal.Request{Command: "echo $((1 + 1))", Task: strconv.Itoa(i)})
			assert.NoError(t, err)
			assert.Equal(t, "2\n", res.Output)
		})
	}
	all.Wait()
	require.EqualValues(t, 100, s.Stats().Created)
}

// Output beyond MaxOutput is discarded as it arrives.
func TestModalLargeOutputBoundedMemory(t *testing.T) {
	_, term := modalTerminal(t, modalfake.Options{}, terminal.Config{})
	run(t, term, "true")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	res, err := term.Run(t.Context(), terminal.Request{Command: "head -c 209715200 /dev/zero | tr '\\0' x", Timeout: 5 * time.Minute})
	require.NoError(t, err)
	runtime.ReadMemStats(&after)
	require.Len(t, res.Output, 50_000)
	require.InDelta(t, 200<<20-50_000, res.Omitted, 1000)
	// The stream window of 64 MiB counts twice: in the SDK and in the fake.
	require.Less(t, int64(after.HeapSys)-int64(before.HeapSys), int64(160<<20))
}

// A network that drops everything cannot hold a call much beyond its limit.
func TestModalNetworkSilent(t *testing.T) {
	t.Parallel() // waits most of the time
	s, term := modalTerminal(t, modalfake.Options{}, terminal.Config{})
	run(t, term, "true")
	thaw := s.Router.Freeze()
	start := time.Now()
	_, err := term.Run(t.Context(), terminal.Request{Command: "true", Timeout: time.Second})
	require.Error(t, err)
	require.Less(t, time.Since(start), 20*time.Second)
	thaw()
	require.Equal(t, "back\n", run(t, term, "echo back").Output)
}

// TestModalFaultMatrix injects each fault into each method once. Whatever
// happens, no command runs twice, no sandbox is left, and the time is bounded.
func TestModalFaultMatrix(t *testing.T) {
	methods := []string{
		"AuthTokenGet", "EnvironmentGetOrCreate", "AppGetOrCreate", "ImageGetOrCreate", "SandboxCreateV2", "SandboxListV2", "SandboxWaitV2",
		"SandboxTerminateV2", "TaskExecStart", "TaskExecStdinWrite", "TaskExecStdioRead",
	}
	faults := map[string]modalfake.Fault{
		"unavailable once":      {Code: codes.Unavailable},
		"unavailable":           {Code: codes.Unavailable, Times: 5},
		"internal once":         {Code: codes.Internal},
		"refused":               {Code: codes.PermissionDenied},
		"busy":                  {Code: codes.ResourceExhausted},
		"slow":                  {Delay: 300 * time.Millisecond},
		"reply lost":            {Code: codes.Unavailable, Lost: true},
		"reply lost twice":      {Code: codes.Unavailable, Lost: true, Times: 2},
		"reply lost for good":   {Code: codes.PermissionDenied, Lost: true},
		"broken in the middle":  {Code: codes.Unavailable, Bytes: 1},
		"sandbox dies before":   {Death: modalfake.Before},
		"sandbox dies after":    {Death: modalfake.After},
		"dies, and no reply":    {Death: modalfake.After, Code: codes.Unavailable, Lost: true},
		"the second goes wrong": {Code: codes.Unavailable, Lost: true, Skip: 1},
	}
	for i, method := range methods {
		for j, name := range slices.Sorted(maps.Keys(faults)) {
			f := faults[name]
			t.Run(method+" "+name, func(t *testing.T) {
				if testing.Short() && (i+j)%4 != 0 {
					t.Skip("-short: a quarter of the matrix")
				}
				t.Parallel()
				s, term := modalTerminal(t, modalfake.Options{}, terminal.Config{})
				f.Method = method
				s.Inject(f)
				file := t.TempDir() + "/file"
				start := time.Now()
				for i := range 3 {
					_, err := term.Run(t.Context(), terminal.Request{Command: "echo " + strconv.Itoa(i) + " >>" + file, Timeout: 20 * time.Second})
					if err != nil {
						t.Log(err)
						known := errors.Is(err, terminal.ErrUnavailable) || errors.Is(err, terminal.ErrNotStarted) || errors.Is(err, terminal.ErrGone)
						require.True(t, known || method == "TaskExecStdinWrite" || method == "TaskExecStdioRead", err)
					}
				}
				require.Less(t, time.Since(start), 40*time.Second)
				text, _ := os.ReadFile(file)
				lines := strings.Fields(string(text))
				require.Equal(t, slices.Compact(slices.Clone(lines)), lines, "a command ran twice")
				require.Contains(t, lines, "2", "the last one must find all well again")
			})
		}
	}
}

func TestModalCopyGigabyteBoundedMemory(t *testing.T) {
	_, m := fakeModal(t, modalfake.Options{})
	copyLarge(t, terminal.Config{Backend: m}, mostModalGrowth)
}

// Large files are written through the file system calls of the SDK, with the
// same result as without them.
func TestModalLargeFilesUseSDK(t *testing.T) {
	for _, without := range []bool{false, true} {
		s, term := modalTerminal(t, modalfake.Options{NoFSTools: without}, terminal.Config{})
		dir := t.TempDir()
		data := bytes.Repeat([]byte("\x00 a line \xff\n"), 400_000)
		src, link, dst := filepath.Join(dir, "src"), filepath.Join(dir, "link"), filepath.Join(dir, "dst")
		require.NoError(t, os.WriteFile(src, data, 0o640))
		require.NoError(t, os.Symlink("dst", link))
		require.NoError(t, term.WriteFile(t.Context(), "", link, data, 0o751))
		require.NoError(t, term.CopyTo(t.Context(), "", src, filepath.Join(dir, "copy")))
		require.NoError(t, term.WriteFile(t.Context(), "", filepath.Join(dir, "not \xff"), data, 0o600))
		calls := int64(2)
		if without {
			calls = 0
		}
		require.EqualValues(t, calls, s.Stats().FSCalls, "calls of the SDK's file system")
		for name, mode := range map[string]fs.FileMode{dst: 0o751, filepath.Join(dir, "copy"): 0o640, link: fs.ModeSymlink | 0o777} {
			got, err := os.ReadFile(name)
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, got), name)
			info, err := os.Lstat(name)
			require.NoError(t, err)
			require.Equal(t, mode, info.Mode(), name)
		}
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 5)
		pathError(t, term.WriteFile(t.Context(), "", filepath.Join(dir, "missing", "file"), data, 0o600), fs.ErrNotExist)
		require.NoDirExists(t, filepath.Join(dir, "missing"))
		pathError(t, term.WriteFile(t.Context(), "", dir, data, 0o600), syscall.EISDIR)
	}
}

// An upload ends soon after its context, its task or its sandbox, and leaves no
// partial file.
func TestModalUploadInterrupted(t *testing.T) {
	for name, end := range map[string]func(s *modalfake.Server, term *terminal.Terminal, cancel func()){
		"cancelled": func(_ *modalfake.Server, _ *terminal.Terminal, cancel func()) { cancel() },
		"closed": func(_ *modalfake.Server, term *terminal.Terminal, _ func()) {
			_ = term.CloseTask(context.Background(), "")
		},
		"lost": func(s *modalfake.Server, _ *terminal.Terminal, _ func()) { _ = s.EndAll() },
	} {
		t.Run(name, func(t *testing.T) {
			s, term := modalTerminal(t, modalfake.Options{Ended: codes.Unavailable}, terminal.Config{})
			dir := t.TempDir()
			src := filepath.Join(dir, "src")
			f, err := os.Create(src)
			require.NoError(t, err)
			require.NoError(t, f.Truncate(256<<20))
			require.NoError(t, f.Close())
			require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- term.CopyTo(ctx, "", src, filepath.Join(dir, "sub", "dst")) }()
			require.Eventually(t, func() bool { return s.Stats().FSCalls > 0 }, 30*time.Second, 5*time.Millisecond)
			start := time.Now()
			end(s, term, cancel)
			err = <-done
			require.Less(t, time.Since(start), 15*time.Second)
			switch name {
			case "cancelled":
				require.ErrorIs(t, err, context.Canceled)
				entries, err := os.ReadDir(filepath.Join(dir, "sub"))
				require.NoError(t, err)
				require.Empty(t, entries)
				require.Equal(t, "0\n", run(t, term, "ps ax 2>/dev/null | grep -c '[o]f="+dir+"' || :").Output, "the program that wrote still runs")
				require.EqualValues(t, 1, s.Stats().Created)
			case "closed":
				require.ErrorIs(t, err, terminal.ErrClosed)
			case "lost":
				require.ErrorIs(t, err, terminal.ErrGone)
			}
		})
	}
}
