package sentinel

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// reportTooOld is the lag over which a report is history: it was on its way, or in a
// buffer, for longer than anybody may act upon.
const reportTooOld = 10 * time.Second

// piPatience is how long the brain waits for the Pi's run to advance.
const piPatience = 10 * time.Second

// assume takes what the journal knew for the last report, with contact lost from now. What
// it knew too long ago says nothing: the UPS must be heard before anything is begun. most is how
// long lost contact takes to be danger.
func (u *UPS) assume(now time.Time, most time.Duration) {
	u.heard, u.claims, u.lone, u.late, u.advised = time.Time{}, nil, nil, nil, nil
	switch {
	case u.Supply == "":
		return
	case u.assumed:
	case !u.at.IsZero():
		u.unheard = u.certain()
	case u.Lost:
		u.unheard = u.LostAt.Add(-most)
	default:
		u.unheard = now // an earlier process heard it, lately or it is stale
	}
	lost := power.Seconds(0)
	u.at, u.assumed = now, true
	u.reading = power.Reading{Supply: u.Supply, For: power.InSeconds(now.Sub(u.Since)), LostFor: &lost}
	if u.Stale || now.Sub(u.unheard) > most+rememberedFor {
		u.reading = power.Reading{Supply: power.Unknown, LostFor: &lost}
	}
}

// lostFor is how long lost contact with a site's UPSes takes to be danger.
func (d *decider) lostFor(site string) time.Duration {
	if sc := d.cfg.site(site); sc != nil {
		return sc.Policy.LostFor
	}
	return power.DefaultPolicy().LostFor
}

func (d *decider) upsReported(in UPSReported) {
	if in.Lag <= reportTooOld {
		d.takeReport(d.ups(in.Site, in.UPS), in)
	}
}

func (d *decider) takeReport(u *UPS, in UPSReported) {
	at := d.now.Add(-in.Lag)
	if !at.After(u.at) || u.overtaken(in) || d.ofAnother(u, in) {
		return
	}
	from, why := d.takenFrom(u, in)
	if u.remembers(in.Reading, at) || u.knowsBetter(in.Reading, at) {
		in.Reading = power.Reading{Supply: power.Unknown, LostFor: in.Reading.LostFor}
	}
	if in.Reading.Supply == power.Unknown {
		u.unsure(in.Reading, at)
		return
	}
	if d.waits(u, in) || !u.believes(in, at) {
		return // the next report will say so too, within a second
	}
	later, anew := u.anotherTransfer(in, at)
	if d.afterTheStop(u, in, at) {
		later, anew = true, true
	}
	u.reading, u.at, u.assumed, u.boot = in.Reading, at, false, in.Boot
	if in.Reading.Supply == power.Mains && in.Reading.LostFor == nil {
		u.mains = d.now
	}
	d.cutting(in)
	was := u.Supply
	confirms := u.Stale && was == power.Battery // it was for so long unheard that it was unsure
	confirms = confirms || u.bootsInStop(d.site(in.Site), in)
	if in.Reading.Supply == was && !confirms && !later && (u.Pi == "" || u.Pi == in.Pi) {
		return
	}
	since := at.Add(-in.Reading.For.Duration())
	if in.Reading.Supply == was && !anew { // or another Pi took over
		since = u.Since
	}
	if in.Reading.OnBattery() && (was == power.SelfTest || was == power.Calibrates) && !anew && u.Since.Before(since) {
		since = u.Since // it is one time on battery, also if its Pi was restarted in it
	}
	d.emit(&SupplyChanged{Site: in.Site, UPS: in.UPS, Supply: in.Reading.Supply, Since: since, Reading: in.Reading,
		Pi: in.Pi, Boot: in.Boot, Seq: in.Seq, Listed: d.listsUPS(in.Site, in.UPS), From: from, Why: why})
	site := d.site(in.Site)
	if anew {
		d.wasBack(site)
	}
	if was == power.Battery || in.Reading.Supply == power.Mains {
		d.mainsBack(site)
	}
}

func (d *decider) listsUPS(site, ups string) bool {
	sc := d.cfg.site(site)
	return sc != nil && sc.listsUPS(ups)
}

// unsure takes a report that does not know the supply, as of a Pi that started while its
// UPS is out of reach. What was last known stays, without contact since then (rule U5).
func (u *UPS) unsure(r power.Reading, at time.Time) {
	if !u.at.IsZero() && u.reading.Supply != power.Unknown {
		r = u.reading.Lost(at.Sub(u.at))
	}
	u.reading, u.at = r, at
}

// overtaken reports whether a report is older than one that changed the supply, or of a
// boot of its Pi that is over, also as far as an earlier process knew (rule U6): an old
// outage that comes again must not begin anything.
func (u *UPS) overtaken(in UPSReported) bool {
	shown := u.Shown[in.Pi]
	i := slices.IndexFunc(shown, func(s Said) bool { return s.Boot == in.Boot })
	return in.Seq != 0 && i >= 0 && (i < len(shown)-1 || in.Seq <= shown[i].Seq)
}

// powerBack is why a run ends that the mains end. It is not of the outage in which a UPS is heard
// after them, though that may have begun before the run did: the word of mains was late then.
const powerBack = "the power is back"

// mainsBack ends what the outage began, unless another UPS of the site is still on
// battery (rules U4, S5). A run ends already when all that are were out of reach for long when
// it began, since none of those can be its reason.
func (d *decider) mainsBack(site *Site) {
	if r := site.Run; r != nil && !d.stillReason(site, r) {
		d.powerEnds(site, r, powerBack)
	}
	if i := d.open(site.Name, PowerOutage); i != nil {
		d.endOutage(i, "the power is back after "+power.Spell(site.mainsFrom(i, d.now).Sub(i.Since))+saidReturning(site.Run))
	}
}

// mainsFrom is when the power of an outage that is over came back: of one whose end nobody heard, that was earlier
// than now.
func (s *Site) mainsFrom(i *Incident, now time.Time) time.Time {
	var from time.Time
	for _, u := range s.UPSes {
		if u.Supply == power.Mains && u.Since.After(i.Since) && !u.Since.After(now) {
			from = later(from, u.Since)
		}
	}
	if from.IsZero() {
		return now
	}
	return from
}

// settlePower opens the incident of an outage and begins the plan (rules U2, S2).
func (d *decider) settlePower(site *Site) {
	sc := d.cfg.site(site.Name)
	if sc == nil {
		return
	}
	var calling []*UPS
	fed := sc.Plan != nil && (sc.Plan.Wiring != nil || d.widens(site))
	for _, name := range slices.Sorted(maps.Keys(site.UPSes)) {
		u := site.UPSes[name]
		d.settleLate(u)
		r, ok := u.Reading(d.now, d.cfg.Times.ReportFresh)
		if !ok {
			continue
		}
		d.settleContact(site, u, r, sc.Policy)
		d.settleAdvice(site, u)
		if d.gone(site, u, r) {
			continue
		}
		if wait := u.unconfirmed(d.now, d.cfg.Times.ReportFresh, sc.Policy); wait > 0 {
			d.due(d.now.Add(wait)) // what the journal remembers opens and begins nothing
			continue
		}
		verdict := sc.Policy.Decide(r, need(sc.Plan))
		if r.LostFor != nil && r.LostFor.Duration() >= sc.Policy.LostFor+rememberedFor {
			verdict = power.Verdict{In: power.Never} // too long ago to be danger now
		}
		begin := verdict.Start || verdict.In != power.Never && d.due(d.now.Add(verdict.In))
		if r.OnBattery() && d.due(d.now.Add(d.cfg.Times.OutageNotice-r.For.Duration())) || begin {
			d.outage(site, u, r)
		}
		d.anotherUPS(site, u, r, sc.Policy)
		if begin && d.joins(site) {
			d.stepJoined(site, verdict.Reason)
		}
		switch {
		case !begin:
		case fed:
			calling = append(calling, u)
		case sc.Plan != nil && d.mayBegin(site, u, false):
			d.beginRun(site, *sc.Plan, verdict)
		}
	}
	if fed {
		d.settleFed(site, sc, calling)
	}
}

func need(p *shutdown.Plan) time.Duration {
	if p == nil {
		return 0
	}
	return p.Need()
}

func (d *decider) settleContact(site *Site, u *UPS, r power.Reading, p power.Policy) {
	lost := r.LostFor != nil && d.due(d.now.Add(p.LostFor-r.LostFor.Duration()))
	if u.Lost && (r.LostFor == nil || u.heardSinceLost()) {
		d.emit(&ContactBack{Site: site.Name, UPS: u.Name, Elsewhere: u.LostElsewhere})
	}
	if lost && !u.Lost {
		d.emit(&ContactLost{Site: site.Name, UPS: u.Name, Why: "nothing certain was heard of it for " + power.Spell(r.LostFor.Duration()), Elsewhere: d.piAway(site, u)})
	}
}

// heardSinceLost reports whether a UPS was heard since contact with it was called lost, though it is lost
// again by now: its Pi told of it only then. A loss of long ago would say that its outage is as old.
func (u *UPS) heardSinceLost() bool {
	return !u.assumed && u.reading.Supply != power.Unknown && u.certain().After(u.LostAt.Add(claimSlack))
}

func (d *decider) outage(site *Site, u *UPS, r power.Reading) {
	if d.open(site.Name, PowerOutage) != nil {
		return
	}
	since := d.now.Add(-r.For.Duration())
	if d.becomePower(site, u, since) {
		return
	}
	if i := d.outAgain(site, u); i != nil {
		d.emit(&IncidentReopened{ID: i.ID, Since: since, Worse: d.stillWorse(i, nil),
			Why: "the UPS is on battery again, within " + power.Spell(d.cfg.Times.Continue) + "; " + i.Answered + " knows of it"})
		return
	}
	why := "the UPS has been on battery for " + power.Spell(r.For.Duration())
	if r.Supply == power.SelfTest && r.LostFor != nil {
		why = "the UPS was in a self-test when it fell silent " + power.Spell(r.LostFor.Duration()) + " ago"
	}
	d.openIncident(&IncidentOpened{Site: site.Name, Kind: PowerOutage, Since: since, UPS: u.Name, Why: why}, "power")
}

// outAgain is the power outage of which somebody knows and that goes on as another: its UPS is on
// battery again so soon that nobody is called for it (rule H6); nil: there is none.
func (d *decider) outAgain(site *Site, u *UPS) *Incident {
	var latest *Incident
	for _, i := range d.Incidents {
		lately := !i.Open() && d.now.Sub(i.Resolved) <= d.cfg.Times.Continue
		if i.Site == site.Name && i.Kind == PowerOutage && lately && (latest == nil || i.Resolved.After(latest.Resolved)) {
			latest = i
		}
	}
	if latest == nil || latest.Answered == "" || latest.UPS != u.Name {
		return nil
	}
	return latest
}

// anotherUPS calls once more about a power outage in which a UPS goes on battery later than the
// call about the first, and for longer than its ride-through (rule H5).
func (d *decider) anotherUPS(site *Site, u *UPS, r power.Reading, p power.Policy) {
	i, what := d.open(site.Name, PowerOutage), "ups "+u.Name
	if i == nil || u.Supply != power.Battery || i.UPS == u.Name || !u.Since.After(i.Since.Add(d.cfg.Times.PowerCall)) ||
		slices.Contains(i.Worse, what) || !d.due(d.now.Add(max(p.RideThrough, d.cfg.Times.OutageNotice)-r.For.Duration())) {
		return
	}
	why := u.Name + " has been on battery too for " + power.Spell(r.For.Duration())
	if i.Answered != "" {
		why += "; " + i.Answered + " knew of the outage before"
	}
	d.emit(&IncidentWorse{ID: i.ID, What: what, Why: why, UPSes: []string{u.Name}})
}

// mayBegin holds a plan back that brain or Pi has begun already in this outage (rule G2). What
// was tried before the plan was armed is no run of it (rule S7). more says that a Pi's run which is
// through was not for all that are called for.
func (d *decider) mayBegin(site *Site, u *UPS, more bool) bool {
	if site.stopHolds() {
		return false
	}
	if r := site.Run; r != nil && !site.takenOver() && !(more && r.Taken) && (!r.Over() || r.ForPower() && (r.Stopped != powerBack || u.Lost) && !r.From().Before(u.Since) && !(r.DryRun && site.Armed)) {
		return false
	}
	since, on := site.OnBattery()
	if !on {
		since = u.Since
	}
	if r := site.PiRun; r == nil || !r.State.Open() && (r.On != shutdown.ForPower || site.PiRunAt.Before(since)) { // of an earlier outage, if any
		return true
	}
	if !site.PiRun.State.Open() {
		heard, on := site.heardOnBattery()
		return on && (more || site.PiRunAt.Before(heard))
	}
	if site.piAdvanced.IsZero() {
		site.piAdvanced = d.now
	}
	// The same patience that the Pi has with the brain: a run that stops advancing, or of
	// which nothing is heard any more, is taken over; the first of them once in an outage.
	if r := site.Run; r != nil && r.Takes && !r.From().Before(since) && site.hearsHolder() {
		return false
	}
	return d.due(site.piAdvanced.Add(piPatience))
}

// hearsHolder reports whether the Pi is heard that holds the last run.
func (s *Site) hearsHolder() bool {
	src := s.Sources[s.PiRun.Epoch.Holder]
	return src != nil && src.Condition == Up
}

func (d *decider) beginRun(site *Site, plan shutdown.Plan, v power.Verdict) {
	i := d.open(site.Name, PowerOutage)
	epoch := d.nextEpoch(site)
	if r := site.PiRun; r != nil && r.State.Open() { // mayBegin waited for it
		v.Reason += fmt.Sprintf("; the run of %s has made no headway for %s", cmp.Or(r.Epoch.Holder, "the Pi"), power.Spell(d.now.Sub(site.piAdvanced)))
	}
	out, _ := site.OnBattery()
	takes := site.PiRun != nil && site.PiRun.State.Open() && site.hearsHolder()
	d.start(site, i, epoch, shutdown.Header{Plan: plan, Reason: v.Reason, Out: out, Takes: takes, Owed: site.owedByPis(plan)})
	if i.Answered != "" && !i.Reopened.IsZero() && !slices.Contains(i.Worse, PlanBegins) { // that is always a call (rule U2)
		d.emit(&IncidentWorse{ID: i.ID, What: PlanBegins, Why: "the plan begins: " + v.Reason + "; " + i.Answered + " knew of the outage before"})
	}
}

// settleRun lets the site's run advance. Nothing is sent on a reason that the journal
// remembers but nobody has confirmed since the start (rule S5).
func (d *decider) settleRun(site *Site) {
	sc := d.cfg.site(site.Name)
	if sc == nil {
		return // it is no longer configured: nobody wants it shut down
	}
	for r := site.Run; r != nil && !r.Over(); {
		if d.onlyWatches(site) {
			return
		}
		d.heed(site, sc)
		es := r.Next(d.now)
		if len(es) == 0 {
			d.due(r.NextDeadline())
			return
		}
		d.stepRun(site.Name, es)
	}
}

// onlyWatches reports whether a site's run may tell nobody anything for now: a Pi's under a
// later epoch took it over or advances (rules G5, G2), nobody has confirmed its reason (rule S5),
// or a brain that is offline takes its own silence for the UPS's (rule N3).
func (d *decider) onlyWatches(site *Site) bool {
	if !d.Blind.IsZero() {
		return true
	}
	if site.takenOver() {
		return true
	}
	if site.piActs() && !d.due(site.piAdvanced.Add(piPatience)) {
		return true
	}
	if !site.Run.ForPower() {
		return !d.causeActs(site)
	}
	if !site.Run.From().Before(d.watching) {
		return false // its reason was heard when it began
	}
	wait := d.unconfirmed(site)
	if sc := d.cfg.site(site.Name); sc != nil && site.Run.Scoped() {
		wait = max(wait, d.unheardFeeds(site, sc))
	}
	return wait > 0 && !d.due(d.now.Add(wait))
}

// start begins a run.
func (d *decider) start(site *Site, i *Incident, epoch shutdown.Epoch, h shutdown.Header) {
	h.ID, h.DryRun = fmt.Sprintf("%s/%d", i.ID, epoch.Counter), !site.Armed
	h.Owed = slices.Concat(d.takeBack(site), site.Run.StillOwed(), site.Run.Unreturned(), h.Owed)
	h.Starting = site.Run.StartsUnderWay(d.now)
	d.emit(&RunStepped{Site: site.Name, Incident: i.ID, Epoch: epoch, Event: shutdown.Event{Type: shutdown.Began, At: d.now, Run: &h}})
}

// nextEpoch is above all that the site's runs were begun under.
func (d *decider) nextEpoch(site *Site) shutdown.Epoch {
	return shutdown.Epoch{Counter: max(site.Epoch.Counter, site.piCounter()) + 1, Holder: d.cfg.Brain}
}

// piActs reports whether a Pi's run under a later epoch advanced when last heard of.
func (s *Site) piActs() bool {
	r := s.PiRun
	return r != nil && r.State == shutdown.Advancing && r.Epoch.Compare(s.Epoch) > 0 && !s.piAdvanced.IsZero()
}

// unconfirmed is how long to wait before the reason of a run, known from the journal
// alone, may be acted upon; 0 if it has been heard again, or contact is lost for good.
func (d *decider) unconfirmed(site *Site) time.Duration {
	sc := d.cfg.site(site.Name)
	if sc == nil {
		return 0
	}
	wait := time.Duration(0)
	for _, u := range site.UPSes {
		switch u.Supply {
		case power.Mains, power.Unknown: // that is no reason
		case power.Battery:
			if !u.assumed && !u.at.IsZero() {
				return 0 // one that was heard is reason enough
			}
			fallthrough
		default:
			wait = max(wait, u.unconfirmed(d.now, d.cfg.Times.ReportFresh, sc.Policy))
		}
	}
	return wait
}

// unconfirmed is the same for one UPS.
func (u *UPS) unconfirmed(now time.Time, fresh time.Duration, p power.Policy) time.Duration {
	r, ok := u.Reading(now, fresh)
	if !ok || !u.assumed || r.LostFor == nil {
		return 0
	}
	if u.Stale { // for however long it is silent: it must be heard
		return p.LostFor
	}
	return max(p.LostFor-r.LostFor.Duration(), 0)
}

func (d *decider) stepRun(site string, es []shutdown.Event) {
	st := d.site(site)
	for _, e := range es {
		d.emit(&RunStepped{Site: site, Incident: st.RunIncident, Epoch: st.Epoch, Event: e})
		if e.Type == shutdown.Accepted {
			d.toldNode(st, e.Target)
		}
	}
}
