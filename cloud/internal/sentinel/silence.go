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
	heard time.Time // when one of them was heard after all; zero: none was
	names []string
	last  map[string]time.Time // their last words
}

// doubted reports whether the whole site is silent and nobody knows yet why.
func (s *Site) doubted() bool { return s.doubt != nil && s.doubt.heard.IsZero() }

func (d *decider) heard(in Heard) {
	if !d.Blind.IsZero() {
		d.emit(&BlindEnded{For: d.now.Sub(d.Blind)})
	}
	site := d.site(in.Site)
	if q := site.doubt; q != nil { // the site lives; the others get a moment to follow
		q.names = slices.DeleteFunc(q.names, func(n string) bool { return n == in.Name })
		if q.heard.IsZero() {
			q.heard = d.now
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
		src.restartRunning(d.now)
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
	if src.Announced != nil && d.leftInPeace(site, src, in.Last) {
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
		site.doubt = &doubt{since: d.now, names: why.Names, last: lastWords(in.Up)}
	default:
		d.fail(site, why.Names, lastWords(in.Up), d.whatFailed(why, len(up)))
	}
}

func lastWords(up []cause.Source) map[string]time.Time {
	last := make(map[string]time.Time, len(up))
	for _, s := range up {
		last[s.Name] = s.Last
	}
	return last
}

// whatFailed says what a failed source did, without saying which.
func (d *decider) whatFailed(why cause.Silence, up int) string {
	text := fmt.Sprintf("sent nothing for %s and announced nothing", power.Spell(d.cfg.Times.Silence))
	switch {
	case why.Reach == cause.AllNodes:
		text += "; all nodes are unreachable, the internet is up"
	case up == 1:
		text += "; it is the only one there, so it may be the internet"
	}
	return text
}

// fail declares sources failed that fell silent together. An incident that is open may
// explain them (rules U8, N9); what fails by itself is counted.
func (d *decider) fail(site *Site, names []string, last map[string]time.Time, what string) {
	count := false
	for _, n := range names {
		src := site.Sources[n]
		if src == nil || src.Condition != Up || d.leftInPeace(site, src, last[n]) {
			continue
		}
		f := &SourceFailed{Site: site.Name, Name: n, Last: last[n], Why: "it " + what}
		i := d.open(site.Name, PowerOutage)
		if i != nil {
			f.Incident, f.Why = i.ID, "the power is out there"
		} else if i = d.open(site.Name, InternetOutage); i != nil {
			f.Incident, f.Why = i.ID, "the site was out of reach and is not back for good"
		}
		d.emit(f)
		if i != nil {
			d.join(i, n, f.Why)
		}
		count = count || i == nil && src.Role == Node
	}
	if count {
		d.count(site, what)
	}
}

// leftInPeace lets a source go that announced its shutdown, or was told by the plan.
func (d *decider) leftInPeace(site *Site, src *Source, last time.Time) bool {
	a := src.Announced
	switch {
	case a != nil && a.Boot == src.Boot:
		d.left(site, src, last)
	case d.toldByPlan(site, src.Name):
		d.emit(&SourceLeft{Site: site.Name, Name: src.Name, Last: last, Why: "the plan shut it down"})
	default:
		return false
	}
	return true
}

// join makes a source part of an incident, unless it is.
func (d *decider) join(i *Incident, name, why string) {
	if !slices.Contains(i.Nodes, name) {
		d.emit(&IncidentJoined{ID: i.ID, Node: name, Why: why})
	}
}

// count opens, reopens or extends the incident of failed nodes (rules H3, H5, H6). what
// says what those did that failed last.
func (d *decider) count(site *Site, what string) {
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
			why := "it failed while the incident was open"
			if times := d.failures(site, n); times > 1 {
				why = saidFlapping(n, times)
			}
			d.emit(&IncidentJoined{ID: i.ID, Node: n, Why: why})
		}
		return
	}
	if i := d.recent(site.Name, NodeFailure, nodes); i != nil {
		why := list(nodes) + " failed again within " + power.Spell(d.cfg.Times.Continue)
		for _, n := range nodes {
			if times := d.failures(site, n); times > 1 {
				why = saidFlapping(n, times)
			}
		}
		d.emit(&IncidentReopened{ID: i.ID, Why: why})
		return
	}
	if len(nodes) < d.cfg.Threshold {
		d.emit(&Noticed{Site: site.Name, Text: fmt.Sprintf("%s failed; %d more within the hour and you are called", list(nodes), d.cfg.Threshold-len(nodes))})
		return
	}
	since := d.now
	for _, n := range nodes {
		if l := site.Sources[n].Last; !l.IsZero() && l.Before(since) {
			since = l
		}
	}
	d.openIncident(&IncidentOpened{Site: site.Name, Kind: NodeFailure, Since: since, Nodes: nodes,
		Why: list(nodes) + " " + what}, "node")
}

// failures is how often a node failed within the window.
func (d *decider) failures(site *Site, name string) int {
	n := 0
	for _, f := range site.Sources[name].Failures {
		if d.now.Sub(f.At) <= d.cfg.Times.Window {
			n++
		}
	}
	return n
}

func saidFlapping(name string, times int) string {
	return fmt.Sprintf("%s is flapping, %d times in the hour", name, times)
}

// settleDoubt waits for the uplink's verdict, but not for long: a check that does not
// come back must not hide an outage.
func (d *decider) settleDoubt(site *Site) {
	switch q := site.doubt; {
	case q == nil:
	case q.heard.IsZero():
		if d.due(q.since.Add(d.cfg.Times.DoubtAtMost)) {
			d.dark(site)
		}
	case d.due(q.heard.Add(d.cfg.Times.DoubtAtMost)):
		d.stayedSilent(site)
	}
}

// stayedSilent ends a doubt that came to nothing: the site lives, and what is silent all
// the same failed by itself. Who has not been so for long enough is told of later.
func (d *decider) stayedSilent(site *Site) {
	q := site.doubt
	site.doubt = nil
	silent := slices.DeleteFunc(q.names, func(n string) bool { return d.now.Sub(q.last[n]) < d.cfg.Times.Silence })
	d.fail(site, silent, q.last, d.whatFailed(cause.Silence{}, 0))
}

func (d *decider) uplink(in Uplink) {
	if in.Online {
		if !d.Blind.IsZero() {
			d.emit(&BlindEnded{For: d.now.Sub(d.Blind)})
		}
		for _, site := range d.Sites {
			if site.doubted() {
				d.dark(site)
			}
		}
		return
	}
	for _, site := range d.Sites {
		if site.doubted() {
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
	why := "everything there fell silent within " + power.Spell(cause.Together)
	i := d.open(site.Name, PowerOutage)
	if i != nil {
		why = "the site went dark while on battery"
		d.emit(&Noticed{Site: site.Name, Incident: i.ID, Text: site.Name + " went dark: the last word was that it is on battery"})
	} else if i = d.open(site.Name, InternetOutage); i == nil {
		if i = d.recent(site.Name, InternetOutage, nil); i != nil {
			d.emit(&IncidentReopened{ID: i.ID, Why: why + " again"})
		} else {
			id := d.openIncident(&IncidentOpened{Site: site.Name, Kind: InternetOutage, Since: q.last[q.names[0]], Nodes: q.names, Why: why}, "internet")
			i = d.Incidents[id]
		}
	}
	for _, n := range q.names {
		if src := site.Sources[n]; src != nil && src.Condition == Up && !d.leftInPeace(site, src, q.last[n]) {
			d.emit(&SourceFailed{Site: site.Name, Name: n, Last: q.last[n], Incident: i.ID, Why: why})
			d.join(i, n, why)
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
