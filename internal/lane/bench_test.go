//go:build linux

// This file compares the cost of a command on a lane with os/exec.

package lane

import (
	"os/exec"
	"testing"
	"time"
)

// BenchmarkTrue alternates the shortest command on a lane and by os/exec; x-bare is
// the ratio. Without a pause the next standby may not be ready. A lane checks every
// process started meanwhile, so run it in a pid namespace of its own:
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
