package sentinel

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/shared/escalation"
	"sentinel.home.arpa/shared/power"
)

// Open reports whether the incident still goes on.
func (i *Incident) Open() bool { return i.Resolved.IsZero() }

// settleIncident resolves what has been calm for long enough (rules H6, N9). A power
// outage ends with the mains, not here.
func (d *decider) settleIncident(i *Incident) {
	switch i.Kind {
	case PowerOutage:
		d.settleOutage(i)
		return
	case InternetOutage, TailnetDown:
		d.settleUnreached(i)
		return
	}
	site := d.site(i.Site)
	var back, away []*Source
	for _, n := range i.Nodes {
		switch src := site.Sources[n]; {
		case src == nil:
		case src.Condition == Failed, site.downForCause(i, src):
			away = append(away, src)
		default:
			back = append(back, src)
		}
	}
	if len(away) > 0 && (i.Kind != Unwatched || !site.hasPi()) {
		i.calmSince = time.Time{}
		return
	}
	if i.calmSince.IsZero() {
		i.calmSince = d.now
	}
	if !d.due(i.calmSince.Add(d.calmFor(site, i))) {
		return
	}
	how := "all of its nodes have been back for "
	switch {
	case i.Kind == Unwatched && site.hasPi():
		how = "the power has been watched again for "
	case slices.ContainsFunc(back, func(src *Source) bool { return src.Condition == Off }):
		how = "all of its nodes have been back, or off as planned, for "
	}
	d.resolve(i, fmt.Sprintf("%s%s; it lasted %s", how, power.Spell(d.now.Sub(i.calmSince)), power.Spell(i.calmSince.Sub(i.Since))))
}

// calmFor is how long an incident must be calm to be over: for longer if one of its nodes
// failed twice within the window (rule H6).
func (d *decider) calmFor(site *Site, i *Incident) time.Duration {
	if i.Kind == NodeFailure && slices.ContainsFunc(i.Nodes, func(n string) bool { return site.Sources[n] != nil && d.failures(site, n) > 1 }) {
		return d.cfg.Times.CalmFlapping
	}
	return d.cfg.Times.Calm
}

func (d *decider) resolve(i *Incident, why string) {
	d.emit(&IncidentResolved{ID: i.ID, Why: why})
	d.dropCalls(i, why)
}

// dropCalls takes back what is queued or ringing about something that is over, unless
// the plan ran: that is worth a call in any case (rule C9).
func (d *decider) dropCalls(i *Incident, why string) {
	site := d.site(i.Site)
	if site.RunIncident == i.ID && site.Run != nil && !site.Run.DryRun && site.Run.Told() {
		return
	}
	d.dropAll(i, why)
}

func (d *decider) dropAll(i *Incident, why string) {
	for _, c := range i.Calls {
		if c.Open() && !c.Dropped {
			d.emit(&CallDropped{Call: c.ID, Why: why})
		}
	}
}

// callAt is when an incident is reason for a call, and false if it is none (yet).
func (d *decider) callAt(i *Incident) (at time.Time, why string, ok bool) {
	site := d.site(i.Site)
	switch i.Kind {
	case NodeFailure, Unwatched:
		return i.Opened, i.Why, true
	case PowerOutage:
		at = i.Since.Add(d.cfg.Times.PowerCall)
		if r := site.Run; site.RunIncident == i.ID && r != nil {
			if r.From().Before(at) {
				at = r.From()
			}
			return at, "the plan begins: " + r.Reason, true
		}
		return at, "the power has been out for " + power.Spell(d.now.Sub(i.Since)), true
	case InternetOutage, TailnetDown:
		return d.unreachedCallAt(i)
	}
	return time.Time{}, "", false
}

// settleCalls requests the call that is due about an open incident.
func (d *decider) settleCalls(i *Incident) {
	if !i.Open() || i.Answered != "" {
		return
	}
	if d.hushed(i) {
		d.dropAll(i, "all of it that is down is muted")
		return
	}
	at, why, ok := d.callAt(i)
	if !ok {
		return
	}
	if wait := d.awaitsUPS(i); wait > 0 {
		d.due(d.now.Add(wait))
		return
	}
	calls := i.lastCalls()
	next, ok := d.dueCall(i, calls, later(at, i.Alarmed))
	if !ok {
		d.settleReminder(i, calls)
		return
	}
	if !d.due(next.At) || d.mayBeOver(i, next.At) {
		return
	}
	if d.hold(i, next.Contact) {
		d.settleCalls(i) // there may be others
		return
	}
	n := len(i.Calls) + 1
	_, held := i.Held[next.Contact]
	switch {
	case held:
		why = "it was held back until now"
	case len(calls) > 0:
		why = fmt.Sprintf("nobody has taken call %d", n-1)
	case i.Alarm != "":
		why = i.Alarm
	}
	d.emit(&CallRequested{Call: fmt.Sprintf("%s/%d", i.ID, n), Incident: i.ID, Contact: next.Contact, Attempt: n, Why: why, Other: !d.aboutPower(i)})
}

// awaitsUPS is how long a call about a power outage known from before waits for its UPS: no
// restart causes a call by itself (rule H8), and none is lost by one that says nothing any more.
// Where nobody is heard there is none to wait for.
func (d *decider) awaitsUPS(i *Incident) time.Duration {
	site := d.site(i.Site)
	alarm := later(later(i.Opened, i.Reopened), i.Alarmed)
	if i.Kind != PowerOutage || !alarm.Before(d.watching) || site.livesSince().IsZero() || d.cfg.site(site.Name) == nil {
		return 0
	}
	atMost := d.attending.Add(d.cfg.site(site.Name).Policy.LostFor).Sub(d.now)
	return min(d.unconfirmed(site), atMost)
}

// mayBeOver reports whether a call fell due while nobody watched about something that may be
// over: those who are back are to be heard first, and who is heard is waited for (rule H8). A
// power call does not wait: what it is about is not for those to tell.
func (d *decider) mayBeOver(i *Incident, at time.Time) bool {
	alarm := later(later(i.Opened, i.Reopened), i.Alarmed)
	if i.Kind == PowerOutage || !alarm.Before(d.watching) || at.After(d.watching) {
		return false
	}
	return !d.due(d.hearing.Add(d.cfg.Times.Silence)) || !i.calmSince.IsZero()
}

// settleReminder calls everybody anew when all were called and nobody answered (rule H5).
func (d *decider) settleReminder(i *Incident, calls []escalation.Call) {
	callable := d.callable(i)
	at, ok := escalation.Again(d.cfg.Escalation, callable, d.callsTo(calls, callable), d.cfg.Times.Reminder)
	if ok && d.remind(i, at) {
		d.settleCalls(i)
	}
}

// lastCalls are the calls of the last alarm, and the one that is under way. One that was under
// way at a reopening is of it too; one from before it got worse, or that was taken back, is not.
func (i *Incident) lastCalls() []escalation.Call {
	var calls []escalation.Call
	for _, c := range i.Calls {
		if c.Open() || !c.Stale && !c.Dropped && (c.Ended.After(i.Alarmed) || !c.Requested.Before(i.Alarmed)) {
			calls = append(calls, escalation.Call{Contact: c.Contact, Delivered: c.Delivered, Refused: c.OfNumber, Requested: c.Requested, Ended: !c.Open(), EndedAt: c.Ended})
		}
	}
	return calls
}

func (d *decider) callEnded(in CallHasEnded) {
	c := d.call(in.Call)
	if c == nil || !c.Open() {
		return
	}
	in.Delivered = in.Delivered || c.Keys != "" // a machine presses none (rule C2)
	d.emit(&CallEnded{Call: in.Call, Delivered: in.Delivered, Outcome: in.Outcome, Refused: in.Refused, Advice: in.Advice, OfNumber: in.OfNumber})
	if in.Refused {
		d.callRefused(c, in)
	}
	d.drillEnded(c)
	if i := d.Incidents[c.Incident]; i != nil && in.Delivered && !c.Stale && i.Open() && i.Answered == "" {
		d.answer(i, c.Contact, c.Contact+" took the call")
	}
}

func (d *decider) answer(i *Incident, by, why string) {
	d.emit(&IncidentAnswered{ID: i.ID, By: by, Why: why})
	for _, c := range i.Calls {
		if c.Open() && !c.Dropped && !strings.EqualFold(c.Contact, by) {
			d.emit(&CallDropped{Call: c.ID, Why: why})
		}
	}
}

// storyOf is the incident of whose story it is a part what a Pi saw then: the site was out of
// reach or its power was out, or nobody heard the Pi. Of several it is the last; empty: none.
func (d *decider) storyOf(site *Site, pi string, at time.Time) string {
	var story *Incident
	for _, i := range d.Incidents {
		over := !i.Open() && at.After(i.Resolved)
		if i.Site != site.Name && i.Site != "" || over || at.Before(i.Since.Add(-beforeGap)) {
			continue
		}
		ofSite := i.Site != "" && (i.Kind == PowerOutage || i.Kind == InternetOutage)
		if (ofSite || slices.Contains(i.Nodes, pi)) && (story == nil || byOpening(story, i) < 0) {
			story = i
		}
	}
	if story == nil {
		return ""
	}
	return story.ID
}
