package openai_test

import (
	"context"
	"fmt"
	"log"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/adapters/openai"
)

// The loop of an agent. The client talks to a model that follows a script;
// sdk.NewClient() talks to the real one.
func Example() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()
	client, m := newModel(functionCall("terminal", `{"command":"echo $((6 * 7))"}`), done)
	defer m.Close()

	ctx := terminal.WithTask(context.Background(), "session-1")
	params := responses.ResponseNewParams{Model: "gpt-5.1", Tools: openai.Tools(term)}
	for {
		response, err := client.Responses.New(ctx, params)
		if err != nil {
			log.Fatal(err)
		}
		params.Input = responses.ResponseNewParamsInputUnion{}
		for _, item := range response.Output {
			if item.Type == "function_call" {
				call := item.AsFunctionCall()
				reply := responses.ResponseInputItemParamOfFunctionCallOutput(openai.Answer(ctx, term, call.Name, call.Arguments))
				reply.OfFunctionCallOutput.CallID = sdk.String(call.CallID)
				params.Input.OfInputItemList = append(params.Input.OfInputItemList, reply)
				fmt.Println(reply.OfFunctionCallOutput.Output.OfString)
			}
		}
		if params.Input.OfInputItemList == nil {
			fmt.Println(response.OutputText())
			return
		}
	}
	// Output:
	// {"output":"42\n","exit_code":0,"error":null}
	// done
}

// What the model-native shell tool asks for, and what it gets.
func ExampleShell() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	tool := responses.ToolUnionParam{OfShell: &responses.FunctionShellToolParam{}}
	tool.OfShell.Environment.OfLocal = &responses.LocalEnvironmentParam{} // in ResponseNewParams.Tools

	var call responses.ResponseFunctionShellToolCall // response.Output[i].AsShellCall()
	call.CallID = "call_1"
	call.Action.Commands = []string{"echo out; echo err >&2", "exit 3"}
	answer, err := openai.Shell(context.Background(), term, call).MarshalJSON()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(answer))
	// Output:
	// {"call_id":"call_1","output":[{"outcome":{"exit_code":0,"type":"exit"},"stderr":"err\n","stdout":"out\n"},{"outcome":{"exit_code":3,"type":"exit"},"stderr":"","stdout":""}],"type":"shell_call_output"}
}
