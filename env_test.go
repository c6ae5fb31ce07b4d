// Tests of FromEnv and of the validation of Config.

package terminal

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func clearEnv(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"TERMINAL_ENV", "TERMINAL_CWD", "TERMINAL_TIMEOUT", "TERMINAL_MAX_TIMEOUT", "TERMINAL_LIFETIME_SECONDS",
		"TERMINAL_JOB_LIFETIME_SECONDS", "TERMINAL_MAX_OUTPUT", "TERMINAL_KEEP_HEAD", "TERMINAL_MAX_TASKS", "TERMINAL_PASS_ENV",
	} {
		t.Setenv(name, "")
	}
}

// Without variables, FromEnv returns a Config that New completes with the
// documented defaults.
func TestFromEnvDefaults(t *testing.T) {
	clearEnv(t)
	cfg, err := FromEnv()
	require.NoError(t, err)
	assert.Equal(t, Config{Backend: Local{}}, cfg)
	term := newTerminal(t, cfg)
	defer term.Close()
	assert.Equal(t, "/tmp", term.cfg.Dir)
	assert.Equal(t, 60*time.Second, term.cfg.Timeout)
	assert.Equal(t, 300*time.Second, term.cfg.Lifetime)
	assert.Equal(t, time.Hour, term.cfg.JobLifetime)
	assert.Equal(t, 50_000, term.cfg.MaxOutput)
}

func TestFromEnvReadsVariables(t *testing.T) {
	clearEnv(t)
	for name, value := range map[string]string{
		"TERMINAL_ENV": "local", "TERMINAL_CWD": "/var", "TERMINAL_TIMEOUT": "1.5", "TERMINAL_MAX_TIMEOUT": "600",
		"TERMINAL_LIFETIME_SECONDS": "-1", "TERMINAL_JOB_LIFETIME_SECONDS": "7200", "TERMINAL_MAX_OUTPUT": "1000", "TERMINAL_KEEP_HEAD": "0.4",
		"TERMINAL_MAX_TASKS": "7", "TERMINAL_PASS_ENV": "GH_TOKEN,API_KEY",
	} {
		t.Setenv(name, value)
	}
	cfg, err := FromEnv()
	require.NoError(t, err)
	assert.Equal(t, Config{
		Backend: Local{PassEnv: []string{"GH_TOKEN", "API_KEY"}}, Dir: "/var", Timeout: 1500 * time.Millisecond,
		MaxTimeout: 10 * time.Minute, Lifetime: -1, JobLifetime: 2 * time.Hour, MaxOutput: 1000, KeepHead: 0.4, MaxTasks: 7,
	}, cfg)
}

// An invalid value is reported with its variable and value, all of them in one
// error.
func TestFromEnvInvalidVariable(t *testing.T) {
	for _, tc := range [][2]string{
		{"TERMINAL_ENV", "dokcer"},
		{"TERMINAL_CWD", "here"},
		{"TERMINAL_TIMEOUT", "5m"},
		{"TERMINAL_TIMEOUT", "-1"},
		{"TERMINAL_TIMEOUT", "0"},
		{"TERMINAL_TIMEOUT", "nan"},
		{"TERMINAL_TIMEOUT", "1e99"},
		{"TERMINAL_MAX_TIMEOUT", "x"},
		{"TERMINAL_LIFETIME_SECONDS", "soon"},
		{"TERMINAL_LIFETIME_SECONDS", "-x"},
		{"TERMINAL_JOB_LIFETIME_SECONDS", "1h"},
		{"TERMINAL_MAX_OUTPUT", "-1"},
		{"TERMINAL_MAX_OUTPUT", "99999999999"},
		{"TERMINAL_KEEP_HEAD", "1.1"},
		{"TERMINAL_MAX_TASKS", "1.5"},
	} {
		clearEnv(t)
		t.Setenv(tc[0], tc[1])
		_, err := FromEnv()
		assert.ErrorContains(t, err, tc[0]+`="`+tc[1]+`": `)
	}
	clearEnv(t)
	t.Setenv("TERMINAL_TIMEOUT", "5m")
	t.Setenv("TERMINAL_KEEP_HEAD", "half")
	_, err := FromEnv()
	assert.ErrorContains(t, err, "TERMINAL_TIMEOUT")
	assert.ErrorContains(t, err, "TERMINAL_KEEP_HEAD", "all of them at once")
}

// TERMINAL_ENV may name a backend that was registered, and an unknown name
// lists the known ones.
func TestFromEnvRegisteredBackend(t *testing.T) {
	clearEnv(t)
	RegisterBackend("env-test", func(cfg Config) (Backend, error) {
		if cfg.MaxTasks == 3 {
			return nil, errors.New("three is too few")
		}
		return &stub{}, nil
	})
	assert.Panics(t, func() { RegisterBackend("env-test", func(Config) (Backend, error) { return nil, nil }) })
	t.Setenv("TERMINAL_ENV", "env-test")
	cfg, err := FromEnv()
	require.NoError(t, err)
	assert.IsType(t, &stub{}, cfg.Backend)
	t.Setenv("TERMINAL_MAX_TASKS", "3")
	_, err = FromEnv()
	assert.ErrorContains(t, err, "three is too few")
	t.Setenv("TERMINAL_ENV", "nothing")
	_, err = FromEnv()
	assert.ErrorContains(t, err, "env-test, local")
}

// New names the field at fault.
func TestNewInvalidConfig(t *testing.T) {
	nan := 0.0
	nan /= nan
	for want, cfg := range map[string]Config{
		"dir":         {Dir: "relative"},
		"NUL":         {Dir: "/a\x00"},
		"timeout -1":  {Timeout: -1},
		"max timeout": {MaxTimeout: -1},
		"above":       {Timeout: time.Hour, MaxTimeout: time.Minute},
		"max output":  {MaxOutput: -1},
		"keep head":   {KeepHead: nan},
		"keep head 2": {KeepHead: 2},
		"max tasks":   {MaxTasks: -1},
		`"A=B"`:       {Env: map[string]string{"A=B": ""}},
		"env X":       {Env: map[string]string{"X": "\x00"}},
	} {
		_, err := New(cfg)
		assert.ErrorContains(t, err, want)
	}
}
