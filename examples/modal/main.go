// Modal runs commands of two tasks in a sandbox each, and shows what stays and
// what does not: files between calls, nothing between tasks, no process after
// a limit, no sandbox at the end.
//
//	go run ./examples/modal [image]
//
// It needs an account (modal token new), or the fake of this repository:
//
//	go run ./internal/modalfake/cmd/modalfake >modal.env &
//	. ./modal.env && go run ./examples/modal
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/terminal-go/terminal"
)

func main() {
	backend := terminal.Modal{
		MemoryMiB:    512,
		BlockNetwork: true,
		Lifetime:     time.Hour,
		IdleTimeout:  10 * time.Minute,
	}
	if len(os.Args) > 1 {
		backend.Image = os.Args[1]
	}
	term, err := terminal.New(terminal.Config{
		Backend: backend,
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()
	ctx := context.Background()
	if err := term.Check(ctx); err != nil {
		log.Fatal(err)
	}

	for _, req := range []terminal.Request{
		{Task: "red", Command: "id; echo kept >~/file"},
		{Task: "red", Command: "cat ~/file"},
		{Task: "blue", Command: "cat ~/file"},
		{Task: "red", Command: "setsid sleep 1000 & sleep 1000", Timeout: time.Second},
		{Task: "red", Command: "grep -l s[l]eep.1000 /proc/[0-9]*/cmdline; cat ~/file"},
	} {
		res, err := term.Run(ctx, req)
		fmt.Printf("\n%s$ %s\n", req.Task, req.Command)
		if res.Output != "" {
			fmt.Println("  " + strings.ReplaceAll(strings.TrimSpace(res.Output), "\n", "\n  "))
		}
		fmt.Printf("  exit code %d after %v\n", res.ExitCode, res.Duration.Round(100*time.Microsecond))
		if err != nil {
			fmt.Printf("  error: %v\n", err)
		}
	}
}
