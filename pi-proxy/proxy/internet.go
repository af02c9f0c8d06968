package proxy

import (
	"errors"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/brainwatch"
	"sentinel.home.arpa/pi-proxy/internal/guardian"
)

var errNotForFailure = errors.New("the plan does not begin for a failure here")

// outside tells the guardian what is known of the internet (rule S0).
func (g *guard) outside(now time.Time) []guardian.Event {
	o := g.p.outside.stands()
	return g.core.Outside(now, guardian.Outside{Up: o.Internet == brainwatch.Up, Out: o.Internet == brainwatch.Out, Silent: o.Silent})
}

// onFailure reports whether the brain may have the site shut down for failed nodes, so also on mains.
func (p *Proxy) onFailure() bool {
	s := p.stored.Load()
	return s != nil && s.Bundle.Armed && s.Bundle.OnFailure
}

// mayLendForFailure is mayLend for a run that was begun for failed nodes.
func (p *Proxy) mayLendForFailure() error {
	if !p.onFailure() {
		return errNotForFailure
	}
	return nil
}
