// This file holds the Result of a command, its JSON, and the mapping of errors
// to statuses and exit codes; the errors themselves are in errors.go.

package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"
)

// Status is one word for how a command ended if it did not end by itself.
type Status string

// The values of Status.
const (
	StatusCompleted Status = ""          // ran to its own end, whatever its exit code
	StatusRunning   Status = "running"   // runs in the background
	StatusTimeout   Status = "timeout"   // killed at its limit; exit code 124
	StatusCancelled Status = "cancelled" // killed because the caller's context ended; exit code 130
	StatusError     Status = "error"     // bad arguments, or a failure without a status of its own
	StatusDisabled  Status = "disabled"  // the backend cannot be used here
	StatusDenied    Status = "denied"    // refused by Config.Approve
	StatusLost      Status = "lost"      // the environment vanished while the command ran
	StatusClosed    Status = "closed"    // the Terminal or the task was closed while the command ran
)

// Exit codes of commands that did not end by themselves. timeout(1) exits with
// 124; a shell reports 130, 128 + SIGINT, for an interrupted command.
const (
	exitTimeout   = 124
	exitCancelled = 130
	exitUnknown   = -1
)

// Result is the outcome of one command.
//
// Its JSON is the answer of the tool. It always has output, exit_code and error,
// which is null if Error is ""; other fields are omitted if zero, and Duration
// always. encoding/json escapes <, > and & in a Result that is part of another
// value; Terminal.Call does not.
type Result struct {
	// Output is stdout and stderr in the order in which they were written. It
	// has at most Config.MaxOutput characters. Bytes that are not valid UTF-8
	// are replaced by U+FFFD; all else is unchanged.
	Output string `json:"output"`

	// ExitCode is the command's exit code; 128+n if signal n killed it; 124 at
	// its limit; 130 if it was cancelled; -1 if there is none.
	ExitCode int `json:"exit_code"`

	// Error is "" if the command ran to its own end, whatever its exit code.
	Error string `json:"error"`

	// Status is "" if the command ran to its own end.
	Status Status `json:"status,omitempty"`

	// Omitted is the number of characters that were cut from Output.
	Omitted int `json:"omitted_chars,omitempty"`

	// Notice tells the reader about changes of the environment, for example
	// that it was recreated without earlier files, or that Config.Dir vanished.
	Notice string `json:"notice,omitempty"`

	// JobID and LogPath name the background job that runs on after the call.
	JobID   string `json:"job_id,omitempty"`
	LogPath string `json:"log_path,omitempty"`

	// Duration is how long the command ran, without the time to open its
	// environment.
	Duration time.Duration `json:"-"`
}

// MarshalJSON returns the tool's answer.
func (r Result) MarshalJSON() ([]byte, error) {
	type plain Result // has no MarshalJSON, which would recurse
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

// encode returns the tool's answer: one JSON object, without HTML escapes.
func (r Result) encode() json.RawMessage {
	data, err := r.MarshalJSON()
	if err != nil { // unreachable: strings and numbers always marshal
		return json.RawMessage(`{"output":"","exit_code":-1,"error":"encode result","status":"error"}`)
	}
	return data
}

// explain copies err into r's Error, ExitCode and Status.
func (r *Result) explain(err error) {
	r.Error = err.Error()
	r.ExitCode, r.Status = exitUnknown, StatusError
	var ended endedError
	switch {
	case errors.As(err, &ended):
		r.ExitCode, r.Status = ended.code, ended.status
	case errors.Is(err, ErrUnavailable):
		r.Status = StatusDisabled
	case errors.Is(err, ErrDenied):
		r.Status = StatusDenied
	case errors.Is(err, ErrGone):
		r.Status = StatusLost
	case errors.Is(err, ErrClosed):
		r.Status = StatusClosed
	}
}
