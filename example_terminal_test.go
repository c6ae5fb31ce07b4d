//go:build unix

package terminal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/terminaltest"
)

// What is wrong in a Config is an error of New and not of the first command.
func ExampleNew() {
	_, err := terminal.New(terminal.Config{Dir: "work"})
	fmt.Println(err)
	// Output: new: config dir "work": must be an absolute path
}

// A request has a directory, variables, an input, and live copies of the output.
func ExampleRequest() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	var stdout, stderr bytes.Buffer
	res, err := term.Run(context.Background(), terminal.Request{
		Command: `pwd; grep -c "$WORD"; echo done >&2`,
		Dir:     "/",
		Env:     map[string]string{"WORD": "tea"},
		Stdin:   strings.NewReader("tea\ncoffee\ngreen tea\n"),
		Stdout:  &stdout,
		Stderr:  &stderr,
	})
	fmt.Println(res.ExitCode, err)
	fmt.Printf("%q %q\n", stdout.String(), stderr.String())
	// Output:
	// 0 <nil>
	// "/\n2\n" "done\n"
}

// A task gets an environment with its first command, and a new one with the
// first after CloseTask.
func ExampleTerminal_CloseTask() {
	var fake terminaltest.Fake
	fake.Reply("make", terminaltest.Reply{Output: "built\n"})
	term, err := terminal.New(terminal.Config{Backend: &fake})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	ctx := context.Background()
	for range 2 {
		term.Run(ctx, terminal.Request{Task: "build", Command: "make"})
		term.Run(ctx, terminal.Request{Task: "build", Command: "make"})
		if err := term.CloseTask(ctx, "build"); err != nil {
			log.Fatal(err) // something may be left
		}
	}
	fmt.Println(len(fake.Calls()), fake.Opened(), fake.Closed())
	// Output: 4 2 2
}

// Stats is for a status page: what lives, and what has come and gone.
func ExampleTerminal_Stats() {
	term, err := terminal.New(terminal.Config{Backend: new(terminaltest.Fake)})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	for _, task := range []string{"b", "a", "b"} {
		term.Run(context.Background(), terminal.Request{Task: task, Command: "true"})
	}
	stats := term.Stats()
	for _, task := range stats.Tasks {
		fmt.Println(task.Task, task.Backend, task.Running)
	}
	fmt.Println(stats.Created, stats.Closed, stats.Reaped)
	// Output:
	// a fake 0
	// b fake 0
	// 2 0 0
}

// Close ends what runs; the commands are told so, and so is who comes later.
func ExampleTerminal_Close() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(term.Close(), term.Close())
	_, err = term.Run(context.Background(), terminal.Request{Command: "true"})
	fmt.Println(errors.Is(err, terminal.ErrClosed))
	// Output:
	// <nil> <nil>
	// true
}

// Check tells why a backend cannot be used here, before a command needs it.
func ExampleTerminal_Check() {
	for _, backend := range []terminal.Backend{
		terminal.Local{},
		terminal.Docker{Host: "unix:///not/there.sock"},
	} {
		term, err := terminal.New(terminal.Config{Backend: backend})
		if err != nil {
			log.Fatal(err)
		}
		err = term.Check(context.Background())
		fmt.Println(err == nil, errors.Is(err, terminal.ErrUnavailable))
		term.Close()
	}
	// Output:
	// true false
	// false true
}

// The errors of a Terminal are of one type, and lead to one of the sentinels.
func ExampleError() {
	var fake terminaltest.Fake
	fake.Reply("make", terminaltest.Reply{Err: fmt.Errorf("machine 7: %w", terminal.ErrGone)})
	term, err := terminal.New(terminal.Config{Backend: &fake})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	res, err := term.Run(context.Background(), terminal.Request{Command: "make"})
	var e *terminal.Error
	if errors.As(err, &e) {
		fmt.Println(e.Op, e.Task, e.Backend, errors.Is(e, terminal.ErrGone))
	}
	fmt.Println(res.Status)
	// Output:
	// run default fake true
	// lost
}

// A Result is the tool's answer as it is.
func ExampleResult_MarshalJSON() {
	data, err := json.Marshal(terminal.Result{Output: "1 failed\n", ExitCode: 1})
	fmt.Println(string(data), err)
	// Output: {"output":"1 failed\n","exit_code":1,"error":null} <nil>
}

// A host that shows progress gets the output of a tool call as it is written.
func ExampleWithOutput() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	ctx := terminal.WithOutput(context.Background(), os.Stdout)
	answer := term.Call(ctx, json.RawMessage(`{"command": "echo 1; echo 2"}`))
	fmt.Println(string(answer))
	// Output:
	// 1
	// 2
	// {"output":"1\n2\n","exit_code":0,"error":null}
}

// What a host wraps around Call can see which task a call is for.
func ExampleTaskFrom() {
	ctx := terminal.WithTask(context.Background(), "user-7")
	fmt.Println(terminal.TaskFrom(ctx))
	fmt.Println(terminal.TaskFrom(context.Background()))
	// Output:
	// user-7 true
	//  false
}

// With a task_id the model chooses between environments below the host's.
func ExampleTool_WithTaskID() {
	var fake terminaltest.Fake
	fake.Reply("make")
	fake.Reply("make")
	term, err := terminal.New(terminal.Config{Backend: &fake})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	tool := term.Tools()[0]
	fmt.Println(bytes.Contains(tool.Schema, []byte("task_id")))
	tool = tool.WithTaskID()
	fmt.Println(bytes.Contains(tool.Schema, []byte("task_id")))
	ctx, args := context.Background(), json.RawMessage(`{"command": "make", "task_id": "left"}`)
	tool.Call(ctx, args)
	tool.Call(terminal.WithTask(ctx, "user-7"), args)
	for _, call := range fake.Calls() {
		fmt.Println(call.Task)
	}
	// Output:
	// false
	// true
	// left
	// user-7/left
}

// Some providers want each property to be required, and null for none.
func ExampleTool_Strict() {
	term, err := terminal.New(terminal.Config{Backend: new(terminaltest.Fake)})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	var schema struct {
		Required   []string
		Properties map[string]struct{ Type any }
	}
	if err := json.Unmarshal(term.Tools()[0].Strict().Schema, &schema); err != nil {
		log.Fatal(err)
	}
	for _, name := range schema.Required {
		fmt.Println(name, schema.Properties[name].Type)
	}
	// Output:
	// command string
	// background [boolean null]
	// timeout [number null]
	// ready_port [integer null]
	// ready_log [string null]
}

// journal is an Observer that prints.
type journal struct{}

func (journal) Observe(_ context.Context, e terminal.Event) {
	fmt.Printf("%s: %s\n", e.Task, e.Kind)
}

func ExampleObserver() {
	term, err := terminal.New(terminal.Config{Backend: new(terminaltest.Fake), Observer: journal{}})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		term.Run(context.Background(), terminal.Request{Task: "a", Command: "true"})
	}
	term.Close()
	// Output:
	// a: environment created
	// a: command started
	// a: command ended
	// a: environment reused
	// a: command started
	// a: command ended
	// a: environment closed
}

// Local commands do not get what looks like a secret, unless it is named.
func ExampleLocal() {
	os.Setenv("DEMO_TOKEN", "12345")
	defer os.Unsetenv("DEMO_TOKEN")
	for _, backend := range []terminal.Local{{}, {PassEnv: []string{"DEMO_TOKEN"}}} {
		term, err := terminal.New(terminal.Config{Backend: backend})
		if err != nil {
			log.Fatal(err)
		}
		res, err := term.Run(context.Background(), terminal.Request{Command: "echo ${DEMO_TOKEN-withheld}"})
		fmt.Printf("%q %v\n", res.Output, err)
		term.Close()
	}
	// Output:
	// "withheld\n" <nil>
	// "12345\n" <nil>
}
