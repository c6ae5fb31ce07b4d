// Package testimage makes the images that the tests run containers from, out
// of files of the machine at hand: nothing is pulled, and no registry is
// needed. Every function is safe in parallel test processes, and leaves an
// image alone that is there already.
package testimage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

const (
	busyboxTag = "terminal-test/busybox:1"
	debianTag  = "terminal-test/debian:1"
	noShellTag = "terminal-test/noshell:1"
	noLaneTag  = "terminal-test/nolane:1"
	exitsTag   = "terminal-test/exits:1"

	// DefaultTag is the image the library uses when it is given none.
	DefaultTag = "python:3.11-slim"
)

// RequireEnv names what a machine claims to have. With "docker" among its
// comma-separated words a test that lacks Docker or an image fails, where it
// would be skipped.
const RequireEnv = "TERMINAL_TEST_REQUIRE"

// label holds the recipe an image was made by. An image with another one is
// made again; one without it is not ours.
const label = "terminal-test.recipe"

// makeLimit bounds the making of one image. The Debian one downloads packages.
const makeLimit = 8 * time.Minute

// Engine returns a client of the Engine that DOCKER_HOST names, or of the one
// at the default socket, and ends with the test. Where none answers, the test
// is skipped.
func Engine(t testing.TB) *client.Client {
	t.Helper()
	cli, err := client.New(client.FromEnv)
	if err != nil {
		lacks(t, "no client for the Docker Engine: %v", err)
	}
	t.Cleanup(func() { _ = cli.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ping, err := cli.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
	if err != nil {
		lacks(t, "no Docker Engine answers: %v", err)
	}
	if ping.OSType != "" && ping.OSType != "linux" { // Podman does not send it
		lacks(t, "the Docker Engine runs %s containers, not linux", ping.OSType)
	}
	return cli
}

// Busybox is an image of nothing but busybox: sh, no bash, and three users:
// root, nobody, and user (1000).
func Busybox(t testing.TB) string {
	t.Helper()
	return need(t, busyboxTag, busybox)
}

// NoShell is an image whose only program is /bin/sleep, which is also its
// command.
func NoShell(t testing.TB) string {
	t.Helper()
	return need(t, noShellTag, noShell)
}

// NoLane is Busybox with a sh that runs what it is given by -c, but as a
// lane's shell takes its input and does nothing.
func NoLane(t testing.TB) string {
	t.Helper()
	return need(t, noLaneTag, noLane)
}

// Exits is Busybox with an entrypoint that exits at once, with 1.
func Exits(t testing.TB) string {
	t.Helper()
	return need(t, exitsTag, exits)
}

// Debian is a small Debian with bash, as debootstrap makes it; where that
// cannot be had, bash and the usual programs of this machine.
func Debian(t testing.TB) string {
	t.Helper()
	return need(t, debianTag, debian)
}

// Default returns DefaultTag. Where the real image has not been pulled, the
// tag is given to Debian's, which has no python; but only on a machine that
// claims to have Docker for tests, since elsewhere somebody would find an
// impostor in a place where they expect the real one.
func Default(t testing.TB) string {
	t.Helper()
	cli := Engine(t)
	have, _, err := recipeOf(t.Context(), cli, DefaultTag)
	switch {
	case err == nil && have == "": // the real one
		return DefaultTag
	case err != nil && !errdefs.IsNotFound(err):
		lacks(t, "%s: %v", DefaultTag, err)
	case err != nil && !required():
		t.Skipf("%s is not here, and a stand-in is made only with %s=docker", DefaultTag, RequireEnv)
	}
	if _, err := cli.ImageTag(t.Context(), client.ImageTagOptions{Source: Debian(t), Target: DefaultTag}); err != nil {
		lacks(t, "%s: %v", DefaultTag, err)
	}
	return DefaultTag
}

func required() bool {
	for word := range strings.SplitSeq(os.Getenv(RequireEnv), ",") {
		if strings.TrimSpace(word) == "docker" {
			return true
		}
	}
	return false
}

// lacks ends the test: as skipped, or as failed where Docker is required.
func lacks(t testing.TB, format string, args ...any) {
	t.Helper()
	if required() {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// image is how to make one.
type image struct {
	recipe  string // names everything that decides what is in it
	changes []string
	rootfs  func(ctx context.Context) (io.ReadCloser, error) // its files, as a tar
}

// need makes the image unless it is there, and returns its tag.
func need(t testing.TB, tag string, plan func() (image, error)) string {
	t.Helper()
	cli := Engine(t)
	ctx, cancel := context.WithTimeout(t.Context(), makeLimit)
	defer cancel()
	img, err := plan()
	if err == nil {
		err = ensure(ctx, cli, tag, img)
	}
	if err != nil {
		// What an earlier run, or somebody on another system, made will do.
		if have, _, inspectErr := recipeOf(ctx, cli, tag); inspectErr == nil && have != "" {
			return tag
		}
		lacks(t, "no image %s: %v", tag, err)
	}
	return tag
}

func ensure(ctx context.Context, cli *client.Client, tag string, img image) error {
	if have, _, err := recipeOf(ctx, cli, tag); err == nil && have == img.recipe {
		return nil
	}
	unlock, err := lock(ctx, tag)
	if err != nil {
		return err
	}
	defer unlock()
	have, old, err := recipeOf(ctx, cli, tag)
	if err == nil && have == img.recipe { // made while we waited
		return nil
	}
	rootfs, err := img.rootfs(ctx)
	if err != nil {
		return err
	}
	defer rootfs.Close()
	changes := append([]string{fmt.Sprintf("LABEL %s=%q", label, img.recipe)}, img.changes...)
	source := client.ImageImportSource{Source: rootfs, SourceName: "-"}
	progress, err := cli.ImageImport(ctx, source, tag, client.ImageImportOptions{Changes: changes})
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	defer progress.Close()
	// The answer begins with 200; a failure comes in its stream.
	for dec := json.NewDecoder(progress); ; {
		var msg struct{ Error string }
		if err := dec.Decode(&msg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		if msg.Error != "" {
			return fmt.Errorf("import: %s", msg.Error)
		}
	}
	if old != "" { // it has lost its name; a container may still use it
		_, _ = cli.ImageRemove(ctx, old, client.ImageRemoveOptions{PruneChildren: true})
	}
	return nil
}

// recipeOf reads what the image was made by, empty if not by us, and its id.
func recipeOf(ctx context.Context, cli *client.Client, tag string) (recipe, id string, err error) {
	res, err := cli.ImageInspect(ctx, tag)
	if err != nil {
		return "", "", err
	}
	if res.Config != nil {
		recipe = res.Config.Labels[label]
	}
	return recipe, res.ID, nil
}
