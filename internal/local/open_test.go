package local

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestIsSecret(t *testing.T) {
	for name, secret := range map[string]bool{
		"OPENAI_API_KEY": true, "GH_TOKEN": true, "AWS_SECRET_ACCESS_KEY": true, "PGPASSWORD": true, "DB_PASSWORD": true,
		"MYSQL_PWD": true, "TOKEN": true, "SSH_AUTH_SOCK": true, "GITHUB_TOKEN_2": true,
		"PATH": false, "HOME": false, "PWD": false, "OLDPWD": false, "KEYBOARD": false, "LANG": false, "MONKEY": false, "TOKENIZERS_PARALLELISM": false,
	} {
		assert.Equal(t, secret, isSecret(name), name)
	}
}
