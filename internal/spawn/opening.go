// What a Terminal tells a backend when it opens an environment.

package spawn

import (
	"context"
	"log/slog"
)

// An Opening is what a Terminal tells a backend about itself when it opens an
// environment.
type Opening struct {
	Dir  string                // working directory of the commands; "" if it is not known
	Env  map[string]string     // variables of every command
	Log  *slog.Logger          // never nil
	Once func(key string) bool // reports whether this is the first call with key
}

type openingKey struct{}

// WithOpening returns a context that carries o to OpeningFrom.
func WithOpening(ctx context.Context, o Opening) context.Context {
	return context.WithValue(ctx, openingKey{}, o)
}

// OpeningFrom returns the Opening in ctx. For a context that no Terminal has
// made it returns one that logs nothing and for which every call of Once is the
// first.
func OpeningFrom(ctx context.Context) Opening {
	o, ok := ctx.Value(openingKey{}).(Opening)
	if !ok {
		o = Opening{Log: slog.New(slog.DiscardHandler), Once: func(string) bool { return true }}
	}
	return o
}
