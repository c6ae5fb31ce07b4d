//go:build linux

package lane

import (
	"os/exec"
	"testing"
	"time"
)

// BenchmarkTrue measures the shortest command, and beside it, in turns, the
// same by os/exec: x-bare is how many times as long a lane takes.
func BenchmarkTrue(b *testing.B) {
	for _, f := range flavours {
		b.Run(f.name, func(b *testing.B) {
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
			}
			b.ReportMetric(float64(lane.Microseconds())/float64(b.N), "lane-µs/op")
			b.ReportMetric(float64(bare.Microseconds())/float64(b.N), "bare-µs/op")
			b.ReportMetric(float64(lane)/float64(bare), "x-bare")
		})
	}
}
