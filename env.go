// This file holds the configuration from TERMINAL_* variables and the registry of
// backend names; ranges that also hold for a Config built in code are checked by
// New.

package terminal

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/terminal-go/terminal/internal/capture"
	"github.com/terminal-go/terminal/internal/toolspec"
)

// backends holds the registered names for TERMINAL_ENV. It is the package's only
// mutable global state. The mutex is not held while a registered function runs.
var backends = struct {
	sync.Mutex
	open map[string]func(Config) (Backend, error)
}{open: make(map[string]func(Config) (Backend, error))}

// RegisterBackend registers a backend under a name for TERMINAL_ENV. FromEnv calls
// open with the Config of the other variables and uses the Backend it returns.
// Call RegisterBackend from an init function. It panics if name is blank or
// taken, or if open is nil.
func RegisterBackend(name string, open func(Config) (Backend, error)) {
	backends.Lock()
	defer backends.Unlock()
	if strings.TrimSpace(name) == "" || open == nil {
		panic("terminal: RegisterBackend needs a name and a function")
	}
	if backends.open[name] != nil || new(environment).builtin()[name] != nil {
		panic("terminal: backend " + name + " is registered twice")
	}
	backends.open[name] = open
}

// FromEnv returns the Config of the TERMINAL_* variables, which the package
// documentation lists. An unset or empty variable stands for its default. The
// error is an *Error that names every variable with an invalid value.
func FromEnv() (Config, error) {
	var cfg Config
	var e environment
	cfg.Dir = e.text("TERMINAL_CWD")
	if cfg.Dir != "" && !absolute(cfg.Dir) {
		e.bad("TERMINAL_CWD", "must be an absolute path")
	}
	cfg.Timeout = e.seconds("TERMINAL_TIMEOUT")
	cfg.MaxTimeout = e.seconds("TERMINAL_MAX_TIMEOUT")
	if cfg.MaxTimeout > 0 && cfg.Timeout > cfg.MaxTimeout {
		e.bad("TERMINAL_TIMEOUT", "must not be above TERMINAL_MAX_TIMEOUT")
	}
	cfg.Lifetime = e.lifetime("TERMINAL_LIFETIME_SECONDS")
	cfg.JobLifetime = e.lifetime("TERMINAL_JOB_LIFETIME_SECONDS")
	cfg.MaxOutput = e.number("TERMINAL_MAX_OUTPUT")
	cfg.KeepHead = e.share("TERMINAL_KEEP_HEAD")
	cfg.MaxTasks = e.number("TERMINAL_MAX_TASKS")
	cfg.Backend = e.backend("TERMINAL_ENV", cfg)
	if err := errors.Join(e.errs...); err != nil {
		return Config{}, &Error{Op: "from env", Err: err}
	}
	return cfg, nil
}

// environment reads variables and collects the errors of invalid ones, so that a
// user can fix all of them at once.
type environment struct {
	errs []error
}

// bad adds an error for the variable name.
func (e *environment) bad(name, want string) {
	e.errs = append(e.errs, fmt.Errorf("%s=%q: %s", name, capture.Clip(os.Getenv(name)), want))
}

func (e *environment) text(name string) string { return os.Getenv(name) }

// list returns the elements of a variable, separated by commas or spaces.
func (e *environment) list(name string) []string {
	if os.Getenv(name) == "" {
		return nil
	}
	return strings.FieldsFunc(os.Getenv(name), func(r rune) bool { return r == ',' || r == ' ' })
}

// seconds returns a positive number of seconds, or 0 if the variable is not set.
func (e *environment) seconds(name string) time.Duration {
	text := os.Getenv(name)
	if text == "" {
		return 0
	}
	d, err := toolspec.ParseSeconds(text)
	if err != nil || d == 0 {
		e.bad(name, "must be a positive number of seconds, such as 60 or 0.5")
	}
	return d
}

// lifetime returns a number of seconds as seconds does, or -1 for any negative
// number, which means never.
func (e *environment) lifetime(name string) time.Duration {
	if text := os.Getenv(name); strings.HasPrefix(text, "-") {
		if _, err := toolspec.ParseSeconds(text[1:]); err == nil {
			return -1
		}
	}
	return e.seconds(name)
}

// number returns a positive integer, or 0 if the variable is not set.
func (e *environment) number(name string) int {
	text := os.Getenv(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 1 {
		e.bad(name, "must be a whole number, 1 or more")
	}
	return int(n)
}

// share returns a number from 0 to 1, or 0 if the variable is not set.
func (e *environment) share(name string) float64 {
	text := os.Getenv(name)
	if text == "" {
		return 0
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(f >= 0 && f <= 1) { // written so that NaN fails too
		e.bad(name, "must be a share from 0 to 1, such as 0.4")
	}
	return f
}

// builtin returns the backends that need no registration, by name.
func (e *environment) builtin() map[string]Backend {
	return map[string]Backend{
		"local":  Local{PassEnv: e.list("TERMINAL_PASS_ENV")},
		"docker": Docker{Image: e.text("TERMINAL_DOCKER_IMAGE")},
		"modal":  Modal{Image: e.text("TERMINAL_MODAL_IMAGE")},
	}
}

// backend returns the built-in or registered backend that the variable names.
func (e *environment) backend(name string, cfg Config) Backend {
	kind, builtin := cmp.Or(os.Getenv(name), "local"), e.builtin()
	if b := builtin[kind]; b != nil {
		return b
	}
	backends.Lock()
	open := backends.open[kind]
	known := slices.AppendSeq(slices.Collect(maps.Keys(builtin)), maps.Keys(backends.open))
	backends.Unlock()
	if open == nil {
		slices.Sort(known)
		e.bad(name, "unknown backend; known are "+strings.Join(known, ", "))
		return nil
	}
	b, err := open(cfg)
	if err == nil && b == nil {
		err = errors.New("the registered function returned no backend")
	}
	if err != nil {
		e.errs = append(e.errs, fmt.Errorf("%s=%q: %w", name, kind, err))
	}
	return b
}
