package sentinel

import (
	"fmt"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
)

// ofAnother reports whether a report is of a UPS that is another Pi's: two may have one name,
// and what they say must not be mixed. A UPS is the Pi's by whose word it is known, until that
// Pi is not up, or has lost it; then whoever reports it takes over. It is told once.
func (d *decider) ofAnother(u *UPS, in UPSReported) bool {
	if u.Pi == "" || u.Pi == in.Pi {
		return false
	}
	if src := d.site(in.Site).Sources[u.Pi]; src == nil || src.Condition != Up || u.lostTo(in.Reading, d.now) {
		return false
	}
	both := list([]string{min(u.Pi, in.Pi), max(u.Pi, in.Pi)})
	n := &Noticed{Site: in.Site, About: "ups " + in.UPS + " of " + in.Site + " by " + both, As: both, Severity: routing.Warning}
	if d.Told[n.About] != n.As {
		n.Text = fmt.Sprintf("%s both report a UPS named %s; the word of %s counts for now. If these are two UPSes, "+
			"give each its own name in pi.yaml; if it is one, all is well", both, in.UPS, u.Pi)
		d.emit(n)
	}
	return true
}

// takenFrom is the Pi from which another takes a UPS over by a report that is not ofAnother, and
// because of what; empty: none.
func (d *decider) takenFrom(u *UPS, in UPSReported) (pi, why string) {
	if u.Pi == "" || u.Pi == in.Pi {
		return "", ""
	}
	switch src := d.site(in.Site).Sources[u.Pi]; {
	case src == nil:
		return u.Pi, u.Pi + " is no longer known"
	case src.Condition == Off:
		return u.Pi, u.Pi + " is off"
	case src.Condition != Up:
		return u.Pi, u.Pi + " is not heard"
	case u.at.IsZero():
		return u.Pi, "nothing certain has been heard of it through " + u.Pi
	}
	return u.Pi, fmt.Sprintf("nothing certain has been heard of it through %s for %s", u.Pi, power.Spell(d.now.Sub(u.certain())))
}

// lostTo reports whether nothing certain was heard of a UPS for so long that another Pi's report
// of it counts: soon if it says that it is on battery, and never if it was and would not be any
// more, or if that Pi has lost it too.
func (u *UPS) lostTo(r power.Reading, now time.Time) bool {
	after := wordWithin
	switch {
	case u.at.IsZero():
		return true
	case r.LostFor != nil, u.Supply == power.Battery && !r.OnBattery():
		return false
	case r.OnBattery():
		after = reportTooOld
	}
	return now.Sub(u.certain()) > after
}

// knowsBetter reports whether a UPS was certainly on mains after contact with it was lost by a
// report that was true at a moment: what it says was so before.
func (u *UPS) knowsBetter(r power.Reading, at time.Time) bool {
	return r.LostFor != nil && r.Supply != power.Mains && u.Supply == power.Mains && !u.assumed &&
		at.Add(-r.LostFor.Duration()).Before(u.certain().Add(-claimSlack))
}

// anotherTransfer reports whether a UPS on battery, or in a test, is on battery by a later transfer
// than that of which its Pi told; and anew whether in another outage: since later than it was last
// heard, so that it was on mains meanwhile. That its Pi has lost it again by then takes nothing from that.
func (u *UPS) anotherTransfer(in UPSReported, at time.Time) (later, anew bool) {
	r, before := in.Reading, transfers(u.reading)
	if before == 0 { // not heard since a start or pause
		before = u.Transfers
	}
	if before == 0 || transfers(r) <= before || u.Pi != in.Pi || !r.OnBattery() || u.Supply != power.Battery && !u.tests() {
		return false, false
	}
	since := at.Add(-r.For.Duration())
	return true, since.After(u.Since.Add(claimSlack)) && (u.assumed || since.After(u.certain()))
}

// transfers is how often a UPS has gone on battery; 0: it does not say.
func transfers(r power.Reading) int {
	if r.Transfers == nil {
		return 0
	}
	return *r.Transfers
}
