//go:build !terminal_nodocker

package terminal

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
)

// pullNews is how often a pull under way is logged.
const pullNews = 10 * time.Second

// pull pulls the image, with credentials of the docker command's.
func (d Docker) pull(ctx context.Context, dm daemon, log *slog.Logger) error {
	if d.PullTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d.PullTimeout, fmt.Errorf("not done after Docker.PullTimeout, %v", d.PullTimeout))
		defer cancel()
	}
	log.Info("pulling image", "image", d.Image)
	began := time.Now()
	err := d.pullLayers(ctx, dm, log)
	if err == nil {
		log.Info("pulled image", "image", d.Image, "duration", time.Since(began))
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("%w: docker: pull image %s: %w; check its name, the daemon's network and the login to its registry, or pull it by hand and set Docker.Pull to %q", ErrUnavailable, d.Image, err, PullNever)
}

func (d Docker) pullLayers(ctx context.Context, dm daemon, log *slog.Logger) error {
	auth, err := d.credentials(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		log.Warn("no credentials from the docker command's configuration", "image", d.Image, "error", err)
	}
	options := client.ImagePullOptions{RegistryAuth: auth}
	if d.Platform != "" {
		options.Platforms = append(options.Platforms, *d.platform())
	}
	progress, err := dm.ImagePull(ctx, d.Image, options)
	if err != nil {
		return err
	}
	defer progress.Close()
	type layer struct{ done, size int64 }
	layers := make(map[string]layer)
	told := time.Now()
	for message, err := range progress.JSONMessages(ctx) {
		switch {
		case err != nil:
			return err
		case message.Error != nil:
			return message.Error
		case message.Progress != nil:
			layers[message.ID] = layer{message.Progress.Current, message.Progress.Total}
		}
		if time.Since(told) >= pullNews {
			told = time.Now()
			var sum layer
			for _, l := range layers {
				sum.done += l.done
				sum.size += l.size
			}
			log.Info("pulling image", "image", d.Image, "layers", len(layers), "bytes", sum.done, "of", sum.size)
		}
	}
	return nil
}

// credentials returns what the docker command's configuration has for the
// image's registry, encoded as the API wants it, or "". A helper that takes too
// long keeps its goroutine until it ends: it may be waiting for a person.
func (d Docker) credentials(ctx context.Context) (string, error) {
	type answer struct {
		auth string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		auth, err := credentials(d.Image)
		answered <- answer{auth, err}
	}()
	select {
	case a := <-answered:
		return a.auth, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func credentials(image string) (string, error) {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", err
	}
	config, err := loadConfig()
	if err != nil {
		return "", err
	}
	host := dockercfg.ResolveRegistryHost(reference.Domain(ref))
	user, secret, err := config.GetRegistryCredentials(host)
	if err != nil || secret == "" {
		return "", err
	}
	auth := apiregistry.AuthConfig{Username: user, Password: secret, ServerAddress: host}
	if user == "" { // see dockercfg: the secret is an identity token then
		auth.Password, auth.IdentityToken = "", secret
	}
	return authconfig.Encode(auth)
}
