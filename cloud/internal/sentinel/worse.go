package sentinel

import (
	"fmt"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// The ways in which an incident gets worse, each once (rule H5), beside those of UPSes.
const (
	AllNodes   = "all-nodes"
	LowCharge  = "charge"
	LowRuntime = "runtime"
	LateTarget = "late"
	PlanBegins = "plan" // in an outage of which somebody knew before
)

// Worsening is what an incident has become worse by: the same as its sentence, for who says it in
// another language.
type Worsening struct {
	What   string
	UPSes  []string `json:",omitempty"`
	Broken bool     `json:",omitempty"`
}

func worsenings() []string { return []string{AllNodes, LowCharge, LowRuntime, LateTarget} }

// settleWorse calls once more about an outage that got worse. That all nodes are down is
// judged when one of them fails, not when a healthy one leaves.
func (d *decider) settleWorse(i *Incident) {
	if d.darkAsPlanned(i) {
		return // nothing there can be told or seen any more
	}
	for _, what := range worsenings() {
		if what != AllNodes {
			d.worsen(i, what)
		}
	}
}

func (d *decider) worsen(i *Incident, what string) {
	if slices.Contains(i.Worse, what) {
		return
	}
	why, is := d.worse(i, what)
	if !is {
		return
	}
	if i.Answered != "" {
		why += "; " + i.Answered + " knew of it before"
	}
	d.emit(&IncidentWorse{ID: i.ID, What: what, Why: why})
}

// reopen has an incident go on that was over. It may get worse anew, but not by what it was
// before and is again: those who know of it are not called for that (rules H5, H6).
func (d *decider) reopen(i *Incident, why string, again ...string) {
	d.emit(&IncidentReopened{ID: i.ID, Why: why, Worse: d.stillWorse(i, again)})
}

// stillWorse is what an incident is again of what it got worse by before, beside what is known.
func (d *decider) stillWorse(i *Incident, again []string) []string {
	for _, what := range i.Worse {
		if _, is := d.worse(i, what); is && !slices.Contains(again, what) {
			again = append(again, what)
		}
	}
	return again
}

// worse reports whether an incident is so bad, and how to say it.
func (d *decider) worse(i *Incident, what string) (why string, is bool) {
	site := d.Sites[i.Site]
	if site == nil {
		return "", false
	}
	switch what {
	case AllNodes:
		return "all nodes of " + site.Name + " are down now", i.Kind == NodeFailure && d.allDown(site)
	case LateTarget:
		late := d.Late(i)
		were := " was"
		if len(late) > 1 {
			were = " were"
		}
		return list(late) + were + " not down at the deadline", i.Kind == PowerOutage && len(late) > 0
	default:
		return d.weakBattery(site, i, what)
	}
}

// allDown reports whether all nodes that should be there have failed, of several.
func (d *decider) allDown(site *Site) bool {
	n := 0
	for _, src := range site.Sources {
		switch {
		case src.Role == Pi, src.Muted(), !site.maintained(src).IsZero(), src.Condition == Pending, src.Condition == Off:
		case src.Condition != Failed:
			return false
		default:
			n++
		}
	}
	return n > 1
}

func (d *decider) weakBattery(site *Site, i *Incident, what string) (why string, is bool) {
	if i.Kind != PowerOutage {
		return "", false
	}
	for _, r := range site.OnBatteryNow(d.now, d.cfg.Times.ReportFresh) {
		switch {
		case what == LowCharge && r.Charge != nil && *r.Charge < d.cfg.WorseCharge:
			return fmt.Sprintf("the battery is at %.0f %%", *r.Charge*100), true
		case what == LowRuntime && r.Runtime != nil && r.Runtime.Duration() < d.cfg.WorseRuntime:
			return "the battery lasts for " + power.Spell(r.Runtime.Duration()) + " more", true
		}
	}
	return "", false
}

// Late are the targets of an outage's run, the brain's or a Pi's, that were not down at
// their stage's deadline.
func (s *State) Late(i *Incident) []string {
	var late []string
	site := s.Sites[i.Site]
	if site == nil {
		return nil
	}
	if r := site.Run; r != nil && site.RunIncident == i.ID {
		for _, p := range r.Targets {
			if p.Late && p.Target.Kind != shutdown.Listing {
				late = append(late, p.Target.Said())
			}
		}
	}
	if site.PiRun != nil && site.PiRun.On == shutdown.ForPower && !site.PiRunAt.Before(i.Since) {
		for _, o := range site.PiRun.Targets {
			if o.State == "late" && !slices.Contains(late, o.Name) {
				late = append(late, o.Name)
			}
		}
	}
	return late
}

// hushed reports whether nobody wants a call about an incident: all that is down of it is
// muted (rule H9).
func (d *decider) hushed(i *Incident) bool {
	if i.Kind != NodeFailure && i.Kind != Unwatched {
		return false
	}
	muted := false
	for _, n := range i.Nodes {
		src := d.site(i.Site).Sources[n]
		switch {
		case src == nil:
		case src.Muted():
			muted = true
		case src.Condition == Failed:
			return false
		}
	}
	return muted
}

// remind calls everybody anew while an incident goes on and nobody has answered, for a
// few hours (rule H5). It reports whether it did. What fell due while nobody watched waits
// for those who are back to be heard (rule H8), and nobody is reminded of what is about to
// be over.
func (d *decider) remind(i *Incident, at time.Time) bool {
	at = later(at, d.hearing.Add(d.cfg.Times.Silence))
	end := later(i.Opened, i.Reopened).Add(d.cfg.Times.RemindFor)
	if !i.calmSince.IsZero() || !at.Before(end) || !d.due(at) || !d.now.Before(end) {
		return false
	}
	d.emit(&IncidentReminded{ID: i.ID, Why: "nobody has answered for " + power.Spell(d.now.Sub(d.alarmed(i)))})
	return true
}

// alarmed is when the calls began that are being made.
func (d *decider) alarmed(i *Incident) time.Time {
	for _, c := range i.Calls {
		if !c.Requested.Before(i.Alarmed) {
			return c.Requested
		}
	}
	return later(i.Opened, i.Alarmed)
}
