//go:build !terminal_nodocker

// This file holds the whole package; connecting is left to package docker.

// Package locate finds the Docker Engine's address and TLS keys, and the docker
// command's configuration. It only reads the environment and files, and keeps no
// state, so it needs no lock.
package locate

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cpuguy83/dockercfg"
	"github.com/moby/moby/client"
)

// Daemon returns the client options for host, or if it is "", for the daemon that
// the docker command would use (docs.docker.com/engine/manage-resources/contexts),
// or Podman's socket if the default one does not exist. found names the source.
func Daemon(host string) (options []client.Opt, found string, err error) {
	if host != "" {
		options, err = hostOptions(host)
		return append(tlsOptions(host), options...), "Docker.Host", err
	}
	if host := os.Getenv(client.EnvOverrideHost); host != "" {
		options, err = hostOptions(host)
		return append(tlsOptions(host), options...), client.EnvOverrideHost, err
	}
	name, from := os.Getenv("DOCKER_CONTEXT"), "DOCKER_CONTEXT"
	if name == "" {
		config, err := LoadConfig()
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
	for _, socket := range podmanSockets() {
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

// LoadConfig returns the docker command's configuration. It is empty if there is
// no file or no home directory.
func LoadConfig() (config dockercfg.Config, err error) {
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

// hostOptions returns the options for an address, or an error for a bad one.
func hostOptions(host string) ([]client.Opt, error) {
	if strings.HasPrefix(host, "ssh://") {
		return nil, fmt.Errorf("host %q: ssh is not supported; forward the socket, such as with ssh -NL /tmp/docker.sock:/var/run/docker.sock, and use unix:///tmp/docker.sock", host)
	}
	if _, err := client.ParseHostURL(host); err != nil {
		return nil, fmt.Errorf("host %q: must be like unix:///var/run/docker.sock or tcp://host:2376", host)
	}
	return []client.Opt{client.WithHost(host)}, nil
}

// tlsOptions returns the options for the TLS variables, which apply to hosts that
// do not come from a context. They must precede the host, because they replace
// the transport.
func tlsOptions(host string) []client.Opt {
	switch {
	case strings.HasPrefix(host, "unix://") || strings.HasPrefix(host, "npipe://"):
		return nil
	case os.Getenv(client.EnvOverrideCertPath) != "":
		return []client.Opt{client.WithTLSClientConfigFromEnv()}
	case os.Getenv(client.EnvTLSVerify) != "":
		if config, err := dockercfg.ConfigPath(); err == nil {
			return []client.Opt{keysIn(filepath.Dir(config))}
		}
	}
	return nil
}

// keysIn returns the option for the TLS keys in dir, each of which is optional.
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

// contextOptions returns the options for a context of the docker command. The
// address is in contexts/meta and the keys are in contexts/tls, each in a
// directory named by the SHA-256 of the context's name.
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

// podmanSockets returns the paths of Podman's sockets, the user's own first.
func podmanSockets() []string {
	sockets := []string{"/run/podman/podman.sock"}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		sockets = append([]string{filepath.Join(dir, "podman", "podman.sock")}, sockets...)
	}
	return sockets
}
