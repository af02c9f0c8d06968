package sentinel

import (
	"slices"
	"strings"
	"time"
)

// evolveWatch is how sources come to be watched, or not (rules H9 to H11).
func (s *State) evolveWatch(at time.Time, f Fact) {
	switch f := f.(type) {
	case *Muted:
		if src := s.site(f.Site).Sources[f.Name]; src != nil {
			src.MutedUntil, src.MutedFor = f.Until, f.For
		}
		s.note(f.Site, f.Name)
	case *Unmuted:
		switch src := s.site(f.Site).Sources[f.Name]; {
		case src == nil:
		case f.Waits:
			src.MutedUntil, src.MutedFor = at, 0
		default:
			src.unmute(at)
		}
		s.note(f.Site, f.Name)
	case *MaintenanceBegan:
		s.maintain(f.Site, f.Name, f.Until, f.For)
	case *MaintenanceEnded:
		s.maintain(f.Site, f.Name, time.Time{}, 0)
	case *SourceDeleted:
		s.forget(f.Site, f.Name)
		st := s.site(f.Site)
		if st.GoneAt == nil {
			st.GoneAt = map[string]time.Time{}
		}
		st.GoneAt[f.Name] = at
		if !f.Unlisted {
			if st.Deleted == nil {
				st.Deleted = map[string]bool{}
			}
			st.Deleted[f.Name] = true
		}
	case *SourceForgotten:
		delete(s.site(f.Site).Deleted, f.Name)
		s.forget(f.Site, f.Name)
	case *SourceExpected:
		s.site(f.Site).source(f.Name).Role = f.Role
		s.note(f.Site, f.Name)
	case *SiteForgotten:
		delete(s.Sites, f.Site)
	case *DirectLost:
		if src := s.site(f.Site).Sources[f.Name]; src != nil {
			src.OnlyBy = f.Via
		}
		s.note(f.Site, f.Name)
	case *DirectBack:
		if src := s.site(f.Site).Sources[f.Name]; src != nil {
			src.OnlyBy = ""
		}
		s.untell(aboutDirect+f.Site, f.Name)
		s.note(f.Site, f.Name)
	case *CloneSeen:
		s.site(f.Site).source(f.As).CloneOf = f.Name
	}
}

func (s *State) maintain(site, name string, until time.Time, span time.Duration) {
	st := s.site(site)
	if name == "" {
		st.MaintainedUntil, st.MaintainedFor = until, span
	} else if src := st.Sources[name]; src != nil {
		src.MaintainedUntil, src.MaintainedFor = until, span
	}
	s.note(site, name)
}

// unmute ends a mute. What was over before it ended calls nobody later; what goes on
// counts from now (rule H9).
func (src *Source) unmute(at time.Time) {
	src.MutedUntil, src.MutedFor = time.Time{}, 0
	goesOn := src.Condition == Failed && src.Incident == "" && len(src.Failures) > 0
	var last Failure
	if goesOn {
		last = src.Failures[len(src.Failures)-1]
	}
	src.Failures = slices.DeleteFunc(src.Failures, func(f Failure) bool { return !f.Told })
	if goesOn && !last.Told {
		last.At = at
		src.Failures = append(src.Failures, last)
	}
}

func (s *State) note(site, name string) { s.site(site).note(name) }

// note keeps the index of the sources of which something may come due.
func (s *Site) note(name string) {
	if src := s.Sources[name]; src != nil && src.waits() {
		s.watched[name] = true
	} else {
		delete(s.watched, name)
	}
}

func (src *Source) waits() bool {
	return src.Role == Pi || src.Announced != nil || src.Condition == Off && !src.BackBy.IsZero() ||
		src.Muted() || !src.MaintainedUntil.IsZero() || !src.stopping.IsZero()
}

// forget drops a source, its part in what is open, and what was told of it.
func (s *State) forget(site, name string) {
	st := s.site(site)
	if src := st.Sources[name]; src != nil && len(src.Said) > 0 {
		if st.Gone == nil {
			st.Gone = map[string][]Said{}
		}
		st.Gone[name] = src.Said
	}
	delete(st.Sources, name)
	delete(st.watched, name)
	for _, i := range s.Incidents {
		if i.Open() && i.Site == site {
			i.Nodes = slices.DeleteFunc(i.Nodes, func(n string) bool { return n == name })
		}
	}
	s.untell(aboutPending+site, name)
	s.untell(aboutDirect+site, name)
	for _, about := range []string{aboutMuted, aboutStopping, aboutSilentPi} {
		delete(s.Told, about+name)
		delete(s.ToldAt, about+name)
	}
}

// What is noticed of several at once is told with their names.
const (
	aboutPending = "never heard at "
	aboutDirect  = "not heard directly at "

	aboutMuted    = "failure of the muted "
	aboutStopping = "long shutdown of "
	aboutSilentPi = "silence of "
	aboutOffPis   = "Pis that are off at "
)

// toldOf are the names that a notice about several has told of.
func (s *State) toldOf(about string) []string {
	if s.Told[about] == "" {
		return nil
	}
	return strings.Split(s.Told[about], ", ")
}

// untell lets the next such notice tell of the name again.
func (s *State) untell(about, name string) {
	names := s.toldOf(about)
	if !slices.Contains(names, name) {
		return
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == name })
	if s.Told[about] = strings.Join(names, ", "); len(names) == 0 {
		delete(s.Told, about)
		delete(s.ToldAt, about)
	}
}
