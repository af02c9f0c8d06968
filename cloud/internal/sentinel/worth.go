package sentinel

import (
	"fmt"
	"slices"
	"strings"

	"sentinel.home.arpa/shared/escalation"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
	"sentinel.home.arpa/shared/shutdown"
)

// namedAtMost is how many nodes a notice names; the others are counted.
const namedAtMost = 12

// worthTelling is what there is to tell of the facts of a Step, in their order, and of those who
// joined an incident a while ago.
func (d *decider) worthTelling(facts []Fact) []telling {
	var all []telling
	var late []string // of a run's targets, all in one
	at := 0
	for _, f := range facts {
		if d.toldOtherwise(f, facts) {
			continue
		}
		t, ok := d.worth(f)
		if !ok {
			continue
		}
		if r, is := f.(*RunStepped); is && r.Event.Type == shutdown.Late {
			if late = append(late, r.Event.Name); len(late) > 1 {
				all[at].text = few(late, namedAtMost) + " were not down at their deadline"
				continue
			}
			at = len(all)
		}
		all = append(all, t)
	}
	if d.Blind.IsZero() {
		all = append(all, d.joinedLately()...)
	}
	return all
}

// toldOtherwise reports whether another fact of the Step tells it too.
func (d *decider) toldOtherwise(f Fact, facts []Fact) bool {
	is := func(match func(Fact) bool) bool { return slices.ContainsFunc(facts, match) }
	resolved := func(id, text string) bool {
		return is(func(o Fact) bool {
			r, ok := o.(*IncidentResolved)
			return ok && r.ID == id && strings.HasPrefix(r.Why, text)
		})
	}
	switch f := f.(type) {
	case *Noticed:
		return f.Incident != "" && resolved(f.Incident, f.Text)
	case *IncidentBecame:
		return !f.Calls && resolved(f.ID, f.Why)
	case *RunStepped:
		if f.Event.Type == shutdown.Late {
			return is(func(o Fact) bool {
				w, ok := o.(*IncidentWorse)
				return ok && w.ID == f.Incident && w.What == LateTarget
			})
		}
		return f.Event.Type == shutdown.Aborted && is(func(o Fact) bool {
			switch o := o.(type) {
			case *PlanArmed:
				return o.Site == f.Site
			case *PlanDisarmed:
				return o.Site == f.Site
			case *PlanStopped:
				return o.Site == f.Site
			}
			return false
		})
	}
	return false
}

// worth is what a fact is worth telling of; false: nothing.
func (d *decider) worth(f Fact) (telling, bool) {
	switch f := f.(type) {
	case *Noticed:
		return d.worthNoticed(f), true
	case *CallEnded, *CallHeld, *CallLate:
		return d.worthCall(f)
	case *PlanArmed, *PlanDisarmed, *PlanStopped, *RunStepped, *PiRunSeen:
		return d.worthPlan(f)
	case *ContactLost:
		t := telling{Event: routing.Event{Kind: KindUPS, Severity: routing.Warning, Site: f.Site}, subject: "Contact with " + f.UPS + " lost"}
		t.text = Sentence(f) + ". Is apcupsd running, and the UPS's cable in?"
		if site := d.Sites[f.Site]; site != nil && onBattery(site) {
			t.Severity = routing.Critical
			t.text += " It is on battery, so nobody sees how long it lasts"
		}
		return t, !f.Elsewhere
	case *ContactBack:
		return telling{Event: routing.Event{Kind: KindUPS, Severity: routing.Warning, Site: f.Site, Over: true}, subject: f.UPS + " is heard again", text: Sentence(f)}, !f.Elsewhere
	case *ChannelFailing:
		return telling{Event: routing.Event{Kind: KindChannel, Severity: routing.Warning}, but: channelKey(f.Contact, f.Channel),
			subject: f.Channel + " of " + f.Contact + " fails", text: Sentence(f)}, !f.Untold
	case *ChannelWorks:
		began, ch := d.now.Add(-f.For), d.Channels[channelKey(f.Contact, f.Channel)]
		return telling{Event: routing.Event{Kind: KindChannel, Severity: routing.Warning, Over: true}, but: channelKey(f.Contact, f.Channel),
			subject: f.Channel + " of " + f.Contact + " works again", text: Sentence(f)}, ch != nil && !ch.FailingTold.Before(began)
	}
	return d.worthIncident(f)
}

// worthIncident is what there is to tell of an incident's turns.
func (d *decider) worthIncident(f Fact) (telling, bool) {
	because := func(what, why string) string {
		if why == "" {
			return what
		}
		return what + ", because " + why
	}
	var t telling
	switch f := f.(type) {
	case *IncidentOpened:
		i := d.Incidents[f.ID]
		t = d.ofIncident(i, "", Sentence(f))
		if i.Kind == NodeFailure {
			t.subject += ": " + few(i.Nodes, 2)
		}
		t.joined = i.Unsaid
	case *IncidentReopened:
		i := d.Incidents[f.ID]
		t = d.ofIncident(i, "again", because("the "+d.nameOf(i)+" goes on", f.Why))
	case *IncidentBecame:
		i := d.Incidents[f.ID]
		t = d.ofIncident(i, "", because("it is a "+d.nameOf(i), f.Why))
	case *IncidentWorse:
		i := d.Incidents[f.ID]
		t = d.ofIncident(i, "worse", because("the "+d.nameOf(i)+" got worse", f.Why))
	case *IncidentReminded:
		i := d.Incidents[f.ID]
		t = d.ofIncident(i, "a reminder", because("a reminder of the "+d.nameOf(i), f.Why))
	case *IncidentAnswered:
		i := d.Incidents[f.ID]
		t = d.ofIncident(i, "known", "")
		t.Severity, t.text = routing.Info, because("the "+d.nameOf(i)+" is known", f.Why)
	case *IncidentResolved:
		t = d.over(d.Incidents[f.ID], f.Why)
	case *IncidentWithdrawn:
		t = d.over(d.Incidents[f.ID], "")
		t.text = "the " + d.nameOf(d.Incidents[f.ID]) + " is withdrawn: " + f.Why
	default:
		return t, false
	}
	return t, true
}

// ofIncident is a telling of an incident as it stands.
func (d *decider) ofIncident(i *Incident, turn, text string) telling {
	t := telling{Event: routing.Event{Kind: string(i.Kind), Severity: routing.Critical, Site: i.Site}, incident: i.ID, subject: capital(d.nameOf(i)), text: text}
	if d.Sites[i.Site] != nil && d.hushed(i) { // it may have been forgotten by now
		t.Severity = routing.Warning
	}
	if turn != "" {
		t.subject += ": " + turn
	}
	t.text += d.saidNow(i)
	return t
}

// over is the end of an incident. It is as severe as its beginning: who is told of that alone is
// told that it is over.
func (d *decider) over(i *Incident, why string) telling {
	t := d.ofIncident(i, "over", "")
	t.Over = true
	t.text = "the " + d.nameOf(i) + " is over, because " + why
	if says := func(word string) bool { return strings.Contains(why, word) }; !says(" lasted ") && !says(" after ") && !says(" recorded") {
		t.text += "; it lasted " + power.Spell(d.now.Sub(i.Since))
	}
	if i.Kind == PowerOutage && !d.toldAnybody(i) && !strings.Contains(why, "nothing was shut down") {
		t.text += ". Nothing was shut down"
	}
	return t
}

// toldAnybody reports whether somebody was told to go down in an outage, by the brain or a Pi.
func (d *decider) toldAnybody(i *Incident) bool {
	site := d.Sites[i.Site]
	if site == nil {
		return true // nobody knows any more
	}
	if r := site.Run; r != nil && !r.DryRun && (site.RunIncident == i.ID || site.RunCause == i.ID) && r.Told() {
		return true
	}
	for _, k := range site.PiRuns {
		if !k.Run.DryRun && !k.At.Before(i.Since) {
			return true
		}
	}
	return false
}

// nameOf is an incident as people call it.
func (d *decider) nameOf(i *Incident) string {
	if i.Site == "" {
		return saidKind(i.Kind)
	}
	return saidKind(i.Kind) + " at " + i.Site
}

// saidNow says how the battery is of which an outage tells.
func (d *decider) saidNow(i *Incident) string {
	site := d.Sites[i.Site]
	if site == nil || i.Kind != PowerOutage || !i.Open() {
		return ""
	}
	on := site.OnBatteryNow(d.now, d.cfg.Times.ReportFresh)
	if len(on) == 0 || on[0].Charge == nil && on[0].Runtime == nil {
		return ""
	}
	return ". The battery now" + strings.Replace(saidBattery(on[0]), ",", ":", 1)
}

// worthNoticed tells what the timeline says by itself.
func (d *decider) worthNoticed(f *Noticed) telling {
	t := telling{Event: routing.Event{Kind: f.Kind, Severity: f.Severity, Site: f.Site, Over: f.Over}, incident: f.Incident, subject: brief(f.Text), text: f.Text}
	if t.Kind == "" {
		t.Kind = KindNotice
		if i := d.Incidents[f.Incident]; i != nil {
			t.Kind = string(i.Kind)
		}
	}
	return t
}

// worthCall tells of a call that does not come, that could not be placed, and of all of them when
// nobody took one.
func (d *decider) worthCall(f Fact) (telling, bool) {
	switch f := f.(type) {
	case *CallHeld:
		i := d.Incidents[f.Incident]
		return d.ofIncident(i, f.Contact+" is not called now", fmt.Sprintf("%s is not called now about the %s, because %s", f.Contact, d.nameOf(i), f.Why)), true
	case *CallLate:
		t := telling{Event: routing.Event{Kind: KindPhone, Severity: routing.Critical}, subject: f.Contact + " cannot be called for now", text: Sentence(f)}
		if c := d.call(f.Call); c != nil && d.Incidents[c.Incident] != nil {
			t.Site, t.incident = d.Incidents[c.Incident].Site, c.Incident
		}
		return t, true
	case *CallEnded:
		c := d.call(f.Call)
		if c == nil || f.Delivered || c.Dropped {
			return telling{}, false
		}
		i := d.Incidents[c.Incident]
		if i == nil { // who wanted to see that it works sees what became of it
			return telling{}, false
		}
		contacts, calls := d.callable(i), i.lastCalls()
		_, through := escalation.Again(d.cfg.Escalation, contacts, d.callsTo(calls, contacts), 1)
		if through && i.Open() && i.Answered == "" {
			return d.ofIncident(i, "nobody took a call", fmt.Sprintf("nobody has taken any of %d calls about the %s", len(calls), d.nameOf(i))), true
		}
		if f.Refused { // what is to be mended is told by itself
			return telling{}, false
		}
		t := d.ofIncident(i, c.Contact+" could not be called", fmt.Sprintf("the call to %s about the %s could not be placed: %s", c.Contact, d.nameOf(i), f.Outcome))
		t.Severity = routing.Warning
		return t, c.SID == ""
	}
	return telling{}, false
}

// worthPlan tells of runs of the plan, and of who may begin one.
func (d *decider) worthPlan(f Fact) (telling, bool) {
	t := telling{Event: routing.Event{Kind: KindPlan, Severity: routing.Warning}, text: Sentence(f)}
	turn := ""
	switch f := f.(type) {
	case *PlanArmed:
		t.Site, t.Severity, turn = f.Site, routing.Info, "armed"
	case *PlanDisarmed:
		t.Site, turn = f.Site, "disarmed"
	case *PlanStopped:
		t.Site, turn = f.Site, "stopped"
		if f.Above != "" {
			return t, false
		}
	case *RunStepped:
		t.Site, t.incident = f.Site, f.Incident
		t.Severity, turn = worthStep(f.Event)
	case *PiRunSeen:
		t.Site, t.incident = f.Site, f.Incident
		switch {
		case f.Ended && f.Run.DryRun:
			turn = "a dry run by " + f.Pi + ", which ended"
		case f.Ended:
			turn = "run by " + f.Pi + ", which ended"
		case f.New && f.Run.DryRun:
			turn = "a dry run by " + f.Pi
		case f.New:
			turn, t.Severity = "run by "+f.Pi, routing.Critical
		}
	}
	t.subject = "Plan at " + t.Site + ": " + turn
	return t, turn != ""
}

// worthStep is how severe an event of a run is, and how to call it; empty: it is not told.
func worthStep(e shutdown.Event) (routing.Severity, string) {
	switch e.Type {
	case shutdown.Began:
		if e.Run.DryRun {
			return routing.Warning, "a dry run begins"
		}
		return routing.Critical, "it begins"
	case shutdown.Late:
		if !strings.HasPrefix(e.Target, string(shutdown.Listing)) {
			return routing.Critical, "not all are down in time"
		}
	case shutdown.Ended:
		if e.Why == shutdown.Rehearsed {
			return routing.Warning, "the dry run is through"
		}
		if len(e.Targets) > 0 {
			return routing.Critical, "it has run, and not all are down"
		}
		return routing.Warning, "it is through"
	case shutdown.Aborted:
		return routing.Warning, "it stops here"
	case shutdown.PutBackBegan:
		return routing.Info, "what it stopped is started again"
	case shutdown.PutBackEnded:
		if e.Why != "" {
			return routing.Warning, "nothing more is started again"
		}
	}
	return routing.Info, ""
}

// joinedLately tells of the nodes that joined an incident since it was told of, of all together
// that did so within a while.
func (d *decider) joinedLately() []telling {
	var all []telling
	for _, i := range d.OpenIncidents() {
		if len(i.Unsaid) == 0 || d.now.Sub(i.UnsaidAt) > limitedTo || !d.due(i.UnsaidAt.Add(joinedWithin)) {
			continue
		}
		are := " are"
		if len(i.Unsaid) == 1 {
			are = " is"
		}
		t := d.ofIncident(i, few(i.Unsaid, 2)+are+" part of it", few(i.Unsaid, namedAtMost)+are+" part of the "+d.nameOf(i))
		t.Severity, t.joined = min(t.Severity, routing.Warning), i.Unsaid
		all = append(all, t)
	}
	return all
}

// few names so many at most, and counts the others.
func few(names []string, most int) string {
	if len(names) <= most+1 {
		return list(names)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// capital is a text with a capital letter, as a subject begins.
func capital(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// brief is the beginning of a sentence, as far as a subject has room for it.
func brief(text string) string {
	const most = 70
	for _, end := range []string{"; ", ". ", ", because "} {
		text, _, _ = strings.Cut(text, end)
	}
	if len(text) <= most {
		return text
	}
	cut := strings.LastIndexByte(text[:most], ' ')
	if cut <= 0 {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text[:cut] + "…"
}

func onBattery(site *Site) bool {
	_, on := site.OnBattery()
	return on
}
