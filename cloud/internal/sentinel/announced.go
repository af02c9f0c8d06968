package sentinel

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/shared/power"
)

// Restart is what a Pi announces when its program ends: it is told as no kind of systemd's, since
// whether the machine restarts too is seen by its next boot alone.
const Restart = "restart"

func (d *decider) announced(in Announced) {
	site := d.site(in.Site)
	in.Name = site.machine(in.Name, in.Boot)
	src := site.Sources[in.Name]
	if src != nil && repeats(src.Said, in.Boot, in.Seq) || src == nil && repeats(site.Gone[in.Name], in.Boot, in.Seq) {
		return // also one that an earlier process took
	}
	if in.Kind == "cancelled" {
		switch {
		case src == nil:
		case src.Announced != nil && src.Announced.Boot == in.Boot, src.Ahead != nil && src.Ahead.Boot == in.Boot:
			d.emit(&ShutdownCancelled{Site: in.Site, Name: in.Name, Boot: in.Boot, Why: "the node said so", Seq: in.Seq, Silence: d.cfg.Times.Silence})
			if src.Condition == Off && !site.maintained(src).IsZero() { // it may be off until then all the same
				d.excuse(site, src, "")
			}
		default:
			d.overtakes(in)
		}
		return
	}
	at := d.now.Add(-in.Age)
	if src == nil && at.Before(site.GoneAt[in.Name]) {
		d.overtakes(in)
		return // a word of before it was deleted is no sign of life (rule H9)
	}
	unheard := src == nil || src.Condition != Up // no heartbeat will end
	if src == nil || src.Condition == Pending {
		d.emit(&SourceAppeared{Site: in.Site, Name: in.Name, Role: d.role(site, in.Name), Boot: in.Boot, Via: in.Via})
		src = site.Sources[in.Name]
	}
	if a := src.Announced; a != nil && a.Boot == in.Boot && a.Kind == in.Kind {
		if d.overtakes(in); a.ID != in.ID && src.Condition == Up {
			src.restartRunning(d.now) // its heartbeats since the first word say nothing about this one
		}
		return // the same, by another route or from another process, or once more
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
	if explains && incident != nil && !incident.failedOtherwise(src) {
		d.withdraw(incident, src, in)
	}
}

// failedOtherwise reports whether a source failed in an incident, as it stands since it was
// last opened, for another reason than those that were taken back: an announcement explains
// the silence of its own boot alone (rule A7).
func (i *Incident) failedOtherwise(src *Source) bool {
	opened := later(i.Opened, i.Reopened)
	return src.Condition == Failed || slices.ContainsFunc(src.Failures, func(f Failure) bool { return f.Told && !f.At.Before(opened) })
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

// left lets a source fall silent in peace that announced it, or is in maintenance (rules
// A4, H9). In maintenance all must be back by its end, also what was switched off.
func (d *decider) left(site *Site, src *Source, last time.Time) {
	f := &SourceLeft{Site: site.Name, Name: src.Name, Last: last}
	if a := src.Announced; a != nil {
		f.Why = "it had announced its " + a.Kind
		if a.Returns {
			from := last
			if a.At.Sub(last) > d.cfg.Times.Silence { // it was taken for dead, and lived
				from = a.At
			}
			f.BackBy = later(from.Add(d.cfg.Times.Return), d.now.Add(d.cfg.Times.Silence)) // who is back is heard by then
		}
	}
	if until := site.maintained(src); !until.IsZero() {
		f.Maintenance, f.BackBy, f.Why = true, later(f.BackBy, until), "it is in maintenance"
	}
	d.emit(f)
}

// role is what a source is that speaks for the first time.
func (d *decider) role(site *Site, name string) Role {
	if src := site.Sources[name]; src != nil {
		return src.Role
	}
	if sc := d.cfg.site(site.Name); sc != nil && slices.Contains(sc.Pis, name) || d.Keys[name].Role == Pi {
		return Pi
	}
	return Node
}

// machine is the source that a boot under a name is of: a clone's goes to the clone (rule
// H11).
func (s *Site) machine(name, boot string) string {
	if src := s.Sources[name]; src == nil || src.Boot == boot {
		return name
	}
	for _, src := range s.Sources {
		if src.CloneOf == name && src.Boot == boot {
			return src.Name
		}
	}
	return name
}

func (d *decider) systemState(in SystemState) {
	site := d.site(in.Site)
	src := site.Sources[site.machine(in.Name, in.Boot)]
	if src == nil || src.Boot != in.Boot {
		return
	}
	src.system = in.State
	src.stops(d.now)
	d.note(in.Site, src.Name)
	switch {
	case !calm(in.State):
		src.running = time.Time{}
	case src.Announced != nil && src.running.IsZero():
		src.running = d.now
	}
}

// stops notes since when a host has been shutting down without an interruption.
func (s *Source) stops(now time.Time) {
	switch {
	case s.system != "stopping":
		s.stopping = time.Time{}
	case s.stopping.IsZero():
		s.stopping = now
	}
}

// restartClocks forgets how long a source has been what it is (rule H8).
func (s *Source) restartClocks(now time.Time) {
	s.restartRunning(now)
	s.expected = time.Time{}
	if s.Condition == Pending {
		s.expected = now
	}
}

// restartRunning has a source's heartbeats count from now: against its announcement, if
// they last said that it runs, or as a shutdown that takes long (rule A5).
func (s *Source) restartRunning(now time.Time) {
	s.stopping = time.Time{}
	s.stops(now)
	s.running = time.Time{}
	if s.Announced != nil && calm(s.system) {
		s.running = now
	}
}

// calm are systemd's states of a host that is not going down.
func calm(state string) bool { return state == "running" || state == "degraded" }

// settleSources sees to what time brings to sources: ends of mutes and maintenance,
// promised returns, and silences and states that last.
func (d *decider) settleSources(site *Site) {
	names := slices.Sorted(maps.Keys(site.watched))
	d.settleAway(site)
	d.settleWatch(site, names)
	var late []*Source
	for _, name := range names {
		src := site.Sources[name]
		if src == nil {
			continue
		}
		if d.overdue(site, src) {
			late = append(late, src)
		}
		d.settleAnnounced(site, src)
		d.settleStopping(site, src)
	}
	d.notBack(site, late)
	d.settleMissing(site)
}

// overdue reports whether a source that is off should be back (rules A4, H9). After a
// start there is time to hear it first (rule H8), and after the site was behind an outage of
// the tailnet, during which nobody could.
func (d *decider) overdue(site *Site, src *Source) bool {
	if site.away || src.Condition != Off || src.BackBy.IsZero() {
		return false
	}
	return d.due(later(src.BackBy, later(d.hearing, site.reached).Add(d.cfg.Times.Silence)))
}

// notBack lets sources fail that are off for longer than they may be. An outage that is
// open explains them (rule U8).
func (d *decider) notBack(site *Site, late []*Source) {
	counted := map[string]int{}
	for _, src := range late {
		what := "did not come back from its maintenance"
		switch {
		case src.Maintained:
		case src.Announced != nil:
			what = fmt.Sprintf("did not come back from its %s within %s", src.Announced.Kind, power.Spell(d.cfg.Times.Return))
		default:
			what = "sent nothing since it took its shutdown back"
		}
		f := &SourceFailed{Site: site.Name, Name: src.Name, Last: src.Last, Why: "it " + what, Window: d.cfg.Times.Window}
		i, why := d.explains(site, src, src.Last)
		if i != nil {
			f.Incident, f.Why = i.ID, f.Why+"; "+why
		}
		d.emit(f)
		if i != nil {
			d.join(i, src.Name, f.Why)
		} else if src.Role == Node {
			counted[what]++
		}
	}
	for _, what := range slices.Sorted(maps.Keys(counted)) {
		if counted[what] > 1 {
			what = strings.NewReplacer(" it ", " they ", " its ", " their ").Replace(what)
		}
		d.count(site, what)
	}
}

// settleAnnounced takes an announcement back when heartbeats say that the host stays up
// after all (rule A5).
func (d *decider) settleAnnounced(site *Site, src *Source) {
	// Up, so its last word is younger than Silence: only then were there heartbeats for all
	// of Cancel.
	if src.Condition == Up && src.Announced != nil && !src.running.IsZero() && d.due(src.running.Add(d.cfg.Times.Cancel+d.cfg.Times.Silence)) {
		why := fmt.Sprintf("its heartbeats have said %s for %s since", src.system, power.Spell(d.cfg.Times.Cancel))
		if src.Announced.Kind == Restart {
			why = "its program alone was restarted"
		}
		d.emit(&ShutdownCancelled{Site: site.Name, Name: src.Name, Boot: src.Boot, Why: why})
	}
}
