package brain

import (
	"time"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/shared/wire"
)

// crossesFor is for how long after a Pi was given an armed plan an older word of it may still come, and the
// plan not yet be on its disk: what it says of a disarmed one until then says nothing of what it has.
const crossesFor = 12 * time.Second

// named notes which bundle a Pi says is on its disk. A message that names none says
// nothing about it; nor does one that names the disarmed one while an armed may be on its way.
func (b *Brain) named(pi ingest.Known, bundle string, own bundle) {
	if bundle == "" {
		return
	}
	b.pis.mu.Lock()
	defer b.pis.mu.Unlock()
	if b.pis.has == nil {
		b.pis.has = map[string]string{}
	}
	gave, given := b.pis.gaveArmed[pi.Name]
	if given && !own.Armed && bundle == own.hash && b.clock.Now().Sub(gave) < crossesFor {
		delete(b.pis.has, pi.Name)
		return
	}
	b.pis.has[pi.Name] = bundle
}

// gave notes which bundle a Pi is given.
func (b *Brain) gave(pi ingest.Known, given *wire.Bundle) {
	if !given.Armed {
		return
	}
	b.pis.mu.Lock()
	defer b.pis.mu.Unlock()
	if b.pis.gaveArmed == nil {
		b.pis.gaveArmed = map[string]time.Time{}
	}
	b.pis.gaveArmed[pi.Name] = b.clock.Now()
}

// unconfirmed are the site's Pis of which it is not known that they have the plan as it
// stands, armed or not, on their disks (rule S10).
func (b *Brain) unconfirmed(site string, armed bool) []string {
	bundles := b.bundles.Load()
	if bundles == nil {
		return nil // the first turn: nobody has asked yet
	}
	own := (*bundles)[site]
	b.pis.mu.Lock()
	defer b.pis.mu.Unlock()
	var out []string
	for _, s := range b.core().Sites {
		for _, pi := range s.Pis {
			if s.Name == site && (own.Armed != armed || b.pis.has[pi] != own.hash) {
				out = append(out, pi)
			}
		}
	}
	return out
}
