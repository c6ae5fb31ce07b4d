// Environment variables.

package spawn

import (
	"fmt"
	"maps"
	"strings"
)

// MergeEnv returns a new map with the variables of all layers. A later layer
// wins over an earlier one.
func MergeEnv(layers ...map[string]string) map[string]string {
	all := make(map[string]string)
	for _, layer := range layers {
		maps.Copy(all, layer)
	}
	return all
}

// ValidateEnv returns an error for a variable whose name not every shell can
// export (POSIX.1-2024, XBD 3.216) or whose value has a NUL byte.
func ValidateEnv(env map[string]string) error {
	for name, value := range env {
		if !IsName(name) {
			return fmt.Errorf("env name %q: must be letters, digits and underscores, and not begin with a digit", name)
		}
		if strings.ContainsRune(value, 0) {
			return fmt.Errorf("env %s: value must not have a NUL byte", name)
		}
	}
	return nil
}

// IsName reports whether s is a name in the sense of the shell: letters, digits
// and underscores, not beginning with a digit.
func IsName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
