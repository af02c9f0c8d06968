package brain

import (
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/sim/twiliosim"
)

// TestH5_CallsSayWhyTheyComeAgain: that it got worse, or that it is a reminder, also from
// a process that was started in between.
func TestH5_CallsSayWhyTheyComeAgain(t *testing.T) {
	in(t, func(h *home) { h.cfg.Calls.PerHour, h.cfg.Calls.OtherPerHour = 60, 60 }, func(h *home) { // rule C8 would hold some of them
		h.slowly()
		h.x.Behave(alex, twiliosim.NoAnswer{})
		h.x.Behave(sam, twiliosim.NoAnswer{})
		h.nodes["pve2"].kill()
		rest(20 * time.Minute)
		for _, c := range h.x.Calls() {
			if strings.Contains(c.Text, "reminder") || strings.Contains(c.Text, "worse") {
				h.Errorf("%s heard %q", c.To, c.Text)
			}
		}
		h.crash(time.Second)
		before := len(h.x.Calls())
		rest(25 * time.Minute)
		calls := h.x.Calls()
		if len(calls) == before || !strings.Contains(calls[before].Text, "This is your home sentinel. This is a reminder. P V E 2 at home has not answered") {
			h.Fatalf("after half an hour %+v", calls[before:])
		}
		before = len(calls)
		h.nodes["pve1"].kill()
		h.nodes["pve3"].kill()
		rest(2 * time.Minute)
		if calls = h.x.Calls(); len(calls) == before || !strings.Contains(calls[before].Text, "This is your home sentinel. It got worse: ") {
			h.Errorf("when all have failed %+v", calls[before:])
		}
	})
}

// TestH5_WhyACallComesAgainIsNotForgotten: it is part of what the brain knows, and no matter
// of how much of the timeline is still shown.
func TestH5_WhyACallComesAgainIsNotForgotten(t *testing.T) {
	in(t, nil, func(h *home) {
		h.slowly()
		h.x.Behave(alex, twiliosim.NoAnswer{})
		h.x.Behave(sam, twiliosim.NoAnswer{})
		h.nodes["pve2"].kill()
		rest(30 * time.Second)
		h.nodes["pve1"].kill()
		h.nodes["pve3"].kill()
		rest(30 * time.Second)
		h.mustTell("got worse")
		for range timelineKept {
			h.press("/api/v1/nodes/pi/mute")
		}
		if _, told := h.told("got worse"); told {
			h.Fatal("the timeline still tells")
		}
		before := len(h.x.Calls())
		rest(3 * time.Minute)
		calls := h.x.Calls()
		if len(calls) == before {
			h.Fatal("nobody is called")
		}
		for _, c := range calls[before:] {
			if !strings.Contains(c.Text, "This is your home sentinel. It got worse: ") {
				h.Errorf("%s heard %q", c.To, c.Text)
			}
		}
	})
}
