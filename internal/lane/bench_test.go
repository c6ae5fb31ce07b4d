//go:build linux

package lane

import (
	"os/exec"
	"testing"
	"time"
)

// BenchmarkTrue measures the shortest command, and beside it, in turns, the
// same by os/exec: x-bare is how many times as long a lane takes. Without a pause
// the next standby may not be ready yet. A lane looks
// at every process that came up meanwhile, so a machine that starts many makes
// it slower than a container would be; in a namespace of its own:
//
//	go test -c -o lane.test && unshare -pf --mount-proc ./lane.test -test.run '^$' -test.bench .
func BenchmarkTrue(b *testing.B) {
	for _, f := range flavours {
		for _, pause := range []time.Duration{0, 20 * time.Millisecond} {
			b.Run(f.name+"/"+pause.String()+" apart", func(b *testing.B) { benchmarkTrue(b, f, pause) })
		}
	}
}

func benchmarkTrue(b *testing.B, f flavour, pause time.Duration) {
	b.Helper()
	p := f.start(b)
	env := map[string]string{"PAGER": "cat", "TERM": "dumb", "EDITOR": "false"}
	p.must(b, Command{Script: "true", Env: env})
	var lane, bare time.Duration
	for b.Loop() {
		began := time.Now()
		p.must(b, Command{Script: "true", Env: env})
		middle := time.Now()
		_ = exec.Command("bash", "-c", "true").Run()
		lane += middle.Sub(began)
		bare += time.Since(middle)
		time.Sleep(pause)
	}
	b.ReportMetric(float64(lane.Microseconds())/float64(b.N), "lane-µs/op")
	b.ReportMetric(float64(bare.Microseconds())/float64(b.N), "bare-µs/op")
	b.ReportMetric(float64(lane)/float64(bare), "x-bare")
}
