package shutdown

import (
	"slices"
	"time"
)

// rehearsedAtMost bounds a rehearsal, which ends long before that.
const rehearsedAtMost = 100_000

// Rehearse plays a run in which every machine does at once what it is told, and returns its
// events. list are the guests that run on a node, and called the machines that are called for if
// the plan says what feeds them; nil: all.
func Rehearse(h Header, at time.Time, called []string, list func(node string) []Target) []Event {
	began := Event{Type: Began, At: at, Run: &h}
	r, all := Start(began), []Event{began}
	take := func(es []Event) bool {
		for _, e := range es {
			r.Apply(e)
		}
		all = append(all, es...)
		return len(es) > 0
	}
	if r.Scoped() {
		take(r.calls(at, called))
	}
	for n := 0; n < rehearsedAtMost && !r.Over(); n++ {
		moved := take(r.Next(at))
		for _, c := range r.Due(at) {
			var found []Target
			if c.Target.Kind == Listing {
				found = list(c.Target.Node)
			}
			moved = take(r.Answered(at, c.Target.ID(), found, nil)) || moved
		}
		for _, t := range r.Looks() {
			silent := silentFor
			moved = take(r.Seen(at, t.ID(), Sight{Closed: true, SilentFor: &silent, Leaving: true})) || moved
		}
		if moved {
			continue
		}
		next := r.NextDeadline()
		if !next.After(at) {
			break
		}
		at = next
	}
	return all
}

// calls is the event of a run that was begun for some machines, or for all.
func (r *Run) calls(at time.Time, names []string) []Event {
	e := Event{Type: Called, At: at}
	for _, m := range r.Plan.Machines() {
		if names == nil || slices.Contains(names, m.Node) {
			e.Targets = append(e.Targets, m)
		}
	}
	return []Event{e}
}
