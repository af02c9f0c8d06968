package brain

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// addressesMost is how many of a Pi's addresses its nodes are told.
const addressesMost = 4

// saying is what a Pi says of itself.
type saying struct{ addresses, lacks []string }

// pis is what the Pis say of themselves. It is safe for concurrent use.
type pis struct {
	mu   sync.Mutex
	said map[string]saying
	has  map[string]string // the bundle on each one's disk, by its hash
}

// piIs takes what a Pi says of itself; the bundles are made anew if that is news.
func (b *Brain) piIs(pi ingest.Known, addresses, lacks []string) {
	b.pis.mu.Lock()
	defer b.pis.mu.Unlock()
	old := b.pis.said[pi.Name]
	if slices.Equal(old.addresses, addresses) && slices.Equal(old.lacks, lacks) {
		return
	}
	if b.pis.said == nil {
		b.pis.said = map[string]saying{}
	}
	b.pis.said[pi.Name] = saying{slices.Clone(addresses), slices.Clone(lacks)}
	select {
	case b.renew <- struct{}{}:
	default: // the loop will
	}
}

// peersOf are a site's Pis as nodes reach them: where the configuration says, or else
// where the Pi itself does.
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
			if !ok {
				continue
			}
			addresses := []string{p.Address}
			if p.Address == "" {
				addresses = b.pis.said[p.Name].addresses
			}
			for _, a := range addresses[:min(len(addresses), addressesMost)] {
				out = append(out, wire.Peer{Name: p.Name, Address: a, Key: known.Key})
			}
		}
	}
	return out
}

// lacking says which credentials a site's Pis do not have; nil if none. A plan that the
// Pi cannot carry out is not armed.
func (b *Brain) lacking(site string) error {
	b.pis.mu.Lock()
	defer b.pis.mu.Unlock()
	for _, s := range b.cfg().Sites {
		for _, p := range s.Pis {
			if lacks := b.pis.said[p.Name].lacks; s.Name == site && len(lacks) > 0 {
				return &courier.Fault{Status: http.StatusConflict, Reason: "lacks",
					Err:  fmt.Errorf("%s does not have %s, and could not carry the plan out", p.Name, strings.Join(lacks, ", ")),
					Hint: "put it where the brain has it: as a credential of the same name, or as the same file"}
			}
		}
	}
	return nil
}
