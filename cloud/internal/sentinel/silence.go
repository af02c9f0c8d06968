package sentinel

import (
	"fmt"
	"slices"
	"time"

	"sentinel.home.arpa/cloud/internal/cause"
	"sentinel.home.arpa/shared/power"
)

// doubt is a whole site's silence before it is known whose fault it is.
type doubt struct {
	since time.Time
	last  time.Time // the site's last word
	names []string
}

func (d *decider) heard(in Heard) {
	if !d.Blind.IsZero() {
		d.emit(&BlindEnded{For: d.now.Sub(d.Blind)})
	}
	site := d.site(in.Site)
	if q := site.doubt; q != nil { // the site lives: what stays silent failed by itself
		site.doubt = nil
		for _, n := range q.names {
			if n != in.Name {
				d.failIfSilent(site, n, q.last)
			}
		}
	}
	src := site.Sources[in.Name]
	switch {
	case src == nil || src.Condition == Pending:
		d.emit(&SourceAppeared{Site: in.Site, Name: in.Name, Role: in.Role, Boot: in.Boot, Via: in.Via})
	case src.Condition != Up || src.Boot != in.Boot:
		back := &SourceBack{Site: in.Site, Name: in.Name, Boot: in.Boot, Via: in.Via}
		if src.Condition != Up {
			back.Away = d.now.Sub(src.Last)
		}
		d.emit(back)
	default:
		src.Via = in.Via
	}
}

func (d *decider) silent(in Silent) {
	site := d.site(in.Site)
	src := site.Sources[in.Name]
	if src == nil || src.Condition != Up || !d.Blind.IsZero() {
		return
	}
	if a := src.Announced; a != nil && a.Boot == src.Boot {
		d.left(site, src, in.Last)
		return
	}
	if site.doubt != nil && slices.Contains(site.doubt.names, in.Name) {
		return
	}
	var self cause.Source
	var up []cause.Source
	for _, o := range in.Up {
		if o.Name == in.Name {
			self = o
		}
		if known := site.Sources[o.Name]; known != nil && known.Condition == Up && known.Announced == nil {
			up = append(up, o)
		}
	}
	switch why := cause.Explain(self, up); why.Reach {
	case cause.Whole:
		site.doubt = &doubt{since: d.now, last: in.Last, names: why.Names}
	default:
		for _, n := range why.Names {
			d.fail(site, n, lastOf(in.Up, n), d.whyFailed(why, len(up)))
		}
	}
}

func lastOf(up []cause.Source, name string) time.Time {
	for _, s := range up {
		if s.Name == name {
			return s.Last
		}
	}
	return time.Time{}
}

func (d *decider) whyFailed(why cause.Silence, up int) string {
	text := fmt.Sprintf("it sent nothing for %s and announced nothing", power.Spell(d.cfg.Times.Silence))
	switch {
	case why.Reach == cause.AllNodes:
		text += "; all nodes are unreachable, the internet is up"
	case up == 1:
		text += "; it is the only one there, so it may be the internet"
	}
	return text
}

// fail declares a source failed, under an incident that already explains it if there is
// one (rule U8), by itself otherwise.
func (d *decider) fail(site *Site, name string, last time.Time, why string) {
	src := site.Sources[name]
	if src == nil || src.Condition == Failed || src.Condition == Off {
		return
	}
	f := &SourceFailed{Site: site.Name, Name: name, Last: last, Why: why}
	if i := d.open(site.Name, PowerOutage); i != nil {
		f.Incident, f.Why = i.ID, "the power is out there"
	}
	d.emit(f)
	if f.Incident != "" {
		d.emit(&IncidentJoined{ID: f.Incident, Node: name, Why: "it fell silent while the power was out"})
		return
	}
	if src.Role == Node {
		d.count(site)
	}
}

// failIfSilent is for the sources of a doubt that came to nothing.
func (d *decider) failIfSilent(site *Site, name string, last time.Time) {
	src := site.Sources[name]
	if src == nil || src.Condition != Up || src.Announced != nil {
		return
	}
	if d.now.Sub(last) >= d.cfg.Times.Silence {
		d.fail(site, name, last, d.whyFailed(cause.Silence{}, 0))
	}
}

// count opens, reopens or extends the incident of failed nodes (rules H3, H5, H6).
func (d *decider) count(site *Site) {
	var nodes []string
	for _, src := range site.Sources {
		for _, f := range src.Failures {
			if !f.Told && d.now.Sub(f.At) <= d.cfg.Times.Window {
				nodes = append(nodes, src.Name)
				break
			}
		}
	}
	slices.Sort(nodes)
	if i := d.open(site.Name, NodeFailure); i != nil {
		for _, n := range nodes {
			d.emit(&IncidentJoined{ID: i.ID, Node: n, Why: "it failed while the incident was open"})
		}
		return
	}
	if i := d.recent(site.Name, NodeFailure, nodes); i != nil {
		d.emit(&IncidentReopened{ID: i.ID, Why: "the same failed again within " + power.Spell(d.cfg.Times.Continue)})
		return
	}
	if len(nodes) < max(d.cfg.Threshold, 1) {
		for _, n := range nodes {
			d.emit(&Noticed{Site: site.Name, Text: fmt.Sprintf("%s failed; %d more within the hour and you are called", n, d.cfg.Threshold-len(nodes))})
		}
		return
	}
	since := d.now
	for _, n := range nodes {
		if l := site.Sources[n].Last; !l.IsZero() && l.Before(since) {
			since = l
		}
	}
	d.openIncident(&IncidentOpened{Site: site.Name, Kind: NodeFailure, Since: since, Nodes: nodes,
		Why: fmt.Sprintf("%s sent nothing for %s and announced nothing", list(nodes), power.Spell(d.cfg.Times.Silence))}, "node")
}

// settleDoubt waits for the uplink's verdict, but not for long: a check that does not
// come back must not hide an outage.
func (d *decider) settleDoubt(site *Site) {
	if q := site.doubt; q != nil && d.due(q.since.Add(d.cfg.Times.DoubtAtMost)) {
		d.dark(site)
	}
}

func (d *decider) uplink(in Uplink) {
	if in.Online {
		if !d.Blind.IsZero() {
			d.emit(&BlindEnded{For: d.now.Sub(d.Blind)})
		}
		for _, site := range d.Sites {
			if site.doubt != nil {
				d.dark(site)
			}
		}
		return
	}
	for _, site := range d.Sites {
		if site.doubt != nil {
			site.doubt = nil
			if d.Blind.IsZero() {
				d.emit(&BlindBegan{Site: site.Name, Why: "neither the site nor the anchors can be reached from here"})
			}
		}
	}
}

// dark declares a whole site out of reach (rules N1, N2).
func (d *decider) dark(site *Site) {
	q := site.doubt
	site.doubt = nil
	id, why := "", "everything there fell silent within "+power.Spell(5*time.Second)
	if i := d.open(site.Name, PowerOutage); i != nil {
		id, why = i.ID, "the site went dark while on battery"
		d.emit(&Noticed{Site: site.Name, Incident: id, Text: site.Name + " went dark: the last word was that it is on battery"})
	} else if i := d.recent(site.Name, InternetOutage, nil); i != nil {
		id = i.ID
		d.emit(&IncidentReopened{ID: id, Why: why + " again"})
	} else {
		id = d.openIncident(&IncidentOpened{Site: site.Name, Kind: InternetOutage, Since: q.last, Nodes: q.names, Why: why}, "internet")
	}
	for _, n := range q.names {
		if src := site.Sources[n]; src != nil && src.Condition == Up {
			d.emit(&SourceFailed{Site: site.Name, Name: n, Last: q.last, Incident: id, Why: why})
			d.emit(&IncidentJoined{ID: id, Node: n, Why: why})
		}
	}
}

// open finds the site's open incident of a kind.
func (d *decider) open(site string, kind IncidentKind) *Incident {
	for _, i := range d.Incidents {
		if i.Open() && i.Site == site && i.Kind == kind {
			return i
		}
	}
	return nil
}

// recent finds an incident that ended so lately that the same again continues it. With
// nodes given, they must all have been part of it.
func (d *decider) recent(site string, kind IncidentKind, nodes []string) *Incident {
	var best *Incident
	for _, i := range d.Incidents {
		if i.Open() || i.Site != site || i.Kind != kind || d.now.Sub(i.Resolved) > d.cfg.Times.Continue {
			continue
		}
		if len(i.Nodes) == 0 || slices.ContainsFunc(nodes, func(n string) bool { return !slices.Contains(i.Nodes, n) }) {
			continue
		}
		if best == nil || i.Resolved.After(best.Resolved) {
			best = i
		}
	}
	return best
}

// openIncident gives the incident its id: site, kind and the second it is about.
func (d *decider) openIncident(f *IncidentOpened, word string) string {
	f.ID = fmt.Sprintf("%s-%s-%s", f.Site, word, f.Since.UTC().Format("20060102T150405Z"))
	for n := 2; d.Incidents[f.ID] != nil; n++ {
		f.ID = fmt.Sprintf("%s-%s-%s-%d", f.Site, word, f.Since.UTC().Format("20060102T150405Z"), n)
	}
	d.emit(f)
	return f.ID
}

// list says names as people do.
func list(names []string) string {
	switch len(names) {
	case 0:
		return "nothing"
	case 1:
		return names[0]
	}
	text := names[0]
	for _, n := range names[1 : len(names)-1] {
		text += ", " + n
	}
	return text + " and " + names[len(names)-1]
}
