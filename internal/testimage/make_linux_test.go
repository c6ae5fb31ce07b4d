package testimage

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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

func TestTheProgramsOfThisMachineServeWhereDebootstrapCannot(t *testing.T) {
	tag := ownTag(t)
	img, err := debian()
	if err != nil {
		t.Skip(err)
	}
	img.rootfs = func(context.Context) (io.ReadCloser, error) { return ownFiles() }
	require.NoError(t, ensure(t.Context(), Engine(t), tag, img))
	defer func() {
		_, err := Engine(t).ImageRemove(t.Context(), tag, client.ImageRemoveOptions{PruneChildren: true})
		assert.NoError(t, err)
	}()
	out, code := run(t, tag, "", "/bin/bash", "-c", "seq 3 | sort -r | head -1; setsid sleep 0; id -un")
	assert.Equal(t, "3\nroot\n", out)
	assert.Zero(t, code)
}
