//go:build !terminal_nodocker

// This file pulls images, with the registry credentials of the docker command.

package docker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/cpuguy83/dockercfg"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/pkg/authconfig"
	apiregistry "github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"

	"github.com/terminal-go/terminal/internal/docker/locate"
	"github.com/terminal-go/terminal/internal/spawn"
)

// pullLogInterval is how often pull progress is logged.
const pullLogInterval = 10 * time.Second

// pull pulls the image within PullTimeout and logs its beginning and its end.
func (cfg Config) pull(ctx context.Context, dm daemon, log *slog.Logger) error {
	if cfg.PullTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, cfg.PullTimeout, fmt.Errorf("not done after Docker.PullTimeout, %v", cfg.PullTimeout))
		defer cancel()
	}
	log.Info("pulling image", "image", cfg.Image)
	began := time.Now()
	err := cfg.pullLayers(ctx, dm, log)
	if err == nil {
		log.Info("pulled image", "image", cfg.Image, "duration", time.Since(began))
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("%w: docker: pull image %s: %w; check its name, the daemon's network and the login to its registry, or pull it by hand and set Docker.Pull to %q", spawn.ErrUnavailable, cfg.Image, err, PullNever)
}

// pullLayers pulls the image and logs progress every pullLogInterval.
func (cfg Config) pullLayers(ctx context.Context, dm daemon, log *slog.Logger) error {
	auth, err := cfg.credentials(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		log.Warn("no credentials from the docker command's configuration", "image", cfg.Image, "error", err)
	}
	options := client.ImagePullOptions{RegistryAuth: auth}
	if cfg.Platform != "" {
		options.Platforms = append(options.Platforms, *cfg.platform())
	}
	progress, err := dm.ImagePull(ctx, cfg.Image, options)
	if err != nil {
		return err
	}
	defer progress.Close()
	type layer struct{ done, size int64 }
	layers := make(map[string]layer)
	logged := time.Now()
	for message, err := range progress.JSONMessages(ctx) {
		switch {
		case err != nil:
			return err
		case message.Error != nil:
			return message.Error
		case message.Progress != nil:
			layers[message.ID] = layer{message.Progress.Current, message.Progress.Total}
		}
		if time.Since(logged) >= pullLogInterval {
			logged = time.Now()
			var sum layer
			for _, l := range layers {
				sum.done += l.done
				sum.size += l.size
			}
			log.Info("pulling image", "image", cfg.Image, "layers", len(layers), "bytes", sum.done, "of", sum.size)
		}
	}
	return nil
}

// credentials returns the value of the X-Registry-Auth header for the image's
// registry, or "" if the docker command has no login there. It returns early when
// ctx is done; a credential helper that waits for a person keeps its goroutine.
func (cfg Config) credentials(ctx context.Context) (string, error) {
	type answer struct {
		auth string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		auth, err := credentials(cfg.Image)
		answered <- answer{auth, err}
	}()
	select {
	case a := <-answered:
		return a.auth, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// credentials is the blocking part of Config.credentials.
func credentials(image string) (string, error) {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", err
	}
	config, err := locate.LoadConfig()
	if err != nil {
		return "", err
	}
	host := dockercfg.ResolveRegistryHost(reference.Domain(ref))
	user, secret, err := config.GetRegistryCredentials(host)
	if err != nil || secret == "" {
		return "", err
	}
	auth := apiregistry.AuthConfig{Username: user, Password: secret, ServerAddress: host}
	if user == "" { // dockercfg returns an identity token without a user
		auth.Password, auth.IdentityToken = "", secret
	}
	return authconfig.Encode(auth)
}

// noImage returns the error for an image that is missing and must not be pulled.
func (cfg Config) noImage(dm daemon) error {
	image := cfg.Image
	if cfg.Platform != "" {
		image += ", or not for Docker.Platform " + cfg.Platform + ","
	}
	return fmt.Errorf("%w: docker: image %s is not on the daemon at %s, and Docker.Pull is %q; pull it, or name another one", spawn.ErrUnavailable, image, dm.DaemonHost(), cfg.Pull)
}
