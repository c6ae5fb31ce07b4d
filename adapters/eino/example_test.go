package eino_test

import (
	"context"
	"fmt"
	"log"

	"github.com/cloudwego/eino/compose"
	"github.com/cloudwego/eino/flow/agent/react"
	"github.com/cloudwego/eino/schema"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/adapters/eino"
)

// A ReAct agent whose model follows a script. Any ToolCallingChatModel can take
// its place.
func Example() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()
	m := use("terminal", `{"command":"echo $((6 * 7))"}`)

	ctx := terminal.WithTask(context.Background(), "session-1")
	agent, err := react.NewAgent(ctx, &react.AgentConfig{
		ToolCallingModel: m,
		ToolsConfig:      compose.ToolsNodeConfig{Tools: eino.Tools(term)},
	})
	if err != nil {
		log.Fatal(err)
	}
	last, err := agent.Generate(ctx, []*schema.Message{schema.UserMessage("What is 6 times 7?")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.heard[len(m.heard)-1].Content)
	fmt.Println(last.Content)
	// Output:
	// {"output":"42\n","exit_code":0,"error":null}
	// done
}
