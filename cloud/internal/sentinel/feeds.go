package sentinel

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// fedBy is what is known of a site's UPSes, for who decides by machine (rule U7). A run that goes
// on says what counts as its reason still.
func (d *decider) fedBy(site *Site, sc *SiteConfig, w *power.Wiring, r *shutdown.Run) (feeds []power.Feed) {
	names := slices.AppendSeq(slices.Collect(maps.Keys(site.UPSes)), maps.Keys(w.Feeds))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		f := power.Feed{UPS: name}
		if u := site.UPSes[name]; u != nil && !u.at.IsZero() && u.Supply != power.Mains {
			f.Reading, f.Standing = d.readingOf(u, sc.Policy), d.standing(u, sc, r)
		} else {
			f.Reading, f.Standing = d.mainsOf(u)
		}
		feeds = append(feeds, f)
	}
	return feeds
}

// readingOf is what a UPS that is not on mains says, if it counts as a reason to begin.
func (d *decider) readingOf(u *UPS, p power.Policy) *power.Reading {
	r, _ := u.Reading(d.now, d.cfg.Times.ReportFresh)
	tooLongAgo := r.LostFor != nil && r.LostFor.Duration() >= p.LostFor+rememberedFor
	if tooLongAgo || u.unconfirmed(d.now, d.cfg.Times.ReportFresh, p) > 0 {
		return nil
	}
	return &r
}

// mainsOf is the same of one that was last on mains, or was never heard. On mains it is heard less
// often, and after a start it has the time to be heard first: until then its battery counts for
// nobody.
func (d *decider) mainsOf(u *UPS) (*power.Reading, power.Standing) {
	if u != nil && !u.at.IsZero() && !u.assumed && u.reading.LostFor == nil && !d.due(u.at.Add(reportTooOld)) {
		return new(u.reading.Aged(d.now.Sub(u.at))), power.HasMains
	}
	if !d.due(d.watching.Add(reportTooOld)) {
		return &power.Reading{Supply: power.Mains}, power.HasMains
	}
	if u == nil || u.at.IsZero() {
		return nil, power.Unsure
	}
	return new(u.reading.Lost(d.now.Sub(u.at))), power.Unsure
}

// standing is whether a UPS that is not on mains may be a reason of a run still (rule S5).
func (d *decider) standing(u *UPS, sc *SiteConfig, r *shutdown.Run) power.Standing {
	reading, _ := u.Reading(d.now, d.cfg.Times.ReportFresh)
	switch {
	case r != nil && u.letGoIn(r):
		return power.StillCalls
	case u.Supply == power.Battery && u.assumed && u.Stale, r != nil && u.lostBefore(r):
	case u.Supply == power.Battery:
		return power.StillCalls
	case u.tests() && (u.assumed || sc.Policy.Decide(reading, need(sc.Plan)).Start):
		return power.StillCalls
	case u.tests():
		return power.HasMains
	}
	return power.Unsure
}

// widens reports whether the site's run is of the outage that goes on, so that who is called for
// later is part of it. Where a Pi has begun another since, it is not.
func (d *decider) widens(site *Site) bool {
	r := site.Run
	if !r.Widens() || site.takenOver() || r.DryRun == site.Armed || site.stopHolds() {
		return false
	}
	if pi := site.PiRun; r.Finished && pi != nil && pi.Epoch.Compare(site.Epoch) > 0 {
		return false
	}
	i := d.open(site.Name, PowerOutage)
	if i == nil || i.ID != site.RunIncident {
		return false
	}
	since, on := site.OnBattery()
	another := on && since.After(r.From()) && i.Reopened.After(r.From()) // though no word of the mains ended the run
	return !r.Finished || !another
}

// heed lets a site's run take who is called for now, and who no longer is.
func (d *decider) heed(site *Site, sc *SiteConfig) {
	r := site.Run
	if !d.widens(site) {
		return
	}
	known := d.fedBy(site, sc, r.Plan.Wiring, r)
	if sc.Plan != nil {
		known = r.Plan.Wiring.Without(sc.Plan.Wiring, known)
	}
	es, in := r.Heed(d.now, sc.Policy, known, true)
	d.stepRun(site.Name, es)
	if in != power.Never {
		d.due(d.now.Add(in))
	}
}

// settleFed begins the plan for the machines that the site's UPSes call for, or has a run that was
// through go on for more of them (rule U7), also if nobody says any more what feeds them: a run keeps the
// plan that it began with. calling are the UPSes that have a reason.
func (d *decider) settleFed(site *Site, sc *SiteConfig, calling []*UPS) {
	if d.widens(site) {
		if site.Run.Finished && !site.piActs() { // one that is under way heeds them before its next step
			d.heed(site, sc)
		}
		return
	}
	if len(calling) == 0 || sc.Plan.Wiring == nil {
		return
	}
	covered := site.coveredByPi(sc.Plan)
	known := d.fedBy(site, sc, sc.Plan.Wiring, nil)
	names, v := sc.Plan.CalledFor(sc.Policy, known, func(machine string) bool { return slices.Contains(covered, machine) })
	if v.In != power.Never {
		d.due(d.now.Add(v.In))
	}
	if len(names) == 0 || !slices.ContainsFunc(calling, func(u *UPS) bool { return d.mayBegin(site, u, len(covered) > 0) }) {
		return
	}
	d.beginRun(site, *sc.Plan, v)
	if len(covered) > 0 {
		d.stepRun(site.Name, site.Run.Covered(d.now, covered, "the run of "+cmp.Or(site.PiRun.Epoch.Holder, "the Pi")+" was for them"))
	}
	d.heed(site, sc)
}

// coveredByPi are the machines of a plan that the last run of a Pi was for, if it is through and of
// the outage that goes on: all but those that it says it left on.
func (s *Site) coveredByPi(plan *shutdown.Plan) (names []string) {
	r := s.PiRun
	since, on := s.OnBattery()
	if r == nil || r.State != shutdown.HasEnded || r.On != shutdown.ForPower || !on || s.PiRunAt.Before(since) {
		return nil
	}
	for _, m := range plan.Machines() {
		left := func(o shutdown.Outcome) bool { return o.Name == m.Node && o.State == shutdown.StaysOn }
		if !slices.ContainsFunc(r.Targets, left) {
			names = append(names, m.Node)
		}
	}
	return names
}

// Scope are the machines that the site's run is for, if it is not for all of the plan.
func (s *Site) Scope() []string {
	if s.Run == nil || !s.Run.Scoped() {
		return nil
	}
	if covered := s.carriedOut(); len(covered) > 0 {
		return covered
	}
	return slices.Clone(s.Run.Called)
}

// carriedOut are the machines that the site's run was for as a Pi has carried it out; none if no Pi has.
// Others may be called for still.
func (s *Site) carriedOut() []string {
	if r := s.Run; r != nil && r.Scoped() && r.Taken {
		return s.coveredByPi(&r.Plan)
	}
	return nil
}

// unheardFeeds is how long to wait for the UPSes that were on battery when an earlier process
// heard them, before any machine is told something: each is the reason for its own.
func (d *decider) unheardFeeds(site *Site, sc *SiteConfig) (wait time.Duration) {
	for _, u := range site.UPSes {
		switch {
		case u.Supply != power.Battery:
		case !u.Stale:
			wait = max(wait, u.unconfirmed(d.now, d.cfg.Times.ReportFresh, sc.Policy))
		case u.assumed: // its silence is no reason, but it has the time to be heard first
			wait = max(wait, d.watching.Add(reportTooOld).Sub(d.now))
		}
	}
	return wait
}

// sentenceOfScope says who a run is for, and who not. For whom it begins say its stages.
func sentenceOfScope(e shutdown.Event) string {
	names := saidStage(e.Targets, "")
	are := " are"
	if len(e.Targets) == 1 {
		are = " is"
	}
	switch {
	case e.Type == shutdown.Called && e.Stage > 0:
		return names + are + " not told again, because " + e.Why
	case e.Type == shutdown.Called && e.Again:
		return "the plan goes on for " + names + ", because " + e.Why
	case e.Type == shutdown.Called:
		return ""
	case e.Again:
		return names + are + " told nothing more: " + e.Why
	}
	return names + are + " left on: " + e.Why
}
