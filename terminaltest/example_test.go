//go:build unix

package terminaltest_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/terminaltest"
)

// Commands get scripted replies, and no process runs.
func ExampleFake() {
	var fake terminaltest.Fake
	fake.Reply("go test ./...",
		terminaltest.Reply{Output: "FAIL\n", ExitCode: 1}, // the first time
		terminaltest.Reply{Output: "ok\n"},                // from then on
	)
	fake.ReplyFunc(func(c terminal.Command) bool { return strings.HasPrefix(c.Script, "git ") }, terminaltest.Reply{})

	term, err := terminal.New(terminal.Config{Backend: &fake})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	for _, command := range []string{"go test ./...", "git stash", "go test ./...", "date"} {
		res, err := term.Run(context.Background(), terminal.Request{Command: command})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %q\n", res.ExitCode, res.Output)
	}
	for _, call := range fake.Calls()[:2] {
		fmt.Println(call.Task, call.Dir, call.Script)
	}
	fmt.Println(fake.Opened(), fake.Closed())
	// Output:
	// 1 "FAIL\n"
	// 0 ""
	// 0 "ok\n"
	// 127 "terminaltest.Fake: no reply to this command: \"date\"\n"
	// default /tmp go test ./...
	// default /tmp git stash
	// 1 0
}

// In front of a real backend a Fake injects failures. Here the first environment
// is lost, and the next call gets another one.
func ExampleFake_next() {
	fake := terminaltest.Fake{Next: terminal.Local{}}
	fake.Reply("echo hello",
		terminaltest.Reply{Err: terminal.ErrGone},
		terminaltest.Reply{Next: true},
	)
	term, err := terminal.New(terminal.Config{Backend: &fake})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	for range 2 {
		res, err := term.Run(context.Background(), terminal.Request{Command: "echo hello"})
		fmt.Printf("%q %v\n", res.Output, err)
	}
	fmt.Println(fake.Opened())
	// Output:
	// "" run task "default" (fake): environment is gone
	// "hello\n" <nil>
	// 2
}
