package anthropic_test

import (
	"context"
	"fmt"
	"log"

	sdk "github.com/anthropics/anthropic-sdk-go"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/adapters/anthropic"
)

// The SDK's tool runner. The client talks to a model that follows a script;
// sdk.NewClient() talks to the real one.
func Example() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()
	client, m := newModel(use("terminal", `{"command":"echo $((6 * 7))"}`), done)
	defer m.Close()

	ctx := terminal.WithTask(context.Background(), "session-1")
	runner := client.Beta.Messages.NewToolRunner(anthropic.Tools(term), sdk.BetaToolRunnerParams{
		BetaMessageNewParams: sdk.BetaMessageNewParams{
			Model:     "claude-sonnet-4-5",
			MaxTokens: 1000,
			Messages:  []sdk.BetaMessageParam{sdk.NewBetaUserMessage(sdk.NewBetaTextBlock("What is 6 times 7?"))},
		},
	})
	last, err := runner.RunToCompletion(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(runner.Messages()[2].Content[0].OfToolResult.Content[0].OfText.Text)
	fmt.Println(last.Content[0].Text)
	// Output:
	// {"output":"42\n","exit_code":0,"error":null}
	// done
}

// Claude's own bash tool, in a runner.
func ExampleBash() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()
	client, m := newModel(use("bash", `{"command":"echo hi; exit 3"}`), done)
	defer m.Close()

	runner := client.Beta.Messages.NewToolRunner([]sdk.BetaTool{anthropic.Bash(term)}, sdk.BetaToolRunnerParams{
		BetaMessageNewParams: sdk.BetaMessageNewParams{
			Model:     "claude-sonnet-4-5",
			MaxTokens: 1000,
			System:    []sdk.BetaTextBlockParam{{Text: "Each call of bash starts a new shell: files stay, cd and variables do not."}},
			Messages:  []sdk.BetaMessageParam{sdk.NewBetaUserMessage(sdk.NewBetaTextBlock("Say hi and fail."))},
		},
	})
	runner.Params.Tools[0] = sdk.BetaToolUnionParam{OfBashTool20250124: &sdk.BetaToolBash20250124Param{}}
	if _, err := runner.RunToCompletion(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(runner.Messages()[2].Content[0].OfToolResult.Content[0].OfText.Text)
	// Output:
	// hi
	//
	// [exit code 3]
}
