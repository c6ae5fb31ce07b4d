// Tests of how this repository is built, not of what it does.

package terminal_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The root holds the nouns that a user meets. The mechanisms are internal packages.
func TestRootStaysSmall(t *testing.T) {
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	visible, files, lines, names := 0, 0, 0, 0
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, ".") {
			visible++
		}
		assert.NotEqual(t, ".sh", filepath.Ext(name), name)
		if filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		files++
		lines += bytes.Count(source, []byte("\n"))
		names += len(unexported(t, name, source))
	}
	t.Logf("%d entries, %d Go files, %d lines, %d unexported names", visible, files, lines, names)
	assert.LessOrEqual(t, visible, 60, "entries")
	assert.LessOrEqual(t, files, 24, "Go files that are not tests")
	assert.LessOrEqual(t, lines, 5200, "their lines")
	assert.LessOrEqual(t, names, 130, "their unexported package-level names, methods excluded")
}

// unexported returns the unexported names that a file declares in its package.
func unexported(t *testing.T, name string, source []byte) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, source, 0)
	require.NoError(t, err)
	add := func(ids ...*ast.Ident) {
		for _, id := range ids {
			if !id.IsExported() && id.Name != "_" {
				names = append(names, id.Name)
			}
		}
	}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil {
				add(decl.Name)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					add(spec.Name)
				case *ast.ValueSpec:
					add(spec.Names...)
				}
			}
		}
	}
	return names
}

// The root imports internal packages, and none of them imports the root.
func TestInternalPackagesDoNotImportRoot(t *testing.T) {
	for _, path := range goCommand(t, "list", "-deps", "./internal/...") {
		assert.NotEqual(t, "github.com/terminal-go/terminal", path)
	}
}
