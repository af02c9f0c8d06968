package sentinel

import (
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
	"sentinel.home.arpa/shared/shutdown"
)

// onBatteryOnce is a time on battery as a Pi's record tells of it.
type onBatteryOnce struct {
	ups, pi      string
	began, ended time.Time // ended is zero while it goes on
	restarted    time.Time // when its Pi started since, which noted no supply: it may be over; zero: it did not
}

func (b *onBatteryOnce) lasted(now time.Time) time.Duration {
	if b.ended.IsZero() {
		return now.Sub(b.began)
	}
	return b.ended.Sub(b.began)
}

// saysMains reports whether the UPS itself said so lately, and after what was recorded of it.
func (d *decider) saysMains(u *UPS, recorded time.Time) bool {
	return u != nil && !u.at.IsZero() && !u.assumed && u.reading.Supply == power.Mains && u.reading.LostFor == nil &&
		d.now.Sub(u.at) <= max(d.cfg.Times.ReportFresh, reportTooOld) && u.at.After(recorded)
}

// beganLate is how long after its site fell silent a power outage may have begun and still be
// the reason: a router may have a battery of its own.
const beganLate = 60 * time.Second

// recordedOutages are the times on battery of which the site's records tell, without
// self-tests and calibrations. What goes on by the record ends by what is heard of the UPS.
func (d *decider) recordedOutages(site *Site) []*onBatteryOnce {
	entries := slices.Clone(site.Taken)
	slices.SortStableFunc(entries, func(a, b Taken) int { return a.At.Compare(b.At) })
	var all []*onBatteryOnce
	open := map[string]*onBatteryOnce{}
	for _, e := range entries {
		b := open[e.UPS]
		if e.Heard && e.Node == e.Pi {
			for _, b := range open {
				if b.pi == e.Pi {
					b.restarted = e.At
				}
			}
		}
		switch {
		case e.UPS == "" || e.Supply == power.Unknown:
		case e.Supply == power.Battery && b == nil:
			b = &onBatteryOnce{ups: e.UPS, pi: e.Pi, began: e.At.Add(-e.For)}
			open[e.UPS] = b
			all = append(all, b)
		case e.Supply == power.Battery:
			b.restarted = time.Time{}
		case e.Supply != power.Battery && b != nil:
			b.ended = e.At
			delete(open, e.UPS)
		}
	}
	for name, b := range open {
		if u := site.UPSes[name]; d.saysMains(u, b.began) {
			b.ended = later(later(b.began, b.restarted), u.at.Add(-u.reading.For.Duration()))
		}
	}
	return slices.DeleteFunc(all, func(b *onBatteryOnce) bool { return b.lasted(d.now) < d.cfg.Times.OutageNotice })
}

// outageOf is the recorded outage that was the reason of an internet outage; nil: there is
// none. Of several the longest is.
func (d *decider) outageOf(i *Incident) *onBatteryOnce {
	site := d.Sites[i.Site]
	if site == nil || i.Kind != InternetOutage {
		return nil
	}
	fell := d.fellSilent(i)
	var longest *onBatteryOnce
	for _, b := range d.recordedOutages(site) {
		over := !b.ended.IsZero() && b.ended.Before(fell.Add(-takenSlack))
		if over || b.began.After(fell.Add(beganLate)) {
			continue
		}
		if longest == nil || b.lasted(d.now) > longest.lasted(d.now) {
			longest = b
		}
	}
	return longest
}

// fellSilent is when a site did so, the last time.
func (d *decider) fellSilent(i *Incident) time.Time {
	return later(i.Since, i.Reopened.Add(-d.cfg.Times.unheardAtMost()))
}

// wasPower turns an internet outage into the power outage that it was, under the same id
// (rule N11). People are called anew only about what goes on or went wrong.
func (d *decider) wasPower(i *Incident, b *onBatteryOnce) {
	site := d.Sites[i.Site]
	if p := d.open(i.Site, PowerOutage); p != nil { // heard of before the record came
		_, away := d.parts(i)
		for _, src := range away {
			d.emit(&IncidentJoined{ID: p.ID, Node: src.Name, Why: "the site was out of reach since the power went out"})
		}
		if !b.ended.IsZero() && b.ended.Before(p.Since) { // which is another one
			story := d.saidOutage(site, b)
			d.emit(&Noticed{Site: i.Site, Incident: i.ID, Text: story, Severity: routing.Warning})
			d.resolve(i, story)
			return
		}
		why := "it was the power outage " + p.ID
		d.emit(&IncidentWithdrawn{ID: i.ID, Why: why})
		d.dropCalls(i, why)
		return
	}
	became := &Incident{ID: i.ID, Site: i.Site, Kind: PowerOutage, UPS: b.ups, Since: b.began}
	calls := d.stillOut(site, became) || len(d.notDown(site, b)) > 0
	story := d.saidOutage(site, b)
	d.emit(&IncidentBecame{ID: i.ID, Kind: PowerOutage, UPS: b.ups, Since: b.began, Calls: calls, Why: story})
	if calls {
		return
	}
	d.emit(&Noticed{Site: i.Site, Incident: i.ID, Text: story, Severity: routing.Warning})
	d.resolve(i, story+d.saidDown(site, i))
}

// calledByRecord turns an internet outage into the power outage that goes on or went wrong by
// the record. Of one in which the Pi was restarted its UPS may tell first that it is over.
func (d *decider) calledByRecord(i *Incident, patience time.Duration) {
	site := d.Sites[i.Site]
	site.unsaid = time.Time{}
	b := d.outageOf(i)
	switch {
	case b == nil:
	case len(d.notDown(site, b)) > 0, b.ended.IsZero() && (b.restarted.IsZero() || patience == 0):
		d.wasPower(i, b)
	case b.ended.IsZero():
		site.unsaid = d.now.Add(patience)
	}
}

// becomePower turns an internet outage into the power outage of which its UPS tells itself,
// and reports whether there is one (rule N11).
func (d *decider) becomePower(site *Site, u *UPS, since time.Time) bool {
	i := d.open(site.Name, InternetOutage)
	if i == nil || since.After(d.fellSilent(i).Add(beganLate)) {
		return false
	}
	d.emit(&IncidentBecame{ID: i.ID, Kind: PowerOutage, UPS: u.Name, Since: since, Calls: true,
		Why: "the UPS has been on battery for " + power.Spell(d.now.Sub(since))})
	return true
}

// tellOfRecord tells of a power outage that nobody here knew of, and that is over, but not
// for longer than since from.
func (d *decider) tellOfRecord(site *Site, from time.Time) {
	for _, b := range d.recordedOutages(site) {
		if b.ended.IsZero() || b.ended.Before(from) || d.knewOf(site, b) {
			continue
		}
		n := &Noticed{Site: site.Name, Incident: d.storyOf(site, b.pi, b.ended), Text: d.saidOutage(site, b), About: "recorded outage of " + b.ups + " at " + site.Name, As: b.began.UTC().Format(time.RFC3339), Severity: routing.Warning}
		if d.Told[n.About] != n.As {
			d.emit(n)
		}
	}
}

// knewOf reports whether a power outage that is or was told of is the recorded one.
func (d *decider) knewOf(site *Site, b *onBatteryOnce) bool {
	for _, i := range d.Incidents {
		if i.Site == site.Name && i.Kind == PowerOutage && !i.Since.After(b.ended) && (i.Open() || !i.Resolved.Before(b.began)) {
			return true
		}
	}
	return false
}

// saidOutage is the true story of a power outage, and of what the Pi did about it.
func (d *decider) saidOutage(site *Site, b *onBatteryOnce) string {
	text := "the power was out at " + site.Name + " for "
	if b.ended.IsZero() {
		text = "the power has been out at " + site.Name + " for "
	}
	text += power.Spell(b.lasted(d.now)) + ", as " + b.pi + " recorded"
	run := site.piRunOf(b)
	switch {
	case run == nil && b.ended.IsZero():
		return text + "; nothing has been shut down yet"
	case run == nil:
		return text + "; nothing was shut down"
	}
	down := outcomes(run, func(o shutdown.Outcome) bool {
		return slices.Contains([]string{"down", shutdown.Back, shutdown.NotBack}, o.State) || site.leftByNow(o)
	})
	switch late := d.notDown(site, b); {
	case run.DryRun:
		return text + "; the plan is not armed, so the Pi shut nothing down"
	case len(late) > 0:
		return text + "; the Pi told " + list(late) + " to shut down and did not see that"
	case len(down) > 0:
		return text + "; the Pi shut down " + list(down) + saidBack(run)
	}
	return text + "; the Pi's run shut nothing down"
}

// notDown are the targets that the Pi's run of an outage told and did not see go down, and of
// which nothing else is known by now.
func (d *decider) notDown(site *Site, b *onBatteryOnce) []string {
	if run := site.piRunOf(b); run != nil && !run.DryRun {
		return outcomes(run, func(o shutdown.Outcome) bool { return toldOnly(o) && !site.leftByNow(o) })
	}
	return nil
}

// leftByNow reports whether a node that a Pi's run told and did not see go down is known to be
// off: it announced that, or left as the plan told it.
func (s *Site) leftByNow(o shutdown.Outcome) bool {
	src := s.Sources[o.Name]
	return toldOnly(o) && o.Kind.Machine() && src != nil && src.Condition == Off && !src.Maintained
}

func toldOnly(o shutdown.Outcome) bool { return o.State == "told" || o.State == "late" }

// piRunOf is the run of an outage that a Pi told of; nil: there was none.
func (s *Site) piRunOf(b *onBatteryOnce) *shutdown.Status {
	if s.PiRun == nil || s.PiRun.On != shutdown.ForPower || s.PiRunAt.Before(b.began) {
		return nil
	}
	return s.PiRun
}

func outcomes(run *shutdown.Status, of func(shutdown.Outcome) bool) []string {
	var names []string
	for _, t := range run.Targets {
		if of(t) {
			names = append(names, t.Name)
		}
	}
	return names
}

// saidDown says which sources of an outage are not back yet.
func (d *decider) saidDown(site *Site, i *Incident) string {
	var down []string
	for _, n := range i.Nodes {
		if src := site.Sources[n]; src != nil && src.Condition != Up {
			down = append(down, n)
		}
	}
	if len(down) == 0 {
		return ""
	}
	slices.Sort(down)
	return "; still down: " + list(down)
}
