package guardian

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// The events of an outage that tell of the site's other Pis (rule G6).
const (
	// PeerEpoch: another Pi has named an epoch, the event's, above all that are known here.
	PeerEpoch shutdown.EventType = "peer_epoch"
	// PeerDone: another Pi knows that a run of this outage has ended or was stopped, so it needs
	// no other; again for fewer machines once others that it was for have mains (rule U7).
	PeerDone shutdown.EventType = "peer_done"
	// PeerTold: machines, the event's targets, took the command of another Pi's run that was begun after
	// the Pi's own last.
	PeerTold shutdown.EventType = "peer_told"
	// PeerStopped: another Pi's run that is under way has told guests and machines, the event's targets.
	// Whoever takes it up owes the guests. Without guests: it told none, or is not under way any more.
	PeerStopped shutdown.EventType = "peer_stopped"
)

const (
	// turnEach is by how much later each Pi of the site begins than the one listed before it.
	turnEach = 15 * time.Second
	// peerFor is for how long the word of another Pi tells how its UPSes stand.
	peerFor = 10 * time.Second
	// peerUPSesMost is of how many that is known at once.
	peerUPSesMost = 64
)

// PeerWord is what another Pi of the site has said, Age ago.
type PeerWord struct {
	Age   time.Duration
	Up    time.Duration            // since its machine booted; zero: not known
	UPSes map[string]power.Reading // that it reads, as they stood then
	// State is how the run of the outage that goes on stands, Epoch and Run what it is held
	// under and called; None: it knows of none, but maybe of the brain's.
	State shutdown.State
	Epoch shutdown.Epoch
	Run   string
	Since time.Duration  // since it began, or was first known to be over
	Scope []string       // the machines that it is for; nil: all of the plan
	Known shutdown.Epoch // the highest that it knows of
	Took  []string       // the machines that took that run's command, by a target's ID
	// Stopped are the guests that the run has told, while it is under way. Whoever takes it up owes them.
	Stopped []shutdown.Target
}

// peers is what the guardian knows of the site's other Pis. The zero value is ready.
type peers struct {
	upses map[string]told
	known shutdown.Epoch    // the highest that one of them has named
	fresh uint64            // the lowest counter of a run that was not known when the last outage was over
	acts  time.Time         // when one last said that its run advances; good if not earlier than Guardian.holds
	actor string            // which
	took  []string          // the machines that took the command of another's run
	owed  []shutdown.Target // the guests that another's run has told which is under way
	kept  []shutdown.Target // what is written down of that, in this outage
	later []string          // those that took that of a run which was begun after the Pi's own last, by name
	under shutdown.Epoch    // of what this outage was done with, if not by the Pi's own run
	since time.Time         // when the run of this outage began or was first known to be over; zero: not known
}

// sameStart is how much earlier than the outage here a run may have begun that is of it.
const sameStart = 2 * time.Second

// PeerSaid takes the word of another Pi of the site. Who holds a lower epoch yields to a run
// that advances; one that has ended or was stopped in this outage needs no other (rule G2).
func (g *Guardian) PeerSaid(now time.Time, pi string, w PeerWord) (es []Event) {
	at := now.Add(-w.Age)
	es = g.hearElsewhere(now, at, pi, w)
	g.holdsAnother(at, w.Epoch, w.State)
	for _, e := range []shutdown.Epoch{w.Epoch, w.Known} {
		if e.Compare(g.known()) > 0 {
			es = append(es, g.note(e, shutdown.Event{Type: PeerEpoch, At: now})...)
		}
	}
	es = append(es, g.heardLater(now, w)...)
	if pi == g.peers.actor && !w.State.Open() { // it lives, and sees to the guests by itself, or a person stopped it
		es = append(es, g.keepStopped(now, pi, g.peers.tookNoted())...)
		g.peers.owed = nil
	}
	switch w.State {
	case shutdown.Advancing:
		es = append(es, g.peerOffline(now, pi)...)
		es = append(es, g.peerActs(now, at, pi, w)...)
	case shutdown.HasEnded, shutdown.Stopped:
		es = append(es, g.peerDone(now, w)...)
	}
	return append(es, g.Tick(now)...)
}

// hearElsewhere takes how UPSes stood at a moment that another Pi reads, and forgets those whose last word
// says nothing any more.
func (g *Guardian) hearElsewhere(now, at time.Time, pi string, w PeerWord) (es []Event) {
	maps.DeleteFunc(g.peers.upses, func(_ string, t told) bool { return now.Sub(t.at) > peerFor && !g.lostElsewhere(now, t.heard) })
	for ups, t := range g.peers.upses {
		if _, speaks := w.UPSes[ups]; !speaks && t.pi == pi && at.After(t.at) {
			t.left = true
			g.peers.upses[ups] = t
		}
	}
	for _, ups := range slices.Sorted(maps.Keys(w.UPSes)) {
		t, known := g.peers.upses[ups]
		switch {
		case at.Before(t.at), !known && len(g.peers.upses) >= peerUPSesMost:
			continue
		case g.peers.upses == nil:
			g.peers.upses = map[string]told{}
		}
		g.peers.upses[ups] = g.hearUPS(pi, w, t, known, w.UPSes[ups], at)
		es = append(es, g.hearTakenUp(now, ups)...)
	}
	return es
}

// peerActs takes it that another Pi's run advances, or the brain's as it knows.
func (g *Guardian) peerActs(now, at time.Time, pi string, w PeerWord) (es []Event) {
	if g.open() && w.Epoch.Compare(g.Epoch) < 0 {
		return nil // it will yield
	}
	if !g.holds.IsZero() || g.open() { // else it is of no outage here
		es = g.keepStopped(now, pi, g.stopped(w))
	}
	g.peers.took, g.peers.owed = w.Took, w.Stopped
	if at.After(g.peers.acts) {
		g.peers.acts, g.peers.actor = at, pi
	}
	if !g.open() {
		return es
	}
	g.holds, g.peers.acts = now, now // should it stop advancing, this Pi takes over again
	es = append(es, g.apply(g.Run.HandOver(now, "the run of "+pi+" advances under a later epoch"))...)
	return append(es, g.note(g.seen, shutdown.Event{Type: Yielded, At: now})...)
}

// stopped are the guests that another Pi's run has told, and the machines of the plan that took its command.
func (g *Guardian) stopped(w PeerWord) []shutdown.Target {
	ts := slices.Clone(w.Stopped)
	for _, m := range g.orders.Plan.Machines() {
		if slices.Contains(w.Took, m.ID()) {
			ts = append(ts, m)
		}
	}
	return ts
}

// keepStopped writes that down if it is another than before: the next process may take that run up.
func (g *Guardian) keepStopped(now time.Time, pi string, ts []shutdown.Target) []Event {
	same := func(a, b shutdown.Target) bool { return a.ID() == b.ID() && a.Node == b.Node }
	if slices.EqualFunc(ts, g.peers.kept, same) {
		return nil
	}
	return g.note(g.Epoch, shutdown.Event{Type: PeerStopped, At: now, Why: pi, Targets: ts})
}

// tookNoted are the machines of that: what is owed is the next run's.
func (p *peers) tookNoted() []shutdown.Target {
	return slices.DeleteFunc(slices.Clone(p.kept), func(t shutdown.Target) bool { return t.Kind == shutdown.Guest })
}

// peerDone takes it that a run of this outage has ended, or that a person stopped the plan in it.
// Of a run that was known when the last outage was over that says nothing.
func (g *Guardian) peerDone(now time.Time, w PeerWord) (es []Event) {
	if w.Epoch.Counter < g.peers.fresh || g.holds.IsZero() && !g.held {
		return nil
	}
	if w.State == shutdown.HasEnded && g.outElsewhere(now) == "" && g.outLater(now.Add(-w.Age-w.Since+sameStart)) {
		return nil // the UPSes here had mains since, or the other Pi was away when they had
	}
	if w.State == shutdown.Stopped && g.open() { // fresh is its own epoch's
		return g.apply(g.Run.Abort(now, stoppedByPerson))
	}
	if ts, more := g.newlyDone(now, w.State, w.Scope); more {
		g.peers.took = w.Took
		es = append(es, g.note(w.Epoch, shutdown.Event{Type: PeerDone, At: now, Why: saidDone(w.State), Targets: ts})...)
	}
	return es
}

// outLater reports whether all UPSes that are on battery, if any, are so only since after a moment.
func (g *Guardian) outLater(at time.Time) bool {
	for _, o := range g.out {
		if !o.Since.After(at) { // or it is not known since when
			return false
		}
	}
	return true
}

// Says is what the other Pis of the site are to know, but for the UPSes.
func (g *Guardian) Says(now time.Time) PeerWord {
	w := PeerWord{State: shutdown.None, Known: g.known()}
	switch own := g.Run != nil && g.end.mine; {
	case g.open():
		w.State, w.Epoch, w.Run = g.Run.State(now), g.Epoch, g.Run.ID
	case !g.done, g.peers.since.IsZero(), own && g.Run.Finished && g.Run.ForNobody():
		return w
	case own && g.Run.Finished:
		w.State, w.Epoch, w.Run = shutdown.HasEnded, g.Epoch, g.Run.ID
	case own: // the brain stopped it under an epoch above its own
		w.State, w.Epoch, w.Run = shutdown.Stopped, g.Epoch, g.Run.ID
		if g.seen.Compare(g.Epoch) > 0 {
			w.Epoch = g.seen
		}
	case g.end.over:
		w.State, w.Epoch = shutdown.HasEnded, g.peers.under
	default:
		w.State, w.Epoch = shutdown.Stopped, g.peers.under
	}
	switch {
	case g.Run != nil && g.end.mine && g.Run.Scoped():
		w.Scope = slices.Clone(g.Run.Called)
	case !g.fed.all:
		w.Scope = slices.Clone(g.fed.covers)
	}
	w.Since, w.Took = now.Sub(g.peers.since), slices.Clone(g.peers.took)
	if g.Run != nil && g.end.mine && !g.Run.DryRun {
		for _, p := range g.Run.Targets {
			if p.Took && p.Target.Kind.Machine() {
				w.Took = append(w.Took, p.Target.ID())
			}
		}
		for _, e := range g.Run.HandOver(now, "") { // as if it were taken up
			w.Stopped = e.Targets
		}
	}
	return w
}

// known is the highest epoch that is known here, whoever named it.
func (g *Guardian) known() shutdown.Epoch {
	e := g.Epoch
	for _, o := range []shutdown.Epoch{g.seen, g.peers.known} {
		if o.Compare(e) > 0 {
			e = o
		}
	}
	return e
}

// restore takes what an event says of other Pis, and reports whether that was all of it.
func (p *peers) restore(e Event) (all bool) {
	switch e.Event.Type {
	case BrainDone:
		p.under, p.since = e.Epoch, e.Event.At
		return false
	case shutdown.Began, shutdown.PowerJoined:
		p.under, p.since = shutdown.Epoch{}, e.Event.At
		if e.Event.Type == shutdown.Began {
			p.later, p.took, p.owed, p.kept = nil, nil, nil, nil
		}
		return false
	case Yielded:
		p.under, p.since = shutdown.Epoch{}, time.Time{}
		return false
	case Rebooted: // by whose clock nothing of before can be counted
		p.since = time.Time{}
		return false
	case PeerTold:
		for _, m := range e.Event.Targets {
			if !slices.Contains(p.later, m.Node) {
				p.later = append(p.later, m.Node)
			}
		}
		return true
	case PeerStopped:
		p.kept, p.owed, p.took, p.actor = e.Event.Targets, nil, nil, e.Event.Why
		for _, t := range e.Event.Targets {
			if t.Kind == shutdown.Guest {
				p.owed = append(p.owed, t)
			} else {
				p.took = append(p.took, t.ID())
			}
		}
		return true
	case PeerDone:
		p.under, p.since = e.Epoch, e.Event.At
	case PeerEpoch:
	default:
		return false
	}
	if e.Epoch.Compare(p.known) > 0 {
		p.known = e.Epoch
	}
	return e.Event.Type == PeerEpoch
}

// peersOver notes that an outage is over: what was known of runs until then says nothing of the next.
func (g *Guardian) peersOver() {
	g.peers.fresh, g.peers.took, g.peers.owed, g.peers.kept = g.known().Counter+1, nil, nil, nil
	g.peers.under, g.peers.since = shutdown.Epoch{}, time.Time{}
}

// nobodyActs ends the reason for a run of the Pi's own.
func (g *Guardian) nobodyActs(now time.Time) string {
	switch p := g.peers; {
	case !p.acts.Before(g.holds):
		return fmt.Sprintf(" and the run of %s has made no headway for %s", p.actor, power.Spell(now.Sub(p.acts)))
	case g.place("") > 0:
		return " and neither the brain nor a Pi that is listed before this one has said that it acts"
	case !g.brain.Before(g.holds):
		return " and the brain's run has made no headway for " + power.Spell(now.Sub(g.brain))
	}
	return " and the brain has not said that it acts"
}

// begins is when the Pi begins, if nothing else is heard: rule G1's patience after the reason, or
// the brain's last good word, and its turn among the site's Pis after that. Of a run of another Pi
// it has the same patience, and then whoever is listed next begins.
func (g *Guardian) begins(soon bool) time.Time {
	from, wait := g.holds, patience
	if soon {
		wait = urgent
	}
	if at := g.brain.Add(patience); at.After(from.Add(wait)) {
		from, wait = g.brain, patience // it acts, and its word is good for that long
	}
	at := from.Add(wait + time.Duration(g.place(""))*turnEach)
	if g.peers.acts.Before(g.holds) {
		return at
	}
	if again := g.peers.acts.Add(patience + time.Duration(1+g.place(g.peers.actor))*turnEach); again.After(at) {
		at = again
	}
	return at
}

// place is how many Pis of the site are listed before this one, without that one.
func (g *Guardian) place(without string) (n int) {
	for _, pi := range g.orders.Pis {
		switch pi {
		case g.self:
			return n
		case without:
		default:
			n++
		}
	}
	return n
}

// Elsewhere are the readings of the UPSes that other Pis read, as they stand now. One of which
// nothing was heard for too long is not among them.
func (g *Guardian) Elsewhere(now time.Time) map[string]power.Reading {
	all := map[string]power.Reading{}
	for ups, h := range maps.All(g.peers.upses) {
		old := now.Sub(h.at)
		switch _, own := g.readings[ups]; {
		case own || old > peerFor:
		case old > power.Fresh && h.Supply != power.Mains: // it begins nothing (rule S5)
			all[ups] = h.Lost(old)
		default:
			all[ups] = h.Aged(old)
		}
	}
	return all
}
