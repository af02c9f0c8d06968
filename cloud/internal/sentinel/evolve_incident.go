package sentinel

import (
	"slices"
	"time"
)

func (s *State) evolveIncident(at time.Time, f Fact) {
	switch f := f.(type) {
	case *IncidentOpened:
		s.Incidents[f.ID] = &Incident{ID: f.ID, Site: f.Site, Kind: f.Kind, Since: f.Since, Opened: at,
			Nodes: slices.Clone(f.Nodes), UPS: f.UPS, Lost: Worsening{UPSes: slices.Clone(f.UPSes), Broken: f.Broken}, Why: f.Why, Worse: slices.Clone(f.Worse)}
		s.tell(f.Site, f.Kind, f.Nodes)
		s.forgetOld(at)
	case *IncidentReopened:
		if i := s.Incidents[f.ID]; i != nil {
			i.wentOn()
			i.Reopened, i.Alarmed, i.Alarm, i.Worsened, i.Resolved, i.Outcome, i.Worse = at, at, "", false, time.Time{}, "", slices.Clone(f.Worse)
			if len(f.Nodes) > 0 {
				i.Nodes = slices.Clone(f.Nodes)
			}
			if !f.Since.IsZero() {
				i.Since = f.Since
			}
			s.tell(i.Site, i.Kind, i.Nodes)
			s.settled(i)
		}
	case *IncidentJoined:
		if i := s.Incidents[f.ID]; i != nil {
			if !slices.Contains(i.Nodes, f.Node) {
				i.Nodes = append(i.Nodes, f.Node)
				if !f.Planned {
					i.joins(at, f.Node)
				}
			}
			s.tell(i.Site, i.Kind, []string{f.Node})
			if src := s.site(i.Site).Sources[f.Node]; src != nil && i.Kind != NodeFailure {
				src.Incident = i.ID
			}
		}
	case *IncidentLeft:
		if i := s.Incidents[f.ID]; i != nil {
			i.Nodes = slices.DeleteFunc(i.Nodes, func(n string) bool { return n == f.Node })
			s.said(i.ID, []string{f.Node})
		}
	case *IncidentAnswered:
		if i := s.Incidents[f.ID]; i != nil {
			i.Answered = f.By
			s.settled(i)
		}
	case *IncidentWorse:
		if i := s.Incidents[f.ID]; i != nil {
			i.Worse = append(i.Worse, f.What)
			i.alarm(at, f.Why)
			i.Worsened, i.Worst = true, Worsening{f.What, slices.Clone(f.UPSes), f.Broken}
		}
	case *IncidentReminded:
		if i := s.Incidents[f.ID]; i != nil {
			i.Alarmed, i.Alarm, i.Worsened = at, f.Why, false
			s.settled(i)
		}
	case *IncidentBecame:
		if i := s.Incidents[f.ID]; i != nil {
			i.Kind, i.UPS, i.Why = f.Kind, f.UPS, f.Why
			if !f.Since.IsZero() {
				i.Since = f.Since
			}
			if f.Calls {
				i.alarm(at, f.Why)
			}
		}
	case *Noticed:
		if f.About != "" {
			s.Told[f.About], s.ToldAt[f.About] = f.As, at
		}
	case *IncidentResolved:
		if i := s.Incidents[f.ID]; i != nil {
			i.Resolved, i.Outcome = at, f.Why
			s.settled(i)
		}
	case *IncidentWithdrawn:
		if i := s.Incidents[f.ID]; i != nil {
			i.Resolved, i.Outcome, i.Nodes = at, f.Why, nil
			s.settled(i)
		}
	}
}

// wentOn remembers when an incident that goes on again went on before.
func (i *Incident) wentOn() {
	if i.Open() {
		return
	}
	i.Earlier = append(i.Earlier, Gap{i.began(), i.Resolved})
	i.Earlier = i.Earlier[max(0, len(i.Earlier)-gapsKept):]
}

// began is when it last began.
func (i *Incident) began() time.Time {
	if n := len(i.Earlier); n > 0 && !i.Earlier[n-1].To.Before(i.Since) { // it began anew when it was reopened
		return i.Reopened
	}
	return i.Since
}

// alarm has people called anew, also those who have answered. A call's text is made when it
// is requested: whoever takes one from before has not heard of it.
func (i *Incident) alarm(at time.Time, why string) {
	i.Alarmed, i.Alarm, i.Worsened, i.Held = at, why, false, nil
	for _, c := range i.Calls {
		c.Stale = true
	}
	if i.Answered != "" {
		i.Known, i.Answered = i.Answered, ""
	}
}

// tell marks the failures of nodes as told: they don't count again (rule H3).
func (s *State) tell(site string, kind IncidentKind, nodes []string) {
	if kind != NodeFailure {
		return
	}
	for _, n := range nodes {
		if src := s.site(site).Sources[n]; src != nil {
			for i := range src.Failures {
				src.Failures[i].Told = true
			}
		}
	}
}

func (s *State) forgetOld(at time.Time) {
	for id, i := range s.Incidents {
		if !i.Open() && at.Sub(i.Resolved) > incidentsKept {
			delete(s.Incidents, id)
		}
	}
}
