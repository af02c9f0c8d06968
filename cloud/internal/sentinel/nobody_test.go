package sentinel_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/cause"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
)

// TestH2_SilenceOfWhoIsAway is no news: of who failed already, is off, was never heard, or
// while the brain is blind.
func TestH2_SilenceOfWhoIsAway(t *testing.T) {
	all := map[string]time.Duration{"pve1": 20 * time.Second, "pve2": 0, "pi1": 0}
	for name, away := range map[string]func(*world){
		"failed": func(w *world) { w.step(w.silence("pve1", all)) },
		"off": func(w *world) {
			w.step(sentinel.Announced{Site: "home", Name: "pve1", Boot: "a", ID: "1", Kind: "poweroff"})
			w.step(w.silence("pve1", all))
		},
		"deleted": func(w *world) { w.step(sentinel.Delete{Site: "home", Name: "pve1", By: "alice"}) },
		"blind": func(w *world) {
			w.step(w.silence("pve2", map[string]time.Duration{"pve1": 20 * time.Second, "pve2": 20 * time.Second, "pi1": 20 * time.Second}))
			w.step(sentinel.Uplink{Online: false})
		},
	} {
		w := newWorld(t, home())
		w.step(sentinel.Started{})
		w.hears("home", "pve1", "pve2", "pi1")
		away(w)
		if facts := w.step(w.silence("pve1", all)); len(facts) != 0 {
			t.Errorf("%s: it led to %s", name, facts[0].FactName())
		}
		w.checkReplay()
	}
}

// TestR2_SitesThatAreNotConfigured: what happens there, or stands in the journal about
// them, stops nothing.
func TestR2_SitesThatAreNotConfigured(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.Started{})
	w.step(sentinel.Announced{Site: "nowhere", Name: "x", Boot: "a", ID: "1", Kind: "reboot", Returns: true})
	w.hears("nowhere", "y", "z")
	w.step(sentinel.Silent{Site: "nowhere", Name: "y", Last: w.now.Add(-20 * time.Second),
		Up: []cause.Source{{Name: "y", Last: w.now.Add(-20 * time.Second)}, {Name: "z", Last: w.now}}})
	for _, kind := range []sentinel.IncidentKind{sentinel.PowerOutage, sentinel.InternetOutage, sentinel.NodeFailure, sentinel.Unwatched, sentinel.TailnetDown} {
		w := newWorld(t, home())
		w.step(sentinel.Started{})
		w.state.Evolve(w.now, &sentinel.IncidentOpened{ID: "i", Site: "gone", Kind: kind, Nodes: []string{"x"}})
		for range 3 {
			w.now = w.now.Add(time.Minute)
			w.step(sentinel.Tick{})
		}
	}
}

// TestS2_AnotherUPSHoldsNothingUp: the plan begins by a UPS that is heard on battery,
// whatever is not heard of one that comes before it.
func TestS2_AnotherUPSHoldsNothingUp(t *testing.T) {
	for name, other := range map[string]func(*world){
		"never heard": func(w *world) {
			w.step(sentinel.UPSReported{Site: "home", Pi: "pi1", UPS: "apc0", Lag: time.Minute, Reading: power.Reading{Supply: power.Mains}})
		},
		"not heard since a restart": func(w *world) {
			w.step(sentinel.UPSReported{Site: "home", Pi: "pi1", UPS: "apc0", Reading: power.Reading{Supply: power.Mains}})
			w.now = w.now.Add(time.Second)
			w.step(sentinel.UPSReported{Site: "home", Pi: "pi1", UPS: "apc0", Reading: power.Reading{Supply: power.Battery}})
			w.restart(time.Second)
		},
	} {
		w := newWorld(t, home())
		w.step(sentinel.Started{})
		other(w)
		w.step(reported(power.Mains, 60, 0))
		for i := range 11 {
			w.pass(time.Second)
			w.step(reported(power.Battery, float64(i), 0))
		}
		if w.state.Sites["home"].Run == nil {
			t.Errorf("%s: no run began", name)
		}
	}
}

// TestS5_EachUPSIsHeardAgain before a run that the journal knows goes on: one that is on
// mains says nothing of the one that was the reason.
func TestS5_EachUPSIsHeardAgain(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.Started{})
	w.step(sentinel.Arm{Site: "home", By: "alice"})
	mains := sentinel.UPSReported{Site: "home", Pi: "pi1", UPS: "apc0", Reading: power.Reading{Supply: power.Mains, For: 60}}
	w.step(mains)
	w.step(reported(power.Mains, 60, 0))
	w.pass(time.Second)
	w.outage(11)
	run := w.state.Sites["home"].Run
	if run == nil {
		t.Fatal("no run began")
	}
	w.restart(time.Second)
	before := w.count("run_stepped")
	for range 25 {
		w.step(mains)
		w.pass(time.Second)
	}
	if n := w.count("run_stepped") - before; n != 0 {
		t.Errorf("%d steps were taken before the UPS was heard again", n)
	}
	for range 10 {
		w.step(mains)
		w.pass(time.Second)
	}
	if w.count("run_stepped") == before {
		t.Error("the run does not go on although contact is lost for good")
	}
}

// TestH10_ToldOnce: who is heard through a Pi alone is so until it is heard directly; what
// names nobody is nothing.
func TestH10_ToldOnce(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.Started{})
	w.hears("home", "pve1", "pi1")
	for i, c := range []struct {
		in   sentinel.Input
		want int
	}{
		{sentinel.Direct{Site: "home", Name: "pve1"}, 0},
		{sentinel.Direct{Site: "home", Name: "x"}, 0},
		{sentinel.Direct{Site: "home"}, 0},
		{sentinel.Direct{Site: "nowhere", Name: "pve1"}, 0},
		{sentinel.Indirect{Site: "home", Name: "x", Via: "pi1"}, 0},
		{sentinel.Indirect{Site: "home", Via: "pi1"}, 0},
		{sentinel.Indirect{Site: "nowhere", Name: "pve1", Via: "pi1"}, 0},
		{sentinel.Indirect{Site: "home", Name: "pve1", Via: "pi1"}, 1},
		{sentinel.Indirect{Site: "home", Name: "pve1", Via: "pi1"}, 0},
		{sentinel.Direct{Site: "home", Name: "pve1"}, 1},
		{sentinel.Direct{Site: "home", Name: "pve1"}, 0},
	} {
		if facts := w.step(c.in); len(facts) != c.want {
			t.Errorf("%d: %T led to %d facts, want %d", i, c.in, len(facts), c.want)
		}
	}
	w.checkReplay()
}

// TestH6_AmongOthers an incident is found that goes on: whatever else there was lately, and
// the last of several.
func TestH6_AmongOthers(t *testing.T) {
	for range 20 { // they are looked through in no order
		w := newWorld(t, home())
		w.step(sentinel.Started{})
		w.hears("home", "pve1", "pve2", "nas", "pi1")
		over := func(id, site string, kind sentinel.IncidentKind, nodes ...string) {
			w.now = w.now.Add(time.Minute)
			w.state.Evolve(w.now, &sentinel.IncidentOpened{ID: id, Site: site, Kind: kind, Nodes: nodes, Since: w.now})
			w.state.Evolve(w.now, &sentinel.IncidentResolved{ID: id})
		}
		over("a", "home", sentinel.NodeFailure, "pve1", "pve2")
		over("b", "home", sentinel.NodeFailure, "pve1")
		over("c", "home", sentinel.NodeFailure, "nas")
		over("d", "home", sentinel.PowerOutage, "pve1")
		over("e", "office", sentinel.NodeFailure, "pve1")
		facts := w.step(w.silence("pve1", map[string]time.Duration{"pve1": 20 * time.Second, "pve2": 0, "nas": 0, "pi1": 0}))
		if f, ok := facts[1].(*sentinel.IncidentReopened); !ok || f.ID != "b" {
			t.Fatalf("%s: %+v", facts[1].FactName(), facts[1])
		}
	}
}

// TestR3_IDsOfTheSameSecond are told apart by a number.
func TestR3_IDsOfTheSameSecond(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.Started{})
	w.hears("home", "pve1", "pve2", "nas")
	since := w.now.Add(-20 * time.Second)
	const first = "home-node-20261121T190140Z"
	for _, id := range []string{first, first + "-2"} {
		w.state.Evolve(w.now, &sentinel.IncidentOpened{ID: id, Site: "home", Kind: sentinel.NodeFailure, Nodes: []string{"x"}, Since: since})
		w.state.Evolve(w.now, &sentinel.IncidentResolved{ID: id})
	}
	w.step(w.silence("pve1", map[string]time.Duration{"pve1": 20 * time.Second, "pve2": 0, "nas": 0}))
	if open := w.state.OpenIncidents(); len(open) != 1 || open[0].ID != first+"-3" {
		t.Errorf("opened %+v", open)
	}
}

// TestH9_DeletedFromWhatGoesOn there alone: what is over keeps its nodes, and so does what
// goes on at another site about a node of that name. Of who announced nothing there is
// nothing to remember.
func TestH9_DeletedFromWhatGoesOn(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.Started{})
	w.hears("home", "pve1", "pve2")
	for id, site := range map[string]string{"over": "home", "on": "home", "elsewhere": "office"} {
		w.state.Evolve(w.now, &sentinel.IncidentOpened{ID: id, Site: site, Kind: sentinel.PowerOutage, Nodes: []string{"pve1", "pve2"}})
	}
	w.state.Evolve(w.now, &sentinel.IncidentResolved{ID: "over"})
	w.state.Evolve(w.now, &sentinel.SourceDeleted{Site: "home", Name: "pve1", By: "alice"})
	for id, want := range map[string]int{"over": 2, "on": 1, "elsewhere": 2} {
		if n := len(w.state.Incidents[id].Nodes); n != want {
			t.Errorf("%s is about %d nodes, want %d", id, n, want)
		}
	}
	if n := len(w.state.Sites["home"].Gone); n != 0 {
		t.Errorf("%d that are gone are remembered", n)
	}
}

// TestH7_WhoIsExpectedAnew by another configuration: only who was never heard. A node that
// was deleted stays so.
func TestH7_WhoIsExpectedAnew(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.Started{})
	w.hears("home", "pve1", "pve2")
	w.step(sentinel.Delete{Site: "home", Name: "pve1", By: "alice"})
	if facts := w.step(sentinel.Configured{Config: home()}); len(facts) != 0 {
		t.Errorf("the same again led to %s", facts[0].FactName())
	}
	later := home()
	later.Sites[0].Nodes, later.Sites[0].Pis = []string{"pve1"}, []string{"pi1", "nas"}
	facts := w.step(sentinel.Configured{Config: later})
	if len(facts) != 1 || facts[0].FactName() != "source_expected" || facts[0].(*sentinel.SourceExpected).Name != "nas" {
		t.Errorf("a node that became a Pi, and one that is named no more: %d facts", len(facts))
	}
	later.Sites[0].Pis = []string{"pi1"}
	facts = w.step(sentinel.Configured{Config: later})
	if len(facts) != 1 || facts[0].FactName() != "source_forgotten" || facts[0].(*sentinel.SourceForgotten).Name != "nas" {
		t.Errorf("one that is named no more, and was never heard: %d facts", len(facts))
	}
	if w.state.Sites["home"].Sources["pve2"] == nil {
		t.Error("who is heard is forgotten")
	}
}
