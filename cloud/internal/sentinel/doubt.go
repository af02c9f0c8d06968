package sentinel

import (
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/cloud/internal/cause"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
)

// doubt is the silence of all that there is at a site before it is known whose fault it is.
type doubt struct {
	since  time.Time
	heard  time.Time // when one of them was heard after all; zero: none was
	names  []string
	last   map[string]time.Time // their last words
	why    cause.Silence
	shared bool // another site fell silent with it (rule N10)
	alone  bool // another site is heard: the brain is not offline (rule N3)
}

// heardLately is how old the word of another site may be for it to be heard, and the brain
// online.
const heardLately = 5 * time.Second

// doubted reports whether all of the site is silent and nobody knows yet why.
func (s *Site) doubted() bool { return s.doubt != nil && s.doubt.heard.IsZero() }

// doubts begins to ask whose fault it is that all of a site is silent: its own, the brain's
// or the tailnet's. Sites that fell silent with it are in doubt with it (rules N6, N10).
func (d *decider) doubts(site *Site, why cause.Silence, in Silent) {
	q := &doubt{since: d.now, names: slices.Clone(why.Names), last: lastWords(in.Up), why: why}
	site.doubt = q
	for _, name := range slices.Sorted(maps.Keys(in.Elsewhere)) {
		other := d.Sites[name]
		if other == nil || other == site {
			continue
		}
		up := d.counted(other, in.Elsewhere[name])
		switch {
		case !cause.Dark(in.Last, up):
			q.alone = q.alone || slices.ContainsFunc(up, func(o cause.Source) bool { return d.now.Sub(o.Last) <= heardLately })
		case other.doubt == nil:
			q.shared = true
			other.doubt = &doubt{since: d.now, last: lastWords(up), shared: true}
			for _, o := range up {
				other.doubt.names = append(other.doubt.names, o.Name)
			}
			slices.Sort(other.doubt.names)
			other.doubt.why = cause.Silence{Reach: cause.Whole, Names: other.doubt.names}
			if len(up) == 1 {
				other.doubt.why.Reach = cause.Alone
			}
		case other.doubted():
			q.shared, other.doubt.shared = true, true
		}
	}
}

// has reports whether a source is among those in doubt, which may be thousands: all but the
// first are in order.
func (q *doubt) has(name string) bool {
	if len(q.names) == 0 || q.names[0] == name {
		return len(q.names) > 0
	}
	_, found := slices.BinarySearch(q.names[1:], name)
	return found
}

// fell is when the first of them said its last word.
func (q *doubt) fell() time.Time {
	first := q.since
	for _, n := range q.names {
		if last := q.last[n]; last.Before(first) {
			first = last
		}
	}
	return first
}

// inDoubt are the sites in doubt, in order.
func (d *decider) inDoubt() []*Site {
	var sites []*Site
	for _, name := range slices.Sorted(maps.Keys(d.Sites)) {
		if d.Sites[name].doubted() {
			sites = append(sites, d.Sites[name])
		}
	}
	return sites
}

// settleDoubt waits for the uplink's verdict, but not for long: a check that does not
// come back must not hide an outage.
func (d *decider) settleDoubt(site *Site) {
	switch q := site.doubt; {
	case q == nil:
	case !q.heard.IsZero():
		if d.due(q.heard.Add(d.cfg.Times.DoubtAtMost)) {
			d.stayedSilent(site)
		}
	case !d.due(q.since.Add(d.cfg.Times.DoubtAtMost)):
	case q.shared:
		d.blame(slices.DeleteFunc(d.inDoubt(), func(s *Site) bool { return !s.doubt.shared }), false)
	default:
		d.blame([]*Site{site}, false)
	}
}

// stayedSilent ends a doubt that came to nothing: the site lives, and what is silent all
// the same failed by itself. Who has not been so for long enough is told of later.
func (d *decider) stayedSilent(site *Site) {
	q := site.doubt
	site.doubt = nil
	silent := slices.DeleteFunc(q.names, func(n string) bool { return d.now.Sub(q.last[n]) < d.cfg.Times.Silence })
	var up []cause.Source
	for n, src := range site.Sources {
		if src.Condition == Up {
			up = append(up, cause.Source{Name: n})
		}
	}
	rest := d.lostPower(site, cause.Silence{Names: silent}, up, q.last)
	d.fail(site, rest, q.last, d.whatFailed(cause.Silence{}))
}

// uplink takes the verdict on the brain's own internet (rule N3), and on the tailnet's
// control server and relay (rule N10).
func (d *decider) uplink(in Uplink) {
	if in.Online {
		d.seesAgain()
	}
	sites := d.inDoubt()
	if in.Online || slices.ContainsFunc(sites, func(s *Site) bool { return s.doubt.alone }) {
		d.blame(sites, in.Online && in.TailnetGone)
		return
	}
	if len(sites) == 0 || !d.Blind.IsZero() {
		return
	}
	for _, site := range d.Sites {
		site.doubt = nil
	}
	d.emit(&BlindBegan{Site: sites[0].Name, Why: "neither the site nor the anchors can be reached from here"})
}

// seesAgain ends the brain's blindness. Nobody was watched meanwhile: it is as after a pause.
func (d *decider) seesAgain() {
	if d.Blind.IsZero() {
		return
	}
	away := d.now.Sub(d.Blind)
	d.emit(&BlindEnded{For: away, Before: d.cfg.Times.unheardAtMost()})
	d.emit(&Noticed{Text: "the sentinel was offline itself for " + power.Spell(away) + "; it watched nobody meanwhile, and blames nobody for it", Severity: routing.Warning})
	d.restartClocks()
	d.startedOften()
}

// blame decides the doubts of sites: it is not the brain that is offline. What fell silent
// with another site, or while the tailnet cannot be reached, is out of its reach alone.
func (d *decider) blame(sites []*Site, tailnetGone bool) {
	shared := 0
	for _, s := range sites {
		if s.doubt.shared {
			shared++
		}
	}
	tailnet := d.open("", TailnetDown) // takes the later ones with it, and who is not back for good
	var unreached []*Site
	for _, s := range sites {
		onBattery := d.outageAt(s, s.doubt.fell()) != nil
		out := d.open(s.Name, InternetOutage) != nil
		again := tailnet != nil && (tailnet.calmSince.IsZero() || slices.ContainsFunc(s.doubt.names, func(n string) bool { return slices.Contains(tailnet.Nodes, n) }))
		if (tailnetGone || again || s.doubt.shared && shared > 1) && !onBattery && !out {
			unreached = append(unreached, s)
		} else {
			d.dark(s)
		}
	}
	if len(unreached) > 0 {
		d.tailnetDown(unreached)
	}
}

// endDoubt gives those of a doubt that nothing else explains, and when the first fell silent.
func (d *decider) endDoubt(site *Site) (names []string, since time.Time) {
	q := site.doubt
	site.doubt = nil
	for _, n := range q.names {
		src := site.Sources[n]
		if src == nil || src.Condition != Up || d.leftInPeace(site, src, q.last[n]) {
			continue
		}
		names = append(names, n)
		if since.IsZero() || q.last[n].Before(since) {
			since = q.last[n]
		}
	}
	return names, since
}

// dark declares a whole site out of reach (rules N1, N2). What one machine's end explains as
// well is a failure, unless the last word was that the power is out.
func (d *decider) dark(site *Site) {
	q := site.doubt
	names, since := d.endDoubt(site)
	if len(names) == 0 {
		return
	}
	why := "everything there fell silent within " + power.Spell(cause.Together)
	i := d.outageAt(site, since)
	if i != nil {
		why = d.saidDark(site, i)
	} else if i = d.open(site.Name, InternetOutage); i == nil {
		if q.why.Reach == cause.Alone {
			d.fail(site, names, q.last, d.whatFailed(q.why))
			return
		}
		i = d.unreachable(site, names, since, why)
	}
	d.outOfReach(site, i, names, q.last, why)
}

// unreachable opens a site's internet outage, or has the last one go on (rule N9).
func (d *decider) unreachable(site *Site, names []string, since time.Time, why string) *Incident {
	if i := d.recent(site.Name, InternetOutage, nil); i != nil {
		d.emit(&IncidentReopened{ID: i.ID, Why: why + " again", Nodes: names}) // not who is heard this time
		return i
	}
	id := d.openIncident(&IncidentOpened{Site: site.Name, Kind: InternetOutage, Since: since, Nodes: names, Why: why}, "internet")
	return d.Incidents[id]
}

func (d *decider) outOfReach(site *Site, i *Incident, names []string, last map[string]time.Time, why string) {
	part := make(map[string]bool, len(i.Nodes)) // they may be thousands
	for _, n := range i.Nodes {
		part[n] = true
	}
	for _, n := range names {
		d.emit(&SourceFailed{Site: site.Name, Name: n, Last: last[n], Incident: i.ID, Why: why})
		if !part[n] {
			d.emit(&IncidentJoined{ID: i.ID, Node: n, Why: why})
		}
	}
}
