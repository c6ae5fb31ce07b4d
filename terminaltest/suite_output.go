package terminaltest

import (
	"context"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/terminal-go/terminal"
)

var outputTests = []subtest{
	{name: "stdout and stderr come in the order in which they were written", test: trueOrder},
	{name: "stdout and stderr come apart where there is a writer for each", test: separateStreams},
	{name: "output that nobody wants is discarded and ends nothing", test: discardedOutput},
	{name: "output is passed on while the command runs", test: liveOutput},
	{name: "output keeps its indentation, its blank lines and its unfinished last line", test: untrimmedOutput},
	{name: "every byte comes out as it was written", test: exactBytes},
	{name: "invalid UTF-8 becomes U+FFFD, NUL survives and no rune is split", test: validOutput},
	{name: "large output is counted to the last character", test: largeOutput},
	{name: "everything written before the exit comes out, even if a survivor holds the output open", test: tailOfOutput},
	{name: "memory stays bounded whatever a command writes", test: boundedMemory},
}

func trueOrder(l *lab) {
	const script = `i=0
while [ $i -lt 200 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done`
	var want strings.Builder
	for i := range 200 {
		want.WriteString("out " + itoa(i) + "\nerr " + itoa(i) + "\n")
	}
	term := l.terminal(terminal.Config{})
	if out := l.sh(term, script); out != want.String() {
		l.Errorf("output is %s, want %s", brief(out), brief(want.String()))
	}
}

func separateStreams(l *lab) {
	const script = "echo one; echo two >&2; echo three; echo four >&2"
	var out, errs recorder
	ex := l.executor("task")
	o := l.do(ex, terminal.Command{Script: script, Stdout: &out, Stderr: &errs})
	if o.err != nil || o.code != 0 {
		l.Errorf("code %d, error %v", o.code, o.err)
	}
	if out.String() != "one\nthree\n" || errs.String() != "two\nfour\n" {
		l.Errorf("Exec: stdout %q, stderr %q", out.String(), errs.String())
	}

	var liveOut, liveErr recorder
	res, err := l.run(l.terminal(terminal.Config{}), terminal.Request{Command: script, Stdout: &liveOut, Stderr: &liveErr})
	if err != nil {
		l.Errorf("Run: %v", err)
	}
	if liveOut.String() != "one\nthree\n" || liveErr.String() != "two\nfour\n" {
		l.Errorf("Run: stdout %q, stderr %q", liveOut.String(), liveErr.String())
	}
	for _, word := range []string{"one\n", "two\n", "three\n", "four\n"} {
		if !strings.Contains(res.Output, word) {
			l.Errorf("the Result's output is %q: no %q", res.Output, word)
		}
	}
}

func discardedOutput(l *lab) {
	ex := l.executor("task")
	const script = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; exit 3"
	var out, errs recorder
	for what, cmd := range map[string]terminal.Command{
		"no writer":     {},
		"only a stdout": {Stdout: &out},
		"only a stderr": {Stderr: &errs},
		"io.Discard":    {Stdout: io.Discard, Stderr: io.Discard},
	} {
		cmd.Script, cmd.Dir = script, "/"
		cmd.Env = map[string]string{terminal.RunIDEnv: l.word}
		l.within(patience, "Exec with "+what, func() {
			if code, err := ex.Exec(context.Background(), cmd); code != 3 || err != nil {
				l.Errorf("%s: code %d, error %v; want 3", what, code, err)
			}
		})
	}
	if n, m := len(out.String()), len(errs.String()); n != 300000 || m != 300000 {
		l.Errorf("%d and %d bytes came out of the two streams that had a writer, want 300000", n, m)
	}
}

func liveOutput(l *lab) {
	ex := l.executor("task")
	var out recorder
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	wait := l.begin(ctx, ex, terminal.Command{Script: "echo first; sh @D/await @D/go; echo last", Stdout: &out, Stderr: &out})
	l.await(&out, "first\n") // the command still waits
	l.check("a second command", l.exec(ex, ": >@D/go"), 0, "")
	o := wait()
	o.out = out.String()
	l.check("the command", o, 0, "first\nlast\n")
}

func untrimmedOutput(l *lab) {
	ex, term := l.executor("task"), l.terminal(terminal.Config{})
	for _, want := range []string{"   a\n b", "\n\n x\n\n\n", "\t ", "a\r\nb\r\n"} {
		script := "printf '%s' '" + want + "'"
		l.check("Exec", l.exec(ex, script), 0, want)
		if out := l.sh(term, script); out != want {
			l.Errorf("Run: output is %q, want %q", out, want)
		}
	}
}

func exactBytes(l *lab) {
	var script, want strings.Builder
	script.WriteString("printf '")
	for i := range 256 {
		c := byte(255 - i)
		script.WriteString(`\` + string([]byte{'0' + c>>6, '0' + c>>3&7, '0' + c&7}))
		want.WriteByte(c)
	}
	script.WriteString("'")
	l.check("all bytes", l.exec(l.executor("task"), script.String()), 0, want.String())
}

func validOutput(l *lab) {
	term := l.terminal(terminal.Config{})
	for script, want := range map[string]string{
		`printf 'a\000b'`:                             "a\x00b",
		`printf '\377a\303\251\n\303'`:                "\ufffdaé\n\ufffd",
		`printf '\303'; ` + pause + `; printf '\251'`: "é",
		`printf '\342\202'; ` + pause + `; printf '\254 \360\237\230'; ` + pause + `; printf '\200'`: "€ 😀",
	} {
		if out := l.sh(term, script); out != want {
			l.Errorf("%s: output is %q, want %q", script, out, want)
		}
	}
}

// pause separates two writes. Nothing depends on its length.
const pause = "{ sleep 0.05 2>/dev/null || sleep 1; }"

func largeOutput(l *lab) {
	const size = 5 << 20
	script := "head -c " + itoa(size) + ` /dev/zero | tr '\000' z`
	var live counter
	res, err := l.run(l.terminal(terminal.Config{}), terminal.Request{Command: script, Stdout: &live})
	if err != nil || res.ExitCode != 0 {
		l.Fatalf("code %d, error %v", res.ExitCode, err)
	}
	if n := strings.Count(res.Output, "z") + res.Omitted; n != size {
		l.Errorf("the Result shows %d and omits %d characters: %d, want %d", n-res.Omitted, res.Omitted, n, size)
	}
	if live.n.Load() != size {
		l.Errorf("the live copy has %d bytes, want %d", live.n.Load(), size)
	}
}

// counter counts the bytes written to it.
type counter struct{ n atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

func tailOfOutput(l *lab) {
	const size = 300000
	script := "sh @D/sleeper held & sh @D/await @D/pid.held; head -c " + itoa(size) + ` /dev/zero | tr '\000' z; printf END; exit 3`
	o := l.exec(l.executor("task"), script)
	if o.code != 3 || o.err != nil {
		l.Errorf("code %d, error %v; want 3", o.code, o.err)
	}
	if n := strings.Count(o.out, "z"); n != size || !strings.HasSuffix(o.out, "END") {
		l.Errorf("%d of %d characters came out, the last: %q", n, size, o.out[max(0, len(o.out)-5):])
	}
}

// boundedMemory allows for the memory of parallel subtests: its command writes
// several times the bound.
func boundedMemory(l *lab) {
	const bound = 96 << 20
	term := l.terminal(terminal.Config{})
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	limit := time.Second
	if testing.Short() {
		limit /= 2
	}
	before, peak := heap(), uint64(0)
	var live counter
	wait := l.start(context.Background(), term, terminal.Request{
		Command: `tr '\000' y </dev/zero`, Stdout: &live, Timeout: limit,
	})
	done := make(chan struct{})
	var res terminal.Result
	go func() {
		defer close(done)
		res, _ = wait()
	}()
	l.within(limit+grace, "Run", func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			peak = max(peak, heap())
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	if res.Status != terminal.StatusTimeout {
		l.Errorf("status %q, want %q", res.Status, terminal.StatusTimeout)
	}
	if live.n.Load() == 0 {
		l.Errorf("the command wrote nothing")
	}
	if peak > before+bound {
		l.Errorf("the heap grew by %d MiB while %d MiB were written", (peak-before)>>20, live.n.Load()>>20)
	}
}
