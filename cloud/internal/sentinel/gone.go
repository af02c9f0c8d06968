package sentinel

import (
	"fmt"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// longestWait is what is added to a battery's runtime before a UPS out of reach counts as gone,
// and the runtime of one that did not tell it.
const longestWait = 30 * time.Minute

// goneAfter is for how long nothing may be heard of a UPS on battery for that to say anything
// still: its battery is empty by then, or it is another one.
func goneAfter(r power.Reading) time.Duration {
	left := longestWait
	if r.Runtime != nil {
		left = max(left, r.Runtime.Duration())
	}
	return left + longestWait
}

// gone lets a UPS that was last heard on battery no longer count as that, and reports whether
// it does not from now on: it was unplugged, renamed or replaced, or its apcupsd or Pi died
// (rule U5). While its whole site is silent nobody can tell, and the outage goes on.
func (d *decider) gone(site *Site, u *UPS, r power.Reading) bool {
	if u.Supply == "" || u.Supply == power.Mains || u.Supply == power.Unknown || r.LostFor == nil {
		return false
	}
	after := goneAfter(r)
	if !d.due(d.now.Add(after - r.LostFor.Duration())) {
		return false
	}
	lives := site.livesSince()
	if lives.IsZero() || !d.due(lives.Add(after)) {
		return false
	}
	since := d.now.Add(-r.LostFor.Duration())
	why := fmt.Sprintf("nothing has been heard of %s for %s; it no longer counts as on battery", u.Name, power.Spell(r.LostFor.Duration()))
	lost := power.Reading{Supply: power.Unknown, LostFor: r.LostFor}
	d.emit(&SupplyChanged{Site: site.Name, UPS: u.Name, Supply: power.Unknown, Since: since, Reading: lost})
	u.reading, u.at, u.heard, u.claims = lost, d.now, time.Time{}, nil
	n := &Noticed{Site: site.Name, Text: why}
	i := d.open(site.Name, PowerOutage)
	if i != nil {
		n.Incident = i.ID
	}
	d.emit(n)
	if _, still := site.OnBattery(); i != nil && !still {
		d.resolve(i, why+d.saidDown(site, i))
	}
	return true
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

// stillReason reports whether a UPS is on battery that may be the reason of a run: contact with
// it was not lost long before the run began.
func (s *Site) stillReason(r *shutdown.Run) bool {
	for _, u := range s.UPSes {
		if u.Supply == power.Battery && !(u.Lost && u.LostAt.Before(r.Begun.Add(-rememberedFor))) {
			return true
		}
	}
	return false
}
