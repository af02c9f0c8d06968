package brain

import (
	"strings"
	"testing"
	"time"
)

// TestS10_AWordThatCrossesAnArmedPlanConfirmsNothing: a Pi was given the armed plan, which may not be on
// its disk yet, and it is disarmed: that the Pi names the plan as it was before says only later that it
// holds no armed one.
func TestS10_AWordThatCrossesAnArmedPlanConfirmsNothing(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		unconfirmed := func() string { return strings.Join(h.view().Sites[0].Unconfirmed, ",") }
		h.pi.kill()
		before := h.ask("").Mandate.Bundle
		h.ask(before)
		h.press("/api/v1/plan/arm")
		if a := h.ask(before); a.Bundle == nil || !a.Bundle.Armed {
			h.Fatalf("it is given %+v", a.Bundle)
		}
		h.press("/api/v1/plan/disarm")
		for range 11 {
			h.ask(before)
			rest(time.Second)
			if got := unconfirmed(); got != "pi" {
				h.Fatalf("%q is waited for while the armed plan may be on its way", got)
			}
		}
		rest(2 * time.Second)
		if got := unconfirmed(); got != "pi" {
			h.Errorf("%q is waited for, though the Pi has said nothing since", got)
		}
		h.ask(before)
		rest(time.Second)
		if got := unconfirmed(); got != "" {
			h.Errorf("%q is waited for", got)
		}
	})
}
