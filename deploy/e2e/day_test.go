//go:build e2e

package e2e

import (
	"fmt"
	"time"

	"sentinel.home.arpa/deploy/e2e/internal/guest"
	"sentinel.home.arpa/deploy/e2e/internal/network"
)

// What happens to any house in a day, however it was installed.

// beat is how old the last heartbeat of somebody who is up may be.
const beat = 3 * time.Second

// powersOff has a machine power off, announced (rules A1 to A3), and gives when it was off.
func (h *house) powersOff(g *guest.Guest, how string) time.Time {
	h.t.Helper()
	h.timed("power off "+how, func() string { return h.goesDown(g, "poweroff", h.command(g, "systemctl", "poweroff")) })
	return time.Now()
}

// reboots has a machine reboot, announced, and waits until it is back (rule A4).
func (h *house) reboots(g *guest.Guest, how string) {
	h.t.Helper()
	h.timed("reboot "+how, func() string {
		seen := h.goesDown(g, "reboot", h.command(g, "systemctl", "reboot"))
		h.back(g.Name)
		return seen
	})
}

// staysOff wants a machine that powered off shown as that for longer than silence may last (rule
// A4), and switches it on again.
func (h *house) staysOff(g *guest.Guest, off time.Time) {
	h.t.Helper()
	h.timed("the node that is off", func() string {
		v := h.await(g.Name+" off as planned", patience, func(v *status) bool {
			return v.source(g.Name).Condition == "off" && time.Since(off) > 25*time.Second
		})
		note := v.source(g.Name).Note
		seen := fmt.Sprintf("shown as %s after %.0f s", note, time.Since(off).Seconds())
		h.on(g)
		h.back(g.Name)
		return seen + "; back"
	})
}

// plannedOnly fails if since a time anything but what was announced has happened: a failure or a call.
func (h *house) plannedOnly(since time.Time, calls int) {
	h.t.Helper()
	h.quietSince(since)
	h.calls(calls)
}

// linkCut is a node that lives and cannot be reached: to the brain it is a failure like
// any other.
func (h *house) linkCut(g *guest.Guest) (i incident) {
	h.t.Helper()
	h.timed(g.Name+"'s cable pulled (H2, H3)", func() string {
		at := h.heardAgain(g)
		if err := h.net.Cut(h.ctx, g.Port()); err != nil {
			h.t.Fatal(err)
		}
		var seen string
		i, seen = h.failure(at, g.Name)
		return seen
	})
	h.timed("and put back", func() string {
		if err := h.net.Join(h.ctx, g.Port(), network.LAN); err != nil {
			h.t.Fatal(err)
		}
		h.back(g.Name)
		return "up"
	})
	return i
}

// powerCut is a node that falls silent without a word: rules H2, H3.
func (h *house) powerCut(g *guest.Guest) (i incident) {
	h.t.Helper()
	h.timed(g.Name+" loses its power (H2, H3)", func() string {
		at := h.heardAgain(g)
		if err := g.PowerCut(h.ctx); err != nil {
			h.t.Fatal(err)
		}
		var seen string
		i, seen = h.failure(at, g.Name)
		return seen
	})
	return i
}

// heardAgain waits for a word of a node from now on, and gives when it was there: one whose last
// word was within an outage would be part of that (rule U8).
func (h *house) heardAgain(g *guest.Guest) time.Time {
	h.t.Helper()
	since := time.Now()
	h.await("a word of "+g.Name+" since", patience, func(v *status) bool { return v.At.Add(-v.source(g.Name).Age).After(since) })
	return time.Now()
}

// failure is what a node's silence leads to: one incident, and one call, which is taken.
func (h *house) failure(silent time.Time, node string) (incident, string) {
	h.t.Helper()
	calls := len(h.out.placed())
	v := h.await("the failure of "+node, patience, func(v *status) bool { _, ok := v.open("node_failure"); return ok })
	i, _ := v.open("node_failure")
	failed := time.Since(silent)
	if fmt.Sprint(i.Nodes) != "["+node+"]" {
		h.t.Fatalf("the incident is about %v:\n%s", i.Nodes, v)
	}
	h.await("the answer", patience, func(v *status) bool { return v.incident(i.ID).Answered != "" })
	h.calls(calls + 1)
	return i, fmt.Sprintf("incident after %.1f s, called after %.1f s, answered", failed.Seconds(), h.out.placed()[calls].At.Sub(silent).Seconds())
}

// brainReboots is rule H8, with an incident open about a node that is off, and the others up.
func (h *house) brainReboots(open incident, off *guest.Guest, others ...string) {
	h.t.Helper()
	h.timed("the brain's machine reboots (H8)", func() string {
		boots, calls := h.cloud.Boots(), len(h.out.placed())
		begin := time.Now()
		h.command(h.cloud, "systemctl", "reboot")()
		h.until("it reboots", patience, func() bool { return h.cloud.Boots() > boots })
		h.ready(h.cloud)
		v := h.back(others...)
		i := v.incident(open.ID)
		if !i.Open || i.Answered == "" || v.source(off.Name).Condition != "failed" {
			h.t.Fatalf("the brain forgot:\n%s", v)
		}
		h.calls(calls)
		seen := fmt.Sprintf("%s still open, nothing called, agents back after %.1f s", i.ID, time.Since(begin).Seconds())
		h.on(off)
		h.back(off.Name)
		return seen + "; " + off.Name + " back"
	})
}

// calm waits until an incident is over, a minute after all is well (rules H6, N9).
func (h *house) calm(i incident) {
	h.t.Helper()
	h.timed("the end of "+i.ID, func() string {
		v := h.await("the end of the incident", 2*patience, func(v *status) bool { return !v.incident(i.ID).Open })
		return v.incident(i.ID).Outcome
	})
}

// internetCut is rules N1 and N8: no source of the house is heard, which is one incident and one
// call. The internet is back at the end, and the incident is not over yet.
func (h *house) internetCut(names ...string) (i incident) {
	h.t.Helper()
	h.timed("the house's internet cut (N1)", func() string {
		at := time.Now()
		if err := h.net.Cut(h.ctx, wan); err != nil {
			h.t.Fatal(err)
		}
		v := h.await("the outage", patience, func(v *status) bool { _, ok := v.open("internet_outage"); return ok })
		i, _ = v.open("internet_outage")
		if i, ok := v.open("node_failure"); ok {
			h.t.Fatalf("the nodes' silence is an incident of its own: %+v", i)
		}
		return fmt.Sprintf("one incident after %.1f s", time.Since(at).Seconds())
	})
	opened := time.Now()
	h.timed("and called about (N8)", func() string {
		calls := len(h.out.placed())
		h.await("the answer", patience, func(v *status) bool { return v.incident(i.ID).Answered != "" })
		h.calls(calls + 1)
		return fmt.Sprintf("%.1f s later; %v is set", h.out.placed()[calls].At.Sub(opened).Seconds(), callAfter)
	})
	h.timed("the internet is back (N9)", func() string {
		h.connect()
		h.back(names...)
		return "all up"
	})
	return i
}
