package testimage

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestTheMirrorIsTheOneOfApt(t *testing.T) {
	for name, tc := range map[string]struct {
		file, text string
		want       source
	}{
		"one line": {
			"sources.list",
			"# deb http://old.test/debian tree main\ndeb-src http://src.test/ tree main\ndeb http://sec.test/ tree-security main\ndeb http://a.test/debian tree main contrib\n",
			source{mirror: "http://a.test/debian", suite: "tree"},
		},
		"one line with options": {
			"sources.list.d/a.list",
			"deb [arch=amd64 signed-by=/k.gpg] http://a.test/debian tree main\n",
			source{mirror: "http://a.test/debian", suite: "tree", keyring: "/k.gpg"},
		},
		"stanzas": {
			"sources.list.d/a.sources",
			"Types: deb\nURIs: http://sec.test/\nSuites: tree-security\nComponents: main\n\nTypes: deb deb-src\n# a comment: here\nURIs: http://a.test/debian http://b.test/debian\nSuites: tree tree-updates\nComponents: main contrib\nSigned-By: /k.gpg\n",
			source{mirror: "http://a.test/debian", suite: "tree", keyring: "/k.gpg"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			etc := t.TempDir()
			require.NoError(t, os.MkdirAll(filepath.Join(etc, "apt/sources.list.d"), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(etc, "os-release"), []byte("VERSION=\"12 (tree)\"\nVERSION_CODENAME=tree\n"), 0o644))
			_, err := ownSource(etc)
			assert.ErrorContains(t, err, "no mirror for tree")
			require.NoError(t, os.WriteFile(filepath.Join(etc, "apt", tc.file), []byte(tc.text), 0o644))
			got, err := ownSource(etc)
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
		})
	}
}

func TestFilesRecipe(t *testing.T) {
	t.Setenv(RecipeEnv, "files")
	tag := Debian(t)
	assert.Contains(t, tag, ":files-")
	hasAll(t, tag, debianPrograms)
	// A status of 126 or 127 is that of a program that cannot be started.
	out, code := run(t, tag, "", "sh", "-c", "for p in "+strings.Join(debianPrograms, " ")+
		`; do env "$p" --help </dev/null >/tmp/out 2>&1 ; case $? in 126 | 127) echo "$p: $(cat /tmp/out)" ;; esac; done`)
	assert.Empty(t, out)
	assert.Zero(t, code)
	out, code = run(t, tag, "", "bash", "-c", "seq 3 | sort -r | head -1; id -un; su -s /bin/sh user -c 'id -un; cd; pwd'; readlink /proc/$$/exe; setpriv --reuid 7 --regid 7 --clear-groups id -u")
	assert.Equal(t, "3\nroot\nuser\n/home/user\n/usr/bin/bash\n7\n", out)
	assert.Zero(t, code)
}

func TestDebootstrapRecipe(t *testing.T) {
	t.Setenv(RecipeEnv, "debootstrap")
	img, err := debootstrap()
	if err == nil {
		var rootfs io.Closer
		if rootfs, err = img.rootfs(t.Context()); err == nil {
			rootfs.Close()
		}
	}
	if err != nil { // no root, program or mirror
		t.Skip(err)
	}
	t.Setenv(RequireEnv, "docker") // now it must succeed
	hasAll(t, Debian(t), debianPrograms)
}

func TestRecipesNeverShareTag(t *testing.T) {
	a, err := files()
	if err != nil {
		t.Skip(err)
	}
	b, err := makeFiles()
	require.NoError(t, err)
	assert.Equal(t, a.recipe, b.recipe, "the same files give the same recipe")
	c, err := debootstrap()
	if err != nil {
		t.Skip(err)
	}
	assert.NotEqual(t, a.recipe, c.recipe)
	assert.NotEqual(t, recipeID("files", "a"), recipeID("files", "b"))
}

// A user who may talk to the Engine, but is not root and has the HOME of root,
// makes and uses the same image.
func TestFilesRecipeAsAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("TestFilesRecipe has shown it: this user is not root")
	}
	t.Setenv(RecipeEnv, "files")
	socket, ok := strings.CutPrefix(Engine(t).DaemonHost(), "unix://")
	if !ok {
		t.Skip("the Engine is not at a socket of this machine")
	}
	var stat unix.Stat_t
	require.NoError(t, unix.Stat(socket, &stat))
	dir, err := os.MkdirTemp("", "testimage") //nolint:usetesting // another user must get through its parents
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	require.NoError(t, os.Chmod(dir, 0o777))
	self, err := os.Executable()
	require.NoError(t, err)
	program := filepath.Join(dir, "testimage.test")
	body, err := os.ReadFile(self)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, body, 0o755))
	cmd := exec.CommandContext(t.Context(), program, "-test.v", "-test.run=^(TestFilesRecipe|TestFilesRecipeIsMade)$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), RequireEnv+"=docker", "TMPDIR="+dir, "PATH=/usr/bin:/bin") // no sbin
	cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: stat.Gid}}
	out, err := cmd.CombinedOutput()
	assert.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "--- PASS: TestFilesRecipe ")
	assert.Contains(t, string(out), "--- PASS: TestFilesRecipeIsMade ")
}

// The image may be there already, so this one has a tag of its own.
func TestFilesRecipeIsMade(t *testing.T) {
	img, err := files()
	if err != nil {
		t.Skip(err)
	}
	tag := fmt.Sprintf("terminal-test/own:files-%d", os.Getpid())
	require.NoError(t, ensure(t.Context(), Engine(t), tag, img))
	defer func() {
		_, err := Engine(t).ImageRemove(context.Background(), tag, client.ImageRemoveOptions{})
		assert.NoError(t, err)
	}()
	out, code := run(t, tag, "", "bash", "-c", "echo made")
	assert.Equal(t, "made\n", out)
	assert.Zero(t, code)
}
