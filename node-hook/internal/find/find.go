// Package find keeps looking for the brains on the tailnet: regularly, and when one does
// not answer.
//
// It knows no way to look, and must not import the packages that do.
package find

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"sentinel.home.arpa/shared/wire"
)

// Tag marks the brains of a tailnet.
const Tag = "tag:sentinel-brain"

const (
	lookupEvery = 30 * time.Second
	lookupGap   = 5 * time.Second // between two look-ups that failed posts ask for
)

// Finder looks the brains up every 30 s and when it is nudged, and every 5 s while there is
// none: a machine that has just joined the tailnet is not to wait.
type Finder struct {
	lookup func(ctx context.Context) ([]wire.Peer, error)
	found  func(brains []wire.Peer, err error)
	log    *slog.Logger
	nudge  chan struct{}
	said   string
}

// New makes a finder; found hears the outcome of each look-up, from one goroutine.
func New(lookup func(ctx context.Context) ([]wire.Peer, error), found func([]wire.Peer, error), log *slog.Logger) *Finder {
	return &Finder{lookup: lookup, found: found, log: log, nudge: make(chan struct{}, 1)}
}

// Nudge asks for a look-up soon, since a brain does not answer. It never blocks.
func (f *Finder) Nudge() {
	select {
	case f.nudge <- struct{}{}:
	default:
	}
}

// Run looks up until ctx ends.
func (f *Finder) Run(ctx context.Context) error {
	for {
		brains, err := f.lookup(ctx)
		if ctx.Err() != nil {
			return nil
		}
		f.found(brains, err)
		f.tell(brains, err)
		if !f.wait(ctx, len(brains) == 0) {
			return nil
		}
	}
}

func (f *Finder) wait(ctx context.Context, none bool) bool {
	gap, due := time.NewTimer(lookupGap), time.NewTimer(lookupEvery)
	defer gap.Stop()
	defer due.Stop()
	select {
	case <-gap.C:
	case <-ctx.Done():
		return false
	}
	if none {
		return true
	}
	select {
	case <-due.C:
	case <-f.nudge:
	case <-ctx.Done():
		return false
	}
	return true
}

// tell logs what changed since the last look-up, not each one.
func (f *Finder) tell(brains []wire.Peer, err error) {
	now := fmt.Sprint(brains)
	if err != nil {
		now = err.Error()
	}
	if now == f.said {
		return
	}
	f.said = now
	switch {
	case err != nil:
		f.log.Warn("brains cannot be looked up; those known before are kept", "err", err)
	case len(brains) == 0:
		f.log.Warn("the tailnet shows no brain to this machine", "tag", Tag)
	default:
		f.log.Info("brains found", "count", len(brains), "first", brains[0].Name, "address", brains[0].Address)
	}
}
