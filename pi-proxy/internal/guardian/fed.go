package guardian

import (
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// Where the plan says which UPS feeds which machine, a run is for those that are called for (rule
// U7). An outage that is done with may have the plan go on for others then.

// fed is what the guardian knows of that. The zero value is ready.
type fed struct {
	brain  []string  // the machines that the brain's run is for, as it last said; nil: all
	more   time.Time // since when machines are called for of which no run of this outage was; zero: none are
	all    bool      // another's run of this outage was for all, or nothing more is to begin in it
	covers []string  // the machines that another's run of this outage was for
}

func (f *fed) restore(ev shutdown.Event) {
	switch ev.Type {
	case BrainDone, PeerDone:
		f.all, f.covers = len(ev.Targets) == 0, nil
		for _, m := range ev.Targets {
			f.covers = append(f.covers, m.Node)
		}
	case shutdown.Began, Yielded, OutageOver:
		f.all, f.covers = false, nil
	}
}

// wired reports whether it is known which UPS feeds which machine.
func (g *Guardian) wired() bool { return g.fedPlan().Wiring != nil }

// fedPlan is the plan that says so: the orders', or that of the Pi's own run if it goes on for others
// and a later bundle says nothing of it. A run keeps the plan that it began with (rule S10).
func (g *Guardian) fedPlan() shutdown.Plan {
	if g.orders.Plan.Wiring == nil && g.widens() {
		return g.Run.Plan
	}
	return g.orders.Plan
}

// BrainFor takes the brain's word on which machines its run is for; nil: all. It goes with the next
// Mandated.
func (g *Guardian) BrainFor(machines []string) { g.fed.brain = machines }

// covered reports whether a run of this outage was for a machine, the Pi's own or another's.
func (g *Guardian) covered(machine string) bool {
	switch {
	case !g.done:
		return false
	case g.fed.all, slices.Contains(g.fed.covers, machine):
		return true
	}
	return g.end.mine && (g.Run.Stopped != "" || !g.Run.Scoped() || slices.Contains(g.Run.Called, machine))
}

// coversAll reports whether nothing more begins in this outage, whoever is called for.
func (g *Guardian) coversAll() bool {
	return g.elsewhere.stop != (shutdown.Epoch{}) || g.done && (!g.wired() || g.fed.all || g.end.mine && (g.Run.Stopped != "" || !g.Run.Scoped()))
}

// coveredNow are all of them.
func (g *Guardian) coveredNow() (names []string) {
	for _, m := range g.orders.Plan.Machines() {
		if g.covered(m.Node) {
			names = append(names, m.Node)
		}
	}
	return names
}

// newlyDone are the machines that another's run was for which is over, beside those that are known,
// and whether it tells anything new. None are all of the plan: it was for all, or a person stopped it.
func (g *Guardian) newlyDone(now time.Time, state shutdown.State, names []string) (ts []shutdown.Target, is bool) {
	if !g.wired() || state == shutdown.Stopped || len(names) == 0 {
		return nil, !g.coversAll() && (!g.done || g.wired() && state == shutdown.Stopped)
	}
	back := g.takenBack(now) // which whoever ran it does not know yet
	for _, m := range g.orders.Plan.Machines() {
		said, known := slices.Contains(names, m.Node) && !back(m.Node), g.covered(m.Node)
		is = is || said && !known
		if said || known {
			ts = append(ts, m)
		}
	}
	if is && g.done && g.end.mine { // the Pi's own run is still to be put back, and is this outage's
		g.fed.covers = slices.Clone(names)
		return nil, false
	}
	return ts, len(ts) > 0 && (is || !g.done)
}

// takenBack is for which machines the mains have ended the outage in which they were told. A UPS that
// has not had the time to be heard has ended none.
func (g *Guardian) takenBack(now time.Time) func(machine string) bool {
	if now.Before(g.listens.Add(patience)) {
		return func(string) bool { return false }
	}
	w := g.fedPlan().Wiring
	known := g.fedBy(now, w)
	return func(m string) bool { return w.TakenBack(m, known) }
}

// fedBy is what is known of the site's UPSes, for who decides by machine.
func (g *Guardian) fedBy(now time.Time, w *power.Wiring) (feeds []power.Feed) {
	elsewhere := g.Elsewhere(now)
	names := slices.AppendSeq(slices.Collect(maps.Keys(w.Feeds)), maps.Keys(g.readings))
	names = slices.AppendSeq(slices.AppendSeq(names, maps.Keys(g.peers.upses)), maps.Keys(g.out))
	slices.Sort(names)
	word := g.tripReason(now)
	for _, ups := range slices.Compact(names) {
		f := power.Feed{UPS: ups}
		_, out := g.out[ups]
		if h, own := g.readings[ups]; own {
			f.Reading, f.Standing = g.ownFeed(h.now(now))
		} else if r, other := elsewhere[ups]; other {
			f.Reading, f.Standing = &r, g.standing(r)
		} else if out {
			f.Reading, f.Standing = g.silentFeed(now, ups)
		} else if h := g.peers.upses[ups].heard; g.lostElsewhere(now, h) { // what was called for goes on (rule S5)
			f.Reading, f.Standing = g.ownFeed(h.now(now))
			if g.outLater(h.at.Add(peerFor)) { // but nothing begins for it in an outage here that came later
				f.Reading = nil
			}
		} else if now.Before(g.listens.Add(patience)) { // it has the time to be heard first
			f.Reading, f.Standing = &power.Reading{Supply: power.Mains}, power.HasMains
		}
		if word.Start && ups == g.end.own.UPS {
			f.Word = word.Reason
		}
		feeds = append(feeds, f)
	}
	return feeds
}

// now is the reading as it stands now.
func (h heard) now(now time.Time) power.Reading {
	if old := now.Sub(h.at); old > power.Fresh {
		return h.Lost(old)
	}
	return h.Aged(now.Sub(h.at))
}

// lostElsewhere reports whether a UPS that another Pi reads was not on mains when that Pi fell silent.
func (g *Guardian) lostElsewhere(now time.Time, h heard) bool {
	return !h.at.IsZero() && h.Supply != power.Mains && now.Sub(h.at) < h.GoneAfter()
}

func (g *Guardian) ownFeed(r power.Reading) (*power.Reading, power.Standing) {
	if r.LostFor != nil && g.tooLong(r.LostFor.Duration()) {
		return nil, g.standing(r)
	}
	return &r, g.standing(r)
}

// silentFeed is a UPS that was on battery and was not heard since the process began.
func (g *Guardian) silentFeed(now time.Time, ups string) (*power.Reading, power.Standing) {
	if !slices.Contains(g.unheard(), ups) {
		return nil, power.Unsure
	}
	lost := now.Sub(g.lostSince(ups))
	if g.lostIn(now) > 0 || g.tooLong(lost) {
		return nil, power.StillCalls
	}
	r := power.Reading{Supply: power.Battery, For: power.InSeconds(now.Sub(g.out[ups].Since))}
	return new(r.Lost(lost)), power.StillCalls
}

// standing is whether a UPS may be a reason still of what it called for.
func (g *Guardian) standing(r power.Reading) power.Standing {
	return g.orders.Policy.Stands(r, g.orders.Plan.Need())
}

// decideFed asks the policy about each machine that no run of this outage was for. While all UPSes
// that the Pi reads have mains, as in a self-test, it is another Pi that acts.
func (g *Guardian) decideFed(now time.Time) (v power.Verdict, onBattery bool) {
	v.In = power.Never
	unheard := g.unheard()
	onBattery = len(unheard) > 0
	for _, h := range g.readings {
		onBattery = onBattery || h.OnBattery()
	}
	if len(g.out) == 0 {
		return v, onBattery
	}
	plan := g.fedPlan()
	_, v = plan.CalledFor(g.orders.Policy, g.fedBy(now, plan.Wiring), g.covered)
	if in := g.lostIn(now); len(unheard) > 0 && in > 0 && !v.Start && (v.In == power.Never || in < v.In) {
		v.In = in
	}
	return v, onBattery
}

// heedFed lets the Pi's own run of this outage take who is called for now, and who no longer is. One
// that is through goes on for others only once nobody else acts for them.
func (g *Guardian) heedFed(now time.Time, widen bool) []Event {
	if g.Run == nil || !g.end.mine || !g.Run.Widens() || g.Run.Finished && g.calm(now) {
		return nil
	}
	later := g.orders.Plan.Wiring
	w := later
	if w == nil {
		w = g.Run.Plan.Wiring
	}
	es, in := g.Run.Heed(now, g.orders.Policy, g.Run.Plan.Wiring.Without(later, g.fedBy(now, w)), widen)
	out := g.apply(es)
	if at := now.Add(in); in != power.Never && (g.wake.IsZero() || at.Before(g.wake)) {
		g.wake = at
	}
	return out
}

// advanceFed lets the open run advance, for who is called for now.
func (g *Guardian) advanceFed(now time.Time) []Event {
	es := g.heedFed(now, true)
	at := g.wake
	es = append(es, g.advance(now)...)
	if !at.IsZero() && (g.wake.IsZero() || at.Before(g.wake)) {
		g.wake = at
	}
	return es
}

// widens reports whether the Pi's own run may go on for machines that are called for later.
func (g *Guardian) widens() bool {
	return g.done && g.end.mine && g.Run.Widens() && g.known().Compare(g.Epoch) <= 0
}

// uncover lets the next outage of a machine begin anew for it, once the mains have ended the one in which
// another's run told it, while other machines are still in theirs.
func (g *Guardian) uncover(now time.Time) []Event {
	if !g.wired() || !g.done {
		return nil
	}
	still := slices.DeleteFunc(slices.Clone(g.fed.covers), g.takenBack(now))
	if len(still) == len(g.fed.covers) {
		return nil
	}
	if g.end.mine {
		g.fed.covers = still
		return nil
	}
	e := shutdown.Event{Type: PeerDone, At: g.peers.since}
	if g.end.over {
		e.Why = saidDone(shutdown.HasEnded)
	}
	for _, m := range g.orders.Plan.Machines() {
		if slices.Contains(still, m.Node) {
			e.Targets = append(e.Targets, m)
		}
	}
	if len(e.Targets) == 0 {
		g.holds = time.Time{} // the brain has its patience anew
		return g.note(g.seen, shutdown.Event{Type: Yielded, At: now})
	}
	return g.note(g.peers.under, e)
}

// beginFed begins the plan for those that are called for, or has the Pi's own run go on for them.
func (g *Guardian) beginFed(now time.Time, v power.Verdict) []Event {
	g.fed.more = time.Time{}
	if g.widens() {
		if es := g.heedFed(now, true); len(es) > 0 { // none if only a later plan knows that they are called for
			return append(es, g.advance(now)...)
		}
	}
	if g.orders.Plan.Wiring == nil {
		return nil // of a new run that would call for all
	}
	before := g.coveredNow()
	es := g.begin(now, v)
	es = append(es, g.apply(g.Run.Covered(now, before, "another run of this outage was for them"))...)
	es = append(es, g.heedFed(now, true)...)
	return append(es, g.advance(now)...)
}

// beginsMore is when the Pi begins for what is called for later in an outage.
func (g *Guardian) beginsMore(now time.Time, soon bool) time.Time {
	if g.fed.more.IsZero() {
		g.fed.more = now
	}
	wait := patience
	if soon {
		wait = urgent
	}
	at, first := g.begins(soon), g.fed.more.Add(wait+time.Duration(g.place(""))*turnEach)
	if first.After(at) {
		return first
	}
	return at
}
