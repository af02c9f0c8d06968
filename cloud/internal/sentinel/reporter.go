package sentinel

import (
	"fmt"
	"time"

	"sentinel.home.arpa/shared/power"
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
	n := &Noticed{Site: in.Site, About: "ups " + in.UPS + " of " + in.Site + " by " + both, As: both}
	if d.Told[n.About] != n.As {
		n.Text = fmt.Sprintf("%s both report a UPS named %s; the word of %s counts for now. If these are two UPSes, "+
			"give each its own name in pi.yaml; if it is one, all is well", both, in.UPS, u.Pi)
		d.emit(n)
	}
	return true
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
