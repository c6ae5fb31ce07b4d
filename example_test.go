//go:build unix

// The examples that pkg.go.dev shows, but for the two that it shows as whole
// files, and the tests that belong to the examples.

package terminal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/terminaltest"
)

func TestExampleBackend(t *testing.T) {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("the example looks for processes in /proc:", err)
	}
	terminaltest.Run(t, func(*testing.T) terminal.Backend { return plain{} })
}

func TestExampleDecoratorConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the other example stands for it")
	}
	terminaltest.Run(t, func(*testing.T) terminal.Backend { return homes{} })
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

// At its timeout a command and all its processes are killed. The output so far
// is kept.
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

// Call reports every failure in its answer.
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

// A Tool has the name, description and schema that model providers ask for. Here
// a call is dispatched by name.
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

// The host names the task in the context, so the model's call does not have to.
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

// One Terminal can use several backends, chosen by the name of the task.
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

// The error names every invalid variable and its value.
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

// Approve lets a policy or a person decide about each command.
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

// WriteFile replaces a file atomically. The file belongs to the user who runs the
// commands.
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

// CopyFrom copies a directory to the host. Symbolic links stay links.
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

// New reports an invalid Config, so the first command does not have to.
func ExampleNew() {
	_, err := terminal.New(terminal.Config{Dir: "work"})
	fmt.Println(err)
	// Output: new: config dir "work": must be an absolute path
}

// A Request can set the directory, variables and input of a command, and writers
// that receive the output while the command runs.
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

// The first command of a task opens its environment. The first command after
// CloseTask opens a new one.
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

// Stats returns the live tasks and counts of those opened and closed so far, for
// a status page.
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

// Close ends running commands with ErrClosed. Later calls fail with it too.
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

// Check reports why a backend cannot be used, before a command needs it.
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

// Every error of a Terminal is an *Error and matches one of the sentinels.
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

// A Result encodes as the answer of the tool.
func ExampleResult_MarshalJSON() {
	data, err := json.Marshal(terminal.Result{Output: "1 failed\n", ExitCode: 1})
	fmt.Println(string(data), err)
	// Output: {"output":"1 failed\n","exit_code":1,"error":null} <nil>
}

// WithOutput gives a host the output of a tool call while the command runs.
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

// Middleware around Call can read the task of a call.
func ExampleTaskFrom() {
	ctx := terminal.WithTask(context.Background(), "user-7")
	fmt.Println(terminal.TaskFrom(ctx))
	fmt.Println(terminal.TaskFrom(context.Background()))
	// Output:
	// user-7 true
	//  false
}

// With a task_id the model chooses between environments below the host's task.
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

// Some providers require every property to be listed as required, with null for
// an absent value.
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

// journal is an Observer that prints events.
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

// Local withholds variables that look like secrets, unless PassEnv names them.
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

// A job runs any script in the background. Its log is a file in the environment.
func ExampleTerminal_Start() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close() // ends the job too

	ctx := context.Background()
	job, err := term.Start(ctx, terminal.Request{
		Command: "echo starting; echo listening on 8080; sleep 100",
		Ready:   &terminal.Ready{LogPattern: "^listening"},
	})
	if err != nil {
		log.Fatal(err)
	}
	status, err := job.Status(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(status.ID == job.ID(), status.Running)
	res, err := term.Run(ctx, terminal.Request{Command: "tail -n 1 " + job.LogPath()})
	fmt.Printf("%q %v\n", res.Output, err)
	// Output:
	// true true
	// "listening on 8080\n" <nil>
}

// If the job is not ready in time, Start returns ErrTimeout and the job keeps
// running. If the job has ended, Start returns os.ErrProcessDone. Both errors
// come with a Job.
func ExampleReady() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	ready := &terminal.Ready{LogPattern: "listening", Timeout: 300 * time.Millisecond}
	for _, command := range []string{"sleep 100", "echo port is taken; exit 1"} {
		job, err := term.Start(context.Background(), terminal.Request{Command: command, Ready: ready})
		switch {
		case errors.Is(err, os.ErrProcessDone):
			out, _, _ := job.Output(context.Background(), 0, 0)
			fmt.Printf("ended: %s", out)
		case errors.Is(err, terminal.ErrTimeout):
			fmt.Println("not ready yet")
		}
	}
	// Output:
	// not ready yet
	// ended: port is taken
}

// A job outlives the Job value and can be found by its ID.
func ExampleTerminal_Jobs() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	ctx := terminal.WithTask(context.Background(), "web")
	for _, command := range []string{"exit 3", "sleep 100"} {
		job, err := term.Start(ctx, terminal.Request{Command: command})
		if err != nil {
			log.Fatal(err)
		}
		if command == "exit 3" {
			job.Wait(ctx)
		}
	}
	all, err := term.Jobs(ctx, "")
	if err != nil {
		log.Fatal(err)
	}
	for _, status := range all {
		job, err := term.Job(ctx, "web", status.ID)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(status.Command, status.Running, status.ExitCode, job.LogPath() == status.LogPath)
	}
	_, err = term.Job(ctx, "web", "0123456789ab")
	fmt.Println(errors.Is(err, terminal.ErrUnknownJob))
	// Output:
	// exit 3 false 3 true
	// sleep 100 true 0 true
	// true
}

// The standard input of a job stays open until CloseStdin.
func ExampleJob_Write() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	ctx := context.Background()
	job, err := term.Start(ctx, terminal.Request{Command: "sort; exit 4"})
	if err != nil {
		log.Fatal(err)
	}
	for _, line := range []string{"pear\n", "apple\n"} {
		if err := job.Write(ctx, []byte(line)); err != nil {
			log.Fatal(err)
		}
	}
	if err := job.CloseStdin(ctx); err != nil {
		log.Fatal(err)
	}
	code, err := job.Wait(ctx)
	fmt.Println(code, err)

	// Output reads from an offset and returns the next one.
	for offset := int64(0); ; {
		data, next, err := job.Output(ctx, offset, 8)
		if err != nil || len(data) == 0 {
			break
		}
		fmt.Printf("%d: %q\n", offset, data)
		offset = next
	}
	// Output:
	// 4 <nil>
	// 0: "apple\npe"
	// 8: "ar\n"
}

// Signal asks a job to end. Kill ends all its processes, including those that
// detached themselves.
func ExampleJob_Kill() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	ctx := context.Background()
	job, err := term.Start(ctx, terminal.Request{
		Command: "trap 'echo not now' TERM; setsid sleep 100 & echo up; while :; do read line; done",
		Ready:   &terminal.Ready{LogPattern: "up"},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := job.Signal(ctx, syscall.SIGTERM); err != nil {
		log.Fatal(err)
	}
	if err := job.Kill(ctx); err != nil {
		log.Fatal(err) // something is left
	}
	code, err := job.Wait(ctx)
	fmt.Println(code, err)
	// Output: 137 <nil>
}

// withoutExample maps functions and methods without an Example to the reason. A
// type stands for all its methods.
var withoutExample = map[string]string{
	"Docker":          "a Terminal calls its methods",
	"Local":           "a Terminal calls its methods",
	"Modal":           "a Terminal calls its methods",
	"Error":           "errors.As and errors.Is call its methods",
	"Terminal.CopyTo": "the same as CopyFrom, the other way round",
}

// Every exported function and method is named in an Example that is about it,
// or that calls it. Methods of different types are not distinguished in calls.
func TestExamplesCoverEntryPoints(t *testing.T) {
	dir, err := build.ImportDir(".", 0)
	require.NoError(t, err)
	fset := token.NewFileSet()
	parse := func(names []string) (files []*ast.File) {
		for _, name := range names {
			file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
			require.NoError(t, err)
			files = append(files, file)
		}
		return files
	}
	named := make(map[string]bool)
	for _, example := range doc.Examples(parse(dir.XTestGoFiles)...) {
		if example.Output == "" && !example.EmptyOutput {
			continue // it is not run
		}
		ast.Inspect(example.Code, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				named[s.Sel.Name] = true
			}
			return true
		})
		named[example.Name] = true
	}
	pkg, err := doc.NewFromFiles(fset, parse(dir.GoFiles), dir.ImportPath)
	require.NoError(t, err)
	check := func(receiver string, funcs []*doc.Func) {
		for _, f := range funcs {
			full, example := f.Name, f.Name
			if receiver != "" {
				full, example = receiver+"."+f.Name, receiver+"_"+f.Name
			}
			if withoutExample[receiver] == "" && withoutExample[full] == "" {
				assert.True(t, named[f.Name] || named[example], "no Example with an Output names %s", full)
			}
		}
	}
	check("", pkg.Funcs)
	for _, typ := range pkg.Types {
		check("", typ.Funcs)
		check(typ.Name, typ.Methods)
	}
}
