package guardian

import (
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

// A machine that takes no command keeps the run of whoever tells it from making headway, though all others are down.
// Another may do better, and tries. But each time the plan begins anew, so that each actor takes such a run over once in
// an outage, as long as its holder is heard: then its deadlines are what ends a stage (rules G1, S4).

// hearsAnother reports whether the brain or another Pi was lately heard to hold an open run above the last of this Pi's.
func (g *Guardian) hearsAnother(now time.Time) bool { return now.Before(g.another.Add(patience)) }

// hadItsTurn reports whether the Pi has taken a run over in this outage whose holder was heard.
func (g *Guardian) hadItsTurn() bool {
	return g.Run != nil && g.Run.Takes && !g.Run.Begun.Before(g.outSince())
}

// holdsAnother notes what hearsAnother reports.
func (g *Guardian) holdsAnother(at time.Time, epoch shutdown.Epoch, run shutdown.State) {
	if run.Open() && epoch.Compare(g.Epoch) > 0 && at.After(g.another) {
		g.another = at
	}
}
