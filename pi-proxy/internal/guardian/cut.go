package guardian

import (
	"errors"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// The events of the Pi's own end, each with its reason.
const (
	// Tripped: apcupsd was about to shut the Pi down, and has left that to the guardian.
	Tripped shutdown.EventType = "tripped"
	// Halting: the Pi powers itself off, and the UPS keeps its output.
	Halting shutdown.EventType = "halting"
	// Cutting: the Pi powers itself off and has its UPS, the event's target, cut its output.
	Cutting shutdown.EventType = "cutting"
	// Clearing: apcupsd is to forget that it wanted to shut the Pi down.
	Clearing shutdown.EventType = "clearing"
)

// Why Trip leaves it to apcupsd to shut the Pi down.
var (
	ErrNoPlan   = errors.New("no plan is armed here, so apcupsd shuts the Pi down by itself")
	ErrNotOwn   = errors.New("no apcupsd of this machine is configured here, so it shuts the Pi down by itself")
	ErrNotHeard = errors.New("the UPS has not been heard yet, so apcupsd shuts the Pi down by itself")
)

// Own is how the Pi itself hangs on a UPS.
type Own struct {
	UPS  string // the one whose apcupsd runs on the Pi; empty: none does, and the Pi stays on
	Halt bool   // the Pi goes down where apcupsd would take it down, but after the plan (rule G7)
	Cut  bool   // and the UPS's output is cut as the last thing (rule G4)
}

const (
	// shutFor is how long every machine must have been seen down for the output to be cut.
	shutFor = time.Minute
	// lookGap is how far two looks may lie apart that tell of all the time between them.
	lookGap = 15 * time.Second
	// silentFor is how long the agent of a machine that is down has been silent (rule S4).
	silentFor = 5 * time.Second
	// flatUnder is the runtime under which nothing is waited for any more.
	flatUnder = time.Minute
	// tripSlack is how much earlier than the Pi apcupsd may know of the battery: it shuts down
	// 0.05 s after the switch to one that is low already.
	tripSlack = 10 * time.Second
	// tripHolds is for how long apcupsd's word counts also for the next time on battery, while
	// it has not forgotten it itself.
	tripHolds = 30 * time.Minute
	// wellUsed is the charge under which a battery has been used for real.
	wellUsed = 0.5
	// cutPatience is for how long a Pi that may halt still waits to be allowed to cut the output.
	cutPatience = 90 * time.Second
	// sparesAfter is how long nothing must be called for in an outage for the Pi not to wait for a plan.
	sparesAfter = 2 * patience
	// clearAfter is how long the mains must be back for apcupsd to be made to forget. A Pi that
	// apcupsd itself takes down is off by then.
	clearAfter = time.Minute
	// What was ordered is ordered again after a while, if the Pi is still there.
	leaveAgain = time.Minute
	clearAgain = 10 * time.Minute
)

// atItsEnd is apcupsd's word as a reason of rule S2.
const atItsEnd = "apcupsd says that the battery is at its end"

// ending is what the guardian knows of the Pi's own end. The zero value is ready.
type ending struct {
	own      Own
	tripped  time.Time        // when apcupsd last wanted to shut the Pi down; zero: never in this boot
	left     string           // the UPS at whose end the Pi powers itself off, if nothing was heard of it since
	cutting  bool             // with the word to cut the output, which may lie there still
	mine     bool             // the Pi's own last run is of this outage
	over     bool             // the brain's run of this outage has ended, or another Pi's
	stopped  bool             // a person stopped the plan after that, or after the Pi's own run had ended
	machines map[string]*shut // those that were seen down in the last look, by ID
	spares   time.Time        // since when the plan leaves on all machines in an outage; zero: it does not
	waits    time.Time        // since when the Pi may halt at apcupsd's word; zero: it may not
	next     time.Time        // before which nothing is ordered again
}

// shut is a machine that is down.
type shut struct {
	since, seen time.Time
	left        bool // its last word was that it powers off
}

// Hangs says how the Pi itself hangs on a UPS. It is for before anything is restored.
func (g *Guardian) Hangs(own Own) { g.end.own = own }

// restore takes what an event says of the Pi's own end, and reports whether that was all of it.
func (e *ending) restore(ev shutdown.Event) (all bool) {
	switch ev.Type {
	case Tripped:
		e.tripped = ev.At
		return true
	case Rebooted: // a booted Pi has an apcupsd that wants nothing
		e.tripped, e.cutting = time.Time{}, false
	case Halting, Cutting:
		e.left, e.cutting = ev.Target, ev.Type == Cutting
		return true
	case Clearing:
		e.left, e.cutting = "", false
		return true
	case OnBattery, OnMains, Gone:
		if ev.Target == e.left {
			e.left = ""
		}
	case StopHeard:
		e.stopped = true
		return true
	case shutdown.Began:
		e.stopped = false
		e.mine, e.over, e.left, e.cutting = ev.Run.On == shutdown.ForPower, false, "", false
	case shutdown.PowerJoined, shutdown.PowerLeft:
		e.mine, e.over = ev.Type == shutdown.PowerJoined, false
	case BrainDone, PeerDone:
		e.mine, e.over = false, ev.Why == saidDone(shutdown.HasEnded)
	case Yielded:
		e.mine, e.over, e.stopped = false, false, false
	case OutageOver:
		e.mine, e.over, e.stopped, e.left = false, false, false, ""
	}
	return false
}

// saidDone is why the brain's run needs no other after it.
func saidDone(run shutdown.State) string { return "the brain's run: " + string(run) }

// Trip takes apcupsd's word that it is about to shut the Pi down. Without an error the guardian
// sees to that instead, once what it returns is on disk. A self-test and an odd moment leave
// their trace too; only while the UPS is on battery is it a reason for anything.
func (g *Guardian) Trip(now time.Time) ([]Event, error) {
	if g.end.own.UPS == "" {
		return nil, ErrNotOwn
	}
	if !g.guards() {
		return nil, ErrNoPlan
	}
	if _, heard := g.readings[g.end.own.UPS]; !heard {
		return nil, ErrNotHeard
	}
	if g.anotherTrips() {
		return nil, nil
	}
	es := g.note(g.Epoch, shutdown.Event{Type: Tripped, Target: g.end.own.UPS, At: now, Why: atItsEnd})
	return append(es, g.Tick(now)...), nil
}

// anotherTrips reports whether it is another UPS of the Pi's whose apcupsd is at its end: the scripts of all are
// the same. By its flags, while the own one is heard and has none of them.
func (g *Guardian) anotherTrips() (another bool) {
	own := g.end.own.UPS
	ends := func(r power.Reading) bool { return r.Flags.Has(power.Shutdown) || r.Flags.Has(power.LowBattery) }
	for ups, h := range g.readings {
		another = another || ups != own && !g.out[ups].Elsewhere && ends(h.Reading)
	}
	return another && g.readings[own].LostFor == nil && !ends(g.readings[own].Reading)
}

// ownReading is what the Pi's own UPS says, as it stands now.
func (g *Guardian) ownReading(now time.Time) (power.Reading, bool) {
	h, ok := g.readings[g.end.own.UPS]
	old := now.Sub(h.at)
	if old > power.Fresh {
		return h.Lost(old), ok
	}
	return h.Aged(old), ok
}

// tripped reports whether apcupsd wanted to shut the Pi down in the outage that goes on.
func (g *Guardian) tripped() bool {
	o, out := g.out[g.end.own.UPS]
	at := g.end.tripped
	if !out || at.IsZero() {
		return false
	}
	if !at.Before(o.Since.Add(-tripSlack)) {
		return true
	}
	return g.readings[g.end.own.UPS].Flags.Has(power.Shutdown) && o.Since.Sub(at) < tripHolds
}

// tripReason is apcupsd's word as a reason to begin, which it is at once, but not in a test.
func (g *Guardian) tripReason(now time.Time) (v power.Verdict) {
	v.In = power.Never
	if r, ok := g.ownReading(now); ok && r.OnBattery() && r.LostFor == nil && g.tripped() {
		v.Start, v.Urgent, v.Reason = true, true, atItsEnd
	}
	return v
}

// finish is what the Pi does with itself at the end of an outage, and after it.
func (g *Guardian) finish(now time.Time) []Event {
	if g.end.own.UPS == "" {
		return nil
	}
	switch {
	case !g.wired() || g.done || g.open() || !g.holds.IsZero() || len(g.out) == 0:
		g.end.spares = time.Time{}
	case g.end.spares.IsZero():
		g.end.spares = now
	}
	switch may := g.tripped() && !g.open() && (g.done && g.fed.more.IsZero() || !g.guards() || g.sparesAll(now)); {
	case !may:
		g.end.waits = time.Time{}
	case g.end.waits.IsZero():
		g.end.waits = now
	}
	if now.Before(g.end.next) {
		return nil
	}
	what, why := g.Leaves(now)
	again := leaveAgain
	if what == "" && g.mustClear(now) {
		what, why, again = Clearing, "the power is back for "+power.Spell(clearAfter)+" and the Pi stays on", clearAgain
	}
	if what == "" {
		return nil
	}
	g.end.next = now.Add(again)
	return g.note(g.Epoch, shutdown.Event{Type: what, Target: g.end.own.UPS, At: now, Why: why})
}

// Leaves is whether the Pi is to power itself off now, Halting or Cutting, and why; empty: it
// is not. Whoever does it asks again right before (rule S5). On mains it never is, nor in a
// test; and the output is cut only by a plan that is armed.
func (g *Guardian) Leaves(now time.Time) (what shutdown.EventType, why string) {
	own := g.end.own
	r, ok := g.ownReading(now)
	if !own.Halt || !ok || !r.OnBattery() {
		return "", ""
	}
	sees := r.LostFor == nil && g.orders.Armed
	switch {
	case sees && own.Cut && g.ended() && g.allShut(now):
		return Cutting, "every machine of the plan has been seen down for " + power.Spell(shutFor)
	case sees && flat(r) && g.late(now):
		what, why = Halting, "the battery lasts for under "+power.Spell(flatUnder)
		if own.Cut && (!g.done || g.open() || g.ended()) { // under machines that a person keeps on it is not
			what = Cutting
		}
		return what, why
	case g.end.waits.IsZero():
	case own.Cut && g.orders.Armed && now.Sub(g.end.waits) < cutPatience: // it may be allowed to cut yet
	case !g.guards():
		return Halting, atItsEnd + ", and no plan is armed any more"
	case !g.done:
		return Halting, atItsEnd + ", and the plan leaves all machines on"
	default:
		return Halting, atItsEnd + ", and the plan is through"
	}
	return "", ""
}

// sparesAll reports whether nothing goes down for the Pi's own UPS, since others have what it feeds (rule U7), and
// those had the time to be heard.
func (g *Guardian) sparesAll(now time.Time) bool {
	return !g.end.spares.IsZero() && now.Sub(g.end.spares) >= sparesAfter
}

// late reports whether the plan had its time to begin, whoever runs it.
func (g *Guardian) late(now time.Time) bool {
	return g.done || g.sparesAll(now) || !g.holds.IsZero() && now.Sub(g.holds) >= patience+time.Duration(g.place(""))*turnEach
}

// ended reports whether a run of this outage is through, the Pi's or the brain's. One that was
// stopped is not.
func (g *Guardian) ended() bool {
	return g.fed.more.IsZero() && (g.end.over || g.end.mine && g.Run.Finished && !g.Run.DryRun)
}

// flat reports whether a battery is about to be empty. A runtime alone may be an odd answer, or
// that of a UPS which cannot count: it must have held, and a low or well used battery bear it out.
func flat(r power.Reading) bool {
	under := func(s *power.Seconds) bool { return s != nil && s.Duration() < flatUnder }
	c := r.Course
	used := r.LowFor != nil || c != nil && c.Charge != nil && *c.Charge < wellUsed
	return used && under(r.Runtime) && (c == nil || under(c.Runtime))
}

// allShut reports whether every machine of the plan has been seen down for long enough. Silence
// alone may be that of a switch without power: each must also have taken the command, from the
// Pi's own run or that of another Pi, or have said that it powers off.
func (g *Guardian) allShut(now time.Time) bool {
	ms := g.machines()
	for _, t := range ms {
		m := g.end.machines[t.ID()]
		if m == nil || now.Sub(m.seen) > lookGap || now.Sub(m.since) < shutFor || !m.left && !g.took(t.ID()) {
			return false
		}
	}
	return len(ms) > 0
}

func (g *Guardian) took(id string) bool {
	if !g.end.mine {
		return slices.Contains(g.peers.took, id)
	}
	for _, p := range g.Run.Targets {
		if p.Target.ID() == id && p.Took {
			return true
		}
	}
	return false
}

// machines are all that the plan is about, also those that it leaves on, but for those that are said
// to be fed by other UPSes alone: each of them counts as one of the Pi's own UPS.
func (g *Guardian) machines() []shutdown.Target {
	plan := g.orders.Plan
	if g.end.mine {
		plan = g.Run.Plan
	}
	return slices.DeleteFunc(plan.Machines(), func(m shutdown.Target) bool {
		if plan.Wiring == nil {
			return false
		}
		by := plan.Wiring.Feeders(m.Node)
		return len(by) > 0 && !slices.Contains(by, g.end.own.UPS)
	})
}

// Watches are the machines that are to be looked at although the plan is through, since the
// output may be cut once all are down.
func (g *Guardian) Watches(now time.Time) []shutdown.Target {
	r, ok := g.ownReading(now)
	if !g.end.own.Cut || !g.orders.Armed || !ok || !r.OnBattery() || !g.ended() {
		return nil
	}
	return g.machines()
}

// Sighted is what was seen of one of them.
func (g *Guardian) Sighted(now time.Time, id string, s shutdown.Sight) []Event {
	for _, t := range g.machines() {
		if t.ID() == id {
			g.sighted(now, t, s)
		}
	}
	return g.Tick(now)
}

func (g *Guardian) sighted(now time.Time, t shutdown.Target, s shutdown.Sight) {
	silent := s.SilentFor != nil && *s.SilentFor >= silentFor
	down := s.Closed && (silent || s.SilentFor == nil) || t.Kind == shutdown.Host && silent
	m := g.end.machines[t.ID()]
	switch {
	case !down:
		delete(g.end.machines, t.ID())
		return
	case m == nil || now.Sub(m.seen) > lookGap:
		m = &shut{since: now}
	}
	if g.end.machines == nil {
		g.end.machines = map[string]*shut{}
	}
	m.seen, m.left = now, s.Leaving
	g.end.machines[t.ID()] = m
}

// mustClear reports whether apcupsd still goes down although the mains are back, which it does
// for good, or the Pi was to cut the output and is still on: each would make the next shutdown of
// the Pi cut it.
func (g *Guardian) mustClear(now time.Time) bool {
	r, ok := g.ownReading(now)
	return ok && r.LostFor == nil && r.Supply == power.Mains && (r.Flags.Has(power.Shutdown) || g.end.cutting) && r.For.Duration() >= clearAfter && g.allMains()
}
