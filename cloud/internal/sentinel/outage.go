package sentinel

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/cloud/internal/cause"
	"sentinel.home.arpa/shared/power"
)

// explains finds the incident that a silence belongs to, and why (rules U8, N9, N10). With
// none, what it returns is to be said of a failure although the power is out; mostly nothing.
func (d *decider) explains(site *Site, src *Source, last time.Time) (i *Incident, why string) {
	own := ""
	if i := d.open(site.Name, PowerOutage); i != nil {
		if own = d.notOf(site, i, src, last); own == "" {
			return i, "the power is out there"
		}
	}
	if i := d.passed(site, last); i != nil && d.notOf(site, i, src, last) == "" {
		return i, "it said its last word in the power outage, which is over by now"
	}
	if i := d.open(site.Name, InternetOutage); i != nil {
		return i, "the site was out of reach and is not back for good"
	}
	if i := d.open("", TailnetDown); i != nil && (slices.Contains(i.Nodes, src.Name) || d.behindTailnet(site)) {
		return i, "Tailscale was out of reach and is not back for good"
	}
	return nil, own
}

// passed is the power outage that is over by now in which a last word was said. Who went out
// with the power is found to be silent later, and short outages are over by then (rule U8).
func (d *decider) passed(site *Site, last time.Time) *Incident {
	var latest *Incident
	for _, i := range d.Incidents {
		lately := !i.Open() && d.now.Before(i.Resolved.Add(d.cfg.Times.Return)) // later who is not back has failed
		if i.Site != site.Name || i.Kind != PowerOutage || !lately {
			continue
		}
		during := !last.Before(i.Since.Add(-cause.Together)) && !last.After(i.Resolved)
		if during && (latest == nil || byOpening(latest, i) < 0) {
			latest = i
		}
	}
	return latest
}

// notOf says why a silence is not of a power outage; empty: it is. A node on several UPSes
// lives as long as one of them is not on battery. A node on none goes out with the switch to
// battery, or for another reason (rule U8).
func (d *decider) notOf(site *Site, i *Incident, src *Source, last time.Time) string {
	sc := d.cfg.site(site.Name)
	if sc == nil || sc.Feeds == nil || src.Role == Pi {
		if ups, stale := d.stale(site, i, last); stale {
			return "; the power outage is that of " + ups + ", of which nothing was heard for long before"
		}
		return ""
	}
	by := cause.Feeders(src.Name, sc.Feeds)
	if len(by) == 0 {
		if d.wentWithTheSwitch(site, i, last) {
			return ""
		}
		return "; it is on no UPS, and fell silent later than " + power.Spell(d.cfg.Times.SwitchedOff) + " after the switch to battery"
	}
	for _, ups := range by {
		if d.onBattery(site, i, ups) {
			continue
		}
		if len(by) == 1 {
			return "; " + ups + ", which feeds it, is not on battery"
		}
		return "; " + ups + ", which feeds it too, is not on battery"
	}
	return ""
}

// stale reports whether a power outage says nothing of what falls silent at a moment: contact
// with all that is on battery was lost long before, which may as well be unplugged, and another
// UPS was on mains then. With feeds that are known notOf needs not ask.
func (d *decider) stale(site *Site, i *Incident, last time.Time) (ups string, is bool) {
	if r := site.Run; !i.Open() || r != nil && !r.Over() && site.RunIncident == i.ID {
		return "", false
	}
	mains := false
	for _, name := range site.upsesOf(i) {
		u := site.UPSes[name]
		switch {
		case d.onBattery(site, i, name):
			if u == nil || !u.Lost || !u.LostAt.Before(last.Add(-rememberedFor)) {
				return "", false
			}
			ups = name
		case u != nil && u.Supply == power.Mains && !u.assumed && !u.at.IsZero():
			mains = mains || !u.certain().Before(last.Add(-reportTooOld))
		}
	}
	return ups, ups != "" && mains
}

// outageAt is the power outage that a site was in at a moment, as far as was heard; nil: none.
func (d *decider) outageAt(site *Site, at time.Time) *Incident {
	i := d.open(site.Name, PowerOutage)
	if i == nil {
		return nil
	}
	if _, stale := d.stale(site, i, at); stale {
		return nil
	}
	return i
}

// wentWithTheSwitch reports whether a last word was near enough to a switch to battery.
func (d *decider) wentWithTheSwitch(site *Site, i *Incident, last time.Time) bool {
	near := func(at time.Time) bool { return last.Sub(at).Abs() <= d.cfg.Times.SwitchedOff }
	if near(i.Since) || !i.Open() {
		return near(i.Since)
	}
	for name, u := range site.UPSes {
		if d.onBattery(site, i, name) && near(u.Since) {
			return true
		}
	}
	return false
}

// lostPower tells of a UPS all of whose nodes fell silent while others live, unless it is
// on battery (rules U9, U8), and returns the names that it does not explain.
func (d *decider) lostPower(site *Site, why cause.Silence, up []cause.Source, last map[string]time.Time) (rest []string) {
	sc := d.cfg.site(site.Name)
	if sc == nil || len(sc.Feeds) == 0 || len(why.Names) == 0 || d.elsewhere(site) {
		return why.Names
	}
	lost, word := false, last[why.Names[0]]
	outage := d.open(site.Name, PowerOutage)
	if outage == nil {
		outage = d.passed(site, word)
	}
	upses, nodes := cause.Unpowered(why.Names, up, sc.Feeds, func(ups string) int {
		switch {
		case outage != nil && d.onBattery(site, outage, ups):
			return 0
		case d.contactLost(site.UPSes[ups], word):
			return 1
		default:
			return 2
		}
	})
	var gone []string
	for _, n := range nodes {
		if src := site.Sources[n]; src != nil && src.Condition == Up && !d.leftInPeace(site, src, last[n]) {
			gone = append(gone, n)
		}
	}
	if len(gone) == 0 {
		return why.Names
	}
	for _, ups := range upses {
		lost = lost || d.contactLost(site.UPSes[ups], word)
	}
	text := saidUnpowered(upses, lost)
	if why.Reach == cause.AllNodes {
		text += "; " + saidAllNodes
	}
	for _, n := range gone {
		d.emit(&SourceFailed{Site: site.Name, Name: n, Last: last[n], Why: text, Window: d.cfg.Times.Window})
	}
	d.unpowered(site, unpowered{upses, gone, lost, text}, last)
	return slices.DeleteFunc(slices.Clone(why.Names), func(n string) bool { return slices.Contains(nodes, n) })
}

func saidUnpowered(upses []string, lost bool) string {
	switch {
	case !lost:
		return "everything on UPS " + list(upses) + " lost power"
	case len(upses) == 1:
		return "UPS " + upses[0] + " was switched off or is broken: everything on it is silent"
	default:
		return "UPS " + list(upses) + " were switched off or are broken: everything on them is silent"
	}
}

// contactLost reports whether contact with a UPS was lost when its nodes said their last
// word, or since: its Pi says so, or says nothing any more. What was lost long before tells
// nothing of them.
func (d *decider) contactLost(u *UPS, word time.Time) bool {
	if u == nil || u.at.IsZero() || u.assumed {
		return false
	}
	certain := u.certain()
	return d.now.Sub(certain) > reportTooOld && !certain.Before(word.Add(-d.cfg.Times.SwitchedOff))
}

// unpowered is what lost its power with its UPSes.
type unpowered struct {
	upses, nodes []string
	broken       bool
	why          string
}

// unpowered is one incident about all that hung on a UPS, whatever the threshold. One that is
// open about other nodes has got worse.
func (d *decider) unpowered(site *Site, u unpowered, last map[string]time.Time) {
	what, nodes, why := "ups "+list(u.upses), u.nodes, u.why
	worse := &IncidentWorse{What: what, Why: why, UPSes: u.upses, Broken: u.broken}
	if i := d.open(site.Name, NodeFailure); i != nil {
		for _, n := range nodes {
			d.join(i, n, why)
		}
		if !slices.Contains(i.Worse, what) {
			worse.ID = i.ID
			d.emit(worse)
		}
		return
	}
	slices.Sort(nodes)
	if i := d.recent(site.Name, NodeFailure, nodes); i != nil {
		if slices.Contains(i.Worse, what) {
			d.reopen(i, why, what)
			return
		}
		d.reopen(i, why)
		worse.ID = i.ID
		d.emit(worse)
		return
	}
	since := d.now
	for _, n := range nodes {
		if last[n].Before(since) {
			since = last[n]
		}
	}
	d.openIncident(&IncidentOpened{Site: site.Name, Kind: NodeFailure, Since: since, Nodes: nodes, UPS: u.upses[0], Why: why, Worse: []string{what}, UPSes: u.upses, Broken: u.broken}, "node")
}

// settleReturns sees that nothing is forgotten that went out in a power outage: who is not
// back in time after the power is, failed. Who the plan told to go down is woken, not
// waited for (rules U8, S6).
func (d *decider) settleReturns() {
	for _, id := range slices.Sorted(maps.Keys(d.Incidents)) {
		i := d.Incidents[id]
		site := d.Sites[i.Site]
		if i.Open() || i.Kind != PowerOutage || site == nil {
			continue
		}
		var silent []*Source
		for _, n := range i.Nodes {
			switch src := site.Sources[n]; {
			case src == nil || src.Condition != Failed || src.Incident != i.ID:
			case site.toldIn(i, n): // as is known by now
				d.emit(&SourceLeft{Site: site.Name, Name: n, Last: src.Last, Why: "the plan shut it down"})
			default:
				silent = append(silent, src)
			}
		}
		if len(silent) > 0 {
			d.settleReturn(site, i, silent)
		}
	}
}

func (d *decider) settleReturn(site *Site, i *Incident, silent []*Source) {
	next, why := d.open(site.Name, PowerOutage), "it was not back yet when the power went out again"
	if next == nil {
		next, why = d.open(site.Name, InternetOutage), "it was not back from the power outage when the site went out of reach"
	}
	if next != nil {
		for _, src := range silent {
			d.emit(&IncidentJoined{ID: next.ID, Node: src.Name, Why: why})
		}
		return
	}
	back := later(i.Resolved.Add(d.cfg.Times.Return), later(d.hearing, site.reached).Add(d.cfg.Times.Silence))
	if site.away || !d.due(back) {
		return
	}
	what := fmt.Sprintf("did not come back within %s after the power outage", power.Spell(d.cfg.Times.Return))
	d.failed(site, silent, nil, what)
}
