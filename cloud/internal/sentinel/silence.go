package sentinel

import (
	"fmt"
	"slices"
	"time"

	"sentinel.home.arpa/cloud/internal/cause"
	"sentinel.home.arpa/shared/power"
)

func (d *decider) heard(in Heard) {
	d.seesAgain()
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
	}
}

func (d *decider) silent(in Silent) {
	site := d.site(in.Site)
	src := site.Sources[in.Name]
	if src == nil || src.Condition != Up || !d.Blind.IsZero() {
		return
	}
	if (src.Announced != nil || !site.maintained(src).IsZero()) && d.leftInPeace(site, src, in.Last) {
		return
	}
	if site.doubt != nil && site.doubt.has(in.Name) {
		return
	}
	last, up := lastWords(in.Up), d.counted(site, in.Up)
	self := cause.Source{Name: in.Name, Last: in.Last}
	if i := slices.IndexFunc(up, func(o cause.Source) bool { return o.Name == in.Name }); i >= 0 {
		self = up[i]
	}
	why := cause.Explain(self, up)
	if why.Reach == cause.Whole || why.Reach == cause.Alone {
		lives, byPi := d.livesStill(site, in.Up)
		if !lives {
			d.doubts(site, why, in)
			return
		}
		why.Reach = cause.Some
		if byPi && len(why.Names) > 1 {
			why.Reach = cause.AllNodes
		}
	}
	rest := d.lostPower(site, why, up, last)
	d.fail(site, rest, last, d.whatFailed(why))
}

// counted are the sources of a site that were up as far as anybody decided: only their
// silence tells of an outage (rule N1).
func (d *decider) counted(site *Site, heard []cause.Source) []cause.Source {
	var up []cause.Source
	for _, o := range heard {
		if src := site.Sources[o.Name]; src != nil && src.Condition == Up && src.Announced == nil && site.maintained(src).IsZero() {
			up = append(up, o)
		}
	}
	return up
}

func lastWords(up []cause.Source) map[string]time.Time {
	last := make(map[string]time.Time, len(up))
	for _, s := range up {
		last[s.Name] = s.Last
	}
	return last
}

// whatFailed says what a failed source did, without saying which.
func (d *decider) whatFailed(why cause.Silence) string {
	text := fmt.Sprintf("sent nothing for %s and announced nothing", power.Spell(d.cfg.Times.Silence))
	switch {
	case why.Reach == cause.AllNodes:
		text += "; " + saidAllNodes
	case why.Reach == cause.Alone && len(why.Names) > 1:
		text += "; all of it was heard through " + why.Via + " alone, so it may be that or its internet"
	case why.Reach == cause.Alone:
		text += "; it is the only one there, so it may be the internet"
	}
	return text
}

// saidAllNodes is what is said when the nodes are silent and a Pi is not (rule N4).
const saidAllNodes = "all nodes are unreachable, the internet is up"

// fail declares sources failed that fell silent together. An incident that is open may
// explain them (rules U8, N9); what fails by itself is counted.
func (d *decider) fail(site *Site, names []string, last map[string]time.Time, what string) {
	var silent []*Source
	for _, n := range names {
		src := site.Sources[n]
		if src != nil && src.Condition == Up && !d.leftInPeace(site, src, last[n]) {
			silent = append(silent, src)
		}
	}
	d.failed(site, silent, last, what)
}

// failed is the same also of sources that an incident explained until now, whose last words
// are known and need not be given.
func (d *decider) failed(site *Site, silent []*Source, last map[string]time.Time, what string) {
	count, own := false, ""
	for _, src := range silent {
		word, ok := last[src.Name]
		if !ok {
			word = src.Last
		}
		i, why := d.explains(site, src, word)
		f := &SourceFailed{Site: site.Name, Name: src.Name, Last: word, Why: why}
		if i != nil {
			f.Incident = i.ID
		} else {
			f.Why, f.Window = "it "+what+why, d.cfg.Times.Window
		}
		d.emit(f)
		if i != nil {
			d.join(i, src.Name, f.Why)
		} else if src.Role == Node {
			count, own = true, why
		}
	}
	if count {
		d.count(site, what+own)
	}
}

// leftInPeace lets a source go that announced its shutdown, or was told by the plan.
func (d *decider) leftInPeace(site *Site, src *Source, last time.Time) bool {
	a := src.Announced
	switch {
	case a != nil && a.Boot == src.Boot, !site.maintained(src).IsZero() && !d.toldByPlan(site, src.Name):
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

// livesStill reports whether somebody at the site is heard, of those too that do not count
// (rule N1): it is in reach then, whatever else is silent. By a Pi all nodes are (rule N4).
func (d *decider) livesStill(site *Site, heard []cause.Source) (lives, byPi bool) {
	for _, o := range heard {
		if src := site.Sources[o.Name]; src != nil && src.Condition == Up && d.now.Sub(o.Last) <= heardLately {
			lives, byPi = true, byPi || o.Pi
		}
	}
	return lives, byPi
}
