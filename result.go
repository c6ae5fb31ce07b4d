package terminal

import (
	"bytes"
	"encoding/json"
	"time"
)

// Status says in one word how a command ended, where the exit code does not
// say it already.
type Status string

// The values of Status.
const (
	StatusCompleted Status = ""          // ran to its own end, whatever its code
	StatusRunning   Status = "running"   // goes on in the background
	StatusTimeout   Status = "timeout"   // ended at its limit; exit code 124
	StatusCancelled Status = "cancelled" // ended because the caller's context did; exit code 130
	StatusError     Status = "error"     // bad arguments, or any failure without a word of its own
	StatusDisabled  Status = "disabled"  // the backend cannot be used here
	StatusDenied    Status = "denied"    // refused by Config.Approve
	StatusLost      Status = "lost"      // the environment vanished while the command ran
	StatusClosed    Status = "closed"    // the Terminal or the task was closed while the command ran
)

// Exit codes of commands that did not end by themselves. 124 is what
// timeout(1) reports, 130 what a shell reports after an interrupt.
const (
	exitTimeout   = 124
	exitCancelled = 130
	exitUnknown   = -1
)

// Result is the outcome of one command.
//
// Its JSON is the answer of the tool: output, exit_code and error (null if
// empty) always, the others only where they say something, Duration never.
// encoding/json escapes <, > and & when it marshals a Result inside other
// values; Terminal.Call does not.
type Result struct {
	// Output is stdout and stderr in the order they were written, at most
	// Config.MaxOutput characters, valid UTF-8, unchanged otherwise.
	Output string `json:"output"`

	// ExitCode is the command's own code; 128+n after signal n; 124 at the
	// limit; 130 when cancelled; -1 where there is none.
	ExitCode int `json:"exit_code"`

	// Error is "" when the command ran to its own end, whatever its code.
	Error string `json:"error"`

	// Status is "" when the command ran to its own end.
	Status Status `json:"status,omitempty"`

	// Omitted is the number of characters that were cut from Output.
	Omitted int `json:"omitted_chars,omitempty"`

	// Notice is what the reader must know about the environment: that it
	// was made anew and earlier files are gone, that the directory vanished.
	Notice string `json:"notice,omitempty"`

	// JobID and LogPath name the background job that goes on after the call.
	JobID   string `json:"job_id,omitempty"`
	LogPath string `json:"log_path,omitempty"`

	// Duration is how long the command ran, creation of its environment not
	// included.
	Duration time.Duration `json:"-"`
}

// MarshalJSON writes the tool's answer.
func (r Result) MarshalJSON() ([]byte, error) {
	type plain Result // without this method
	wire := struct {
		Output   string  `json:"output"`
		ExitCode int     `json:"exit_code"`
		Error    *string `json:"error"` // shadows plain's, to be null
		plain
	}{Output: r.Output, ExitCode: r.ExitCode, plain: plain(r)}
	if r.Error != "" {
		wire.Error = &r.Error
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(wire)
	return bytes.TrimRight(buf.Bytes(), "\n"), err
}

// encode is the answer of the tool: one JSON object, HTML not escaped.
func (r Result) encode() json.RawMessage {
	data, err := r.MarshalJSON()
	if err != nil { // a Result is strings and numbers: there is no way here
		return json.RawMessage(`{"output":"","exit_code":-1,"error":"encode result","status":"error"}`)
	}
	return data
}
