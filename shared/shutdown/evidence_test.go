package shutdown_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

// TestS4_AYesIsNoEvidence: a node that accepted and is still up half a minute later is told
// again, as often as it takes, and named at its deadline. One whose API has closed is not.
func TestS4_AYesIsNoEvidence(t *testing.T) {
	p := plan()
	p.Stages = p.Stages[1:2]
	p.Stages[0].Deadline = 90 * time.Second
	g := start(t, p, false)
	up := shutdown.Sight{SilentFor: silent(0)}
	g.next(0)
	g.answer(1, "node/pve1", nil)
	g.answer(1, "node/pve2", nil)
	g.want(g.see(29, "node/pve1", up), "")
	g.want(g.see(30, "node/pve2", shutdown.Sight{Closed: true}), "")
	g.want(g.see(30, "node/pve1", up), "sent node/pve1")
	if !g.events[len(g.events)-1].Again {
		t.Error("it is not marked as told again")
	}
	g.want(g.see(31, "node/pve1", up), "") // a command is out
	if due := g.run.Due(at(31)); len(due) != 1 || due[0].Target.Node != "pve1" {
		t.Errorf("due is %v", due)
	}
	if !g.run.Advancing(at(31)) {
		t.Error("to tell again is no standstill")
	}
	g.want(g.answer(31, "node/pve1", nil), "accepted node/pve1")
	g.want(g.see(59, "node/pve1", up), "")
	g.want(g.see(60, "node/pve1", up), "sent node/pve1")
	g.want(g.answer(61, "node/pve1", errors.New("500 no")), "refused node/pve1")
	g.want(g.next(63), "sent node/pve1")
	g.want(g.answer(63, "node/pve1", nil), "accepted node/pve1")
	g.want(g.see(64, "node/pve2", down), "down node/pve2")
	g.want(g.next(90), "late node/pve1, stage_ended, ended")
	if s := g.run.Status(at(90), shutdown.Epoch{}); s.Targets[0].Why != "500 no; it was told again, and is still up" {
		t.Errorf("%+v", s.Targets)
	}
	g.checkReplay(at(90))
}

// TestS4_ANetworkThatIsAwayIsNoEvidence: a node that took no command and did not announce that it goes may be
// behind a switch that starts again. It is told once that is back, and its guests with it.
func TestS4_ANetworkThatIsAwayIsNoEvidence(t *testing.T) {
	g := start(t, plan(), false)
	away := func(since int) shutdown.Sight {
		return shutdown.Sight{Closed: true, SilentFor: silent(time.Duration(since) * time.Second)}
	}
	g.next(0)
	for s := range 60 {
		for _, n := range []string{"pve1", "pve2", "nas"} {
			g.answer(float64(s), "listing/"+n, errors.New("no route to host"))
			g.want(g.see(float64(s), "listing/"+n, away(s)), "")
		}
		g.next(float64(s))
	}
	if g.run.Stage != 0 || g.run.Over() {
		t.Fatal("it was taken for down")
	}
	g.next(62)
	g.answer(62, "listing/pve1", nil, 100)
	g.want(g.answer(62, "listing/pve2", nil), "found listing/pve2")
	if !strings.Contains(g.next(62), "sent guest/100") {
		t.Error("a guest that is found once the network is back is not told")
	}
	g.checkReplay(at(62))
}

// TestS4_WhoWasOffBeforeIsDown: it holds nobody up, whether it announced that, was silent long before the run began,
// or has no agent and stays closed for longer than a network takes to come back.
func TestS4_WhoWasOffBeforeIsDown(t *testing.T) {
	for name, c := range map[string]struct {
		sight shutdown.Sight
		down  float64 // seconds into the run; 0: not by then
	}{
		"it announced that":    {shutdown.Sight{Closed: true, SilentFor: silent(5 * time.Second), Leaving: true}, 1},
		"it was silent before": {shutdown.Sight{Closed: true, SilentFor: silent(100 * time.Second)}, 1},
		"a minute before":      {shutdown.Sight{Closed: true, SilentFor: silent(61 * time.Second)}, 1},
		"less than that":       {shutdown.Sight{Closed: true, SilentFor: silent(60 * time.Second)}, 0},
		"it has no agent":      {shutdown.Sight{Closed: true}, 120},
		"it announced that and its agent was never heard": {shutdown.Sight{Closed: true, Leaving: true}, 30},
	} {
		p := plan()
		p.Stages[0].Deadline = 5 * time.Minute
		g := start(t, p, false)
		g.next(0)
		got := 0.0
		for s := 1.0; s < 200 && got == 0; s++ {
			sight := c.sight
			if sight.SilentFor != nil {
				sight.SilentFor = silent(*sight.SilentFor + time.Duration(s-1)*time.Second)
			}
			g.answer(s, "listing/pve2", errors.New("no route to host"))
			if g.see(s, "listing/pve2", sight) != "" {
				got = s
			}
			g.next(s)
		}
		if want := c.down; got != want && !(want > 1 && got == want+1) { // closed since the first look
			t.Errorf("%s: it is down after %v s, want %v", name, got, want)
		}
	}
}

// TestS4_WhoFellSilentInTheOutageWasNotOffBefore: it may have begun long before the run.
func TestS4_WhoFellSilentInTheOutageWasNotOffBefore(t *testing.T) {
	for out, want := range map[time.Duration]string{0: "down listing/pve2", 4 * time.Minute: "down listing/pve2", 4*time.Minute + time.Second: "", 10 * time.Minute: ""} {
		g := &rig{t: t}
		h := shutdown.Header{ID: "run/1", Plan: plan()}
		if out > 0 {
			h.Out = begin.Add(-out)
		}
		g.take([]shutdown.Event{{Type: shutdown.Began, At: begin, Run: &h}})
		g.next(0)
		g.want(g.see(1, "listing/pve2", shutdown.Sight{Closed: true, SilentFor: silent(5*time.Minute + time.Second)}), want)
	}
}

// TestS4_AYesThatBrokeOffIsAYes: a machine that said so and hung up has taken the command, and is down once it is silent.
func TestS4_AYesThatBrokeOffIsAYes(t *testing.T) {
	p := plan()
	p.Stages = p.Stages[1:2]
	g := start(t, p, false)
	g.next(0)
	g.answer(1, "node/pve1", beganYes{errors.New("it broke off")})
	g.answer(1, "node/pve2", errors.New("it was reset"))
	g.want(g.see(8, "node/pve1", down), "down node/pve1")
	g.want(g.see(8, "node/pve2", down), "")
	g.checkReplay(at(8))
}

type beganYes struct{ error }

func (beganYes) BeganYes() bool { return true }

// TestS5_NobodyIsToldAgainAfterAnAbort: nor if its node is seen up.
func TestS5_NobodyIsToldAgainAfterAnAbort(t *testing.T) {
	p := plan()
	p.Stages = p.Stages[1:2]
	g := start(t, p, false)
	g.next(0)
	g.answer(1, "node/pve1", nil)
	g.take(g.run.Abort(at(20), "the power is back"))
	g.want(g.see(40, "node/pve1", shutdown.Sight{}), "")
}

// TestS4_WhyItIsLate: each way of not being down has its reason.
func TestS4_WhyItIsLate(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(g *rig)
		want string
	}{
		"a guest that said yes": {func(g *rig) { g.answer(2, "guest/100", nil) }, "its shutdown was accepted, and it still runs"},
		"a guest that refused":  {func(g *rig) { g.answer(2, "guest/100", errors.New("500 no")) }, "500 no"},
		"a guest whose shutdown failed and was told again": {func(g *rig) {
			g.answer(2, "guest/100", nil)
			g.see(3, "guest/100", shutdown.Sight{Running: true, Failed: "VM is locked (backup)"})
			g.next(5)
			g.answer(5, "guest/100", nil)
		}, "VM is locked (backup); it was told again, and still runs"},
		"a guest that is mute": {func(g *rig) {}, "no answer"},
		"a guest whose node's API is closed": {func(g *rig) {
			g.answer(2, "guest/100", nil)
			g.see(110, "guest/100", shutdown.Sight{Running: true, Closed: true})
		}, "it is not yet seen to be off"},
	} {
		g := start(t, plan(), false)
		g.next(0)
		g.answer(1, "listing/pve1", nil, 100)
		g.answer(1, "listing/pve2", nil)
		g.answer(1, "listing/nas", nil)
		g.next(1)
		c.do(g)
		g.next(120)
		why := ""
		for _, e := range g.events {
			if e.Type == shutdown.Late {
				why = e.Why
			}
		}
		if why != c.want {
			t.Errorf("%s: %q, want %q", name, why, c.want)
		}
	}
}

// TestS4_AGuestsNodeThatIsOff: what was told and cannot be asked any more is down with its node, by what shows that
// the node is. That the guest took its command says nothing of the network between.
func TestS4_AGuestsNodeThatIsOff(t *testing.T) {
	begun := func() *rig {
		g := start(t, plan(), false)
		g.next(0)
		g.answer(1, "listing/pve1", nil, 100)
		g.next(1)
		g.answer(2, "guest/100", nil)
		return g
	}
	closed := func(silence *time.Duration) shutdown.Sight {
		return shutdown.Sight{Running: true, Closed: true, SilentFor: silence}
	}
	goes := func(silence *time.Duration) shutdown.Sight {
		return shutdown.Sight{Running: true, Closed: true, SilentFor: silence, Leaving: true}
	}
	g := begun()
	g.want(g.see(10, "guest/100", goes(silent(4*time.Second))), "")
	g.want(g.see(11, "guest/100", closed(silent(5*time.Second))), "")
	g.want(g.see(40, "guest/100", closed(silent(34*time.Second))), "")
	g.want(g.see(41, "guest/100", goes(silent(35*time.Second))), "down guest/100")
	g = begun()
	g.want(g.see(10, "guest/100", closed(silent(70*time.Second))), "down guest/100") // off since before the power went
	g = begun()                                                                      // without an agent
	g.want(g.see(10, "guest/100", closed(nil)), "")
	g.want(g.see(39, "guest/100", shutdown.Sight{Running: true}), "") // it was the network
	g.want(g.see(41, "guest/100", closed(nil)), "")
	g.want(g.see(118, "guest/100", closed(nil)), "")
	g.next(121)
	if got := g.run.Status(at(121), shutdown.Epoch{}).Targets; got[0].State != "late" || got[0].Why != "it is not yet seen to be off" {
		t.Errorf("%+v", got)
	}
}

// TestS4_WhatComesAgainIsMarked: so that who tells of it says it as that.
func TestS4_WhatComesAgainIsMarked(t *testing.T) {
	p := plan()
	p.Stages = p.Stages[1:2]
	g := start(t, p, false)
	marked := func(came, want string, again bool) {
		t.Helper()
		g.want(came, want)
		if e := g.events[len(g.events)-1]; e.Again != again {
			t.Errorf("%s %s: again %v", e.Type, e.Target, e.Again)
		}
	}
	no := errors.New("500 no")
	marked(g.next(0), "stage_began, sent node/pve1, sent node/pve2", false)
	marked(g.answer(1, "node/pve1", nil), "accepted node/pve1", false)
	marked(g.answer(1, "node/pve2", no), "refused node/pve2", false)
	marked(g.next(3), "sent node/pve2", true)
	marked(g.answer(3, "node/pve2", no), "refused node/pve2", true)
	g.next(5)
	marked(g.answer(5, "node/pve2", nil), "accepted node/pve2", true)
}
