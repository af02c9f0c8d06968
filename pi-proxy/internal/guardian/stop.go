package guardian

import (
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

const stoppedByPerson = "a person stopped it"

// Stopped ends the Pi's own run if a person stopped it at the brain, which names the run. What
// was begun in this outage holds it back from another (rule S10), and what that stopped is not
// started again.
func (g *Guardian) Stopped(now time.Time, state shutdown.State, run string) []Event {
	switch {
	case state != shutdown.Stopped || g.Run == nil || run != g.Run.ID:
		return nil
	case g.open():
		return g.apply(g.Run.Abort(now, stoppedByPerson))
	case g.Run.Back != nil || g.end.mine:
		return g.apply(g.Run.EndPutBack(now, stoppedByPerson, false))
	}
	return nil
}

// hearStop notes a stop after the run of the outage was through: nothing is ended by it, and nothing is
// to begin again if a Pi that has booted finds the outage under another name.
func (g *Guardian) hearStop(now time.Time, epoch shutdown.Epoch, run shutdown.State) []Event {
	confirms := epoch.Counter >= g.fresh || g.end.mine // a stop of before the brain knew of the Pi's run too
	if run != shutdown.Stopped || !confirms || g.end.stopped || !g.ended() {
		return nil
	}
	return g.note(epoch, shutdown.Event{Type: StopHeard, At: now})
}

// wasStopped reports whether the Pi begins nothing more in this outage since it heard that a person stopped the plan
// before it did. The brain may take that back: the stop was of the outage before.
func (g *Guardian) wasStopped() bool {
	return g.done && !g.open() && !g.end.mine && !g.end.over && g.peers.under != (shutdown.Epoch{})
}

// The events of a stop in an outage in which the Pi's own UPSes have mains, and of that stop's end.
const (
	StopElsewhere     shutdown.EventType = "stop_elsewhere"
	StopElsewhereOver shutdown.EventType = "stop_elsewhere_over"
)

// elsewhere is a stop that a person made in the outage of another Pi's UPS, while the own ones have
// mains. The site's outage goes on for as long as one of them is on battery, and with it the stop. The zero
// value is ready.
type elsewhere struct {
	stop  shutdown.Epoch // zero: there is none
	fresh uint64         // the lowest counter of a stop, or another run, that was not known when all others last had mains
	none  time.Time      // when the brain last said that it runs nothing
}

func (e *elsewhere) restore(ev Event) {
	switch ev.Event.Type {
	case StopElsewhere:
		e.stop = ev.Epoch
	case StopElsewhereOver, shutdown.Began:
		e.stop = shutdown.Epoch{}
	}
}

// hearStopElsewhere takes the brain's word on that.
func (g *Guardian) hearStopElsewhere(now time.Time, epoch shutdown.Epoch, run shutdown.State) []Event {
	holds := g.elsewhere.stop != (shutdown.Epoch{})
	switch {
	case holds && run != shutdown.Stopped && epoch.Compare(g.elsewhere.stop) >= 0:
		return g.note(g.Epoch, shutdown.Event{Type: StopElsewhereOver, At: now, Why: "the brain no longer says that the plan is stopped"})
	case !holds && run == shutdown.Stopped && g.calm(now) && g.outElsewhere(now) != "" && epoch.Counter >= g.elsewhere.fresh:
		return g.note(epoch, shutdown.Event{Type: StopElsewhere, At: now, Why: g.outElsewhere(now) + " is on battery"})
	}
	return nil
}

// keepStopElsewhere ends such a stop once no UPS elsewhere is on battery any more. If one of the Pi's own is by
// now, it holds in that outage too.
func (g *Guardian) keepStopElsewhere(now time.Time) (es []Event) {
	holds := g.elsewhere.stop != (shutdown.Epoch{})
	if holds && !g.done && len(g.out) > 0 {
		es = g.note(g.elsewhere.stop, shutdown.Event{Type: BrainDone, At: now, Why: saidDone(shutdown.Stopped)})
	}
	if now.Before(g.listens.Add(patience)) || g.outElsewhere(now) != "" {
		return es
	}
	g.elsewhere.fresh = g.seen.Counter + 1
	if holds {
		es = append(es, g.note(g.Epoch, shutdown.Event{Type: StopElsewhereOver, At: now, Why: "no UPS of another Pi is on battery"})...)
	}
	return es
}

// Heeds is the highest epoch that the brain has named, or that of the Pi's own run of this outage if
// that is later, once the Pi begins nothing more in it; zero: it may. The brain takes it for the Pi's
// word that it knows of a stop.
func (g *Guardian) Heeds() shutdown.Epoch {
	switch {
	case !g.coversAll() || g.open():
		return shutdown.Epoch{}
	case g.end.mine && g.Epoch.Compare(g.seen) > 0:
		return g.Epoch
	}
	return g.seen
}
