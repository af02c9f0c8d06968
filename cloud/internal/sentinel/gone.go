package sentinel

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
	"sentinel.home.arpa/shared/shutdown"
)

// gone lets a UPS that was last heard on battery no longer count as that, and reports whether
// it does not from now on: it was unplugged, renamed or replaced, or its apcupsd or Pi died
// (rule U5). While its whole site is silent nobody can tell, and the outage goes on.
func (d *decider) gone(site *Site, u *UPS, r power.Reading) bool {
	if u.Supply == "" || u.Supply == power.Mains || u.Supply == power.Unknown || r.LostFor == nil {
		return false
	}
	lost := r.LostFor.Duration()
	if !d.unheardFor(site, d.now.Add(-lost), r.GoneAfter()) {
		return false
	}
	d.letGo(site, u, d.now.Add(-lost), saidUnheard(u.Name, lost))
	return true
}

// unheardFor reports whether nothing was heard of a UPS since a moment for so long, while others
// of its site live.
func (d *decider) unheardFor(site *Site, since time.Time, after time.Duration) bool {
	if !d.due(since.Add(after)) {
		return false
	}
	lives := site.livesSince()
	return !lives.IsZero() && d.due(lives.Add(after))
}

func saidUnheard(ups string, span time.Duration) string {
	return fmt.Sprintf("nothing has been heard of %s for %s; it no longer counts as on battery", ups, power.Spell(span))
}

// letGo has a UPS no longer count as on battery, which it may have been since a moment.
func (d *decider) letGo(site *Site, u *UPS, since time.Time, why string) {
	lost := power.InSeconds(d.now.Sub(since))
	u.reading, u.at, u.heard, u.claims = power.Reading{Supply: power.Unknown, LostFor: &lost}, d.now, time.Time{}, nil
	d.emit(&SupplyChanged{Site: site.Name, UPS: u.Name, Supply: power.Unknown, Since: since, Reading: u.reading})
	n := &Noticed{Site: site.Name, Text: why, Severity: routing.Warning}
	i := d.open(site.Name, PowerOutage)
	if i != nil {
		n.Incident = i.ID
	}
	d.emit(n)
	if i != nil {
		d.endOutage(i, why)
	}
}

// takenOut lets go at once of a UPS that the configuration named and does not name any more,
// if it is not heard: one that is heard says itself how it is.
func (d *decider) takenOut(sc *SiteConfig, site *Site, u *UPS) {
	if !u.Listed || sc.listsUPS(u.Name) || u.Supply == power.Unknown {
		return
	}
	i := d.open(site.Name, PowerOutage)
	if i == nil || !u.Lost || !d.onBattery(site, i, u.Name) {
		return
	}
	since := d.now
	if !u.at.IsZero() {
		since = u.certain()
	}
	d.letGo(site, u, since, u.Name+" is no longer configured, and nothing is heard of it; it no longer counts as on battery")
}

// remembers reports whether a report tells what its Pi knows from before contact was lost: so
// long ago that it says nothing still, or from before the UPS was let go, or its test was too long for
// one. A test that began after the last word of a battery is news.
func (u *UPS) remembers(r power.Reading, at time.Time) bool {
	if r.LostFor == nil {
		return false
	}
	if u.Supply == power.Battery {
		return r.Supply == power.SelfTest && !at.Add(-r.For.Duration()).After(u.certain().Add(claimSlack))
	}
	lost := r.LostFor.Duration()
	return lost >= r.GoneAfter() || u.Supply == power.Unknown && !at.Add(-lost).After(u.Since.Add(takenSlack))
}

// livesSince is since when something of the site is heard; zero: nothing is.
func (s *Site) livesSince() time.Time {
	var since time.Time
	for _, src := range s.Sources {
		if src.Condition == Up && (since.IsZero() || src.Since.Before(since)) {
			since = src.Since
		}
	}
	return since
}

// onBattery reports whether a UPS is part of a power outage: of one that goes on, whether it
// is on battery still, as far as can be known. All ends of an outage ask this. By its own word
// it is until it says mains, or was not heard for long (gone). By a Pi's record alone it is
// until the record or it says otherwise, or it was not heard for as long (rules N11, U5). Part
// of an outage that is over was also what has been on mains since some time in it.
func (d *decider) onBattery(site *Site, i *Incident, ups string) bool {
	u := site.UPSes[ups]
	switch {
	case !i.Open():
		return i.UPS == ups || u != nil && u.Since.After(i.Since) && !u.Since.After(i.Resolved)
	case u != nil && (u.Supply == power.Battery || u.lowInTest(i)):
		return true
	}
	e := site.lastTaken(ups, i.Since)
	if e == nil || e.Supply != power.Battery {
		return false
	}
	if d.saysMains(u, e.At) || u != nil && u.Supply == power.Unknown && u.Since.After(e.At) { // gone by now
		return false
	}
	known, after := later(e.At, d.attending), power.Reading{}.GoneAfter()
	if u != nil && !u.at.IsZero() && !u.assumed {
		known, after = later(known, u.certain()), u.reading.GoneAfter()
	}
	return !d.unheardFor(site, known, after)
}

// tests reports whether a UPS is on battery by its own wish.
func (u *UPS) tests() bool { return u.Supply == power.SelfTest || u.Supply == power.Calibrates }

// lowInTest reports whether a UPS is in a test in which its battery ran low, which is why the
// outage was opened (rule U3). One of which it is told later that it is a test is none.
func (u *UPS) lowInTest(i *Incident) bool {
	return u.tests() && i.UPS == u.Name && !u.Since.After(i.Opened)
}

// certain is when the last was heard of a UPS that is certain.
func (u *UPS) certain() time.Time {
	if u.reading.LostFor != nil {
		return u.at.Add(-u.reading.LostFor.Duration())
	}
	return u.at
}

// stillOut reports whether a UPS of a power outage is on battery, as far as can be known.
func (d *decider) stillOut(site *Site, i *Incident) bool {
	for _, ups := range site.upsesOf(i) {
		if d.onBattery(site, i, ups) {
			return true
		}
	}
	return false
}

// upsesOf are those that may be part of an outage, in order.
func (s *Site) upsesOf(i *Incident) []string {
	names := slices.Collect(maps.Keys(s.UPSes))
	for _, e := range s.Taken {
		if e.UPS != "" && !e.At.Before(i.Since) {
			names = append(names, e.UPS)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// endOutage ends a power outage if no UPS of it is on battery any more. One whose run is under
// way is not over yet: that nothing is heard of a UPS proves no power, so the run goes on until
// it is through (rule S5), and what it does is part of the outage. Where the power is back the
// run was stopped before.
func (d *decider) endOutage(i *Incident, why string) {
	site := d.site(i.Site)
	if r := site.Run; r != nil && !r.Over() && site.RunIncident == i.ID || d.stillOut(site, i) {
		return
	}
	d.resolve(i, why+d.saidDown(site, i))
}

// settleOutage ends a power outage of which no report tells that it is over: only the record
// did, its UPS was not heard for long, or its run went on longer. Somebody hears of what went
// wrong before.
func (d *decider) settleOutage(i *Incident) {
	site := d.Sites[i.Site]
	if site == nil || d.stillOut(site, i) {
		return
	}
	late := d.notDown(site, &onBatteryOnce{began: i.Since})
	if len(late) > 0 && i.Answered == "" && !d.due(i.Alarmed.Add(d.cfg.Times.Return)) {
		return
	}
	d.endOutage(i, d.saidOver(site, i))
}

// saidOver says why an outage is over of which no report tells that.
func (d *decider) saidOver(site *Site, i *Incident) string {
	for _, ups := range site.upsesOf(i) {
		u, e := site.UPSes[ups], site.lastTaken(ups, i.Since)
		switch {
		case u != nil && u.Supply == power.Unknown && u.Since.After(i.Since):
			return saidUnheard(ups, d.now.Sub(u.Since))
		case e == nil || e.Supply != power.Battery:
		case d.saysMains(u, e.At):
		case u == nil || u.assumed || u.certain().Before(e.At):
			return saidUnheard(ups, d.now.Sub(e.At))
		default:
			return saidUnheard(ups, d.now.Sub(u.certain()))
		}
	}
	return "the power is back"
}

// lostBefore reports whether contact with a UPS was lost long before a run began, whose reason it
// cannot be then.
func (u *UPS) lostBefore(r *shutdown.Run) bool {
	return u.Lost && u.LostAt.Before(r.From().Add(-rememberedFor))
}

// letGoIn reports whether a UPS was let go of that may be the reason of a run.
func (u *UPS) letGoIn(r *shutdown.Run) bool {
	return u.Supply == power.Unknown && u.Lost && !u.lostBefore(r)
}

// stillReason reports whether a UPS may be the reason of a run: it is on battery or was let go of
// since, and contact with it was not lost long before the run began; or its battery is low in a
// test, as the policy sees it.
func (d *decider) stillReason(site *Site, r *shutdown.Run) bool {
	sc := d.cfg.site(site.Name)
	for _, u := range site.UPSes {
		switch reading, ok := u.Reading(d.now, d.cfg.Times.ReportFresh); {
		case u.Supply == power.Battery && !u.lostBefore(r), u.letGoIn(r):
			return true
		case u.tests() && ok && sc != nil && (u.assumed || sc.Policy.Decide(reading, need(sc.Plan)).Start):
			return true
		}
	}
	return false
}
