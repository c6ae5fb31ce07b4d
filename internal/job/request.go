// Requests: the scripts that are sent.

package job

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/terminal-go/terminal/internal/shellscript"
)

// A Request is one call of a function of job.sh. Its script is run in the root
// directory; what it prints on stdout is the answer, and an exit code that is
// not zero is explained by Error.
type Request struct {
	function string
	vars     []string // names and values in turn
}

func about(id, function string, vars ...string) Request {
	return Request{function, append(vars, "tj_id", id)}
}

// Script returns the script of the request, for an environment whose jobs are
// in the directory home.
func (r Request) Script(home string) string {
	var b strings.Builder
	for i, name := range exitNames {
		fmt.Fprintf(&b, "tj_%s=%d ", name, firstExit+i)
	}
	fmt.Fprintf(&b, "tj_most=%d tj_kept=%d tj_clock=%d tj_id= tj_show=\n", MaxJobs, int(Retention.Seconds()), time.Now().Unix())
	b.WriteString(shellscript.Assign(append(slices.Clone(r.vars), "tj_base", home)...))
	b.WriteString(call(r.function))
	return b.String()
}

// Report asks for the status of one job, or of all if id is "". ParseStatus
// reads the answer.
func Report(id string) Request { return about(id, "job_report") }

// Log asks for at most size bytes of a log from offset on, or from that far
// before the end if offset is negative. Log.Parse reads the answer.
type Log struct {
	Offset int64
	Size   int
}

// runeMargin is what is read on both sides of the part that was asked for, to
// see whether a rune is cut there.
const runeMargin = utf8.UTFMax - 1

func (l Log) start() int64 {
	if l.Offset >= 0 {
		return max(0, l.Offset-runeMargin)
	}
	return l.Offset - runeMargin
}

// Request returns the request for the job with the ID.
func (l Log) Request(id string) Request {
	return about(id, "job_log", "tj_offset", strconv.FormatInt(l.start(), 10), "tj_max", strconv.Itoa(l.Size+3*utf8.UTFMax))
}

// Wait waits inside the environment until the job has ended. ParseWait reads
// the answer.
func Wait(id string) Request { return about(id, "job_wait") }

// Write passes the request's input to the job.
func Write(id string) Request { return about(id, "job_write") }

// CloseStdin ends the input of the job.
func CloseStdin(id string) Request { return about(id, "job_close") }

// Signal sends a signal, by its name without SIG, to the job's process group.
func Signal(id, name string) Request { return about(id, "job_signal", "tj_name", name) }

// End sends KILL to the job's process group and waits for its supervisor to
// record the end. ParseEnd reads the answer.
func End(id string) Request { return about(id, "job_end") }

// Bury records the end of a job whose processes have all been killed.
func Bury(id string) Request { return about(id, "job_bury") }

// CheckPort fails if something listens on the TCP port.
func CheckPort(port int) Request { return Request{"job_free", portVars(port)} }

func portVars(port int) []string {
	return []string{"tj_port", strconv.Itoa(port), "tj_hex", fmt.Sprintf("%04X", port)}
}

// pollInterval is the delay between two polls of a job in Follow.
const pollInterval = 50 * time.Millisecond

// Follow polls a job until it has ended, something listens on port, or limit is
// over. port 0 is none. With showLog the answer on stdout is the log as it
// grows. ParseVerdict reads what is on stderr.
func Follow(id string, port int, showLog bool, limit time.Duration) Request {
	r := about(id, "job_follow", append(portVars(port), "tj_rounds", strconv.Itoa(int(limit/pollInterval)))...)
	if showLog {
		r.vars = append(r.vars, "tj_show", "yes")
	}
	return r
}

// A Start says what to run as a job.
type Start struct {
	Status Status // from NewStatus
	Script string
	Stdin  bool          // the request's input is the job's; else it stays open for Write
	Limit  time.Duration // 0: none
	MaxLog int           // bytes
}

const (
	// maxArgument is the length up to which a script is an argument of its
	// shell. Linux takes 128 KiB for one argument (MAX_ARG_STRLEN).
	maxArgument = 96 << 10

	// logBlock is what the supervisor moves to the log at once, and logParts in
	// how many parts the log is kept.
	logBlock = 16 << 10
	logParts = 16
)

// Request starts the job at a place. Where the texts of a start are not in the
// environment it fails with ErrTextsAbsent, unless install is set, which sends
// them. The answer on stdout has the IDs of jobs that are no more.
func (s Start) Request(p Place, install bool) Request {
	form, input, limit := "text", "in", ""
	if len(s.Script) > maxArgument {
		form = "file"
	}
	if s.Stdin {
		input = "stdin"
	}
	if s.Limit > 0 {
		limit = strconv.FormatFloat(s.Limit.Seconds(), 'f', -1, 64)
	}
	r := Request{"job_begin", append(p.vars(s.Status, RunID(p.id)),
		"tj_script", s.Script, "tj_form", form, "tj_input", input, "tj_limit", limit, "tj_oldest", strings.Join(p.oldest, " "),
		"tj_texts", texts().name, "tj_count", strconv.Itoa(s.MaxLog/(logParts*logBlock)))}
	if install {
		r.function = "job_install"
		r.vars = append(r.vars, "tj_supervisor", texts().supervisor, "tj_starter", texts().starter)
	}
	return r
}

// Adopt makes a job of the processes that a command with the run ID left behind.
// The answer on stdout has a line about each.
func Adopt(p Place, s Status, runID string) Request {
	return Request{"job_adopt", append(p.vars(s, runID), "tj_clear", call("job_room"), "tj_oldest", "")}
}

// vars are what the functions need to make the directory of a job.
func (p Place) vars(s Status, runID string) []string {
	return []string{
		"tj_id", p.id, "tj_spares", strings.Join(p.spares, " "), "tj_rubbish", "", "tj_run", runID, "tj_command", s.Command,
		"tj_meta", fmt.Sprintf("%d %d %s\n", s.Started.UnixNano(), len(s.Command), runID),
		"tj_now", s.Started.UTC().Format(time.RFC3339),
	}
}
