package shutdown_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/shutdown"
)

// stages are a plan of two nodes with these stages of guests before them.
func stages(guests ...shutdown.Stage) shutdown.Plan {
	p := shutdown.Plan{Site: "home", Nodes: []shutdown.Node{{Name: "pve1"}, {Name: "pve2"}}}
	for _, s := range guests {
		s.Deadline = time.Minute
		p.Stages = append(p.Stages, s)
	}
	p.Stages = append(p.Stages, shutdown.Stage{Nodes: []string{"pve1", "pve2"}, Deadline: time.Minute})
	return p
}

func all() shutdown.Stage { return shutdown.Stage{AllGuests: true} }

func some(c shutdown.Choice) shutdown.Stage { return shutdown.Stage{Guests: &c} }

func vm(node string, id int, pool string, tags ...string) shutdown.Target {
	return shutdown.Target{Kind: shutdown.Guest, Node: node, VMID: id, Type: "qemu", Pool: pool, Tags: tags}
}

// lists answers the current stage's listings, at a second, with what runs.
func (g *rig) lists(seconds float64, running ...shutdown.Target) {
	g.t.Helper()
	for _, node := range []string{"pve1", "pve2"} {
		var on []shutdown.Target
		for _, t := range running {
			if t.Node == node {
				on = append(on, t)
			}
		}
		g.take(g.run.Answered(at(seconds), "listing/"+node, on, nil))
	}
}

// told tells what a stage sends, and ends it with all of them down.
func (g *rig) told(seconds float64) string {
	words := g.next(seconds)
	for _, p := range g.run.Current() {
		if p.Target.Kind == shutdown.Guest {
			g.take(g.run.Answered(at(seconds), p.Target.ID(), nil, nil))
			g.see(seconds, p.Target.ID(), shutdown.Sight{})
		}
	}
	return words
}

// found are the guests of each stage.
func (g *rig) found() (stages []string) {
	for _, e := range g.events {
		if e.Type == shutdown.StageBegan {
			stages = append(stages, "")
		}
		for _, t := range e.Targets {
			if t.Kind == shutdown.Guest {
				last := &stages[len(stages)-1]
				*last = strings.TrimSpace(fmt.Sprintf("%s %d", *last, t.VMID))
			}
		}
	}
	return stages
}

// TestS1_ChosenGuests: each guest goes in the first stage that chooses it, and all that run
// and no stage chooses go with all, wherever that stands.
func TestS1_ChosenGuests(t *testing.T) {
	running := []shutdown.Target{vm("pve1", 101, "", "web"), vm("pve1", 102, "prod", "DB", "linux"), vm("pve2", 103, "prod"), vm("pve2", 104, "test"), vm("pve2", 105, "", "nas", "web")}
	tags := func(tags ...string) shutdown.Stage { return some(shutdown.Choice{Tags: tags}) }
	for _, c := range []struct {
		name   string
		stages []shutdown.Stage
		want   []string // what each stage sends
	}{
		{"all", []shutdown.Stage{all()}, []string{"101 102 103 104 105"}},
		{"a tag, then all", []shutdown.Stage{tags("web"), all()}, []string{"101 105", "102 103 104"}},
		{"one of two tags, whatever their case", []shutdown.Stage{tags("db", "Nas")}, []string{"102 105"}},
		{"not a part of a tag", []shutdown.Stage{tags("we", "linux64")}, []string{""}},
		{"ids, on two nodes", []shutdown.Stage{some(shutdown.Choice{IDs: []int{104, 101, 999}})}, []string{"101 104"}},
		{"a pool", []shutdown.Stage{some(shutdown.Choice{Pool: "prod"})}, []string{"102 103"}},
		{"several words add up", []shutdown.Stage{some(shutdown.Choice{Pool: "test", IDs: []int{103}, Tags: []string{"web"}})}, []string{"101 103 104 105"}},
		{"chosen twice goes first", []shutdown.Stage{tags("web"), tags("nas"), all()}, []string{"101 105", "", "102 103 104"}},
		{"all leaves those that are chosen later", []shutdown.Stage{all(), tags("nas")}, []string{"101 102 103 104", "105"}},
		{"all twice", []shutdown.Stage{all(), all()}, []string{"101 102 103 104 105", ""}},
		{"nobody chosen", []shutdown.Stage{tags("none"), all()}, []string{"", "101 102 103 104 105"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := start(t, stages(c.stages...), false)
			for i := range c.want {
				now := float64(3 * i)
				g.next(now)
				g.lists(now+1, running...)
				g.told(now + 2)
			}
			g.next(100)
			if diff := cmp.Diff(c.want, g.found()[:len(c.want)]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := g.run.Stage; got != len(c.want) {
				t.Errorf("the nodes do not follow: stage %d", got)
			}
			g.checkReplay(at(100))
		})
	}
}

// TestS1_WhoWasLateIsNotOfAll: a guest is of one stage, however that ends.
func TestS1_WhoWasLateIsNotOfAll(t *testing.T) {
	g := start(t, stages(some(shutdown.Choice{IDs: []int{101}}), all()), false)
	g.next(0)
	running := []shutdown.Target{vm("pve1", 101, ""), vm("pve1", 102, "")}
	g.lists(1, running...)
	g.want(g.next(1), "sent guest/101")
	g.next(60)
	g.lists(61, running...)
	g.want(g.next(61), "sent guest/102")
}

// TestS1_WhatAStageGivesAGuest: its own time, else the guest's own, else all that is left.
func TestS1_WhatAStageGivesAGuest(t *testing.T) {
	own := vm("pve1", 101, "")
	own.Down = 40 * time.Second
	for _, c := range []struct {
		timeout time.Duration
		want    []time.Duration
	}{{0, []time.Duration{40 * time.Second, 0}}, {90 * time.Second, []time.Duration{90 * time.Second, 90 * time.Second}}} {
		g := start(t, stages(shutdown.Stage{AllGuests: true, Timeout: c.timeout}), false)
		g.next(0)
		g.lists(1, own, vm("pve1", 102, ""))
		g.next(1)
		var got []time.Duration
		for _, d := range g.run.Due(at(2)) {
			got = append(got, d.Given)
			if d.Left != 58*time.Second {
				t.Errorf("%s is left %s", d.Target.ID(), d.Left)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("with %s (-want +got):\n%s", c.timeout, diff)
		}
	}
}

// TestS1_TwoGuestsOfOneNumber: two hosts that form no cluster may both have a guest 100. Each
// is told, seen and reported by itself.
func TestS1_TwoGuestsOfOneNumber(t *testing.T) {
	g := start(t, stages(all()), false)
	g.next(0)
	g.lists(1, vm("pve1", 100, ""), vm("pve2", 100, ""))
	g.want(g.next(1), "sent guest/100, sent guest/pve2/100")
	g.answer(2, "guest/pve2/100", nil)
	g.answer(2, "guest/100", nil)
	g.want(g.see(3, "guest/100", shutdown.Sight{}), "down guest/100")
	g.want(g.next(3), "")
	g.want(g.see(4, "guest/pve2/100", shutdown.Sight{}), "down guest/pve2/100")
	if g.next(4); g.run.Stage != 1 {
		t.Errorf("stage %d, want the nodes", g.run.Stage)
	}
	g.checkReplay(at(4))
}

// TestS5_AGuestOfOneNumberWithOneThatIsOwed: what an earlier run left to be started again keeps
// its ID, and another host's guest of its number gets one of its own.
func TestS5_AGuestOfOneNumberWithOneThatIsOwed(t *testing.T) {
	owed := func(node string, second bool) shutdown.Target {
		return shutdown.Target{Kind: shutdown.Guest, Node: node, VMID: 100, Type: "qemu", Second: second}
	}
	for _, c := range []struct {
		owed []shutdown.Target
		runs shutdown.Target
		want string
	}{
		{[]shutdown.Target{owed("pve1", false)}, vm("pve2", 100, ""), "sent guest/pve2/100"},
		{[]shutdown.Target{owed("pve1", false)}, vm("pve1", 100, ""), "sent guest/100"},
		{[]shutdown.Target{owed("pve1", false), owed("pve2", true)}, vm("pve2", 100, ""), "sent guest/pve2/100"},
		{[]shutdown.Target{owed("pve2", true)}, vm("pve2", 100, ""), "sent guest/pve2/100"},
		{nil, vm("pve2", 100, ""), "sent guest/100"},
	} {
		g := &rig{t: t}
		g.take([]shutdown.Event{{Type: shutdown.Began, At: begin, Run: &shutdown.Header{ID: "run/2", Plan: stages(all()), Owed: c.owed}}})
		g.next(0)
		g.lists(1, c.runs)
		g.want(g.next(1), c.want)
	}
}

// TestS1_AGuestThatMigrates is found where it went, and told there once.
func TestS1_AGuestThatMigrates(t *testing.T) {
	gone := fmt.Errorf("shut down qemu/100 on pve1: %w", shutdown.ErrMoved)
	for name, leaves := range map[string]func(g *rig) string{
		"its command is refused": func(g *rig) string { return g.take(g.run.Answered(at(3), "guest/100", nil, gone)) },
		"it is looked for": func(g *rig) string {
			g.answer(2, "guest/100", nil)
			return g.see(3, "guest/100", shutdown.Sight{Moved: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, stages(all()), false)
			g.next(0)
			g.lists(1, vm("pve1", 100, ""))
			g.want(g.next(1), "sent guest/100")
			g.want(leaves(g), "moved guest/100")
			g.want(g.next(3), "sent listing/pve1, sent listing/pve2")
			g.lists(4, vm("pve2", 100, ""))
			g.want(g.next(4), "sent guest/pve2/100")
			g.lists(4, vm("pve2", 100, "")) // nobody asked
			g.answer(5, "guest/pve2/100", nil)
			g.want(g.see(6, "guest/pve2/100", shutdown.Sight{}), "down guest/pve2/100")
			if g.next(6); g.run.Stage != 1 {
				t.Errorf("stage %d, want the nodes", g.run.Stage)
			}
			g.checkReplay(at(6))
		})
	}
	t.Run("it was found on both", func(t *testing.T) {
		g := start(t, stages(all()), false)
		g.next(0)
		g.lists(1, vm("pve1", 100, ""), vm("pve2", 100, ""))
		g.next(1)
		g.answer(2, "guest/pve2/100", nil)
		g.want(g.take(g.run.Answered(at(2), "guest/100", nil, gone)), "moved guest/100")
		g.next(2)
		g.lists(3, vm("pve2", 100, ""))
		g.want(g.next(3), "") // it was told
	})
	t.Run("it comes back in a later stage", func(t *testing.T) {
		g := start(t, stages(some(shutdown.Choice{IDs: []int{100}}), all()), false)
		g.next(0)
		g.lists(1, vm("pve1", 100, ""))
		g.next(1)
		g.take(g.run.Answered(at(2), "guest/100", nil, gone))
		g.next(2)
		g.lists(3) // it is on its way
		g.next(3)
		g.lists(4, vm("pve1", 100, ""))
		g.want(g.next(4), "sent guest/pve1/100")
	})
}

// TestS9_OldEntriesOfGuests: what was written when guests had no more than their number is
// replayed to the same run.
func TestS9_OldEntriesOfGuests(t *testing.T) {
	g := start(t, stages(all()), false)
	g.next(0)
	found := func(node string) shutdown.Event {
		return shutdown.Event{Type: shutdown.Found, At: at(1), Target: "listing/" + node, Name: node, Targets: []shutdown.Target{{Kind: shutdown.Guest, Node: node, VMID: 100, Type: "qemu"}}}
	}
	g.take([]shutdown.Event{found("pve1"), found("pve2"),
		{Type: shutdown.Sent, At: at(1), Target: "guest/100"}, {Type: shutdown.Accepted, At: at(2), Target: "guest/100"}, {Type: shutdown.WentDown, At: at(3), Target: "guest/100", Why: "it is stopped"}})
	if g.next(4); g.run.Stage != 1 {
		t.Errorf("stage %d, want the nodes", g.run.Stage)
	}
	if n := len(g.run.Targets); n != 5 {
		t.Errorf("%d targets, want two listings, a guest and two nodes", n)
	}
}

func TestHowAChoiceIsCalled(t *testing.T) {
	for want, c := range map[string]shutdown.Choice{
		"guests tagged web":                                      {Tags: []string{"web"}},
		"guests tagged web or db, in the pool prod":              {Tags: []string{"web", "db"}, Pool: "prod"},
		"guests in the pool prod, numbered 101, 105":             {Pool: "prod", IDs: []int{101, 105}},
		"guests numbered 1, 2, 3, 4, 5, 6, 7, 8":                 {IDs: []int{1, 2, 3, 4, 5, 6, 7, 8}},
		"guests numbered 1, 2, 3, 4, 5, 6, 7, 8 and 2 more":      {IDs: []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		"guests tagged a or b, in the pool prod, numbered 12345": {Tags: []string{"a", "b"}, Pool: "prod", IDs: []int{12345}},
	} {
		if got := c.Said(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, c := range []struct {
		stages []shutdown.Stage
		want   []string
	}{
		{[]shutdown.Stage{some(shutdown.Choice{Tags: []string{"web"}}), all()}, []string{"guests tagged web", "all other guests", ""}},
		{[]shutdown.Stage{all()}, []string{"", ""}},
	} {
		g := start(t, stages(c.stages...), false)
		var got []string
		for i := range c.stages {
			g.next(float64(i))
			g.lists(float64(i))
		}
		g.next(float64(len(c.stages)))
		for _, e := range g.events {
			if e.Type == shutdown.StageBegan {
				got = append(got, e.Name)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("stages are called (-want +got):\n%s", diff)
		}
	}
}
