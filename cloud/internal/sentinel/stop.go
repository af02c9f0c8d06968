package sentinel

import (
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// What a person said of the network between Pi and nodes: whether it is on the UPS.
const (
	NetworkYes = "yes"
	NetworkNo  = "no"
)

// stop ends the plan in the outage that goes on: the brain's own run here, a Pi's by the
// mandate, and one that has not begun does not (rule S10).
func (d *decider) stop(in Stop) {
	site := d.Sites[in.Site]
	if site == nil || !site.Stoppable() {
		return
	}
	again := d.stopHolds(site)
	if r := site.Run; r != nil && !r.Over() {
		d.stepRun(in.Site, r.Abort(d.now, in.By+" stopped it"))
	} else if again {
		return
	}
	epoch := shutdown.Epoch{Counter: site.Epoch.Counter + 1, Holder: d.cfg.Brain}
	if site.PiRun != nil {
		epoch.Counter = max(epoch.Counter, site.PiRun.Epoch.Counter+1)
	}
	d.emit(&PlanStopped{Site: in.Site, By: in.By, Epoch: epoch})
}

// Stoppable reports whether there is something to stop: a run of the plan, or an outage in
// which one may begin.
func (s *Site) Stoppable() bool {
	_, out := s.OnBattery()
	return out || s.Run != nil && !s.Run.Over() || s.PiRun != nil && s.PiRun.State.Open()
}

// Stopped is who stopped the plan in the outage that goes on; empty: nobody.
func (s *State) Stopped(site string) string {
	if st := s.Sites[site]; st != nil && s.stopHolds(st) {
		return st.StoppedBy
	}
	return ""
}

// stopHolds reports whether a person stopped the plan in the outage that goes on. The power's
// return ends that, as it does on the Pi.
func (s *State) stopHolds(site *Site) bool {
	if site.StoppedAt.IsZero() {
		return false
	}
	if since, on := site.heardOnBattery(); on {
		return !site.StoppedAt.Before(since)
	}
	if r := site.PiRun; r != nil && r.State.Open() { // of an outage of which only its Pi knows
		return !site.StoppedAt.Before(site.PiRunAt)
	}
	for _, i := range s.OpenIncidents() {
		if i.Site == site.Name && i.Kind == PowerOutage && site.Supply() != power.Mains {
			return !site.StoppedAt.Before(i.Since)
		}
	}
	return false
}

// stoppedRun names the run that is to end: a Pi ends its own only if it is named.
func (s *Site) stoppedRun() string {
	switch {
	case s.PiRun != nil && s.PiRun.State.Open():
		return s.PiRun.ID
	case s.Run != nil:
		return s.Run.ID
	}
	return ""
}

func (d *decider) sayNetwork(in SayNetwork) {
	if d.cfg.site(in.Site) == nil || d.site(in.Site).NetworkOnUPS == saidNetwork(in.OnUPS) {
		return
	}
	d.emit(&NetworkSaid{Site: in.Site, By: in.By, OnUPS: in.OnUPS})
}

func saidNetwork(onUPS bool) string {
	if onUPS {
		return NetworkYes
	}
	return NetworkNo
}

func (s *State) evolveStop(at time.Time, f Fact) {
	switch f := f.(type) {
	case *PlanStopped:
		site := s.site(f.Site)
		site.StoppedAt, site.StoppedBy, site.Epoch = at, f.By, f.Epoch
	case *NetworkSaid:
		s.site(f.Site).NetworkOnUPS = saidNetwork(f.OnUPS)
	}
}

func sentenceOfStop(f Fact) string {
	switch f := f.(type) {
	case *PlanStopped:
		return f.By + " stopped the plan; it does not begin again before the power is back"
	case *NetworkSaid:
		if f.OnUPS {
			return f.By + " said that the network at " + f.Site + " is on the UPS"
		}
		return f.By + " said that the network at " + f.Site + " is not on the UPS"
	}
	return ""
}
