// The embedded scripts, linked.

package job

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"sync"

	"github.com/terminal-go/terminal/internal/procfs"
	"github.com/terminal-go/terminal/internal/shellscript"
)

var (
	//go:embed supervisor.sh
	supervisorSource string
	//go:embed job.sh
	functionSource string
)

// library has the functions of job.sh. A shell takes milliseconds to parse all of
// them, so a Request sends those that it needs.
var library, errLibrary = shellscript.Parse("job_|proc_", functionSource, procfs.Functions)

// linked returns the call of a function of job.sh and all that it needs.
var linked = sync.OnceValue(func() map[string]string {
	calls := make(map[string]string)
	for _, name := range library.Names() {
		calls[name] = library.Link(name) + name
	}
	return calls
})

func call(function string) string { return linked()[function] }

// texts are what a start leaves in the environment for later ones, because a
// shell that reads from a pipe reads byte by byte.
var texts = sync.OnceValue(func() (t struct{ supervisor, starter, name string }) {
	t.supervisor = shellscript.Minify(supervisorSource)
	t.starter = shellscript.Assign("tj_clear", call("job_room")) + call("job_start")
	sum := sha256.Sum256([]byte(t.supervisor + t.starter))
	t.name = hex.EncodeToString(sum[:8])
	return t
})
