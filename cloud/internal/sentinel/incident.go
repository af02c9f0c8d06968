package sentinel

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/escalation"
	"sentinel.home.arpa/shared/power"
)

// settleIncident resolves what has been calm for long enough (rules H6, N9). A power
// outage ends with the mains, not here.
func (d *decider) settleIncident(i *Incident) {
	if i.Kind == PowerOutage {
		return
	}
	site := d.site(i.Site)
	var back, away []*Source
	for _, n := range i.Nodes {
		switch src := site.Sources[n]; {
		case src == nil:
		case src.Condition == Failed:
			away = append(away, src)
		default:
			back = append(back, src)
		}
	}
	calm := len(away) == 0
	if i.Kind == InternetOutage {
		calm = len(back) > 0
	}
	if !calm {
		i.calmSince = time.Time{}
		return
	}
	if i.calmSince.IsZero() {
		i.calmSince = d.now
	}
	calmFor := d.calmFor(site, i)
	if !d.due(i.calmSince.Add(calmFor)) {
		return
	}
	how := "all of its nodes have been back for "
	switch {
	case i.Kind == InternetOutage:
		how = "the site has been heard again for "
	case slices.ContainsFunc(back, func(src *Source) bool { return src.Condition == Off }):
		how = "all of its nodes have been back, or off as planned, for "
	}
	d.resolve(i, fmt.Sprintf("%s%s; it lasted %s", how, power.Spell(calmFor), power.Spell(i.calmSince.Sub(i.Since))))
	const what = "stayed silent when the site came back"
	for _, src := range away { // their silence is their own
		d.emit(&SourceFailed{Site: i.Site, Name: src.Name, Last: src.Last, Why: "it " + what})
	}
	if slices.ContainsFunc(away, func(src *Source) bool { return src.Role == Node }) {
		d.count(site, what)
	}
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
	case NodeFailure:
		return i.Opened, i.Why, true
	case PowerOutage:
		at = i.Since.Add(d.cfg.Times.PowerCall)
		if r := site.Run; site.RunIncident == i.ID && r != nil {
			if r.Begun.Before(at) {
				at = r.Begun
			}
			return at, "the plan begins: " + r.Reason, true
		}
		return at, "the power has been out for " + power.Spell(d.now.Sub(i.Since)), true
	case InternetOutage:
		for _, n := range i.Nodes {
			if src := site.Sources[n]; src != nil && src.Condition == Up {
				return time.Time{}, "", false // it is coming back
			}
		}
		if _, on := site.OnBattery(); on {
			return i.Opened, "the last word of the site was that it is on battery", true
		}
		at = i.Opened
		if i.Reopened.After(at) {
			at = i.Reopened
		}
		return at.Add(d.cfg.Times.InternetCall), fmt.Sprintf("nothing is heard of the site, %s after its outage began", power.Spell(d.now.Sub(i.Since))), true
	}
	return time.Time{}, "", false
}

// settleCalls requests the call that is due about an open incident.
func (d *decider) settleCalls(i *Incident) {
	if !i.Open() || i.Answered != "" {
		return
	}
	at, why, ok := d.callAt(i)
	if !ok {
		return
	}
	if wait := d.unconfirmed(d.site(i.Site)); i.Kind == PowerOutage && wait > 0 {
		d.due(d.now.Add(wait)) // no restart causes a call by itself (rule H8)
		return
	}
	if i.Reopened.After(at) {
		at = i.Reopened
	}
	var calls []escalation.Call
	for _, c := range i.Calls {
		if c.Open() || !c.Requested.Before(i.Reopened) {
			calls = append(calls, escalation.Call{Contact: c.Contact, Delivered: c.Delivered, Ended: !c.Open(), EndedAt: c.Ended})
		}
	}
	next, ok := escalation.Due(d.cfg.Escalation, d.cfg.Contacts, calls, at)
	if !ok || !d.due(next.At) {
		return
	}
	n := len(i.Calls) + 1
	if len(calls) > 0 {
		why = fmt.Sprintf("nobody has taken call %d", n-1)
	}
	d.emit(&CallRequested{Call: fmt.Sprintf("%s/%d", i.ID, n), Incident: i.ID, Contact: next.Contact, Attempt: n, Why: why})
}

func (d *decider) callEnded(in CallHasEnded) {
	c := d.call(in.Call)
	if c == nil || !c.Open() {
		return
	}
	d.emit(&CallEnded{Call: in.Call, Delivered: in.Delivered, Outcome: in.Outcome})
	if i := d.Incidents[c.Incident]; in.Delivered && i.Open() && i.Answered == "" {
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
