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
	if run != shutdown.Stopped || epoch.Counter < g.fresh || g.end.stopped || !g.ended() {
		return nil
	}
	return g.note(epoch, shutdown.Event{Type: StopHeard, At: now})
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
