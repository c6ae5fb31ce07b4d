//go:build !terminal_nodocker

// This file tests the parsing of users, which a container may forge.

package docker

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseUsers(t *testing.T) {
	users, err := parseUsers("1000:7\n0:0\n")
	require.NoError(t, err)
	assert.Equal(t, []user{{1000, 7}, {0, 0}}, users)
	users, err = parseUsers("")
	require.NoError(t, err)
	assert.Empty(t, users)
	_, err = parseUsers(strings.Repeat("1:1\n", maxUsers))
	require.NoError(t, err)

	for _, bad := range []string{
		"root\n", "root:root\n", "1:\n", ":1\n", "+1:1\n", "-1:1\n", "1:1 2:2\n", "1:1:1\n", " 1:1\n", "1:1\r\n", "\n",
		"99999999999:1\n", "1:1\nERROR: ld.so\n", strings.Repeat("1:1\n", maxUsers+1),
	} {
		_, err := parseUsers(bad)
		assert.Error(t, err, "%q", bad)
	}
}

func TestIsRoot(t *testing.T) {
	for user, want := range map[string]bool{
		"": true, "root": true, "0": true, "00": true, "0:1000": true, "root:staff": true,
		"1000": false, "1000:0": false, "node": false, "rooty": false,
	} {
		assert.Equal(t, want, isRoot(user), "%q", user)
	}
}
