package sentinel

import (
	"slices"
	"time"
)

// evolveWatch is how sources come to be watched, or not (rules H9 to H11).
func (s *State) evolveWatch(f Fact) {
	switch f := f.(type) {
	case *Muted:
		if src := s.site(f.Site).Sources[f.Name]; src != nil {
			src.MutedUntil = f.Until
		}
	case *Unmuted:
		if src := s.site(f.Site).Sources[f.Name]; src != nil {
			src.MutedUntil = time.Time{}
			if src.Condition != Failed { // what is over meanwhile calls nobody later
				src.Failures = nil
			}
		}
	case *MaintenanceBegan:
		if f.Name == "" {
			s.site(f.Site).MaintainedUntil = f.Until
		} else if src := s.site(f.Site).Sources[f.Name]; src != nil {
			src.MaintainedUntil = f.Until
		}
	case *MaintenanceEnded:
		if f.Name == "" {
			s.site(f.Site).MaintainedUntil = time.Time{}
		} else if src := s.site(f.Site).Sources[f.Name]; src != nil {
			src.MaintainedUntil = time.Time{}
		}
	case *SourceDeleted:
		s.forget(f.Site, f.Name)
	case *SourceForgotten:
		s.forget(f.Site, f.Name)
	case *SourceExpected:
		s.site(f.Site).source(f.Name).Role = f.Role
	case *SiteForgotten:
		delete(s.Sites, f.Site)
	case *DirectLost:
		if src := s.site(f.Site).Sources[f.Name]; src != nil {
			src.OnlyBy = f.Via
		}
	case *DirectBack:
		if src := s.site(f.Site).Sources[f.Name]; src != nil {
			src.OnlyBy = ""
		}
	case *CloneSeen:
		s.site(f.Site).source(f.As).CloneOf = f.Name
	}
}

// forget drops a source and its part in what is open.
func (s *State) forget(site, name string) {
	st := s.site(site)
	delete(st.Sources, name)
	delete(st.watched, name)
	for _, i := range s.Incidents {
		if i.Open() && i.Site == site {
			i.Nodes = slices.DeleteFunc(i.Nodes, func(n string) bool { return n == name })
		}
	}
}
