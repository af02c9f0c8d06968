package brain

import (
	"slices"
	"sync"
	"time"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

const (
	// addressesMost is how many of a Pi's addresses its nodes are told.
	addressesMost = 4
	// peersMost is how many of all Pis of a site.
	peersMost = 16
)

// saying is what a Pi says of itself.
type saying struct {
	addresses, lacks []string
	heeds            shutdown.Epoch
	calls            string // the hash of its list of calls
	tells            bool   // it sends notices too
}

// pis is what the Pis say of themselves. It is safe for concurrent use.
type pis struct {
	mu   sync.Mutex
	said map[string]saying
	has  map[string]string // the bundle on each one's disk, by its hash
	// gaveArmed is when each was last given an armed plan.
	gaveArmed map[string]time.Time
}

// piIs takes what a Pi says of itself; the bundles are made anew if that is news.
func (b *Brain) piIs(pi ingest.Known, says wire.PiStatus) {
	b.pis.mu.Lock()
	defer b.pis.mu.Unlock()
	old := b.pis.said[pi.Name]
	if b.pis.said == nil {
		b.pis.said = map[string]saying{}
	}
	b.pis.said[pi.Name] = saying{slices.Clone(says.Addresses), slices.Clone(says.Lacks), says.Heeds, says.Calls, says.Tells}
	if slices.Equal(old.addresses, says.Addresses) && slices.Equal(old.lacks, says.Lacks) {
		return
	}
	select {
	case b.renew <- struct{}{}:
	default: // the loop will
	}
}

// peersOf are a site's Pis as nodes and one another reach them: where the configuration says, or
// else where the Pi itself does. Of several all stand there, in the configured order, also one
// that is not heard of yet: the order is their turn to act (rule G6).
func (b *Brain) peersOf(site string) []wire.Peer {
	b.pis.mu.Lock()
	defer b.pis.mu.Unlock()
	var out []wire.Peer
	for _, s := range b.cfg().Sites {
		if s.Name != site {
			continue
		}
		for _, p := range s.Pis {
			known, ok := b.identities.Lookup(p.Name)
			addresses := []string{p.Address}
			if p.Address == "" {
				addresses = b.pis.said[p.Name].addresses
			}
			if (!ok || len(addresses) == 0) && len(s.Pis) > 1 {
				out = append(out, wire.Peer{Name: p.Name, Key: known.Key})
			}
			if !ok {
				continue
			}
			for _, a := range addresses[:min(len(addresses), addressesMost, max(peersMost/len(s.Pis), 1))] {
				out = append(out, wire.Peer{Name: p.Name, Address: a, Key: known.Key})
			}
		}
	}
	return out
}
