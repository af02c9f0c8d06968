package sentinel_test

import (
	"slices"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// checkFed proves that nobody is told whose UPSes do not call (rule U7): nothing of a machine that
// a redundant supply keeps up which has just said that it has mains, or all of whose supplies do.
func (h *history) checkFed(site *sentinel.Site, target string) {
	if !site.Run.Scoped() {
		return
	}
	i := slices.IndexFunc(site.Run.Targets, func(p *shutdown.Progress) bool { return p.Target.ID() == target })
	machine, w := site.Run.Targets[i].Target.Node, site.Run.Plan.Wiring
	if !slices.Contains(site.Run.Called, machine) {
		h.fail("%s was told, and %s is not called for", target, machine)
	}
	by := w.Feeders(machine)
	all := len(by) > 0 && !slices.Contains(w.Any, machine)
	mains, others := 0, 0
	for name, u := range h.state.Sites[site.Name].UPSes {
		r, heard := u.Reading(h.now, 3*time.Second)
		has := heard && r.Supply == power.Mains && r.LostFor == nil
		switch _, said := w.Feeds[name]; {
		case slices.Contains(by, name) && has:
			mains++
		case (!said || len(by) == 0) && !has:
			others++
		}
	}
	if others == 0 && (all && mains > 0 || len(by) > 0 && mains == len(by)) {
		h.fail("%s was told, and %d of the UPSes %v that feed %s have mains", target, mains, by, machine)
	}
}
