package ingest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

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
	// Bind makes a name its first contact's own, or a stranger's that somebody approved, on
	// disk before it returns.
	Bind  func(ctx context.Context, k Known, approvedBy string) error
	Rules                  // of the start; Reconfigure puts others in their place
	Now   func() time.Time // for when somebody was seen

	mu      sync.Mutex
	known   map[string]Known
	waiting waiting
}

// Learn adds names that are known already: from the configuration and the journal.
func (ids *Identities) Learn(ks ...Known) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	if ids.known == nil {
		ids.known = map[string]Known{}
	}
	for _, k := range ks {
		ids.known[k.Name] = k
		ids.waiting = slices.DeleteFunc(ids.waiting, func(s Stranger) bool { return s.is(k) })
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

// Direct finds out who sent a request: the tailnet must agree with the signature's name
// where there is one.
func (ids *Identities) Direct(r *http.Request, e *wire.Envelope) (Known, error) {
	known, ok := ids.Lookup(e.Header.Node)
	if ids.WhoIs == nil {
		return ids.byKey(r, e, known, ok)
	}
	who, err := ids.whoIs(r)
	if err != nil {
		return Known{}, err
	}
	if ok && known.StableID == who.StableID && known.Key == e.Signer {
		return known, nil
	}
	s := ids.caller(who, e)
	switch {
	case ok && known.StableID != "" && known.StableID != who.StableID:
		s.Why = "it is known as another machine"
		return Known{}, ids.refuse(e, s, setUpAnew)
	case ok && known.StableID != "":
		s.Why = "it is known by another key"
		return Known{}, ids.refuse(e, s, setUpAnew)
	}
	var todo string
	if s.Why, todo = ids.doubt(who, e, s.Role); s.Why != "" {
		return Known{}, ids.refuse(e, s, todo)
	}
	if ok && known.Key != e.Signer {
		s.Why = "it is known by another key"
		return Known{}, ids.refuse(e, s, setUpAnew)
	}
	if err := e.Verify(e.Signer); err != nil { // or a name would be bound to a key that nobody holds
		return Known{}, &courier.Fault{Status: http.StatusForbidden, Reason: forged, Err: err}
	}
	if err := ids.Bind(r.Context(), s.Known, ""); err != nil {
		return Known{}, &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "journal", Err: err}
	}
	ids.Learn(s.Known)
	return s.Known, nil
}

// setUpAnew is the usual reason for a known name to come with another key or machine.
const setUpAnew = "see that it was you who set it up anew"

// byKey is Direct without a tailnet: only the signature says who is calling. One under a
// name whose key stands in the configuration is that key's, or forged.
func (ids *Identities) byKey(r *http.Request, e *wire.Envelope, known Known, ok bool) (Known, error) {
	if ok && (known.Key == e.Signer || ids.rules().Configured[known.Name] != "") {
		return known, nil
	}
	s := ids.caller(Machine{}, e)
	s.From = host(r.RemoteAddr)
	s.Why = "nobody has said that it belongs here"
	if ok {
		s.Why = "it is known by another key"
	}
	return Known{}, ids.refuse(e, s, "add it to nodes: with its key")
}

// caller is who sends a message directly, as an approval would bind it.
func (ids *Identities) caller(who Machine, e *wire.Envelope) Stranger {
	s := Stranger{Known: Known{Name: e.Header.Node, Site: e.Header.Site, Role: sentinel.Node, Key: e.Signer, StableID: who.StableID},
		From: who.Name + " on the tailnet"}
	rules := ids.rules()
	if site, isPi := rules.Pis[s.Name]; isPi {
		s.Role, s.Site = sentinel.Pi, site
		if !slices.Contains(who.Tags, TagPi) {
			s.Hold = "a Pi needs " + TagPi
		}
		return ids.held(s)
	}
	switch {
	case s.Site == "" && len(rules.Sites) == 1:
		s.Site = rules.Sites[0]
	case !slices.Contains(rules.Sites, s.Site):
		s.Site = ""
	}
	return ids.held(s)
}

// doubt says why a first contact is not bound by itself, and what to do about it: the name
// must be the caller's own on the tailnet, and the policy must have made it a node or Pi.
func (ids *Identities) doubt(who Machine, e *wire.Envelope, role sentinel.Role) (why, todo string) {
	site, rules := e.Header.Site, ids.rules()
	switch {
	case who.Name != e.Header.Node:
		return fmt.Sprintf("the tailnet calls this machine %q", who.Name), "give it that name"
	case role == sentinel.Pi:
		if !slices.Contains(who.Tags, TagPi) {
			return "it has no " + TagPi, "give it " + TagPi
		}
	case !slices.Contains(who.Tags, TagNode) && !slices.Contains(rules.Allow, who.Login):
		return "it has no " + TagNode, "give it " + TagNode
	case site == "" && len(rules.Sites) > 1:
		return "there are several sites, and it names none", "set site: in node.yaml"
	case site != "" && !slices.Contains(rules.Sites, site):
		return fmt.Sprintf("there is no site %q", site), "set site: in node.yaml to one of cloud.yaml's"
	}
	return "", ""
}
