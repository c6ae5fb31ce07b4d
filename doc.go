// Package terminal runs shell commands for AI agents and test harnesses, on this
// machine, in Docker containers, in Modal sandboxes, or with a custom Backend. It
// guarantees that commands end, that nothing they started outlives its task, and
// that output is bounded.
//
//	term, err := terminal.New(terminal.Config{})
//	if err != nil { … }
//	defer term.Close()
//	res, err := term.Run(ctx, terminal.Request{Command: "go test ./..."})
//	fmt.Println(res.ExitCode, res.Output)
//
// A task is a name whose commands share one environment: this machine, a
// container or a sandbox. A [Terminal] opens the environment with its [Backend] at
// the task's first call, runs commands in it through an [Executor], and closes it
// when the task has been idle for Config.Lifetime.
//
//   - [Terminal.Run] runs a command and returns a [Result].
//   - [Terminal.Start] runs a command in the background and returns a [Job], which
//     can be queried, waited for, written to, signaled and killed. Processes that
//     a command of Run leaves behind become a job too.
//   - [Terminal.ReadFile], [Terminal.WriteFile], [Terminal.CopyTo] and
//     [Terminal.CopyFrom] transfer files and trees between a task's environment
//     and this machine, on every backend.
//   - [Terminal.Call] is a tool function for models, with JSON arguments and a
//     JSON answer. [Terminal.Tools] describes it.
//
// # Guarantees
//
//  1. Time is bounded. At its limit, or when its context ends, all processes of a
//     command are killed, detached ones included, and the call returns.
//  2. Output is bounded. At most MaxOutput characters are kept in memory and
//     returned, with the exact number of omitted ones.
//  3. Nothing runs twice. Only a command that provably did not start is retried.
//  4. Nothing leaks. Close leaves no process, file descriptor or goroutine. An idle
//     task is closed, a task in use never. Running jobs keep an idle task open for
//     JobLifetime.
//  5. Calls of one task never wait for another task.
//
// # The tool's JSON
//
// Call takes an object with command (required), timeout in seconds, background,
// and ready_port or ready_log to wait for. A tool made by [Tool.WithTaskID] also
// takes task_id. Numbers and booleans may be strings.
//
// The answer always has output, exit_code and error. error is null if the command
// ran to its own end. The answer has status, omitted_chars, notice, job_id and
// log_path only if they are not empty. [Status] lists the cases.
//
// The tool process, the second of [Terminal.Tools], lists, polls, reads, writes to,
// signals and kills jobs.
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
//	TERMINAL_PASS_ENV              variables that local commands get although they look like secrets, comma-separated
//
// # Safety
//
// [Local] is not a sandbox. Its commands can do what this process can do, even
// though variables that look like secrets are withheld. Run hostile code in a
// Backend that isolates, such as [Docker] or [Modal], and use Config.Approve to
// put a person or a policy in front of each command.
//
// To write a Backend, read [Writing a backend] and test it with the suite in package
// [github.com/terminal-go/terminal/terminaltest]. Users of the Python tool may read
// [Migrating from terminal_tool.py].
//
// [Writing a backend]: https://github.com/terminal-go/terminal/blob/main/doc/writing-a-backend.md
// [Migrating from terminal_tool.py]: https://github.com/terminal-go/terminal/blob/main/doc/migrating-from-terminal-tool-py.md
package terminal
