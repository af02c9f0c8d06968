package shutdown

import (
	"slices"
	"time"
)

// Abort ends a run before its end: the power is back, or a person said so.
func (r *Run) Abort(now time.Time, why string) []Event {
	if r.Over() {
		return nil
	}
	return []Event{{Type: Aborted, At: now, Why: why}}
}

// HandOver ends a run that another carries out under a later epoch (rule G5). What it has stopped is
// named, for a run that follows it, and else is put back by this one once the power is back.
func (r *Run) HandOver(now time.Time, why string) []Event {
	es := r.Abort(now, why)
	for i := range es {
		es[i].Taken, es[i].Targets = true, r.stopped()
	}
	return es
}

// missed are the machines and guests that were not seen down once all stages are over. Of a node
// that is off nothing runs.
func (r *Run) missed() (ts []Target) {
	off := func(node string) bool {
		return slices.ContainsFunc(r.Targets, func(p *Progress) bool {
			return p.Target.Kind == ProxmoxNode && p.Target.Node == node && p.Down
		})
	}
	for _, p := range r.Targets {
		if (p.Late || !p.Over()) && p.Target.Kind != Listing && !off(p.Target.Node) {
			ts = append(ts, p.Target)
		}
	}
	return ts
}

// LeaveOff ends the putting back of guests that people call so: a person wants them off.
func (r *Run) LeaveOff(now time.Time, name, why string) (es []Event) {
	if !r.PutsBack() {
		return nil
	}
	for _, g := range r.Back.Guests {
		if !g.Done() && g.Target.Said() == name {
			es = append(es, g.event(PutBackFailed, now, why))
		}
	}
	return es
}
