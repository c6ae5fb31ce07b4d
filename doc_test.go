// Tests of README, the pages in doc and the go.mod files.

package terminal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func text(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	return strings.ReplaceAll(string(data), "\r\n", "\n")
}

// The page shows the whole example backend in its order, and no Go code that is
// not in a tested file.
func TestBackendPageShowsTestedCode(t *testing.T) {
	_, whole, ok := strings.Cut(text(t, "example_backend_test.go"), "\n)\n\n")
	require.True(t, ok)
	whole, _, ok = strings.Cut(whole, "// A backend of one's own")
	require.True(t, ok)
	others := text(t, "example_decorator_test.go") + text(t, "example_test.go")
	var shown []string
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(text(t, "doc/writing-a-backend.md"), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		if strings.Contains(whole, block[1]) {
			shown = append(shown, block[1])
		} else {
			assert.True(t, strings.Contains(others, block[1]), "in no tested file:\n%s", block[1])
		}
	}
	assert.Equal(t, whole, strings.Join(shown, "\n")+"\n")
	assert.Contains(t, blocks[len(blocks)-1][1], "terminaltest.Run(")
}

// Every relative link in README and doc leads to a file.
func TestDocLinksResolve(t *testing.T) {
	pages, err := filepath.Glob("doc/*.md")
	require.NoError(t, err)
	for _, page := range append(pages, "README.md") {
		for _, link := range regexp.MustCompile(`\]\(([^):#]+)(#[^)]*)?\)`).FindAllStringSubmatch(text(t, page), -1) {
			_, err := os.Stat(filepath.Join(filepath.Dir(page), link[1]))
			assert.NoError(t, err, page)
		}
	}
}

// Every environment variable and status in the source is in the pages that list
// them.
func TestDocListsVariablesAndStatuses(t *testing.T) {
	const migrating = "doc/migrating-from-terminal-tool-py.md"
	for _, c := range []struct {
		source, pattern, quote string
		pages                  []string
	}{
		{"env.go", `"(TERMINAL_\w+)"`, "", []string{"doc.go", "README.md", ".env.example", migrating}},
		{"result.go", `Status = "(\w+)"`, "`", []string{"README.md", migrating}},
	} {
		names := regexp.MustCompile(c.pattern).FindAllStringSubmatch(text(t, c.source), -1)
		require.NotEmpty(t, names)
		for _, name := range names {
			for _, page := range c.pages {
				assert.True(t, strings.Contains(text(t, page), c.quote+name[1]+c.quote), "%s is not in %s", name[1], page)
			}
		}
	}
}
