//go:build stages

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/home"
	"sentinel.home.arpa/deploy/lab/internal/stages"
)

// powerBack: with the mains read, nothing more is told to go down, and who was not told stays
// up (S5, U4).
func (s *staged) powerBack(at string) {
	s.unplugged()
	s.reach(at)
	back := s.rec.Now()
	s.do("plug")
	s.rest(25 * time.Second)
	r := s.record()
	if r.Mains == 0 {
		s.Fatal("the UPS was never read on mains again")
	}
	s.demand("after the mains were back", r.AfterMains(inFlight))
	s.demand("out of order", r.Order(s.plan))
	var told, still []string
	latest := time.Duration(0)
	for _, c := range r.Downs() {
		latest = max(latest, c.At-r.Mains)
	}
	for _, n := range s.plan.Nodes() {
		switch {
		case r.Told(n, s.rec.Now()):
			told = append(told, n)
		case s.Up(n):
			still = append(still, n)
		default:
			s.Errorf("%s was not told and is off", n)
		}
	}
	if at == before && len(r.Downs()) > 0 {
		s.Errorf("%d commands though the power was back before the first", len(r.Downs()))
	}
	if len(r.Calls) > 1 {
		s.Errorf("%d calls", len(r.Calls))
	}
	s.out.add("power back (S5): when | mains read after plug | last command to that | commands | nodes told | nodes not told and up | calls",
		"%-25s | %5.3f s | %7.3f s | %2d | %s | %s | %d", at, (r.Mains - back).Seconds(), latest.Seconds(), len(r.Downs()), strings.Join(told, " "), strings.Join(still, " "), len(r.Calls))
}

// killed: the plan comes to its end in its order, whoever is killed and when (S9, G1).
func (s *staged) killed(at, who string, away time.Duration) {
	s.unplugged()
	s.reach(at)
	when := s.rec.Now()
	if hit, err := s.Kill(s.Context(), home.Kill{Phase: home.Random, Victim: who, Away: away}); err != nil || !hit {
		s.Fatalf("%s was not killed: %v", who, err)
	}
	if !s.until(downWithin, s.allDown) {
		s.Errorf("not all nodes were down %s after the kill", downWithin)
	}
	s.rest(5 * time.Second)
	s.judgeEnd(fmt.Sprintf("%-25s %-5s %-8s", at, who, map[bool]string{true: "for ever", false: "for 3 s"}[away == never]), when)
}

// judgeEnd judges a plan that was carried out to its end.
func (s *staged) judgeEnd(row string, when time.Duration) {
	s.Helper()
	r := s.record()
	s.demand("out of order", r.Order(s.plan))
	s.demand("never told", r.Untold(s.plan))
	again, hurt := r.Repeats()
	s.demand("told twice", hurt)
	end, _ := r.LastOff(s.plan, s.rec.Now())
	var repeats []string
	for _, target := range slices.Sorted(maps.Keys(again)) {
		repeats = append(repeats, fmt.Sprintf("%s x%d", target, again[target]+1))
	}
	first := time.Duration(0)
	if d := r.Downs(); len(d) > 0 {
		first = d[0].At - s.from
	}
	longest := time.Duration(0) // between two commands, after the event
	for i, c := range r.Downs() {
		if i > 0 && c.At > when {
			longest = max(longest, c.At-r.Downs()[i-1].At)
		}
	}
	by := r.By()
	if s.own {
		by = fmt.Sprintf("either %d ", len(r.Downs()))
	}
	s.out.add("the plan's end (S9, G1): when, who | plug to first command | to the event | to the last node off | longest gap after it | commands by | told again | calls",
		"%s | %5.1f s | %5.1f s | %5.1f s | %5.1f s | %s| %s | %d", row, first.Seconds(), (when - s.from).Seconds(), (end - s.from).Seconds(), longest.Seconds(),
		by, strings.Join(repeats, " "), len(r.Calls))
}

// cutOff: with its only Pi gone for ever the brain has no way to the house. It takes nobody for
// down whom it cannot see, and its run ends and says so.
func (s *staged) cutOff(at string) {
	s.unplugged()
	s.reach(at)
	when := s.rec.Now()
	if hit, err := s.Kill(s.Context(), home.Kill{Phase: home.Random, Victim: "pi", Away: never}); err != nil || !hit {
		s.Fatalf("the Pi was not killed: %v", err)
	}
	told := len(s.record().Downs())
	ended := func(*stages.Record) bool {
		told := s.Timeline()
		return strings.Contains(told, "the plan is through") || strings.Contains(told, "the plan has run") || strings.Contains(told, "the plan stops here")
	}
	over := s.until(s.plan.Sum()+90*time.Second, ended)
	if !over {
		s.Error("the run is never told to be over")
	}
	r := s.record()
	s.demand("out of order", r.Order(s.plan))
	var up []string
	for _, n := range s.plan.Nodes() {
		if s.Up(n) {
			up = append(up, n)
		}
	}
	s.out.add("the Pi gone for ever, and no other way: when | run told to be over after the kill | commands after it | still up | calls",
		"%-25s | %v, %.0f s | %d | %s | %d", at, over, (s.rec.Now() - when).Seconds(), len(r.Downs())-told, strings.Join(up, " "), len(r.Calls))
	s.Logf("timeline:\n%s\ncalls:\n%s", s.Timeline(), strings.Join(r.Texts, "\n"))
}

// revoked: the brain's token is not valid any more; the Pi, whose own is, does it (G1).
func (s *staged) revoked() {
	if err := s.Revoke(); err != nil {
		s.Fatal(err)
	}
	s.unplugged()
	if !s.until(downWithin, s.allDown) {
		s.Errorf("not all nodes were down after %s", downWithin)
	}
	s.rest(15 * time.Second)
	r := s.record()
	accepted := ""
	for _, c := range r.Downs() {
		if c.Status == 200 && accepted == "" {
			accepted = fmt.Sprintf("%s after %.1f s", c.By, (c.At - s.from).Seconds())
			s.atMost("plug to the first command that was accepted", c.At-s.from, 25*time.Second)
		}
	}
	s.out.add("the brain's token revoked (G1)", "first accepted command: %s", accepted)
	s.judgeEnd("brain's token revoked", s.from)
	s.tells("pi takes the plan over from the brain", "pi runs the plan itself: ended")
}

// hangs: a node takes connections and answers nothing, from before the cut on. Neither brain nor Pi gets anywhere with
// it, and the stages after its own come all the same (S4, G1).
func (s *staged) hangs() {
	hung, last := s.plan.Stages[0][0], s.plan.Stages[1][0]
	s.do("pve " + hung + " hang")
	s.unplugged()
	const turns = 2 * 30 * time.Second // each of the two takes over once, after 20 s and what it takes to notice
	if !s.until(10*time.Second+turns+s.plan.Sum(), func(r *stages.Record) bool { return r.Told(last, s.rec.Now()) }) {
		s.Errorf("%s of the last stage is not told for %s, since %s hangs", last, s.rec.Now()-s.from, hung)
	}
	told := s.rec.Now() - s.from
	s.until(30*time.Second, func(*stages.Record) bool { return !s.Up(last) })
	var up []string
	for _, n := range s.plan.Nodes() {
		if s.Up(n) {
			up = append(up, n)
		}
	}
	if len(up) != 1 || up[0] != hung {
		s.Errorf("still up are %q", up)
	}
	s.out.add("a node hangs (S4, G1)", "%s told after %.1f s, deadlines %.0f s; still up: %s", last, told.Seconds(), s.plan.Sum().Seconds(), strings.Join(up, " "))
	s.tells(hung)
}

// atMost fails if something took longer.
func (s *staged) atMost(what string, took, most time.Duration) {
	s.Helper()
	if took > most {
		s.Errorf("%s: %.1f s, allowed are %.1f", what, took.Seconds(), most.Seconds())
	}
}

// tells demands that the brain's timeline says each of some texts.
func (s *staged) tells(texts ...string) {
	s.Helper()
	told := s.Timeline()
	for _, text := range texts {
		if !strings.Contains(told, text) {
			s.Errorf("the timeline does not say %q", text)
		}
	}
	s.Logf("timeline:\n%s\ncalls:\n%s", told, strings.Join(s.record().Texts, "\n"))
}

// dark: internet and mains go in the same second. The Pi does it all, and once it can tells
// the brain, which calls again only for what is still so (N7, N11).
func (s *staged) dark(how string) {
	s.unplugged()
	s.do("internet off")
	if !s.until(downWithin, s.allDown) {
		s.Errorf("not all nodes were down after %s", downWithin)
	}
	r := s.record()
	if by := r.By(); strings.Contains(by, "brain") {
		s.Errorf("commands came from %s", by)
	}
	if d := r.Downs(); len(d) > 0 {
		s.atMost("plug to the Pi's first command", d[0].At-s.from, 22*time.Second+inFlight)
	}
	s.judgeEnd("internet and mains at once", s.from)
	if how != "internet back before the call" {
		s.until(120*time.Second, func(r *stages.Record) bool { return len(r.Calls) > 0 })
		s.rest(35 * time.Second) // for the call to be taken
	}
	if how == "power back first" {
		s.do("plug")
		s.rest(15 * time.Second) // a report that waited in the cut line may be 10 s old and count
	}
	before := len(s.record().Calls)
	s.do("internet on")
	known := s.until(90*time.Second, func(*stages.Record) bool { return strings.Contains(s.Timeline(), "is a power outage") })
	if !known && before > 0 {
		s.Error("the timeline never says that it was a power outage")
	}
	s.rest(30 * time.Second)
	r = s.record()
	if len(r.Calls) == 0 {
		s.Fatal("nobody was called")
	}
	want := map[string]int{"power back first": 1, "still on battery": 2, "internet back before the call": 1}[how]
	if len(r.Calls) != want {
		s.Errorf("%d calls in place of %d", len(r.Calls), want)
	}
	if said := r.Texts[len(r.Texts)-1:]; how == "still on battery" && !strings.Contains(said[0], "The shutdown is through.") {
		s.Errorf("the last call does not say what was done: %s", said[0])
	}
	s.out.add("internet and mains at once (N11): how | calls before, after the internet is back", "%-30s | %d, %d", how, before, len(r.Calls)-before)
	s.tells("pi runs the plan itself", "on battery")
}

// times: from the plug to the last node down, beside the sum of the deadlines.
func (s *staged) times() {
	s.unplugged()
	if !s.until(downWithin, s.allDown) {
		s.Errorf("not all nodes were down after %s", downWithin)
	}
	r := s.record()
	s.demand("out of order", r.Order(s.plan))
	s.demand("never told", r.Untold(s.plan))
	const table = "times with 5 nodes and 12 guests: what | after the plug"
	row := func(what string, at time.Duration) {
		s.out.add(table, "%-30s | %6.1f s", what, (at - s.from).Seconds())
	}
	row("read on battery", r.Battery)
	var at [3]time.Duration // the last command for guests, and of each nodes' stage
	var begun [3]time.Duration
	for _, c := range r.Downs() {
		stage := 0
		if c.Node {
			stage = 1 + slices.IndexFunc(s.plan.Stages, func(ns []string) bool { return slices.Contains(ns, c.Target) })
		}
		if begun[stage] == 0 {
			begun[stage] = c.At
		}
		at[stage] = c.At
	}
	for i, stage := range []string{"guests", "first nodes", "last node"} {
		row(stage+": first told", begun[i])
		row(stage+": last told", at[i])
	}
	end, _ := r.LastOff(s.plan, s.rec.Now())
	row("last node off", end)
	s.out.add(table, "%-30s | %6.1f s", "ride-through and deadlines", (10*time.Second + s.plan.Sum()).Seconds())
	s.atMost("plug to the last node off", end-s.from, 10*time.Second+s.plan.Sum())
}
