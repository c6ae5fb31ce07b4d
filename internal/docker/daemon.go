//go:build !terminal_nodocker

// This file connects to the Docker Engine and explains why that failed.

package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/terminal-go/terminal/internal/docker/locate"
	"github.com/terminal-go/terminal/internal/spawn"
)

// daemonTimeout bounds requests that a healthy daemon answers at once.
const daemonTimeout = 10 * time.Second

// daemon is a client of a Docker Engine, with the source of its address.
type daemon struct {
	*client.Client
	found string // for messages: DOCKER_HOST, context "remote", …
}

// connect finds the daemon, negotiates the API version and requires Linux
// containers.
func (cfg Config) connect(ctx context.Context) (daemon, error) {
	options, found, err := locate.Daemon(cfg.Host)
	if err != nil {
		return daemon{}, fmt.Errorf("%w: docker: %s: %w", spawn.ErrUnavailable, found, err)
	}
	api, err := client.New(options...)
	if err != nil {
		return daemon{}, fmt.Errorf("%w: docker: %s: %w", spawn.ErrUnavailable, found, err)
	}
	dm := daemon{api, found}
	ctx, cancel := context.WithTimeout(ctx, daemonTimeout)
	defer cancel()
	ping, err := api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
	switch {
	case err != nil && ping.APIVersion != "" && errdefs.IsInvalidArgument(err):
		err = fmt.Errorf("the %s is too old: %w; upgrade it to Engine 19.03 or later", dm, err)
	case err != nil:
		err = dm.explain(ctx, err)
	case ping.OSType != "" && ping.OSType != "linux":
		err = fmt.Errorf("the %s runs %s containers; it must run linux ones", dm, ping.OSType)
	default:
		return dm, nil
	}
	_ = api.Close()
	return daemon{}, fmt.Errorf("%w: docker: %w", spawn.ErrUnavailable, err)
}

func (dm daemon) String() string {
	return fmt.Sprintf("daemon at %s (from %s)", dm.DaemonHost(), dm.found)
}

// explain returns the error for a daemon that does not answer, with its cause
// and a remedy.
func (dm daemon) explain(ctx context.Context, err error) error {
	switch dial := dm.dial(ctx); {
	case errors.Is(dial, fs.ErrPermission):
		return fmt.Errorf("no permission to use the %s; join its group (docker) or run a rootless daemon", dm)
	case errors.Is(dial, fs.ErrNotExist):
		return fmt.Errorf("no %s: there is no such socket; start Docker, or set Docker.Host or DOCKER_HOST", dm)
	case strings.HasPrefix(dm.DaemonHost(), "tcp://"):
		return fmt.Errorf("no answer from the %s: %w; start Docker, set Docker.Host or DOCKER_HOST, or for TLS DOCKER_TLS_VERIFY and DOCKER_CERT_PATH", dm, err)
	default:
		return fmt.Errorf("no answer from the %s: %w; start Docker, or set Docker.Host or DOCKER_HOST", dm, err)
	}
}

// dial connects to a Unix socket directly, because the client's error does not
// wrap the cause.
func (dm daemon) dial(ctx context.Context) error {
	path, ok := strings.CutPrefix(dm.DaemonHost(), "unix://")
	if !ok {
		return nil
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		err = conn.Close()
	}
	return err
}
