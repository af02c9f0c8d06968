package brain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/shutdown"
)

// start starts a guest as a person would.
func (c *cluster) start(node string, vmid int) {
	c.h.Helper()
	fleet, err := c.h.brain.fleet(*c.h.brain.plan("home"), courier.ToAsk)
	c.h.must(err)
	defer fleet.Close()
	c.h.must(fleet.Do(c.h.Context(), shutdown.Command{Target: shutdown.Target{Kind: shutdown.Guest, Node: node, VMID: vmid, Type: "qemu"}, Start: true}))
}

func offs(v web.View) (texts []string) {
	for _, o := range v.Sites[0].Off {
		texts = append(texts, o.Text)
	}
	return texts
}

// TestR6_WhatAStoppedPlanLeftOff is named, with how to start it, until it runs again.
func TestR6_WhatAStoppedPlanLeftOff(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.must(c.Do("101 deaf"))
		h.press("/api/v1/plan/arm")
		h.ups.set(true)
		rest(20 * time.Second)
		h.press("/api/v1/plan/stop")
		if off := offs(h.view()); len(off) > 0 {
			t.Errorf("while the power is out: %q", off)
		}
		h.ups.set(false)
		rest(5 * time.Second)
		v := h.view()
		if want := "Vm100, vm102, vm200, vm201, vm202, vm300 and 2 more at home are off still, since the plan shut them down."; v.Verdict != want || v.Well {
			t.Errorf("once it is back: %q, well %t", v.Verdict, v.Well)
		}
		if off := offs(v); len(off) != 8 || off[1] != "vm102 on pve1 was told to shut down at 00:00 and is off still; start it with `qm start 102` on pve1" {
			t.Errorf("off are %q", off)
		}
		for _, g := range []int{100, 102, 200, 201, 202, 300, 301} {
			c.start("pve"+string(rune('0'+g/100)), g)
		}
		rest(65 * time.Second)
		if v := h.verdict(); v != "Vm302 at home is off still, since the plan shut it down." {
			t.Errorf("one is left: %q", v)
		}
		h.crash(time.Second)
		rest(5 * time.Second)
		if v := h.verdict(); v != "Vm302 at home is off still, since the plan shut it down." {
			t.Errorf("after a restart: %q", v)
		}
		c.start("pve3", 302)
		rest(4 * time.Minute) // the deaf one is stopped hard by then
		if v := h.verdict(); v != "Vm101 at home is off still, since the plan shut it down." {
			t.Errorf("the deaf one: %q", v)
		}
		c.start("pve1", 101)
		rest(65 * time.Second)
		if v := h.verdict(); v != "All well." {
			t.Errorf("all run: %q", v)
		}
	})
}

// TestR6_WhatAPlanThatIsThroughLeftOff: machines first, then the guests on those that are back.
func TestR6_WhatAPlanThatIsThroughLeftOff(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.ups.set(true)
		rest(2 * time.Minute)
		h.mustTell("the plan is through")
		h.ups.set(false)
		rest(5 * time.Second)
		v := h.view()
		if off := offs(v); v.Verdict != "Pve1, pve2, pve3 at home are off still, since the plan shut them down." || len(off) != 3 || off[0] != "pve1 was told to shut down and is off still, last heard at 00:00; switch it on" {
			t.Errorf("%q, %q", v.Verdict, off)
		}
		h.must(c.Start("pve1"))
		h.nodes["pve1"].wake()
		rest(2 * time.Minute)
		if off := offs(h.view()); len(off) != 5 || !strings.HasPrefix(off[2], "vm100 on pve1 was told") || !strings.Contains(off[2], "is off still") {
			t.Errorf("with one of them: %q", off)
		}
	})
}

// TestR6_ANodeThatWasSilentBeforeThePlan: when it was last heard is not when the plan told it.
func TestR6_ANodeThatWasSilentBeforeThePlan(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.nodes["pve2"].kill()
		rest(time.Minute)
		h.ups.set(true)
		rest(2 * time.Minute)
		h.mustTell("the plan is through")
		h.ups.set(false)
		rest(2 * time.Minute)
		want := "pve2 was told to shut down and is off still, last heard at 00:00; switch it on"
		if off := offs(h.view()); !slices.Contains(off, want) {
			t.Errorf("%q, and not %q", off, want)
		}
	})
}

// TestR6_WhatBecameOfWhatWasToBeStarted is told by the incident, and until then by the site.
func TestR6_WhatBecameOfWhatWasToBeStarted(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.must(c.Do("101 deaf"))
		h.press("/api/v1/plan/arm")
		h.ups.set(true)
		rest(20 * time.Second)
		h.ups.set(false)
		rest(20 * time.Second)
		v := h.view()
		if off := offs(v); v.Verdict != "Vm101 at home is being started again." || v.Well || len(off) != 1 || !strings.HasPrefix(off[0], "vm101 on pve1 was told to shut down, and is started again if it is off by 00:0") {
			t.Errorf("meanwhile: %q, %q", v.Verdict, off)
		}
		rest(10 * time.Minute)
		v = h.view()
		if o := v.Incidents[0].Outcome; strings.Contains(o, "to be started") || !strings.HasSuffix(o, " were started again") {
			t.Errorf("the outcome is %q", o)
		}
		if v.Verdict != "All well." {
			t.Errorf("in the end: %q", v.Verdict)
		}
	})
}

// TestR6_TwoOutagesOfOneIncident: an incident that goes on again keeps when it did before, and what
// happened then.
func TestR6_TwoOutagesOfOneIncident(t *testing.T) {
	in(t, nil, func(h *home) {
		for range 2 {
			h.ups.set(true)
			rest(40 * time.Second)
			h.ups.set(false)
			rest(10 * time.Minute)
		}
		v := h.view()
		if len(v.Incidents) != 1 || len(v.Incidents[0].Earlier) != 1 {
			t.Fatalf("incidents %+v", v.Incidents)
		}
		i := v.Incidents[0]
		if e := i.Earlier[0]; e.Ended.Sub(e.Since).Round(time.Second) != 40*time.Second || i.Ended.Sub(i.Since).Round(time.Second) != 40*time.Second || i.Since.Sub(e.Since) < 10*time.Minute {
			t.Errorf("it went on from %s to %s, and from %s to %s", e.Since, e.Ended, i.Since, i.Ended)
		}
		if n := strings.Count(strings.Join(h.tells(i.ID), "\n"), "ups: on battery"); n != 2 {
			t.Errorf("it tells of %d outages: %q", n, h.tells(i.ID))
		}
	})
}

// TestPlan_ShowInAnOutage: how the run stands, and no machine is asked.
func TestPlan_ShowInAnOutage(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.must(c.Do("101 deaf"))
		h.press("/api/v1/plan/arm")
		h.ups.set(true)
		rest(20 * time.Second)
		p := asks[shownPlan](h, "/api/v1/plan")
		if len(p.Runs) != 1 || p.Runs[0].Past || len(p.OnBattery) != 1 || !strings.HasPrefix(p.OnBattery[0], "ups has been on battery for 20 s, 96 %, ") {
			t.Fatalf("runs %+v, %q", p.Runs, p.OnBattery)
		}
		if r := p.Runs[0]; !strings.HasPrefix(r.Next, "stage 2 of 3, pve2, pve3, begins at 00:03:") || !strings.HasPrefix(r.Now, "stage 1 of 3: 9 guests; waits for vm101 at most 2 min") {
			t.Errorf("now %q, next %q", r.Now, r.Next)
		}
		if len(p.Stages) != 3 || len(p.Stages[0].Targets) > 0 || len(p.Silent) > 0 {
			t.Errorf("stages %+v, silent %+v", p.Stages, p.Silent)
		}
		h.press("/api/v1/plan/stop")
		h.ups.set(false)
		rest(10 * time.Second)
		if p := asks[shownPlan](h, "/api/v1/plan"); len(p.Off) != 8 || len(p.Stages[0].Targets) != 1 {
			t.Errorf("after it: off %+v, stages %+v", p.Off, p.Stages)
		}
	})
}

// TestR6_RunNext skips the stages that have no part in a run, and ends with its last.
func TestR6_RunNext(t *testing.T) {
	begun := time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)
	plan := shutdown.Plan{Stages: []shutdown.Stage{{AllGuests: true, Deadline: 3 * time.Minute}, {Nodes: []string{"pve2"}, Deadline: time.Minute}, {Hosts: []string{"nas"}, Deadline: time.Minute}}}
	for _, c := range []struct {
		stage  int
		called []string
		want   string
	}{
		{0, nil, "stage 2 of 3, pve2, begins at 19:05:00 at the latest"},
		{2, nil, "it ends at 19:03:00 at the latest"},
	} {
		r := &shutdown.Run{Header: shutdown.Header{Plan: plan}, Stage: c.stage, StageAt: begun, Called: c.called}
		if got := runNext(r, func(at time.Time) string { return at.Format(time.TimeOnly) }); got != c.want {
			t.Errorf("stage %d: %q, want %q", c.stage, got, c.want)
		}
	}
	if got := runNext(&shutdown.Run{Finished: true}, nil); got != "" {
		t.Errorf("of one that is through: %q", got)
	}
}

// TestR3_WhoseGuestsWereLeftIsNotKeptForEver: outages come and go for as long as the process lives, and no run's
// guests are named twice.
func TestR3_WhoseGuestsWereLeftIsNotKeptForEver(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		site := &sentinel.Site{Name: "home"}
		b := set(&Brain{left: map[string]*left{}, state: &sentinel.State{Sites: map[string]*sentinel.Site{"home": site}}}, *h.brain.cfg())
		status := func(pi string, i int) *shutdown.Status {
			return &shutdown.Status{ID: fmt.Sprint(pi, i), State: shutdown.HasEnded, Targets: []shutdown.Outcome{{Kind: shutdown.Guest, Name: "mail", State: "down"}}}
		}
		now := time.Now()
		for i := range 100 {
			site.Run = &shutdown.Run{Header: shutdown.Header{ID: fmt.Sprint("run", i)}, Finished: true}
			site.PiRun = status("pi", i)
			site.PiRuns = map[string]sentinel.KnownRun{"pi": {Run: *site.PiRun}, "pi2": {Run: *status("pi2", i)}}
			b.noteLeft(now)
			clear(b.left["home"].guests) // they run again
			site.PiRun = status("pi2", i)
			b.noteLeft(now)
			clear(b.left["home"].guests)
			site.PiRun = status("pi", i)
			b.noteLeft(now)
			if n := len(b.left["home"].guests); n > 0 {
				t.Fatalf("%d are named again of a run that was told of before", n)
			}
		}
		if n := len(b.left["home"].runs); n > 3 {
			t.Errorf("%d runs are kept", n)
		}
	})
}
