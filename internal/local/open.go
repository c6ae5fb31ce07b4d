// Package local runs commands as processes of this machine.
//
// A command is a shell in a session of its own, with pipes of this package's.
// Those of os/exec would make the end of a command wait for whoever else holds
// them. Processes are found through package procfs.
//
//	open.go     the configuration, and what Open and Check do
//	exec.go     one command: its start, its end, its output
//	process_*.go  what differs between operating systems
//	file.go     files
package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/terminal-go/terminal/internal/spawn"
)

// A Config has the fields of terminal.Local, which documents them.
type Config struct {
	Shell   string
	PassEnv []string
}

// Check returns ErrUnavailable if there is no shell.
func Check(cfg Config) error {
	_, err := cfg.shell()
	return err
}

// Open returns an executor. It starts nothing.
func Open(ctx context.Context, cfg Config) (*Executor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	shell, err := cfg.shell()
	if err != nil {
		return nil, err
	}
	return &Executor{
		Life:    spawn.NewLife(),
		shell:   shell,
		env:     hostEnv(cfg.PassEnv),
		id:      spawn.NewRunID(),
		jobHome: filepath.Join(os.TempDir(), "terminal-jobs-"+spawn.NewRunID()[:16]),
		pumps:   make(map[*pump]struct{}),
	}, nil
}

func (cfg Config) shell() (string, error) {
	names := shellNames
	if cfg.Shell != "" {
		names = []string{cfg.Shell}
	}
	for _, name := range names {
		if shell, err := exec.LookPath(name); err == nil {
			return filepath.Abs(shell) // commands run in other directories
		}
	}
	return "", fmt.Errorf("%w: no %s on PATH; %s", spawn.ErrUnavailable, strings.Join(names, " or "), shellRemedy)
}

// secretWords are the words in a variable's name that make it a secret.
var secretWords = []string{
	"KEY", "KEYS", "APIKEY", "TOKEN", "TOKENS", "SECRET", "SECRETS", "PASSWORD", "PASSWD",
	"PASSPHRASE", "PASS", "PWD", "CREDENTIAL", "CREDENTIALS", "AUTH", "COOKIE",
}

// isSecret reports whether a variable of this name probably holds a secret.
func isSecret(name string) bool {
	words := strings.Split(strings.ToUpper(name), "_")
	if len(words) == 1 || name == "OLDPWD" {
		return strings.HasSuffix(words[0], "PASSWORD") || slices.Contains([]string{"APIKEY", "TOKEN", "SECRET", "PASSWORD"}, words[0])
	}
	for _, word := range words {
		if slices.Contains(secretWords, word) || strings.HasSuffix(word, "PASSWORD") || strings.HasSuffix(word, "APIKEY") || strings.HasSuffix(word, "TOKEN") {
			return true
		}
	}
	return false
}

// hostEnv returns the variables that commands inherit from this process.
func hostEnv(pass []string) map[string]string {
	env := make(map[string]string)
	for _, kv := range os.Environ() {
		name, value, ok := strings.Cut(kv, "=")
		if ok && name != "" && (!isSecret(name) || slices.Contains(pass, name)) {
			env[name] = value
		}
	}
	return env
}
