package harness

import (
	"strings"
	"testing"
	"time"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/terminaltest"
)

func open(t *testing.T, cfg terminal.Config) *terminal.Terminal {
	t.Helper()
	term, err := terminal.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the parallel subtests
		if err := term.Close(); err != nil {
			t.Error(err)
		}
	})
	return term
}

func TestGradeLocal(t *testing.T) {
	term := open(t, terminal.Config{Dir: t.TempDir(), Timeout: 5 * time.Second})
	const setup, check = "printf 'b\na\n' >names", `[ "$(cat sorted)" = "$(printf 'a\nb')" ] || { cat sorted; exit 1; }`
	for name, c := range map[string]struct {
		answer string
		pass   bool
		why    string
	}{
		"right": {answer: "sort names >sorted", pass: true},
		"wrong": {answer: "cat names >sorted", why: "b\na\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pass, why, err := Grade(t.Context(), term, name, Exercise{Setup: setup, Answer: c.answer, Check: check})
			if err != nil || pass != c.pass || why != c.why {
				t.Errorf("pass %t, why %q, error %v; want %t, %q", pass, why, err, c.pass, c.why)
			}
		})
	}
}

// What is hard to bring about with real commands is scripted.
func TestGradeTimeoutFails(t *testing.T) {
	var fake terminaltest.Fake
	fake.ReplyFunc(func(c terminal.Command) bool { return strings.HasPrefix(c.Script, "mkdir ") })
	fake.Reply("answer", terminaltest.Reply{Delay: time.Hour})
	term := open(t, terminal.Config{Backend: &fake, Timeout: 50 * time.Millisecond})

	pass, why, err := Grade(t.Context(), term, "slow", Exercise{Setup: "setup", Answer: "answer", Check: "check"})
	if err != nil || pass || !strings.Contains(why, "limit of 50ms") {
		t.Errorf("pass %t, why %q, error %v", pass, why, err)
	}
	if calls := fake.Calls(); len(calls) != 2 || fake.Closed() != 1 {
		t.Errorf("%d commands ran, want 2 and no check; %d executors were closed, want 1", len(calls), fake.Closed())
	}
}
