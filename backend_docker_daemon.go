//go:build !terminal_nodocker

package terminal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/cpuguy83/dockercfg"
	"github.com/moby/moby/client"
)

// daemonTimeout bounds the questions that a daemon answers at once if at all.
const daemonTimeout = 10 * time.Second

// daemon is a Docker Engine, and how it was found.
type daemon struct {
	*client.Client
	found string // "DOCKER_HOST", "context \"remote\"", … for messages
}

// connect finds the daemon and asks whether it is there.
func (d Docker) connect(ctx context.Context) (daemon, error) {
	options, found, err := d.locate()
	if err != nil {
		return daemon{}, fmt.Errorf("%w: docker: %s: %w", ErrUnavailable, found, err)
	}
	api, err := client.New(options...)
	if err != nil {
		return daemon{}, fmt.Errorf("%w: docker: %s: %w", ErrUnavailable, found, err)
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
	return daemon{}, fmt.Errorf("%w: docker: %w", ErrUnavailable, err)
}

func (dm daemon) String() string {
	return fmt.Sprintf("daemon at %s (from %s)", dm.DaemonHost(), dm.found)
}

// explain says what is wrong with a daemon that does not answer, and what
// would help.
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

// dial tries a unix socket itself, because the client's error for it keeps
// only a text.
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

// locate looks for the daemon where the docker command does:
// docs.docker.com/engine/manage-resources/contexts, with Podman's sockets
// after the default one.
func (d Docker) locate() (options []client.Opt, found string, err error) {
	var env environment
	if d.Host != "" {
		options, err = hostOptions(d.Host)
		return append(tlsOptions(env, d.Host), options...), "Docker.Host", err
	}
	if host := env.text(client.EnvOverrideHost); host != "" {
		options, err = hostOptions(host)
		return append(tlsOptions(env, host), options...), client.EnvOverrideHost, err
	}
	name, from := env.text("DOCKER_CONTEXT"), "DOCKER_CONTEXT"
	if name == "" {
		config, err := loadConfig()
		if err != nil {
			return nil, "configuration of the docker command", err
		}
		name, from = config.CurrentContext, "the configuration's current context"
	}
	if name != "" && name != "default" {
		found = fmt.Sprintf("context %q, %s", name, from)
		options, err = contextOptions(name)
		return options, found, err
	}
	for _, socket := range podmanSockets(env) {
		if _, err := os.Stat(strings.TrimPrefix(client.DefaultDockerHost, "unix://")); err == nil {
			break
		}
		if _, err := os.Stat(socket); err == nil {
			options, err = hostOptions("unix://" + socket)
			return options, "Podman's socket", err
		}
	}
	return nil, "the default", nil
}

// loadConfig reads the docker command's configuration, which is empty if there
// is none, or no home to have it in.
func loadConfig() (config dockercfg.Config, err error) {
	path, err := dockercfg.ConfigPath()
	if err != nil {
		return config, nil
	}
	err = dockercfg.FromFile(path, &config)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err != nil:
		err = fmt.Errorf("%s: %w", path, err)
	}
	return config, err
}

func hostOptions(host string) ([]client.Opt, error) {
	if strings.HasPrefix(host, "ssh://") {
		return nil, fmt.Errorf("host %q: ssh is not supported; forward the socket, such as with ssh -NL /tmp/docker.sock:/var/run/docker.sock, and use unix:///tmp/docker.sock", host)
	}
	if _, err := client.ParseHostURL(host); err != nil {
		return nil, fmt.Errorf("host %q: must be like unix:///var/run/docker.sock or tcp://host:2376", host)
	}
	return []client.Opt{client.WithHost(host)}, nil
}

// tlsOptions are the TLS variables, for a host that is not of a context. They
// come before the host, because they replace the whole transport.
func tlsOptions(env environment, host string) []client.Opt {
	switch {
	case strings.HasPrefix(host, "unix://") || strings.HasPrefix(host, "npipe://"):
		return nil
	case env.text(client.EnvOverrideCertPath) != "":
		return []client.Opt{client.WithTLSClientConfigFromEnv()}
	case env.text(client.EnvTLSVerify) != "":
		if config, err := dockercfg.ConfigPath(); err == nil {
			return []client.Opt{keysIn(filepath.Dir(config))}
		}
	}
	return nil
}

// keysIn are the keys in a directory. Not every daemon wants all of them.
func keysIn(dir string) client.Opt {
	file := func(name string) string {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err != nil {
			return ""
		}
		return path
	}
	return client.WithTLSClientConfig(file("ca.pem"), file("cert.pem"), file("key.pem"))
}

// contextOptions reads a context of the docker command: a directory named by
// the hash of its name holds the address, another one the keys.
func contextOptions(name string) ([]client.Opt, error) {
	config, err := dockercfg.ConfigPath()
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256([]byte(name))
	dir := hex.EncodeToString(hash[:])
	base := filepath.Join(filepath.Dir(config), "contexts")
	path := filepath.Join(base, "meta", dir, "meta.json")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("there is no such context; see docker context ls")
	}
	if err != nil {
		return nil, err
	}
	var meta struct {
		Endpoints map[string]struct{ Host string }
	}
	if err := json.Unmarshal(text, &meta); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	host := meta.Endpoints["docker"].Host
	if host == "" {
		return nil, errors.New("it has no docker endpoint")
	}
	options, err := hostOptions(host)
	if err != nil {
		return nil, err
	}
	keys := filepath.Join(base, "tls", dir, "docker")
	if _, err := os.Stat(keys); err == nil {
		options = append(options, keysIn(keys))
	}
	return options, nil
}

func podmanSockets(env environment) []string {
	sockets := []string{"/run/podman/podman.sock"}
	if dir := env.text("XDG_RUNTIME_DIR"); dir != "" {
		sockets = append([]string{filepath.Join(dir, "podman", "podman.sock")}, sockets...)
	}
	return sockets
}

// Check tells apart: no daemon, no permission, a daemon too old, and an image
// that is missing and may not be pulled.
func (d Docker) Check(ctx context.Context) error {
	d, err := d.complete()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	dm, err := d.connect(ctx)
	if err != nil {
		return err
	}
	defer dm.Close()
	if d.Pull != PullNever {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, daemonTimeout)
	defer cancel()
	if _, err := dm.ImageInspect(ctx, d.Image); errdefs.IsNotFound(err) {
		return d.noImage(dm)
	} else if err != nil {
		return fmt.Errorf("%w: docker: image %s: %w", ErrUnavailable, d.Image, err)
	}
	return nil
}

func (d Docker) noImage(dm daemon) error {
	image := d.Image
	if d.Platform != "" {
		image += ", or not for Docker.Platform " + d.Platform + ","
	}
	return fmt.Errorf("%w: docker: image %s is not on the daemon at %s, and Docker.Pull is %q; pull it, or name another one", ErrUnavailable, image, dm.DaemonHost(), d.Pull)
}
