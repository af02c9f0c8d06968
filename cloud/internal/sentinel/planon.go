package sentinel

import (
	"fmt"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// beginsWithin is for how long after a failure the plan may begin for it: who arms the plan or names
// failures in it later would be surprised by what that shuts down.
const beginsWithin = 5 * time.Minute

// settleCause begins the plan for failed nodes, where the configuration has them begin it, and
// ends what was begun so once that is over (rule S0).
func (d *decider) settleCause(site *Site) {
	d.endCause(site)
	sc, i := d.cfg.site(site.Name), d.open(site.Name, NodeFailure)
	if sc == nil || sc.Plan == nil || !sc.OnFailure || i == nil || i.Ran || !d.mayBeginFor(site, i) {
		return
	}
	failed := failedIn(site, i)
	if len(failed) == 0 {
		return
	}
	reason := failed[0] + " failed"
	if len(failed) > 1 {
		reason = fmt.Sprintf("%d nodes failed within %s", len(failed), power.Spell(d.cfg.Times.Window))
	}
	d.start(site, i, d.nextEpoch(site), shutdown.Header{Plan: *sc.Plan, On: shutdown.ForFailure, Reason: reason + " and plan_on names " + string(shutdown.ForFailure)})
	d.settleRun(site)
}

// mayBeginFor holds the plan back that is to begin for a failure: another run is under way, the power
// is reason enough, the site is out of reach, too few have failed for a call, or it is too long ago.
func (d *decider) mayBeginFor(site *Site, i *Incident) bool {
	_, out := site.OnBattery()
	switch r := site.Run; {
	case r != nil && !r.Over(), d.livePiRun(site) != nil, site.stopHolds():
		return false
	case out, d.open(site.Name, PowerOutage) != nil:
		return false
	case d.outOfSight(site), site.livesSince().IsZero(): // it may be the internet
		return false
	case i.UPS == "" && len(i.Nodes) < d.cfg.Threshold:
		return false
	}
	opened := later(i.Opened, i.Reopened)
	if d.now.Sub(opened) > beginsWithin {
		return false
	}
	return !opened.Before(d.watching) || d.due(d.hearing.Add(d.cfg.Times.Silence))
}

// outOfSight reports whether nothing can be said of a site's nodes: it is out of reach, or it is not
// known yet whose fault their silence is.
func (s *State) outOfSight(site *Site) bool {
	d := &decider{State: s}
	return site.doubt != nil || d.open(site.Name, InternetOutage) != nil || d.behindTailnet(site)
}

// failedIn are the nodes of an incident that are down by themselves, and of which somebody wants to
// hear.
func failedIn(site *Site, i *Incident) (failed []string) {
	for _, n := range i.Nodes {
		if src := site.Sources[n]; src != nil && src.Condition == Failed && !src.Muted() {
			failed = append(failed, n)
		}
	}
	return failed
}

// cause is the open incident for which the site's last run was begun, beside the power; nil: there is
// none.
func (s *State) cause(site *Site) *Incident {
	if r := site.Run; r == nil || r.On == shutdown.ForPower {
		return nil
	}
	if i := s.Incidents[site.RunCause]; i != nil && i.Open() {
		return i
	}
	return nil
}

// causeHolds reports whether the cause of a site's run goes on, and the configuration still has it
// begin the plan.
func (s *State) causeHolds(site *Site) bool {
	sc := s.cfg.site(site.Name)
	return s.cause(site) != nil && sc != nil && sc.OnFailure
}

// CauseActs reports whether a site's run may tell machines to shut down for another cause than
// the power: as of now a node is down for which it was begun, so that it goes on also on mains (rule S5).
func (s *State) CauseActs(name string, now time.Time) bool {
	site := s.Sites[name]
	if site == nil || !s.causeHolds(site) || s.outOfSight(site) || now.Before(s.causeKnown(site)) {
		return false
	}
	i := s.cause(site)
	return slices.ContainsFunc(i.Nodes, func(n string) bool {
		src := site.Sources[n]
		return src != nil && (src.Condition == Failed || site.downForCause(i, src))
	})
}

// causeKnown is when the cause of a run is known: after a start or pause those who are back are to be
// heard first (rule H8).
func (s *State) causeKnown(site *Site) time.Time {
	if site.Run.Begun.Before(s.watching) {
		return s.hearing.Add(s.cfg.Times.Silence)
	}
	return site.Run.Begun
}

// causeActs is the same, asked again once it is known.
func (d *decider) causeActs(site *Site) bool {
	return d.due(d.causeKnown(site)) && d.CauseActs(site.Name, d.now)
}

// downForCause reports whether a node of an incident is off by the run that was begun for it: it has
// not come back from what was wrong with it.
func (s *Site) downForCause(i *Incident, src *Source) bool {
	return src.Condition == Off && s.RunCause == i.ID && s.Run != nil && s.toldIn(i, src.Name)
}

// endCause ends a run, or begins to put back what it stopped, once what it was begun for is over. One
// of which the power is a reason ends with that, but where it would be for some of the machines
// alone: there the power begins its own (rule U7).
func (d *decider) endCause(site *Site) {
	r := site.Run
	if r == nil || r.On == shutdown.ForPower || site.takenOver() || r.Over() && (r.DryRun || r.Back != nil || !r.Finished) {
		return
	}
	holds := d.causeHolds(site)
	if !r.Joined.IsZero() {
		known := d.due(d.causeKnown(site))
		if r.Plan.Wiring == nil || r.Over() || holds && (!known || d.CauseActs(site.Name, d.now)) {
			return
		}
		d.stepLeft(site, "")
	} else if holds {
		return
	}
	of, why := d.Incidents[site.RunCause], saidCauseOver(r.On)
	if !holds && d.cause(site) != nil {
		why = "plan_on no longer names " + string(r.On)
	}
	d.giveBack(site, r, why, func(node string) bool { return of != nil && site.toldIn(of, node) })
	d.settlePutBack(site)
}

// joins reports whether a run that is under way for another cause is for the power from now on, too:
// there are never two at once.
func (d *decider) joins(site *Site) bool {
	r := site.Run
	return r != nil && !r.Over() && !r.ForPower() && !site.takenOver() && !site.stopHolds()
}

// stepJoined raises the epoch too: what the Pis knew of on mains is of no outage of the power to them,
// and once that run is through they would begin another (rule G2).
func (d *decider) stepJoined(site *Site, reason string) {
	epoch := site.Epoch
	if !site.Run.DryRun && site.openPiRun() == nil {
		epoch = d.nextEpoch(site)
	}
	d.emit(&RunStepped{Site: site.Name, Incident: d.open(site.Name, PowerOutage).ID, Epoch: epoch, Event: shutdown.Event{Type: shutdown.PowerJoined, At: d.now, Why: reason}})
}

func (d *decider) stepLeft(site *Site, why string) {
	d.emit(&RunStepped{Site: site.Name, Incident: site.RunCause, Epoch: site.Epoch, Event: shutdown.Event{Type: shutdown.PowerLeft, At: d.now, Why: why}})
}

// powerEnds is what the return of the power brings to a run: its end, unless it has another cause that
// goes on.
func (d *decider) powerEnds(site *Site, r *shutdown.Run, why string) {
	switch {
	case !r.Joined.IsZero() && d.causeHolds(site):
		d.stepLeft(site, why)
	case r.ForPower(), r.Back != nil && r.Back.Held:
		d.endRun(site, r, why)
	}
}

// evolveCause keeps what a run was begun for, and of which incident it is by now.
func (s *State) evolveCause(site *Site, f *RunStepped) {
	switch f.Event.Type {
	case shutdown.Began:
		site.RunCause = ""
		if f.Event.Run.On == shutdown.ForPower {
			return
		}
		site.RunCause = f.Incident
		if i := s.Incidents[f.Incident]; i != nil {
			i.Ran = true
		}
	case shutdown.PowerJoined, shutdown.PowerLeft:
		site.RunIncident, site.Epoch = f.Incident, f.Epoch
	}
}

// MayStart reports whether guests of a site may be started again: its UPSes say that they are on mains,
// or there is none whose power it could be about.
func (s *State) MayStart(site string, now time.Time) bool {
	st := s.Sites[site]
	if st != nil && st.Run != nil && !st.Run.ForPower() && len(st.UPSes) == 0 {
		return true
	}
	return s.MainsNow(site, now)
}

// onlyFor is the cause of what is stopped, if the power is no reason of it.
func (d *decider) onlyFor(site *Site) shutdown.Cause {
	if _, out := site.OnBattery(); out {
		return shutdown.ForPower
	}
	if k := site.openPiRun(); k != nil {
		return k.Run.On
	}
	if r := site.Run; r != nil && !r.ForPower() {
		return r.On
	}
	return shutdown.ForPower
}

// stopIsOver says why a stop holds no longer. That of what was begun for another cause holds nothing
// back from an outage. Where the power is out it is of another outage, before which it was back.
func (d *decider) stopIsOver(site *Site) string {
	switch _, out := site.OnBattery(); {
	case !out:
		return saidCauseOver(site.StoppedOn)
	case site.StoppedOn != shutdown.ForPower:
		return "the power is out"
	}
	return wasBackMeanwhile
}

// saidCause names a cause as one that is stopped.
func saidCause(c shutdown.Cause) string {
	switch c {
	case shutdown.ForFailure:
		return "this failure"
	case shutdown.ForInternet:
		return "this internet outage"
	default:
		return "this outage"
	}
}

// saidCauseOver says that a cause is over.
func saidCauseOver(c shutdown.Cause) string {
	switch c {
	case shutdown.ForFailure:
		return "the failure is over"
	case shutdown.ForInternet:
		return "the internet is back"
	default:
		return powerBack
	}
}

// saidOverAt says the same of a site.
func saidOverAt(site *Site, r *shutdown.Run) string {
	if !r.ForPower() && r.On == shutdown.ForFailure {
		return "the failure at " + site.Name + " is over"
	}
	return powerBack + " at " + site.Name
}

func sentenceOfCause(e shutdown.Event) string {
	switch {
	case e.Type == shutdown.PowerLeft && e.Why == "": // what ends it is told
		return ""
	case e.Type == shutdown.PowerLeft:
		return "the plan goes on for what it began for, although " + e.Why
	}
	return "the plan goes on for the power too, because " + e.Why
}
