package sentinel_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
)

// digestHome is a site of one node in a zone, with a digest by one channel.
func digestHome(t *testing.T, zone string, g sentinel.Digest) sentinel.Config {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	return sentinel.Config{Brain: "cloud", Times: sentinel.DefaultTimes(), Threshold: 1, Digest: &g,
		Sites:  []sentinel.SiteConfig{{Name: "home", Zone: loc, Nodes: []string{"pve1"}}},
		People: []sentinel.Person{{Name: "alice", Channels: []sentinel.Channel{{Name: "ntfy"}}}}}
}

// digestsOf lets a brain live from one moment to another, and asks it when it wants to be asked and
// each quarter of an hour.
func digestsOf(cfg sentinel.Config, from, to time.Time) (moments []time.Time) {
	s := sentinel.New(cfg)
	take := func(at time.Time, in sentinel.Input) {
		for _, f := range s.Step(at, in) {
			if _, is := f.(*sentinel.DigestMade); is {
				moments = append(moments, at)
			}
		}
	}
	take(from, sentinel.Started{})
	for at := from; at.Before(to); {
		next := at.Add(15 * time.Minute)
		if due := s.NextDeadline(); !due.IsZero() && due.Before(next) && due.After(at) {
			next = due
		}
		at = next
		take(at, sentinel.Tick{})
	}
	return moments
}

// TestC7_ADigestComesOnceADay at its time by the clock on the wall, on days that are an hour longer
// or shorter as well, and at an hour that one of them has twice or not at all.
func TestC7_ADigestComesOnceADay(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "Australia/Lord_Howe", "Asia/Taipei"} {
		for _, at := range []time.Duration{0, 2*time.Hour + 30*time.Minute, 8 * time.Hour, 23*time.Hour + 59*time.Minute} {
			for _, month := range []time.Month{time.March, time.April, time.October} {
				cfg := digestHome(t, zone, sentinel.Digest{Daily: true, Weekly: sentinel.Weekly{At: at}})
				loc := cfg.Sites[0].Zone
				from := time.Date(2027, month, 1, 12, 0, 0, 0, loc)
				got := digestsOf(cfg, from.UTC(), from.AddDate(0, 0, 30).UTC())
				if len(got) < 29 || len(got) > 30 {
					t.Errorf("%s, %s, %s: %d digests in 30 days", zone, month, at, len(got))
				}
				for n, made := range got {
					local := made.In(loc)
					clock := time.Duration(local.Hour())*time.Hour + time.Duration(local.Minute())*time.Minute
					if off := (clock - at).Abs(); off > time.Hour || off > 0 && at != 2*time.Hour+30*time.Minute {
						t.Errorf("%s: a digest of %s comes at %s", zone, at, local)
					}
					if n > 0 && local.YearDay() != got[n-1].In(loc).YearDay()+1 {
						t.Errorf("%s: one at %s, the next at %s", zone, got[n-1].In(loc), local)
					}
				}
			}
		}
	}
}

// TestC7_ADigestComesOnceAWeek on its day.
func TestC7_ADigestComesOnceAWeek(t *testing.T) {
	for day := time.Sunday; day <= time.Saturday; day++ {
		cfg := digestHome(t, "Europe/Berlin", sentinel.Digest{Weekly: sentinel.Weekly{Day: day, At: 8 * time.Hour}})
		loc := cfg.Sites[0].Zone
		from := time.Date(2027, time.March, 3, 12, 0, 0, 0, loc)
		got := digestsOf(cfg, from, from.AddDate(0, 0, 8*7))
		if len(got) < 7 || len(got) > 8 {
			t.Errorf("%s: %d digests in 8 weeks", day, len(got))
		}
		for _, made := range got {
			if local := made.In(loc); local.Weekday() != day || local.Format("15:04") != "08:00" {
				t.Errorf("one of %s comes on %s", day, local.Format("Mon 15:04"))
			}
		}
	}
}

// TestC7_ADigestAndAClockThatIsSet: a clock on the wall that is set back or forward over its time
// makes no second one of it.
func TestC7_ADigestAndAClockThatIsSet(t *testing.T) {
	for _, jump := range []time.Duration{-time.Hour, -10 * time.Minute, time.Hour, 10 * time.Minute, -11 * time.Hour} {
		cfg := digestHome(t, "UTC", sentinel.Digest{Daily: true, Weekly: sentinel.Weekly{At: 8 * time.Hour}})
		from := time.Date(2027, time.March, 3, 12, 0, 0, 0, time.UTC)
		set := from.Add(20*time.Hour + 5*time.Minute) // it came five minutes ago
		cfg.Shown = func(at time.Time) time.Time {
			if at.Before(set) {
				return at
			}
			return at.Add(jump)
		}
		if got := digestsOf(cfg, from, from.Add(34*time.Hour)); len(got) != 1 {
			t.Errorf("set by %s: %d digests: %v", jump, len(got), got)
		}
	}
}

// TestC7_AnotherTimeOfADigest that is configured brings no second one on that day, and one that
// nobody configured never comes.
func TestC7_AnotherTimeOfADigest(t *testing.T) {
	cfg := digestHome(t, "UTC", sentinel.Digest{Daily: true, Weekly: sentinel.Weekly{At: 8 * time.Hour}})
	s := sentinel.New(cfg)
	at := time.Date(2027, time.March, 3, 12, 0, 0, 0, time.UTC)
	made := func(d time.Duration, in sentinel.Input) bool {
		at = at.Add(d)
		return slices.ContainsFunc(s.Step(at, in), func(f sentinel.Fact) bool { return f.FactName() == "digest_made" })
	}
	made(0, sentinel.Started{})
	if !made(20*time.Hour, sentinel.Tick{}) {
		t.Fatal("none at 8:00")
	}
	cfg.Digest = &sentinel.Digest{Daily: true, Weekly: sentinel.Weekly{At: 10 * time.Hour}}
	if made(time.Hour, sentinel.Configured{Config: cfg}) || made(time.Hour, sentinel.Tick{}) {
		t.Error("a second one at 10:00")
	}
	if !made(24*time.Hour, sentinel.Tick{}) {
		t.Error("none on the next day")
	}
	cfg.Digest = nil
	if made(time.Hour, sentinel.Configured{Config: cfg}) || made(23*time.Hour, sentinel.Tick{}) {
		t.Error("one that nobody wants")
	}
}

// TestC7_ADigestIsForWhoWantsIt: of each site for the channels that are for it, in one notice.
func TestC7_ADigestIsForWhoWantsIt(t *testing.T) {
	cfg := digestHome(t, "UTC", sentinel.Digest{Daily: true, Weekly: sentinel.Weekly{At: 8 * time.Hour}})
	cfg.Sites = append(cfg.Sites, sentinel.SiteConfig{Name: "office", Zone: cfg.Sites[0].Zone})
	cfg.People[0].Channels = []sentinel.Channel{{Name: "both"}, {Name: "office", Route: routing.Route{Sites: []string{"office"}, Kinds: []string{"digest"}}},
		{Name: "warnings", Route: routing.Route{Least: routing.Warning}}, {Name: "elsewhere", Route: routing.Route{Sites: []string{"cabin"}}},
		{Name: "power", Route: routing.Route{Kinds: []string{"power_outage"}}}}
	s := sentinel.New(cfg)
	at := time.Date(2027, time.March, 3, 12, 0, 0, 0, time.UTC)
	s.Step(at, sentinel.Started{})
	s.Step(at, sentinel.Heard{Site: "home", Name: "pve1", Role: sentinel.Node, Boot: "a"})
	got := map[string]string{}
	for _, f := range s.Step(at.Add(20*time.Hour), sentinel.Tick{}) {
		if n, is := f.(*sentinel.NoticeRequested); is {
			got[n.Channel] = n.Subject
			if has := strings.Contains(n.Text, "pve1"); n.Kind != sentinel.KindDigest || has != (n.Channel == "both") || !strings.Contains(n.Text, "At office, since") {
				t.Errorf("%s is told, as %s:\n%s", n.Channel, n.Kind, n.Text)
			}
		}
	}
	if want := map[string]string{"both": "Digest of home and office: all is well", "office": "Digest of office: all is well"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("told %v", got)
	}
}

// counted lets a state be as if it had happened, at so long after noon.
type counted struct {
	after time.Duration
	fact  sentinel.Fact
}

func countedOf(t *testing.T, facts ...counted) (*sentinel.State, time.Time) {
	t.Helper()
	s := sentinel.New(digestHome(t, "UTC", sentinel.Digest{Daily: true}))
	noon := time.Date(2027, time.March, 3, 12, 0, 0, 0, time.UTC)
	for _, c := range facts {
		s.Evolve(noon.Add(c.after), c.fact)
	}
	return s, noon
}

// TestC7_WhatASilenceCountsAs is what it is known as in the end: of what was planned after all, or
// was the internet's fault, nothing counts as down, and of one that goes on over a digest each
// counts its own part.
func TestC7_WhatASilenceCountsAs(t *testing.T) {
	noon := time.Date(2027, time.March, 3, 12, 0, 0, 0, time.UTC)
	here := counted{0, &sentinel.SourceAppeared{Site: "home", Name: "pve1", Role: sentinel.Node, Boot: "a"}}
	silence := func(incident string) counted {
		return counted{time.Hour + 20*time.Second, &sentinel.SourceFailed{Site: "home", Name: "pve1", Last: noon.Add(time.Hour), Incident: incident}}
	}
	back := counted{2 * time.Hour, &sentinel.SourceBack{Site: "home", Name: "pve1", Boot: "b"}}
	internet := counted{time.Hour, &sentinel.IncidentOpened{ID: "i", Site: "home", Kind: sentinel.InternetOutage, Since: noon.Add(time.Hour)}}
	planned := counted{90 * time.Minute, &sentinel.SourceLeft{Site: "home", Name: "pve1", Last: noon.Add(time.Hour)}}
	digest := counted{90 * time.Minute, &sentinel.DigestMade{}}
	for _, c := range []struct {
		name, says string
		facts      []counted
	}{
		{"always up", "pve1 was up all the time", []counted{here}},
		{"down", "pve1 was up 75 %: down once, Wed 13:00 for 1 h", []counted{here, silence(""), back}},
		{"down still", "pve1 has been down since Wed 13:00", []counted{here, silence("")}},
		{"announced late", "pve1 was off as planned once, Wed 13:00 for 1 h", []counted{here, silence(""), planned, back}},
		{"the internet", "pve1 was up all the time that it could be heard", []counted{here, internet, silence("i"), back}},
		{"the internet, and then itself", "pve1 was up 75 %: down once, Wed 13:00 for 1 h", []counted{here, internet, silence("i"), silence(""), back}},
		{"the power, which became known later", "pve1 was up 75 %: down once", []counted{here, internet, silence("i"), {90 * time.Minute, &sentinel.IncidentBecame{ID: "i", Kind: sentinel.PowerOutage}}, back}},
		{"out of reach still", "pve1 has not been heard since Wed 13:00", []counted{here, internet, silence("i")}},
		{"over a digest", "pve1 was up 80 %: down once, Wed 13:30 for 30 min", []counted{here, silence(""), digest, back}},
		{"before a digest", "pve1 was up all the time", []counted{here, silence(""), back, {2 * time.Hour, &sentinel.DigestMade{}}}},
		{"first heard late", "pve1 was up 50 %: down once", []counted{{3 * time.Hour, here.fact}, {3*time.Hour + 50*time.Minute, &sentinel.SourceFailed{Site: "home", Name: "pve1", Last: noon.Add(3*time.Hour + 30*time.Minute)}}, {4 * time.Hour, back.fact}}},
		{"deleted, and here again", "pve1 was up all the time", []counted{here, silence(""), back, {2 * time.Hour, &sentinel.SourceDeleted{Site: "home", Name: "pve1"}}, {3 * time.Hour, here.fact}}},
		{"down for an instant", "pve1 was up 99.9 %", []counted{here, silence(""), {time.Hour + time.Second, back.fact}}},
	} {
		s, noon := countedOf(t, append([]counted{{0, &sentinel.BrainStarted{}}}, c.facts...)...)
		if _, text := s.Digest(noon.Add(4*time.Hour), []string{"home"}); !strings.Contains(text, c.says) {
			t.Errorf("%s: not %q in\n%s", c.name, c.says, text)
		}
	}
}

// TestC7_WhatCountsAsOnBattery is each time once, whoever tells of it: the UPS's own reports, or
// the record of a Pi that saw what the brain did not.
func TestC7_WhatCountsAsOnBattery(t *testing.T) {
	noon := time.Date(2027, time.March, 3, 12, 0, 0, 0, time.UTC)
	is := func(after, since time.Duration, s power.Supply) counted {
		return counted{after, &sentinel.SupplyChanged{Site: "home", UPS: "apc1", Supply: s, Since: noon.Add(since)}}
	}
	noted := func(at time.Duration, s power.Supply) counted {
		return counted{5 * time.Hour, &sentinel.RecordTaken{Site: "home", Pi: "pi1", UPS: "apc1", At: noon.Add(at), Reading: power.Reading{Supply: s}}}
	}
	mains := is(0, 0, power.Mains)
	for _, c := range []struct {
		name, says string
		facts      []counted
	}{
		{"never", "apc1 was never on battery", []counted{mains}},
		{"twice", "apc1 was on battery twice, 40 min in all, last Wed 14:00 for 30 min", []counted{mains, is(time.Hour, time.Hour, power.Battery), is(70*time.Minute, 70*time.Minute, power.Mains),
			is(2*time.Hour, 2*time.Hour, power.Battery), is(3*time.Hour, 150*time.Minute, power.Mains)}},
		{"another Pi took over meanwhile", "apc1 was on battery once, Wed 13:00 for 10 min", []counted{mains, is(time.Hour, time.Hour, power.Battery), is(65*time.Minute, time.Hour, power.Battery), is(70*time.Minute, 70*time.Minute, power.Mains)}},
		{"a self-test", "apc1 was never on battery", []counted{mains, is(time.Hour, time.Hour, power.SelfTest), is(61*time.Minute, 61*time.Minute, power.Mains)}},
		{"by the record alone", "apc1 was on battery once, Wed 13:00 for 10 min", []counted{mains, noted(time.Hour, power.Battery), noted(70*time.Minute, power.Mains)}},
		{"by both, the record last", "apc1 was on battery once, Wed 13:00 for 10 min", []counted{mains, is(time.Hour, time.Hour, power.Battery), is(5*time.Hour, 70*time.Minute, power.Mains), noted(time.Hour, power.Battery), noted(70*time.Minute, power.Mains)}},
		{"by both, the record first", "apc1 was on battery once, Wed 13:00 for 10 min", []counted{mains, is(time.Hour, time.Hour, power.Battery), noted(time.Hour, power.Battery), noted(70*time.Minute, power.Mains), is(5*time.Hour, 70*time.Minute, power.Mains)}},
		{"by both, the record to its end", "apc1 was on battery once, Wed 13:00 for 15 min", []counted{mains, is(time.Hour, time.Hour, power.Battery), is(5*time.Hour, 70*time.Minute, power.Mains), noted(65*time.Minute, power.Battery), noted(75*time.Minute, power.Mains)}},
		{"by both, the record of its middle", "apc1 was on battery once, Wed 13:00 for 10 min", []counted{mains, is(time.Hour, time.Hour, power.Battery), is(5*time.Hour, 70*time.Minute, power.Mains), noted(62*time.Minute, power.Battery), noted(68*time.Minute, power.Mains)}},
		{"it goes on", "apc1 has been on battery since Wed 13:00", []counted{mains, is(time.Hour, time.Hour, power.Battery)}},
		{"over a digest", "apc1 was on battery once, Wed 14:00 for 30 min", []counted{mains, is(time.Hour, time.Hour, power.Battery), {2 * time.Hour, &sentinel.DigestMade{}}, is(150*time.Minute, 150*time.Minute, power.Mains)}},
	} {
		s, noon := countedOf(t, append([]counted{{0, &sentinel.BrainStarted{}}}, c.facts...)...)
		if _, text := s.Digest(noon.Add(6*time.Hour), []string{"home"}); !strings.Contains(text, c.says) {
			t.Errorf("%s: not %q in\n%s", c.name, c.says, text)
		}
	}
}

// TestC7_NothingIsCountedOfWhoIsGone: what is counted is never more than there is.
func TestC7_NothingIsCountedOfWhoIsGone(t *testing.T) {
	noon := time.Date(2027, time.March, 3, 12, 0, 0, 0, time.UTC)
	s, _ := countedOf(t, counted{0, &sentinel.SourceAppeared{Site: "home", Name: "pve1"}}, counted{0, &sentinel.SourceAppeared{Site: "home", Name: "pve2"}},
		counted{0, &sentinel.SourceAppeared{Site: "office", Name: "pve1"}}, counted{0, &sentinel.PlanArmed{Site: "office"}},
		counted{0, &sentinel.SupplyChanged{Site: "office", UPS: "apc1", Supply: power.Battery, Since: noon}}, counted{time.Hour, &sentinel.SupplyChanged{Site: "office", UPS: "apc1", Supply: power.Mains, Since: noon.Add(time.Hour)}},
		counted{0, &sentinel.IncidentOpened{ID: "i", Site: "office", Since: noon}}, counted{time.Hour, &sentinel.IncidentResolved{ID: "i"}})
	if n := s.Tally; len(n.Sources) != 3 || len(n.Batteries) != 1 || len(n.Outages) != 1 || len(n.Armed) != 1 {
		t.Fatalf("counted %+v", n)
	}
	s.Evolve(noon.Add(2*time.Hour), &sentinel.SourceDeleted{Site: "home", Name: "pve1"})
	s.Evolve(noon.Add(2*time.Hour), &sentinel.SourceForgotten{Site: "home", Name: "pve2"})
	s.Evolve(noon.Add(2*time.Hour), &sentinel.SiteForgotten{Site: "office"})
	if n := s.Tally; n.Sources != nil || n.Batteries != nil || n.Outages != nil || n.Armed != nil {
		t.Errorf("counted still: %+v", n)
	}
}

// TestC7_ADigestIsShort also of a site of which there is much to tell.
func TestC7_ADigestIsShort(t *testing.T) {
	var facts []counted
	noon := time.Date(2027, time.March, 3, 12, 0, 0, 0, time.UTC)
	for n := range 2000 {
		name := fmt.Sprintf("node%04d", n)
		facts = append(facts, counted{0, &sentinel.SourceAppeared{Site: "home", Name: name, Role: sentinel.Node, Boot: "a"}})
		if n%2 == 0 {
			facts = append(facts, counted{time.Hour, &sentinel.SourceFailed{Site: "home", Name: name, Last: noon.Add(time.Hour)}},
				counted{time.Hour + time.Minute, &sentinel.SourceBack{Site: "home", Name: name, Boot: "a"}})
		}
	}
	facts = append(facts, counted{time.Hour, &sentinel.SourceFailed{Site: "home", Name: "node1999", Last: noon.Add(time.Hour)}})
	s, _ := countedOf(t, facts...)
	_, text := s.Digest(noon.Add(2*time.Hour), []string{"home"})
	if len(text) > 2000 || !strings.Contains(text, "\nnode1999 has been down since Wed 13:00.\n") || !strings.Contains(text, "\n990 more were not up all the time.\n") || !strings.Contains(text, "and 987 more were up all the time.\n") {
		t.Errorf("%d bytes:\n%s", len(text), text)
	}
}

// TestC7_NoTimeCountsTwice whatever happens: nothing was so for longer than there is time.
func TestC7_NoTimeCountsTwice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(rt)
		for range rapid.IntRange(5, 60).Draw(rt, "steps") {
			h.act()
			if rapid.IntRange(0, 30).Draw(rt, "digest") == 0 {
				h.state.Evolve(h.now, &sentinel.DigestMade{})
			}
			tally, all := h.state.Tally, h.now.Sub(h.state.Tally.From)
			fits := func(name string, spent time.Duration) {
				if spent < 0 || spent > all {
					rt.Fatalf("%s was so for %s of %s", name, spent, all)
				}
			}
			for name, u := range tally.Sources {
				fits(name, u.Down.For+u.Planned.For+u.Unheard)
			}
			for name, b := range tally.Batteries {
				fits(name, b.For)
			}
			for _, kinds := range tally.Outages {
				for kind, o := range kinds {
					fits(string(kind), o.For)
				}
			}
			if subject, text := h.state.Digest(h.now, []string{"home", "office"}); strings.Contains(subject+text, "%!") || strings.Contains(text, " for -") {
				rt.Fatalf("it reads %s\n%s", subject, text)
			}
		}
	})
}

// TestC7_WhatStandsTold of a UPS or key is part of each digest, until it is not so any more or nobody
// has it.
func TestC7_WhatStandsTold(t *testing.T) {
	s, noon := countedOf(t, counted{0, &sentinel.SourceAppeared{Site: "home", Name: "pve1", Role: sentinel.Node, Boot: "a"}},
		counted{0, &sentinel.SupplyChanged{Site: "home", UPS: "apc1", Supply: power.Mains}},
		counted{0, &sentinel.Noticed{Site: "home", About: "self-test of apc1 at home", As: "told"}},
		counted{0, &sentinel.Noticed{Site: "home", About: "battery of apc1 at home", As: "told"}})
	s.Step(noon, sentinel.KeyExpiring{Site: "home", Name: "pve1", At: noon.Add(24 * time.Hour), Left: 24 * time.Hour})
	s.Step(noon, sentinel.KeyExpiring{Name: "sentinel", At: noon.Add(24 * time.Hour), Left: 24 * time.Hour})
	says := func(want bool, text string) {
		t.Helper()
		if _, got := s.Digest(noon.Add(time.Hour), []string{"home"}); strings.Contains(got, text) != want {
			t.Errorf("%q: not %t in\n%s", text, want, got)
		}
	}
	for _, text := range []string{"it wants its battery replaced", "its last self-test failed", "The Tailscale key of pve1 expires on 4 March 2027", "Beside that:\nThe Tailscale key of sentinel expires on"} {
		says(true, text)
	}
	s.Evolve(noon, &sentinel.SourceDeleted{Site: "home", Name: "pve1"})
	s.Evolve(noon, &sentinel.Noticed{Site: "home", About: "self-test of apc1 at home"})
	says(false, "key of pve1")
	says(false, "self-test")
	s.Step(noon, sentinel.KeyExpiring{Name: "sentinel", At: noon.Add(180 * 24 * time.Hour), Left: 180 * 24 * time.Hour})
	says(false, "Tailscale key")
}
