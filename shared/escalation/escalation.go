// Package escalation says who is called next about an incident, and when to stop.
//
// It is pure: no clock, network, disk, log or randomness.
package escalation

import (
	"slices"
	"time"
)

// Policy is how patiently people are called.
type Policy struct {
	TriesEach  int           // calls to one contact before the next one's turn
	RetryAfter time.Duration // from a call's end to the next try; within 3 min phones let it through
	RoundAfter time.Duration // from the end of a round to the next
	Rounds     int
}

// DefaultPolicy calls each contact twice, a minute apart, and everybody again once.
func DefaultPolicy() Policy {
	return Policy{TriesEach: 2, RetryAfter: time.Minute, RoundAfter: 5 * time.Minute, Rounds: 2}
}

// Call is a call that was placed, or is about to be.
type Call struct {
	Contact   string
	Delivered bool // a person took it
	Refused   bool // because of the contact's number: the next try would be as well
	Requested time.Time
	Ended     bool
	EndedAt   time.Time
}

// Next is a call that is due.
type Next struct {
	Contact string
	At      time.Time
}

// Due tells whom to call next, given the calls so far, first to last; false if nobody:
// somebody answered, a call is still under way, or all were tried.
func Due(p Policy, contacts []string, calls []Call, begin time.Time) (Next, bool) {
	if len(contacts) == 0 {
		return Next{}, false
	}
	for _, c := range calls {
		if c.Delivered || !c.Ended {
			return Next{}, false
		}
	}
	calls = sinceOthers(contacts, calls)
	if p.through(contacts, calls) {
		return Next{}, false
	}
	if len(calls) == 0 {
		return Next{contacts[0], begin}, true
	}
	last := calls[len(calls)-1]
	round, tried := p.TriesEach*len(contacts), p.tried(calls)
	n := Next{Contact: contacts[tried%round/p.TriesEach]}
	switch {
	case tried%round == 0:
		n.At = last.EndedAt.Add(p.RoundAfter)
	case tried%p.TriesEach == 0: // the next contact need not wait
		n.At = last.EndedAt
	default:
		n.At = last.EndedAt.Add(p.RetryAfter)
	}
	return n, true
}

// sinceOthers are the calls since the last one to somebody who is no contact any more: the
// rounds begin anew with those who are.
func sinceOthers(contacts []string, calls []Call) []Call {
	for i, c := range slices.Backward(calls) {
		if !slices.Contains(contacts, c.Contact) {
			return calls[i+1:]
		}
	}
	return calls
}

// through reports whether all rounds are made.
func (p Policy) through(contacts []string, calls []Call) bool {
	return p.tried(calls) >= p.TriesEach*p.Rounds*len(contacts)
}

// tried is how many tries are behind: a refused one stands for all that its contact had left.
func (p Policy) tried(calls []Call) int {
	n := 0
	for _, c := range calls {
		if n++; c.Refused {
			n += (p.TriesEach - n%p.TriesEach) % p.TriesEach
		}
	}
	return n
}

// Again tells when everybody is called anew because nobody took any call of the rounds so
// far: so long after the first was requested, and never before the last has ended. False if
// there is nothing to repeat: nobody to call, an answer, or rounds that go on.
func Again(p Policy, contacts []string, calls []Call, every time.Duration) (time.Time, bool) {
	calls = sinceOthers(contacts, calls)
	if every <= 0 || len(contacts) == 0 || len(calls) == 0 || !p.through(contacts, calls) {
		return time.Time{}, false
	}
	for _, c := range calls {
		if c.Delivered || !c.Ended {
			return time.Time{}, false
		}
	}
	at := calls[0].Requested.Add(every)
	if last := calls[len(calls)-1]; last.EndedAt.After(at) {
		at = last.EndedAt
	}
	return at, true
}
