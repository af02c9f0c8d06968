package guardian

import (
	"slices"

	"sentinel.home.arpa/shared/shutdown"
)

// Needed are the places of those events that restore the same guardian as all of them do:
// without what a later one has overtaken.
func Needed(es []Event) (places []int) {
	brains, pis := epochs{-1, -1}, epochs{-1, -1}
	over := -1 // the last OutageOver
	for i, e := range es {
		switch e.Event.Type {
		case EpochSeen, BrainDone, Yielded:
			brains.named(es, i)
		case PeerEpoch, PeerDone:
			pis.named(es, i)
		case OutageOver:
			over, brains.then, pis.then = i, brains.highest, pis.highest
		case shutdown.Began:
			over, brains.then, pis.then = -1, -1, -1
		}
	}
	supply, contact, done := map[string]bool{}, map[string]bool{}, false // what a later event has said
	tripped, own, rebooted, net, stopped, elsewhere, anew, theirs := false, false, false, false, false, false, false, false
	for i, e := range slices.Backward(es) {
		overtaken := false
		switch e.Event.Type {
		case OnBattery, OnMains, Gone:
			overtaken = supply[e.Event.Target]
			supply[e.Event.Target], contact[e.Event.Target] = true, true
		case ContactLost:
			overtaken = contact[e.Event.Target]
			contact[e.Event.Target] = true
		case EpochSeen, PeerEpoch:
			overtaken = true
		case BrainDone, PeerDone, Yielded, OutageOver:
			overtaken, done = done, true
			stopped = stopped || e.Event.Type == Yielded || e.Event.Type == OutageOver
			theirs = theirs || e.Event.Type == OutageOver
		case shutdown.Began:
			done, stopped, elsewhere, anew, theirs = true, true, true, true, true
		case PeerStopped:
			overtaken, theirs = theirs, true
		case PeerTold:
			overtaken = anew
		case StopElsewhere, StopElsewhereOver:
			overtaken, elsewhere = elsewhere, true
		case StopHeard:
			overtaken, stopped = stopped, true
		case Tripped:
			overtaken, tripped = tripped, true
		case Rebooted:
			overtaken, rebooted = rebooted, true
		case InternetBack, InternetRan:
			overtaken, net = net, true
		case Halting, Cutting, Clearing:
			overtaken, own = own, true
		}
		if !overtaken || i == over || brains.need(i) || pis.need(i) {
			places = append(places, i)
		}
	}
	slices.Reverse(places)
	return places
}

// epochs are where the highest stands of those that brains or Pis have named, and where it stood at
// the last OutageOver; -1: nowhere.
type epochs struct{ highest, then int }

func (e *epochs) named(es []Event, i int) {
	if e.highest < 0 || es[i].Epoch.Compare(es[e.highest].Epoch) > 0 {
		e.highest = i
	}
}

func (e *epochs) need(i int) bool { return i == e.highest || i == e.then }
