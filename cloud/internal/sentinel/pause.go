package sentinel

import (
	"time"

	"sentinel.home.arpa/cloud/internal/cause"
	"sentinel.home.arpa/shared/power"
)

// followWithin is how soon after a stop another one follows it.
const followWithin = 5 * time.Minute

// paused begins every wait anew, but for a stop that soon follows another: those go on, without
// the time in which nobody listened. Else a brain that is stopped again and again would settle
// nothing (rule H8).
func (d *decider) paused(in Paused) {
	d.emit(&BrainPaused{For: in.For})
	listened := d.now.Add(-in.For).Sub(d.stopped)
	if d.stopped.IsZero() || in.For >= d.cfg.Times.Silence || listened > followWithin {
		d.restartClocks()
	} else {
		d.goOn(in.For, max(listened, 0))
	}
	d.stopped = d.now
	d.startedOften()
}

// goOn has what waits wait on after a stop.
func (d *decider) goOn(stop, listened time.Duration) {
	wait := func(from time.Time, most time.Duration) time.Time {
		if from.IsZero() {
			return from
		}
		return d.now.Add(-cause.Waited(d.now.Sub(from)-stop, listened, most))
	}
	d.watching, d.hearing = d.now, wait(d.hearing, d.cfg.Times.Silence)
	for _, site := range d.Sites {
		site.forgetTalks()
		site.piAdvanced = wait(site.piAdvanced, piPatience)
		for _, u := range site.UPSes {
			u.goOn(d.now, stop, listened, d.lostFor(site.Name))
		}
		site.lookAt(d.now)
		for _, src := range site.Sources {
			for _, since := range []*time.Time{&src.running, &src.stopping, &src.expected} {
				shift(since, stop)
			}
		}
	}
	for _, i := range d.Incidents {
		shift(&i.calmSince, stop)
	}
}

// shift lets a time go on without a stop, if it is set.
func shift(since *time.Time, stop time.Duration) {
	if !since.IsZero() {
		*since = since.Add(stop)
	}
}

// forgetTalks forgets what a stop broke off: doubts, and what a Pi was about to tell.
func (s *Site) forgetTalks() {
	s.doubt, s.news, s.unsaid = nil, time.Time{}, time.Time{}
}

// goOn is assume for a UPS that was not heard since the stop before: contact with it is lost for
// as long as somebody listened.
func (u *UPS) goOn(now time.Time, stop, listened, most time.Duration) {
	var lost time.Duration
	if u.assumed && u.reading.LostFor != nil {
		lost = cause.Waited(now.Sub(u.at)-stop+u.reading.LostFor.Duration(), listened, most)
	}
	u.assume(now, most)
	if u.assumed {
		*u.reading.LostFor = power.InSeconds(lost)
	}
}
