package sentinel_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/shutdown"
)

// TestR3_SnapshotOfWhatWasOnlyConfigured: who is in a snapshot because the configuration of
// then had named it is not, or not as that, by today's; a site that only facts know is.
func TestR3_SnapshotOfWhatWasOnlyConfigured(t *testing.T) {
	w := newWorld(t, home())
	w.state.Evolve(w.now, &sentinel.SourceAppeared{Site: "home", Name: "pve1", Role: sentinel.Node, Boot: "a"})
	w.state.Evolve(w.now, &sentinel.SourceAppeared{Site: "cabin", Name: "hut", Role: sentinel.Node, Boot: "a"})
	data, err := w.state.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	later := home()
	later.Sites[0].Nodes, later.Sites[0].Pis = []string{"pve1", "pve3"}, []string{"nas"}
	s, err := sentinel.FromSnapshot(later, data)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]sentinel.Role{}
	for _, site := range s.Sites {
		for name, src := range site.Sources {
			got[site.Name+"/"+name] = src.Role
		}
	}
	want := map[string]sentinel.Role{"home/pve1": sentinel.Node, "home/pve3": sentinel.Node, "home/nas": sentinel.Pi, "cabin/hut": sentinel.Node}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestR3_SnapshotsThatAreNotWhole are refused: a run past its end, or what is nothing. A run
// that is through is whole.
func TestR3_SnapshotsThatAreNotWhole(t *testing.T) {
	w := outageMidway(t)
	data, err := w.state.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	run := w.state.Sites["home"].Run
	for name, c := range map[string]struct {
		set   func(run, incidents map[string]any)
		whole bool
	}{
		"as it was":             {func(_, _ map[string]any) {}, true},
		"all targets are past":  {func(run, _ map[string]any) { run["past"] = len(run["targets"].([]any)) }, true},
		"more are past":         {func(run, _ map[string]any) { run["past"] = len(run["targets"].([]any)) + 1 }, false},
		"fewer than none":       {func(run, _ map[string]any) { run["past"] = -1 }, false},
		"the last stage":        {func(run, _ map[string]any) { run["stage"] = len(w.state.Sites["home"].Run.Plan.Stages) - 1 }, true},
		"a stage after it":      {func(run, _ map[string]any) { run["stage"] = len(w.state.Sites["home"].Run.Plan.Stages) }, false},
		"a target is nothing":   {func(run, _ map[string]any) { run["targets"] = []any{nil} }, false},
		"an incident is none":   {func(_, incidents map[string]any) { incidents["x"] = nil }, false},
		"a call of it is none":  {func(_, incidents map[string]any) { incidents["x"] = map[string]any{"ID": "x", "Calls": []any{nil}} }, false},
		"an incident of no use": {func(_, incidents map[string]any) { incidents["x"] = map[string]any{"ID": "x"} }, true},
	} {
		var snap map[string]any
		if err := json.Unmarshal(data, &snap); err != nil {
			t.Fatal(err)
		}
		state := snap["state"].(map[string]any)
		site := state["Sites"].(map[string]any)["home"].(map[string]any)
		c.set(site["Run"].(map[string]any), state["Incidents"].(map[string]any))
		text, err := json.Marshal(snap)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sentinel.FromSnapshot(w.cfg, text); (err == nil) != c.whole {
			t.Errorf("%s: %v (%d targets)", name, err, len(run.Targets))
		}
	}
}

// TestR3_SnapshotOfOneRunAndOneCut: when only the last run of all Pis was kept, and one UPS that was
// cut off, a Pi that says that run again has begun none, and the UPS is cut off still.
func TestR3_SnapshotOfOneRunAndOneCut(t *testing.T) {
	w := newWorld(t, home())
	run := shutdown.Status{ID: "home-pi1-1", Epoch: shutdown.Epoch{Counter: 1, Holder: "pi1"}, State: shutdown.HasEnded}
	w.state.Evolve(w.now, &sentinel.PiRunSeen{Site: "home", Pi: "pi1", Run: run})
	w.state.Evolve(w.now, &sentinel.OutputCut{Site: "home", UPS: "apc1", Pi: "pi1"})
	data, err := w.state.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var snap map[string]any
	if err := json.Unmarshal(data, &snap); err != nil {
		t.Fatal(err)
	}
	site := snap["state"].(map[string]any)["Sites"].(map[string]any)["home"].(map[string]any)
	delete(site, "PiRuns")
	site["Cut"] = "apc1"
	if data, err = json.Marshal(snap); err != nil {
		t.Fatal(err)
	}
	s, err := sentinel.FromSnapshot(w.cfg, data)
	if err != nil {
		t.Fatal(err)
	}
	if cut := s.Sites["home"].Cut; len(cut) != 1 || cut[0] != "apc1" {
		t.Errorf("%q are cut off", cut)
	}
	for _, f := range s.Step(w.now.Add(time.Hour), sentinel.PiReported{Site: "home", Pi: "pi1", Run: run}) {
		if f.FactName() == "pi_run_seen" {
			t.Errorf("a run that was known is seen: %+v", f)
		}
	}
	other := shutdown.Status{ID: "home-pi2-1", Epoch: shutdown.Epoch{Counter: 2, Holder: "pi2"}, State: shutdown.HasEnded}
	s.Step(w.now.Add(2*time.Hour), sentinel.PiReported{Site: "home", Pi: "pi2", Run: other})
	for _, f := range s.Step(w.now.Add(3*time.Hour), sentinel.PiReported{Site: "home", Pi: "pi1", Run: run}) {
		if f.FactName() == "pi_run_seen" {
			t.Errorf("a run that was known is seen once another Pi told of its own: %+v", f)
		}
	}
	if at := s.Sites["home"].PiRunAt; !at.Equal(w.now.Add(2 * time.Hour)) {
		t.Errorf("the last run was seen at %v", at)
	}
}
