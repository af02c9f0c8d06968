package sentinel

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
)

// watchAtMost bounds mutes and maintenance: they always end (rule H9).
const watchAtMost = 30 * 24 * time.Hour

// Muted reports whether the source's failures call nobody for now.
func (s *Source) Muted() bool { return !s.MutedUntil.IsZero() }

// maintained is until when a source may come and go, by itself or with its whole site;
// zero: it may not.
func (s *Site) maintained(src *Source) time.Time {
	return later(s.MaintainedUntil, src.MaintainedUntil)
}

// covered are the sources that a maintenance is about.
func (s *Site) covered(name string) []*Source {
	if name != "" {
		return []*Source{s.Sources[name]}
	}
	all := slices.Sorted(maps.Keys(s.Sources))
	srcs := make([]*Source, 0, len(all))
	for _, n := range all {
		srcs = append(srcs, s.Sources[n])
	}
	return srcs
}

// known finds a site and, with a name, a source of it, and reports whether they are there.
func (d *decider) known(site, name string) (*Site, bool) {
	s := d.Sites[site]
	return s, s != nil && (name == "" || s.Sources[name] != nil)
}

// mute keeps a node's failures from calling anybody for a while (rule H9).
func (d *decider) mute(in Mute) {
	if _, ok := d.known(in.Site, in.Name); ok && in.Name != "" && in.For > 0 {
		span := min(in.For, watchAtMost)
		d.emit(&Muted{Site: in.Site, Name: in.Name, By: in.By, Until: d.now.Add(span), For: span, Cut: span < in.For})
	}
}

func (d *decider) unmute(in Unmute) {
	if site, ok := d.known(in.Site, in.Name); ok && in.Name != "" && site.Sources[in.Name].Muted() {
		d.endMute(site, site.Sources[in.Name], in.By+" said so")
	}
}

// endMute lets a node's failures call again, also the one that goes on, unless an outage
// explains it by now. While nobody knows whose fault a silence is, it waits (rule N3).
func (d *decider) endMute(site *Site, src *Source, why string) {
	if src.Condition == Failed && d.unsure(site) {
		d.emit(&Unmuted{Site: site.Name, Name: src.Name, Why: why, Waits: true})
		return
	}
	folded, own := d.foldMuted(site, src)
	var hushed []*Incident
	for _, i := range d.OpenIncidents() {
		if i.Site == site.Name && i.Answered == "" && slices.Contains(i.Nodes, src.Name) && d.hushed(i) {
			hushed = append(hushed, i)
		}
	}
	d.emit(&Unmuted{Site: site.Name, Name: src.Name, Why: why})
	if src.Condition != Failed {
		return
	}
	for _, i := range hushed {
		d.emit(&IncidentReminded{ID: i.ID, Why: src.Name + " is no longer muted, and still silent"})
	}
	if src.Role == Node && !folded {
		d.count(site, "stayed silent until the mute was over"+own)
	}
}

// unsure reports whether it is not known whether a silence at a site is its own fault.
func (d *decider) unsure(site *Site) bool { return !d.Blind.IsZero() || site.doubt != nil }

// foldMuted makes a muted failure, which counted for nothing until now, part of the outage
// that explains it, if there is one (rules U8, N9). What it gives otherwise is to be said of
// the failure.
func (d *decider) foldMuted(site *Site, src *Source) (folded bool, own string) {
	if n := len(src.Failures); src.Condition != Failed || src.Incident != "" || n == 0 || src.Failures[n-1].Told {
		return false, ""
	}
	i, why := d.explains(site, src, src.Last)
	if i == nil {
		return false, why
	}
	d.emit(&SourceFailed{Site: site.Name, Name: src.Name, Last: src.Last, Incident: i.ID, Why: why})
	d.join(i, src.Name, why)
	return true, ""
}

// mutedFailure says once in each mute that the node failed and nobody is called.
func (d *decider) mutedFailure(site *Site, src *Source) {
	n := &Noticed{Site: site.Name, About: aboutMuted + src.Name, As: src.MutedUntil.UTC().Format(time.RFC3339)}
	if src.Condition != Failed || !src.Since.Equal(d.now) || d.Told[n.About] == n.As {
		return
	}
	n.Text = fmt.Sprintf("%s failed; it is muted for %s more, so nobody is called", src.Name, power.Spell(src.MutedUntil.Sub(d.now)))
	d.emit(n)
}

// maintain lets a node or a whole site come and go for a while (rule H9). What is down
// already is down as planned from now on.
func (d *decider) maintain(in Maintain) {
	site, ok := d.known(in.Site, in.Name)
	if !ok || in.For <= 0 {
		return
	}
	span := min(in.For, watchAtMost)
	d.emit(&MaintenanceBegan{Site: in.Site, Name: in.Name, By: in.By, Until: d.now.Add(span), For: span, Cut: span < in.For})
	if in.Name == "" {
		d.excuseAll(site, in.By)
	}
	for _, src := range site.covered(in.Name) {
		d.excuse(site, src, "was put into maintenance by "+in.By)
	}
}

// excuseAll ends what is open about a site's sources: all of them may come and go now.
func (d *decider) excuseAll(site *Site, by string) {
	for _, i := range d.OpenIncidents() {
		if i.Site == site.Name && i.Kind != PowerOutage {
			d.resolve(i, fmt.Sprintf("all of %s was put into maintenance by %s; it lasted %s", site.Name, by, power.Spell(d.now.Sub(i.Since))))
		}
	}
}

// excuse lets a source that is silent be so until its maintenance ends.
func (d *decider) excuse(site *Site, src *Source, did string) {
	until := site.maintained(src)
	switch {
	case src.Condition == Failed:
	case src.Condition == Off && src.Maintained && !src.BackBy.Equal(until):
	case src.Condition == Off && !src.Maintained && !src.BackBy.IsZero() && src.BackBy.Before(until):
	default:
		return
	}
	failed := src.Condition == Failed
	d.emit(&SourceLeft{Site: site.Name, Name: src.Name, Last: src.Last, BackBy: until, Maintenance: true, Why: "it is in maintenance"})
	if failed {
		d.takeOut(site, src.Name, did)
	}
}

func (d *decider) maintained(in Maintained) {
	site, ok := d.known(in.Site, in.Name)
	if !ok {
		return
	}
	until := site.MaintainedUntil
	if in.Name != "" {
		until = site.Sources[in.Name].MaintainedUntil
	}
	if until.IsZero() {
		return
	}
	d.endMaintenance(site, in.Name, in.By+" said so")
	for _, src := range site.covered(in.Name) {
		if src.Condition != Off || !src.Maintained {
			continue
		}
		back := &SourceLeft{Site: in.Site, Name: src.Name, Last: src.Last, BackBy: site.maintained(src), Maintenance: true, Why: "it is in maintenance"}
		if back.BackBy.IsZero() {
			back.BackBy = d.now.Add(d.cfg.Times.Silence)
			back.Why = "its maintenance has just ended; it has " + power.Spell(d.cfg.Times.Silence) + " to be heard"
		}
		if !back.BackBy.Equal(src.BackBy) {
			d.emit(back)
		}
	}
}

func (d *decider) endMaintenance(site *Site, name, why string) {
	d.emit(&MaintenanceEnded{Site: site.Name, Name: name, Why: why})
	site.lookAt(d.now)
}

// deleted forgets a source until it is heard again (rule H9).
func (d *decider) deleted(in Delete) {
	site, ok := d.known(in.Site, in.Name)
	if !ok || in.Name == "" {
		return
	}
	d.takeOut(site, in.Name, "was deleted by "+in.By)
	sc := d.cfg.site(in.Site)
	d.emit(&SourceDeleted{Site: in.Site, Name: in.Name, By: in.By, Unlisted: sc == nil || !sc.lists(in.Name)})
}

// takeOut ends a source's part in what is open. An incident that was about nothing else
// is over. A power outage is about the power, and goes on.
func (d *decider) takeOut(site *Site, name, did string) {
	for _, i := range d.OpenIncidents() {
		switch {
		case i.Site != site.Name || i.Kind == PowerOutage || !slices.Contains(i.Nodes, name):
		case len(i.Nodes) > 1:
			d.emit(&IncidentLeft{ID: i.ID, Node: name, Why: "it " + did})
		default:
			d.resolve(i, fmt.Sprintf("%s %s; it lasted %s", name, did, power.Spell(d.now.Sub(i.Since))))
		}
	}
}

// settleWatch ends mutes and maintenance in their time. Who is silent when a mute ends
// counts from then, so after a start it is listened for first (rule H8).
func (d *decider) settleWatch(site *Site, names []string) {
	if until := site.MaintainedUntil; !until.IsZero() && d.due(until) {
		d.endMaintenance(site, "", "its "+power.Spell(site.MaintainedFor)+" are over")
	}
	for _, name := range names {
		src := site.Sources[name]
		if src == nil {
			continue
		}
		if until := src.MaintainedUntil; !until.IsZero() && d.due(until) {
			d.endMaintenance(site, name, "its "+power.Spell(src.MaintainedFor)+" are over")
		}
		if until := src.MutedUntil; src.Muted() {
			why := "its " + power.Spell(src.MutedFor) + " are over"
			if src.MutedFor == 0 {
				why = "its time is over"
			}
			if src.Condition == Failed {
				until = later(until, d.hearing.Add(d.cfg.Times.Silence))
			}
			if (src.Condition != Failed || !d.unsure(site)) && d.due(until) { // else the verdict looks again
				d.endMute(site, src, why)
			}
		}
	}
}
