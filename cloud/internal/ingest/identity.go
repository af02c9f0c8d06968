package ingest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// Tags that the tailnet's policy gives to machines.
const (
	TagNode = "tag:sentinel-node"
	TagPi   = "tag:sentinel-pi"
)

// Known is a name that is bound to a key.
type Known struct {
	Name, Site string
	Role       sentinel.Role
	Key        wire.PublicKey
	StableID   string // on the tailnet; empty: not bound to one
}

// Machine is who the tailnet says is calling.
type Machine struct {
	StableID, Name, Login string
	Tags                  []string
}

// Identities knows who may say what. It is safe for concurrent use.
type Identities struct {
	// WhoIs asks the tailnet about an address; nil where there is none, and then only
	// configured keys are known.
	WhoIs func(ctx context.Context, addr string) (Machine, error)
	// Bind makes a first contact's name its own, on disk before it returns.
	Bind  func(ctx context.Context, k Known) error
	Sites []string          // the configured ones; a node must say which if there are several
	Pis   map[string]string // configured Pis' sites
	Allow []string          // logins whose untagged machines may be nodes

	mu      sync.Mutex
	known   map[string]Known
	waiting []string // names refused for want of approval, the newest last
}

// waitingKept bounds the list of those that wait.
const waitingKept = 32

// Learn adds names that are known already: from the configuration and the journal.
func (ids *Identities) Learn(ks ...Known) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	if ids.known == nil {
		ids.known = map[string]Known{}
	}
	for _, k := range ks {
		ids.known[k.Name] = k
	}
}

// Lookup finds a name.
func (ids *Identities) Lookup(name string) (Known, bool) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	k, ok := ids.known[name]
	return k, ok
}

// Keys are the keys of a site's nodes, for its Pis.
func (ids *Identities) Keys(site string) map[string]wire.PublicKey {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	keys := map[string]wire.PublicKey{}
	for _, k := range ids.known {
		if k.Site == site && k.Role == sentinel.Node {
			keys[k.Name] = k.Key
		}
	}
	return keys
}

// Waiting are the names that were refused because they are not known.
func (ids *Identities) Waiting() []string {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	return slices.Clone(ids.waiting)
}

// Direct finds out who sent a request: the tailnet must agree with the signature's name
// where there is one.
func (ids *Identities) Direct(r *http.Request, e *wire.Envelope) (Known, error) {
	known, ok := ids.Lookup(e.Header.Node)
	if ids.WhoIs == nil {
		if !ok {
			return Known{}, ids.refuse(e, "add it to nodes: with its key")
		}
		return known, nil
	}
	who, err := ids.WhoIs(r.Context(), r.RemoteAddr)
	if err != nil {
		return Known{}, &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "whois", Err: fmt.Errorf("ask the tailnet who is calling: %w", err)}
	}
	switch {
	case ok && known.StableID == who.StableID && known.Key == e.Signer:
		return known, nil
	case ok && known.StableID == who.StableID:
		return Known{}, ids.refuse(e, "it is known by another key; "+newKey)
	case ok && known.StableID != "":
		return Known{}, ids.refuse(e, "it is known as another machine; "+newKey)
	}
	k, err := ids.contact(who, e)
	if err != nil {
		return Known{}, err
	}
	if ok && known.Key != k.Key {
		return Known{}, ids.refuse(e, "it is known by another key; "+newKey)
	}
	if err := e.Verify(k.Key); err != nil { // or a name would be bound to a key that nobody holds
		return Known{}, &courier.Fault{Status: http.StatusForbidden, Reason: "forged", Err: err}
	}
	if err := ids.Bind(r.Context(), k); err != nil {
		return Known{}, &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "journal", Err: err}
	}
	ids.Learn(k)
	return k, nil
}

// newKey is what to do about a machine that was set up anew.
const newKey = "if it was set up anew, write its key, which it logs at its start, under nodes: or pi_proxies: in cloud.yaml"

// contact judges a first contact: the name must be the caller's own on the tailnet, and
// the policy must have made it a node or Pi.
func (ids *Identities) contact(who Machine, e *wire.Envelope) (Known, error) {
	k := Known{Name: e.Header.Node, Site: e.Header.Site, Role: sentinel.Node, Key: e.Signer, StableID: who.StableID}
	if k.Site == "" && len(ids.Sites) == 1 {
		k.Site = ids.Sites[0]
	}
	if who.Name != k.Name {
		return Known{}, ids.refuse(e, fmt.Sprintf("the tailnet calls this machine %q; give it that name", who.Name))
	}
	if site, isPi := ids.Pis[k.Name]; isPi {
		if !slices.Contains(who.Tags, TagPi) {
			return Known{}, ids.refuse(e, "a Pi needs "+TagPi)
		}
		k.Role, k.Site = sentinel.Pi, site
		return k, nil
	}
	if !slices.Contains(who.Tags, TagNode) && !slices.Contains(ids.Allow, who.Login) {
		return Known{}, ids.refuse(e, "give it "+TagNode)
	}
	switch {
	case k.Site == "":
		return Known{}, ids.refuse(e, "there are several sites; set site: in node.yaml")
	case !slices.Contains(ids.Sites, k.Site):
		return Known{}, ids.refuse(e, fmt.Sprintf("there is no site %q; set site: in node.yaml to one of cloud.yaml's", k.Site))
	}
	return k, nil
}

func (ids *Identities) refuse(e *wire.Envelope, hint string) error {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	name := e.Header.Node
	ids.waiting = append(slices.DeleteFunc(ids.waiting, func(n string) bool { return n == name }), name)
	if len(ids.waiting) > waitingKept {
		ids.waiting = ids.waiting[1:]
	}
	return &courier.Fault{Status: http.StatusForbidden, Reason: "unknown", Err: fmt.Errorf("%s is not known here", name), Hint: hint}
}
