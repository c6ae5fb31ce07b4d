// This file holds Local, the configuration of the backend on this machine; its
// implementation is in internal/local.

package terminal

import (
	"context"

	"github.com/terminal-go/terminal/internal/local"
)

// Local runs commands as processes of this machine, with the rights of this
// process. It is not a sandbox: tasks are separated only by their working
// directories. The zero value is ready to use.
//
// Each command runs as bash -c, or sh -c without bash, in a new session
// (setsid(2)) without a controlling terminal. To end a command, Local kills:
//
//   - on Linux, its process group, its session, its descendants, and every
//     process with its run ID in /proc/PID/environ. This finds processes that
//     detached with setsid, nohup or a double fork, but not those that both
//     detached and cleared their environment;
//   - on other Unix systems, its process group;
//   - on Windows, its process tree, with taskkill. bash must be on PATH. The
//     Windows code compiles but has not been run on Windows.
type Local struct {
	// Shell is the program that runs commands with -c: a path, or a name to
	// look up on PATH. If Shell is "", it is bash, or sh if there is no bash.
	Shell string

	// PassEnv lists variables of this process that commands get although their
	// names look like secrets. By default a variable is withheld if its name,
	// split at underscores, has a word that is KEY, SECRET, PASS, PASSWD,
	// PASSPHRASE, PWD, CREDENTIAL, AUTH or COOKIE, or that ends in TOKEN,
	// PASSWORD or APIKEY. SSH_AUTH_SOCK is withheld; PWD and OLDPWD are not.
	// This does not isolate: a command can read what this process can read.
	PassEnv []string
}

// String returns "local", the name in errors and Stats.
func (Local) String() string { return "local" }

// Check returns an error that matches ErrUnavailable if there is no shell.
func (l Local) Check(context.Context) error { return local.Check(local.Config(l)) }

// Open returns an Executor for the task. It starts no process. See Backend.
func (l Local) Open(ctx context.Context, _ string) (Executor, error) {
	return wrap(local.Open(ctx, local.Config(l)))
}
