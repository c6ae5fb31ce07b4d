package modalfake

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	modal "github.com/modal-labs/modal-client/go"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestExecOutputAndExitCode(t *testing.T) {
	s, client := serve(t, Options{})
	sb := open(t, client, nil)
	o := sh(t, sb, `printf 'a\000b\377'; echo bad >&2; exit 3`).ok(t)
	require.Equal(t, "a\x00b\xff", o.stdout)
	require.Equal(t, "bad\n", o.stderr)
	require.Equal(t, 3, o.code)

	o = sh(t, sb, `kill -TERM $$`).ok(t)
	require.Equal(t, 128+15, o.code)

	o = run(t.Context(), t, sb, nil, "no-such-program").ok(t)
	require.Equal(t, 127, o.code)
	require.Contains(t, o.stderr, "no-such-program")

	o = run(t.Context(), t, sb, &modal.SandboxExecParams{Stdout: modal.Ignore}, "sh", "-c", "echo gone; echo kept >&2").ok(t)
	require.Equal(t, "kept\n", o.stderr)

	n := s.Stats()
	require.EqualValues(t, 4, n.ExecsStarted)
	require.EqualValues(t, 3, n.Commands)
	require.EqualValues(t, 4, n.RPCs["TaskExecStart"])
	require.EqualValues(t, 4, n.RPCs["TaskExecWait"])
	require.EqualValues(t, 7, n.RPCs["TaskExecStdioRead"])
	require.EqualValues(t, 1, n.RPCs["SandboxCreateV2"])
	require.EqualValues(t, 1, n.RPCs["AuthTokenGet"])
}

func TestExecStdin(t *testing.T) {
	_, client := serve(t, Options{})
	sb := open(t, client, nil)
	p, err := sb.Exec(t.Context(), []string{"cat"}, nil)
	require.NoError(t, err)
	out := bufio.NewReader(p.Stdout)
	for _, line := range []string{"one\n", "two\n"} {
		_, err = p.Stdin.Write([]byte(line))
		require.NoError(t, err)
		got, err := out.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, line, got)
	}
	require.NoError(t, p.Stdin.Close())
	o := finish(t.Context(), p).ok(t)
	require.Zero(t, o.code)

	_, err = p.Stdin.Write([]byte("late"))
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
}

func TestExecStdinUnread(t *testing.T) {
	s, client := serve(t, Options{})
	sb := open(t, client, nil)
	p, err := sb.Exec(t.Context(), []string{"sh", "-c", "read go; sleep 0.2; wc -c"}, nil)
	require.NoError(t, err)
	_, err = p.Stdin.Write([]byte("go\n" + strings.Repeat("x", 5<<20))) // above what a pipe holds, and gRPC's usual message
	require.NoError(t, err)
	require.NoError(t, p.Stdin.Close())
	o := finish(t.Context(), p).ok(t)
	require.Equal(t, "5242880", strings.TrimSpace(o.stdout))
	require.EqualValues(t, 2, s.Stats().RPCs["TaskExecStdinWrite"])
}

func TestExecEnvironmentAndDirectory(t *testing.T) {
	t.Setenv("MODALFAKE_TEST_SECRET", "of the host")
	_, client := serve(t, Options{Secrets: map[string]map[string]string{"named": {"FROM_SECRET": "s"}}})
	secret, err := client.Secrets.FromName(t.Context(), "named", nil)
	require.NoError(t, err)
	sb := open(t, client, &modal.SandboxCreateParams{
		Env: map[string]string{"A": "1", "B": "1"}, Secrets: []*modal.Secret{secret}, Workdir: "/usr",
	})
	o := run(t.Context(), t, sb, &modal.SandboxExecParams{Env: map[string]string{"B": "2"}, Workdir: "/"},
		"sh", "-c", `echo $A $B $FROM_SECRET [$MODALFAKE_TEST_SECRET] $PWD`).ok(t)
	require.Equal(t, "1 2 s [] /\n", o.stdout)
	require.Equal(t, "/usr\n", sh(t, sb, "pwd").ok(t).stdout)
	require.Equal(t, "kept\n", sh(t, sb, `echo kept >"$HOME"/file; cat "$TMPDIR"/file`).ok(t).stdout)

	_, err = sb.Exec(t.Context(), []string{"true"}, &modal.SandboxExecParams{Workdir: "/no/such"})
	require.Equal(t, codes.InvalidArgument, status.Code(err))

	_, err = client.Secrets.FromName(t.Context(), "unknown", nil)
	require.ErrorAs(t, err, &modal.NotFoundError{})
}

func TestExecLargeOutputMemoryBounded(t *testing.T) {
	_, client := serve(t, Options{})
	sb := open(t, client, nil)
	const size = 100 << 20
	p, err := sb.Exec(t.Context(), []string{"sh", "-c", "head -c 104857600 /dev/zero"}, nil)
	require.NoError(t, err)
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most := uint64(0)
	hash, buf, total := sha256.New(), make([]byte, 64<<10), 0
	for {
		n, err := p.Stdout.Read(buf)
		hash.Write(buf[:n])
		if total += n; total%(10<<20) < n {
			runtime.ReadMemStats(&during)
			most = max(most, during.HeapAlloc)
		}
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
	require.Equal(t, size, total)
	want := sha256.New()
	_, _ = io.CopyN(want, zeros{}, size)
	require.Equal(t, hex.EncodeToString(want.Sum(nil)), hex.EncodeToString(hash.Sum(nil)))
	// Of this the stream's window, in client and server, is the largest part.
	require.Less(t, int64(most)-int64(before.HeapAlloc), int64(80<<20))
	finish(t.Context(), p).ok(t)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestExecUnreadOutputBlocksCommand(t *testing.T) {
	s, client := serve(t, Options{})
	sb := open(t, client, nil)
	p, err := sb.Exec(t.Context(), []string{"sh", "-c", "yes & wait"}, nil)
	require.NoError(t, err)
	var size int64
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, b := range s.sandboxes {
			for _, x := range b.execs {
				x.stdout.mu.Lock()
				before := size
				size = x.stdout.written
				x.stdout.mu.Unlock()
				return size > spoolAhead && size == before
			}
		}
		return false
	}, 20*time.Second, 50*time.Millisecond)
	require.Less(t, size, int64(spoolAhead+spoolHead+128<<10))
	_, err = sb.Terminate(t.Context(), nil)
	require.NoError(t, err)
	finish(t.Context(), p)
}

func TestExecConcurrent(t *testing.T) {
	_, client := serve(t, Options{})
	sb := open(t, client, nil)
	sh(t, sb, `mkfifo "$HOME"/a "$HOME"/b`).ok(t)
	var both sync.WaitGroup
	for _, script := range []string{`echo x >"$HOME"/a; cat "$HOME"/b`, `cat "$HOME"/a; echo x >"$HOME"/b`} {
		both.Go(func() {
			p, err := sb.Exec(t.Context(), []string{"sh", "-c", script}, nil)
			if err == nil {
				finish(t.Context(), p)
			}
		})
	}
	both.Wait() // for ever, if one waited for the other
}

func TestExecTimeout(t *testing.T) {
	for name, one := range map[string]bool{"kills the group": false, "kills one process": true} {
		t.Run(name, func(t *testing.T) {
			s, client := serve(t, Options{KillOne: one, EOFAtExit: true})
			sb := open(t, client, nil)
			p, err := sb.Exec(t.Context(), []string{"sh", "-c", "sleep 60 & echo $!; wait"}, &modal.SandboxExecParams{Timeout: time.Second})
			require.NoError(t, err)
			pid, err := bufio.NewReader(p.Stdout).ReadString('\n')
			require.NoError(t, err)
			_ = finish(t.Context(), p) // how it looks is a race, in the real SDK too
			require.NoError(t, s.Wait(within(t, 5*time.Second), func(n Stats) bool { return n.ExecsRunning == 0 }))
			require.EqualValues(t, 1, s.Stats().ExecsTimedOut)
			want := int64(0)
			if one {
				want = 1
			}
			require.NoError(t, s.Wait(within(t, 5*time.Second), func(n Stats) bool { return n.Processes == want }), pid)
		})
	}
}

func TestExecOutputEOFWithBackgroundProcess(t *testing.T) {
	for _, atExit := range []bool{false, true} {
		_, client := serve(t, Options{EOFAtExit: atExit})
		sb := open(t, client, nil)
		start := time.Now()
		o := sh(t, sb, "(sleep 1.5; echo late) & echo early").ok(t)
		if atExit {
			require.Equal(t, "early\n", o.stdout)
			require.Less(t, time.Since(start), time.Second)
		} else {
			require.Equal(t, "early\nlate\n", o.stdout)
		}
	}
}

func TestExecManyDescriptorsClosed(t *testing.T) {
	_, client := serve(t, Options{})
	sb := open(t, client, nil)
	sh(t, sb, "true").ok(t)
	before := descriptors(t)
	for range 100 {
		sh(t, sb, "echo x; head -c 100000 /dev/zero").ok(t)
	}
	require.Less(t, descriptors(t), before+10)
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}
