package sentinel

import (
	"fmt"
	"strings"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
	"sentinel.home.arpa/shared/shutdown"
)

// endRun ends a site's run since the mains are back, or were meanwhile, and begins to put back
// what it stopped (rule S5). A run that came to its end is one of the outage that ends.
func (d *decider) endRun(site *Site, r *shutdown.Run, why string) {
	of, now := d.Incidents[site.RunIncident], d.open(site.Name, PowerOutage)
	if (r.Finished || r.Taken) && r.Back == nil && (of == nil || !of.Open()) {
		return
	}
	d.giveBack(site, r, why, func(node string) bool {
		return of != nil && site.toldIn(of, node) || now != nil && site.toldIn(now, node)
	})
}

// giveBack ends a run, if it has not ended, and begins to put back what it stopped. told says on which
// nodes nothing is started, since they go down.
func (d *decider) giveBack(site *Site, r *shutdown.Run, why string, told func(node string) bool) {
	es := r.PowerBack(d.now, why, func(t shutdown.Target) bool { return told(t.Node) || site.returnedByPi(t) })
	late := d.tooLate(site, r)
	for i, e := range es {
		if late != "" && e.Type == shutdown.PutBackBegan {
			es[i] = shutdown.Event{Type: shutdown.PutBackEnded, At: d.now, Why: late, Targets: e.Targets}
			d.emit(&Noticed{Site: site.Name, Incident: site.RunIncident, Severity: routing.Warning, Text: fmt.Sprintf("%s at %s; what the plan told to shut down is left as it is: %s",
				late, site.Name, saidStage(e.Targets, ""))})
		}
	}
	d.stepRun(site.Name, es)
	if r.Finished && r.Widens() { // whoever is called for from now on is so in another outage
		d.stepRun(site.Name, []shutdown.Event{{Type: shutdown.PutBackEnded, At: d.now}})
	}
}

// startsWithin is for how long the power may be back for guests to be started again. Later somebody
// may want them as they are.
const startsWithin = 30 * time.Minute

// tooLate says why nothing is started again: the power has been back for long, or came back in a time
// for which the brain was away. Empty: it is not too late.
func (d *decider) tooLate(site *Site, r *shutdown.Run) string {
	if !r.ForPower() {
		if away := d.unwatchedIn(r); away > 0 {
			return "it was over in " + power.Spell(away) + " in which nobody watched"
		}
		return ""
	}
	var since time.Time
	seen := false // the return of the mains, and not only the mains
	for _, u := range site.UPSes {
		if u.Supply == power.Mains {
			since = later(since, u.Since)
			seen = seen || !u.heard.IsZero() && d.now.Sub(u.heard) > reportTooOld
		}
	}
	if back := d.now.Sub(since); !since.IsZero() && back > startsWithin {
		return "the power has been back for " + power.Spell(back)
	}
	if away := d.unwatchedIn(r); !seen && away > 0 {
		return "the power came back in " + power.Spell(away) + " in which nobody watched"
	}
	return ""
}

// unwatchedIn is for how long nobody watched since a run made its last step; 0: not for long.
func (d *decider) unwatchedIn(r *shutdown.Run) time.Duration {
	for _, g := range d.Deaf {
		if away := g.To.Sub(g.From); away > startsWithin && g.To.After(r.Begun) && !r.LastStep.After(g.To) {
			return away
		}
	}
	return 0
}

// endPutBack ends the putting back of what a site's run stopped, also one that the return of the
// power is still to begin: a person said so.
func (d *decider) endPutBack(site *Site, why string) {
	r := site.Run
	if r == nil {
		return
	}
	if of := d.Incidents[site.RunIncident]; r.Back != nil || of != nil && of.Open() {
		d.stepRun(site.Name, r.EndPutBack(d.now, why, false))
	}
}

// settlePutBack lets the guests be started again that are due, until the power is out again.
func (d *decider) settlePutBack(site *Site) {
	r := site.Run
	if r == nil || !r.PutsBack() || d.cfg.site(site.Name) == nil {
		return
	}
	if d.stillReason(site, r) {
		d.stepRun(site.Name, r.EndPutBack(d.now, "the power is out again", true))
		return
	}
	mains := d.MayStart(site.Name, d.now)
	for {
		es := r.NextPutBack(d.now, mains)
		if len(es) == 0 {
			break
		}
		d.stepRun(site.Name, es)
	}
	if r.PutsBack() {
		d.due(r.PutBackDeadline(mains))
		return
	}
	if text := saidPutBack(r.Back); text != "" {
		d.emit(&Noticed{Site: site.Name, Incident: site.RunIncident, Text: saidOverAt(site, r) + ": " + text})
	}
}

// MainsNow reports whether the site's UPSes say that they are on mains: all but those of which
// nothing was heard for long.
func (s *State) MainsNow(site string, now time.Time) bool {
	st := s.Sites[site]
	if st == nil {
		return false
	}
	heard := false
	for _, u := range st.UPSes {
		silent := u.Supply == power.Unknown || u.Supply == power.Battery && u.Lost
		switch {
		case u.late != nil: // late word that it is on battery
			return false
		case u.saysMainsAgain(now):
			heard = true
		case !silent:
			return false
		}
	}
	return heard
}

// interrupted has what was under way in a site's run sent again: nobody waits for its answer.
func (d *decider) interrupted(site *Site) {
	if site.Run == nil {
		return
	}
	for _, c := range site.Run.Due(d.now) {
		if c.Start {
			d.stepRun(site.Name, site.Run.StartAnswered(d.now, c.Target.ID(), errInterrupted))
			continue
		}
		d.stepRun(site.Name, site.Run.Answered(d.now, c.Target.ID(), nil, errInterrupted))
	}
}

// saidReturning says of an outage that is over what is started again.
func saidReturning(r *shutdown.Run) string {
	if r == nil || !r.PutsBack() {
		return ""
	}
	var names []string
	for _, g := range r.Back.Guests {
		if !g.Done() {
			names = append(names, g.Target.Said())
		}
	}
	return toBeStarted + list(names)
}

const toBeStarted = "; to be started again: "

// becameOf says in the outcome of an outage what became of those that were to be started again.
func becameOf(outcome string, e shutdown.Event, b *shutdown.PuttingBack) string {
	outcome, _, _ = strings.Cut(outcome, toBeStarted)
	if text := saidPutBack(b); text != "" {
		outcome += "; " + text
	}
	if e.Why != "" && len(e.Targets) > 0 {
		outcome += "; not started again, because " + e.Why + ": " + saidStage(e.Targets, "")
	}
	return outcome
}

// saidPutBack says what was started again and what was not, and why; empty: neither.
func saidPutBack(b *shutdown.PuttingBack) string {
	var started, parts []string
	for _, g := range b.Guests {
		switch {
		case g.Back && g.Tries > 0:
			started = append(started, g.Target.Said())
		case g.Failed:
			parts = append(parts, fmt.Sprintf("%s was not started again: %s", g.Target.Said(), g.Why))
		}
	}
	switch {
	case len(started) == 1:
		parts = append([]string{started[0] + " was started again"}, parts...)
	case len(started) > 1:
		parts = append([]string{list(started) + " were started again"}, parts...)
	}
	return strings.Join(parts, "; ")
}

// sentenceOfPutBack says a step of it. What came of it all says a notice.
func sentenceOfPutBack(e shutdown.Event) string {
	switch e.Type {
	case shutdown.PutBackBegan:
		return "what the plan told to shut down is started again, because " + e.Why + ": " + saidStage(e.Targets, "")
	case shutdown.StartRefused:
		switch {
		case e.Again: // said once
		case e.Undone:
			return e.Name + " took its start, and " + e.Why
		default:
			return e.Name + " was not started: " + e.Why
		}
	case shutdown.PutBack:
		if e.Why != "" {
			return e.Name + " runs: " + e.Why
		}
		if e.On != shutdown.ForPower {
			return "started " + e.Name + " again, because " + saidCauseOver(e.On)
		}
		return "started " + e.Name + " again, because the power is back"
	case shutdown.PutBackFailed:
		return e.Name + " was not started again: " + e.Why
	case shutdown.PutBackEnded:
		if e.Why == "" {
			return ""
		}
		text := "nothing more is started again, because " + e.Why
		if len(e.Targets) > 0 {
			text += "; still to be started: " + saidStage(e.Targets, "")
		}
		return text
	}
	return ""
}

// saidBack says what a Pi's run has started again, and what it could not.
func saidBack(run *shutdown.Status) (text string) {
	back := outcomes(run, func(o shutdown.Outcome) bool { return o.State == shutdown.Back })
	not := outcomes(run, func(o shutdown.Outcome) bool { return o.State == shutdown.NotBack })
	if len(back) > 0 {
		text = ", and started " + list(back) + " again"
	}
	if len(not) > 0 {
		text += ", but not " + list(not)
	}
	return text
}

// tellNotBack tells of what a Pi has just failed to start again.
func (d *decider) tellNotBack(known *shutdown.Status, in PiReported, incident string) {
	was := map[string]bool{}
	if known != nil && known.ID == in.Run.ID {
		for _, o := range known.Targets {
			was[o.Name] = o.State == shutdown.NotBack
		}
	}
	for _, o := range in.Run.Targets {
		if o.State == shutdown.NotBack && !was[o.Name] {
			d.emit(&Noticed{Site: in.Site, Incident: incident, Severity: routing.Warning, Text: in.Pi + " did not start " + o.Name + " again, though " + saidCauseOver(in.Run.On) + ": " + o.Why})
		}
	}
}
