//go:build !terminal_nomodal

// Sandboxes whose owners are dead.

package modal

import (
	"context"
	"errors"
	"strconv"
	"strings"

	sdk "github.com/modal-labs/modal-client/go"

	"github.com/terminal-go/terminal/internal/procfs"
	"github.com/terminal-go/terminal/internal/spawn"
)

// removeOrphans terminates the sandboxes of this library whose owner is dead.
func (cfg Config) removeOrphans(ctx context.Context, w workspace, app *sdk.App, self procfs.Owner) error {
	ctx, cancel := context.WithTimeout(ctx, spawn.LingerLimit)
	defer cancel()
	list, err := w.Sandboxes.List(ctx, &sdk.SandboxListParams{
		AppID: app.AppID, Environment: cfg.Environment, Tags: map[string]string{TagPrefix + "host": self.Place()},
	})
	if err != nil {
		return err
	}
	var errs []error
	for sb, err := range list {
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		tags, err := sb.GetTags(ctx, nil)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		pid, started, _ := strings.Cut(tags[TagPrefix+"owner"], ".")
		number, err := strconv.Atoi(pid)
		o := procfs.Owner{Host: self.Host, Boot: self.Boot, Namespace: self.Namespace, PID: number, Started: started}
		if err == nil && number > 0 && o.IsDead(self) {
			errs = append(errs, terminate(ctx, sb))
		}
	}
	return errors.Join(errs...)
}
