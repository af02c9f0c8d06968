package guardian

import (
	"errors"
	"fmt"
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
}

// Event is a step of the Pi's own run, to be on disk before anything comes of it.
type Event struct {
	Epoch shutdown.Epoch `json:"epoch"`
	Event shutdown.Event `json:"event"`
}

// Guardian is the Pi's side of who acts. It is not safe for concurrent use.
type Guardian struct {
	self   string
	orders Orders

	// Run is the Pi's own, the last one, and Epoch what it holds it under.
	Run   *shutdown.Run
	Epoch shutdown.Epoch

	seen     shutdown.Epoch // the highest that the brain has named
	reading  power.Reading
	heard    bool      // a reading came in this process
	holds    time.Time // since when S2's reason has held; zero: it does not
	brain    time.Time // the brain's last word that it acts, within this reason
	standing bool      // the brain's run of this outage has ended or was stopped
	wake     time.Time
}

// New makes a guardian that holds no plan and does nothing.
func New(self string) *Guardian { return &Guardian{self: self} }

// Restore replays an event of an earlier process.
func (g *Guardian) Restore(e Event) {
	g.Epoch = e.Epoch
	if e.Event.Type == shutdown.Began {
		g.Run = shutdown.Start(e.Event)
	} else if g.Run != nil {
		g.Run.Apply(e.Event)
	}
}

// NextDeadline is when Tick should be called if nothing happens; zero: never.
func (g *Guardian) NextDeadline() time.Time { return g.wake }

// Resumed forgets what only holds while the process runs: after a restart or a pause the
// UPS must be heard again, and the brain has its patience anew.
func (g *Guardian) Resumed(now time.Time) []Event {
	g.holds, g.brain, g.heard = time.Time{}, time.Time{}, false
	if g.open() && !g.orders.Armed {
		return g.apply(g.Run.Abort(now, "the plan was disarmed"))
	}
	var es []Event
	if g.open() {
		for _, c := range g.Run.Due(now) { // what was under way is sent again
			es = append(es, g.apply(g.Run.Answered(now, c.Target.ID(), nil, errInterrupted))...)
		}
	}
	return es
}

// Order takes a new bundle. A run keeps the plan that it began with; a disarmed plan
// ends it.
func (g *Guardian) Order(now time.Time, o Orders) []Event {
	g.orders = o
	if !o.Armed && g.Run != nil {
		return g.apply(g.Run.Abort(now, "the plan was disarmed"))
	}
	return g.Tick(now)
}

// Mandated takes the brain's word on who acts.
func (g *Guardian) Mandated(now time.Time, epoch shutdown.Epoch, run shutdown.State) []Event {
	if epoch.Compare(g.seen) > 0 {
		g.seen = epoch
	}
	if g.open() && epoch.Compare(g.Epoch) > 0 && run.Open() {
		return g.apply(g.Run.Abort(now, "the brain runs the plan under a later epoch"))
	}
	if g.holds.IsZero() {
		return nil
	}
	switch run {
	case shutdown.Advancing:
		g.brain = now
	case shutdown.HasEnded, shutdown.Stopped:
		g.standing = true
	}
	return g.Tick(now)
}

// Reported takes a reading of the UPS.
func (g *Guardian) Reported(now time.Time, r power.Reading) []Event {
	g.reading, g.heard = r, true
	if r.Supply == power.Mains {
		g.holds, g.brain, g.standing = time.Time{}, time.Time{}, false
		if g.open() {
			return g.apply(g.Run.Abort(now, "the power is back"))
		}
		return nil
	}
	return g.Tick(now)
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
	return append(g.apply(g.Run.Seen(now, target, s)), g.Tick(now)...)
}

// Tick is the passing of time. The reading is taken as it was last reported: the Pi polls
// the UPS each second and reports also that it could not.
func (g *Guardian) Tick(now time.Time) []Event {
	g.wake = time.Time{}
	if !g.heard {
		return nil
	}
	if g.open() {
		return g.advance(now)
	}
	v := g.orders.Policy.Decide(g.reading, g.orders.Plan.Need())
	if !v.Start {
		if !g.reading.OnBattery() {
			g.holds = time.Time{}
		}
		return nil
	}
	if g.holds.IsZero() {
		g.holds, g.brain, g.standing = now, time.Time{}, false
	}
	if !g.orders.Armed || len(g.orders.Plan.Stages) == 0 || g.standing || g.begunAlready() {
		return nil
	}
	wait := patience
	if v.Urgent {
		wait = urgent
	}
	from := g.holds
	if g.brain.After(from) {
		from = g.brain
		wait = patience // it acts, and its word is good for that long
	}
	if at := from.Add(wait); now.Before(at) {
		g.wake = at
		return nil
	}
	return append(g.begin(now, v), g.advance(now)...)
}

// begunAlready: a run of this outage is not begun a second time, whatever became of it.
func (g *Guardian) begunAlready() bool {
	return g.Run != nil && !g.Run.Begun.Before(g.holds)
}

func (g *Guardian) begin(now time.Time, v power.Verdict) []Event {
	epoch := shutdown.Epoch{Counter: max(g.seen.Counter, g.Epoch.Counter) + 1, Holder: g.self}
	e := Event{Epoch: epoch, Event: shutdown.Event{Type: shutdown.Began, At: now, Run: &shutdown.Header{
		ID:     fmt.Sprintf("%s-%s-%d", g.orders.Plan.Site, g.self, epoch.Counter),
		Plan:   g.orders.Plan,
		Reason: v.Reason + " and the brain has not said that it acts",
	}}}
	g.Restore(e)
	return []Event{e}
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

func (g *Guardian) open() bool { return g.Run != nil && !g.Run.Over() }
