// Package toolspec describes the tools to a model and decodes what it sends: the
// descriptions, the JSON schemas, and the arguments. It runs nothing and knows
// no Terminal.
package toolspec

import (
	_ "embed"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// A Spec describes a tool.
type Spec struct {
	Name, Description string
	Schema            json.RawMessage
}

// Limits are the figures of a Terminal that the descriptions name.
type Limits struct {
	Timeout, MaxTimeout time.Duration // MaxTimeout 0: none
	MaxOutput           int           // characters
}

// The descriptions, with names in braces for what Limits decides.
var (
	//go:embed terminal.md
	terminalDescription string
	//go:embed process.md
	processDescription string
)

func (l Limits) replacer() *strings.Replacer {
	longest := ""
	if l.MaxTimeout != 0 {
		longest = ", at most " + FormatSeconds(l.MaxTimeout)
	}
	return strings.NewReplacer(
		"{timeout}", FormatSeconds(l.Timeout),
		"{max_output}", strconv.Itoa(l.MaxOutput),
		"{longest}", longest,
	)
}

// Terminal describes the tool that runs commands.
func Terminal(l Limits) Spec {
	fill := l.replacer()
	return Spec{
		Name:        "terminal",
		Description: strings.TrimSpace(fill.Replace(terminalDescription)),
		Schema: newSchema("command", object{}.
			set("command", property{Type: "string", Description: "The script to run, as you would type it into bash. Any length, any number of lines."}).
			set("background", property{Type: "boolean", Description: "Start the command as a background job and return at once."}).
			set("timeout", property{Type: "number", Description: fill.Replace("Seconds after which the command and all its processes are ended; {timeout} by default{longest}. A background job has no limit by default.")}).
			set("ready_port", property{Type: "integer", Description: "With background: wait until something listens on this TCP port, for half a minute at most."}).
			set("ready_log", property{Type: "string", Description: "With background: wait until a line of the job's output matches this regular expression, for half a minute at most."})),
	}
}

// Process describes the tool that watches and controls jobs.
func Process(l Limits) Spec {
	fill := l.replacer()
	return Spec{
		Name:        "process",
		Description: strings.TrimSpace(fill.Replace(processDescription)),
		Schema: newSchema("action", object{}.
			set("action", property{Type: "string", Description: "What to do.", Enum: actions}).
			set("job_id", property{Type: "string", Description: "The job, by its job_id. Needed by all actions but list."}).
			set("data", property{Type: "string", Description: "write: the text to write, as it is; a line ends with \\n."}).
			set("signal", property{Type: "string", Description: "signal: its name, such as INT, TERM or HUP."}).
			set("offset", property{Type: "integer", Description: "log: the byte of the log to begin with; 0 is its start. Without it: the end of the log."}).
			set("timeout", property{Type: "number", Description: fill.Replace("wait: seconds to wait at most; {timeout} by default{longest}.")})),
	}
}
