// Package job speaks to the jobs of an environment: it makes the scripts that
// start, watch and end them, and reads the answers.
//
// A job is a directory in the environment, a supervisor (supervisor.sh) that
// runs the command and keeps its log there, and the functions of job.sh, of
// which each Request runs one. Nothing of it is in this process, so a job
// survives a lost connection and works wherever a script can be run. The Ledger
// is what a Terminal remembers about the jobs of one environment.
//
// The package runs nothing itself. Package terminal runs the scripts and
// documents what users see.
package job

import (
	"crypto/rand"
	"encoding/hex"
	"path"
	"strings"
	"time"

	"github.com/terminal-go/terminal/internal/capture"
)

// The bounds that package terminal documents and exports.
const (
	MaxJobs   = 64
	MaxLog    = 64 << 20
	Retention = 30 * time.Minute
)

// MaxOutput is the number of bytes of a log that one Request returns at most.
const MaxOutput = 1 << 20

// maxCommand is the number of bytes of a command that a Status shows.
const maxCommand = 4 << 10

// UnknownCode is the exit code of a job whose end nobody saw.
const UnknownCode = -1

// A Status is what is known about a job. See terminal.JobStatus, which has the
// same fields.
type Status struct {
	ID      string
	Command string
	LogPath string
	Running bool

	ExitCode int

	Started, Ended time.Time

	LogSize int64
}

// NewStatus returns the Status of a job that is about to start.
func NewStatus(command string) Status {
	return Status{Command: capture.Prefix(command, maxCommand), Running: true, Started: time.Now()}
}

// in returns s with the ID and the place of its log in home.
func (s Status) in(home, id string) Status {
	s.ID, s.LogPath = id, path.Join(home, id, "log")
	return s
}

// newID returns the ID of a new job: twelve hexadecimal digits.
func newID() string {
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return hex.EncodeToString(id[:])
}

// IsID reports whether id may be the ID of a job. Nothing else gets into a path
// or a script.
func IsID(id string) bool {
	raw, err := hex.DecodeString(id)
	return err == nil && len(raw) == 6 && id == strings.ToLower(id)
}

// RunID returns the run ID of all processes of a job. It is not part of the path
// of the log, which other processes may well have in their environment.
func RunID(id string) string { return "job-run-" + id }

// isRunID reports whether s, which comes from a file in the environment, may be
// a run ID. A short one would match processes that have nothing to do with it.
func isRunID(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return len(s) >= 20
}
