//go:build !terminal_nodocker

package terminal

import (
	"context"
	"errors"

	"github.com/moby/moby/client"
)

// removeOrphans removes the containers of this library whose owner is dead.
func removeOrphans(ctx context.Context, dm daemon, me owner) error {
	ctx, cancel := context.WithTimeout(ctx, lingerLimit)
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
		if o, ok := parseOwner(c.Labels[LabelPrefix+"owner"]); ok && o.isDead(me) {
			errs = append(errs, remove(ctx, dm, c.ID))
		}
	}
	return errors.Join(errs...)
}
