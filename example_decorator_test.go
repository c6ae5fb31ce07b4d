//go:build unix

package terminal_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/terminal-go/terminal"
)

// homes is a Backend of twenty lines: each task gets a home directory of its
// own, made with the environment and removed with it. The rest is Local's.
type homes struct{ terminal.Local }

type home struct {
	terminal.Executor
	dir string
}

func (h homes) Open(ctx context.Context, task string) (terminal.Executor, error) {
	dir, err := os.MkdirTemp("", "home-")
	if err != nil {
		return nil, fmt.Errorf("%w: make home directory: %w", terminal.ErrUnavailable, err)
	}
	ex, err := h.Local.Open(ctx, task)
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	return home{ex, dir}, nil
}

func (h home) Exec(ctx context.Context, c terminal.Command) (int, error) {
	env := map[string]string{"HOME": h.dir}
	for name, value := range c.Env { // c belongs to the caller
		env[name] = value
	}
	c.Env = env
	return h.Executor.Exec(ctx, c)
}

func (h home) Close(ctx context.Context) error {
	return errors.Join(h.Executor.Close(ctx), os.RemoveAll(h.dir))
}

func (h home) Unwrap() terminal.Executor { return h.Executor } // for its capabilities

// The smallest backends change something about another one.
func ExampleBackend() {
	term, err := terminal.New(terminal.Config{Backend: homes{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer term.Close()
	for _, task := range []string{"a", "b", "a"} {
		res, err := term.Run(context.Background(), terminal.Request{Task: task, Command: "cd && echo hello >>file && cat file"})
		fmt.Printf("%s: %q %v\n", task, res.Output, err)
	}
	// Output:
	// a: "hello\n" <nil>
	// b: "hello\n" <nil>
	// a: "hello\nhello\n" <nil>
}
