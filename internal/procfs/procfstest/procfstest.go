// Package procfstest looks for processes on behalf of tests, independently of
// the package that it helps to test.
package procfstest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Carriers returns the PID and the command line of every process that has the
// word in its environment.
func Carriers(t testing.TB, word string) (processes []string) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		if environ, err := os.ReadFile(dir + "/environ"); err == nil && bytes.Contains(environ, []byte(word)) {
			cmdline, _ := os.ReadFile(dir + "/cmdline")
			processes = append(processes, filepath.Base(dir)+" "+string(cmdline))
		}
	}
	return processes
}
