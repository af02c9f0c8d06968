package sentinel

import (
	"slices"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

// toldByPlan reports whether the plan told a node to go down in the outage that is open.
func (d *decider) toldByPlan(site *Site, node string) bool {
	i, c := d.open(site.Name, PowerOutage), d.cause(site)
	return i != nil && site.toldIn(i, node) || c != nil && site.toldIn(c, node)
}

// toldIn reports whether the run of an outage, the brain's or a Pi's, told a node to go down.
// One that has started since was told nothing in the boot it is in now.
func (s *Site) toldIn(i *Incident, node string) bool {
	if src := s.Sources[node]; src != nil && src.ToldBoot != "" && src.ToldBoot != src.Boot {
		return false
	}
	byPi := func(r *shutdown.Status, at time.Time) bool {
		return !r.DryRun && !at.Before(i.Since) &&
			slices.ContainsFunc(r.Targets, func(o shutdown.Outcome) bool { return o.Name == node && wasTold(o) })
	}
	if s.PiRun != nil && byPi(s.PiRun, s.PiRunAt) {
		return true
	}
	for _, k := range s.PiRuns {
		if byPi(&k.Run, k.At) {
			return true
		}
	}
	return s.Run != nil && (s.RunIncident == i.ID || s.RunCause == i.ID) && slices.ContainsFunc(s.Run.Targets, func(p *shutdown.Progress) bool {
		return p.Target.Kind.Machine() && p.Target.Node == node && (p.Accepted || p.Down)
	})
}

// toldNode makes a node that the plan told part of the outage (rule U8).
func (d *decider) toldNode(site *Site, target string) {
	if i := d.Incidents[site.RunIncident]; i != nil && i.Kind == NodeFailure {
		return // it did not fail
	}
	for _, p := range site.Run.Current() {
		if p.Target.ID() == target && p.Target.Kind.Machine() {
			d.emit(&IncidentJoined{ID: site.RunIncident, Node: p.Target.Node, Why: "the plan told it to shut down", Planned: true})
		}
	}
}

// toldByPi notes whom a Pi's run has told since it was last heard of, and in which boot: its word
// may come once the node is back from it.
func (s *State) toldByPi(site *Site, known *KnownRun, run shutdown.Status) {
	for _, o := range run.Targets {
		before := known != nil && known.Run.ID == run.ID && slices.ContainsFunc(known.Run.Targets, func(b shutdown.Outcome) bool {
			return b.Kind == o.Kind && b.Name == o.Name && wasTold(b)
		})
		if run.DryRun || !wasTold(o) || before {
			continue
		}
		if src := site.Sources[o.Name]; src != nil && len(src.Left) > 0 && (o.State == "down" || !run.State.Open()) && s.backSince(site, src) {
			src.ToldBoot = src.Left[len(src.Left)-1]
			continue
		}
		site.toldToGo(o.Name)
	}
}

// backSince reports whether a node is up in a boot that began in the last outage of its site, or
// after it.
func (s *State) backSince(site *Site, src *Source) bool {
	var last *Incident
	for _, i := range s.Incidents {
		if i.Site == site.Name && (i.Kind == PowerOutage || i.Kind == InternetOutage) && (last == nil || byOpening(last, i) < 0) {
			last = i
		}
	}
	return src.Condition == Up && last != nil && src.Booted.After(last.Since)
}

// toldToGo notes in which of its boots a node was told to go down.
func (s *Site) toldToGo(node string) {
	if src := s.Sources[node]; src != nil {
		src.ToldBoot = src.Boot
	}
}

// wasTold reports whether a Pi's run told a node to go down.
func wasTold(o shutdown.Outcome) bool {
	return o.Kind.Machine() && slices.Contains([]string{"told", "late", "down"}, o.State)
}
