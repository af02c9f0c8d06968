package brain

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// another is a second UPS of the house, of which the Pi tells each second.
func (h *home) another(name string) *unit {
	u := &unit{name: name, charge: 0.9, runtime: 30 * time.Minute, since: time.Now(), changed: make(chan struct{}, 100)}
	h.pi.life.Go(func() {
		for {
			select {
			case <-time.After(time.Second):
				m := wire.UPSReport{Header: h.pi.header(), UPS: name, Reading: u.reading()}
				_, _ = h.pi.post(courier.PathUPS, wire.KindUPS, m.Header, m) // it reports again
			case <-h.pi.gone:
				return
			}
		}
	})
	return u
}

// TestU7_OnlyMachinesWhoseUPSIsOut go down; the others are named as left on, and go down by the same
// run once their own is out too, though that was through.
func TestU7_OnlyMachinesWhoseUPSIsOut(t *testing.T) {
	var c *cluster
	in(t, func(h *home) {
		c = h.withPlan()
		h.cfg.Sites[0].UPSes = []UPS{{Name: "ups", Feeds: []string{"pve1", "pve2"}}, {Name: "desk", Feeds: []string{"pve3"}}}
	}, func(h *home) {
		at := func(node string) bool {
			return slices.ContainsFunc(c.shut(), func(x command) bool { return strings.HasPrefix(x.what, node+" ") })
		}
		rest(2 * time.Second)
		if p := asks[shownPlan](h, "/api/v1/plan"); !slices.Equal(p.Fed, []string{saidNeverToldOf("desk"), "If ups alone is out: pve3 stays on."}) {
			t.Errorf("it shows %q", p.Fed)
		}
		desk := h.another("desk")
		rest(2 * time.Second)
		if p := asks[shownPlan](h, "/api/v1/plan"); !slices.Equal(p.Fed, []string{"If desk alone is out: pve2, pve1 stay on.", "If ups alone is out: pve3 stays on."}) {
			t.Errorf("it shows %q", p.Fed)
		}
		s := asks[simulatedPlan](h, "/api/v1/plan/simulate?ups=desk")
		if !slices.Equal(s.StayOn, []string{"pve2", "pve1"}) || len(s.Stages) != 2 || s.Stages[1].Number != 2 || s.Stages[1].Ends != s.Ends || len(s.Stages[0].Targets) != 3 {
			t.Errorf("simulated %+v", s)
		}
		h.press("/api/v1/plan/arm")
		rest(time.Second)
		h.ups.set(true)
		rest(11 * time.Second)
		if r := h.view().Sites[0].Runs[0]; r.Targets[len(r.Targets)-1] != (web.Target{Name: "pve3", State: "left on", Why: "fed by desk, which has mains"}) {
			t.Errorf("the run is shown as %+v", r)
		}
		if said := h.calls(1)[0].Text; !strings.Contains(said, "I am shutting down two servers, their guests first. The other server stays on.") {
			t.Errorf("said %q", said)
		}
		if m := h.pi.answer().Mandate; !slices.Equal(m.Scope, []string{"pve2", "pve1"}) {
			t.Errorf("the Pi hears that it is for %v", m.Scope)
		}
		rest(2 * time.Minute)
		h.mustTell("the plan is through")
		if !at("pve1") || !at("pve2") || at("pve3") {
			t.Fatalf("told %v", c.told())
		}
		desk.set(true)
		rest(2 * time.Minute)
		h.mustTell("the plan goes on for pve3")
		if run := h.view().Sites[0].Runs[0]; !at("pve3") || run.State != "ended" || !strings.HasSuffix(run.ID, "/1") {
			t.Errorf("told %v in %s, %s\n%s", c.told(), run.ID, run.State, h.timeline())
		}
	})
}

// TestU7_TheCallSaysThatNobodyGoesDown while the one UPS that is out feeds nobody alone, and only as
// long as all others are known to have mains.
func TestU7_TheCallSaysThatNobodyGoesDown(t *testing.T) {
	all := []string{"pve1", "pve2", "pve3"}
	for name, says := range map[string]string{
		"mains": "Nothing is shut down, since no machine depends on that U P S alone.", "never heard": "Nothing has been shut down yet.",
		"out too": "I am shutting down nine guests now, then three servers.",
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(h *home) {
				h.withPlan()
				h.cfg.Sites[0].UPSes = []UPS{{Name: "ups", Feeds: all}, {Name: "desk", Feeds: all}}
			}, func(h *home) {
				if name != "never heard" {
					desk := h.another("desk")
					rest(2 * time.Second)
					desk.set(name == "out too")
				}
				h.press("/api/v1/plan/arm")
				h.ups.set(true)
				rest(16 * time.Second)
				if said := h.calls(1)[0].Text; !strings.Contains(said, says) {
					t.Errorf("said %q", said)
				}
			})
		})
	}
}

// TestS5_ACommandToWhoIsLeftOnIsKeptBack: the last look before it leaves is at its own machine.
func TestS5_ACommandToWhoIsLeftOnIsKeptBack(t *testing.T) {
	b := &Brain{}
	b.view.Store(&view{run: map[string]string{"home": "r"}, left: map[string]map[string]bool{"home": leftBy(&shutdown.Run{Left: map[string]string{"pve3": "it has mains"}})}})
	if err := b.mayCommand("home", "r", "pve3"); !errors.Is(err, errLeftOn) {
		t.Errorf("to pve3: %v", err)
	}
	if err := b.mayCommand("home", "s", "pve3"); !errors.Is(err, errRunOver) {
		t.Errorf("of another run: %v", err)
	}
}
