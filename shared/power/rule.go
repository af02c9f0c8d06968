package power

import (
	"errors"
	"fmt"
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
	// and Never if it does not.
	In time.Duration
}

// Fresh is how old a report may be to be acted upon (rule S5).
const Fresh = 3 * time.Second

// Never is the In of a verdict that no passing of time changes.
const Never = time.Duration(-1)

// Decide applies the policy to a reading. need is what the plan takes from its first
// command to its last machine down.
func (p Policy) Decide(r Reading, need time.Duration) Verdict {
	v := Verdict{In: Never}
	low := r.LowFor != nil && r.Supply != Mains
	if r.Supply == SelfTest { // once it lasts too long to be one, it was an outage from its start
		v.sooner(max(selfTestLongest, p.RideThrough) - r.For.Duration())
	}
	if !low && r.Supply != Battery {
		return v
	}
	if r.LostFor != nil && r.LostFor.Duration() > Fresh { // what is not fresh starts nothing but this
		if r.LostFor.Duration() >= p.LostFor {
			return Verdict{Start: true, Reason: fmt.Sprintf("the UPS was on battery when it fell silent %s ago", Spell(p.LostFor))}
		}
		v.sooner(p.LostFor - r.LostFor.Duration())
		return v
	}
	if low {
		if r.LowFor.Duration() >= p.LowFor {
			return Verdict{Start: true, Urgent: true, Reason: fmt.Sprintf("the UPS has called its battery low for %s", Spell(p.LowFor))}
		}
		v.sooner(p.LowFor - r.LowFor.Duration())
	}
	if r.Supply != Battery {
		return v
	}
	if r.For.Duration() >= p.RideThrough {
		return Verdict{Start: true, Urgent: p.short(r, need), Reason: fmt.Sprintf("the power has been out for %s", Spell(r.For.Duration()))}
	}
	v.sooner(p.RideThrough - r.For.Duration())
	if p.short(r, need) {
		return Verdict{Start: true, Urgent: true, Reason: fmt.Sprintf("the battery lasts for %s and the shutdown needs %s",
			Spell(r.Runtime.Duration()), Spell(need+p.RuntimeMargin))}
	}
	if r.Charge != nil && *r.Charge < p.ChargeFloor {
		return Verdict{Start: true, Reason: fmt.Sprintf("the battery is down to %.0f percent", *r.Charge*100)}
	}
	return v
}

func (p Policy) short(r Reading, need time.Duration) bool {
	return r.Runtime != nil && r.LostFor == nil && r.Runtime.Duration() < need+p.RuntimeMargin
}

func (v *Verdict) sooner(d time.Duration) {
	if v.In == Never || d < v.In {
		v.In = max(d, 0)
	}
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
