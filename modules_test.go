package terminal_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// goMod is what `go mod edit -json` says of a go.mod file.
type goMod struct {
	Module  struct{ Path string }
	Require []struct {
		Path     string
		Version  string
		Indirect bool
	}
	Replace []json.RawMessage
}

func readGoMod(t *testing.T, file string) (mod goMod) {
	t.Helper()
	_, err := os.ReadFile(file) // tells go test that its cached result depends on the file
	require.NoError(t, err)
	out, err := exec.Command("go", "mod", "edit", "-json", file).Output()
	require.NoError(t, err, file)
	require.NoError(t, json.Unmarshal(out, &mod))
	return mod
}

// direct are the modules that a go.mod requires for packages of its own.
func (m goMod) direct() (paths []string) {
	for _, r := range m.Require {
		if !r.Indirect {
			paths = append(paths, r.Path)
		}
	}
	return paths
}

// goCommand returns the lines of a go command that may need modules of which
// nothing but the go.mod counts, and which a machine without a network lacks.
func goCommand(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil && os.Getenv("TERMINAL_TEST_REQUIRE") == "" {
		t.Skipf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	require.NoError(t, err, "%s", out)
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// nestedGoMods returns the go.mod files of the modules below the root.
func nestedGoMods(t *testing.T) (files []string) {
	t.Helper()
	for _, pattern := range []string{"*/go.mod", "*/*/go.mod"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		files = append(files, found...)
	}
	require.NotEmpty(t, files)
	return files
}

// documented are the direct requirements that README says the reason of.
func documented(t *testing.T, root goMod) (own, missing []string) {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(readme), "\n## Dependencies\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	for _, path := range root.direct() {
		if strings.Contains(section, "`"+path+"`") {
			own = append(own, path)
		} else {
			missing = append(missing, path)
		}
	}
	return own, missing
}

func TestREADMEListsDependencies(t *testing.T) {
	own, missing := documented(t, readGoMod(t, "go.mod"))
	assert.NotEmpty(t, own)
	assert.Empty(t, missing, "these need a line with their reason in README, Dependencies")
}

// What the modules of adapters and commands need stays with them: nothing of it
// is in this module's build list, but what a documented dependency brings anyway.
func TestModuleExcludesFrameworks(t *testing.T) {
	root := readGoMod(t, "go.mod")
	own, _ := documented(t, root)
	frameworks := map[string]string{}
	for _, file := range nestedGoMods(t) {
		for _, path := range readGoMod(t, file).direct() {
			if path != root.Module.Path && !slices.Contains(own, path) {
				frameworks[path] = file
			}
		}
	}
	for _, path := range root.direct() {
		assert.NotContains(t, frameworks, path, "go.mod requires what only %s should", frameworks[path])
	}

	brought := reachable(goCommand(t, "mod", "graph"), own)
	for _, line := range goCommand(t, "list", "-m", "all") {
		path, _, _ := strings.Cut(line, " ")
		if file, ok := frameworks[path]; ok && !brought[path] {
			assert.Fail(t, "in the build list", "%s is there, but only %s should need it", path, file)
		}
	}
}

// The go command ignores a replace in the go.mod of a dependency, and go install
// refuses a module that has one. So the modules require each other at a version,
// the same in all of them, and go.work replaces that version with a directory.
func TestModulesInstall(t *testing.T) {
	root := readGoMod(t, "go.mod")
	assert.Empty(t, root.Replace, "go.mod")
	versions := map[string]string{} // a file by the version it requires
	for _, file := range nestedGoMods(t) {
		mod := readGoMod(t, file)
		assert.Empty(t, mod.Replace, file)
		for _, r := range mod.Require {
			if r.Path == root.Module.Path || strings.HasPrefix(r.Path, root.Module.Path+"/") {
				versions[r.Version] = file
			}
		}

		dir := filepath.Dir(file)
		work := exec.Command("go", "env", "GOWORK")
		work.Dir = dir
		work.Env = append(os.Environ(), "GOWORK=")
		out, err := work.Output()
		require.NoError(t, err)
		used := usedBy(t, strings.TrimSpace(string(out)))
		abs, err := filepath.Abs(dir)
		require.NoError(t, err)
		assert.Contains(t, used, abs, "the workspace of %s does not use it", file)
	}
	assert.Len(t, versions, 1, "the versions at which modules require each other")
}

// usedBy returns the directories that a go.work file uses.
func usedBy(t *testing.T, file string) (dirs []string) {
	t.Helper()
	_, err := os.ReadFile(file) // as in readGoMod
	require.NoError(t, err)
	out, err := exec.Command("go", "work", "edit", "-json", file).Output()
	require.NoError(t, err, file)
	var work struct{ Use []struct{ DiskPath string } }
	require.NoError(t, json.Unmarshal(out, &work))
	for _, use := range work.Use {
		dirs = append(dirs, filepath.Join(filepath.Dir(file), use.DiskPath))
	}
	return dirs
}

// A program without the Docker and Modal backends links golang.org/x/sys and no
// other module.
func TestLocalBuildLinksOneModule(t *testing.T) {
	linked := map[string]bool{}
	for _, path := range goCommand(t, "list", "-deps", "-tags", "terminal_nodocker terminal_nomodal", "-f", "{{with .Module}}{{.Path}}{{end}}", ".") {
		linked[path] = path != ""
	}
	delete(linked, "")
	assert.Equal(t, map[string]bool{"github.com/terminal-go/terminal": true, "golang.org/x/sys": true}, linked)
}

// An adapter is a page to read, so that a host can take it as it is or write its
// own after it.
func TestAdapterLength(t *testing.T) {
	files, err := filepath.Glob("adapters/*/*.go")
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.LessOrEqual(t, strings.Count(string(data), "\n"), 60, "lines of %s", file)
	}
}

// reachable are the paths of the modules that those in from need, according to
// the lines of `go mod graph`.
func reachable(graph, from []string) map[string]bool {
	needs := map[string][]string{}
	for _, line := range graph {
		module, need, _ := strings.Cut(line, " ")
		needs[module] = append(needs[module], need)
	}
	var next []string
	for module := range needs {
		path, _, _ := strings.Cut(module, "@")
		if slices.Contains(from, path) {
			next = append(next, module)
		}
	}
	seen := map[string]bool{}
	paths := map[string]bool{}
	for len(next) > 0 {
		module := next[0]
		next = next[1:]
		if seen[module] {
			continue
		}
		seen[module] = true
		path, _, _ := strings.Cut(module, "@")
		paths[path] = true
		next = append(next, needs[module]...)
	}
	return paths
}
