package sentinel

import (
	"errors"
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/routing"
	"sentinel.home.arpa/shared/shutdown"
)

var errInterrupted = errors.New("the brain was restarted before an answer came")

// decider is one Step under way.
type decider struct {
	*State
	now   time.Time
	facts []Fact
}

// emit is how everything durable changes.
func (d *decider) emit(f Fact) {
	d.Evolve(d.now, f)
	d.facts = append(d.facts, f)
}

// due reports whether a moment has come, and if not, that it must be asked for again.
func (d *decider) due(at time.Time) bool {
	if !d.now.Before(at) {
		return true
	}
	if d.wake.IsZero() || at.Before(d.wake) {
		d.wake = at
	}
	return false
}

// Step takes what happened at now and returns what follows from it. The facts are
// already part of the state; they must be in the journal before anything is done.
func (s *State) Step(now time.Time, in Input) []Fact {
	s.wake = time.Time{}
	d := &decider{State: s, now: now}
	if d.strange(in) {
		in = Tick{}
	}
	switch in := in.(type) {
	case Tick:
	case Started:
		d.started(in)
	case Paused:
		d.paused(in)
	case Heard:
		d.heard(in)
	case Silent:
		d.silent(in)
	case SystemState:
		d.systemState(in)
	case Announced:
		d.announced(in)
	case Bound:
		if d.Keys[in.Name] != in.KeyBound {
			d.emit(&in.KeyBound)
		}
	case KeyExpiring:
		d.keyExpiring(in)
	case Forged:
		d.forged(in)
	case UPSReported:
		d.upsReported(in)
	case PiReported:
		d.piReported(in)
	case Uplink:
		d.uplink(in)
	case CallWasPlaced:
		if c := d.call(in.Call); c != nil && c.SID != in.SID {
			d.emit(&CallPlaced{Call: in.Call, SID: in.SID})
		}
	case CallIsLate:
		d.callLate(in)
	case CallHasEnded:
		d.callEnded(in)
	case NoticeHasEnded:
		d.noticeEnded(in)
	case Tried:
		d.tried(in)
	case NoticeFailing:
		d.noticeFailing(in)
	case TestCall:
		d.testCall(in)
	case Pinged:
		d.pinged(in)
	case PlanLooked:
		d.planLooked(in)
	case PhoneTested:
		d.phoneTested(in)
	case Pressed:
		d.pressed(in)
	case Acknowledge:
		if i := d.Incidents[in.Incident]; i != nil && i.Open() && i.Answered == "" {
			d.answer(i, in.By, in.By+" said so")
		}
	case Mute:
		d.mute(in)
	case Unmute:
		d.unmute(in)
	case Maintain:
		d.maintain(in)
	case Maintained:
		d.maintained(in)
	case Delete:
		d.deleted(in)
	case Indirect:
		d.indirect(in)
	case Direct:
		d.direct(in)
	case Cloned:
		d.cloned(in)
	case Recorded:
		d.recorded(in)
	case Configured:
		d.configured(in)
	case Arm:
		d.arm(in)
	case Disarm:
		d.disarm(in)
	case Stop:
		d.stop(in)
	case SayNetwork:
		d.sayNetwork(in)
	case LeaveOff:
		d.leaveOff(in)
	case RunAnswered:
		if r := d.run(in.Site, in.Run); r != nil && in.Start {
			d.stepRun(in.Site, r.StartAnswered(now, in.Target, in.Err))
		} else if r != nil {
			d.stepRun(in.Site, r.Answered(now, in.Target, in.Found, in.Err))
		}
	case RunSeen:
		if r := d.run(in.Site, in.Run); r != nil {
			es := r.Seen(now, in.Target, in.Sight)
			if d.onlyWatches(d.site(in.Site)) {
				es = shutdown.WithoutCommands(es)
			}
			d.stepRun(in.Site, es)
		}
	}
	d.settle()
	d.tell()
	return d.facts
}

// settle lets everything happen that is due, and notes when it must be asked again.
func (d *decider) settle() {
	if d.testDue = false; !d.Blind.IsZero() {
		return // nobody is blamed, nothing begun and nobody called for what is not seen (rule N3)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Sites)) {
		site := d.Sites[name]
		d.settleDoubt(site)
		d.settleSources(site)
		d.settleTakenOver(site)
		d.settleStop(site)
		d.settlePower(site)
		d.settleRun(site)
		d.settlePutBack(site)
	}
	for _, i := range d.OpenIncidents() {
		d.settleIncident(i)
	}
	d.settleReturns()
	for _, name := range slices.Sorted(maps.Keys(d.Sites)) { // what an incident was about that is over now
		d.settleCause(d.Sites[name])
	}
	for _, name := range slices.Sorted(maps.Keys(d.Sites)) { // what is over no longer explains a Pi's silence
		d.settleAway(d.Sites[name])
		d.settlePis(d.Sites[name])
	}
	for _, i := range d.OpenIncidents() { // one may have led to another
		d.settleWorse(i)
		d.settleCalls(i)
	}
	d.settleSelfTest()
	d.settleDrill()
	d.settleDigest()
}

func (d *decider) started(in Started) {
	d.emit(&BrainStarted{Version: in.Version})
	for _, text := range in.Notices {
		d.emit(&Noticed{Text: text, Severity: routing.Warning})
	}
	d.startedOften()
	d.reconcile()
	d.restartClocks()
	for _, site := range d.Sites { // what was under way is sent again
		d.interrupted(site)
	}
}

// restartClocks forgets what only holds while time is watched without a gap: doubts,
// calm, and the UPS's last report, which must be heard again, or be missing for as long
// as lost contact takes to be danger, before anything is begun.
func (d *decider) restartClocks() {
	d.watching, d.hearing, d.attending, d.stopped = d.now, d.now, d.now, time.Time{}
	for _, site := range d.Sites {
		site.forgetTalks()
		site.piAdvanced = time.Time{}
		for _, u := range site.UPSes {
			u.assume(d.now, d.lostFor(site.Name))
		}
		site.lookAt(d.now)
		for _, src := range site.Sources {
			src.restartClocks(d.now)
		}
	}
	for _, i := range d.Incidents {
		i.calmSince = time.Time{}
	}
}

func (d *decider) arm(in Arm) {
	site := d.site(in.Site)
	if !site.Armed {
		d.emit(&PlanArmed{Site: in.Site, By: in.By})
		d.tellOfEndedRun(site)
	}
	if r := site.Run; r != nil && r.DryRun {
		d.stepRun(in.Site, r.Abort(d.now, "the plan was armed by "+in.By))
	}
}

func (d *decider) disarm(in Disarm) {
	site := d.site(in.Site)
	if site.Armed {
		d.emit(&PlanDisarmed{Site: in.Site, By: in.By})
	}
	if site.Run != nil {
		why := "it was disarmed by " + in.By
		d.stepRun(in.Site, site.Run.Abort(d.now, why))
		d.endPutBack(site, "the plan was disarmed by "+in.By)
	}
}

func (d *decider) run(site, id string) *shutdown.Run {
	if r := d.site(site).Run; r != nil && r.ID == id {
		return r
	}
	return nil
}
