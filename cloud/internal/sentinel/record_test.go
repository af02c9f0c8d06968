package sentinel_test

import (
	"slices"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
)

// TestN7_WhatARecordTellsStandsAtItsOwnTime, everything else at that of its entry.
func TestN7_WhatARecordTellsStandsAtItsOwnTime(t *testing.T) {
	at := time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)
	then := at.Add(-14 * time.Minute)
	if got := sentinel.When(&sentinel.RecordTaken{At: then}, at); !got.Equal(then) {
		t.Errorf("a record of %s stands at %s", then, got)
	}
	if got := sentinel.When(&sentinel.SourceFailed{Last: then}, at); !got.Equal(at) {
		t.Errorf("a failure stands at %s", got)
	}
}

// silentFor is a world whose Pi was away for so long and is back.
func silentFor(t *testing.T, d time.Duration) *world {
	w := newWorld(t, home())
	w.step(sentinel.Started{})
	for _, n := range []string{"pve1", "pve2", "pi1"} {
		b := &beater{site: "home", name: n, role: sentinel.Node, boot: "1", beats: true, withholds: true}
		if n == "pi1" {
			b.role = sentinel.Pi
		}
		w.sources = append(w.sources, b)
	}
	w.pass(time.Minute)
	beats := func(on bool) {
		for _, b := range w.sources {
			b.beats = on
		}
	}
	beats(false)
	w.pass(d)
	beats(true)
	w.pass(5 * time.Second)
	return w
}

// TestN7_OnlyWhatCouldNotBeSeen is taken in: the time without the Pi, and 30 s before.
func TestN7_OnlyWhatCouldNotBeSeen(t *testing.T) {
	w := silentFor(t, 10*time.Minute)
	gap := w.state.Sites["home"].Sources["pi1"].Gaps[0]
	for at, want := range map[time.Time]int{
		gap.From.Add(-31 * time.Second): 0,
		gap.From.Add(-30 * time.Second): 1,
		gap.From.Add(5 * time.Minute):   1,
		gap.To:                          1,
		gap.To.Add(time.Second):         0,
	} {
		facts := w.step(sentinel.Recorded{Site: "home", Pi: "pi1", Left: 1, Entries: []sentinel.Record{{Ago: w.now.Sub(at), Node: "pve1"}}})
		if len(facts) != want {
			t.Errorf("%s after the last word: %d facts, want %d", at.Sub(gap.From), len(facts), want)
		}
		if len(facts) == 1 && !facts[0].(*sentinel.RecordTaken).At.Equal(at) {
			t.Errorf("what happened at %s is told as of %s", at, facts[0].(*sentinel.RecordTaken).At)
		}
	}
	if facts := w.step(sentinel.Recorded{Site: "nowhere", Pi: "pi1", Entries: []sentinel.Record{{Node: "x"}}}); len(facts) != 0 {
		t.Errorf("a record of nowhere led to %s", facts[0].FactName())
	}
	w.checkReplay()
}

// TestN7_BeforeTheHeartbeat comes the record of a Pi that is back, or of one that a blind
// brain did not hear: it is taken in all the same.
func TestN7_BeforeTheHeartbeat(t *testing.T) {
	for _, online := range []bool{true, false} {
		w := silentFor(t, 0)
		w.online = online
		for _, b := range w.sources {
			b.beats = false
		}
		w.pass(2 * time.Minute)
		if w.state.Blind.IsZero() != online {
			t.Fatalf("blind since %s", w.state.Blind)
		}
		in := sentinel.Recorded{Site: "home", Pi: "pi1", Left: 1, Entries: []sentinel.Record{{Ago: time.Minute, Node: "pve1"}}}
		if facts := w.step(in); len(facts) != 1 {
			t.Errorf("online %v: %d facts", online, len(facts))
		}
	}
}

// TestN7_WhileTheBrainWasAway nothing could be seen either.
func TestN7_WhileTheBrainWasAway(t *testing.T) {
	for name, away := range map[string]func(*world){
		"a restart": func(w *world) { w.restart(10 * time.Minute) },
		"a pause":   func(w *world) { w.pause(10 * time.Minute) },
	} {
		w := newWorld(t, home())
		w.step(sentinel.Started{})
		w.step(sentinel.Heard{Site: "home", Name: "pi1", Role: sentinel.Pi, Boot: "1"})
		away(w)
		in := sentinel.Recorded{Site: "home", Pi: "pi1", Entries: []sentinel.Record{{Ago: 5 * time.Minute, UPS: "apc1", Reading: power.Reading{Supply: power.Battery}}}}
		if facts := w.step(in); len(facts) != 1 {
			t.Errorf("after %s: %d facts", name, len(facts))
		}
	}
}

// TestN7_RepeatedEntriesAreKnown although their ways took longer or shorter, and the memory
// for them is bounded.
func TestN7_RepeatedEntriesAreKnown(t *testing.T) {
	w := silentFor(t, 2*time.Hour)
	entry := func(ago time.Duration) sentinel.Recorded {
		return sentinel.Recorded{Site: "home", Pi: "pi1", Left: 1, Entries: []sentinel.Record{{Ago: ago, Node: "pve1"}}}
	}
	told := func(in sentinel.Recorded, want int) {
		t.Helper()
		if got := len(w.step(in)); got != want {
			t.Errorf("%d facts, want %d", got, want)
		}
	}
	told(entry(time.Hour), 1)
	told(entry(time.Hour+2*time.Second), 0)
	told(entry(time.Hour-2*time.Second), 0)
	told(entry(time.Hour+3*time.Second), 1)
	heard := entry(time.Hour)
	heard.Entries[0].Heard = true
	told(heard, 1)
	other := entry(time.Hour)
	other.Pi = "pi2" // which was never heard: it may tell of the time before
	told(other, 0)
	w.restart(time.Second)
	told(entry(time.Hour+time.Second), 0)
	for i := range 2000 {
		w.step(entry(time.Hour - time.Duration(i)*time.Second))
	}
	if n := len(w.state.Sites["home"].Taken); n > 512 {
		t.Errorf("%d entries are remembered", n)
	}
	for range 20 {
		w.restart(time.Second)
	}
	if n := len(w.state.Deaf); n > 16 {
		t.Errorf("%d gaps are remembered", n)
	}
	w.checkReplay()
}

// TestN11_ARecordBeginsNothing: it makes a power outage of an internet outage and calls, but
// no plan begins until its UPS is heard itself (rule U6).
func TestN11_ARecordBeginsNothing(t *testing.T) {
	w := silentFor(t, 10*time.Minute)
	w.step(sentinel.Arm{Site: "home", By: "alice"})
	facts := w.step(sentinel.Recorded{Site: "home", Pi: "pi1", Entries: []sentinel.Record{{Ago: 10 * time.Minute, UPS: "apc1", Reading: power.Reading{Supply: power.Battery}}}})
	if !slices.ContainsFunc(facts, func(f sentinel.Fact) bool { return f.FactName() == "incident_became" }) {
		t.Fatalf("it did not become a power outage: %d facts", len(facts))
	}
	w.pass(time.Minute)
	if w.state.Sites["home"].Run != nil {
		t.Error("a run began")
	}
	for range 3 {
		w.step(reported(power.Battery, 600, 0))
		w.pass(time.Second)
	}
	run := w.state.Sites["home"].Run
	if run == nil {
		t.Fatal("no run began although the UPS says so itself")
	}
	if open := w.state.OpenIncidents(); len(open) != 1 || w.state.Sites["home"].RunIncident != open[0].ID {
		t.Errorf("%d incidents, and the run is of %s", len(open), w.state.Sites["home"].RunIncident)
	}
}

// TestU9_AnOldLossOfContactTellsNothing of a lone node on a UPS whose cable was out before.
func TestU9_AnOldLossOfContactTellsNothing(t *testing.T) {
	for old, want := range map[time.Duration]string{
		15 * time.Second: "UPS ups2 was switched off or is broken: everything on it is silent",
		10 * time.Minute: "it sent nothing for 20 s and announced nothing",
	} {
		cfg := home()
		cfg.Sites[0].Feeds = map[string][]string{"ups1": {"pve1", "pve2"}, "ups2": {"nas"}}
		w := newWorld(t, cfg)
		w.step(sentinel.Started{})
		for _, n := range []string{"pve1", "nas", "pi1"} {
			w.sources = append(w.sources, &beater{site: "home", name: n, role: sentinel.Node, boot: "1", beats: true})
		}
		w.sources[2].role = sentinel.Pi
		w.pass(10 * time.Second)
		w.step(sentinel.UPSReported{Site: "home", Pi: "pi1", UPS: "ups2", Reading: power.Reading{Supply: power.Mains, For: 9000}})
		w.source("nas").beats = false
		w.pass(19 * time.Second)
		lost := power.InSeconds(old)
		w.step(sentinel.UPSReported{Site: "home", Pi: "pi1", UPS: "ups2", Reading: power.Reading{Supply: power.Mains, For: 9000, LostFor: &lost}})
		why := ""
		w.check = func(_ time.Time, f sentinel.Fact) {
			if f, ok := f.(*sentinel.SourceFailed); ok {
				why = f.Why
			}
		}
		w.pass(5 * time.Second)
		if why != want {
			t.Errorf("contact lost for %s: %q", old, why)
		}
	}
}

// TestN7_ALostContactIsNoSupply: what a Pi noted says so, whatever the UPS said last.
func TestN7_ALostContactIsNoSupply(t *testing.T) {
	lost := power.Seconds(5)
	for _, supply := range []power.Supply{power.Mains, power.Battery, power.Unknown} {
		f := &sentinel.RecordTaken{Site: "home", Pi: "pi1", UPS: "apc1", Reading: power.Reading{Supply: supply, LostFor: &lost}}
		if got, want := sentinel.Sentence(f), "contact with apc1 was lost (as pi1 noted while the brain could not hear it)"; got != want {
			t.Errorf("%s: %q", supply, got)
		}
	}
	f := &sentinel.RecordTaken{Site: "home", Pi: "pi1", UPS: "apc1", Reading: power.Reading{Supply: power.Mains}}
	if got, want := sentinel.Sentence(f), "apc1: on mains (as pi1 noted while the brain could not hear it)"; got != want {
		t.Errorf("%q", got)
	}
}
