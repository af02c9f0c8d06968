package sentinel_test

import (
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// TestR6_WhatAPiSawIsPartOfTheStory of the outage in which it did: its record, also one that
// comes when that is over, what is told of it, and its run.
func TestR6_WhatAPiSawIsPartOfTheStory(t *testing.T) {
	w := silentFor(t, 10*time.Minute)
	gap := w.state.Sites["home"].Sources["pi1"].Gaps[0]
	story := ""
	for id := range w.state.Incidents {
		story = id
	}
	record := func(left int, entries ...sentinel.Record) []sentinel.Fact {
		return w.step(sentinel.Recorded{Site: "home", Pi: "pi1", Left: left, Entries: entries})
	}
	run := w.step(sentinel.PiReported{Site: "home", Pi: "pi1", Run: shutdown.Status{ID: "r", State: shutdown.Advancing}})
	if len(run) != 1 || run[0].(*sentinel.PiRunSeen).Incident != story || !strings.Contains(story, "internet") {
		t.Errorf("the Pi's run is of %q: %+v", story, run[0])
	}
	w.pass(10 * time.Minute)
	if i := w.state.Incidents[story]; i.Open() {
		t.Fatalf("it goes on: %+v", i)
	}
	out := sentinel.Record{Ago: w.now.Sub(gap.From) - 10*time.Minute + 4*time.Minute, UPS: "apc1", Reading: power.Reading{Supply: power.Battery}}
	back := sentinel.Record{Ago: out.Ago - time.Minute, UPS: "apc1", Reading: power.Reading{Supply: power.Mains}}
	told := 0
	for _, f := range record(0, out, back) {
		switch f := f.(type) {
		case *sentinel.RecordTaken:
			if told++; f.Incident != story {
				t.Errorf("%s is part of %q", sentinel.Sentence(f), f.Incident)
			}
		case *sentinel.Noticed:
			if told++; f.Incident != story {
				t.Errorf("%q is part of %q", f.Text, f.Incident)
			}
		}
	}
	if told != 3 {
		t.Errorf("%d facts", told)
	}
	w.checkReplay()
}

// TestR6_WhatAPiSawOnACalmDay is part of no story, nor what it saw long before one.
func TestR6_WhatAPiSawOnACalmDay(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.Started{})
	w.step(sentinel.Heard{Site: "home", Name: "pi1", Role: sentinel.Pi, Boot: "1"})
	w.step(sentinel.Heard{Site: "home", Name: "pve1", Role: sentinel.Node, Boot: "1"})
	w.restart(10 * time.Minute)
	entry := func(ago time.Duration, node string) sentinel.Recorded {
		return sentinel.Recorded{Site: "home", Pi: "pi1", Left: 1, Entries: []sentinel.Record{{Ago: ago, Node: node}}}
	}
	if f := w.step(entry(5*time.Minute, "pve1"))[0].(*sentinel.RecordTaken); f.Incident != "" {
		t.Errorf("it is part of %q", f.Incident)
	}
	w.state.Evolve(w.now, &sentinel.IncidentOpened{ID: "i", Site: "home", Kind: sentinel.InternetOutage, Since: w.now.Add(-time.Minute), Nodes: []string{"pve1"}})
	w.state.Evolve(w.now, &sentinel.IncidentOpened{ID: "x", Site: "office", Kind: sentinel.PowerOutage, Since: w.now.Add(-time.Minute)})
	w.state.Evolve(w.now, &sentinel.IncidentOpened{ID: "n", Site: "home", Kind: sentinel.NodeFailure, Since: w.now.Add(-time.Minute), Nodes: []string{"pve1"}})
	for ago, want := range map[time.Duration]string{91 * time.Second: "", 90 * time.Second: "i", time.Second: "i"} {
		if f := w.step(entry(ago, ago.String()))[0].(*sentinel.RecordTaken); f.Incident != want {
			t.Errorf("%s ago: it is part of %q, not %q", ago, f.Incident, want)
		}
	}
}
