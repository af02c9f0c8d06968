package sentinel

import (
	"cmp"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// takesUp reports whether a Pi's run takes the site's own over, under a later epoch (rule G5). One
// that is over by its first word may be of an outage before, unless its Pi was heard when the
// site's own began: then it has begun since.
func (d *decider) takesUp(site *Site, in PiReported) bool {
	r := site.Run
	if r == nil || r.Over() || r.DryRun || in.Run.DryRun || in.Run.Epoch.Compare(site.Epoch) <= 0 {
		return false
	}
	return in.Run.State.Open() || site.heardAt(in.Pi, r.Begun)
}

// heardAt reports whether a source was heard at a moment, as far as is known.
func (s *Site) heardAt(name string, at time.Time) bool {
	src := s.Sources[name]
	if src == nil || src.Condition != Up {
		return false
	}
	missed := slices.ContainsFunc(src.Gaps, func(g Gap) bool { return !at.Before(g.From) && !at.After(g.To) })
	since := !src.Since.After(at) || slices.ContainsFunc(src.Gaps, func(g Gap) bool { return g.From.After(at) })
	return since && !missed
}

// takenOver reports whether the site's run is a Pi's by now. It tells nobody anything any more.
func (s *Site) takenOver() bool { return s.TakenBy != "" && s.Run != nil && !s.Run.Over() }

// takenBy is the Pi's run that took the site's own over; nil: none did, or none knows it any more.
func (s *Site) takenBy() *shutdown.Status {
	for _, k := range s.PiRuns {
		if k.Run.ID == s.TakenBy {
			return &k.Run
		}
	}
	return nil
}

// ranFor reports whether a run that is over is of the outage that goes on, also one of a UPS
// whose battery ran low in a test (rule U3).
func (s *State) ranFor(site *Site, r *shutdown.Run) bool {
	if !r.ForPower() {
		return false
	}
	if since, on := site.heardOnBattery(); on {
		return (r.Stopped != powerBack || !site.hearsBattery()) && !r.From().Before(since)
	}
	i := s.Incidents[site.RunIncident]
	return i != nil && i.Open() && site.UPSes[i.UPS] != nil && site.UPSes[i.UPS].lowInTest(i)
}

// takenInVain reports whether a Pi took the site's run over, and its own was stopped: as that Pi knows,
// since the power is back, or a person said so.
func (s *Site) takenInVain() bool {
	by := s.takenBy()
	return s.Run != nil && s.Run.Taken && by != nil && by.State == shutdown.Stopped
}

// carriedOutBy reports whether a Pi's own run is through under a later epoch than the site's, which it took
// over, or which was for the same machines.
func (s *Site) carriedOutBy(pi string) bool {
	k, r := s.lastOf(pi), s.Run
	if r == nil || !r.Over() || k == nil || k.Run.DryRun || k.Run.On != shutdown.ForPower {
		return false
	}
	return k.Run.State == shutdown.HasEnded && k.Run.Epoch.Compare(s.Epoch) > 0 && (r.Taken || !r.Scoped())
}

// mayBeAnother reports whether a Pi may be in another outage than that of a run which is through. Its UPS,
// which was on battery, or in a test, when it was last heard, long ago, is yet to be heard since the Pi is
// back, also if that is not known yet. Or it is on battery since later than the run was begun, by the word
// of the Pi, which may count anew, but knows of what was through in its outage before. Or the brain, which was
// started since, has not heard the UPS yet. It is not as long as a UPS of the site has been on battery for
// longer (rule U7).
func (s *Site) mayBeAnother(pi string, r *shutdown.Run) (may bool) {
	if !r.Finished && !r.Taken {
		return false
	}
	src := s.Sources[pi]
	for _, u := range s.UPSes {
		if !u.Lost && !u.assumed && !u.at.IsZero() && u.reading.OnBattery() && u.reading.LostFor == nil {
			later := u.at.Add(-u.reading.For.Duration()).After(r.From().Add(claimSlack))
			if may = may || later && u.Pi == pi; !later {
				return false
			}
		}
		unheard := u.assumed && u.Supply == power.Battery
		away := src != nil && (src.Condition != Up || u.at.Before(src.Since))
		may = may || unheard && u.Pi == pi || away && u.Pi == pi && u.Lost && (u.Supply == power.Battery || u.tests())
	}
	return may
}

// settleTakenOver ends the site's run once that which took it over has ended.
func (d *decider) settleTakenOver(site *Site) {
	by := site.takenBy()
	if !site.takenOver() || by == nil || by.State.Open() {
		return
	}
	pi := cmp.Or(by.Epoch.Holder, "the Pi")
	why := pi + " has carried it out"
	if by.State != shutdown.HasEnded {
		why = pi + " took it over, and its run was stopped"
	}
	d.stepRun(site.Name, site.Run.HandOver(d.now, why))
}

// takeBack ends the site's run that was taken over, if a Pi has not ended it yet, before another begins in
// its place, and returns the guests that it stopped and that are owed from then on (rule S5); also those of
// one that was through, and left its nodes up.
func (d *decider) takeBack(site *Site) (owed []shutdown.Target) {
	const why = "another begins in its place"
	var es []shutdown.Event
	r, of := site.Run, d.Incidents[site.RunIncident]
	switch {
	case site.takenOver():
		es = r.HandOver(d.now, why)
	case r == nil || r.Back != nil || of == nil || !of.Open():
	case r.Taken, r.Finished && r.On == shutdown.ForPower:
		es = r.EndPutBack(d.now, why, false)
	}
	d.stepRun(site.Name, es)
	for _, e := range es {
		owed = append(owed, e.Targets...)
	}
	return owed
}

// hearsBattery reports whether a UPS that is in reach is on battery.
func (s *Site) hearsBattery() bool {
	for _, u := range s.UPSes {
		if u.Supply == power.Battery && !u.Lost {
			return true
		}
	}
	return false
}
