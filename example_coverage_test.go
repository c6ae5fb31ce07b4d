//go:build unix

package terminal_test

import (
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/token"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withoutExample are the functions and methods that no Example names, and why.
// A type stands for all its methods.
var withoutExample = map[string]string{
	"Docker":          "a Terminal calls its methods",
	"Local":           "a Terminal calls its methods",
	"Modal":           "a Terminal calls its methods",
	"Error":           "errors.As and errors.Is call its methods",
	"Terminal.CopyTo": "the same as CopyFrom, the other way round",
}

// A function is named in an Example that is about it, or that calls it.
// Methods are told apart by their names only.
func TestEveryEntryPointHasAnExample(t *testing.T) {
	dir, err := build.ImportDir(".", 0)
	require.NoError(t, err)
	fset := token.NewFileSet()
	parse := func(names []string) (files []*ast.File) {
		for _, name := range names {
			file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
			require.NoError(t, err)
			files = append(files, file)
		}
		return files
	}
	named := make(map[string]bool)
	for _, example := range doc.Examples(parse(dir.XTestGoFiles)...) {
		if example.Output == "" && !example.EmptyOutput {
			continue // it is not run
		}
		ast.Inspect(example.Code, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				named[s.Sel.Name] = true
			}
			return true
		})
		named[example.Name] = true
	}
	pkg, err := doc.NewFromFiles(fset, parse(dir.GoFiles), dir.ImportPath)
	require.NoError(t, err)
	check := func(receiver string, funcs []*doc.Func) {
		for _, f := range funcs {
			full, example := f.Name, f.Name
			if receiver != "" {
				full, example = receiver+"."+f.Name, receiver+"_"+f.Name
			}
			if withoutExample[receiver] == "" && withoutExample[full] == "" {
				assert.True(t, named[f.Name] || named[example], "no Example with an Output names %s", full)
			}
		}
	}
	check("", pkg.Funcs)
	for _, typ := range pkg.Types {
		check("", typ.Funcs)
		check(typ.Name, typ.Methods)
	}
}
