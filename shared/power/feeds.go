package power

import (
	"strings"
	"time"
)

// Calling is how many of the UPSes that feed a target must call for its shutdown (rule U7).
type Calling string

// AllCall suits redundant supplies, and is what an empty Calling means. AnyCalls is for a
// target that cannot go on once one of them is empty.
const (
	AllCall  Calling = "all"
	AnyCalls Calling = "any"
)

// Feed is a UPS that feeds a target.
type Feed struct {
	UPS     string
	Reading *Reading // as it stands now; nil: nothing was heard of it
	// Standing is for what was called for before, and Word why the UPS calls, urgently, whatever
	// its reading says; mostly empty.
	Standing Standing
	Word     string
}

// judgeFeed is the verdict on one feed if nothing else is heard for d.
func (p Policy) judgeFeed(f Feed, d, need time.Duration) Verdict {
	if f.Word != "" {
		return Verdict{Start: true, Urgent: true, Reason: f.Word}
	}
	return p.judge(*f.Reading, d, need)
}

// DecideFed applies the policy to a target by the UPSes that feed it. One of which nothing is
// known counts as good until all that are known have little time left (rule G6). Without a
// feed there is no reason. With several, Reason names the UPSes that call.
func (p Policy) DecideFed(by Calling, feeds []Feed, need time.Duration) Verdict {
	var turns []time.Duration
	for _, f := range feeds {
		if f.Reading != nil {
			turns = append(turns, p.turns(*f.Reading)...)
		}
	}
	return p.foresee(turns, func(d time.Duration) Verdict {
		if by == AnyCalls {
			return p.anyFed(feeds, d, need)
		}
		return p.allFed(feeds, d, need)
	})
}

// anyFed is the verdict if one UPS is enough: of those that call the most urgent, or the first.
func (p Policy) anyFed(feeds []Feed, d, need time.Duration) (v Verdict) {
	for _, f := range feeds {
		if f.Reading == nil {
			continue
		}
		one := p.judgeFeed(f, d, need)
		if !one.Start || v.Start && (v.Urgent || !one.Urgent) {
			continue
		}
		v = one
		if len(feeds) > 1 {
			v.Reason = f.UPS + ": " + one.Reason
		}
	}
	return v
}

// allFed is the verdict if all of them must call.
func (p Policy) allFed(feeds []Feed, d, need time.Duration) Verdict {
	var reasons, unknown []string
	urgent, alone := true, true
	for _, f := range feeds {
		if f.unknown(d) {
			unknown = append(unknown, "nothing is known of "+f.UPS)
			continue
		}
		r := *f.Reading
		v := p.judgeFeed(f, d, need)
		if !v.Start {
			return Verdict{}
		}
		reason := v.Reason
		if len(feeds) > 1 {
			reason = f.UPS + ": " + reason
		}
		reasons = append(reasons, reason)
		urgent = urgent && v.Urgent // the target lasts as long as the best of them
		silent := r.LostFor != nil && r.LostFor.Duration()+d >= p.LostFor
		alone = alone && (v.Urgent || silent) // what is silent cannot tell that its time runs out
	}
	if len(reasons) == 0 || len(unknown) > 0 && !alone {
		return Verdict{}
	}
	return Verdict{Start: true, Urgent: urgent, Reason: strings.Join(append(reasons, unknown...), "; ")}
}

// unknown reports whether nobody can say what a UPS does d later. What was last heard on
// battery is known: it is on its way out.
func (f Feed) unknown(d time.Duration) bool {
	r := f.Reading
	switch {
	case r == nil:
		return true
	case r.Supply == Battery, r.Supply == SelfTest, r.Supply != Mains && r.LowFor != nil:
		return false
	}
	return r.Supply == Unknown || r.LostFor != nil && r.LostFor.Duration()+d > Fresh
}
