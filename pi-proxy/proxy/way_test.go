package proxy_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/pvesim"
	"sentinel.home.arpa/shared/wire"
)

// TestR1_TheWayIsToThePlanOfNow: with a new bundle, and from the moment that the Pi goes by
// it, the way leads to its addresses alone.
func TestR1_TheWayIsToThePlanOfNow(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"}, pvesim.NodeConfig{Name: "pve2"})
	h := newHouse(t)
	addr := func(n string) string { u, _ := url.Parse(r.URL(n)); return u.Host }
	ask := func(n string) error {
		_, err := h.asks(wire.Connect{Header: h.brain.header(), Pi: "pi", Addr: addr(n)}, h.brain.key)
		return err
	}
	only := func(here, there string) {
		t.Helper()
		h.brain.storedHash(h.brain.hand(h.bundle(r, shutdown.Stage{Nodes: []string{here}, Deadline: time.Minute})))
		if err := ask(here); err != nil {
			t.Errorf("%s, which is of the plan: %v", here, err)
		}
		if err := ask(there); err == nil || !strings.Contains(err.Error(), "it answered 403") || errors.Is(err, courier.ErrTargetClosed) {
			t.Errorf("%s, which is not: %v", there, err)
		}
	}
	h.start()
	if err := ask("pve1"); err == nil || !strings.Contains(err.Error(), "403") && !strings.Contains(err.Error(), "refused") {
		t.Errorf("without a plan: %v", err)
	}
	only("pve1", "pve2")
	only("pve2", "pve1")
	h.restart()
	h.brain.awaitBeats(1)
	if err := ask("pve1"); err == nil {
		t.Error("after a restart the plan of before is back")
	}
}

// TestS10_TheBrainsRunKeepsItsWay to the machines of the plan that it began with, while the brain
// says that it goes on, and no longer.
func TestS10_TheBrainsRunKeepsItsWay(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"}, pvesim.NodeConfig{Name: "pve2"}, pvesim.NodeConfig{Name: "pve3"}, pvesim.NodeConfig{Name: "pve4"})
	h := newHouse(t)
	other, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	word := func(n string) wire.Connect {
		u, _ := url.Parse(r.URL(n))
		return wire.Connect{Header: h.brain.header(), Pi: "pi", Addr: u.Host}
	}
	refused := func(n string) (bool, error) {
		conn, err := h.asks(word(n), h.brain.key)
		if err != nil {
			return strings.Contains(err.Error(), "it answered 403"), err
		}
		return false, conn.Close()
	}
	leads := func(when string, to ...string) {
		t.Helper()
		for _, n := range []string{"pve1", "pve2", "pve3", "pve4"} {
			no, err := refused(n)
			if no == slices.Contains(to, n) || err != nil && !no {
				t.Errorf("%s: to %s: %v", when, n, err)
			}
			if _, err := h.asks(word(n), other); err == nil {
				t.Errorf("%s: another than the brain comes to %s", when, n)
			}
		}
	}
	goesBy := func(n string) {
		t.Helper()
		h.brain.storedHash(h.brain.hand(h.bundle(r, shutdown.Stage{Nodes: []string{n}, Deadline: time.Minute})))
	}
	says := func(run shutdown.State, id string) {
		t.Helper()
		h.brain.set(func() { h.brain.run, h.brain.runID = run, id })
		h.brain.awaitBeats(2)
	}
	h.start()
	goesBy("pve1")
	says(shutdown.Begun, "run/1")
	goesBy("pve2")
	leads("a run that has begun", "pve1", "pve2")
	says(shutdown.Advancing, "run/1")
	goesBy("pve3")
	leads("two plans later", "pve1", "pve3")
	says(shutdown.None, "")
	leads("the brain has nothing to say", "pve3")
	says(shutdown.Advancing, "run/1")
	leads("the same run", "pve1", "pve3")
	says(shutdown.Advancing, "run/2")
	leads("another run", "pve3")
	goesBy("pve4")
	leads("and its plan", "pve3", "pve4")
	says(shutdown.HasEnded, "run/2")
	leads("the run is over", "pve4")
	says(shutdown.Advancing, "run/2")
	leads("and stays so", "pve4")
	goesBy("pve1")
	leads("the brain is about to fall silent", "pve4", "pve1")
	h.silence(true)
	eventually(t, "the word of a silent brain is no longer good", func() bool { no, _ := refused("pve4"); return no })
	leads("a silent brain", "pve1")
}

// TestR1_OnlyTheBrainIsLetThrough: not another Pi of the house, though its key is in the
// bundle, and not the Pi itself.
func TestR1_OnlyTheBrainIsLetThrough(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	other, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	h := armed(t, r, func(w *wire.Bundle) {
		w.Keys["pi-2"] = other.PublicKey()
		w.Pis = append(w.Pis, wire.Peer{Name: "pi-2", Address: "192.0.2.2:7777", Key: other.PublicKey()})
	}, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute})
	own, err := wire.LoadKey(h.cfg.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(r.URL("pve1"))
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]wire.Key{"another Pi": other, "the Pi itself": own} {
		for _, node := range []string{"pi-2", "brain"} {
			word := wire.Connect{Header: h.brain.header(), Pi: "pi", Addr: u.Host}
			word.Node = node
			if _, err := h.asks(word, key); err == nil || !strings.Contains(err.Error(), "it answered 403") {
				t.Errorf("%s as %s: %v", name, node, err)
			}
		}
	}
	if _, err := h.asks(wire.Connect{Header: h.brain.header(), Pi: "pi", Addr: u.Host}, h.brain.key); err != nil {
		t.Errorf("the brain: %v", err)
	}
}
