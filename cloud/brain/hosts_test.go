package brain

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/wire"
)

// ofHosts is a plan of Linux hosts alone, which needs no Proxmox.
func ofHosts(names ...string) func(h *home) {
	return func(h *home) {
		h.cfg.Proxmox = nil
		h.cfg.Plan = Plan{{Hosts: names, Deadline: config.Duration(time.Minute)}}
	}
}

// TestS1_AHostGoesDownThroughItsAgent: the order goes with the answer to its next heartbeat,
// the site's Pi may give it too, and what it announces and its silence are its end.
func TestS1_AHostGoesDownThroughItsAgent(t *testing.T) {
	in(t, ofHosts("pve3"), func(h *home) {
		h.press("/api/v1/plan/arm")
		rest(3 * time.Second)
		host := h.nodes["pve3"]
		if a := host.answer(); len(a.Order) > 0 {
			t.Errorf("ordered on mains: %s", a.Order)
		}
		h.ups.set(true)
		rest(12 * time.Second)
		a := host.answer()
		o, err := wire.OpenOrder(a.Order, wire.Header{Node: a.To, Boot: a.ToBoot, Seq: a.ToSeq}, h.brain.key.PublicKey())
		if err != nil || o.Node != "brain" || !strings.HasSuffix(o.Run, "/1") || o.Epoch.Holder != "brain" {
			t.Errorf("the order is %+v, %v", o, err)
		}
		if a := h.nodes["pve1"].answer(); len(a.Order) > 0 {
			t.Errorf("another node is ordered %s", a.Order)
		}
		if m := h.pi.answer().Mandate; !slices.Equal(m.Hosts, []string{"pve3"}) || m.RunID != o.Run {
			t.Errorf("the Pi hears of %+v", m)
		}
		host.announce(wire.Poweroff)
		host.kill()
		rest(2 * time.Second)
		if m := h.pi.answer().Mandate; len(m.Hosts) > 0 {
			t.Errorf("after its yes the Pi hears of %v", m.Hosts)
		}
		rest(5 * time.Second)
		h.mustTell("pve3 is down: it said that it powers off, and is silent")
		h.mustTell("the plan is through")
		if _, said := h.told("did not accept"); said {
			t.Error(h.timeline())
		}
	})
}

// TestS5_NoOrderOnceThePowerIsBack, and none by a plan that is not armed (S7).
func TestS5_NoOrderOnceThePowerIsBack(t *testing.T) {
	for name, armed := range map[string]bool{"armed": true, "rehearsed": false} {
		t.Run(name, func(t *testing.T) {
			in(t, ofHosts("pve3"), func(h *home) {
				if armed {
					h.press("/api/v1/plan/arm")
				}
				h.ups.set(true)
				rest(12 * time.Second)
				if got := len(h.nodes["pve3"].answer().Order) > 0; got != armed {
					t.Errorf("ordered %v, armed %v", got, armed)
				}
				h.ups.set(false)
				rest(2 * time.Second)
				if a := h.nodes["pve3"].answer(); len(a.Order) > 0 {
					t.Errorf("ordered on mains: %s", a.Order)
				}
				if m := h.pi.answer().Mandate; len(m.Hosts) > 0 {
					t.Errorf("on mains the Pi hears of %v", m.Hosts)
				}
			})
		})
	}
}

// TestS9_AHostThatIsOffIsKnownAfterARestart: nobody waits for it.
func TestS9_AHostThatIsOffIsKnownAfterARestart(t *testing.T) {
	in(t, ofHosts("pve3"), func(h *home) {
		h.press("/api/v1/plan/arm")
		h.nodes["pve3"].announce(wire.Poweroff)
		h.nodes["pve3"].kill()
		rest(time.Minute)
		h.crash(2 * time.Second)
		rest(20 * time.Second)
		h.ups.set(true)
		rest(18 * time.Second)
		h.mustTell("the plan is through")
	})
}

// TestS9_AHostThatRebootsIsKnownAfterARestart: it is waited for while its stage lasts, and ordered
// when it is back.
func TestS9_AHostThatRebootsIsKnownAfterARestart(t *testing.T) {
	in(t, ofHosts("pve3"), func(h *home) {
		h.press("/api/v1/plan/arm")
		host := h.nodes["pve3"]
		host.announce(wire.Reboot)
		host.kill()
		rest(5 * time.Second)
		h.crash(2 * time.Second)
		rest(50 * time.Second)
		h.ups.set(true)
		rest(45 * time.Second)
		if _, through := h.told("the plan is through"); through {
			t.Fatal(h.timeline())
		}
		host.wake()
		rest(5 * time.Second)
		if a := host.answer(); len(a.Order) == 0 {
			t.Errorf("it is back on battery, and is not ordered: %s", h.timeline())
		}
	})
}
