package sentinel

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
)

func (d *decider) announced(in Announced) {
	site := d.site(in.Site)
	src := site.Sources[in.Name]
	if src != nil && src.repeats(in.Boot, in.Seq) {
		return // also one that an earlier process took
	}
	if in.Kind == "cancelled" {
		switch {
		case src == nil:
		case src.Announced != nil && src.Announced.Boot == in.Boot, src.Ahead != nil && src.Ahead.Boot == in.Boot:
			d.emit(&ShutdownCancelled{Site: in.Site, Name: in.Name, Boot: in.Boot, Why: "the node said so", Seq: in.Seq})
		default:
			d.overtakes(in)
		}
		return
	}
	at := d.now.Add(-in.Age)
	unheard := src == nil || src.Condition != Up // no heartbeat will end
	if src == nil || src.Condition == Pending {
		d.emit(&SourceAppeared{Site: in.Site, Name: in.Name, Role: Node, Boot: in.Boot, Via: in.Via})
		src = site.Sources[in.Name]
	}
	if a := src.Announced; a != nil && a.Boot == in.Boot && a.Kind == in.Kind {
		d.overtakes(in)
		return // the same, by another route or from another process
	}
	explains := slices.ContainsFunc(src.Failures, func(f Failure) bool { return f.explainedBy(in.Boot, at) })
	switch {
	case src.Boot == in.Boot || explains:
	case src.mayBoot(in): // it may have overtaken the first heartbeat of its boot
		d.emit(&ShutdownAnnounced{Site: in.Site, Name: in.Name, Boot: in.Boot, ID: in.ID, Kind: in.Kind,
			Returns: in.Returns, Via: in.Via, Age: in.Age, Seq: in.Seq, Ahead: true})
		return
	default:
		d.overtakes(in)
		return // of a boot that is over: it explains nothing any more
	}
	incident := d.incidentOf(site, src)
	d.emit(&ShutdownAnnounced{Site: in.Site, Name: in.Name, Boot: in.Boot, ID: in.ID, Kind: in.Kind,
		Returns: in.Returns, Via: in.Via, Age: in.Age, Seq: in.Seq})
	if src.Boot == in.Boot {
		switch {
		case src.Condition != Up:
			d.left(site, src, src.Last)
		case unheard:
			d.left(site, src, at)
		default:
			src.restartRunning(d.now)
		}
	}
	if explains && incident != nil {
		d.withdraw(incident, src, in)
	}
}

// mayBoot reports whether an announcement may be of a boot that is not heard of yet: a Pi
// tells of one with its next heartbeat, but relays an announcement at once. It counts from
// that heartbeat on, and explains nothing until then: it may as well be an old one that
// somebody held back (rule A7).
func (src *Source) mayBoot(in Announced) bool {
	again := src.Ahead != nil && src.Ahead.Boot == in.Boot && src.Ahead.Kind == in.Kind
	return in.Age <= aheadAtMost && !again && !slices.Contains(src.Left, in.Boot)
}

// overtakes keeps an announcement that changes nothing now from counting later, when it
// comes again.
func (d *decider) overtakes(in Announced) {
	if in.Seq != 0 {
		d.emit(&AnnouncementSeen{Site: in.Site, Name: in.Name, Boot: in.Boot, Seq: in.Seq})
	}
}

// withdraw takes a failure back that an announcement explains after all (rule A6).
func (d *decider) withdraw(i *Incident, src *Source, in Announced) {
	why := fmt.Sprintf("%s had announced its %s %s before; the announcement arrived late", src.Name, in.Kind, power.Spell(in.Age))
	if in.Via != "" {
		why += " through " + in.Via
	}
	if len(i.Nodes) > 1 {
		d.emit(&IncidentLeft{ID: i.ID, Node: src.Name, Why: why})
		return
	}
	d.emit(&IncidentWithdrawn{ID: i.ID, Why: why})
	d.dropCalls(i, why)
}

func (d *decider) incidentOf(site *Site, src *Source) *Incident {
	for _, i := range d.OpenIncidents() {
		if i.Site == site.Name && i.Kind == NodeFailure && slices.Contains(i.Nodes, src.Name) {
			return i
		}
	}
	return nil
}

// left lets an announced node fall silent in peace (rule A4).
func (d *decider) left(site *Site, src *Source, last time.Time) {
	f := &SourceLeft{Site: site.Name, Name: src.Name, Last: last, Why: "it had announced its " + src.Announced.Kind}
	if src.Announced.Returns {
		f.BackBy = last.Add(d.cfg.Times.Return)
	}
	d.emit(f)
}

func (d *decider) systemState(in SystemState) {
	src := d.site(in.Site).Sources[in.Name]
	if src == nil || src.Boot != in.Boot {
		return
	}
	src.system = in.State
	switch {
	case !calm(in.State):
		src.running = time.Time{}
	case src.Announced != nil && src.running.IsZero():
		src.running = d.now
	}
}

// restartRunning has an announced source's heartbeats count from now against its
// announcement, if they last said that it runs (rule A5).
func (s *Source) restartRunning(now time.Time) {
	s.running = time.Time{}
	if s.Announced != nil && calm(s.system) {
		s.running = now
	}
}

// calm are systemd's states of a host that is not going down.
func calm(state string) bool { return state == "running" || state == "degraded" }

// settleAnnounced sees to what an announcement promised: a return in time, or heartbeats
// that say the host stays up after all (rules A4, A5).
func (d *decider) settleAnnounced(site *Site) {
	for _, name := range slices.Sorted(maps.Keys(site.watched)) {
		src := site.Sources[name]
		switch {
		case src.Condition == Off && !src.BackBy.IsZero() && d.due(src.BackBy):
			what := fmt.Sprintf("did not come back from its %s within %s", src.Announced.Kind, power.Spell(d.cfg.Times.Return))
			d.emit(&SourceFailed{Site: site.Name, Name: name, Last: src.Last, Why: "it " + what})
			d.count(site, what)
		// Up, so its last word is younger than Silence: only then were there heartbeats for
		// all of Cancel.
		case src.Condition == Up && src.Announced != nil && !src.running.IsZero() && d.due(src.running.Add(d.cfg.Times.Cancel+d.cfg.Times.Silence)):
			d.emit(&ShutdownCancelled{Site: site.Name, Name: name, Boot: src.Boot,
				Why: fmt.Sprintf("its heartbeats have said %s for %s since", src.system, power.Spell(d.cfg.Times.Cancel))})
		}
	}
}
