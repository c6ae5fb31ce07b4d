// The decoding of arguments.

package toolspec

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/terminal-go/terminal/internal/capture"
)

// Decoding is strict where a guess could run something else than what was meant:
// names are exact and occur once. It is lenient where there is nothing to guess:
// numbers and booleans may be strings, and null is absent.

// LongestTimeout is where a limit stops being one: a year. What is asked for
// beyond it is a mistake and may overflow a time.Duration.
const LongestTimeout = 365 * 24 * time.Hour

// TerminalArgs are the arguments of one call of the tool terminal.
type TerminalArgs struct {
	Command    string
	Background bool
	Timeout    time.Duration // 0: the default
	HasReady   bool          // ready_port or ready_log was given
	ReadyPort  int
	ReadyLog   string
	TaskID     string
}

var terminalNames = []string{"command", "background", "timeout", "ready_port", "ready_log"}

// DecodeTerminal decodes the arguments of the tool terminal. task_id is known
// only if taskID is true.
func DecodeTerminal(data []byte, taskID bool) (a TerminalArgs, err error) {
	fields, err := decodeFields(data, terminalNames, taskID)
	if err != nil {
		return a, err
	}
	if fields["command"] == nil {
		return a, errors.New("command: missing; give the script to run as a string")
	}
	if a.Command, err = decodeText(fields, "command"); err != nil {
		return a, err
	}
	if a.Background, err = decodeBool(fields["background"]); err != nil {
		return a, fmt.Errorf("background: %w", err)
	}
	if a.Timeout, err = decodeSeconds(fields["timeout"]); err != nil {
		return a, fmt.Errorf("timeout: %w", err)
	}
	port, err := decodeWhole(fields["ready_port"])
	if err != nil {
		return a, fmt.Errorf("ready_port: %w", err)
	}
	a.ReadyPort = int(min(port, math.MaxInt32))
	if a.ReadyLog, err = decodeText(fields, "ready_log"); err != nil {
		return a, err
	}
	if a.HasReady = fields["ready_port"] != nil || fields["ready_log"] != nil; a.HasReady && !a.Background {
		return a, errors.New("ready_port and ready_log: need background to be true")
	}
	a.TaskID, err = decodeText(fields, "task_id")
	return a, err
}

// ProcessArgs are the arguments of one call of the tool process.
type ProcessArgs struct {
	Action, JobID, Data, Signal, TaskID string

	Offset    int64
	HasOffset bool
	Timeout   time.Duration // 0: the default
}

var (
	processNames = []string{"action", "job_id", "data", "signal", "offset", "timeout"}
	actions      = []string{"list", "poll", "log", "wait", "write", "close_stdin", "signal", "kill"}

	// actionOf has the action that an argument is for.
	actionOf = map[string]string{"data": "write", "signal": "signal", "offset": "log", "timeout": "wait"}

	// signalName matches the names that kill(1) may know.
	signalName = regexp.MustCompile(`^(SIG)?(HUP|INT|QUIT|ABRT|KILL|USR1|USR2|PIPE|ALRM|TERM|CONT|STOP|TSTP|WINCH)$`)
)

// DecodeProcess decodes the arguments of the tool process. task_id is known only
// if taskID is true. Signal is a name without SIG.
func DecodeProcess(data []byte, taskID bool) (a ProcessArgs, err error) {
	fields, err := decodeFields(data, processNames, taskID)
	if err != nil {
		return a, err
	}
	for _, text := range []struct {
		name string
		into *string
	}{{"action", &a.Action}, {"job_id", &a.JobID}, {"data", &a.Data}, {"signal", &a.Signal}, {"task_id", &a.TaskID}} {
		if *text.into, err = decodeText(fields, text.name); err != nil {
			return a, err
		}
	}
	if !slices.Contains(actions, a.Action) {
		return a, fmt.Errorf("action: must be one of %s, not %q", strings.Join(actions, ", "), capture.Clip(a.Action))
	}
	for name, action := range actionOf {
		if fields[name] != nil && a.Action != action {
			return a, fmt.Errorf("%s: is for the action %s, not %s", name, action, a.Action)
		}
	}
	a.HasOffset = fields["offset"] != nil
	if a.Offset, err = decodeWhole(fields["offset"]); err != nil {
		return a, fmt.Errorf("offset: %w", err)
	}
	if a.Timeout, err = decodeSeconds(fields["timeout"]); err != nil {
		return a, fmt.Errorf("timeout: %w", err)
	}
	switch {
	case a.JobID == "" && a.Action != "list":
		err = errors.New("job_id: missing; the action list shows the jobs")
	case a.JobID != "" && a.Action == "list":
		err = errors.New("job_id: is not for the action list; poll tells about one job")
	case a.Action == "write" && fields["data"] == nil:
		err = errors.New("data: missing; give the text to write as a string")
	case a.Action == "signal" && !signalName.MatchString(a.Signal):
		err = fmt.Errorf("signal: must be a name such as INT, TERM or HUP, not %q", capture.Clip(a.Signal))
	}
	a.Signal = strings.TrimPrefix(a.Signal, "SIG")
	return a, err
}

// decodeFields splits the arguments of a call into those that are not null.
func decodeFields(data []byte, names []string, taskID bool) (map[string]json.RawMessage, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("arguments: not valid UTF-8")
	}
	o, err := parseObject(data)
	if err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	if taskID {
		names = append(slices.Clip(names), "task_id")
	}
	fields := make(map[string]json.RawMessage)
	for _, m := range o {
		if string(m.value) == "null" {
			continue
		}
		if !slices.Contains(names, m.name) {
			return nil, fmt.Errorf("arguments: unknown field %q; known are %s", capture.Clip(m.name), strings.Join(names, ", "))
		}
		fields[m.name] = m.value
	}
	return fields, nil
}

// decodeText decodes a string, "" if there is none.
func decodeText(fields map[string]json.RawMessage, name string) (text string, err error) {
	raw, ok := fields[name]
	if !ok {
		return "", nil
	}
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", fmt.Errorf("%s: must be a string, not %s", name, capture.Clip(string(raw)))
	}
	return text, nil
}

// decodeWhole decodes a whole number that is not negative, or a string of one.
func decodeWhole(raw json.RawMessage) (int64, error) {
	if raw == nil {
		return 0, nil
	}
	text := strings.TrimSpace(strings.Trim(string(raw), `"`))
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("must be a whole number, 0 or more, not %s", capture.Clip(string(raw)))
	}
	return n, nil
}

func decodeBool(raw json.RawMessage) (bool, error) {
	switch strings.ToLower(string(raw)) {
	case "", "false", `"false"`:
		return false, nil
	case "true", `"true"`:
		return true, nil
	}
	return false, fmt.Errorf("must be true or false, not %s", capture.Clip(string(raw)))
}

// decodeSeconds decodes a number of seconds, or a string of one.
func decodeSeconds(raw json.RawMessage) (time.Duration, error) {
	if raw == nil {
		return 0, nil
	}
	text := string(raw)
	if text[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return 0, err
		}
		text = strings.TrimSpace(text)
	}
	return ParseSeconds(text)
}

// ParseSeconds parses a number of seconds from 0 to a year. It rounds up to whole
// nanoseconds, so that a short limit does not become none.
func ParseSeconds(text string) (time.Duration, error) {
	n, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("must be a number of seconds, not %s", capture.Clip(text))
	case math.IsNaN(n) || n < 0:
		return 0, fmt.Errorf("must be a positive number of seconds, not %s", capture.Clip(text))
	case n > LongestTimeout.Seconds():
		return 0, fmt.Errorf("must be at most %s seconds, not %s", FormatSeconds(LongestTimeout), capture.Clip(text))
	}
	return time.Duration(math.Ceil(n * float64(time.Second))), nil
}

// FormatSeconds returns d as a number of seconds without trailing zeros.
func FormatSeconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
}
