package brain

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/config"
)

// TestS0_AFailureBeginsThePlan: a node's agent is silent and all has mains. The guests go down, the call says so, and
// once the agent is back for a minute the rest stays on and the guests are started again.
func TestS0_AFailureBeginsThePlan(t *testing.T) {
	var c *cluster
	in(t, func(h *home) {
		c = h.withPlan()
		h.cfg.PlanOn = []string{"node_failure"}
		h.cfg.Failure.Silence = config.Duration(20 * time.Second)
	}, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.nodes["pve2"].kill()
		last := h.nodes["pve2"].lastWord()
		rest(21 * time.Second)
		began := h.mustTell("the plan begins, because pve2 failed and plan_on names node_failure")
		h.onTime("the plan", began, last.Add(20*time.Second))
		if told := c.told(); len(told) == 0 || c.count("/status/shutdown") != 9 {
			h.Errorf("told %v", told)
		}
		said := "The other two servers there are fine. As you asked for at a failure, I am shutting down the guests now, then three servers."
		if call := h.calls(1)[0]; !strings.Contains(call.Text, said) {
			h.Errorf("said %q", call.Text)
		}
		if r := h.view().Sites[0].Runs; len(r) != 1 || r[0].Reason != "pve2 failed and plan_on names node_failure" {
			h.Errorf("runs %+v", r)
		}
		if m := h.pi.answer().Mandate; m == nil || m.On != "node_failure" {
			h.Errorf("the Pi is told %+v", m)
		}
	})
}

// TestS0_TheFailureIsOverMidway: nothing more is told, and the guests run again.
func TestS0_TheFailureIsOverMidway(t *testing.T) {
	var c *cluster
	in(t, func(h *home) {
		c = h.withPlan()
		h.cfg.PlanOn = []string{"node_failure"}
		// For a host that is never heard the nodes wait for a while.
		h.cfg.Plan = slices.Insert(h.cfg.Plan, 1, Stage{Hosts: []string{"nas"}, Deadline: config.Duration(30 * time.Minute)})
	}, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.nodes["pve2"].kill()
		rest(25 * time.Second)
		h.nodes["pve2"].wake()
		rest(3 * time.Minute)
		h.mustTell("the plan stops here, because the failure is over")
		h.mustTell("started vm100 again, because the failure is over")
		h.mustTell("the failure at home is over: ")
		if c.count("/status/shutdown") != 9 || c.count("/status/start") != 9 || len(c.told()) != 18 {
			h.Errorf("told %v", c.told())
		}
	})
}

// TestS0_OffByDefault: a failure is a call, and nothing else.
func TestS0_OffByDefault(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.nodes["pve2"].kill()
		rest(5 * time.Minute)
		h.calls(1)
		if told := c.told(); len(told) > 0 {
			h.Errorf("told %v", told)
		}
	})
}

// TestS0_NotArmed: the plan is only rehearsed, and the call says so.
func TestS0_NotArmed(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan(); h.cfg.PlanOn = []string{"node_failure"} }, func(h *home) {
		h.nodes["pve2"].kill()
		rest(time.Minute)
		if call := h.calls(1)[0]; !strings.Contains(call.Text, "The plan is not armed, so nothing is shut down.") {
			h.Errorf("said %q", call.Text)
		}
		if told := c.told(); len(told) > 0 {
			h.Errorf("told %v", told)
		}
	})
}

// TestS0_ThePiIsToldOfTheInternet: what begins the plan is part of what the Pi guards by, and of the call about an
// internet outage.
func TestS0_ThePiIsToldOfTheInternet(t *testing.T) {
	in(t, func(h *home) { h.withPlan(); h.cfg.PlanOn = []string{"internet_outage", "node_failure"} }, func(h *home) {
		h.press("/api/v1/plan/arm")
		rest(5 * time.Second)
		b := (*h.brain.bundles.Load())["home"]
		if !b.OnFailure || b.InternetAfter != 30*time.Minute {
			h.Errorf("the bundle says %v, %s", b.OnFailure, b.InternetAfter)
		}
		h.offline()
		rest(2 * time.Minute)
		if call := h.calls(1)[0]; !strings.Contains(call.Text, "If it is out for thirty minutes, the Pi there shuts the machines down, as you asked for.") &&
			!strings.Contains(call.Text, "If it is out for 30 minutes, the Pi there shuts the machines down, as you asked for.") {
			h.Errorf("said %q", call.Text)
		}
		if timeline := h.timeline(); strings.Contains(timeline, "the plan begins") {
			h.Errorf("the brain began it:\n%s", timeline)
		}
	})
}
