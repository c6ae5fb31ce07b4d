package terminal_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
)

const gigabyte = 1 << 30

// mostGrowth is far below what is copied, and above the buffers on the way. A
// stream of Modal's may hold 64 MiB by itself, and with the fake both ends of it
// are in this process.
const (
	mostGrowth      = 32 << 20
	mostModalGrowth = 320 << 20
)

// peak calls f and returns by how much the heap was larger than before, at most.
func peak(f func()) uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			case <-stop:
				return
			}
		}
	})
	f()
	close(stop)
	wg.Wait()
	return most - before
}

// largeTree is a directory with a file of a gigabyte, most of it holes.
func largeTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	require.NoError(t, os.Mkdir(dir, 0o755))
	f, err := os.Create(filepath.Join(dir, "large"))
	require.NoError(t, err)
	for i := int64(0); i < 8; i++ {
		_, err = f.WriteAt(bytes.Repeat([]byte{byte('a' + i)}, 4096), i*gigabyte/8+123)
		require.NoError(t, err)
	}
	require.NoError(t, f.Truncate(gigabyte))
	require.NoError(t, f.Close())
	return dir
}

// sameLarge compares two large files without holding them.
func sameLarge(t *testing.T, a, b string) {
	t.Helper()
	fa, err := os.Open(a)
	require.NoError(t, err)
	defer fa.Close()
	fb, err := os.Open(b)
	require.NoError(t, err)
	defer fb.Close()
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, errA := io.ReadFull(fa, x)
		m, errB := io.ReadFull(fb, y)
		require.True(t, bytes.Equal(x[:n], y[:m]), "the copy differs")
		require.Equal(t, errA, errB)
		if errA != nil {
			return
		}
	}
}

// copyLarge takes a gigabyte to and fro, as a tree and as a file.
func copyLarge(t *testing.T, cfg terminal.Config, most uint64) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: copies gigabytes")
	}
	term, err := terminal.New(cfg)
	require.NoError(t, err)
	defer term.Close()
	src := largeTree(t)
	where := "/tmp/terminal-large-" + filepath.Base(filepath.Dir(filepath.Dir(src)))
	run(t, term, "true") // the environment is there
	defer func() { run(t, term, "rm -rf "+where+" "+where+".file") }()
	back := filepath.Join(t.TempDir(), "back")
	for _, c := range []struct {
		what string
		f    func() error
	}{
		{"tree in", func() error { return term.CopyTo(t.Context(), "", src, where) }},
		{"tree out", func() error { return term.CopyFrom(t.Context(), "", where, back) }},
		{"file in", func() error { return term.CopyTo(t.Context(), "", filepath.Join(src, "large"), where+".file") }},
		{"file out", func() error { return term.CopyFrom(t.Context(), "", where+".file", back+".file") }},
	} {
		start := time.Now()
		growth := peak(func() { err = c.f() })
		require.NoError(t, err, c.what)
		t.Logf("1 GiB, %s: %.1f s, heap grew by %.1f MiB", c.what, time.Since(start).Seconds(), float64(growth)/(1<<20))
		require.Less(t, growth, most, c.what)
		switch c.what {
		case "tree out":
			sameLarge(t, filepath.Join(src, "large"), filepath.Join(back, "large"))
			require.NoError(t, os.RemoveAll(back))
			run(t, term, "rm -rf "+where)
		case "file out":
			sameLarge(t, filepath.Join(src, "large"), back+".file")
		}
	}
}

func TestAGigabyteIsCopiedInBoundedMemory(t *testing.T) {
	t.Run("local", func(t *testing.T) { copyLarge(t, terminal.Config{Backend: terminal.Local{}}, mostGrowth) })
	t.Run("through Exec", func(t *testing.T) { copyLarge(t, terminal.Config{Backend: execOnly{terminal.Local{}}}, mostGrowth) })
}
