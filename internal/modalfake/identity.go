package modalfake

import "crypto/rand"

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// randomWord returns n random letters and digits.
func randomWord(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see its documentation
	for i := range b {
		b[i] = base62[int(b[i])%len(base62)]
	}
	return string(b)
}

// newID returns an ID in Modal's form: a prefix for the kind and 22 letters.
func newID(kind string) string { return kind + "-" + randomWord(22) }

// newSandboxID returns a sandbox ID. The SDK takes IDs with 22 letters for V1
// sandboxes and all others for V2.
func newSandboxID(v2 bool) string {
	if v2 {
		return "sb-" + randomWord(26)
	}
	return newID("sb")
}
