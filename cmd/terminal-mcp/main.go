// Terminal-mcp gives MCP clients a terminal: the tools of package terminal,
// over a pipe or over HTTP, with an environment for each session.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/terminal-go/terminal"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2 // nothing ran
)

// tokenVariable names the bearer token for HTTP. It is no flag: other users
// see those.
const (
	tokenVariable = "TERMINAL_MCP_TOKEN"
	shortestToken = 16
)

// variables are the flags that set variables of terminal.FromEnv.
var variables = []struct {
	flag  string
	names []string
	usage string
}{
	{"env", []string{"TERMINAL_ENV"}, "where commands run: `backend` local, docker or modal (default local)"},
	{"image", []string{"TERMINAL_DOCKER_IMAGE", "TERMINAL_MODAL_IMAGE"}, "`image` of containers and sandboxes (default python:3.11-slim)"},
	{"cwd", []string{"TERMINAL_CWD"}, "working `directory` of commands (default /tmp)"},
	{"timeout", []string{"TERMINAL_TIMEOUT"}, "a command's limit in `seconds` (default 60)"},
	{"max-timeout", []string{"TERMINAL_MAX_TIMEOUT"}, "the longest limit in `seconds` that may be asked for (default no cap)"},
	{"lifetime", []string{"TERMINAL_LIFETIME_SECONDS"}, "idle `seconds` before an environment is closed; negative: never (default 300)"},
	{"max-output", []string{"TERMINAL_MAX_OUTPUT"}, "`characters` of output in an answer (default 50000)"},
	{"max-tasks", []string{"TERMINAL_MAX_TASKS"}, "`number` of environments that may be live at once (default no cap)"},
}

// options holds the settings that are this program's own.
type options struct {
	address     string // "": stdio
	sessionIdle time.Duration
	taskID      bool
	verbose     bool
	token       string
}

func main() {
	// The protocol's alone; what a dependency might print goes elsewhere.
	out := os.Stdout
	os.Stdout = os.Stderr
	os.Exit(run(os.Args[1:], os.Stdin, out, os.Stderr))
}

func run(args []string, in io.ReadCloser, out, stderr io.Writer) int {
	opts, cfg, err := configure(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil && opts.address != "" {
		err = checkAddress(opts.address, opts.token)
	}
	log, sdkLog := loggers(stderr, opts.verbose)
	cfg.Logger = log
	var term *terminal.Terminal
	if err == nil {
		term, err = terminal.New(cfg)
	}
	if err != nil {
		fmt.Fprintln(stderr, "terminal-mcp:", err)
		return exitUsage
	}

	// Without somebody who hears of it, a write to a client that has gone would
	// be the end of this process, and its commands would go on.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal does not wait

	if opts.address == "" {
		err = newServer(ctx, term, log, sdkLog, nil, opts.taskID).serveStdio(ctx, in, out)
	} else {
		s := newServer(ctx, term, log, sdkLog, versionsWithSessions(), opts.taskID)
		err = serveHTTP(ctx, opts.address, newFront(s, sdkLog, opts.token, opts.sessionIdle), log)
	}
	if err = errors.Join(err, term.Close()); err != nil {
		log.Error("stopped", "error", err)
		return exitFailure
	}
	return 0
}

// configure reads the flags, which win over the variables they stand for.
func configure(args []string, stderr io.Writer) (opts options, cfg terminal.Config, err error) {
	flags := flag.NewFlagSet("terminal-mcp", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { usage(flags) }
	flags.StringVar(&opts.address, "http", "", "serve streamable HTTP on this `address`, such as 127.0.0.1:8080, at "+endpoint+" (default stdio)")
	flags.DurationVar(&opts.sessionIdle, "session-timeout", time.Hour, "with -http: the `time` without a request after which a session ends")
	flags.BoolVar(&opts.taskID, "task-id", false, "let a client have several environments in its session, by task_id")
	flags.BoolVar(&opts.verbose, "v", false, "log more")
	for _, v := range variables {
		flags.String(v.flag, "", v.usage+"; "+strings.Join(v.names, ", "))
	}
	if err := flags.Parse(args); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			err = errors.New("run with -h for the flags") // flags has printed what is wrong
		}
		return opts, cfg, err
	}
	if flags.NArg() > 0 {
		return opts, cfg, fmt.Errorf("argument %q: only flags are taken", flags.Arg(0))
	}
	if opts.sessionIdle <= 0 {
		return opts, cfg, fmt.Errorf("-session-timeout %v: must be positive, such as 1h", opts.sessionIdle)
	}
	opts.token = os.Getenv(tokenVariable)
	if opts.token != "" && len(opts.token) < shortestToken {
		return opts, cfg, fmt.Errorf("%s: must have %d characters or more", tokenVariable, shortestToken)
	}
	var given []string
	flags.Visit(func(f *flag.Flag) {
		for _, v := range variables {
			if v.flag != f.Name {
				continue
			}
			for _, name := range v.names {
				err = errors.Join(err, os.Setenv(name, f.Value.String()))
			}
			given = append(given, "-"+f.Name+" sets "+v.names[0])
		}
	})
	if err != nil {
		return opts, cfg, err
	}
	if cfg, err = terminal.FromEnv(); err != nil && given != nil {
		err = fmt.Errorf("%w\n(%s)", err, strings.Join(given, ", "))
	}
	return opts, cfg, err
}

func usage(flags *flag.FlagSet) {
	w := flags.Output()
	fmt.Fprint(w, "Usage: terminal-mcp [flags]\n\nAn MCP server on stdin and stdout, or with -http on a port.\n\n")
	flags.PrintDefaults()
	fmt.Fprintf(w, "\nThe other TERMINAL_* variables of package terminal apply too. With %s\nHTTP clients must bear that token; without it only this machine is served.\n", tokenVariable)
}

// loggers returns loggers to stderr. The SDK's logs only warnings and errors: its
// other records have session IDs, which grant access.
func loggers(stderr io.Writer, verbose bool) (log, sdkLog *slog.Logger) {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})),
		slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
