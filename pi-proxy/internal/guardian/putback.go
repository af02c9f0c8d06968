package guardian

import (
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// mainsBack ends what an outage began, and begins to start again what the Pi's run stopped
// (rule S5). What it owes from before a later run of the brain's is left to that.
func (g *Guardian) mainsBack(now time.Time, ended bool) (es []Event) {
	const why = "the power is back"
	es = g.powerLeaves(now, why)
	switch {
	case g.Run != nil && !g.Run.ForPower() && (g.Run.Back == nil || !g.Run.Back.Held): // it is about the internet
	case g.Run != nil && (g.Run.Back == nil && g.Run.Taken || g.Run.Back != nil && g.Run.Back.Held) && !g.calmElsewhere(now): // it waits
	case g.Run != nil && g.end.mine && g.Run.Stopped == why && g.Run.Back == nil && g.orders.Armed: // the rest did not come to disk
		es = append(es, g.apply(g.Run.BeginPutBack(now, why, nil))...)
	case g.open() || g.Run != nil && (g.end.mine || len(g.owed()) > 0):
		es = append(es, g.apply(g.Run.PowerBack(now, why, g.leaves))...)
	}
	es = append(es, g.powerBack(now, why, ended)...)
	return append(es, g.putBack(now)...)
}

// owed are the guests that the Pi's last run stopped and has not started again, but for those on nodes that
// a later run of another Pi told. Of a site in which the brain has begun one since, the Pi does not know
// which those are.
func (g *Guardian) owed() (ts []shutdown.Target) {
	if g.Run == nil || g.seen.Compare(g.Epoch) > 0 {
		return nil
	}
	ts = append(g.Run.StillOwed(), g.Run.Unreturned()...)
	if g.Run.Back == nil && (g.Run.Taken || g.end.mine && g.Run.On == shutdown.ForPower) { // it was to be put back by itself
		for _, e := range g.Run.EndPutBack(time.Time{}, "", false) {
			ts = append(ts, e.Targets...)
		}
	}
	return slices.DeleteFunc(ts, func(t shutdown.Target) bool { return g.toldLater(t.Node) })
}

// Returns are the guests that the Pi starts again, or is to once the power is back. Whoever takes its run
// up owes them if the Pi is dead by then.
func (g *Guardian) Returns() []shutdown.Target {
	switch {
	case g.Run == nil, g.Run.DryRun:
		return nil
	case !g.open() && !g.end.mine && !g.Run.PutsBack():
		return g.owed()
	}
	return slices.DeleteFunc(g.Run.ToReturn(), g.leaves)
}

// leaves reports whether a guest is on a node that another's later run told.
func (g *Guardian) leaves(guest shutdown.Target) bool { return g.toldLater(guest.Node) }

// takesUp are the guests that another Pi's run has told which the Pi takes up with one of its own, but for
// those on nodes that took the command.
func (g *Guardian) takesUp(h shutdown.Header) (ts []shutdown.Target) {
	if h.On != shutdown.ForPower || len(g.peers.kept) == 0 {
		return nil
	}
	for _, t := range g.peers.owed {
		known := slices.ContainsFunc(h.Plan.Nodes, func(n shutdown.Node) bool { return n.Name == t.Node })
		if node := (shutdown.Target{Kind: shutdown.ProxmoxNode, Node: t.Node}); known && !slices.Contains(g.peers.took, node.ID()) {
			ts = append(ts, t)
		}
	}
	return ts
}

// toldLater reports whether a run of another Pi, begun after the Pi's own last, told a node.
func (g *Guardian) toldLater(node string) bool { return slices.Contains(g.peers.later, node) }

// heardLater takes what another Pi says of a run that was begun after the Pi's own last: the machines that
// it told, or that a person stopped it, so that nothing is started again.
func (g *Guardian) heardLater(now time.Time, w PeerWord) (es []Event) {
	if g.Run == nil || w.Epoch.Compare(g.Epoch) <= 0 {
		return nil
	}
	told := shutdown.Event{Type: PeerTold, At: now}
	for _, m := range g.Run.Plan.Machines() {
		if slices.Contains(w.Took, m.ID()) && !g.toldLater(m.Node) {
			told.Targets = append(told.Targets, m)
		}
	}
	if len(told.Targets) > 0 {
		es = g.note(g.Epoch, told)
	}
	if w.State != shutdown.Stopped || g.open() {
		return es
	}
	return append(es, g.apply(g.Run.EndPutBack(now, stoppedByPerson, false))...)
}

// putBack lets the guests be started again that are due. Nothing is on battery.
func (g *Guardian) putBack(now time.Time) (es []Event) {
	if g.Run == nil {
		return nil
	}
	if g.stillOut(now) {
		return g.apply(g.Run.EndPutBack(now, "the power is out again", true))
	}
	if ups := g.outElsewhere(now); ups != "" {
		return g.apply(g.Run.EndPutBack(now, ups+" is on battery", true))
	}
	for {
		next := g.Run.NextPutBack(now, g.mainsNow(now) && g.calmElsewhere(now))
		if len(next) == 0 {
			return es
		}
		es = append(es, g.apply(next)...)
	}
}

// mainsNow reports whether all UPSes have just said that they are on mains.
func (g *Guardian) mainsNow(now time.Time) bool {
	for _, r := range g.readings {
		if r.LostFor != nil || now.Sub(r.at) > power.Fresh {
			return false
		}
	}
	return len(g.readings) > 0 && g.allMains()
}

// calmElsewhere reports whether no UPS that another Pi reads is known to be on battery. After a start those
// have the time to be heard first.
func (g *Guardian) calmElsewhere(now time.Time) bool {
	alone := len(g.orders.Pis) < 2
	return g.outElsewhere(now) == "" && (alone || !now.Before(g.listens.Add(patience)))
}

// outElsewhere is a UPS that another Pi reads and that is on battery, or fell silent on it; empty: there is
// none. It may feed what would be started again, and that Pi runs the plan for it.
func (g *Guardian) outElsewhere(now time.Time) string {
	for _, ups := range slices.Sorted(maps.Keys(g.peers.upses)) {
		h := g.peers.upses[ups].heard
		_, own := g.readings[ups]
		counts := now.Sub(h.at) <= peerFor || g.lostElsewhere(now, h)
		if !own && counts && g.standing(h.Reading) == power.StillCalls {
			return ups
		}
	}
	return g.takenUp(now)
}

// disarmed ends what the Pi does: its run, or the putting back after one.
func (g *Guardian) disarmed(now time.Time) []Event {
	const why = "the plan was disarmed"
	es := g.apply(g.Run.Abort(now, why))
	return append(es, g.apply(g.Run.EndPutBack(now, why, false))...)
}

// StartAnswered is the outcome of a guest's start.
func (g *Guardian) StartAnswered(now time.Time, target string, err error) []Event {
	if g.Run == nil {
		return nil
	}
	return append(g.apply(g.Run.StartAnswered(now, target, err)), g.Tick(now)...)
}

// interrupted has what was under way sent again.
func (g *Guardian) interrupted(now time.Time) (es []Event) {
	if g.Run == nil {
		return nil
	}
	for _, c := range g.Run.Due(now) {
		if c.Start {
			es = append(es, g.apply(g.Run.StartAnswered(now, c.Target.ID(), errInterrupted))...)
			continue
		}
		es = append(es, g.apply(g.Run.Answered(now, c.Target.ID(), nil, errInterrupted))...)
	}
	return es
}
