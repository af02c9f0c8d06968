package shutdown_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sentinel.home.arpa/shared/shutdown"
)

// TestS9_AnyRunReplays drives runs at random: time, answers, sights and aborts in any
// order. After each step the events give the run back, NextDeadline was honest, and no
// command was sent that is not of the stage that runs.
func TestS9_AnyRunReplays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := start(rt, plan(), rapid.IntRange(0, 4).Draw(rt, "dry") == 0)
		now := begin
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			targets := []string{"node/pve1", "node/pve2", "node/nas", "guest/100", "guest/101", "listing/pve1", "listing/pve2", "listing/nas"}
			target := rapid.SampledFrom(targets).Draw(rt, "target")
			switch rapid.SampledFrom([]string{"time", "deadline", "answer", "answer", "refuse", "see", "see", "abort"}).Draw(rt, "act") {
			case "time":
				now = now.Add(time.Duration(rapid.IntRange(1, 300).Draw(rt, "tenths")) * 100 * time.Millisecond)
			case "deadline":
				now = atDeadline(rt, g, now)
			case "answer":
				g.answerAt(now, target, nil, rapid.SliceOfN(rapid.IntRange(100, 101), 0, 2).Draw(rt, "guests")...)
			case "refuse":
				g.answerAt(now, target, errors.New("no"))
			case "see":
				s := shutdown.Sight{Running: rapid.Bool().Draw(rt, "running"), Closed: rapid.Bool().Draw(rt, "closed")}
				if rapid.Bool().Draw(rt, "agent") {
					s.SilentFor = silent(time.Duration(rapid.IntRange(0, 10).Draw(rt, "silent")) * time.Second)
				}
				g.take(g.run.Seen(now, target, s))
			case "abort":
				if rapid.IntRange(0, 9).Draw(rt, "really") == 0 {
					g.take(g.run.Abort(now, "the power is back"))
				}
			}
			before := len(g.events)
			g.nextAt(now)
			checkSent(rt, g, before)
			g.checkReplay(now)
		}
		for range 200 { // whatever happens, a run comes to its end
			if g.run.Over() {
				return
			}
			now = atDeadline(rt, g, now)
			g.nextAt(now)
		}
		rt.Fatalf("the run does not end: stage %d, %s", g.run.Stage, g.run.NextDeadline())
	})
}

// atDeadline goes to the run's next deadline, and proves that nothing is due before and
// something is then.
func atDeadline(rt *rapid.T, g *rig, now time.Time) time.Time {
	d := g.run.NextDeadline()
	if d.IsZero() {
		return now
	}
	if d.Before(now) {
		rt.Fatalf("Next was just asked, and waits for %s, before now %s", d, now)
	}
	if es := g.run.Next(d.Add(-time.Millisecond)); d.Sub(now) > time.Millisecond && len(es) > 0 {
		rt.Fatalf("%v is due before NextDeadline", es)
	}
	if es := g.run.Next(d); len(es) == 0 {
		rt.Fatalf("nothing is due at NextDeadline %s", d)
	}
	return d
}

func checkSent(rt *rapid.T, g *rig, before int) {
	stage := map[string]bool{}
	for i, e := range g.events {
		switch e.Type {
		case shutdown.StageBegan:
			if !e.Again { // else what was told goes on
				stage = map[string]bool{}
			}
			fallthrough
		case shutdown.Found:
			for _, t := range e.Targets {
				stage[t.ID()] = true
			}
		case shutdown.Sent:
			if i >= before && !stage[e.Target] {
				rt.Fatalf("%s was told outside of its stage", e.Target)
			}
		}
	}
}
