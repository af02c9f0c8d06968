package shutdown_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// wired is the plan in a house of two UPSes: a feeds pve1 and nas, b feeds pve2 and nas.
func wired() shutdown.Plan {
	p := plan()
	p.Wiring = power.Wire(map[string][]string{"a": {"pve1", "nas"}, "b": {"pve2", "nas"}}, nil)
	return p
}

// feeds are the two, each on mains or long on battery.
func feeds(out map[string]bool) (fs []power.Feed) {
	for _, ups := range []string{"a", "b"} {
		f := power.Feed{UPS: ups, Reading: &power.Reading{Supply: power.Mains}, Standing: power.HasMains}
		if out[ups] {
			f.Reading, f.Standing = &power.Reading{Supply: power.Battery, For: 60}, power.StillCalls
		}
		fs = append(fs, f)
	}
	return fs
}

// TestU7_AnyScopedRun drives runs at random while UPSes come and go: nobody is told whose UPSes do
// not call, nobody before its own guests, nothing twice without a reason, and the storage last of what
// was not told yet; whoever is called for is told in the end.
func TestU7_AnyScopedRun(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := start(rt, wired(), false)
		now, out := begin, map[string]bool{}
		calls := func(node string) bool {
			for _, ups := range g.run.Plan.Wiring.Feeders(node) {
				if !out[ups] {
					return false
				}
			}
			return true
		}
		heed := func() {
			es, _ := g.run.Heed(now, power.DefaultPolicy(), feeds(out), true)
			g.take(es)
			for _, m := range g.run.Plan.Machines() {
				if called := slices.Contains(g.run.Called, m.Node); called != calls(m.Node) {
					rt.Fatalf("%s: called for %t, with %v on battery", m.Node, called, out)
				}
			}
			before := len(g.events)
			g.nextAt(now)
			checkSent(rt, g, before)
			for _, e := range g.events[before:] {
				node := g.nodeOf(e.Target)
				if e.Type == shutdown.Sent && !calls(node) {
					rt.Fatalf("%s was told, with %v on battery", e.Target, out)
				}
			}
			g.checkReplay(now)
			once, said := map[string]map[string]bool{}, map[string]int{}
			for _, p := range g.run.Targets {
				name := string(p.Target.Kind) + p.Target.Said()
				if once[name] == nil {
					once[name] = map[string]bool{}
				}
				once[name][p.Target.ID()] = true // two guests may have one number
			}
			for _, o := range g.run.Status(now, shutdown.Epoch{}).Targets {
				name := string(o.Kind) + o.Name
				if said[name]++; said[name] > max(len(once[name]), 1) {
					rt.Fatalf("the status says twice how %s is: %+v", o.Name, g.run.Status(now, shutdown.Epoch{}).Targets)
				}
			}
		}
		out[rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "first")] = true
		heed()
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			targets := []string{"node/pve1", "node/pve2", "node/nas", "guest/100", "guest/101", "listing/pve1", "listing/pve2", "listing/nas"}
			target := rapid.SampledFrom(targets).Draw(rt, "target")
			switch rapid.SampledFrom([]string{"time", "deadline", "ups", "answer", "answer", "refuse", "see"}).Draw(rt, "act") {
			case "time":
				now = now.Add(time.Duration(rapid.IntRange(1, 300).Draw(rt, "tenths")) * 100 * time.Millisecond)
			case "deadline":
				if d := g.run.NextDeadline(); d.After(now) {
					now = d
				}
			case "ups":
				ups := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "ups")
				out[ups] = !out[ups]
			case "answer":
				id := 100
				if strings.HasSuffix(target, "pve2") {
					id = 101
				}
				g.answerAt(now, target, nil, id)
			case "refuse":
				g.answerAt(now, target, errors.New("no"))
			case "see":
				g.take(g.run.Seen(now, target, shutdown.Sight{Running: rapid.Bool().Draw(rt, "running"), Closed: rapid.Bool().Draw(rt, "closed")}))
			}
			heed()
		}
		out["a"], out["b"] = true, true
		heed()
		for range 400 {
			if g.run.Over() {
				break
			}
			if d := g.run.NextDeadline(); d.After(now) {
				now = d
			}
			heed()
		}
		if !g.run.Finished {
			rt.Fatalf("the run does not end: stage %d, %s", g.run.Stage, g.run.NextDeadline())
		}
		for _, n := range []string{"pve1", "pve2", "nas"} {
			told := slices.ContainsFunc(g.run.Targets, func(p *shutdown.Progress) bool { return p.Target.ID() == "node/"+n && p.Tries > 0 })
			if !told {
				rt.Fatalf("both UPSes are out, and %s was never told", n)
			}
		}
	})
}

func (g *rig) nodeOf(id string) string {
	for _, p := range g.run.Targets {
		if p.Target.ID() == id {
			return p.Target.Node
		}
	}
	return ""
}

// TestU7_GoingBackTellsNobodyTwice: what took its command is looked at while the run is back at an
// earlier stage; what refused waits for its own stage; the guests of a node that was left on and is
// called for again are told again.
func TestU7_GoingBackTellsNobodyTwice(t *testing.T) {
	g := start(t, wired(), false)
	heed := func(out ...string) {
		on := map[string]bool{}
		for _, ups := range out {
			on[ups] = true
		}
		es, _ := g.run.Heed(begin, power.DefaultPolicy(), feeds(on), true)
		g.take(es)
		g.nextAt(begin)
	}
	sent := func() (ids []string) {
		for _, e := range g.events {
			if e.Type == shutdown.Sent {
				ids = append(ids, e.Target)
			}
		}
		return ids
	}
	heed("a")
	g.answerAt(begin, "listing/pve1", nil, 100)
	g.nextAt(begin)
	g.take(g.run.Seen(begin, "guest/100", shutdown.Sight{}))
	g.nextAt(begin)
	g.answerAt(begin, "node/pve1", nil)
	heed("a", "b")
	if want := []string{"listing/pve1", "guest/100", "node/pve1", "listing/pve2", "listing/nas"}; !slices.Equal(sent(), want) || g.run.Stage != 0 {
		t.Fatalf("told %v at stage %d", sent(), g.run.Stage)
	}
	if looks := g.run.Looks(); !slices.ContainsFunc(looks, func(t shutdown.Target) bool { return t.ID() == "node/pve1" }) {
		t.Errorf("pve1, which was told, is not looked at: %v", looks)
	}
	g.answerAt(begin, "listing/pve2", nil, 101)
	g.answerAt(begin, "listing/nas", nil)
	g.nextAt(begin)
	heed("a")
	if s := g.run.Status(begin, shutdown.Epoch{}); !slices.ContainsFunc(s.Targets, func(o shutdown.Outcome) bool {
		return o.Name == "pve2" && o.State == shutdown.StaysOn && o.Why == "fed by b, which has mains"
	}) {
		t.Errorf("the status is %+v", s.Targets)
	}
	before := len(sent())
	heed("a", "b")
	g.answerAt(begin, "listing/pve2", nil, 101)
	g.nextAt(begin)
	if again := sent()[before:]; !slices.Equal(again, []string{"listing/pve2", "listing/nas", "guest/101"}) {
		t.Errorf("told again %v", again)
	}
}

// TestU7_AGuestThatWasStartedSinceIsToldAgain: its node had mains for a while and is called for again; what
// was down, or late, runs.
func TestU7_AGuestThatWasStartedSinceIsToldAgain(t *testing.T) {
	g, now := start(t, wired(), false), begin
	heed := func(out ...string) {
		on := map[string]bool{}
		for _, ups := range out {
			on[ups] = true
		}
		es, _ := g.run.Heed(now, power.DefaultPolicy(), feeds(on), true)
		g.take(es)
		g.nextAt(now)
	}
	heed("a")
	g.answerAt(now, "listing/pve1", nil, 100, 102)
	g.nextAt(now)
	g.take(g.run.Seen(now, "guest/100", shutdown.Sight{}))
	now = g.run.NextDeadline()
	for g.run.Stage == 0 {
		now = g.run.NextDeadline()
		g.nextAt(now)
	}
	heed()
	now = now.Add(time.Minute)
	heed("a")
	before := len(g.events)
	g.answerAt(now, "listing/pve1", nil, 100, 102)
	g.nextAt(now)
	var told []string
	for _, e := range g.events[before:] {
		if e.Type == shutdown.Sent {
			told = append(told, e.Target)
		}
	}
	if !slices.Equal(told, []string{"guest/100", "guest/102"}) {
		t.Errorf("told %v", told)
	}
	g.checkReplay(now)
}

// TestS5_ANodeThatTookTheCommandTheSecondTimeGoesDown: it refused until its stage was over, had mains for a
// while, and took the command once it was called for again.
func TestS5_ANodeThatTookTheCommandTheSecondTimeGoesDown(t *testing.T) {
	g, now := start(t, wired(), false), begin
	heed := func(a bool) {
		es, _ := g.run.Heed(now, power.DefaultPolicy(), feeds(map[string]bool{"a": a}), true)
		g.take(es)
		g.nextAt(now)
	}
	heed(true)
	g.answerAt(now, "listing/pve1", nil, 100)
	g.nextAt(now)
	g.take(g.run.Seen(now, "guest/100", shutdown.Sight{}))
	g.nextAt(now)
	g.answerAt(now, "node/pve1", errors.New("500 not now"))
	for !g.run.Finished {
		now = g.run.NextDeadline()
		g.nextAt(now)
	}
	heed(false)
	heed(true)
	g.answerAt(now, "listing/pve1", nil)
	g.nextAt(now)
	g.answerAt(now, "node/pve1", nil)
	g.want(g.take(g.run.PowerBack(now, "the power is back", nil)), "aborted")
}

// TestU7_AStatusNamesEachMachineOnce though the run came to it twice: it was down, came up with its UPS's
// mains, was called for again and is left on by now.
func TestU7_AStatusNamesEachMachineOnce(t *testing.T) {
	g, now := start(t, wired(), false), begin
	heed := func(a bool) {
		es, _ := g.run.Heed(now, power.DefaultPolicy(), feeds(map[string]bool{"a": a}), true)
		g.take(es)
		g.nextAt(now)
	}
	is := func() (states []string) {
		for _, o := range g.run.Status(now, shutdown.Epoch{}).Targets {
			if o.Name == "pve1" {
				states = append(states, o.State)
			}
		}
		return states
	}
	through := func() {
		heed(true)
		g.answerAt(now, "listing/pve1", nil)
		g.nextAt(now)
	}
	through()
	g.answerAt(now, "node/pve1", nil)
	g.take(g.run.Seen(now, "node/pve1", shutdown.Sight{Closed: true, SilentFor: new(time.Minute)}))
	g.nextAt(now)
	if got := is(); !slices.Equal(got, []string{"down"}) || !g.run.Finished {
		t.Fatalf("pve1 is %q, through %v", got, g.run.Finished)
	}
	heed(false)
	through()
	if got := is(); !slices.Equal(got, []string{"pending"}) {
		t.Errorf("called for again it is %q", got)
	}
	g.answerAt(now, "node/pve1", errors.New("not now"))
	heed(false)
	if got := is(); len(got) != 1 {
		t.Errorf("with mains again it is %q", got)
	}
}
