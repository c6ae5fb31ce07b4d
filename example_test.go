//go:build unix

package terminal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/terminaltest"
)

func TestExampleBackend(t *testing.T) {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("the example looks for processes in /proc:", err)
	}
	terminaltest.Run(t, func(*testing.T) terminal.Backend { return plain{} })
}

func Example() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	res, err := term.Run(context.Background(), terminal.Request{Command: "echo hello; exit 3"})
	if err != nil {
		log.Fatal(err) // the command did not run to its own end
	}
	fmt.Printf("%q %d\n", res.Output, res.ExitCode)
	// Output: "hello\n" 3
}

// At its limit a command loses all its processes, and keeps its output.
func ExampleTerminal_Run() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	res, err := term.Run(context.Background(), terminal.Request{
		Command: "echo started; sleep 100 & wait",
		Timeout: 300 * time.Millisecond,
	})
	fmt.Println(errors.Is(err, terminal.ErrTimeout))
	fmt.Printf("%q %d %s\n", res.Output, res.ExitCode, res.Status)
	fmt.Println(res.Error)
	// Output:
	// true
	// "started\n" 124 timeout
	// command reached its limit of 300ms and was ended; ask for a longer timeout if it needs more
}

// Call never fails in any other way than with an answer that says so.
func ExampleTerminal_Call() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	for _, args := range []string{
		`{"command": "echo '<b>'; ls /not/there 2>/dev/null || exit 2"}`,
		`{"command": "sleep 100", "timeout": "0.2"}`,
		`{"comand": "date"}`,
	} {
		fmt.Println(string(term.Call(context.Background(), json.RawMessage(args))))
	}
	// Output:
	// {"output":"<b>\n","exit_code":2,"error":null}
	// {"output":"","exit_code":124,"error":"command reached its limit of 200ms and was ended; ask for a longer timeout if it needs more","status":"timeout"}
	// {"output":"","exit_code":-1,"error":"arguments: unknown field \"comand\"; known are command, background, timeout, ready_port, ready_log","status":"error"}
}

// A Tool has what every provider asks for. Here a call is dispatched by name.
func ExampleTerminal_Tools() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	tools := make(map[string]terminal.Tool)
	for _, tool := range term.Tools() {
		tools[tool.Name] = tool
	}
	tool := tools["terminal"]
	first, _, _ := strings.Cut(tool.Description, "\n")
	fmt.Println(first)

	var schema struct{ Required []string }
	if err := json.Unmarshal(tool.Schema, &schema); err != nil {
		log.Fatal(err)
	}
	fmt.Println(schema.Required)
	fmt.Println(string(tool.Call(context.Background(), json.RawMessage(`{"command": "printf hi"}`))))
	// Output:
	// Runs a command in a terminal and returns what it printed.
	// [command]
	// {"output":"hi","exit_code":0,"error":null}
}

// The host names the task, and the model's call need not.
func ExampleWithTask() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	for _, user := range []string{"ann", "bob", "ann"} {
		ctx := terminal.WithTask(context.Background(), user)
		term.Call(ctx, json.RawMessage(`{"command": "true"}`))
	}
	for _, task := range term.Stats().Tasks {
		fmt.Println(task.Task, task.Backend)
	}
	// Output:
	// ann local
	// bob local
}

// One Terminal can serve several backends, chosen by the name of the task.
func ExampleRoute() {
	var scripted terminaltest.Fake
	scripted.Reply("make test", terminaltest.Reply{Output: "all good\n"})

	term, err := terminal.New(terminal.Config{
		Backend: terminal.Route(func(task string) terminal.Backend {
			switch {
			case strings.HasPrefix(task, "dry-run/"):
				return &scripted
			case task == "build":
				return terminal.Local{}
			}
			return nil // no such task here
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	ctx := context.Background()
	res, err := term.Run(ctx, terminal.Request{Task: "dry-run/1", Command: "make test"})
	fmt.Printf("%q %v\n", res.Output, err)
	res, err = term.Run(ctx, terminal.Request{Task: "build", Command: "echo built"})
	fmt.Printf("%q %v\n", res.Output, err)
	_, err = term.Run(ctx, terminal.Request{Task: "other", Command: "true"})
	fmt.Println(errors.Is(err, terminal.ErrUnavailable))
	// Output:
	// "all good\n" <nil>
	// "built\n" <nil>
	// true
}

// A registered backend is chosen with TERMINAL_ENV, like a built-in one. A
// package that offers a backend registers it in its init function.
func ExampleRegisterBackend() {
	terminal.RegisterBackend("dry-run", func(terminal.Config) (terminal.Backend, error) {
		var fake terminaltest.Fake
		fake.ReplyFunc(func(terminal.Command) bool { return true }, terminaltest.Reply{Output: "not run\n"})
		return &fake, nil
	})

	os.Setenv("TERMINAL_ENV", "dry-run")
	defer os.Unsetenv("TERMINAL_ENV")
	cfg, err := terminal.FromEnv()
	if err != nil {
		log.Fatal(err)
	}
	term, err := terminal.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	res, err := term.Run(context.Background(), terminal.Request{Command: "rm -rf /"})
	fmt.Printf("%q %v\n", res.Output, err)
	// Output: "not run\n" <nil>
}

// A bad value is an error that names its variable, and all are reported.
func ExampleFromEnv() {
	for name, value := range map[string]string{
		"TERMINAL_CWD":       "/tmp",
		"TERMINAL_TIMEOUT":   "90s",
		"TERMINAL_KEEP_HEAD": "40",
	} {
		os.Setenv(name, value)
		defer os.Unsetenv(name)
	}
	_, err := terminal.FromEnv()
	fmt.Println(err)
	// Output:
	// from env: TERMINAL_TIMEOUT="90s": must be a positive number of seconds, such as 60 or 0.5
	// TERMINAL_KEEP_HEAD="40": must be a share from 0 to 1, such as 0.4
}

// Approve puts a policy, or a person, in front of each command.
func ExampleConfig() {
	term, err := terminal.New(terminal.Config{
		Timeout:  30 * time.Second,
		KeepHead: 0.4,
		Approve: func(_ context.Context, req terminal.Request) error {
			if strings.Contains(req.Command, "git push") {
				return errors.New("nothing is pushed from here")
			}
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	res, err := term.Run(context.Background(), terminal.Request{Command: "git push --force"})
	fmt.Println(res.Status, errors.Is(err, terminal.ErrDenied))
	fmt.Println(res.Error)
	// Output:
	// denied true
	// command was denied: nothing is pushed from here
}

// A file is replaced at once, and belongs to the user who runs the commands.
func ExampleTerminal_WriteFile() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	script := filepath.Join(dir, "greet")
	if err := term.WriteFile(ctx, "", script, []byte("#!/bin/sh\necho hello \"$1\" | tee \"$0.log\"\n"), 0o755); err != nil {
		log.Fatal(err)
	}
	res, err := term.Run(ctx, terminal.Request{Command: script + " world"})
	fmt.Print(res.Output, err, "\n")

	data, err := term.ReadFile(ctx, "", script+".log")
	fmt.Printf("%q %v\n", data, err)
	_, err = term.ReadFile(ctx, "", script+".txt")
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	// Output:
	// hello world
	// <nil>
	// "hello world\n" <nil>
	// true
}

// What a command made is fetched as a tree. Its links stay links.
func ExampleTerminal_CopyFrom() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	_, err = term.Run(ctx, terminal.Request{Dir: dir, Command: "mkdir -p out/empty && echo built >out/app && ln -s app out/latest"})
	if err != nil {
		log.Fatal(err)
	}
	here := filepath.Join(dir, "here")
	if err := term.CopyFrom(ctx, "", dir+"/out", here); err != nil {
		log.Fatal(err)
	}
	entries, err := os.ReadDir(here)
	for _, entry := range entries {
		fmt.Println(entry.Type(), entry.Name())
	}
	fmt.Println(err)
	// Output:
	// ---------- app
	// d--------- empty
	// L--------- latest
	// <nil>
}
