// Docker runs commands of two tasks in a container each, and shows what stays
// and what does not: files between calls, nothing between tasks, no process
// after a limit, no container at the end.
//
//	go run ./examples/docker [image]
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
	backend := terminal.Docker{
		Network: "none",
		Memory:  512 << 20,
		PIDs:    256,
	}
	if len(os.Args) > 1 {
		backend.Image = os.Args[1]
	}
	term, err := terminal.New(terminal.Config{
		Backend: backend,
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)), // tells of a pull
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
		{Task: "red", Command: "id; pwd; echo kept >file"},
		{Task: "red", Command: "cat file"},
		{Task: "blue", Command: "cat file"},
		{Task: "red", Command: "setsid sleep 1000 & sleep 1000", Timeout: time.Second},
		{Task: "red", Command: "grep -l s[l]eep.1000 /proc/[0-9]*/cmdline; cat file"},
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
