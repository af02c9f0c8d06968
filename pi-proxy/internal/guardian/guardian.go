package guardian

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

var errInterrupted = errors.New("the Pi was restarted before an answer came")

const (
	// patience is how long the brain has to show that it acts (rule G1).
	patience = 10 * time.Second
	// urgent is the same when time is short: a low battery, or less than the plan needs.
	urgent = 2 * time.Second
)

// Orders are what the Pi was given to guard its site with.
type Orders struct {
	Armed  bool
	Plan   shutdown.Plan
	Policy power.Policy
	// InternetAfter is after how long without internet the plan begins for that; 0: never.
	InternetAfter time.Duration
	Pis           []string // the site's, the first to act first; one that is alone may be left out
}

// Event is a step of the Pi's own run, or what else of an outage a later process must know. It
// is to be on disk before anything comes of it; only a disk that takes nothing is not waited for.
type Event struct {
	// Epoch is the brain's for BrainDone, Yielded and EpochSeen, another Pi's for PeerEpoch and
	// PeerDone, and else what the Pi holds its own run under, the last one if none is open.
	Epoch shutdown.Epoch `json:"epoch"`
	Event shutdown.Event `json:"event"`
	// Transfer is the one that OnBattery is about, as far as the UPS names it; nil: not at all.
	Transfer *power.Transfer `json:"transfer,omitempty"`
	// Elsewhere: another Pi reads the UPS that OnBattery is about.
	Elsewhere bool `json:"elsewhere,omitempty"`
}

// The events of an outage, beside those of the Pi's own run.
const (
	// BrainDone: the brain's run of this outage has ended or was stopped, so it needs no other.
	BrainDone shutdown.EventType = "brain_done"
	// Yielded: the brain, or another Pi, runs the plan under a later epoch, or all that its run was for
	// have mains again (rule U7). The outage is not done with.
	Yielded shutdown.EventType = "yielded"
	// OutageOver: the mains are there, or no UPS counts as on battery any more. Nothing that was
	// begun or named until then holds the next outage's run back.
	OutageOver shutdown.EventType = "outage_over"
	// OnBattery: a UPS, the event's target, is on battery since the event's time, or in a test
	// that is too long or drains it; again when its transfer is named. OnMains: it was, and is on mains.
	OnBattery shutdown.EventType = "on_battery"
	OnMains   shutdown.EventType = "on_mains"
	// ContactLost: nothing certain is heard since the event's time of a UPS that was on battery; OnBattery
	// once it is.
	ContactLost shutdown.EventType = "contact_lost"
	// Gone: a UPS that was on battery was not heard for so long that it no longer counts as that.
	Gone shutdown.EventType = "gone"
	// Rebooted: the Pi runs in another boot, by whose clock nothing of before can be counted, and
	// whose silence says nothing of a UPS that was on battery.
	Rebooted shutdown.EventType = "rebooted"
	// StopHeard: a person stopped the plan in this outage, whose run was through by then.
	StopHeard shutdown.EventType = "stop_heard"
	// EpochSeen: the brain has named an epoch above all that it named before, no lower than the Pi's and another.
	EpochSeen shutdown.EventType = "epoch_seen"
)

// Guardian is the Pi's side of who acts. It is not safe for concurrent use.
type Guardian struct {
	self   string
	orders Orders

	// Run is the Pi's own, the last one, and Epoch what it holds it under.
	Run   *shutdown.Run
	Epoch shutdown.Epoch

	seen     shutdown.Epoch    // the highest that the brain has named
	fresh    uint64            // the lowest counter of a run that was not begun when the mains were last known to be there, or the Pi last began one
	readings map[string]heard  // of each UPS whose supply was heard since Resumed
	out      map[string]Outage // UPSes that were on battery when last heard
	silent   time.Time         // since when nothing is heard of those of out without a reading; zero: they must be heard first
	listens  time.Time         // since when this process hears whoever speaks
	turned   time.Time         // the last Tick
	holds    time.Time         // since when S2's reason has held; zero: it does not
	held     bool              // it held before Resumed, in an outage that may go on
	brain    time.Time         // the brain's last word that it acts in this outage
	another  time.Time         // when somebody was last heard to hold an open run above the Pi's last
	unbound  bool              // the brain has said since the mains were last there that nothing is stopped
	done     bool              // a run of this outage was begun here, or is over at the brain's
	wake     time.Time
	end      ending
	peers    peers
	fed      fed
	net      internet

	elsewhere elsewhere
}

// heard is a reading and when it came.
type heard struct {
	power.Reading
	at time.Time
}

// New makes a guardian that holds no plan and does nothing.
func New(self string) *Guardian {
	g := &Guardian{self: self, readings: map[string]heard{}, out: map[string]Outage{}}
	g.fresh = g.unused()
	g.peersOver()
	return g
}

// Restore replays an event of an earlier process.
func (g *Guardian) Restore(e Event) {
	g.fed.restore(e.Event)
	g.net.restore(e.Event)
	g.elsewhere.restore(e)
	switch {
	case g.end.restore(e.Event), g.peers.restore(e):
	case e.Event.Type == OnBattery:
		o := Outage{Since: e.Event.At, Elsewhere: e.Elsewhere}
		if e.Transfer != nil {
			o.Transfer = *e.Transfer
		}
		g.out[e.Event.Target] = o
	case e.Event.Type == Rebooted:
		maps.DeleteFunc(g.out, func(_ string, o Outage) bool { return o.Elsewhere }) // nobody else would hear of it
		for ups, o := range g.out {
			o.Since, o.Lost = time.Time{}, time.Time{}
			g.out[ups] = o
		}
	case e.Event.Type == ContactLost:
		if o, ok := g.out[e.Event.Target]; ok {
			o.Lost = e.Event.At
			g.out[e.Event.Target] = o
		}
	case e.Event.Type == OnMains || e.Event.Type == Gone:
		delete(g.out, e.Event.Target)
	case e.Event.Type == EpochSeen:
		g.heed(e.Epoch)
	case e.Event.Type == PeerDone:
		g.done = true
	case e.Event.Type == BrainDone:
		g.done = true
		g.heed(e.Epoch)
	case e.Event.Type == OutageOver:
		g.done, g.fresh = false, g.unused()
		g.peersOver()
	case e.Event.Type == Yielded:
		g.done = false
		g.heed(e.Epoch)
	case e.Event.Type == shutdown.Began:
		g.done = e.Event.Run.On == shutdown.ForPower
		g.fresh = e.Epoch.Counter // whatever the brain begins from now on is above it
		g.Epoch, g.Run = e.Epoch, shutdown.Start(e.Event)
		g.peers.fresh = e.Epoch.Counter
		if !g.done { // it is of no outage of the power
			g.peers.fresh++
		}
	case g.Run != nil:
		if e.Event.Type == shutdown.PowerJoined {
			g.Epoch = e.Epoch
		}
		g.Run.Apply(e.Event)
		g.done = g.done && e.Event.Type != shutdown.PowerLeft || e.Event.Type == shutdown.PowerJoined
	}
}

// heed remembers the highest epoch that the brain has named.
func (g *Guardian) heed(e shutdown.Epoch) {
	if e.Compare(g.seen) > 0 {
		g.seen = e
	}
}

// unused is the lowest counter of an epoch of the brain's that is not known yet. The Pi's own
// run was begun above all that were.
func (g *Guardian) unused() uint64 { return max(g.seen.Counter+1, g.Epoch.Counter) }

// NextDeadline is when Tick should be called if nothing happens; zero: never.
func (g *Guardian) NextDeadline() time.Time { return g.wake }

// Resumed forgets what only holds while the process runs: after a restart or a pause the
// UPS must be heard again, and the brain has its patience anew.
func (g *Guardian) Resumed(now time.Time) []Event {
	g.held = g.held || !g.holds.IsZero()
	g.holds, g.listens, g.net.since = time.Time{}, now, time.Time{}
	clear(g.readings)
	g.listen(now)
	if g.Run != nil && !g.open() && !g.orders.Armed { // one that is open waits: what armed it may not have come to disk
		return g.disarmed(now)
	}
	return g.interrupted(now)
}

// Order takes a new bundle. A run keeps the plan that it began with; a disarmed plan
// ends it.
func (g *Guardian) Order(now time.Time, o Orders) []Event {
	g.orders = o
	if !o.Armed && g.Run != nil {
		return g.disarmed(now)
	}
	return g.Tick(now)
}

// Mandated takes the brain's word on who acts.
func (g *Guardian) Mandated(now time.Time, epoch shutdown.Epoch, run shutdown.State) []Event {
	es := g.internetBack(now) // also by another Pi's way
	g.holdsAnother(now, epoch, run)
	if epoch.Compare(g.seen) > 0 && epoch.Counter >= g.Epoch.Counter && epoch != g.Epoch {
		es = append(es, g.note(epoch, shutdown.Event{Type: EpochSeen, At: now})...)
	}
	return append(es, g.mandated(now, epoch, run)...)
}

func (g *Guardian) mandated(now time.Time, epoch shutdown.Epoch, run shutdown.State) []Event {
	if g.open() && epoch.Compare(g.Epoch) > 0 && run == shutdown.Advancing {
		g.holds, g.brain = now, now // should it stop advancing, the Pi takes over again
		es := g.apply(g.Run.Abort(now, "the brain's own run advances under a later epoch"))
		return append(es, g.note(epoch, shutdown.Event{Type: Yielded, At: now})...)
	}
	if run == shutdown.Disarmed && epoch.Compare(g.seen) < 0 {
		return g.Tick(now) // a brain that has lost its memory: only a bundle that a person disarmed counts
	}
	if g.Run != nil && run == shutdown.Disarmed { // the bundle that says so may not be on disk
		if es := g.disarmed(now); len(es) > 0 {
			return es
		}
	}
	if run.Open() && g.wasStopped() && epoch.Compare(g.peers.under) > 0 { // so to the brain this is another outage
		g.holds, g.brain = now, now // should its run not advance, the Pi takes over
		return append(g.note(epoch, shutdown.Event{Type: Yielded, At: now}), g.Tick(now)...)
	}
	g.brainElsewhere(now, epoch, run)
	es := append(g.hearStop(now, epoch, run), g.hearStopElsewhere(now, epoch, run)...)
	// In the ride-through the brain may be gone after it. One that says so from the first word on may not have heard
	// of the mains that ended the outage before.
	early := run == shutdown.Stopped && len(g.out) > 0 && g.unbound
	g.unbound = g.unbound || run != shutdown.Stopped && epoch.Compare(g.seen) >= 0
	if g.holds.IsZero() && !g.held && !early {
		return es
	}
	switch run {
	case shutdown.Advancing, shutdown.Disarmed:
		g.brain = now
	case shutdown.HasEnded, shutdown.Stopped:
		ts, more := g.newlyDone(now, run, g.fed.brain)
		if more && epoch.Counter >= g.freshest(now) { // a run of an outage before says nothing about this one
			es = append(es, g.note(epoch, shutdown.Event{Type: BrainDone, At: now, Why: saidDone(run), Targets: ts})...)
		}
	}
	return append(es, g.Tick(now)...)
}

// Reported takes a reading of one of the site's UPSes. One that does not know its supply
// says nothing: a Pi that has just booted hears apcupsd before apcupsd hears the UPS.
func (g *Guardian) Reported(now time.Time, ups string, r power.Reading) []Event {
	var es []Event
	if r.Supply != power.Unknown && !g.tooOld(now, r) {
		g.readings[ups] = heard{r, now}
		es = append(g.anew(now, ups, r), g.mark(now, ups, r)...)
	}
	es = append(es, g.takeUpUPSes(now)...) // else it would be the mains' word alone, each second
	if r.Supply != power.Mains || !g.mains(now) {
		return append(es, g.Tick(now)...)
	}
	return append(es, g.mainsBack(now, slices.ContainsFunc(es, func(e Event) bool { return e.Event.Type == OnMains }))...)
}

// powerBack ends what an outage began. Where none did here, and another Pi's UPS is out, what is known of runs is of
// that outage, and of this Pi's too should its own UPS follow (rules G2, U7).
func (g *Guardian) powerBack(now time.Time, why string, ended bool) (es []Event) {
	g.holds, g.held, g.brain, g.wake, g.unbound = time.Time{}, false, time.Time{}, time.Time{}, false
	es = g.powerLeaves(now, why)
	if g.open() && g.Run.ForPower() {
		es = g.apply(g.Run.Abort(now, why))
	}
	if !g.done && !ended && g.outElsewhere(now) != "" {
		return es
	}
	if g.done || g.fresh != g.unused() || g.peers.fresh != g.known().Counter+1 || len(g.peers.kept) > 0 {
		es = append(es, g.note(g.Epoch, shutdown.Event{Type: OutageOver, At: now})...)
	}
	return es
}

// Answered is the outcome of a command.
func (g *Guardian) Answered(now time.Time, target string, found []shutdown.Target, err error) []Event {
	if g.Run == nil {
		return nil
	}
	return append(g.apply(g.Run.Answered(now, target, found, err)), g.Tick(now)...)
}

// Seen is what was seen of a target.
func (g *Guardian) Seen(now time.Time, target string, s shutdown.Sight) []Event {
	if g.Run == nil {
		return nil
	}
	es := g.Run.Seen(now, target, s)
	if !g.goesOn(now) {
		es = shutdown.WithoutCommands(es)
	}
	return append(g.apply(es), g.Tick(now)...)
}

// Tick is the passing of time. A reading ages with it; the Pi polls the UPS each second
// and reports also that it could not.
func (g *Guardian) Tick(now time.Time) []Event {
	es := append(g.forgetGone(now), g.keepStopElsewhere(now)...)
	es = append(es, g.takeUpUPSes(now)...)
	es = append(es, g.tick(now)...)
	es = append(es, g.noteLost(now)...)
	es = append(es, g.putBack(now)...)
	return append(es, g.finish(now)...)
}

func (g *Guardian) tick(now time.Time) []Event {
	g.wake, g.turned = time.Time{}, now
	if g.open() {
		es := g.joinPower(now)
		if g.goesOn(now) {
			es = append(es, g.advanceFed(now)...)
		}
		return es
	}
	if es := g.beginOffline(now); len(es) > 0 {
		return es
	}
	es := append(g.heedFed(now, false), g.uncover(now)...)
	if len(g.readings) == 0 && len(g.out) == 0 {
		return es
	}
	v, onBattery := g.decide(now)
	if !v.Start {
		if !onBattery {
			g.holds, g.held = time.Time{}, g.held && len(g.readings) == 0
		}
		if v.In != power.Never {
			g.wake = now.Add(v.In)
		}
		g.fed.more = time.Time{}
		return es
	}
	if g.holds.IsZero() {
		g.holds = now
	}
	if !g.guards() || g.coversAll() {
		return es
	}
	at := g.begins(v.Urgent)
	if g.done {
		at = g.beginsMore(now, v.Urgent)
	}
	if now.Before(at) {
		g.wake = at
		return es
	}
	if g.leftToBrain(now) {
		g.wake = g.elsewhere.none.Add(patience)
		return es
	}
	if g.hadItsTurn() && g.hearsAnother(now) {
		g.wake = g.another.Add(patience)
		return es
	}
	if g.wired() {
		return append(es, g.beginFed(now, v)...)
	}
	return append(g.begin(now, v), g.advance(now)...)
}

func (g *Guardian) begin(now time.Time, v power.Verdict) []Event {
	return g.start(now, shutdown.Header{Reason: v.Reason + g.nobodyActs(now), Out: g.outSince(), Takes: g.hearsAnother(now)})
}

// outSince is since when the first of the UPSes is on battery; zero: none was heard to be in this boot.
func (g *Guardian) outSince() (since time.Time) {
	for _, o := range g.out {
		if !o.Since.IsZero() && (since.IsZero() || o.Since.Before(since)) {
			since = o.Since
		}
	}
	return since
}

func (g *Guardian) start(now time.Time, h shutdown.Header) []Event {
	epoch, ran, took := shutdown.Epoch{Counter: g.known().Counter + 1, Holder: g.self}, g.net.ran, g.peers.tookNoted()
	h.ID, h.Plan = fmt.Sprintf("%s-%s-%d", g.orders.Plan.Site, g.self, epoch.Counter), g.orders.Plan
	h.Owed, h.Starting = append(g.owed(), g.takesUp(h)...), g.Run.StartsUnderWay(now)
	es := g.note(epoch, shutdown.Event{Type: shutdown.Began, At: now, Run: &h})
	// A run's record begins anew, and must hold what else is known.
	if g.seen != (shutdown.Epoch{}) {
		es = append(es, g.note(g.seen, shutdown.Event{Type: EpochSeen, At: now})...)
	}
	if g.peers.known != (shutdown.Epoch{}) {
		es = append(es, g.note(g.peers.known, shutdown.Event{Type: PeerEpoch, At: now})...)
	}
	es = append(es, g.keepStopped(now, g.peers.actor, took)...)
	if ran {
		es = append(es, g.note(epoch, shutdown.Event{Type: InternetRan, At: now})...)
	}
	for _, ups := range slices.Sorted(maps.Keys(g.out)) {
		es = append(es, g.onBattery(epoch, ups, g.out[ups])...)
	}
	if at := g.end.tripped; !at.IsZero() {
		es = append(es, g.note(epoch, shutdown.Event{Type: Tripped, Target: g.end.own.UPS, At: at, Why: atItsEnd})...)
	}
	return es
}

func (g *Guardian) note(epoch shutdown.Epoch, e shutdown.Event) []Event {
	es := []Event{{Epoch: epoch, Event: e}}
	g.Restore(es[0])
	return es
}

func (g *Guardian) advance(now time.Time) []Event {
	var out []Event
	for g.open() {
		es := g.Run.Next(now)
		if len(es) == 0 {
			g.wake = g.Run.NextDeadline()
			break
		}
		out = append(out, g.apply(es)...)
	}
	return out
}

func (g *Guardian) apply(es []shutdown.Event) []Event {
	var out []Event
	for _, e := range es {
		out = append(out, Event{Epoch: g.Epoch, Event: e})
		g.Run.Apply(e)
	}
	return out
}

// guards reports whether a plan is armed.
func (g *Guardian) guards() bool { return g.orders.Armed && len(g.orders.Plan.Stages) > 0 }

func (g *Guardian) open() bool { return g.Run != nil && !g.Run.Over() }
