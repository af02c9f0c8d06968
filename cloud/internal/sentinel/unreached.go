package sentinel

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
)

// tailnetDown declares sites out of the tailnet's reach: one incident, of no site (rule N10).
func (d *decider) tailnetDown(sites []*Site) {
	var names, unheard []string
	of := map[string][]string{} // by site
	last := map[string]time.Time{}
	first := d.now
	for _, site := range sites {
		words := site.doubt.last
		silent, at := d.endDoubt(site)
		unheard = append(unheard, site.Name) // also one whose machines had all announced it
		if len(silent) == 0 {
			continue
		}
		of[site.Name] = silent
		names = append(names, silent...)
		for _, n := range silent {
			last[n] = words[n]
		}
		if at.Before(first) {
			first = at
		}
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	why := "nothing is heard of " + list(unheard) + ", and the internet is up here; the houses may be fine"
	i := d.open("", TailnetDown)
	if i == nil {
		if i = d.recent("", TailnetDown, nil); i != nil {
			d.emit(&IncidentReopened{ID: i.ID, Why: why, Nodes: names}) // not who is heard this time
		} else {
			id := d.openIncident(&IncidentOpened{Kind: TailnetDown, Since: first, Nodes: names, Why: why}, "tailnet")
			i = d.Incidents[id]
		}
	}
	for _, site := range slices.Sorted(maps.Keys(of)) {
		d.outOfReach(d.Sites[site], i, of[site], last, "Tailscale is out of reach")
	}
}

// behindTailnet reports whether a site is part of what the tailnet does not reach: a source
// of it is silent for that. The troubles of the other sites are their own.
func (d *decider) behindTailnet(site *Site) bool {
	i := d.open("", TailnetDown)
	return i != nil && slices.ContainsFunc(i.Nodes, func(n string) bool {
		src := site.Sources[n]
		return src != nil && src.Condition == Failed && src.Incident == i.ID
	})
}

// settleAway notes when all of a site can be heard again: who is late gets a moment.
func (d *decider) settleAway(site *Site) {
	was := site.away
	if site.away = d.behindTailnet(site); was && !site.away {
		site.reached = d.now
		d.due(d.now.Add(d.cfg.Times.Silence))
	}
}

// unreachedCallAt is when a site, or the tailnet, that is out of reach is reason for a call
// (rule N8), and false while it is coming back.
func (d *decider) unreachedCallAt(i *Incident) (at time.Time, why string, ok bool) {
	if back, _ := d.parts(i); len(back) > 0 {
		return time.Time{}, "", false
	}
	at = later(i.Opened, i.Reopened).Add(d.cfg.Times.InternetCall)
	lasts := power.Spell(d.now.Sub(i.Since))
	if i.Kind == TailnetDown {
		return at, "Tailscale is out of reach, for " + lasts + " now; the houses may be fine", true
	}
	if site := d.Sites[i.Site]; site != nil {
		if _, on := site.OnBattery(); on && (d.open(site.Name, PowerOutage) == nil || d.outageAt(site, i.Since) != nil) {
			return i.Opened, "the last word of the site was that it is on battery", true
		}
	}
	return at, fmt.Sprintf("nothing is heard of the site, %s after its outage began", lasts), true
}

// parts are the sources of an incident that are heard again, and those that are not.
func (d *decider) parts(i *Incident) (back, away []*Source) {
	for _, site := range d.sitesOf(i) {
		for _, n := range i.Nodes {
			switch src := site.Sources[n]; {
			case src == nil:
			case src.Condition == Up:
				back = append(back, src)
			case src.Condition == Failed && src.Incident == i.ID:
				away = append(away, src)
			}
		}
	}
	return back, away
}

// sitesOf are the sites that an incident may be about, in order.
func (d *decider) sitesOf(i *Incident) []*Site {
	if i.Site != "" {
		if site := d.Sites[i.Site]; site != nil {
			return []*Site{site}
		}
		return nil
	}
	var sites []*Site
	for _, name := range slices.Sorted(maps.Keys(d.Sites)) {
		sites = append(sites, d.Sites[name])
	}
	return sites
}

// settleUnreached resolves what has been heard again for long enough and has given its
// record (rules N9, N10). Who is silent all the same failed by itself, and a site of which
// nothing is heard has an outage of its own.
func (d *decider) settleUnreached(i *Incident) {
	site := d.Sites[i.Site]
	listens := site != nil && !site.unsaid.IsZero() && !d.due(site.unsaid)
	if site != nil && !site.unsaid.IsZero() && !listens {
		if d.calledByRecord(i, 0); i.Kind == PowerOutage || !i.Open() {
			return
		}
	}
	back, away := d.parts(i)
	switch {
	case len(back) == 0 && len(away) == 0:
		d.resolve(i, "nothing that it was about is expected to be heard any more")
		return
	case len(back) == 0:
		i.calmSince = time.Time{}
		return
	case i.calmSince.IsZero():
		i.calmSince = d.now
	}
	if !d.due(i.calmSince.Add(d.cfg.Times.Calm)) {
		return
	}
	missing := d.recordsMissing(i, back)
	if listens || len(missing) > 0 && !d.due(i.calmSince.Add(d.cfg.Times.RecordWithin)) {
		return
	}
	if b := d.outageOf(i); b != nil {
		d.wasPower(i, b)
		return
	}
	what := "the site has been heard again for "
	if i.Kind == TailnetDown {
		what = "Tailscale has been in reach again for "
	}
	why := fmt.Sprintf("%s%s; it lasted %s", what, power.Spell(d.now.Sub(i.calmSince)), power.Spell(i.calmSince.Sub(i.Since)))
	if len(missing) > 0 {
		why += "; what " + list(missing) + " recorded meanwhile did not come"
	}
	d.resolve(i, why)
	for _, site := range d.sitesOf(i) {
		d.stillAway(site, i, away)
		d.tellOfRecord(site, i.Since)
	}
}

// stillAway tells what is silent at a site although an outage is over.
func (d *decider) stillAway(site *Site, i *Incident, away []*Source) {
	away = slices.DeleteFunc(slices.Clone(away), func(src *Source) bool {
		if site.Sources[src.Name] != src {
			return true
		}
		if !site.toldIn(i, src.Name) { // rule U8, whatever the incident was taken for
			return false
		}
		d.emit(&SourceLeft{Site: site.Name, Name: src.Name, Last: src.Last, Why: "the plan shut it down"})
		return true
	})
	if len(away) == 0 {
		return
	}
	up := slices.ContainsFunc(slices.Collect(maps.Values(site.Sources)), func(src *Source) bool { return src.Condition == Up })
	what := "stayed silent when the site came back"
	if i.Kind == TailnetDown {
		what = "stayed silent when Tailscale came back"
	}
	if !up && len(away) > 1 {
		d.outageOfItsOwn(site, away, "everything there "+what)
		return
	}
	if !up {
		what += "; it is the only one there, so it may be the internet"
	}
	d.failed(site, away, nil, what)
}

// outageOfItsOwn is that of a site from which the tailnet's no longer takes the blame.
func (d *decider) outageOfItsOwn(site *Site, away []*Source, why string) {
	var names []string
	since, last := d.now, map[string]time.Time{}
	for _, src := range away {
		names, last[src.Name] = append(names, src.Name), src.Last
		if src.Last.Before(since) {
			since = src.Last
		}
	}
	slices.Sort(names)
	i := d.open(site.Name, InternetOutage)
	if i == nil {
		i = d.unreachable(site, names, since, why)
	}
	d.outOfReach(site, i, names, last, why)
}
