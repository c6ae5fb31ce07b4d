//go:build !terminal_nodocker

// This file removes containers whose owner died without closing them.

package docker

import (
	"context"
	"errors"

	"github.com/moby/moby/client"

	"github.com/terminal-go/terminal/internal/procfs"
	"github.com/terminal-go/terminal/internal/spawn"
)

// removeOrphans removes the containers of this library whose owner is dead. A
// label names the owner.
func removeOrphans(ctx context.Context, dm daemon, self procfs.Owner) error {
	ctx, cancel := context.WithTimeout(ctx, spawn.LingerLimit)
	defer cancel()
	list, err := dm.ContainerList(ctx, client.ContainerListOptions{
		All:     true,
		Filters: make(client.Filters).Add("label", LabelPrefix+"owner"),
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range list.Items {
		if o, ok := procfs.ParseOwner(c.Labels[LabelPrefix+"owner"]); ok && o.IsDead(self) {
			errs = append(errs, remove(ctx, dm, c.ID))
		}
	}
	return errors.Join(errs...)
}
