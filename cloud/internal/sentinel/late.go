package sentinel

import (
	"time"

	"sentinel.home.arpa/shared/power"
)

// listensFor is for how long after a late report a newer one is waited for: what waited in a line
// that was cut comes at once with what was sent since, and a Pi on battery speaks each second.
const listensFor = 2 * time.Second

// lateReport is a report that was on its way for long, of an outage that is news.
type lateReport struct {
	UPSReported
	came  time.Time // when this one did
	first time.Time // and the first of those that came late
}

// waits reports whether a newer report is waited for before this one is acted upon: it is late and
// tells of an outage that is news, and may be over by now (rules N11, U6). If none comes in time,
// or only late ones, it counts.
func (d *decider) waits(u *UPS, in UPSReported) bool {
	was := u.late
	u.late = nil
	news := u.Supply == "" || u.Supply == power.Mains || u.Supply == power.Unknown
	if in.Lag <= claimSlack || in.Reading.Supply == power.Mains || !news {
		return false
	}
	late := &lateReport{UPSReported: in, came: d.now, first: d.now}
	if was != nil {
		late.first = was.first
	}
	if d.due(late.first.Add(listensFor)) {
		return false
	}
	u.late = late
	return true
}

// settleLate takes a late report after which no newer one came in time.
func (d *decider) settleLate(u *UPS) {
	late := u.late
	if late == nil || !d.due(late.first.Add(listensFor)) {
		return
	}
	late.Lag += d.now.Sub(late.came)
	d.takeReport(u, late.UPSReported)
	u.late = nil
}
