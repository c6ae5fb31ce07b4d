package genkit_test

import (
	"context"
	"fmt"
	"log"

	"github.com/firebase/genkit/go/ai"
	sdk "github.com/firebase/genkit/go/genkit"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/adapters/genkit"
)

// A generation whose model follows a script. Any model of Genkit's plugins can
// take its place.
func Example() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	g := sdk.Init(ctx)
	m := &scripted{tool: "terminal", input: map[string]any{"command": "echo $((6 * 7))"}}
	model := m.define(g)
	tools, err := genkit.DefineTools(g, term)
	if err != nil {
		log.Fatal(err)
	}
	response, err := sdk.Generate(terminal.WithTask(ctx, "session-1"), g,
		ai.WithModelName(model), ai.WithPrompt("What is 6 times 7?"), ai.WithTools(tools...))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.answer())
	fmt.Println(response.Text())
	// Output:
	// {"error":null,"exit_code":0,"output":"42\n"}
	// done
}
