package power

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

const maxFor = Seconds(366 * 24 * 3600)

var (
	errSupply = errors.New("supply: must be unknown, mains, battery, self-test or calibration")
	errFor    = errors.New("for_s, low_for_s, lost_for_s: must lie between 0 and a year")
)

// Policy says when an outage is reason to shut machines down. A zero Policy starts at
// once; DefaultPolicy is what users get.
type Policy struct {
	RideThrough   time.Duration `json:"ride_through"`   // on battery for this long; 0 is at once
	LowFor        time.Duration `json:"low_for"`        // the UPS calls its battery low for this long
	LostFor       time.Duration `json:"lost_for"`       // nothing heard of the UPS for this long, while on battery
	RuntimeMargin time.Duration `json:"runtime_margin"` // left over once the plan is through
	ChargeFloor   float64       `json:"charge_floor"`   // 0 to 1
}

// DefaultPolicy is the policy of a configuration that does not mention it.
func DefaultPolicy() Policy {
	return Policy{
		RideThrough:   10 * time.Second,
		LowFor:        10 * time.Second,
		LostFor:       30 * time.Second,
		RuntimeMargin: 2 * time.Minute,
		ChargeFloor:   0.20,
	}
}

// Verdict is what the rule makes of a reading.
type Verdict struct {
	Start  bool
	Urgent bool   // little time: a low battery, or less runtime than the plan needs
	Reason string // a sentence's end: "the power has been out for 10 s"
	// In is how long until the verdict turns to Start by the passing of time alone,
	// and Never if it does not, or has.
	In time.Duration
}

// Fresh is how old a report may be to be acted upon (rule S5).
const Fresh = 3 * time.Second

// longestWait is what is added to a battery's runtime before a UPS out of reach counts as gone,
// and the runtime of one that did not tell it.
const longestWait = 30 * time.Minute

// GoneAfter is for how long nothing may be heard of a UPS on battery for that to say anything
// still: its battery is empty by then, or it was replaced. Brain and Pi both go by it.
func (r Reading) GoneAfter() time.Duration {
	left := longestWait
	if r.Runtime != nil {
		left = max(left, r.Runtime.Duration())
	}
	return left + longestWait
}

// Never is the In of a verdict that no passing of time changes.
const Never = time.Duration(-1)

// halfFull is the charge under which a battery has been used for real, and a short runtime
// needs no second look.
const halfFull = 0.5

// leastOut is how long a battery must have been in use for its charge to count: a blip is no reason.
const leastOut = 2 * time.Second

// Decide applies the policy to a reading. need is what the plan takes from its first
// command to its last machine down.
func (p Policy) Decide(r Reading, need time.Duration) Verdict {
	return p.foresee(p.turns(r), func(d time.Duration) Verdict { return p.judge(r, d, need) })
}

// turns is after how long each passing of time may change what is judged of a reading.
func (p Policy) turns(r Reading) []time.Duration {
	at := []time.Duration{p.RideThrough - r.For.Duration(), leastOut - r.For.Duration(), selfTestLongest - r.For.Duration()}
	if r.LowFor != nil {
		at = append(at, p.LowFor-r.LowFor.Duration())
	}
	if r.LostFor != nil {
		at = append(at, p.LostFor-r.LostFor.Duration(), Fresh+1-r.LostFor.Duration(), p.longestTest(r)-r.For.Duration())
	}
	return at
}

// longestTest is how long a self-test may last before it was an outage from its start. The
// end of one of which nothing is heard any more may have come: it lasts for LostFor longer.
func (p Policy) longestTest(r Reading) time.Duration {
	if r.LostFor == nil {
		return selfTestLongest
	}
	return selfTestLongest + p.LostFor
}

// TooLong reports whether a reading is of a self-test that is too long to be one.
func (p Policy) TooLong(r Reading) bool {
	return r.Supply == SelfTest && r.For.Duration() >= p.longestTest(r)
}

// foresee is the verdict of now, with when it turns to Start at one of the given times.
func (p Policy) foresee(turns []time.Duration, judge func(time.Duration) Verdict) Verdict {
	v := judge(0)
	v.In = Never
	if v.Start {
		return v
	}
	slices.Sort(turns)
	for _, d := range turns {
		if d > 0 && judge(d).Start {
			v.In = d
			return v
		}
	}
	return v
}

// judge is the verdict on a reading if nothing else is heard for d; it leaves In alone.
func (p Policy) judge(r Reading, d time.Duration, need time.Duration) (v Verdict) {
	out := r.For.Duration() + d
	battery := r.Supply == Battery || r.Supply == SelfTest && out >= p.longestTest(r)
	low := r.LowFor != nil && r.Supply != Mains
	if !low && !battery {
		return v
	}
	if r.LostFor != nil {
		switch lost := r.LostFor.Duration() + d; {
		case r.Supply == SelfTest && battery && lost >= p.LostFor:
			return Verdict{Start: true, Reason: fmt.Sprintf("the UPS was in a self-test when it fell silent %s ago", Spell(lost))}
		case lost >= p.LostFor:
			return Verdict{Start: true, Reason: fmt.Sprintf("the UPS was on battery when it fell silent %s ago", Spell(lost))}
		case lost > Fresh: // what is not fresh starts nothing but this
			return v
		}
	}
	if low && r.LowFor.Duration()+d >= p.LowFor {
		return Verdict{Start: true, Urgent: true, Reason: fmt.Sprintf("the UPS has called its battery low for %s", Spell(r.LowFor.Duration()+d))}
	}
	if !battery {
		return v
	}
	short := p.short(r, need)
	switch {
	case out >= p.RideThrough:
		return Verdict{Start: true, Urgent: short != "", Reason: fmt.Sprintf("the power has been out for %s", Spell(out))}
	case short != "":
		return Verdict{Start: true, Urgent: true, Reason: short}
	case r.flat(p.ChargeFloor) && (low || out >= leastOut):
		return Verdict{Start: true, Reason: fmt.Sprintf("the battery is down to %.0f percent", *r.Charge*100)}
	}
	return v
}

// short says why the battery will not last for the plan and its margin; empty if it may. The
// smaller counts of what the UPS says and what the fall of its charge shows.
func (p Policy) short(r Reading, need time.Duration) string {
	if r.LostFor != nil {
		return ""
	}
	need += p.RuntimeMargin
	if told := r.told(); told != nil && told.Duration() < need {
		return fmt.Sprintf("the battery lasts for %s and the shutdown needs %s", Spell(told.Duration()), Spell(need))
	}
	if r.Course == nil || r.Charge == nil || r.Course.Seen == nil || r.Course.Seen.Duration() >= need {
		return ""
	}
	return fmt.Sprintf("%s, so the battery lasts for %s and the shutdown needs %s", saidFall(*r.Charge, *r.Course.Seen), Spell(r.Course.Seen.Duration()), Spell(need))
}

// saidFall says how fast a charge falls that lasts for so long; of one that is gone, that it is.
func saidFall(charge float64, lasts Seconds) string {
	switch percent := charge * 100 * 60 / max(float64(lasts), 1); {
	case charge <= 0:
		return "the charge has fallen to nothing"
	case percent < 0.95:
		return fmt.Sprintf("the charge falls by %.1f percent a minute", max(percent, 0.1))
	default:
		return fmt.Sprintf("the charge falls by %.0f percent a minute", percent)
	}
}

// told is the runtime that the UPS tells, once it is no odd answer: it has held, or the UPS
// calls its battery low too, or a charge that has held says the same.
func (r Reading) told() *Seconds {
	c := r.Course
	if c == nil || r.Runtime == nil || r.LowFor != nil || c.Charge != nil && *c.Charge < halfFull {
		return r.Runtime
	}
	return c.Runtime
}

// flat reports whether the charge is under a floor, and that is no odd answer either.
func (r Reading) flat(floor float64) bool {
	if r.Charge == nil || *r.Charge >= floor {
		return false
	}
	c := r.Course
	return c == nil || r.LowFor != nil || c.Charge != nil && *c.Charge < floor
}

// Spell writes a duration as people say it: "10 s", "3 min", "1 h 20 min".
func Spell(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d%time.Hour < time.Minute:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
}
