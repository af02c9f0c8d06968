package sentinel

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
	"sentinel.home.arpa/shared/shutdown"
)

// What a person said of the network between Pi and nodes: whether it is on the UPS.
const (
	NetworkYes = "yes"
	NetworkNo  = "no"
)

// stop ends the plan in the outage that goes on: the brain's own run here, a Pi's by the
// mandate, and one that has not begun does not (rule S10). What was stopped by it is not started
// again, neither now nor when the power is back (rule S5).
func (d *decider) stop(in Stop) {
	site := d.Sites[in.Site]
	if site == nil || !site.Stoppable() {
		return
	}
	begins := site.mayRun()
	d.endPutBack(site, in.By+" stopped the plan")
	if !begins { // guests were being started, and nothing else
		return
	}
	if r := site.Run; r != nil && !r.Over() {
		d.stepRun(in.Site, r.Abort(d.now, in.By+" stopped it"))
	} else if site.stopHolds() {
		return
	}
	d.emit(&PlanStopped{Site: in.Site, By: in.By, Epoch: d.nextEpoch(site), On: d.onlyFor(site)})
}

// Stoppable reports whether there is something to stop: a run of the plan, an outage in which
// one may begin, or guests that are being started again.
func (s *Site) Stoppable() bool {
	return s.mayRun() || s.Run != nil && s.Run.PutsBack()
}

func (s *Site) mayRun() bool {
	_, out := s.OnBattery()
	return out || s.Run != nil && !s.Run.Over() || s.openPiRun() != nil
}

// Stopped is who stopped the plan in the outage that goes on; empty: nobody.
func (s *State) Stopped(site string) string {
	if st := s.Sites[site]; st != nil && st.stopHolds() {
		return st.StoppedBy
	}
	return ""
}

// stopHolds reports whether a person stopped the plan in the outage that goes on.
func (s *Site) stopHolds() bool { return !s.StoppedAt.IsZero() }

// tellOfEndedRun tells whoever arms the plan anew in an outage in which a run of it was ended that it
// begins no other (rule G2): its being armed seems to say otherwise.
func (d *decider) tellOfEndedRun(site *Site) {
	i := d.open(site.Name, PowerOutage)
	since, on := site.OnBattery()
	if i == nil || !on {
		return
	}
	r, pis := site.Run, site.PiRun
	own := r != nil && r.Over() && !r.Finished && !r.Taken && !r.DryRun && d.ranFor(site, r)
	if own || pis != nil && pis.State == shutdown.Stopped && !pis.DryRun && pis.On == shutdown.ForPower && !site.PiRunAt.Before(since) {
		d.emit(&Noticed{Site: site.Name, Incident: i.ID, Severity: routing.Warning,
			Text: "the plan is armed, but was ended in the outage that goes on at " + site.Name + ", and does not begin again before the power is back"})
	}
}

// settleStop ends a stop once the power is back, as it ends on the Pi. Of several UPSes all must be
// back: it is one outage as long as one of them is on battery (rules S10, U7).
func (d *decider) settleStop(site *Site) {
	if site.stopHolds() && !d.sameOutage(site, site.StoppedAt) {
		d.emit(&StopEnded{Site: site.Name, Why: d.stopIsOver(site)})
		return
	}
	if run := site.outran(); run != "" {
		d.emit(&PlanStopped{Site: site.Name, By: site.StoppedBy, Epoch: d.nextEpoch(site), On: site.StoppedOn, Above: run})
	}
}

// outran is the run of a Pi that is over and was begun under a later epoch than that of the stop which
// holds, so that to its Pi the stop is of an outage before; empty: there is none. The stop is of this
// outage for certain.
func (s *Site) outran() string {
	if !s.stopHolds() || s.openPiRun() != nil {
		return ""
	}
	for _, pi := range slices.Sorted(maps.Keys(s.PiRuns)) {
		if k := s.PiRuns[pi]; k.Run.Epoch.Compare(s.Epoch) > 0 && s.stopReaches(k.At) {
			return k.Run.ID
		}
	}
	return ""
}

// sameOutage reports whether the outage that goes on is that of a moment before.
func (d *decider) sameOutage(site *Site, at time.Time) bool {
	i := d.open(site.Name, PowerOutage)
	since, on := site.OnBattery()
	switch {
	case !on:
		goesOn := i != nil && site.Supply() != power.Mains && !at.Before(i.Since)
		if r := d.livePiRun(site); r != nil && !goesOn { // of an outage of which only its Pi knows, and that it may tell first
			return !at.Before(r.At) || !site.mainsSince(at) && !site.heardSince(r.At)
		}
		if site.StoppedOn != shutdown.ForPower {
			return d.causeHolds(site)
		}
		if i == nil { // of one of which only a Pi told, or that the stop has ended by now
			return !site.mainsSince(at)
		}
		return goesOn
	case since.After(at.Add(claimSlack)): // it goes on if it began with a UPS that is back by now, or a Pi that booted since has told of it first
		return i != nil && !at.Before(i.Since) || site.piRanBy(at) && since.Sub(at) < rememberedFor && !site.toldMainsSince(at) && !site.darkSince(at)
	}
	heard, _ := site.heardOnBattery()
	return !heard.After(at.Add(claimSlack)) || !site.lostAllBefore(heard)
}

// piRanBy reports whether a Pi has told of a run by a moment.
func (s *Site) piRanBy(at time.Time) bool { return s.PiRun != nil && !at.Before(s.PiRunAt) }

// mainsSince reports whether a UPS was on mains since a moment, as it says, or none is known.
func (s *Site) mainsSince(at time.Time) bool {
	for _, u := range s.UPSes {
		if !u.assumed && u.at.After(at) && u.reading.Supply == power.Mains && u.reading.LostFor == nil {
			return true
		}
	}
	return len(s.UPSes) == 0
}

// toldMainsSince reports whether a UPS's word of the mains has come since a moment, though it may have been
// true before: what begins after that moment is another outage.
func (s *Site) toldMainsSince(at time.Time) bool {
	for _, u := range s.UPSes {
		if u.mains.After(at) || u.Mains.After(at) {
			return true
		}
	}
	return len(s.UPSes) == 0
}

// heardSince reports whether a UPS has said something certain since a moment.
func (s *Site) heardSince(at time.Time) bool {
	for _, u := range s.UPSes {
		if !u.assumed && !u.at.IsZero() && !u.certain().Before(at) {
			return true
		}
	}
	return false
}

// lostAllBefore reports whether contact with all UPSes that were on battery before a moment was lost
// by then: it says nothing of what began at that moment.
func (s *Site) lostAllBefore(at time.Time) bool {
	for _, u := range s.UPSes {
		if u.Supply == power.Battery && u.Since.Before(at) && (!u.Lost || u.LostAt.After(at)) {
			return false
		}
	}
	return true
}

// afterTheStop reports whether a UPS's report is of another outage than that in which a person
// stopped the plan, though nobody heard that one end: it was on mains since as a record tells, or
// its Pi has booted since it was last heard, in the dark or long after, and counts anew. That it has lost
// the UPS by then changes nothing: no later word would tell. An old stop must not end a later run (rule
// S10).
func (d *decider) afterTheStop(u *UPS, in UPSReported, at time.Time) bool {
	site := d.site(in.Site)
	since := at.Add(-in.Reading.For.Duration())
	if !site.stopHolds() || u.Supply != power.Battery || !in.Reading.OnBattery() || !since.After(site.StoppedAt) {
		return false
	}
	for _, e := range site.Taken {
		if e.UPS == u.Name && e.Supply == power.Mains && e.At.After(site.StoppedAt) && !e.At.After(since.Add(takenSlack)) {
			return true
		}
	}
	if in.Boot != "" && in.Boot == cmp.Or(u.boot, u.shownIn(in.Pi)) {
		return false
	}
	word := u.certain()
	switch {
	case u.assumed && u.Stale: // by its word nothing is known of the time in which nobody heard it
		word = site.StoppedAt
	case u.assumed:
		word = later(u.unheard, site.StoppedAt)
	}
	return site.bootedSince(in, word) && since.After(word.Add(claimSlack)) && (since.Sub(word) > rememberedFor || site.darkSince(word))
}

// bootsInStop reports whether a Pi tells from another boot of the outage in which a person stopped the
// plan. That is kept: after a restart it is known that this boot tells of no other.
func (u *UPS) bootsInStop(site *Site, in UPSReported) bool {
	return site.stopHolds() && u.Supply == power.Battery && in.Reading.OnBattery() && in.Seq != 0 && in.Boot != u.shownIn(in.Pi)
}

// shownIn is the boot of a Pi that told last of what made a fact.
func (u *UPS) shownIn(pi string) string {
	if n := len(u.Shown[pi]); n > 0 {
		return u.Shown[pi][n-1].Boot
	}
	return ""
}

// bootedSince reports whether a report comes from a boot of its Pi that began after a moment, and
// of which nothing was missed since.
func (s *Site) bootedSince(in UPSReported, at time.Time) bool {
	src := s.Sources[in.Pi]
	return src != nil && (src.Booted.After(at) && !src.Since.After(src.Booted) || in.Boot != "" && src.Boot != "" && in.Boot != src.Boot && !slices.Contains(src.Left, in.Boot))
}

// darkSince reports whether all of a site's sources have been silent at some time since a moment. A
// Pi that has booted was not, unless that took so long that it was missed.
func (s *Site) darkSince(at time.Time) bool {
	for _, src := range s.Sources {
		missed := src.Role != Pi || slices.ContainsFunc(src.Gaps, func(g Gap) bool { return g.To.Equal(src.Since) })
		if src.Condition == Up && (!src.Since.After(at) || !missed) {
			return false
		}
	}
	return true
}

// wasBackMeanwhile is why what was of an outage before ends once another one is found.
const wasBackMeanwhile = "the power was back meanwhile"

// wasBack ends what was of an outage before, once a UPS is found in another: the power was back.
func (d *decider) wasBack(site *Site) {
	since, on := site.OnBattery()
	if !on {
		return
	}
	if site.stopHolds() && site.StoppedAt.Before(since) {
		d.emit(&StopEnded{Site: site.Name, Why: wasBackMeanwhile})
	}
	if site.Run != nil && site.Run.From().Before(since) {
		d.powerEnds(site, site.Run, wasBackMeanwhile)
	}
}

// stoppedRun names the run that is to end: a Pi ends its own only if it is named. One that was first
// heard of later than the stop must be of that outage for certain.
func (s *State) stoppedRun(site *Site) string {
	r := site.openPiRun()
	switch {
	case r != nil && (s.stopKnows(site, r) || site.stopReaches(r.At) || s.heardSinceStop(site, r)):
		return r.Run.ID
	case r == nil && site.PiRun != nil && (site.Run == nil || site.Run.Begun.Before(site.PiRunAt)) && site.piRanIn():
		return site.PiRun.ID // it is over, and its Pi starts nothing again
	case site.Run != nil:
		return site.Run.ID
	}
	return ""
}

// runToldWithin is how long after its beginning a Pi that is heard has told of its run.
const runToldWithin = 2 * time.Second

// stopKnows reports whether a Pi's run was told before the stop, or so soon after it, by a Pi that was heard
// meanwhile, that it was begun by then.
func (s *State) stopKnows(site *Site, r *KnownRun) bool {
	return !site.StoppedAt.Before(r.At) || r.At.Sub(site.StoppedAt) < runToldWithin && s.heardBetween(site, r)
}

// tellsStop is what the site's Pis are told of a stop that holds. A run that goes on is told of it though no
// UPS is heard: a Pi that was restarted may have lost its own.
func (s *State) tellsStop(site *Site, epoch shutdown.Epoch, now time.Time) (shutdown.Epoch, shutdown.State, string) {
	r := site.openPiRun()
	if known := r != nil && s.stopKnows(site, r); !known && (site.awaitsUPS() || s.missesUPS(site, now)) {
		return epoch, shutdown.None, ""
	}
	return epoch, shutdown.Stopped, s.stoppedRun(site)
}

// awaitsUPS reports whether a Pi that is back has yet to tell of its UPS, which was on battery, or
// in a test, when it was last heard, long ago. Until then a stop may be of the outage before.
func (s *Site) awaitsUPS() bool {
	for _, u := range s.UPSes {
		src := s.Sources[u.Pi]
		if (u.Supply == power.Battery || u.tests()) && u.Lost && src != nil && src.Condition == Up && u.at.Before(src.Since) {
			return true
		}
	}
	return false
}

// missesUPS reports whether none of the UPSes on battery was heard lately, though a Pi is up that tells
// of one each second then: the mains may have come and gone. After a start or a pause it has the time.
func (s *State) missesUPS(site *Site, now time.Time) (misses bool) {
	begins := now.Before(s.watching.Add(reportTooOld))
	for _, u := range site.UPSes {
		if u.Supply != power.Battery {
			continue
		}
		if now.Sub(u.at) <= s.cfg.Times.ReportFresh && !(u.assumed && begins) {
			return false
		}
		src := site.Sources[u.Pi]
		misses = misses || src != nil && src.Condition == Up
	}
	return misses
}

// piRanIn reports whether the last run of a Pi was begun in the outage that was stopped.
func (s *Site) piRanIn() bool {
	since, on := s.OnBattery()
	return on && !s.PiRunAt.Before(since) && !s.PiRunAt.After(s.StoppedAt)
}

// stopReaches reports whether a UPS says itself, not before a moment, that it has been on battery
// since before the stop.
func (s *Site) stopReaches(at time.Time) bool {
	reaches, _ := s.sayOfStop(at)
	return reaches
}

// sayOfStop are what the UPSes say, not before a moment: whether one has been on battery since before
// the stop, and whether one was heard, and none that is on battery is so only since the stop.
func (s *Site) sayOfStop(at time.Time) (reaches, may bool) {
	later := false
	for _, u := range s.UPSes {
		if u.at.IsZero() || u.assumed || u.at.Before(at) {
			continue
		}
		may = true
		if r := u.reading; r.OnBattery() && r.LostFor == nil {
			after := u.at.Add(-r.For.Duration()).After(s.StoppedAt.Add(claimSlack))
			reaches, later = reaches || !after, later || after
		}
	}
	return reaches, may && !later
}

// heardSinceStop reports whether the Pi that holds a run was heard all the time from the stop until
// it told of the run, and no UPS speaks against it: the mains may come and go within a silence.
func (s *State) heardSinceStop(site *Site, r *KnownRun) bool {
	_, may := site.sayOfStop(r.At)
	return may && s.heardBetween(site, r)
}

// heardBetween is heardSinceStop whatever the UPSes say.
func (s *State) heardBetween(site *Site, r *KnownRun) bool {
	missed := func(g Gap) bool { return g.To.After(site.StoppedAt) && g.From.Before(r.At) }
	for pi, k := range site.PiRuns {
		if k.Run.ID != r.Run.ID {
			continue
		}
		src := site.Sources[pi]
		return src != nil && site.heardAt(pi, site.StoppedAt) && !slices.ContainsFunc(src.Gaps, missed) && !slices.ContainsFunc(s.Deaf, missed)
	}
	return false
}

func (d *decider) sayNetwork(in SayNetwork) {
	if d.cfg.site(in.Site) == nil || d.site(in.Site).NetworkOnUPS == saidNetwork(in.OnUPS) {
		return
	}
	d.emit(&NetworkSaid{Site: in.Site, By: in.By, OnUPS: in.OnUPS})
}

func saidNetwork(onUPS bool) string {
	if onUPS {
		return NetworkYes
	}
	return NetworkNo
}

func (s *State) evolveStop(at time.Time, f Fact) {
	switch f := f.(type) {
	case *PlanStopped:
		site := s.site(f.Site)
		if site.Epoch = f.Epoch; f.Above == "" {
			site.StoppedAt, site.StoppedBy, site.StoppedOn = at, f.By, f.On
		}
	case *StopEnded:
		site := s.site(f.Site)
		site.StoppedAt, site.StoppedBy, site.StoppedOn = time.Time{}, "", shutdown.ForPower
	case *NetworkSaid:
		s.site(f.Site).NetworkOnUPS = saidNetwork(f.OnUPS)
	case *LeftOff:
		s.site(f.Site).evolveLeftOff(at, f.Name)
	}
}

func sentenceOfStop(f Fact) string {
	switch f := f.(type) {
	case *PlanStopped:
		if f.Above != "" {
			return "that " + f.By + " stopped the plan is told under a higher epoch, because " + f.Above + " was begun under a later one"
		}
		if f.On != shutdown.ForPower {
			return f.By + " stopped the plan; it does not begin again for " + saidCause(f.On)
		}
		return f.By + " stopped the plan; it does not begin again before the power is back"
	case *StopEnded:
		return "the plan may begin again, because " + f.Why
	case *LeftOff:
		return f.By + " left " + f.Name + " off; it is not told of any more"
	case *NetworkSaid:
		if f.OnUPS {
			return f.By + " said that the network at " + f.Site + " is on the UPS"
		}
		return f.By + " said that the network at " + f.Site + " is not on the UPS"
	}
	return ""
}
