package brain

import (
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/shutdown"
)

// TestS10_WhatAStopLeaves: what is down by a run that is through does not stay up, whoever told it.
func TestS10_WhatAStopLeaves(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		b, now := set(&Brain{}, h.cfg), time.Now()
		node := func(name, state string) shutdown.Outcome {
			return shutdown.Outcome{Kind: shutdown.ProxmoxNode, Name: name, State: state}
		}
		run := func(over bool) *shutdown.Run {
			r := &shutdown.Run{Header: shutdown.Header{Plan: *b.plan("home")}, Begun: now, Finished: over}
			r.Targets = []*shutdown.Progress{{Target: shutdown.Target{Kind: shutdown.ProxmoxNode, Node: "pve1"}, Down: true}}
			return r
		}
		pis := &shutdown.Status{Targets: []shutdown.Outcome{node("pve2", "down"), node("pve3", "told"), node("pve1", "pending")}}
		for name, c := range map[string]struct {
			run   *shutdown.Run
			pis   *shutdown.Status
			holds bool
			says  string
		}{
			"nothing ran":             {nil, nil, true, "pve2, pve3, pve1 stay up"},
			"nothing ran, nor may it": {nil, nil, false, ""},
			"a run that is through":   {run(true), nil, true, "pve1 is down; pve2, pve3 stay up"},
			"one that was stopped":    {run(false), nil, true, "pve1 is down; pve2, pve3 stay up"},
			"a Pi's":                  {nil, pis, true, "pve2 is down; pve3 was told before and may still go down; pve1 stays up"},
			"both":                    {run(true), pis, true, "pve1, pve2 are down; pve3 was told before and may still go down"},
			"a Pi's that may go on":   {nil, pis, false, "pve2 is down; pve3 was told before and may still go down"},
		} {
			site := &sentinel.Site{Name: "home", Armed: true, Run: c.run, PiRun: c.pis, PiRunAt: now}
			if got := b.stopSays(site, c.holds); got != c.says {
				t.Errorf("%s: %q, want %q", name, got, c.says)
			}
		}
	})
}

// TestR6_TheRunBeforeIsNotThisOutages, though it goes on under one name (rule H6): page, status and calls tell of a run that
// was begun before it as what is over.
func TestR6_TheRunBeforeIsNotThisOutages(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		b, now := set(&Brain{state: sentinel.New(sentinel.Config{}), clock: h.brain.clock, machine: h.brain.machine}, h.cfg), time.Now()
		i := &sentinel.Incident{ID: "i", Kind: sentinel.PowerOutage, Site: "home", Since: now}
		b.state.Incidents["i"] = i
		for name, c := range map[string]struct {
			begun time.Duration
			past  bool
		}{"of this outage": {10 * time.Second, false}, "of the one before": {-10 * time.Second, true}} {
			at := now.Add(c.begun)
			site := &sentinel.Site{Name: "home", Armed: true, RunIncident: "i", PiRunAt: at, PiRun: &shutdown.Status{State: shutdown.Stopped},
				Run: &shutdown.Run{Header: shutdown.Header{Plan: *b.plan("home")}, Begun: at, Stopped: "the power is back"}}
			for _, r := range b.runsView(site, now) {
				if r.Past != c.past {
					t.Errorf("%s: %q, past %v", name, r.Title, r.Past)
				}
			}
			if p := b.planStory(site, i); p.Stopped == c.past {
				t.Errorf("%s: a call says that the run was stopped: %v", name, p.Stopped)
			}
		}
	})
}

// TestR6_AGuestWhoseNodeIsNotAskedIsNotOff, such as one on a node that was taken out of the plan.
func TestR6_AGuestWhoseNodeIsNotAskedIsNotOff(t *testing.T) {
	now := time.Now()
	mail := shutdown.Target{Kind: shutdown.Guest, Name: "mail", Node: "pve1", Type: "qemu", VMID: 100}
	b := &Brain{left: map[string]*left{"home": {guests: map[string]*leftGuest{"x": {Target: mail, at: now, may: now}}, runs: map[string]bool{}}}}
	b.takeSighting(sighting{site: "home", runs: map[string][]shutdown.Target{"pve2": nil}, failed: map[string]error{}}, now)
	g := b.left["home"].guests["x"]
	if want := "mail on pve1 was told to shut down at 10:00; whether it runs is not known, since pve1 is not asked, as the plan does not name it any more"; g == nil || g.off || g.said("10:00").Text != want {
		t.Errorf("%+v", g)
	}
	b.takeSighting(sighting{site: "home", runs: map[string][]shutdown.Target{"pve1": nil}, failed: map[string]error{}}, now)
	if !b.left["home"].guests["x"].off {
		t.Error("its node says that it does not run")
	}
}
