package sentinel

import (
	"maps"
	"slices"

	"sentinel.home.arpa/shared/shutdown"
)

// Guests that a Pi's run has stopped are started again by that Pi, if it lives. Whoever takes its run up
// owes them too, since it may be dead by then (rule S5).

// owedByPis are the guests of a plan that runs of the site's Pis have stopped in the outage that goes on.
// An older Pi names none.
func (s *Site) owedByPis(plan shutdown.Plan) (ts []shutdown.Target) {
	since, on := s.OnBattery()
	for _, pi := range slices.Sorted(maps.Keys(s.PiRuns)) {
		k := s.PiRuns[pi]
		if k.Run.DryRun || !on || k.At.Before(since) {
			continue
		}
		for _, ref := range k.Run.Owed {
			t, ok := shutdown.ParseRef(ref)
			_, known := plan.Node(t.Node)
			t.Second = slices.ContainsFunc(ts, func(o shutdown.Target) bool { return o.VMID == t.VMID && o.Node != t.Node })
			twice := slices.ContainsFunc(ts, func(o shutdown.Target) bool { return o.VMID == t.VMID && o.Node == t.Node })
			if ok && known && !twice {
				ts = append(ts, t)
			}
		}
	}
	return ts
}

// returnedByPi reports whether a Pi that lives starts a guest again by itself, as it last said.
func (s *Site) returnedByPi(guest shutdown.Target) bool {
	for pi, k := range s.PiRuns {
		src := s.Sources[pi]
		if src == nil || src.Condition != Up {
			continue
		}
		for _, ref := range k.Run.Owed {
			if t, ok := shutdown.ParseRef(ref); ok && t.Node == guest.Node && t.VMID == guest.VMID {
				return true
			}
		}
	}
	return false
}
