package shutdown_test

import (
	"reflect"
	"testing"

	"sentinel.home.arpa/shared/shutdown"
)

func TestANodeIsFoundByItsName(t *testing.T) {
	p := shutdown.Plan{Nodes: []shutdown.Node{{Name: "pve1", MAC: "aa"}, {Name: "pve2", MAC: "bb"}}}
	if n, ok := p.Node("pve2"); !ok || n.MAC != "bb" {
		t.Errorf("pve2 is %+v, %v", n, ok)
	}
	if n, ok := p.Node("pve3"); ok || n.Name != "" {
		t.Errorf("one that is not in the plan is %+v, %v", n, ok)
	}
}

func TestWhatATargetIsCalled(t *testing.T) {
	for _, c := range []struct {
		target   shutdown.Target
		id, said string
	}{
		{shutdown.Target{Kind: shutdown.Guest, Node: "pve1", VMID: 100, Name: "web"}, "guest/100", "web"},
		{shutdown.Target{Kind: shutdown.Guest, Node: "pve1", VMID: 100}, "guest/100", "guest 100"},
		{shutdown.Target{Kind: shutdown.ProxmoxNode, Node: "pve1", Name: "web"}, "node/pve1", "pve1"},
		{shutdown.Target{Kind: shutdown.ProxmoxNode, Node: "pve1"}, "node/pve1", "pve1"},
		{shutdown.Target{Kind: shutdown.Listing, Node: "pve1"}, "listing/pve1", "pve1"},
	} {
		if c.target.ID() != c.id || c.target.Said() != c.said {
			t.Errorf("%+v is %q, called %q; want %q and %q", c.target, c.target.ID(), c.target.Said(), c.id, c.said)
		}
	}
}

func TestARefNamesAGuest(t *testing.T) {
	g := shutdown.Target{Kind: shutdown.Guest, Node: "pve1", VMID: 101, Type: "lxc", Name: "mail/in"}
	if ref := g.Ref(); ref != "lxc/pve1/101" {
		t.Errorf("it is %q", ref)
	}
	if got, ok := shutdown.ParseRef(g.Ref() + "/" + g.Name); !ok || !reflect.DeepEqual(got, g) {
		t.Errorf("it is read as %+v", got)
	}
	for _, ref := range []string{"", "node/pve1", "qemu/pve1", "qemu//101", "qemu/pve1/0", "qemu/pve1/-3", "lxc/pve1/x", "vz/pve1/101"} {
		if got, ok := shutdown.ParseRef(ref); ok {
			t.Errorf("%q is read as %+v", ref, got)
		}
	}
}
