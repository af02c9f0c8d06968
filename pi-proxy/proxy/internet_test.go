package proxy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/pvesim"
	"sentinel.home.arpa/shared/wire"
)

// TestS0_WithoutInternetThePiShutsTheHouseDown, on mains, after its delay, and starts again what it stopped once a brain
// answers. The nodes wait behind a guest that takes its time.
func TestS0_WithoutInternetThePiShutsTheHouseDown(t *testing.T) {
	t.Parallel()
	guest := func(id int, takes time.Duration) pvesim.Guest {
		return pvesim.Guest{VMID: id, Name: "vm", Type: pvesim.QEMU, Running: true, StopTakes: takes}
	}
	r := newRack(t, pvesim.NodeConfig{Name: "pve1", Guests: []pvesim.Guest{guest(100, time.Second), guest(101, 40*time.Second)}})
	h := armed(t, r, func(w *wire.Bundle) { w.InternetAfter = 12 * time.Second },
		shutdown.Stage{AllGuests: true, Deadline: time.Minute}, shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute})
	out := time.Now()
	h.silence(true)
	at := r.awaitCommand("pve1 /nodes/pve1/qemu/100/status/shutdown", 40*time.Second)
	within(t, "from the last answer to the first command", at.Sub(out), 11*time.Second, 30*time.Second)
	eventually(t, "a guest has stopped", func() bool { g, _ := r.Guest(100); return !g.Running })
	h.silence(false)
	run := h.brain.awaitRun(shutdown.Stopped, 15*time.Second)
	if run.On != shutdown.ForInternet || !strings.HasPrefix(run.Reason, "the internet has been out for ") || !strings.HasSuffix(run.Reason, " and plan_on names internet_outage") {
		t.Errorf("the brain hears of a run for %q: %s", run.On, run.Reason)
	}
	r.awaitCommand("pve1 /nodes/pve1/qemu/100/status/start", 20*time.Second)
	if slices.Contains(r.commands(), nodeShutdown("pve1")) || !r.NodeUp("pve1") {
		t.Error("the node was told, though the internet is back")
	}
}

// TestS0_ThePiGivesOrdersForAFailure that the brain's run is for, on mains: if its own bundle says that the plan begins
// for one.
func TestS0_ThePiGivesOrdersForAFailure(t *testing.T) {
	t.Parallel()
	for _, named := range []bool{false, true} {
		h := newHouse(t)
		n, w := desktop(t, h)
		w.OnFailure = named
		h.brain.set(func() {
			h.brain.run, h.brain.epoch, h.brain.runID, h.brain.hosts, h.brain.on = shutdown.Advancing, shutdown.Epoch{Counter: 4, Holder: "brain"}, "run-4", []string{"desktop"}, shutdown.ForFailure
		})
		h.brain.storedHash(h.begin(w))
		h.brain.await("the UPS is known", 5*time.Second, func() bool { return len(h.brain.reports) > 0 })
		if named {
			eventually(t, "the order is given", func() bool { return n.ordered() != nil })
			continue
		}
		for range 10 {
			if o := n.ordered(); o != nil {
				t.Errorf("ordered on mains: %+v", o)
			}
		}
	}
}
