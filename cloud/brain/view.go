package brain

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/wire"
)

// view is what the loop lets others see of its state, as of one turn.
type view struct {
	at       time.Time                          // the brain's time
	mandates map[string]map[string]wire.Mandate // by site and Pi
	causes   map[string]bool                    // a run may tell on mains too, since it has another cause (rule S0)
	mains    map[string]bool                    // all UPSes of the site are on mains
	open     map[string]bool                    // the incidents that go on, by id
	unsaved  bool                               // the journal is not written
	run      map[string]string                  // the id of the run that is under way and may tell
	left     map[string]map[string]bool         // the machines that it leaves on, by site
	starts   map[string]string                  // of the run whose guests may be started again now
	testHeld map[string]string                  // by contact, why no test call would come now
	limits   map[string]power.Status            // by UPS, of its apcupsd
	troubles troubles
	page     *web.View
}

// publish makes a new view after each turn, of a state that was judged as of now.
func (b *Brain) publish(now time.Time) {
	b.noteLeft(now)
	v := &view{at: now, testHeld: b.testsHeld(now), unsaved: b.broken, mandates: map[string]map[string]wire.Mandate{}, mains: map[string]bool{}, run: map[string]string{}, left: map[string]map[string]bool{}, starts: map[string]string{}, causes: map[string]bool{}, open: map[string]bool{}}
	for _, i := range b.state.OpenIncidents() {
		v.open[i.ID] = true
	}
	for name, site := range b.state.Sites {
		v.mandates[name], v.mains[name], v.causes[name] = b.mandates(site, now), site.Supply() == power.Mains, b.state.CauseActs(name, now)
		if r := site.Run; r != nil && !r.Over() {
			if site.TakenBy == "" {
				v.run[name], v.left[name] = r.ID, leftBy(r)
			}
		} else if r != nil && r.PutsBack() && b.state.MayStart(name, now) {
			v.starts[name] = r.ID
		}
	}
	for site, p := range b.performers {
		looks := b.state.Sites[site].Run.Looks()
		p.looks.Store(&looks)
	}
	v.limits, v.troubles = b.limitsOf(now), b.troubled()
	v.page = b.pageView(now, v.troubles)
	b.view.Store(v)
}

// mandates are what each of a site's Pis is told.
func (b *Brain) mandates(site *sentinel.Site, now time.Time) map[string]wire.Mandate {
	all, acts := map[string]wire.Mandate{}, b.state.CauseActs(site.Name, now)
	for _, sc := range b.core().Sites {
		for _, pi := range sc.Pis {
			if sc.Name != site.Name {
				continue
			}
			epoch, run, id := b.state.Mandate(sc.Name, pi, now)
			m := wire.Mandate{Epoch: epoch, Run: run, RunID: id, Scope: site.Scope()}
			if acts && !site.Run.ForPower() {
				m.On = site.Run.On
			}
			all[pi] = m
		}
	}
	return all
}

// troubled are the warnings that the doctor has lines of their own for.
func (b *Brain) troubled() (t troubles) {
	t.phone = b.phoneTrouble()
	if why := b.noKeys.Load(); why != nil {
		t.phone = append(t.phone, *why)
	}
	t.channels = b.channelTroubles()
	if b.tailnet != nil {
		if trouble := tailnetTrouble(b.tailnet.Status()); trouble != "" {
			t.tailnet = []string{trouble}
		}
	}
	return t
}

func (b *Brain) pageView(now time.Time, t troubles) *web.View {
	v := &web.View{At: b.machine.wall(), Calls: map[string]int{}, Waiting: b.waiting(), Warnings: slices.Clone(b.warnings)}
	if text := b.refusal(); text != "" {
		v.Warnings = append(v.Warnings, text)
	}
	if b.armingUnknown() {
		v.Warnings = append(v.Warnings, armingWarning)
	}
	if b.broken { // rule R3: act, and say so
		v.Warnings = append(v.Warnings, "The journal cannot be written; a restart now would forget what has happened since.")
	}
	v.Phone, v.Tests = b.phoneSaid(), b.testViews()
	v.Warnings = append(append(v.Warnings, b.planTroubles()...), t.all()...)
	for _, name := range slices.Sorted(maps.Keys(b.state.Sites)) {
		if name == "" {
			continue // of what is of no site
		}
		v.Sites = append(v.Sites, b.siteView(b.state.Sites[name], now))
	}
	incidents := slices.SortedFunc(maps.Values(b.state.Incidents), func(x, y *sentinel.Incident) int {
		if x.Open() != y.Open() {
			return map[bool]int{true: -1, false: 1}[x.Open()]
		}
		return cmp.Or(y.Opened.Compare(x.Opened), strings.Compare(x.ID, y.ID))
	})
	for _, i := range incidents {
		for _, c := range i.Calls {
			v.Calls[outcome(c)]++
		}
		v.Incidents = append(v.Incidents, b.incidentView(i))
	}
	for _, e := range slices.Backward(inOrder(b.timeline)) {
		v.Timeline = append(v.Timeline, b.entryView(e))
	}
	v.Verdict, v.Well = b.verdict(v.Sites, len(v.Warnings), now)
	return v
}

// waiting are the machines that nobody knows, and how each is approved.
func (b *Brain) waiting() []web.Stranger {
	var out []web.Stranger
	for _, s := range b.identities.Waiting() {
		w := web.Stranger{Name: s.Name, Site: s.Site, Role: string(s.Role), Key: string(s.Key), StableID: s.StableID, From: s.From, Why: s.Why, Hold: s.Hold,
			First: b.clock.Shown(s.First).In(b.zone(s.Site)), Last: b.clock.Shown(s.Last).In(b.zone(s.Site))}
		if s.Hold == "" {
			w.Command = fmt.Sprintf("sudo sentinel-cloud approve %s --key %s", s.Name, s.Key)
			if s.Site == "" {
				w.Command += " --site SITE"
			}
		}
		out = append(out, w)
	}
	return out
}

func (b *Brain) siteView(site *sentinel.Site, now time.Time) web.Site {
	s := web.Site{Name: site.Name, Armed: site.Armed, HasPlan: b.plan(site.Name) != nil, MaintenanceUntil: b.until(site.Name, site.MaintainedUntil, now)}
	if s.HasPlan {
		s.ArmingUnknown = b.armingUnknown()
		s.Unconfirmed = b.unconfirmed(site.Name, site.Armed)
	}
	for _, i := range b.state.OpenIncidents() {
		if i.Site == site.Name {
			s.OpenIncidents++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(site.UPSes)) {
		s.UPSes = append(s.UPSes, b.upsView(site.UPSes[name], now))
	}
	for _, name := range slices.Sorted(maps.Keys(site.Sources)) {
		src := site.Sources[name]
		s.Sources = append(s.Sources, b.sourceView(site, src, now))
	}
	s.Runs, s.Off = b.runsView(site, now), b.offView(site)
	b.stopView(&s, site)
	return s
}

func (b *Brain) sourceView(site *sentinel.Site, src *sentinel.Source, now time.Time) web.Source {
	w := web.Source{Name: src.Name, Role: string(src.Role), Condition: string(src.Condition), Incident: src.Incident, OnlyBy: src.OnlyBy, CloneOf: src.CloneOf,
		BackBy:           b.until(site.Name, src.BackBy, time.Time{}),
		MutedUntil:       b.until(site.Name, src.MutedUntil, now),
		MaintenanceUntil: b.until(site.Name, src.MaintainedUntil, now)}
	if last, _, ok := b.table.Last(liveness.Key{Site: site.Name, Name: src.Name}); ok {
		w.Heard, w.Age = true, now.Sub(last)
	}
	if k, ok := b.identities.Lookup(src.Name); ok && k.Site == site.Name {
		w.Key = string(k.Key)
	}
	w.Note = b.note(w, src)
	w.State = b.inWords(w, src)
	return w
}

// until is a moment by the site's clock; zero if there is none, or if it is over.
func (b *Brain) until(site string, t, now time.Time) time.Time {
	if t.IsZero() || !now.Before(t) {
		return time.Time{}
	}
	return b.clock.Shown(t).In(b.zone(site))
}

func (b *Brain) upsView(u *sentinel.UPS, now time.Time) web.UPS {
	w := web.UPS{Name: u.Name, Supply: string(u.Supply), OnBattery: u.Supply == power.Battery, Stale: true}
	r, ok := u.Reading(now, b.core().Times.ReportFresh)
	if !ok {
		w.For = now.Sub(u.Since)
		return w
	}
	w.For, w.Charge, w.Load = r.For.Duration(), r.Charge, r.Load
	if r.Runtime != nil {
		d := r.Runtime.Duration()
		w.Runtime = &d
	}
	if r.LostFor != nil {
		w.Age = r.LostFor.Duration()
	}
	w.Stale = w.Age > 2*piReportEach
	return w
}

// piReportEach is how often a Pi reports while nothing happens.
const piReportEach = 5 * time.Second

func (b *Brain) incidentView(i *sentinel.Incident) web.Incident {
	w := web.Incident{ID: i.ID, Kind: string(i.Kind), Title: web.Title(string(i.Kind), i.Site), Site: i.Site, Open: i.Open(),
		Since: b.clock.Shown(i.Since).In(b.zone(i.Site)), Ended: b.until(i.Site, i.Resolved, time.Time{}),
		Why: i.Why, Outcome: i.Outcome, Nodes: slices.Clone(i.Nodes), Answered: i.Answered}
	for _, g := range i.Earlier {
		w.Earlier = append(w.Earlier, web.Spell{Since: b.clock.Shown(g.From).In(b.zone(i.Site)), Ended: b.clock.Shown(g.To).In(b.zone(i.Site))})
	}
	if n := len(i.Earlier); n > 0 && i.Since.Before(i.Earlier[n-1].To) {
		w.Since = b.clock.Shown(i.Reopened).In(b.zone(i.Site))
	}
	for _, c := range i.Calls {
		w.Calls = append(w.Calls, web.Call{Contact: c.Contact, At: b.clock.Shown(c.Requested).In(b.zone(i.Site)), Outcome: callView(c)})
	}
	return w
}

// callView is a call's outcome for people: one that a mailbox took was taken by nobody.
func callView(c *sentinel.Call) string {
	if !c.Delivered && strings.Contains(c.Outcome, "taken by ") {
		return "no person took it (" + c.Outcome + ")"
	}
	return outcome(c)
}

func outcome(c *sentinel.Call) string {
	switch {
	case c.Delivered:
		return "answered"
	case !c.Open():
		return c.Outcome
	case c.SID != "":
		return "placed"
	default:
		return "being placed"
	}
}
