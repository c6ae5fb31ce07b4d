package shellscript

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLinkTakesWhatIsNeeded(t *testing.T) {
	l, err := Parse("f_", `# A library.
f_a() {
	# calls b
	f_b "$1" || {
		echo {}
	}
}

f_b() { f_c; }
f_c() { echo c; }
f_d() { echo d; }
`)
	require.NoError(t, err)
	assert.Equal(t, []string{"f_a", "f_b", "f_c", "f_d"}, l.Names())
	assert.Equal(t, `f_a() {
f_b "$1" || {
echo {}
}
}
f_b() { f_c; }
f_c() { echo c; }
`, l.Link("f_a"))
	assert.Panics(t, func() { l.Link("f_e") })
}

func TestParseRefusesWhatItDoesNotUnderstand(t *testing.T) {
	for name, tc := range map[string]struct{ source, want string }{
		"unresolved":      {"f_a() { f_b; }\n", "no function f_b"},
		"twice":           {"f_a() { :; }\nf_a() { :; }\n", "defined twice"},
		"brace elsewhere": {"f_a()\n{\n:\n}\n", "outside of a function"},
		"no end":          {"f_a() {\n\t:\n\t}\n", "no closing brace"},
		"other prefix":    {"g_a() { :; }\n", "does not match"},
		"statement":       {"f_a() { :; }\nf_a\n", "outside of a function"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f_", tc.source)
			assert.ErrorContains(t, err, tc.want)
		})
	}
}
