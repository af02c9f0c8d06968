// Package escalation says who is called next about an incident, and when to stop.
//
// It is pure: no clock, network, disk, log or randomness.
package escalation

import "time"

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
	if len(contacts) == 0 || len(calls) >= p.TriesEach*p.Rounds*len(contacts) {
		return Next{}, false
	}
	if len(calls) == 0 {
		return Next{contacts[0], begin}, true
	}
	last := calls[len(calls)-1]
	for _, c := range calls {
		if c.Delivered {
			return Next{}, false
		}
	}
	if !last.Ended {
		return Next{}, false
	}
	round := p.TriesEach * len(contacts)
	n := Next{Contact: contacts[len(calls)%round/p.TriesEach]}
	switch {
	case len(calls)%round == 0:
		n.At = last.EndedAt.Add(p.RoundAfter)
	case len(calls)%p.TriesEach == 0: // the next contact need not wait
		n.At = last.EndedAt
	default:
		n.At = last.EndedAt.Add(p.RetryAfter)
	}
	return n, true
}
