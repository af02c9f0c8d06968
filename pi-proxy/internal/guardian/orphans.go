package guardian

import (
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// A UPS that another Pi reads is that Pi's to act for. If it dies while its UPS is on battery, that is contact
// lost on battery (rule U5), and whoever hears of it last takes the UPS up as one of its own: its outage goes on
// here until it is heard to have mains, or is gone.

const (
	// bootedLately is for how long a Pi that has booted may take a self-test that it has not seen begin for an outage.
	bootedLately = time.Minute
	// leastHeard is how long a UPS must have been on battery by its last word: a blip may have taken its Pi along, and
	// nobody would hear of its end.
	leastHeard = 2 * time.Second
)

// told is the last word on a UPS that another Pi reads.
type told struct {
	heard
	pi    string
	doubt bool     // that it is on battery may be a test which nobody saw begin
	left  bool     // its Pi speaks, and no longer of it
	done  *through // a run that is over, of the outage that it is in
}

// through is a run that needs no other after it.
type through struct {
	epoch shutdown.Epoch
	state shutdown.State
	scope []string // the machines that it was for; nil: all
}

// hearUPS takes another Pi's word on a UPS, after the one before.
func (g *Guardian) hearUPS(pi string, w PeerWord, before told, known bool, r power.Reading, at time.Time) told {
	t := told{heard: heard{r, at}, pi: pi, doubt: before.doubt}
	calls := g.standing(r) == power.StillCalls
	switch {
	case r.Supply == power.Mains, g.orders.Policy.TooLong(power.Reading{Supply: power.SelfTest, For: r.For}):
		t.doubt = false
	case !calls:
		t.doubt = true
	case w.Up > 0 && w.Up < bootedLately && (!known || g.standing(before.Reading) != power.StillCalls):
		t.doubt = true
	}
	switch {
	case !calls:
	case w.State == shutdown.HasEnded || w.State == shutdown.Stopped:
		t.done = &through{w.Epoch, w.State, slices.Clone(w.Scope)}
	case w.State == shutdown.None:
		t.done = before.done // as the brain said
	}
	return t
}

// brainElsewhere notes what the brain says of its run for the UPSes that other Pis read: it may have fallen
// silent, like their Pi, by the time that this counts.
func (g *Guardian) brainElsewhere(now time.Time, epoch shutdown.Epoch, run shutdown.State) {
	switch {
	case run == shutdown.None:
		g.elsewhere.none = now
	case run == shutdown.HasEnded && g.elsewhere.fresh > 0 && epoch.Counter >= g.elsewhere.fresh:
		for ups, t := range g.peers.upses {
			if g.standing(t.Reading) == power.StillCalls {
				t.done = &through{epoch, run, slices.Clone(g.fed.brain)}
				g.peers.upses[ups] = t
			}
		}
	}
}

// takeUpUPSes takes those up whose Pi has died in their outage.
func (g *Guardian) takeUpUPSes(now time.Time) (es []Event) {
	if !g.guards() || g.elsewhere.stop != (shutdown.Epoch{}) {
		return nil
	}
	for _, ups := range slices.Sorted(maps.Keys(g.peers.upses)) {
		t := g.peers.upses[ups]
		if !g.orphaned(now, ups, t) {
			continue
		}
		g.readings[ups] = t.heard
		o := Outage{Since: t.at.Add(-t.For.Duration()), Transfer: t.Transfer(), Elsewhere: true}
		done := g.doneElsewhere(now, t)
		switch {
		case done == nil && t.done != nil, g.wired() && !g.callsForMore(now, t.done):
			delete(g.readings, ups)
			continue
		case done != nil && !g.done:
			es = append(es, g.note(t.done.epoch, *done)...)
		}
		es = append(es, g.onBattery(g.Epoch, ups, o)...)
	}
	return es
}

// orphaned reports whether a UPS was surely on battery when its Pi fell silent, so long ago that it is danger.
func (g *Guardian) orphaned(now time.Time, ups string, t told) bool {
	_, own := g.readings[ups]
	_, out := g.out[ups]
	since := t.at
	if g.listens.After(since) {
		since = g.listens // nobody listened before
	}
	sure := !t.doubt && !t.left && t.For.Duration() >= leastHeard && g.standing(t.Reading) == power.StillCalls
	return !own && !out && sure && now.Sub(since) >= g.orders.Policy.LostFor && !g.tooLong(now.Sub(t.at))
}

// doneElsewhere is how a run that is over is noted here, if it was for some of the machines alone; nil: there was
// none, or it leaves nothing to do.
func (g *Guardian) doneElsewhere(now time.Time, t told) *shutdown.Event {
	d := t.done
	if d == nil || d.state == shutdown.Stopped || !g.wired() || len(d.scope) == 0 {
		return nil
	}
	e := shutdown.Event{Type: PeerDone, At: now, Why: saidDone(d.state)}
	for _, m := range g.orders.Plan.Machines() {
		if slices.Contains(d.scope, m.Node) {
			e.Targets = append(e.Targets, m)
		}
	}
	return &e
}

// callsForMore reports whether a machine is called for of which no run was.
func (g *Guardian) callsForMore(now time.Time, d *through) bool {
	plan := g.fedPlan()
	names, _ := plan.CalledFor(g.orders.Policy, g.fedBy(now, plan.Wiring), func(m string) bool {
		return g.covered(m) || d != nil && slices.Contains(d.scope, m)
	})
	return len(names) > 0
}

// hearTakenUp takes the word of a Pi that is back, on a UPS that was taken up.
func (g *Guardian) hearTakenUp(now time.Time, ups string) (es []Event) {
	t := g.peers.upses[ups]
	switch {
	case !g.out[ups].Elsewhere || t.Supply == power.Unknown:
		return nil
	case t.Supply != power.Mains:
		g.readings[ups] = t.heard
		return g.mark(now, ups, t.Reading)
	case t.LostFor != nil:
		return nil
	}
	delete(g.readings, ups)
	es = g.note(g.Epoch, shutdown.Event{Type: OnMains, Target: ups, At: now, Why: t.pi + " says so"})
	if g.mains(now) {
		es = append(es, g.mainsBack(now, true)...)
	}
	return es
}

// takenUp is a UPS that was taken up and may be on battery still; empty: there is none.
func (g *Guardian) takenUp(now time.Time) string {
	for _, ups := range slices.Sorted(maps.Keys(g.out)) {
		if h, ok := g.readings[ups]; g.out[ups].Elsewhere && (!ok || g.standing(h.now(now)) == power.StillCalls) {
			return ups
		}
	}
	return ""
}

// CallsElsewhere reports whether a UPS that another Pi reads is on battery, or was when that Pi fell silent.
func (g *Guardian) CallsElsewhere(now time.Time) bool { return g.outElsewhere(now) != "" }

// ActsElsewhere reports whether the Pi's own run may go on by a UPS that it took up, whatever its own say.
func (g *Guardian) ActsElsewhere(now time.Time) bool { return g.open() && g.takenUp(now) != "" }

// leftToBrain reports whether the only UPSes that call are of a Pi that is not heard here, while a brain that is
// heard says that it runs nothing: it may hear that Pi, and that the mains are there.
func (g *Guardian) leftToBrain(now time.Time) bool {
	if g.elsewhere.none.IsZero() || now.Sub(g.elsewhere.none) >= patience || g.takenUp(now) == "" {
		return false
	}
	for ups := range g.out {
		if h, ok := g.readings[ups]; !g.out[ups].Elsewhere && (!ok || g.standing(h.now(now)) == power.StillCalls) {
			return false
		}
	}
	return true
}

// freshest is the lowest counter of a run of the brain's that may be of the outage that goes on: that of a UPS
// that was taken up began while those here had mains.
func (g *Guardian) freshest(now time.Time) uint64 {
	if f := g.elsewhere.fresh; f > 0 && g.takenUp(now) != "" {
		return min(f, g.fresh)
	}
	return g.fresh
}
