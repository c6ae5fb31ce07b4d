// Agent shows the loop of a coding agent around the terminal tool. The model
// is a function that reads the last answer and decides on the next call, so
// that the program needs no network; what it runs, a Go test and its repair in
// a scratch directory, is real.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/terminal-go/terminal"
)

var project = map[string]string{
	"go.mod": "module sum\n\ngo 1.25\n",
	"sum.go": `package sum

func Of(numbers ...int) (total int) {
	for i := 1; i < len(numbers); i++ {
		total += numbers[i]
	}
	return total
}
`,
	"sum_test.go": `package sum

import "testing"

func TestOf(t *testing.T) {
	if got := Of(1, 2, 3); got != 6 {
		t.Errorf("Of(1, 2, 3) = %d, want 6", got)
	}
}
`,
}

// call is the tool's arguments, answer what the model reads of its JSON.
type call struct {
	Command string `json:"command"`
	Timeout int    `json:"timeout,omitempty"`
}

type answer struct {
	Output   string  `json:"output"`
	ExitCode int     `json:"exit_code"`
	Error    *string `json:"error"`
}

// model returns the next call, or none and its last word. A real one is sent
// the tool's Description and Schema, and all answers so far.
func model(last *answer) (next *call, say string) {
	switch {
	case last == nil:
		return &call{Command: "ls"}, ""
	case last.Error != nil:
		return nil, "I give up: " + *last.Error
	case strings.Contains(last.Output, "--- FAIL"):
		return &call{Command: "cat sum.go"}, ""
	case strings.Contains(last.Output, "i := 1;"):
		return &call{Command: "sed 's/i := 1;/i := 0;/' sum.go >new && mv new sum.go\ngo test ./...", Timeout: 120}, ""
	case strings.HasPrefix(last.Output, "ok"):
		return nil, "Done: the loop skipped the first number."
	case strings.Contains(last.Output, "sum_test.go"):
		return &call{Command: "go test ./...", Timeout: 120}, ""
	}
	return nil, "I do not know what to do next."
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "agent-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for name, text := range project {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			return err
		}
	}
	term, err := terminal.New(terminal.Config{Dir: dir, KeepHead: 0.4})
	if err != nil {
		return err
	}
	defer term.Close()
	ctx := terminal.WithTask(context.Background(), "repair")
	tool := term.Tools()[0]
	var last *answer
	for range 10 {
		next, say := model(last)
		if next == nil {
			fmt.Println(say)
			break
		}
		args, _ := json.Marshal(next) // strings and numbers
		last = new(answer)
		if err := json.Unmarshal(tool.Call(ctx, args), last); err != nil {
			return err
		}
		fmt.Printf("$ %s\n%s(exit code %d)\n\n", next.Command, last.Output, last.ExitCode)
	}

	// The host does not take the model's word for it.
	res, err := term.Run(ctx, terminal.Request{Command: "go test -count=1 ./...", Timeout: 2 * time.Minute})
	if err == nil && res.ExitCode != 0 {
		err = fmt.Errorf("the test still fails:\n%s", res.Output)
	}
	return err
}
