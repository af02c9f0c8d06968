package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// waitingKept bounds the list of those that wait.
const waitingKept = 32

// Stranger is somebody who was refused and waits for an admin (rule R8). Its signature
// was verified: it holds the key.
type Stranger struct {
	Known              // what an approval would bind; Site is empty if it is not clear
	From        string // the machine, the address, or the Pi through which it came
	Via         string // that Pi; empty: it came directly
	Why         string // it was refused
	Hold        string // why an approval alone does not help; empty: it does
	First, Last time.Time
}

// origin is what one machine cannot have several of, as far as can be told.
func (s *Stranger) origin() string { return cmp.Or(s.StableID, s.From) }

func (s *Stranger) same(o *Stranger) bool {
	return s.Name == o.Name && s.Key == o.Key && s.StableID == o.StableID && s.Via == o.Via
}

// is reports whether the stranger is no stranger any more.
func (s *Stranger) is(k Known) bool {
	return s.Name == k.Name && s.Key == k.Key && (s.StableID == "" || s.StableID == k.StableID)
}

// waiting is a bounded list, the one that was heard longest ago first.
type waiting []Stranger

func (w *waiting) add(s Stranger) {
	if i := slices.IndexFunc(*w, func(o Stranger) bool { return o.same(&s) }); i >= 0 {
		s.First = (*w)[i].First
		*w = slices.Delete(*w, i, i+1)
	}
	*w = append(*w, s)
	if len(*w) > waitingKept {
		i := w.noisiest()
		*w = slices.Delete(*w, i, i+1)
	}
}

// noisiest is who makes room: of the machine that holds the most places, the name that
// does, and of that the one heard longest ago. So who comes with ever new keys or names
// displaces only what it said itself.
func (w *waiting) noisiest() int {
	machines, names := map[string]int{}, map[string]int{}
	for _, s := range *w {
		machines[s.origin()]++
		names[s.origin()+" "+s.Name]++
	}
	worst := 0
	for i := range *w {
		a, b := &(*w)[i], &(*w)[worst]
		if cmp.Or(cmp.Compare(machines[a.origin()], machines[b.origin()]), cmp.Compare(names[a.origin()+" "+a.Name], names[b.origin()+" "+b.Name])) > 0 {
			worst = i
		}
	}
	return worst
}

// Waiting are those that were refused because they are not known, by name.
func (ids *Identities) Waiting() []Stranger {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	out := slices.Clone([]Stranger(ids.waiting))
	slices.SortFunc(out, func(a, b Stranger) int { return cmp.Or(strings.Compare(a.Name, b.Name), a.First.Compare(b.First)) })
	return out
}

// refuse lists who sent a message as waiting, if it was really signed by the key it names.
func (ids *Identities) refuse(e *wire.Envelope, s Stranger, todo string) error {
	if err := e.Verify(e.Signer); err != nil {
		return &courier.Fault{Status: http.StatusForbidden, Reason: forged, Err: err}
	}
	ids.mu.Lock()
	defer ids.mu.Unlock()
	s.First = ids.Now()
	s.Last = s.First
	for _, k := range ids.known {
		if k.Key == s.Key && k.Name != s.Name {
			s.Why += ", and its key is that of " + k.Name
		}
	}
	if !s.is(ids.known[s.Name]) { // or it was approved this instant
		ids.waiting.add(s)
	}
	hint := cmp.Or(s.Hold, todo+fmt.Sprintf("; or on the brain: sentinel-cloud approve %s --key %s", s.Name, s.Key))
	return &courier.Fault{Status: http.StatusForbidden, Reason: "unknown", Err: fmt.Errorf("%s is not known here: %s", s.Name, s.Why), Hint: hint}
}

// Approval is an admin's word that a stranger may speak as its name from now on.
type Approval struct {
	Name string
	Key  wire.PublicKey // empty: the only one that waits under the name, if that is safe
	Site string         // empty: the stranger's own
	By   string
}

// Approve binds a name to the key and machine with which it waits, on disk before it
// returns. What the name was bound to before counts no more. Its errors are courier.Faults.
func (ids *Identities) Approve(ctx context.Context, a Approval) error {
	s, err := ids.awaited(a)
	if err != nil {
		return err
	}
	if err := ids.nameless(a, s); err != nil {
		return err
	}
	k := s.Known
	if k.Site == "" {
		k.Site = a.Site
	}
	sites := ids.rules().Sites
	switch {
	case s.Hold != "":
		return conflict(fmt.Sprintf("approving %s would not help", s.Name), s.Hold)
	case k.Site == "":
		return conflict(fmt.Sprintf("%s does not say at which site it is", s.Name), "say --site, one of "+strings.Join(sites, ", "))
	case a.Site != "" && a.Site != k.Site:
		return conflict(fmt.Sprintf("%s is at %s, not at %.80q", s.Name, k.Site, a.Site), "a node's site: stands in its node.yaml")
	case !slices.Contains(sites, k.Site):
		return conflict(fmt.Sprintf("there is no site %.80q", k.Site), "say --site, one of "+strings.Join(sites, ", "))
	}
	if err := ids.Bind(ctx, k, a.By); err != nil {
		return &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "journal", Err: err}
	}
	ids.Learn(k)
	return nil
}

// awaited is the one stranger that an approval means.
func (ids *Identities) awaited(a Approval) (Stranger, error) {
	var named, found []Stranger
	for _, s := range ids.Waiting() {
		if s.Name == a.Name {
			named = append(named, s)
			if a.Key == "" || s.Key == a.Key {
				found = append(found, s)
			}
		}
	}
	if len(found) == 0 {
		hint := "a machine waits once it has posted something and was refused; `sentinel-cloud approve` lists those that do"
		if len(named) > 0 {
			hint = which(named)
		}
		return Stranger{}, &courier.Fault{Status: http.StatusNotFound, Reason: "unknown", Err: fmt.Errorf("no machine %.80q waits to be approved", a.Name), Hint: hint}
	}
	keys, machines := map[wire.PublicKey]bool{}, map[string]bool{}
	best := found[0]
	for _, s := range found {
		keys[s.Key] = true
		if s.StableID != "" { // more is known of it than of what a Pi relayed
			machines[s.StableID], best = true, s
		}
	}
	switch {
	case len(keys) > 1:
		return Stranger{}, conflict(fmt.Sprintf("several keys wait as %s", a.Name), which(found))
	case len(machines) > 1:
		return Stranger{}, conflict(fmt.Sprintf("several machines wait as %s with one key", a.Name),
			"one is a copy of another; remove the key from the copy's state directory, and it makes one of its own")
	}
	return best, nil
}

// nameless refuses an approval that names no key where that is all that tells a machine from
// somebody else on its LAN: who makes noise enough is the only one that waits.
func (ids *Identities) nameless(a Approval, s Stranger) error {
	bound, ok := ids.Lookup(s.Name)
	switch {
	case a.Key != "" || s.Hold != "":
		return nil
	case s.Via != "":
		return conflict(fmt.Sprintf("%s was only heard through %s, so that its key must be named", s.Name, s.Via), which([]Stranger{s}))
	case ok && bound.Key != s.Key:
		return conflict(fmt.Sprintf("%s is known by another key, so that the new one must be named", s.Name), which([]Stranger{s}))
	}
	return nil
}

// which lists the keys to choose from.
func which(ss []Stranger) string {
	var keys []string
	for _, s := range ss {
		keys = append(keys, fmt.Sprintf("--key %s (from %s)", s.Key, s.From))
	}
	return "say which: " + strings.Join(keys, " or ")
}

func conflict(what, hint string) error {
	return &courier.Fault{Status: http.StatusConflict, Reason: "unclear", Err: errors.New(what), Hint: hint}
}

// relayedStranger lists who signed a message that a Pi relays, if it may be a node of the
// Pi's site: a Pi itself is never met that way.
func (ids *Identities) relayedStranger(pi Known, e *wire.Envelope, why string) error {
	name := e.Header.Node
	if _, isPi := ids.rules().Pis[name]; isPi {
		return fmt.Errorf("%s is a Pi, and is not relayed", name)
	}
	s := Stranger{Known: Known{Name: name, Site: pi.Site, Role: sentinel.Node, Key: e.Signer}, From: "the LAN of " + pi.Name, Via: pi.Name, Why: why}
	return ids.refuse(e, s, "give its key to the brain")
}

// held notes what an approval cannot change: a key that stands in the configuration counts
// more than any other.
func (ids *Identities) held(s Stranger) Stranger {
	if key := ids.rules().Configured[s.Name]; key != "" && key != s.Key {
		s.Hold = "its key stands in cloud.yaml, and is another one; write the new one there"
	}
	return s
}
