package sentinel

import (
	"maps"
	"time"
)

// leftOffFor is for how long it is kept that a person left something off: as long as that is told of.
const leftOffFor = 7 * 24 * time.Hour

// leaveOff lets something stay off that the plan told to shut down: it is not told of any more, and a guest
// that the brain is about to start again is not started (rule S5).
func (d *decider) leaveOff(in LeaveOff) {
	site := d.Sites[in.Site]
	if site == nil {
		return
	}
	d.emit(&LeftOff{Site: in.Site, Name: in.Name, By: in.By})
	if site.Run != nil {
		d.stepRun(in.Site, site.Run.LeaveOff(d.now, in.Name, in.By+" left it off"))
	}
}

// LeavesOff reports whether a person left something off since it was told to shut down.
func (s *Site) LeavesOff(name string, told time.Time) bool {
	return !s.LeftOff[name].Before(told) && !s.LeftOff[name].IsZero()
}

func (s *Site) evolveLeftOff(at time.Time, name string) {
	kept := maps.Clone(s.LeftOff)
	maps.DeleteFunc(kept, func(_ string, left time.Time) bool { return at.Sub(left) > leftOffFor })
	if kept == nil {
		kept = map[string]time.Time{}
	}
	kept[name] = at
	s.LeftOff = kept
}
