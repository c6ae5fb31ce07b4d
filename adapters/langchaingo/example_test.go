package langchaingo_test

import (
	"context"
	"fmt"
	"log"

	"github.com/tmc/langchaingo/agents"
	"github.com/tmc/langchaingo/chains"
	"github.com/tmc/langchaingo/llms/fake"
	"github.com/tmc/langchaingo/schema"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/adapters/langchaingo"
)

// An agent whose model follows a script. Any llms.Model can take its place.
func Example() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()
	model := fake.NewFakeLLM([]string{use("terminal", "echo $((6 * 7))"), done})

	ctx := terminal.WithTask(context.Background(), "session-1")
	agent := agents.NewOneShotAgent(model, langchaingo.Tools(term))
	executor := agents.NewExecutor(agent, agents.WithReturnIntermediateSteps())
	values, err := chains.Call(ctx, executor, map[string]any{"input": "What is 6 times 7?"})
	if err != nil {
		log.Fatal(err)
	}
	for _, step := range values["intermediateSteps"].([]schema.AgentStep) {
		fmt.Println(step.Observation)
	}
	fmt.Println(values["output"])
	// Output:
	// {"output":"42\n","exit_code":0,"error":null}
	// done
}
