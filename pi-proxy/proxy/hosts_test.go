package proxy_test

import (
	"os"
	"testing"
	"time"

	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/pvesim"
	"sentinel.home.arpa/shared/wire"
)

// desktop is a Linux host of the plan, without any Proxmox beside it.
func desktop(t *testing.T, h *house) (*node, wire.Bundle) {
	t.Helper()
	n := h.node("desktop")
	w := h.bundle(nil, shutdown.Stage{Hosts: []string{"desktop"}, Deadline: time.Minute})
	w.TokenID, w.TokenSecret = "", ""
	w.Keys["desktop"] = n.key.PublicKey()
	return n, w
}

// ordered beats once, and gives the order that the host would obey; nil: none.
func (n *node) ordered() *wire.Order {
	n.h.t.Helper()
	h := n.header()
	a, err := n.post("/v1/heartbeat", wire.KindHeartbeat, h, wire.Heartbeat{Header: h, State: "running"})
	if err != nil || len(a.Order) == 0 {
		return nil
	}
	o, err := wire.OpenOrder(a.Order, h, n.h.lan.Key)
	if err != nil {
		n.h.t.Errorf("an order that is none: %v", err)
	}
	return o
}

// TestG1_ThePiOrdersHostsOff where the brain says nothing: once the run asks for it, until the
// host has said that it goes, and it is down when it is silent.
func TestG1_ThePiOrdersHostsOff(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	n, w := desktop(t, h)
	h.brain.storedHash(h.begin(w))
	h.brain.await("the UPS is known", 5*time.Second, func() bool { return len(h.brain.reports) > 0 })
	if o := n.ordered(); o != nil {
		t.Errorf("ordered on mains: %+v", o)
	}
	h.silence(true)
	plug := time.Now()
	h.ups.Plug(false)
	var o *wire.Order
	eventually(t, "the host is ordered off", func() bool { o = n.ordered(); return o != nil })
	within(t, "the order", time.Since(plug), 11*time.Second, 15*time.Second)
	if o.Kind != wire.Poweroff || o.Epoch != (shutdown.Epoch{Counter: 1, Holder: "pi"}) || o.Run != "home-pi-1" {
		t.Errorf("the order is %+v", o)
	}
	n.announce("desktop goes")
	if o := n.ordered(); o != nil {
		t.Errorf("ordered after its yes: %+v", o)
	}
	h.silence(false)
	run := h.brain.awaitRun(shutdown.HasEnded, 20*time.Second)
	if len(run.Targets) != 1 || run.Targets[0].Kind != shutdown.Host || run.Targets[0].State != "down" {
		t.Errorf("the run is %+v", run)
	}
}

// TestS5_MainsBackTakesAnOrderBack before the host has heard it.
func TestS5_MainsBackTakesAnOrderBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	n, w := desktop(t, h)
	h.brain.storedHash(h.begin(w))
	h.brain.await("the UPS is known", 5*time.Second, func() bool { return len(h.brain.reports) > 0 })
	n.ordered()
	h.urgent()
	h.silence(true)
	h.ups.Plug(false)
	eventually(t, "the order is given", func() bool { return n.ordered() != nil })
	h.ups.Plug(true)
	eventually(t, "the order is taken back", func() bool { return n.ordered() == nil })
	for range 10 {
		if o := n.ordered(); o != nil {
			t.Errorf("ordered on mains: %+v", o)
		}
	}
	h.silence(false)
	h.brain.awaitRun(shutdown.Stopped, 20*time.Second)
}

// TestH10_ThePiGivesTheBrainsOrder to a host that it hears: on battery alone, under the brain's
// run, and to nobody who is not in the plan.
func TestH10_ThePiGivesTheBrainsOrder(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	n, w := desktop(t, h)
	other := h.node("nas")
	w.Keys["nas"] = other.key.PublicKey()
	h.brain.set(func() {
		h.brain.run, h.brain.epoch, h.brain.runID, h.brain.hosts = shutdown.Advancing, shutdown.Epoch{Counter: 4, Holder: "brain"}, "run-4", []string{"nas", "desktop"}
	})
	h.brain.storedHash(h.begin(w))
	h.brain.await("the UPS is known", 5*time.Second, func() bool { return len(h.brain.reports) > 0 })
	for range 5 {
		if o := n.ordered(); o != nil {
			t.Errorf("ordered on mains: %+v", o)
		}
	}
	h.ups.Plug(false)
	var o *wire.Order
	eventually(t, "the host is ordered off", func() bool { o = n.ordered(); return o != nil })
	if o.Run != "run-4" || o.Epoch != (shutdown.Epoch{Counter: 4, Holder: "brain"}) || o.Node != "pi" {
		t.Errorf("the order is %+v", o)
	}
	if o := other.ordered(); o != nil {
		t.Errorf("who is not in the plan is ordered: %+v", o)
	}
	h.brain.set(func() { h.brain.hosts = nil })
	eventually(t, "the order ends with the brain's word", func() bool { return n.ordered() == nil })
}

// TestH10_ThePiGivesNobodysOrderWhileItKnowsNoSupply: it has no reason of its own to take the mains
// for gone.
func TestH10_ThePiGivesNobodysOrderWhileItKnowsNoSupply(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.cfg.UPS[0].NIS = freeAddr(t)
	n, w := desktop(t, h)
	h.brain.set(func() {
		h.brain.run, h.brain.epoch, h.brain.runID, h.brain.hosts = shutdown.Advancing, shutdown.Epoch{Counter: 4, Holder: "brain"}, "run-4", []string{"desktop"}
	})
	h.brain.storedHash(h.begin(w))
	h.brain.awaitBeats(3)
	for range 5 {
		if o := n.ordered(); o != nil {
			t.Fatalf("ordered by who knows no UPS: %+v", o)
		}
	}
}

// TestH10_WithoutProxmoxTheHostsOfAStageGoTogether, and all others as soon as they can be told.
func TestH10_WithoutProxmoxTheHostsOfAStageGoTogether(t *testing.T) {
	t.Parallel()
	h, r := newHouse(t), newRack(t, pvesim.NodeConfig{Name: "pve1"})
	names := []string{"nas", "desk", "shed", "attic"}
	w := h.bundle(r, shutdown.Stage{Nodes: []string{"pve1"}, Hosts: names, Deadline: time.Minute})
	if err := os.Remove(w.TokenSecret); err != nil {
		t.Fatal(err)
	}
	var hosts []*node
	for _, name := range names {
		n := h.node(name)
		w.Keys[name] = n.key.PublicKey()
		hosts = append(hosts, n)
	}
	h.brain.storedHash(h.begin(w))
	h.brain.await("the UPS is known", 5*time.Second, func() bool { return len(h.brain.reports) > 0 })
	for _, n := range hosts {
		n.ordered()
	}
	h.urgent()
	h.silence(true)
	h.ups.Plug(false)
	var first time.Time
	ordered := map[string]bool{}
	eventually(t, "all hosts are ordered off", func() bool {
		for _, n := range hosts {
			if !ordered[n.name] && n.ordered() != nil {
				ordered[n.name] = true
				if first.IsZero() {
					first = time.Now()
				}
			}
		}
		return len(ordered) == len(hosts)
	})
	within(t, "from the first to the last", time.Since(first), 0, 2*time.Second)
	if err := os.WriteFile(w.TokenSecret, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.awaitCommand(nodeShutdown("pve1"), 15*time.Second)
	for _, n := range hosts {
		if n.ordered() == nil {
			t.Errorf("%s is no longer ordered", n.name)
		}
	}
	h.silence(false)
}
