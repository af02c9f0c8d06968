package notify

import (
	"fmt"
	"time"
)

// Sample is a story as one may be told some day: what texts are tried with before they are needed.
type Sample struct {
	Name  string
	Story Story
}

// Samples are those of a kind, all that its text says included; none: there is no such kind.
func Samples(kind, contact, site string) []Sample {
	base := Story{Kind: kind, Contact: contact, Site: site, Since: time.Date(2026, 11, 21, 19, 2, 11, 0, time.UTC)}
	var variants []variant
	switch kind {
	case "node_failure":
		base.Nodes, variants = []string{"pve2"}, failures()
	case "power_outage":
		variants = outages()
	case "internet_outage":
		variants = unreached()
	case "power_unwatched":
		base.Nodes, variants = []string{"pi"}, unwatched()
	case "tailnet_down":
		base.Site, variants = "", []variant{{"as it is told first", func(*Story) {}}, {"a reminder", func(s *Story) { s.Again = true }}}
	}
	if kind == "power_outage" || kind == "internet_outage" {
		base.OnBattery, base.Charge, base.Runtime = true, new(0.96), new(31*time.Minute)
	}
	var samples []Sample
	for _, v := range variants {
		s := base
		v.change(&s)
		samples = append(samples, Sample{v.name, s})
	}
	return samples
}

// variant is how a story differs from the simplest of its kind.
type variant struct {
	name   string
	change func(s *Story)
}

func failures() []variant {
	return []variant{
		{"one of four", func(s *Story) { s.Others = 3 }},
		{"one of two", func(s *Story) { s.Others = 1 }},
		{"one of four, and one is off as planned", func(s *Story) { s.Others, s.Off = 2, 1 }},
		{"one of five, and two are off as planned", func(s *Story) { s.Others, s.Off = 1, 2 }},
		{"two of four", func(s *Story) { s.Nodes, s.Others = []string{"pve1", "nas"}, 2 }},
		{"three", func(s *Story) { s.Nodes, s.Others = many(3), 1 }},
		{"five", func(s *Story) { s.Nodes, s.Others = many(5), 1 }},
		{"a rack", func(s *Story) { s.Nodes, s.Others = many(100), 13 }},
		{"all of them while the Pi lives", func(s *Story) { s.Nodes, s.PiHeard = many(3), true }},
		{"the only thing there", func(s *Story) {}},
		{"while the power is out", func(s *Story) { s.Others, s.OnBattery = 2, true }},
		{"a reminder", func(s *Story) { s.Others, s.Again = 3, true }},
		{"worse, which is more than a reminder", func(s *Story) {
			s.Nodes, s.Worse, s.Again = many(3), &Worse{Kind: "all_nodes", Known: "Sam"}, true
		}},
		{"a UPS", func(s *Story) { s.Nodes, s.Others, s.Cause = many(2), 1, &Cause{UPSes: []string{"ups1"}} }},
		{"a UPS that is switched off", func(s *Story) {
			s.Nodes, s.PiHeard, s.Cause = many(2), true, &Cause{UPSes: []string{"apc-rack"}, Broken: true}
		}},
		{"two UPSes that are switched off", func(s *Story) {
			s.Nodes, s.PiHeard, s.Cause = many(2), true, &Cause{UPSes: []string{"ups1", "ups2"}, Broken: true}
		}},
		{"another UPS later", func(s *Story) {
			s.Nodes, s.Others, s.Worse = many(4), 1, &Worse{Kind: "lost_power", UPSes: []string{"ups1", "ups2"}}
		}},
		{"names that are hard to say", func(s *Story) { s.Nodes, s.Others = []string{"nuc-13.lan", "r2-d2"}, 1 }},
		{"the plan is through", failed(func(p *PlanStory) { p.Begun, p.Through = true, true })},
		{"the plan is through, two were late", failed(func(p *PlanStory) { p.Begun, p.Through, p.Late = true, true, 2 })},
		{"the plan was stopped", failed(func(p *PlanStory) { p.Begun, p.Stopped = true, true })},
		{"the plan begins", failed(func(p *PlanStory) { p.Begun, p.Guests = true, new(9) })},
		{"the plan is not armed", failed(func(p *PlanStory) { p.Armed, p.Rehearsed = false, true })},
	}
}

// failed is a failure for which the plan was to begin.
func failed(change func(p *PlanStory)) func(s *Story) {
	return func(s *Story) { s.Others, s.Plan = 3, planned(change) }
}

func outages() []variant {
	plan := func(change func(p *PlanStory)) func(s *Story) {
		return func(s *Story) { s.Plan = planned(change) }
	}
	return []variant{
		{"the plan begins", plan(func(p *PlanStory) { p.Begun, p.Guests = true, new(9) })},
		{"one guest and one server", plan(func(p *PlanStory) { p.Begun, p.Guests, p.Nodes = true, new(1), 1 })},
		{"two guests and two servers", plan(func(p *PlanStory) { p.Begun, p.Guests, p.Nodes = true, new(2), 2 })},
		{"no guest runs", plan(func(p *PlanStory) { p.Begun, p.Guests = true, new(0) })},
		{"guests not counted", plan(func(p *PlanStory) { p.Begun = true })},
		{"many guests", plan(func(p *PlanStory) { p.Begun, p.Guests = true, new(42) })},
		{"two of three", plan(func(p *PlanStory) { p.Begun, p.Guests, p.Nodes, p.StayOn = true, new(9), 2, 1 })},
		{"one of three", plan(func(p *PlanStory) { p.Begun, p.Nodes, p.StayOn = true, 1, 2 })},
		{"no longer any", plan(func(p *PlanStory) { p.Begun, p.Nodes, p.StayOn = true, 0, 3 })},
		{"no machine hangs on this UPS alone", plan(func(p *PlanStory) { p.Spared = true })},
		{"the plan waits", plan(func(*PlanStory) {})},
		{"the plan is through", plan(func(p *PlanStory) { p.Begun, p.Through = true, true })},
		{"through, one was late", plan(func(p *PlanStory) { p.Begun, p.Through, p.Late = true, true, 1 })},
		{"through, two were late", plan(func(p *PlanStory) { p.Begun, p.Through, p.Late = true, true, 2 })},
		{"stopped", plan(func(p *PlanStory) { p.Begun, p.Stopped, p.Armed = true, true, false })},
		{"by the Pi", plan(func(p *PlanStory) { p.ByPi = true })},
		{"not armed", plan(func(p *PlanStory) { p.Armed = false })},
		{"no plan", func(s *Story) {}},
		{"nothing known of the battery", func(s *Story) { s.Charge, s.Runtime = nil, nil }},
		{"only the charge", func(s *Story) { s.Runtime = nil }},
		{"only the runtime", func(s *Story) { s.Charge = nil }},
		{"hardly anything left", func(s *Story) { s.Charge, s.Runtime = new(0.03), new(40*time.Second) }},
		{"a minute left", func(s *Story) { s.Runtime = new(70 * time.Second) }},
		{"hours left", func(s *Story) { s.Runtime = new(5 * time.Hour) }},
		{"the charge runs low", func(s *Story) { s.Worse, s.Charge = &Worse{Kind: "charge"}, new(0.29) }},
		{"the battery will soon be empty", func(s *Story) { s.Worse, s.Runtime = &Worse{Kind: "runtime"}, new(4*time.Minute) }},
		{"some did not go down", func(s *Story) {
			s.Worse = &Worse{Kind: "late", Names: []string{"pve1", "mail"}, Known: "Sam"}
			s.Plan = planned(func(p *PlanStory) { p.Begun, p.Guests, p.Late = true, new(9), 2 })
		}},
		{"one did not go down", func(s *Story) {
			s.Worse = &Worse{Kind: "late", Names: []string{"nas"}}
			s.Plan = planned(func(p *PlanStory) { p.Begun, p.Through, p.Late = true, true, 1 })
		}},
		{"the plan begins in an outage that somebody knew of", func(s *Story) {
			s.Worse = &Worse{Kind: "plan", Known: "Sam"}
			s.Plan = planned(func(p *PlanStory) { p.Begun, p.Guests = true, new(9) })
		}},
		{"it would begin, were it armed", func(s *Story) {
			s.Worse = &Worse{Kind: "rehearsal", Known: "Sam"}
			s.Plan = planned(func(p *PlanStory) { p.Armed, p.Rehearsed = false, true })
		}},
		{"another UPS", func(s *Story) { s.Worse = &Worse{Kind: "another_ups", UPSes: []string{"ups2"}} }},
		{"worse in a way of later versions", func(s *Story) { s.Worse = &Worse{Kind: "?"} }},
		{"a reminder", func(s *Story) { s.Again = true }},
	}
}

func unreached() []variant {
	return []variant{
		{"the power was fine", func(s *Story) { s.OnBattery, s.OnMains = false, true }},
		{"nothing known of the power", func(s *Story) { s.OnBattery = false }},
		{"the Pi begins the plan later", func(s *Story) {
			s.OnBattery, s.OnMains, s.Plan = false, true, planned(func(p *PlanStory) { p.Offline = 30 * time.Minute })
		}},
		{"on battery when it went dark", func(s *Story) { s.Heard = 25 * time.Second }},
		{"the plan is armed", func(s *Story) { s.Heard, s.Plan = 3*time.Minute, planned(func(*PlanStory) {}) }},
		{"the plan is not armed", func(s *Story) { s.Heard, s.Plan = time.Minute, planned(func(p *PlanStory) { p.Armed = false }) }},
		{"heard just now, charge not known", func(s *Story) { s.Charge = nil }},
		{"a reminder", func(s *Story) { s.OnBattery, s.Again = false, true }},
	}
}

func unwatched() []variant {
	return []variant{
		{"the plan is armed", func(s *Story) { s.Others, s.Plan = 3, planned(func(*PlanStory) {}) }},
		{"the plan is not armed", func(s *Story) { s.Others = 3 }},
		{"two Pis", func(s *Story) { s.Nodes = []string{"pi", "pi2"} }},
		{"a reminder", func(s *Story) { s.Again = true }},
	}
}

// planned is an armed plan of three machines.
func planned(change func(p *PlanStory)) PlanStory {
	p := PlanStory{Exists: true, Armed: true, Nodes: 3}
	change(&p)
	return p
}

// many are the names of n nodes.
func many(n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("pve%d", i+1))
	}
	return names
}
