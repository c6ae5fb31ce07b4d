package modalfake

import (
	"crypto/rand"
	"strings"
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// randomWord is n letters and digits that nobody can guess or meet by chance.
func randomWord(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see its documentation
	for i := range b {
		b[i] = base62[int(b[i])%len(base62)]
	}
	return string(b)
}

// newID makes an id as Modal's: a prefix that tells the kind, and 22 letters.
func newID(kind string) string { return kind + "-" + randomWord(22) }

// newSandboxID makes one from which the SDK tells the generation of the
// sandbox: whatever is not the 22 letters of the first is taken for the second.
func newSandboxID(v2 bool) string {
	if v2 {
		return "sb-" + randomWord(26)
	}
	return newID("sb")
}

// cutEnv splits NAME=value.
func cutEnv(kv string) (name, value string, ok bool) { return strings.Cut(kv, "=") }
