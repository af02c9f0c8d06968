package brainwatch

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/escalation"
)

// again is how long after people were called they are not called once more.
const again = 6 * time.Hour

// Times are how patient the Pi is.
type Times struct {
	Notice   time.Duration // until a silent brain is gone
	Call     time.Duration // until people are called about it
	Leaving  time.Duration // for how long a brain's word holds that it is being restarted
	NextPi   time.Duration // by how much later each next Pi of the site calls
	Power    time.Duration // on battery until people who know of the brain are called about that
	Patience escalation.Policy
}

// DefaultTimes are those of the contract.
func DefaultTimes() Times {
	return Times{Notice: 2 * time.Minute, Call: 5 * time.Minute, Leaving: 10 * time.Minute, NextPi: 2 * time.Minute,
		Power: 15 * time.Second, Patience: escalation.DefaultPolicy()}
}

// Internet is how the Pi's own way out stands.
type Internet string

// Without a look nobody knows.
const (
	Unknown Internet = ""
	Up      Internet = "up"
	Out     Internet = "out"
)

// Outside is what the Pi knows of the world beyond its house.
type Outside struct {
	Silent   time.Duration // since a brain last answered, or the Pi began to listen
	Internet Internet
}

// Orders are what the Pi was given for the case.
type Orders struct {
	Guards   bool     // there is a bundle: the Pi belongs to a brain
	Contacts []string // whom to call, the first first; empty: nobody can be
	Channels []Channel
	Before   bool // a Pi that comes before this one is heard in the house
	Place    int  // among the site's Pis, from 0: the first calls, the others later
}

// Watch is not safe for concurrent use.
type Watch struct {
	times   Times
	orders  Orders
	state   State
	outside Internet
	looked  bool      // since the last answer
	tailnet bool      // the last look found it out of reach
	heard   time.Time // a brain's last answer, or since when this process listens
	battery time.Time // since when the house is on battery; zero: it is not
	up      time.Time // since when no look has found the internet out; zero: the last one has
	failing time.Time // since when no anchor answers though a brain does; zero: one did, or none was asked
}

// New takes up what an earlier process left. What that wrote of a later time than now is of a
// clock that was put back, and counts as of now.
func New(t Times, s State, now time.Time) *Watch {
	w := &Watch{times: t, state: s.clone(), heard: now, up: now}
	if g := w.state.Gone; g != nil {
		g.Since = earlier(g.Since, now)
	}
	if a := w.state.Alarm; a != nil {
		a.At = earlier(a.At, now)
		for i := range a.Calls {
			a.Calls[i].EndedAt = earlier(a.Calls[i].EndedAt, now)
		}
	}
	for name, at := range w.state.Leaving {
		w.state.Leaving[name] = earlier(at, now)
	}
	w.state.Told = earlier(w.state.Told, now)
	for i, n := range w.state.Notices {
		w.state.Notices[i].At = earlier(n.At, now)
	}
	return w
}

// State is what is to be on disk.
func (w *Watch) State() State { return w.state.clone() }

// Outside is how things stand beyond the house.
func (w *Watch) Outside(now time.Time) Outside {
	return Outside{Silent: max(now.Sub(w.heard), 0), Internet: w.outside}
}

// Resumed is for a process that stood still: nobody could be heard, so everybody is listened
// for anew. What was gone stays so until it is heard.
func (w *Watch) Resumed(now time.Time) {
	w.failing = time.Time{}
	w.listen(now, Unknown)
}

// listen begins a new silence.
func (w *Watch) listen(now time.Time, i Internet) {
	w.heard, w.up, w.outside, w.looked, w.tailnet = now, now, i, false, false
}

// Order takes what the Pi is to go by.
func (w *Watch) Order(o Orders) { w.orders = o }

// Supplied takes whether a UPS of the house is on battery.
func (w *Watch) Supplied(now time.Time, battery bool) {
	switch {
	case !battery:
		w.battery = time.Time{}
	case w.battery.IsZero():
		w.battery = now
	}
}

// Answered takes an answer of a brain, which may say that it is about to be restarted.
func (w *Watch) Answered(now time.Time, brain string, leaving bool) (es []Event) {
	w.listen(now, Up)
	if g := w.state.Gone; g != nil {
		gone, was := now.Sub(g.Since), *g
		es = append(es, w.note(Event{Type: Back, At: now, For: gone, Why: saidBack(g.Cause, gone)}))
		es = append(es, w.tellBack(now, was)...)
		for _, c := range w.state.Open() {
			es = append(es, w.note(Event{Type: Dropped, At: now, Call: c, Why: "the sentinel answers again"}))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.state.Leaving)) {
		if old := now.Sub(w.state.Leaving[name]) >= w.times.Leaving; old || name == brain && !leaving {
			es = append(es, w.note(Event{Type: Returned, At: now, Brain: name, Why: "a brain answers again"}))
		}
	}
	if _, known := w.state.Leaving[brain]; leaving && !known {
		es = append(es, w.note(Event{Type: Left, At: now, Brain: brain, Why: brain + " said that it is about to be restarted"}))
	}
	return es
}

// Looked takes what a look at the Pi's own way out has found.
func (w *Watch) Looked(now time.Time, online, tailnetGone bool) []Event {
	w.outside, w.looked, w.tailnet, w.failing = Out, true, online && tailnetGone, time.Time{}
	switch {
	case !online:
		w.up = time.Time{}
		if w.state.Blocked {
			w.outside = Unknown
		}
		return nil
	case w.up.IsZero():
		w.up = now
	}
	w.outside = Up
	return w.anchorsAnswer(now)
}

// Tick is the passing of time.
func (w *Watch) Tick(now time.Time) (es []Event) {
	if !w.orders.Guards || !w.looked || w.outside != Up || now.Before(w.excused()) {
		return nil
	}
	since := later(w.heard, w.up)
	silent := now.Sub(since)
	if silent < w.times.Notice {
		return nil
	}
	if w.state.Gone == nil {
		es = append(es, w.note(Event{Type: Gone, At: now, Since: since, Cause: w.cause(), Why: saidGone(w.cause(), silent)}))
	}
	es = append(es, w.tell(now)...)
	if now.Sub(w.state.Gone.Since) < w.times.Call+w.others() {
		return es
	}
	return append(es, w.call(now)...)
}

// excused is until when brains that said that they are being restarted may be silent.
func (w *Watch) excused() (until time.Time) {
	for _, at := range w.state.Leaving {
		until = later(until, at.Add(w.times.Leaving))
	}
	return until
}

// others is for how long the Pis before this one have their turn.
func (w *Watch) others() time.Duration { return time.Duration(w.orders.Place) * w.times.NextPi }

func (w *Watch) cause() Cause {
	if w.tailnet {
		return Tailnet
	}
	return Down
}

// call has the next person called whose turn it is. An alarm that nobody took goes on, also
// about another absence. One that is over is enough for 6 h, but for a power outage after it.
func (w *Watch) call(now time.Time) []Event {
	if len(w.state.Open()) > 0 {
		return nil // its end is awaited
	}
	begin, made := now, []escalation.Call(nil)
	if a := w.state.Alarm; a != nil && now.Sub(a.At) < again {
		begin = a.At
		for _, c := range a.Calls {
			made = append(made, escalation.Call{Contact: c.Contact, Delivered: c.Delivered, Requested: c.At, Ended: c.Ended, EndedAt: c.EndedAt})
		}
	}
	next, due := escalation.Due(w.times.Patience, w.orders.Contacts, made, begin)
	if !due && w.powerIsNews(now) {
		begin, made = now, nil
		next, due = escalation.Due(w.times.Patience, w.orders.Contacts, nil, begin)
	}
	if !due || now.Before(next.At) {
		return nil
	}
	c := Call{ID: fmt.Sprintf("%d/%d", begin.Unix(), len(made)+1), Contact: next.Contact, At: now}
	return []Event{w.note(Event{Type: Calling, At: now, Cause: w.cause(), Call: c, First: len(made) == 0, Power: !w.battery.IsZero(),
		Since: later(w.state.Gone.Since, w.battery), Why: saidGone(w.cause(), now.Sub(w.state.Gone.Since))})}
}

// powerIsNews reports whether the power went out after people were called: the brain that would
// call them about that is gone.
func (w *Watch) powerIsNews(now time.Time) bool {
	a := w.state.Alarm
	return a != nil && !a.Power && !w.battery.IsZero() && now.Sub(w.battery) >= w.times.Power+w.others()
}

// TooLate reports whether a call that an earlier process may not have placed is about something that may be
// long over: since then a brain could have been silent for long enough to be found gone anew.
func (w *Watch) TooLate(now time.Time, c Call) bool {
	return c.SID == "" && now.Sub(c.At) >= w.times.Notice
}

// Placed takes the word that a call was placed.
func (w *Watch) Placed(now time.Time, id, sid string) []Event {
	return w.ofCall(id, func(c *Call) Event {
		c.SID = sid
		return Event{Type: Placed, At: now, Why: "the call was placed"}
	})
}

// Ended takes the end of a call; delivered, if a person took it or knew already.
func (w *Watch) Ended(now time.Time, id string, delivered bool, outcome string) []Event {
	return w.ofCall(id, func(c *Call) Event {
		c.Ended, c.EndedAt, c.Delivered = true, now, delivered
		return Event{Type: CallEnded, At: now, Why: outcome}
	})
}

// ofCall changes a call that is not over.
func (w *Watch) ofCall(id string, change func(*Call) Event) []Event {
	for _, c := range w.state.Open() {
		if c.ID == id {
			e := change(&c)
			e.Call = c
			return []Event{w.note(e)}
		}
	}
	return nil
}

func (w *Watch) note(e Event) Event {
	w.state.apply(e)
	return e
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
