// Package terminal gives an AI agent, or a test harness, a terminal: shell
// commands on this machine, in Docker containers, in Modal sandboxes, or wherever
// a Backend of yours runs them, behind one small interface.
//
//	term, err := terminal.New(terminal.Config{})
//	if err != nil { … }
//	defer term.Close()
//	res, err := term.Run(ctx, terminal.Request{Command: "go test ./..."})
//	fmt.Println(res.ExitCode, res.Output)
//
// A Terminal gives each task its own Executor, made by a Backend (local,
// Docker, Modal, or yours), keeps it in the registry, and closes it when it has
// been idle too long. Every call returns one Result. [Terminal.Call] is the same
// as a tool function, JSON in and JSON out, and [Terminal.Tools] describes it to
// a model.
//
// [Terminal.Start] runs a command in the background and returns a [Job], which
// can be watched, waited for, written to and killed. What a command leaves
// running becomes a job by itself.
//
// [Terminal.ReadFile], [Terminal.WriteFile], [Terminal.CopyTo] and
// [Terminal.CopyFrom] move files and trees between a task's environment and this
// machine, on every backend alike.
//
// # Guarantees
//
//   - Time is bounded: at its limit, or when its context ends, a command loses
//     all its processes, detached ones included, and the call returns.
//   - Output is bounded: at most MaxOutput characters, in memory too, with an
//     exact count of what was cut.
//   - Nothing runs twice: only what provably did not start is tried again.
//   - Nothing leaks: an idle task is closed, a used one never is, and Close
//     leaves no process, descriptor or goroutine behind. A running job keeps
//     its task for JobLifetime.
//   - Tasks do not wait for each other.
//
// # The tool's JSON
//
// Call takes an object with command (required), timeout in seconds, and
// background, with ready_port or ready_log to wait for; a tool made by
// [Tool.WithTaskID] also takes task_id. Numbers and booleans may be strings. The answer always has output, exit_code and error, null if
// the command ran to its own end; status, omitted_chars, notice, job_id and
// log_path where they say something. See [Status] for the cases. The tool
// process, the second of [Terminal.Tools], lists, polls, reads, feeds, signals
// and kills jobs.
//
// # Configuration from the environment
//
// [FromEnv] reads:
//
//	TERMINAL_ENV                   backend: local, docker, modal, or a registered name (local)
//	TERMINAL_DOCKER_IMAGE          image of the Docker backend (python:3.11-slim)
//	TERMINAL_MODAL_IMAGE           image of the Modal backend (python:3.11-slim)
//	TERMINAL_CWD                   working directory (/tmp)
//	TERMINAL_TIMEOUT               a command's limit in seconds (60)
//	TERMINAL_MAX_TIMEOUT           the longest limit that may be asked for (no cap)
//	TERMINAL_LIFETIME_SECONDS      idle time before a task is closed; negative: never (300)
//	TERMINAL_JOB_LIFETIME_SECONDS  how long running jobs keep an idle task; negative: not at all (3600)
//	TERMINAL_MAX_OUTPUT            characters of output in a result (50000)
//	TERMINAL_KEEP_HEAD             share of them kept from the start, 0 to 1 (0)
//	TERMINAL_MAX_TASKS             live executors at once (no cap)
//	TERMINAL_PASS_ENV              secret-looking variables that local commands get, comma-separated
//
// # Safety
//
// [Local] is not a sandbox. Its commands can do what this process can do;
// withholding variables that look like secrets is hygiene, not a wall. Give
// hostile code a Backend that isolates, such as [Docker] or [Modal], and use
// Config.Approve to put a person or a policy in front of each command.
//
// To write a Backend, see [Backend] and run the suite in package
// [github.com/terminal-go/terminal/terminaltest] against it; the page
// [Writing a backend] leads there. [Migrating from terminal_tool.py] is for those
// who come from the Python tool.
//
// [Writing a backend]: https://github.com/terminal-go/terminal/blob/main/doc/writing-a-backend.md
// [Migrating from terminal_tool.py]: https://github.com/terminal-go/terminal/blob/main/doc/migrating-from-terminal-tool-py.md
package terminal
