// The search in POSIX sh, as scripts for other environments.

package procfs

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/terminal-go/terminal/internal/shellscript"
)

// Functions is the source of the shell functions of this package, for the
// libraries of other packages. Their names begin with proc_.
//
//go:embed functions.sh
var Functions string

var (
	//go:embed sweep.sh
	sweepSource string
	//go:embed carried.sh
	carriedSource string
	//go:embed strangers.sh
	strangersSource string
	//go:embed end.sh
	endSource string
)

var library, errLibrary = shellscript.Parse("proc_", Functions)

// SweepScript returns a script that sends KILL to every process that carries
// the run ID, until none is left; it fails if some are. It needs a /proc and
// nothing but the shell.
func SweepScript(runID string) string {
	return shellscript.Quiet + shellscript.Assign("id", runID) + library.Link("proc_carries") + sweepSource
}

// TermScript returns SweepScript with TERM in place of KILL.
func TermScript(runID string) string {
	return strings.ReplaceAll(SweepScript(runID), "-KILL", "-TERM")
}

// CarriedScript returns a script that prints those of the run IDs that some
// process carries.
func CarriedScript(runIDs []string) string {
	return shellscript.Assign("ids", strings.Join(runIDs, " ")) + library.Link("proc_carries") + carriedSource
}

// SweepAndStrangersScript returns SweepScript, after which the script prints
// the uid:gid of all processes whose environment it could not read.
func SweepAndStrangersScript(runID string) string {
	return "(\n" + SweepScript(runID) + "\n) || exit\n" + strangersSource
}

// EndGroupScript returns a script that sends TERM to a process group and,
// two seconds later, KILL to what is left of it.
func EndGroupScript(pid int) string { return fmt.Sprintf("pid=%d\n%s", pid, endSource) }
