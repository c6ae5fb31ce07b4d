// Package testimage makes the images that the tests run containers from. It
// uses files of this machine and, for Debian, an apt mirror; it pulls nothing.
//
// The bash image has two recipes. "debootstrap" needs root, debootstrap and a
// mirror. "files" copies this machine's own programs with the libraries that
// they need; any user who may talk to the Docker Engine can make it. Either
// recipe fails, and names what is missing, unless the image has every program
// that the tests run.
//
// A tag ends with the recipe's name and a hash of what goes into the image, so
// two recipes never share an image. All functions are safe for parallel test
// processes and reuse an image that an earlier one made.
package testimage

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

const (
	busyboxRepo = "terminal-test/busybox"
	debianRepo  = "terminal-test/debian"
	noShellRepo = "terminal-test/noshell"
	noLaneRepo  = "terminal-test/nolane"
	exitsRepo   = "terminal-test/exits"

	// DefaultTag is the image the library uses when it is given none.
	DefaultTag = "python:3.11-slim"
)

const (
	// RequireEnv lists, separated by commas, what the machine must have. If
	// "docker" is among it, a test that lacks Docker or an image fails instead
	// of being skipped.
	RequireEnv = "TERMINAL_TEST_REQUIRE"

	// RecipeEnv selects the recipe of Debian: "debootstrap" or "files". By
	// default the second is used where the first fails.
	RecipeEnv = "TERMINAL_TEST_RECIPE"

	// DebianEnv and BusyboxEnv name images that the Engine already has, to be
	// used as Debian and Busybox. They must have the same users and programs.
	DebianEnv = "TERMINAL_TEST_IMAGE"
	// BusyboxEnv is the one for Busybox.
	BusyboxEnv = "TERMINAL_TEST_BUSYBOX_IMAGE"
)

// label is the image label that holds the recipe. An image whose label is not
// the one of its tag is replaced. An image without the label is not ours.
const label = "terminal-test.recipe"

// makeLimit is the time limit for making one image, with all recipes tried.
const makeLimit = 8 * time.Minute

// Engine returns a client of the Engine at DOCKER_HOST, or at the default
// socket, and closes it when the test ends. If no Engine answers, it skips the
// test.
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

// Busybox returns the tag of an image that has only busybox (a sh, no bash) and
// three users: root, nobody, and user (1000).
func Busybox(t testing.TB) string {
	t.Helper()
	if tag := os.Getenv(BusyboxEnv); tag != "" {
		return given(t, BusyboxEnv, tag)
	}
	return need(t, busyboxRepo, busybox)
}

// NoShell returns the tag of an image whose only program is /bin/sleep, which
// is also its command.
func NoShell(t testing.TB) string {
	t.Helper()
	return need(t, noShellRepo, noShell)
}

// NoLane returns the tag of an image like Busybox whose sh runs scripts given
// with -c, but reads its input and does nothing when it is started as the
// shell of a lane.
func NoLane(t testing.TB) string {
	t.Helper()
	return need(t, noLaneRepo, noLane)
}

// Exits returns the tag of an image like Busybox whose entrypoint exits at once
// with status 1.
func Exits(t testing.TB) string {
	t.Helper()
	return need(t, exitsRepo, exits)
}

// Debian returns the tag of an image with bash and the usual programs, made by
// debootstrap or from this machine's programs.
func Debian(t testing.TB) string {
	t.Helper()
	if tag := os.Getenv(DebianEnv); tag != "" {
		return given(t, DebianEnv, tag)
	}
	switch recipe := os.Getenv(RecipeEnv); recipe {
	case "":
		return need(t, debianRepo, debootstrap, files)
	case "debootstrap":
		return need(t, debianRepo, debootstrap)
	case "files":
		return need(t, debianRepo, files)
	default:
		t.Fatalf("%s=%q: no such recipe", RecipeEnv, recipe)
		return ""
	}
}

// Default returns DefaultTag. If that image has not been pulled, it tags
// Debian's image, which may lack python, with DefaultTag. It does so only where
// RequireEnv is set, because on other machines the user expects the real image
// under that tag.
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

// lacks skips the test, or fails it if Docker is required.
func lacks(t testing.TB, format string, args ...any) {
	t.Helper()
	if required() {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// common are the programs that every image with a shell must have: those of
// the library's scripts and of the tests. kill is left out: it is a builtin of
// each shell, and Debian's program is in a package that is not essential.
var common = strings.Fields(`
	awk cat chmod chown cp cut date dd df dirname du echo env expr false find grep head hostname id ln ls
	mkdir mkfifo mktemp mv nl nproc od printf pwd readlink realpath rm rmdir sed seq setsid sh sleep sort stat
	stty su sync tail tar tee test timeout touch tr true uname uniq wc whoami xargs yes`)

var (
	busyboxPrograms = append([]string{"ps"}, common...)
	debianPrograms  = append([]string{"bash", "dash", "nohup", "setpriv", "useradd"}, common...)
)

// image describes how to make an image.
type image struct {
	recipe   string // from recipeID; the image's label and the end of its tag
	changes  []string
	programs []string                                             // what it must have
	rootfs   func(ctx context.Context) (io.ReadSeekCloser, error) // its files, as a tar
}

// recipeID returns the recipe's name and a hash of inputs, which must be all
// that decides what is in the image.
func recipeID(name string, inputs ...any) string {
	sum := sha256.Sum256(fmt.Append(nil, inputs...))
	return fmt.Sprintf("%s-%x", name, sum[:8])
}

// given returns tag, which the variable env names, if the Engine has the image.
func given(t testing.TB, env, tag string) string {
	t.Helper()
	if _, _, err := recipeOf(t.Context(), Engine(t), tag); err != nil {
		lacks(t, "%s: %v", env, err)
	}
	return tag
}

// need returns the tag of the first image that is there or can be made.
func need(t testing.TB, repo string, plans ...func() (image, error)) string {
	t.Helper()
	cli := Engine(t)
	ctx, cancel := context.WithTimeout(t.Context(), makeLimit)
	defer cancel()
	var errs []error
	for _, plan := range plans {
		img, err := plan()
		if err == nil {
			tag := repo + ":" + img.recipe
			if err = ensure(ctx, cli, tag, img); err == nil {
				if len(errs) > 0 {
					t.Logf("%s is used: %v", tag, errors.Join(errs...))
				}
				return tag
			}
		}
		errs = append(errs, err)
	}
	lacks(t, "no image %s: %v", repo, errors.Join(errs...))
	return ""
}

// check reads a tar and returns an error that names the programs it lacks.
func check(rootfs io.Reader, programs []string) error {
	have := make(map[string]bool)
	for r := tar.NewReader(rootfs); ; {
		hdr, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		dir, name := path.Split(path.Clean("/" + hdr.Name))
		switch strings.TrimPrefix(dir, "/usr") {
		case "/bin/", "/sbin/":
			have[name] = true
		}
	}
	missing := slices.DeleteFunc(slices.Clone(programs), func(name string) bool { return have[name] })
	if len(missing) > 0 {
		return fmt.Errorf("it would lack %s", strings.Join(missing, ", "))
	}
	return nil
}

// ensure makes the image under tag unless the one that is there has its recipe.
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
	if err := check(rootfs, img.programs); err != nil {
		return fmt.Errorf("%s: %w", img.recipe, err)
	}
	if _, err := rootfs.Seek(0, io.SeekStart); err != nil {
		return err
	}
	// Podman does not remove quotes from a label, so the recipe has no spaces.
	changes := append([]string{"LABEL " + label + "=" + img.recipe}, img.changes...)
	source := client.ImageImportSource{Source: rootfs, SourceName: "-"}
	progress, err := cli.ImageImport(ctx, source, tag, client.ImageImportOptions{Changes: changes})
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	defer progress.Close()
	// The status is 200 even if the import fails: the error is in the stream.
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
	if old != "" { // untagged now; removal fails if a container uses it
		_, _ = cli.ImageRemove(ctx, old, client.ImageRemoveOptions{PruneChildren: true})
	}
	return nil
}

// recipeOf returns the image's recipe, which is empty if this package did not
// make it, and its ID.
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
