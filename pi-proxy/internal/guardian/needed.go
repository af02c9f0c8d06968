package guardian

import (
	"slices"

	"sentinel.home.arpa/shared/shutdown"
)

// Needed are the places of those events that restore the same guardian as all of them do:
// without what a later one has overtaken.
func Needed(es []Event) (places []int) {
	highest, over, then := -1, -1, -1 // of those that name an epoch of the brain's; the last OutageOver, and what highest was then
	for i, e := range es {
		switch e.Event.Type {
		case EpochSeen, BrainDone, Yielded:
			if highest < 0 || e.Epoch.Compare(es[highest].Epoch) > 0 {
				highest = i
			}
		case OutageOver:
			over, then = i, highest
		case shutdown.Began:
			over, then = -1, -1
		}
	}
	supply, done := map[string]bool{}, false // what a later event has said
	tripped, own, rebooted := false, false, false
	for i, e := range slices.Backward(es) {
		overtaken := false
		switch e.Event.Type {
		case OnBattery, OnMains, Gone:
			overtaken = supply[e.Event.Target]
			supply[e.Event.Target] = true
		case EpochSeen:
			overtaken = true
		case BrainDone, Yielded, OutageOver:
			overtaken, done = done, true
		case shutdown.Began:
			done = true
		case Tripped:
			overtaken, tripped = tripped, true
		case Rebooted:
			overtaken, rebooted = rebooted, true
		case Halting, Cutting, Clearing:
			overtaken, own = own, true
		}
		if !overtaken || i == highest || i == over || i == then {
			places = append(places, i)
		}
	}
	slices.Reverse(places)
	return places
}
