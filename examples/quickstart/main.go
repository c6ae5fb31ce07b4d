// Quickstart runs a few real commands and prints what a person, and what a
// model, gets to see of them.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/terminal-go/terminal"
)

func main() {
	cfg, err := terminal.FromEnv() // or terminal.Config{}
	if err != nil {
		log.Fatal(err)
	}
	term, err := terminal.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()
	ctx := context.Background()
	if err := term.Check(ctx); err != nil {
		log.Fatal(err)
	}

	fmt.Println("For a program:")
	for _, req := range []terminal.Request{
		{Command: "uname -s; echo hello from $0"},
		{Command: "ls /not/there"},
		{Command: "echo started; setsid sleep 1000 & sleep 1000", Timeout: time.Second},
	} {
		res, err := term.Run(ctx, req)
		fmt.Printf("\n$ %s\n%s", req.Command, indent(res.Output))
		fmt.Printf("  exit code %d after %v\n", res.ExitCode, res.Duration.Round(time.Millisecond))
		if err != nil {
			fmt.Printf("  error: %v\n", err)
		}
	}

	fmt.Println("\nFor a model:")
	for _, args := range []string{
		`{"command": "for i in 1 2 3; do echo $i; done | sort -r"}`,
		`{"command": "sleep 5", "timeout": "0.5"}`,
		`{"comand": "date"}`,
	} {
		fmt.Printf("\n→ %s\n← %s\n", args, term.Call(ctx, json.RawMessage(args)))
	}
}

func indent(s string) string {
	if s == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ") + "\n"
}
