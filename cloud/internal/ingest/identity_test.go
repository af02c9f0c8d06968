package ingest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// onTailnet is a bench whose callers are who the tailnet says; nobody is known yet.
type onTailnet struct {
	*bench
	who   Machine
	whose error
	bound []Known
	by    string // who approved the last one
	disk  error
}

func newTailnet(t *testing.T) *onTailnet {
	o := &onTailnet{bench: newBench(t)}
	o.ids.known, o.ids.Configured = nil, map[string]wire.PublicKey{}
	o.ids.Sites, o.ids.Allow = []string{"home"}, []string{"alex@example.org"}
	o.ids.WhoIs = func(context.Context, string) (Machine, error) { return o.who, o.whose }
	o.ids.Bind = func(_ context.Context, k Known, by string) error {
		if o.disk != nil {
			return o.disk
		}
		o.bound, o.by = append(o.bound, k), by
		return nil
	}
	return o
}

func tagged(name, id string, tags ...string) Machine {
	return Machine{Name: name, StableID: id, Tags: tags}
}

// refuse posts a heartbeat that must be refused, and checks that nothing came of it.
func (o *onTailnet) refuse(name, by string, status int, hint string) {
	o.Helper()
	o.counted()
	m := wire.Heartbeat{Header: o.header(name)}
	body := o.refusedWith(o.post(courier.PathHeartbeat, bytes.NewReader(o.seal(wire.KindHeartbeat, m, by))), status)
	if !strings.Contains(body.Hint+body.Error, hint) {
		o.Errorf("the answer %+v does not say %q", body, hint)
	}
	if len(o.bound) > 0 || len(o.taken()) > 0 || len(o.table.Site("home")) > 0 {
		o.Errorf("it changed something: bound %v", o.bound)
	}
	if n := len(o.counted()); n != 1 {
		o.Errorf("%d reasons counted", n)
	}
}

// TestR8_FirstContact binds a machine of the tailnet by tag or login, on disk before its
// answer, and everybody else waits for an admin.
func TestR8_FirstContact(t *testing.T) {
	for _, tt := range []struct {
		name string
		who  Machine
		node string
		site string // that it names
		want Known  // zero: refused
		hint string
	}{
		{name: "a tagged node", who: tagged("pve1", "n1", TagNode), node: "pve1", want: Known{Name: "pve1", Site: "home", Role: sentinel.Node, StableID: "n1"}},
		{name: "a tagged node that names its site", who: tagged("pve1", "n1", TagNode), node: "pve1", site: "home", want: Known{Name: "pve1", Site: "home", Role: sentinel.Node, StableID: "n1"}},
		{name: "an allowed login", who: Machine{Name: "pve1", StableID: "n1", Login: "alex@example.org"}, node: "pve1", want: Known{Name: "pve1", Site: "home", Role: sentinel.Node, StableID: "n1"}},
		{name: "a Pi", who: tagged("pi", "p1", TagPi), node: "pi", want: Known{Name: "pi", Site: "home", Role: sentinel.Pi, StableID: "p1"}},
		{name: "another tailnet name", who: tagged("laptop", "n1", TagNode), node: "pve1", hint: "give it that name; or on the brain: sentinel-cloud approve pve1"},
		{name: "no tag", who: tagged("pve1", "n1"), node: "pve1", hint: TagNode},
		{name: "another tag", who: tagged("pve1", "n1", "tag:web"), node: "pve1", hint: TagNode},
		{name: "another login", who: Machine{Name: "pve1", StableID: "n1", Login: "eve@example.org"}, node: "pve1", hint: TagNode},
		{name: "no login, and an empty one is not allowed", who: Machine{Name: "pve1", StableID: "n1"}, node: "pve1", hint: TagNode},
		{name: "a Pi without its tag", who: tagged("pi", "p1", TagNode), node: "pi", hint: "a Pi needs " + TagPi},
		{name: "a Pi that is not configured", who: tagged("pi2", "p2", TagPi), node: "pi2", hint: TagNode},
		{name: "a site that is not configured", who: tagged("pve1", "n1", TagNode), node: "pve1", site: "hmoe", hint: "set site: in node.yaml to one of cloud.yaml's"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newTailnet(t)
			o.who = tt.who
			o.keys[tt.node] = o.newKey()
			h := o.header(tt.node)
			h.Site = tt.site
			if tt.want == (Known{}) {
				m := wire.Heartbeat{Header: h}
				body := o.refusedWith(o.post(courier.PathHeartbeat, bytes.NewReader(o.seal(wire.KindHeartbeat, m, tt.node))), http.StatusForbidden)
				if !strings.Contains(body.Hint, tt.hint) {
					t.Errorf("the hint is %q", body.Hint)
				}
				o.waits(tt.node)
				if len(o.bound) > 0 || len(o.taken()) > 0 || len(o.table.Site("home")) > 0 {
					t.Error("it changed something")
				}
				return
			}
			tt.want.Key = o.keys[tt.node].PublicKey()
			o.send(courier.PathHeartbeat, o.seal(wire.KindHeartbeat, wire.Heartbeat{Header: h}, tt.node))
			o.send(courier.PathHeartbeat, o.heartbeat(tt.node))
			if diff := cmp.Diff([]Known{tt.want}, o.bound); diff != "" {
				t.Errorf("bound (-want +got):\n%s", diff)
			}
			if len(o.ids.Waiting()) > 0 {
				t.Errorf("waiting: %v", o.ids.Waiting())
			}
		})
	}
}

func TestR8_SeveralSites(t *testing.T) {
	o := newTailnet(t)
	o.ids.Sites = []string{"home", "office"}
	o.who = tagged("pve1", "n1", TagNode)
	o.refuse("pve1", "pve1", http.StatusForbidden, "set site: in node.yaml")
	h := o.header("pve1")
	h.Site = "office"
	o.send(courier.PathHeartbeat, o.seal(wire.KindHeartbeat, wire.Heartbeat{Header: h}, "pve1"))
	if len(o.bound) != 1 || o.bound[0].Site != "office" {
		t.Errorf("bound %+v", o.bound)
	}
}

// TestR8_BindingIsOnDisk before anything is answered, and one that is not is no binding.
func TestR8_BindingIsOnDisk(t *testing.T) {
	o := newTailnet(t)
	o.who, o.disk = tagged("pve1", "n1", TagNode), errors.New("the loop is busy")
	o.refuse("pve1", "pve1", http.StatusServiceUnavailable, "the loop is busy")
	if _, ok := o.ids.Lookup("pve1"); ok {
		t.Error("the name is bound, and only in memory")
	}
	o.disk = nil
	o.send(courier.PathHeartbeat, o.heartbeat("pve1"))
}

// TestR8_OnlyItsHolderBindsAKey: a first message with a wrong signature binds nothing, or
// the true one would be refused from then on.
func TestR8_OnlyItsHolderBindsAKey(t *testing.T) {
	o := newTailnet(t)
	o.who = tagged("pve1", "n1", TagNode)
	forged := o.edit(o.heartbeat("pve1"), func(e map[string]any) { signature(e)["keyid"] = o.keys["pve2"].PublicKey() })
	o.refusedWith(o.post(courier.PathHeartbeat, bytes.NewReader(forged)), http.StatusForbidden)
	if _, ok := o.ids.Lookup("pve1"); ok || len(o.bound) > 0 {
		t.Error("the name is bound to a key of somebody else's")
	}
	if c := o.counted(); c["forged"] != 1 {
		t.Errorf("counted %v", c)
	}
	o.send(courier.PathHeartbeat, o.heartbeat("pve1"))
}

// TestR8_KnownNames are their first owner's: another key, or another machine, waits.
func TestR8_KnownNames(t *testing.T) {
	first := Known{Name: "pve1", Site: "home", Role: sentinel.Node, StableID: "n1"}
	for _, tt := range []struct {
		name  string
		known func(k Known) Known
		who   Machine
		by    string
		want  bool
		hint  string
	}{
		{name: "the same machine", who: tagged("pve1", "n1", TagNode), by: "pve1", want: true},
		{name: "the same machine under a new tailnet name", who: tagged("pve1-renamed", "n1", TagNode), by: "pve1", want: true},
		{name: "a new key on the same machine", who: tagged("pve1", "n1", TagNode), by: "new", hint: "known by another key"},
		{name: "another machine with the same key", who: tagged("pve1", "n2", TagNode), by: "pve1", hint: "known as another machine"},
		{name: "another machine with a new key", who: tagged("pve1", "n2", TagNode), by: "new", hint: "known as another machine"},
		{name: "a configured key comes to a machine", known: func(k Known) Known { k.StableID = ""; return k },
			who: tagged("pve1", "n1", TagNode), by: "pve1", want: true},
		{name: "a configured key, and another comes", known: func(k Known) Known { k.StableID = ""; return k },
			who: tagged("pve1", "n1", TagNode), by: "new", hint: "known by another key"},
		{name: "a configured key on a machine without the tag", known: func(k Known) Known { k.StableID = ""; return k },
			who: tagged("pve1", "n1"), by: "pve1", hint: TagNode},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newTailnet(t)
			o.keys["new"] = o.newKey()
			k := first
			k.Key = o.keys["pve1"].PublicKey()
			if tt.known != nil {
				k = tt.known(k)
			}
			o.ids.Learn(k)
			o.who = tt.who
			if tt.want {
				o.send(courier.PathHeartbeat, o.seal(wire.KindHeartbeat, wire.Heartbeat{Header: o.header("pve1")}, tt.by))
				return
			}
			o.refuse("pve1", tt.by, http.StatusForbidden, tt.hint)
			o.waits("pve1")
			if now, _ := o.ids.Lookup("pve1"); now != k {
				t.Errorf("it is known as %+v", now)
			}
		})
	}
}

// TestR1_TailnetDoesNotAnswer: nobody is believed then.
func TestR1_TailnetDoesNotAnswer(t *testing.T) {
	o := newTailnet(t)
	o.whose = errors.New("no answer")
	o.refuse("pve1", "pve1", http.StatusServiceUnavailable, "ask the tailnet who is calling")
	if len(o.ids.Waiting()) > 0 {
		t.Errorf("waiting: %v", o.ids.Waiting())
	}
}

// TestR1_WithoutTailnet only configured keys are known; nobody binds anything.
func TestR1_WithoutTailnet(t *testing.T) {
	b := newBench(t)
	b.ids.Bind = func(context.Context, Known, string) error { t.Error("bound"); return nil }
	b.send(courier.PathHeartbeat, b.heartbeat("pve1"))
	body := b.refusedWith(b.post(courier.PathHeartbeat, bytes.NewReader(b.heartbeat("stranger"))), http.StatusForbidden)
	if body.Hint != "add it to nodes: with its key; or on the brain: sentinel-cloud approve stranger --key "+string(b.keys["stranger"].PublicKey()) {
		t.Errorf("hint %q", body.Hint)
	}
	b.waits("stranger")
}

func TestKeysOfASite(t *testing.T) {
	b := newBench(t)
	want := map[string]wire.PublicKey{"pve1": b.keys["pve1"].PublicKey(), "pve2": b.keys["pve2"].PublicKey()}
	if diff := cmp.Diff(want, b.ids.Keys("home")); diff != "" {
		t.Errorf("neither the Pi's nor another site's belongs there (-want +got):\n%s", diff)
	}
}
