package sentinel

import (
	"fmt"
	"slices"
	"time"

	"sentinel.home.arpa/shared/routing"
)

const (
	// testCallsEach is how long after a test call the next may come.
	testCallsEach = time.Minute
	// testCallsKept are remembered, the newest of them.
	testCallsKept = 20
	// drillWithin is how late a drill may come: nobody wants it at another hour.
	drillWithin = 10 * time.Minute

	theDrill = "the weekly drill"
)

// Weekly is a moment of each week, by the clock on the wall.
type Weekly struct {
	Day time.Weekday
	At  time.Duration // since midnight
}

// around are the last such moment that is not after local, and the next one.
func (w Weekly) around(local time.Time) (last, next time.Time) {
	ago := (int(local.Weekday()) - int(w.Day) + 7) % 7
	return aroundOf(local, w.At, -ago, 7)
}

// aroundOf are the last moment that is not after local and the next one, of those at a time of the
// day each so many days, of which one is in so many days from now.
func aroundOf(local time.Time, at time.Duration, in, each int) (last, next time.Time) {
	on := func(days int) time.Time {
		return time.Date(local.Year(), local.Month(), local.Day()+days, 0, int(at/time.Minute), 0, 0, local.Location())
	}
	last, next = on(in), on(in+each)
	if last.After(local) {
		last, next = on(in-each), last
	}
	return last, next
}

// TestHeld is why a contact gets no test call at that moment; empty: it would.
func (s *State) TestHeld(now time.Time, contact string) string {
	d := &decider{State: s, now: now}
	for _, c := range s.Tests {
		if c.Contact == contact && c.Open() {
			return "a test call to " + contact + " is under way"
		}
		if wait := testCallsEach - now.Sub(c.Requested); wait > 0 && c.Test != theDrill {
			return fmt.Sprintf("a test call comes once a minute at most; wait for %d s", int((wait+time.Second-1)/time.Second))
		}
	}
	all, others := d.calledWithin(contact)
	full := func(most int, at []time.Time) bool { return most > 0 && len(at) >= max(most-1, 1) }
	switch {
	case full(s.cfg.Limits.Calls, all):
		return fmt.Sprintf("%s was called %s within the hour; what calls are left are for outages", contact, saidTimes(len(all)))
	case full(s.cfg.Limits.OtherCalls, others):
		return fmt.Sprintf("%s was called %s about other things than the power within the hour; what calls are left are for failures", contact, saidTimes(len(others)))
	}
	return ""
}

// testCall calls somebody to see that it works. It counts as a call that is not about the power
// (rule C8).
func (d *decider) testCall(in TestCall) {
	if slices.Contains(d.cfg.Contacts, in.Contact) && d.TestHeld(d.now, in.Contact) == "" {
		d.callAsTest(in.Contact, in.By)
	}
}

func (d *decider) callAsTest(contact, by string) {
	d.emit(&CallRequested{Call: fmt.Sprintf("test-%s-%s", contact, d.now.UTC().Format("20060102T150405.000Z")), Contact: contact,
		Attempt: 1, Other: true, Test: by, Why: by + " wants a test call"})
}

// settleDrill has everybody called once a week, if that was asked for, so that what keeps a phone
// from ringing is found before an outage. While something is open nobody is bothered.
func (d *decider) settleDrill() {
	if d.cfg.Drill == nil {
		return
	}
	local := d.cfg.local(d.now, "")
	last, next := d.cfg.Drill.around(local)
	began := d.now.Add(last.Sub(local))
	d.due(d.now.Add(next.Sub(local)))
	if d.now.Sub(began) >= drillWithin || !d.Drilled.Before(began) || len(d.OpenIncidents()) > 0 {
		return
	}
	for _, name := range d.cfg.Contacts {
		if d.TestHeld(d.now, name) == "" {
			d.callAsTest(name, theDrill)
		}
	}
}

// drillEnded tells of a drill that nobody took.
func (d *decider) drillEnded(c *Call) {
	if c.Test == theDrill && !c.Delivered {
		d.emit(&Noticed{Kind: KindPhone, Severity: routing.Warning,
			Text: fmt.Sprintf("the weekly drill call to %s was not taken: %s; a call about an outage would fare the same", c.Contact, c.Outcome)})
	}
}

// tests keeps a test call, which is of no incident.
func (s *State) evolveTest(at time.Time, f *CallRequested) {
	s.Tests = append(s.Tests[max(0, len(s.Tests)+1-testCallsKept):len(s.Tests):len(s.Tests)], &Call{ID: f.Call, Contact: f.Contact, Attempt: f.Attempt, Requested: at, Other: f.Other, Test: f.Test})
	if f.Test == theDrill {
		s.Drilled = at
	}
}

// aboutPing is what is told of the ping to the outside.
const aboutPing = "the ping to the outside"

// pinged tells, once in a spell, that who watches the brain from outside is not reached. Of a brain that is
// offline itself that is shown by itself.
func (d *decider) pinged(in Pinged) {
	if in.Why != "" && !d.Blind.IsZero() {
		return
	}
	n := &Noticed{About: aboutPing, As: "failing", Kind: KindPhone, Severity: routing.Warning,
		Text: "who watches the sentinel from outside is not reached: " + in.Why}
	if in.Why == "" {
		n.As, n.Over, n.Text = "", true, "who watches the sentinel from outside is reached again"
	}
	if d.Told[aboutPing] != n.As {
		d.emit(n)
	}
}
