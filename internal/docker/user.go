//go:build !terminal_nodocker

// This file identifies users of the container, as its scripts and the daemon name them.

package docker

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/moby/moby/client"
	"github.com/terminal-go/terminal/internal/capture"
)

// user identifies a user of the container by number.
type user struct{ uid, gid int }

func (u user) String() string { return fmt.Sprintf("%d:%d", u.uid, u.gid) }

// maxUsers bounds the users that a script may print, because Kill needs an exec
// for each.
const maxUsers = 16

var userLine = regexp.MustCompile(`^[0-9]+:[0-9]+$`)

// parseUsers parses lines of uid:gid. It is strict, because the output comes from
// the container and ends up in requests to the daemon.
func parseUsers(text string) ([]user, error) {
	var users []user
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		uid, gid, _ := strings.Cut(line, ":")
		u, err1 := strconv.ParseUint(uid, 10, 31)
		g, err2 := strconv.ParseUint(gid, 10, 31)
		if !userLine.MatchString(line) || err1 != nil || err2 != nil {
			return nil, fmt.Errorf("not a user: %q", capture.Clip(line))
		}
		if len(users) == maxUsers {
			return nil, fmt.Errorf("more than %d users", maxUsers)
		}
		users = append(users, user{int(u), int(g)})
	}
	return users, nil
}

// runsAsRoot reports whether commands run as root. It asks the daemon, because
// the container is not trusted.
func (x *Executor) runsAsRoot(ctx context.Context) (bool, error) {
	if x.cfg.User != "" {
		return isRoot(x.cfg.User), nil
	}
	found, err := x.daemon.ContainerInspect(ctx, x.id, client.ContainerInspectOptions{})
	if err != nil {
		return false, err
	}
	return found.Container.Config != nil && isRoot(found.Container.Config.User), nil
}

// isRoot reports whether user, in the form of Config.User and an image's USER, is
// root.
func isRoot(user string) bool {
	name, _, _ := strings.Cut(user, ":")
	uid, err := strconv.ParseUint(name, 10, 32)
	return name == "" || name == "root" || err == nil && uid == 0
}
