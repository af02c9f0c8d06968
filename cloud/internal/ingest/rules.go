package ingest

import (
	"slices"

	"sentinel.home.arpa/shared/wire"
)

// Rules are what the configuration says of who may speak. They are not changed once they
// are in use.
type Rules struct {
	Sites []string          // a node must say which if there are several
	Pis   map[string]string // their sites
	Allow []string          // logins whose untagged machines may be nodes
	// Configured are the keys that the configuration names; they count more than any other.
	Configured map[string]wire.PublicKey
}

func (ids *Identities) rules() Rules {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	return ids.Rules
}

// Reconfigure puts other rules, and all names that are known by them, in the place of those
// before, at once: who stays known is known at every moment.
func (ids *Identities) Reconfigure(r Rules, known []Known) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	old := ids.Rules
	ids.Rules, ids.known = r, map[string]Known{}
	for _, k := range known {
		ids.known[k.Name] = k
	}
	ids.waiting = slices.DeleteFunc(ids.waiting, func(s Stranger) bool {
		// What was found out about who waits may be wrong by now; it says so again itself.
		return s.is(ids.known[s.Name]) || s.Site != "" && !slices.Contains(r.Sites, s.Site) ||
			old.Pis[s.Name] != r.Pis[s.Name] || old.Configured[s.Name] != r.Configured[s.Name]
	})
}
