package sentinel

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
)

// settlePis sees to Pis that are silent for a reason of their own: a notice, and a call
// once nobody is left to watch the power (rule N5).
func (d *decider) settlePis(site *Site) {
	if site.doubt != nil {
		return
	}
	var silent, off []*Source
	watched, returns := false, false
	for name := range site.watched {
		src := site.Sources[name]
		if src == nil || src.Role != Pi {
			continue
		}
		watched = watched || src.Condition == Up
		if src.Condition == Failed && !src.Muted() && !d.explained(src) {
			silent = append(silent, src)
		}
		returns = returns || src.Condition == Off && !src.BackBy.IsZero()
		if src.Condition == Off && src.BackBy.IsZero() && !src.Muted() {
			off = append(off, src)
		}
	}
	if d.elsewhere(site) || len(silent) > 0 && d.calledAbout(site, silent) {
		site.apart = true
		return
	}
	if site.apart { // from now on it could be heard
		site.apart, site.joined = false, d.now
	}
	slices.SortFunc(silent, func(a, b *Source) int { return strings.Compare(a.Name, b.Name) })
	if len(silent) > 0 && !watched {
		d.settleUnwatched(site, silent)
	}
	for _, src := range silent {
		d.settlePi(site, src, watched)
	}
	if len(silent) == 0 && len(off) > 0 && !watched && !returns {
		d.settleOffPis(site, off)
	}
}

// settleOffPis says once that nobody watches the power where the last Pi was switched off as
// announced and is not back by when one that is restarted would have to be (rule N5).
func (d *decider) settleOffPis(site *Site, off []*Source) {
	slices.SortFunc(off, func(a, b *Source) int { return strings.Compare(a.Name, b.Name) })
	last, since := lastOf(off), time.Time{}
	for _, src := range off {
		since = later(since, d.silentSince(site, src))
	}
	if site.darkAsPlanned() { // it starts with the others when the power is back
		since = later(since, site.livesSince())
	}
	n := &Noticed{Site: site.Name, About: aboutOffPis + site.Name, As: last.UTC().Format(time.RFC3339), Severity: routing.Warning}
	if d.Told[n.About] == n.As || !site.lives() || !d.due(d.heardBy(since, d.cfg.Times.Return)) {
		return
	}
	was := " was switched off, as it had announced, and is"
	if len(off) > 1 {
		was = " were switched off, as they had announced, and are"
	}
	n.Text = fmt.Sprintf("%s%s not back after %s; nobody watches the power at %s meanwhile", list(namesOf(off)), was, power.Spell(d.now.Sub(last)), site.Name)
	d.emit(n)
}

// settleUnwatched calls once no Pi was heard for long. On battery a lost UPS is danger, and
// begins the plan (rule U5).
func (d *decider) settleUnwatched(site *Site, silent []*Source) {
	_, on := site.OnBattery()
	if on && d.open(site.Name, PowerOutage) != nil {
		on = d.outageAt(site, lastOf(silent)) != nil
	}
	if on || d.cfg.Times.PiCall <= 0 {
		return
	}
	since := time.Time{}
	for _, src := range silent {
		since = later(since, d.silentSince(site, src))
	}
	if d.due(d.heardBy(since, d.cfg.Times.PiCall)) {
		d.nobodyWatches(site, silent)
	}
}

// elsewhere reports whether a Pi's silence says nothing about the Pi: its site is out of
// reach.
func (d *decider) elsewhere(site *Site) bool {
	return d.open(site.Name, InternetOutage) != nil || d.behindTailnet(site)
}

// explained reports whether an incident that goes on explains the source's silence.
func (d *decider) explained(src *Source) bool {
	i := d.Incidents[src.Incident]
	return i != nil && i.Open() && i.Kind != Unwatched
}

// silentSince is since when a silent source could have been heard and was not.
func (d *decider) silentSince(site *Site, src *Source) time.Time {
	return later(later(src.Last, d.attending), site.joined)
}

// heardBy is when a silence since a moment has lasted for so long, and who is back since the last
// stop would have been heard.
func (d *decider) heardBy(since time.Time, lasts time.Duration) time.Time {
	return later(since.Add(lasts), d.hearing.Add(d.cfg.Times.Silence))
}

func (d *decider) settlePi(site *Site, src *Source, watched bool) {
	if i := d.open(site.Name, Unwatched); i != nil && slices.Contains(i.Nodes, src.Name) {
		return // told already
	}
	n := &Noticed{Site: site.Name, About: aboutSilentPi + src.Name, As: src.Last.UTC().Format(time.RFC3339), Severity: routing.Warning}
	if d.cfg.Times.PiNotice <= 0 || d.Told[n.About] == n.As || !site.lives() || !d.due(d.heardBy(d.silentSince(site, src), d.cfg.Times.PiNotice)) {
		return
	}
	n.Text = fmt.Sprintf("%s has not been heard for %s, while nodes there are; ", src.Name, power.Spell(d.now.Sub(src.Last)))
	if watched {
		n.Text += "another Pi watches the power meanwhile"
	} else {
		n.Text += "nobody watches the power meanwhile"
	}
	d.emit(n)
}

// lives reports whether a node of the site is heard.
func (s *Site) lives() bool {
	for _, src := range s.Sources {
		if src.Role != Pi && src.Condition == Up {
			return true
		}
	}
	return false
}

// calledAbout reports whether people were called about the nodes of a site, none of which is
// heard, with its Pis' silence or later: who looks after them finds the Pis as well. After a
// call of long before, or none, nobody does.
func (d *decider) calledAbout(site *Site, silent []*Source) bool {
	i := d.open(site.Name, NodeFailure)
	return i != nil && site.down() && !d.hushed(i) && later(i.Opened, i.Alarmed).After(lastOf(silent).Add(-d.cfg.Times.PiCall))
}

// lastOf is the last word of several.
func lastOf(silent []*Source) time.Time {
	last := time.Time{}
	for _, src := range silent {
		last = later(last, src.Last)
	}
	return last
}

// down reports whether nodes of the site have failed, and none is heard.
func (s *Site) down() bool {
	if s.lives() {
		return false
	}
	for _, src := range s.Sources {
		if src.Role != Pi && src.Condition == Failed {
			return true
		}
	}
	return false
}

// hasPi reports whether a Pi of the site is heard.
func (s *Site) hasPi() bool {
	for name := range s.watched {
		if src := s.Sources[name]; src != nil && src.Role == Pi && src.Condition == Up {
			return true
		}
	}
	return false
}

// nobodyWatches calls about a site whose last Pi is silent.
func (d *decider) nobodyWatches(site *Site, silent []*Source) {
	names := namesOf(silent)
	since := lastOf(silent)
	has := "has"
	if len(names) > 1 {
		has = "have"
	}
	why := fmt.Sprintf("nobody watches the power at %s: %s %s not been heard for %s", site.Name, list(names), has, power.Spell(d.now.Sub(since)))
	i := d.open(site.Name, Unwatched)
	if i == nil {
		if i = d.recent(site.Name, Unwatched, names); i != nil {
			d.reopen(i, why)
		}
	}
	if i == nil {
		i = d.Incidents[d.openIncident(&IncidentOpened{Site: site.Name, Kind: Unwatched, Since: since, Nodes: names, Why: why}, "unwatched")]
	}
	for _, n := range names {
		if !slices.Contains(i.Nodes, n) {
			d.join(i, n, "it has not been heard either")
		}
	}
}
