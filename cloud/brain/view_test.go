package brain

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/twiliosim"
)

// tells are the lines of an incident's own timeline, the oldest first.
func (h *home) tells(id string) []string {
	h.Helper()
	code, text := h.request(http.MethodGet, "/api/v1/incidents/"+id, nil, nil)
	var got struct{ Timeline []struct{ Text string } }
	if err := json.Unmarshal([]byte(text), &got); err != nil || code != http.StatusOK {
		h.Fatalf("%s answered %d %s: %v", id, code, text, err)
	}
	var lines []string
	for _, e := range got.Timeline {
		lines = append(lines, e.Text)
	}
	return lines
}

// TestR6_AnIncidentsStoryHasEachThingOnce: what the Pi recorded meanwhile as well, at the time
// at which it happened, and what both tell once.
func TestR6_AnIncidentsStoryHasEachThingOnce(t *testing.T) {
	in(t, nil, func(h *home) {
		h.ups.set(true)
		out := time.Now()
		rest(8 * time.Second)
		h.offline()
		rest(100 * time.Second)
		h.ups.set(false)
		back := time.Now()
		rest(20 * time.Second)
		h.online()
		was := func(at time.Time, supply power.Supply, flags power.Flags) {
			n := noted(time.Since(at), supply, flags)
			n.Reading.For = 0
			h.record(0, n)
		}
		was(out, power.Battery, power.OnBattery)
		was(back, power.Mains, power.Online)
		rest(90 * time.Second)
		v := h.view()
		if len(v.Incidents) != 1 || v.Incidents[0].Open {
			h.Fatalf("incidents %+v", v.Incidents)
		}
		lines := h.tells(v.Incidents[0].ID)
		at := -1
		for _, part := range []string{"ups: on battery", "power outage at home", "calling Alex", "home went dark", "contact with ups is lost", "ups: on mains (as pi noted", "pve1 is back", " is over, because the power is back"} {
			n := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, part) })
			if n <= at {
				h.Errorf("%q is not told in its place", part)
			}
			at = max(at, n)
		}
		for _, supply := range []string{"ups: on battery", "ups: on mains"} {
			if n := strings.Count(strings.Join(lines, "\n"), supply); n != 1 {
				h.Errorf("%q is told %d times", supply, n)
			}
		}
		if h.Failed() {
			h.Log(strings.Join(lines, "\n"))
		}
	})
}

// TestR6_TheVerdictNamesWhoIsAway now, and no longer who is back.
func TestR6_TheVerdictNamesWhoIsAway(t *testing.T) {
	in(t, nil, func(h *home) {
		h.nodes["pve2"].kill()
		rest(30 * time.Second)
		h.nodes["pve3"].kill()
		rest(30 * time.Second)
		if v := h.verdict(); v != "pve2, pve3 at home failed 60 s ago. Alex knows." {
			h.Errorf("both are away: %q", v)
		}
		h.nodes["pve2"].wake()
		rest(5 * time.Second)
		if v := h.verdict(); v != "pve3 at home failed 35 s ago. Alex knows." {
			h.Errorf("one is back: %q", v)
		}
		h.nodes["pve3"].wake()
		rest(5 * time.Second)
		if v := h.verdict(); v != "pve2, pve3 at home had failed; none of it is down any more. Alex knows." {
			h.Errorf("both are back: %q", v)
		}
	})
}

// TestR6_ARunThatIsOver is told of as what was, once the power is back.
func TestR6_ARunThatIsOver(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.ups.set(true)
		rest(2 * time.Minute)
		runs := h.view().Sites[0].Runs
		if len(runs) != 1 || runs[0].Title != "The plan is through" || runs[0].Past {
			h.Errorf("while the power is out: %+v", runs)
		}
		h.ups.set(false)
		rest(5 * time.Second)
		v := h.view()
		if runs = v.Sites[0].Runs; len(runs) != 1 || runs[0].Title != "Last run of the plan: 00:00" || !runs[0].Past || v.Incidents[0].Open {
			h.Errorf("when it is back: %+v", runs)
		}
	})
}

// TestR6_ThePisRun is told of as what was once it does not go on and nothing is out any more.
func TestR6_ThePisRun(t *testing.T) {
	for _, tt := range []struct {
		state      shutdown.State
		dry        bool
		then, past string
	}{
		{shutdown.HasEnded, false, "The Pi's own run is through", "Last run of the Pi: 00:00"},
		{shutdown.HasEnded, true, "The Pi's own run was only rehearsed", "Last run of the Pi: 00:00, only rehearsed"},
		{shutdown.Stopped, false, "The Pi's own run was stopped", "Last run of the Pi: 00:00, stopped before its end"},
		{shutdown.Advancing, false, "The Pi's own run advances", "The Pi's own run advances"},
	} {
		in(t, nil, func(h *home) {
			title := func(when, want string, past bool) {
				h.Helper()
				if runs := h.view().Sites[0].Runs; len(runs) != 1 || runs[0].Title != want || runs[0].Past != past {
					h.Errorf("%s: %+v", when, runs)
				}
			}
			h.ups.set(true)
			rest(10 * time.Second)
			h.must(h.brain.submit(h.Context(), sentinel.PiReported{Site: "home", Pi: "pi", Run: shutdown.Status{ID: "r", State: tt.state, DryRun: tt.dry}}))
			title("while the power is out", tt.then, false)
			h.ups.set(false)
			rest(5 * time.Second)
			title("when it is back", tt.past, tt.state != shutdown.Advancing)
		})
	}
}

// TestR6_AnOutagesStoryTellsItsEnd: what ended it, and who came back just after.
func TestR6_AnOutagesStoryTellsItsEnd(t *testing.T) {
	in(t, nil, func(h *home) {
		h.ups.set(true)
		h.nodes["pve3"].kill()
		rest(30*time.Second + 300*time.Millisecond)
		h.ups.set(false)
		rest(2 * time.Second)
		h.nodes["pve3"].wake()
		rest(5 * time.Second)
		lines := h.tells(h.view().Incidents[0].ID)
		if n := len(lines); n < 3 || !strings.HasPrefix(lines[n-3], "ups: on mains") || !strings.HasPrefix(lines[n-1], "pve3 is back") {
			h.Errorf("told\n%s", strings.Join(lines, "\n"))
		}
	})
}

// TestS7_TheVerdictSaysThatThePlanIsNotArmed while all is well, and only where there is one.
func TestS7_TheVerdictSaysThatThePlanIsNotArmed(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		rest(5 * time.Second)
		if v := h.view(); v.Verdict != "All well, but the plan is not armed." || !v.Well {
			h.Errorf("not armed: %q, well %v", v.Verdict, v.Well)
		}
		h.press("/api/v1/plan/arm")
		rest(time.Second)
		if v := h.view(); v.Verdict != "All well." || !v.Well {
			h.Errorf("armed: %q, well %v", v.Verdict, v.Well)
		}
	})
	in(t, nil, func(h *home) {
		rest(5 * time.Second)
		if v := h.verdict(); v != "All well." {
			h.Errorf("without a plan: %q", v)
		}
	})
}

// TestC2_ACallThatNoPersonTook is shown as that, whatever its status.
func TestC2_ACallThatNoPersonTook(t *testing.T) {
	for said, c := range map[string]*sentinel.Call{
		"answered":  {Delivered: true, Outcome: "completed, taken by human", Ended: time.Unix(1, 0)},
		"no-answer": {Outcome: "no-answer", Ended: time.Unix(1, 0)},
		"no person took it (completed, taken by unknown)": {Outcome: "completed, taken by unknown", Ended: time.Unix(1, 0)},
	} {
		if got := callView(c); got != said {
			t.Errorf("%+v: %q, want %q", c, got, said)
		}
	}
}

// TestR6_WhoTellsOfAUPSIsNews, though its supply is the same as was told.
func TestR6_WhoTellsOfAUPSIsNews(t *testing.T) {
	at := time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)
	entries := []journal.Entry{
		{At: at, Fact: &sentinel.RecordTaken{Site: "home", UPS: "ups", At: at, Reading: power.Reading{Supply: power.Battery}}},
		{At: at.Add(time.Second), Fact: &sentinel.SupplyChanged{Site: "home", UPS: "ups", Supply: power.Battery, Since: at}},
		{At: at.Add(time.Minute), Fact: &sentinel.SupplyChanged{Site: "home", UPS: "ups", Supply: power.Battery, Since: at, Pi: "pi2", From: "pi"}},
	}
	got := inOrder(entries)
	if len(got) != 2 || got[1].Fact != entries[2].Fact {
		t.Errorf("%d entries are shown", len(got))
	}
}

// TestR6_TheVerdictOfWhatIsOutOfReach tells for how long nothing was heard, also where it was in
// reach for a while since the outage began.
func TestR6_TheVerdictOfWhatIsOutOfReach(t *testing.T) {
	now := time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		kind sentinel.IncidentKind
		site string
		a, b sentinel.Source
		want string
	}{
		{sentinel.InternetOutage, "home", sentinel.Source{Condition: sentinel.Failed, Incident: "i", Last: ago(2 * time.Minute)},
			sentinel.Source{Condition: sentinel.Failed, Incident: "i", Last: ago(3 * time.Minute)}, "home has been out of reach for 2 min."},
		{sentinel.InternetOutage, "home", sentinel.Source{Condition: sentinel.Failed, Incident: "i", Last: ago(time.Hour)},
			sentinel.Source{Condition: sentinel.Up, Since: ago(30 * time.Second)}, "home has been heard again for 30 s; its outage began 1 h ago."},
		{sentinel.InternetOutage, "home", sentinel.Source{Condition: sentinel.Failed, Incident: "other", Last: ago(time.Minute)},
			sentinel.Source{Condition: sentinel.Up, Since: ago(2 * time.Hour)}, "home has been out of reach for 1 h."},
		{sentinel.TailnetDown, "", sentinel.Source{Condition: sentinel.Failed, Incident: "i", Last: ago(5 * time.Minute)},
			sentinel.Source{Condition: sentinel.Failed, Incident: "i", Last: ago(5 * time.Minute)}, "Tailscale has been out of reach for 5 min; the houses may be fine."},
		{sentinel.TailnetDown, "", sentinel.Source{Condition: sentinel.Failed, Incident: "i", Last: ago(5 * time.Minute)},
			sentinel.Source{Condition: sentinel.Up, Since: ago(10 * time.Second)}, "Tailscale has been in reach again for 10 s; its outage began 1 h ago."},
	} {
		b := &Brain{state: &sentinel.State{Sites: map[string]*sentinel.Site{"home": {Name: "home", Sources: map[string]*sentinel.Source{"a": &c.a, "b": &c.b}}}}}
		i := &sentinel.Incident{ID: "i", Kind: c.kind, Site: c.site, Since: ago(time.Hour), Nodes: []string{"a", "b"}}
		if got := b.unreachedNow(i, now); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestR6_AllIsNotWellUnderAWarning: whoever reads the first line alone learns that there is more.
func TestR6_AllIsNotWellUnderAWarning(t *testing.T) {
	hourly := func(h *home) { // a day of beats would take long
		h.withPlan()
		h.cfg.Calls.SelfTest = config.Duration(time.Hour)
		h.each.Store(int64(8 * time.Second))
	}
	reloading(t, hourly, func(h *home) {
		says := func(want string) {
			h.Helper()
			rest(time.Second)
			if v := h.view(); v.Verdict != want || !v.Well {
				h.Errorf("%q, well %v; want %q, under %q", v.Verdict, v.Well, want, v.Warnings)
			}
		}
		h.write([]byte("failure:\n  treshold: 2\n"))
		says("All well, but the plan is not armed, and there is a warning.")
		h.press("/api/v1/plan/arm")
		says("All well, but there is a warning.")
		h.x.SetAccount(twiliosim.Account{Status: "suspended", Type: "Full", Balance: "20"})
		rest(time.Hour)
		says("All well, but there are 2 warnings.")
	})
}
