package sentinel_test

import (
	"fmt"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/cause"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// count is how many facts of a name there are so far.
func (w *world) count(name string) (n int) {
	for _, k := range w.kept {
		if k.name == name {
			n++
		}
	}
	return n
}

// silence is a source of home that said nothing for Silence, with the last words of all.
func (w *world) silence(name string, ago map[string]time.Duration) sentinel.Silent {
	in := sentinel.Silent{Site: "home", Name: name, Last: w.now.Add(-ago[name])}
	for n, d := range ago {
		in.Up = append(in.Up, cause.Source{Name: n, Pi: n == "pi1", Last: w.now.Add(-d)})
	}
	return in
}

// hears has nodes and Pis of a site say their first word.
func (w *world) hears(site string, names ...string) {
	for _, n := range names {
		role := sentinel.Node
		if n == "pi1" {
			role = sentinel.Pi
		}
		w.step(sentinel.Heard{Site: site, Name: n, Role: role, Boot: "a"})
	}
}

// TestH5_UnderTheLimit an outage is worse, and not at it.
func TestH5_UnderTheLimit(t *testing.T) {
	for _, c := range []struct {
		charge  float64
		runtime time.Duration
		worse   int
	}{{0.3, 5 * time.Minute, 0}, {0.299, 5 * time.Minute, 1}, {0.3, 5*time.Minute - time.Second, 1}} {
		cfg := home()
		cfg.Sites[0].Plan = nil
		w := newWorld(t, cfg)
		w.step(sentinel.Started{})
		w.step(reported(power.Mains, 10, 0))
		w.pass(10 * time.Second)
		w.step(reported(power.Battery, 5, 0))
		low := reported(power.Battery, 6, 0)
		runtime := power.InSeconds(c.runtime)
		low.Reading.Charge, low.Reading.Runtime = &c.charge, &runtime
		w.now = w.now.Add(time.Second)
		w.step(low)
		if n := w.count("incident_worse"); n != c.worse {
			t.Errorf("charge %v, runtime %s: worse %d times, want %d", c.charge, c.runtime, n, c.worse)
		}
	}
}

// TestU9_ContactIsLostAfter10s: a lone node on its UPS tells of the UPS only then.
func TestU9_ContactIsLostAfter10s(t *testing.T) {
	for lost, want := range map[time.Duration]string{
		10 * time.Second:                  "it sent nothing for 20 s and announced nothing",
		10*time.Second + time.Millisecond: "UPS ups2 was switched off or is broken: everything on it is silent",
	} {
		cfg := home()
		cfg.Sites[0].Feeds = map[string][]string{"ups1": {"pve1", "pve2"}, "ups2": {"nas"}}
		w := newWorld(t, cfg)
		w.step(sentinel.Started{})
		w.hears("home", "pve1", "nas", "pi1")
		w.step(sentinel.UPSReported{Site: "home", Pi: "pi1", UPS: "ups2", Reading: power.Reading{Supply: power.Mains, For: 9000}})
		w.now = w.now.Add(lost)
		facts := w.step(w.silence("nas", map[string]time.Duration{"nas": 20 * time.Second, "pve1": 0, "pi1": 0}))
		if f, ok := facts[0].(*sentinel.SourceFailed); !ok || f.Why != want {
			t.Errorf("not heard for %s: %+v", lost, facts[0])
		}
	}
}

// TestU6_ALagOf10s is as late as a report may be.
func TestU6_ALagOf10s(t *testing.T) {
	for lag, want := range map[time.Duration]int{10 * time.Second: 1, 10*time.Second + 1: 0} {
		w := newWorld(t, home())
		w.step(sentinel.Started{})
		if facts := w.step(reported(power.Mains, 60, lag)); len(facts) != want {
			t.Errorf("%s under way: %d facts, want %d", lag, len(facts), want)
		}
	}
}

// TestU6_EachReportCounts once an outage was confirmed after a restart, and that takes two
// reports that are 0.9 s apart.
func TestU6_EachReportCounts(t *testing.T) {
	for apart, want := range map[time.Duration]bool{900 * time.Millisecond: true, 899 * time.Millisecond: false} {
		w := newWorld(t, home())
		w.step(sentinel.Started{})
		w.step(reported(power.Mains, 60, 0))
		w.pass(time.Minute)
		w.outage(2)
		w.restart(10 * time.Second)
		battery := func(charge float64) {
			w.now = w.now.Add(apart)
			in := reported(power.Battery, w.now.Sub(w.state.Sites["home"].UPSes["apc1"].Since).Seconds(), 0)
			in.Reading.Charge = &charge
			w.step(in)
		}
		battery(0.8)
		for _, charge := range []float64{0.7, 0.6} {
			battery(charge)
			r, _ := w.state.Sites["home"].UPSes["apc1"].Reading(w.now, time.Hour)
			if got := r.Charge != nil && *r.Charge == charge; got != want {
				t.Errorf("reports %s apart: the one of %v was taken: %v, want %v", apart, charge, got, want)
			}
			if !want {
				break // the next one is far enough from the first
			}
		}
	}
}

// TestN11_OnMainsFor10s: so old may the word of a UPS be that ends an outage of the record.
func TestN11_OnMainsFor10s(t *testing.T) {
	for old, want := range map[time.Duration]int{10 * time.Second: 0, 10*time.Second + 1: 1} {
		w := silentFor(t, 10*time.Minute)
		w.step(reported(power.Mains, 0, 0))
		w.now = w.now.Add(11 * time.Second)
		w.step(sentinel.Recorded{Site: "home", Pi: "pi1", Left: 1, Entries: []sentinel.Record{{Ago: 10 * time.Minute, UPS: "apc1", Reading: power.Reading{Supply: power.Battery}}}})
		w.step(sentinel.Recorded{Site: "home", Pi: "pi1"})
		open := w.state.OpenIncidents()
		if len(open) != 1 || open[0].Kind != sentinel.PowerOutage {
			t.Fatalf("%d incidents", len(open))
		}
		w.step(sentinel.PiReported{Site: "home", Pi: "pi1", Run: shutdown.Status{ID: "pi-run", // what was not seen down has it wait for an answer
			Targets: []shutdown.Outcome{{Kind: shutdown.ProxmoxNode, Name: "pve1", State: "late"}}}})
		w.step(reported(power.Mains, 0, 0))
		w.now = w.now.Add(old)
		w.step(sentinel.Acknowledge{Incident: open[0].ID, By: "alice"})
		if n := len(w.state.OpenIncidents()); n != want {
			t.Errorf("heard %s ago: %d incidents go on, want %d", old, n, want)
		}
	}
}

// TestN3_HeardLately: a site that was heard within 5 s shows that the brain is online.
func TestN3_HeardLately(t *testing.T) {
	for ago, blind := range map[time.Duration]bool{5 * time.Second: false, 5*time.Second + 1: true} {
		w := twoHouses(t)
		in := w.silence("pve1", map[string]time.Duration{"pve1": 20 * time.Second, "pve2": 20 * time.Second})
		in.Elsewhere = map[string][]cause.Source{"office": {{Name: "srv1", Last: w.now.Add(-ago)}, {Name: "srv2", Last: w.now.Add(-time.Minute)}}}
		w.step(in)
		w.step(sentinel.Uplink{Online: false})
		if w.state.Blind.IsZero() == blind {
			t.Errorf("the other site was heard %s ago: blind since %s", ago, w.state.Blind)
		}
	}
}

// twoHouses is a world of two sites whose nodes were heard.
func twoHouses(t *testing.T) *world {
	cfg := home()
	cfg.Sites = append(cfg.Sites, sentinel.SiteConfig{Name: "office", Nodes: []string{"srv1", "srv2"}, Policy: power.DefaultPolicy()})
	w := newWorld(t, cfg)
	w.step(sentinel.Started{})
	w.hears("home", "pve1", "pve2")
	w.hears("office", "srv1", "srv2")
	w.pass(time.Second)
	return w
}

// TestN10_WhoIsKnown: only sites that are known fall silent together; a site is not its own
// neighbour.
func TestN10_WhoIsKnown(t *testing.T) {
	w := twoHouses(t)
	words := map[string]time.Duration{"pve1": 20 * time.Second, "pve2": 20 * time.Second}
	in := w.silence("pve1", words)
	last := in.Last
	in.Elsewhere = map[string][]cause.Source{"attic": {{Name: "x", Last: last}}, "home": in.Up,
		"office": {{Name: "srv1", Last: last}, {Name: "srv2", Last: last}}}
	w.step(in)
	w.step(sentinel.Uplink{Online: true})
	open := w.state.OpenIncidents()
	if len(open) != 1 || open[0].Kind != sentinel.TailnetDown || len(open[0].Nodes) != 4 {
		t.Errorf("%d incidents, the first is %+v", len(open), open)
	}
}

// TestN7_WhatABlindBrainDidNotHear begins as long before it knew that it was blind as a
// silence and a doubt take.
func TestN7_WhatABlindBrainDidNotHear(t *testing.T) {
	for _, c := range []struct {
		before time.Duration
		sees   bool // again, when the record comes
		want   int
	}{{53 * time.Second, false, 1}, {53*time.Second + 1, false, 0}, {53 * time.Second, true, 1}, {53*time.Second + 1, true, 0}} {
		w := newWorld(t, home())
		w.step(sentinel.Started{})
		w.hears("home", "pve1", "pi1")
		w.pass(10 * time.Minute)
		w.step(w.silence("pve1", map[string]time.Duration{"pve1": 20 * time.Second, "pi1": 20 * time.Second}))
		w.step(sentinel.Uplink{Online: false})
		w.now = w.now.Add(time.Minute)
		ago := w.now.Sub(w.state.Blind) + c.before
		if c.sees {
			w.step(sentinel.Uplink{Online: true})
		}
		facts := w.step(sentinel.Recorded{Site: "home", Pi: "pi1", Left: 1, Entries: []sentinel.Record{{Ago: ago, Node: "pve1"}}})
		if len(facts) != c.want {
			t.Errorf("%s before, sees again %v: %d facts, want %d", c.before, c.sees, len(facts), c.want)
		}
	}
}

// TestH8_RememberedFor5Min an outage still begins the plan.
func TestH8_RememberedFor5Min(t *testing.T) {
	for away, begins := range map[time.Duration]bool{5 * time.Minute: true, 5*time.Minute + 1: false} {
		w := newWorld(t, home())
		w.step(sentinel.Started{})
		w.step(reported(power.Mains, 100, 0))
		w.pass(1100 * time.Millisecond)
		w.step(reported(power.Battery, 0, 0))
		w.restart(away)
		w.pass(time.Minute)
		if run := w.state.Sites["home"].Run; (run != nil) != begins {
			t.Errorf("after %s a plan began: %v, want %v", away, run != nil, begins)
		}
	}
}

// TestA7_BootsAreBounded: a source's last 16 boots are remembered, and what they announced.
func TestA7_BootsAreBounded(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.Started{})
	for i := range 40 {
		w.now = w.now.Add(time.Minute)
		boot := fmt.Sprint(i)
		w.step(sentinel.Heard{Site: "home", Name: "pve1", Role: sentinel.Node, Boot: boot})
		w.step(sentinel.Announced{Site: "home", Name: "pve1", Boot: boot, ID: boot, Kind: "reboot", Returns: true, Seq: int64(i + 1)})
	}
	src := w.state.Sites["home"].Sources["pve1"]
	if len(src.Left) != 16 || src.Left[15] != "38" || len(src.Said) != 16 || src.Said[15].Boot != "39" {
		t.Errorf("left %v, said %v", src.Left, src.Said)
	}
}

// TestN7_GapsAreBounded as the memory for entries is.
func TestN7_GapsAreBounded(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.Started{})
	for range 40 {
		w.now = w.now.Add(time.Minute)
		w.state.Evolve(w.now, &sentinel.SourceBack{Site: "home", Name: "pi1", Boot: "a", Away: 30 * time.Second})
	}
	if n := len(w.state.Sites["home"].Sources["pi1"].Gaps); n != 16 {
		t.Errorf("%d gaps are remembered", n)
	}
}

// TestN8_TheLastWordWasBattery: then the call about a site out of reach comes at once, also
// where a power outage is told later than by default.
func TestN8_TheLastWordWasBattery(t *testing.T) {
	cfg := home()
	cfg.Times.OutageNotice, cfg.Sites[0].Policy.RideThrough = 10*time.Minute, 10*time.Minute
	w := newWorld(t, cfg)
	w.step(sentinel.Started{})
	w.hears("home", "pve1", "pi1")
	w.step(reported(power.Mains, 60, 0))
	w.pass(time.Minute)
	w.step(reported(power.Battery, 0, 0))
	w.pass(20 * time.Second)
	w.step(w.silence("pve1", map[string]time.Duration{"pve1": 20 * time.Second, "pi1": 20 * time.Second}))
	facts := w.step(sentinel.Uplink{Online: true})
	f, ok := facts[len(facts)-1].(*sentinel.CallRequested)
	if !ok || f.Why != "the last word of the site was that it is on battery" {
		t.Errorf("at last came %s: %+v", facts[len(facts)-1].FactName(), facts[len(facts)-1])
	}
}

// TestN9_APiWithoutAGap: a journal from before gaps were noted has an outage end as well.
func TestN9_APiWithoutAGap(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.Started{})
	w.hears("home", "pve1", "pi1")
	w.state.Evolve(w.now, &sentinel.IncidentOpened{ID: "i", Site: "home", Kind: sentinel.InternetOutage, Since: w.now, Nodes: []string{"pve1", "pi1"}})
	w.pass(time.Second)
	w.step(sentinel.Tick{})
	w.pass(time.Minute)
	if i := w.state.Incidents["i"]; i.Open() {
		t.Error("it goes on")
	}
}

// TestN10_WhoIsAtRest leaves the others out of reach: a site of which all turn out to have
// announced their shutdown is no part of it.
func TestN10_WhoIsAtRest(t *testing.T) {
	cfg := home()
	for _, name := range []string{"office", "shop"} {
		cfg.Sites = append(cfg.Sites, sentinel.SiteConfig{Name: name, Policy: power.DefaultPolicy()})
	}
	w := newWorld(t, cfg)
	w.step(sentinel.Started{})
	w.hears("home", "pve1")
	w.hears("office", "srv1")
	w.hears("shop", "till")
	w.pass(time.Second)
	in := w.silence("pve1", map[string]time.Duration{"pve1": 20 * time.Second})
	in.Elsewhere = map[string][]cause.Source{"office": {{Name: "srv1", Last: in.Last}}, "shop": {{Name: "till", Last: in.Last}}}
	w.step(in)
	w.step(sentinel.Announced{Site: "home", Name: "pve1", Boot: "a", ID: "1", Kind: "poweroff", Age: 20 * time.Second})
	w.step(sentinel.Uplink{Online: true})
	open := w.state.OpenIncidents()
	if len(open) != 1 || open[0].Kind != sentinel.TailnetDown || len(open[0].Nodes) != 2 {
		t.Errorf("%d incidents: %+v", len(open), open)
	}
	if src := w.state.Sites["home"].Sources["pve1"]; src.Condition != sentinel.Off {
		t.Errorf("pve1 is %s", src.Condition)
	}
}

// TestS5_AReportIsFreshFor3s: from then on contact is lost.
func TestS5_AReportIsFreshFor3s(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.Started{})
	w.step(reported(power.Mains, 10, 0))
	u := w.state.Sites["home"].UPSes["apc1"]
	for old, fresh := range map[time.Duration]bool{3 * time.Second: true, 3*time.Second + 1: false} {
		if r, ok := u.Reading(w.now.Add(old), w.cfg.Times.ReportFresh); !ok || (r.LostFor == nil) != fresh {
			t.Errorf("%s old: %+v, %v", old, r, ok)
		}
	}
}

// TestR3_IncidentsAreKeptForADay after they were over.
func TestR3_IncidentsAreKeptForADay(t *testing.T) {
	for after, kept := range map[time.Duration]bool{24 * time.Hour: true, 24*time.Hour + 1: false} {
		w := newWorld(t, home())
		w.state.Evolve(w.now, &sentinel.IncidentOpened{ID: "a", Site: "home", Kind: sentinel.PowerOutage})
		w.state.Evolve(w.now, &sentinel.IncidentResolved{ID: "a"})
		w.state.Evolve(w.now.Add(after), &sentinel.IncidentOpened{ID: "b", Site: "home", Kind: sentinel.PowerOutage})
		if got := w.state.Incidents["a"] != nil; got != kept {
			t.Errorf("after %s it is known: %v", after, got)
		}
	}
}

// TestR6_IncidentsInOrder of their beginnings, and those of one moment of their names.
func TestR6_IncidentsInOrder(t *testing.T) {
	w := newWorld(t, home())
	for _, id := range []string{"d", "b", "c"} {
		w.state.Evolve(w.now, &sentinel.IncidentOpened{ID: id, Site: "home", Kind: sentinel.PowerOutage})
	}
	w.state.Evolve(w.now.Add(-time.Second), &sentinel.IncidentOpened{ID: "z", Site: "home", Kind: sentinel.PowerOutage})
	for range 20 { // they are kept in no order
		ids := ""
		for _, i := range w.state.OpenIncidents() {
			ids += i.ID
		}
		if ids != "zbcd" {
			t.Fatalf("they come as %s", ids)
		}
	}
}

// TestN10_KeysOf14Days are told of, and no others.
func TestN10_KeysOf14Days(t *testing.T) {
	const notice = 14 * 24 * time.Hour
	for left, want := range map[time.Duration]int{notice: 1, notice + 1: 0} {
		w := newWorld(t, home())
		w.step(sentinel.Started{})
		if facts := w.step(sentinel.KeyExpiring{Site: "home", Name: "pve1", At: w.now.Add(left), Left: left}); len(facts) != want {
			t.Errorf("%s before: %d facts, want %d", left, len(facts), want)
		}
	}
}

// TestA7_ForgedAgain is told an hour after the last time.
func TestA7_ForgedAgain(t *testing.T) {
	for after, want := range map[time.Duration]int{time.Hour - 1: 0, time.Hour: 1} {
		cfg := home()
		cfg.Times.PendingNotice = 0
		w := newWorld(t, cfg)
		w.step(sentinel.Started{})
		in := sentinel.Forged{Site: "home", Name: "pve1", From: "192.0.2.7", Times: 3}
		w.step(in)
		w.now = w.now.Add(after)
		if facts := w.step(in); len(facts) != want {
			t.Errorf("after %s: %d facts, want %d", after, len(facts), want)
		}
	}
}
