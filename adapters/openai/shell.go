package openai

import (
	"context"
	"time"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"

	"github.com/terminal-go/terminal"
)

// Shell runs the commands of a call of the shell tool, one after the other, and
// returns the item that answers it. The call's timeout_ms is for all of them
// together; without it each has the Terminal's own limit. What is neither output nor
// exit code, such as the reason why a command did not run, is appended to its stderr.
func Shell(ctx context.Context, t *terminal.Terminal, call responses.ResponseFunctionShellToolCall) responses.ResponseInputItemUnionParam {
	action, end := call.Action, time.Time{}
	if action.TimeoutMs != 0 {
		end = time.Now().Add(time.Duration(min(action.TimeoutMs, 1<<40)) * time.Millisecond)
	}
	outputs := []responses.ResponseFunctionShellCallOutputContentParam{} // wanted even if empty
	for _, command := range action.Commands {
		outputs = append(outputs, run(ctx, t, command, end, action.MaxOutputLength))
	}
	item := responses.ResponseInputItemParamOfShellCallOutput(call.CallID, outputs)
	if action.MaxOutputLength > 0 { // the API wants it back, and cuts to it
		item.OfShellCallOutput.MaxOutputLength = sdk.Int(action.MaxOutputLength)
	}
	return item
}

// run runs one command, until end if there is one.
func run(ctx context.Context, t *terminal.Terminal, command string, end time.Time, most int64) (out responses.ResponseFunctionShellCallOutputContentParam) {
	stdout, stderr := newTail(most), newTail(most)
	req := terminal.Request{Command: command, Stdout: stdout, Stderr: stderr}
	res := terminal.Result{Status: terminal.StatusTimeout, Error: "not started: the time of the call was over"}
	if !end.IsZero() {
		req.Timeout = time.Until(end)
	}
	if req.Timeout >= 0 {
		res, _ = t.Run(ctx, req)
	}
	out.Stdout, out.Stderr = stdout.String(), stderr.String()
	for _, remark := range []string{res.Error, res.Notice} {
		if remark != "" {
			out.Stderr += "\n[" + remark + "]"
		}
	}
	if res.Status == terminal.StatusTimeout {
		timeout := responses.NewResponseFunctionShellCallOutputContentOutcomeTimeoutParam()
		out.Outcome.OfTimeout = &timeout
	} else {
		out.Outcome.OfExit = &responses.ResponseFunctionShellCallOutputContentOutcomeExitParam{ExitCode: int64(res.ExitCode)}
	}
	return out
}
