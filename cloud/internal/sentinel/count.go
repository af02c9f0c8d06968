package sentinel

import (
	"fmt"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
)

// count opens, reopens or extends the incident of failed nodes (rules H3, H5, H6). what
// says what those did that failed last. A muted node counts once its mute ends (rule H9).
func (d *decider) count(site *Site, what string) {
	nodes := d.untold(site)
	if len(nodes) == 0 {
		return
	}
	if i := d.open(site.Name, NodeFailure); i != nil {
		for _, n := range nodes {
			why := "it failed while the incident was open"
			if times := d.failures(site, n); times > 1 {
				why = saidFlapping(n, times)
			}
			d.emit(&IncidentJoined{ID: i.ID, Node: n, Why: why})
		}
		d.worsen(i, AllNodes)
		return
	}
	if i := d.recent(site.Name, NodeFailure, nodes); i != nil {
		why := list(nodes) + " failed again within " + power.Spell(d.cfg.Times.Continue)
		for _, n := range nodes {
			if times := d.failures(site, n); times > 1 {
				why = saidFlapping(n, times)
			}
		}
		d.reopen(i, why)
		d.worsen(i, AllNodes)
		return
	}
	if len(nodes) < d.cfg.Threshold {
		d.emit(&Noticed{Site: site.Name, Severity: routing.Warning, Text: fmt.Sprintf("%s failed; %d more within the hour and you are called", list(nodes), d.cfg.Threshold-len(nodes))})
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

// untold are the nodes that failed within the window and are part of no incident yet. Of
// those that are muted it is said once that nobody is called.
func (d *decider) untold(site *Site) []string {
	var nodes, muted []string
	for _, src := range site.Sources {
		for _, f := range src.Failures {
			if f.Told || d.now.Sub(f.At) > d.cfg.Times.Window {
				continue
			}
			if src.Muted() {
				muted = append(muted, src.Name)
			} else {
				nodes = append(nodes, src.Name)
			}
			break
		}
	}
	slices.Sort(muted)
	for _, n := range muted {
		d.mutedFailure(site, site.Sources[n])
	}
	slices.Sort(nodes)
	return nodes
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

// openIncident gives the incident its id: site, kind and the second it is about. What
// makes it worse than others of its kind is told with it (rule H5).
func (d *decider) openIncident(f *IncidentOpened, word string) string {
	if f.Site != "" { // the tailnet's is of none
		word = f.Site + "-" + word
	}
	first := fmt.Sprintf("%s-%s", word, f.Since.UTC().Format("20060102T150405Z"))
	f.ID = first
	for n := 2; d.Incidents[f.ID] != nil; n++ {
		f.ID = fmt.Sprintf("%s-%d", first, n)
	}
	of := &Incident{ID: f.ID, Site: f.Site, Kind: f.Kind, Since: f.Since}
	for _, w := range worsenings() {
		if _, is := d.worse(of, w); is {
			f.Worse = append(f.Worse, w)
		}
	}
	d.emit(f)
	return f.ID
}

// later is the later of two moments.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
