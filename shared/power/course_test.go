package power

import (
	"math"
	"testing"
	"time"
)

// heard is an answer of a UPS on battery, or on mains.
type heard struct {
	at              float64 // seconds
	mains           bool
	charge, runtime float64 // percent and seconds; negative was not told
}

// courseOf is what the answers say together at a moment, in seconds.
func courseOf(at float64, answers []heard) Course {
	var c course
	when := func(s float64) time.Time {
		return time.Unix(1_000_000, 0).Add(time.Duration(math.Round(s*1000)) * time.Millisecond)
	}
	for _, a := range answers {
		s := Status{Flags: OnBattery}
		if a.mains {
			s.Flags = Online
		}
		if a.charge >= 0 {
			s.Charge = new(a.charge / 100)
		}
		if a.runtime >= 0 {
			s.Runtime = new(Seconds(a.runtime))
		}
		c.add(when(a.at), s)
	}
	return *c.at(when(at))
}

func TestS2_ARuntimeCountsOnceItHasHeld(t *testing.T) {
	for name, c := range map[string]struct {
		at      float64
		answers []heard
		want    float64 // negative: nothing to go by
	}{
		"none":                          {0, nil, -1},
		"one":                           {0, []heard{{at: 0, runtime: 60}}, -1},
		"one, and two seconds":          {2, []heard{{at: 0, runtime: 60}}, -1},
		"one, and as long ago":          {1.9, []heard{{at: 0, runtime: 60}}, -1},
		"two, far apart":                {4, []heard{{at: 0, runtime: 60}, {at: 4, runtime: 50}}, 60},
		"silence for just 3 s":          {5, []heard{{at: 0, runtime: 60}, {at: 2, runtime: 50}}, 60},
		"two, too close":                {1.8, []heard{{at: 0, runtime: 60}, {at: 1.8, runtime: 60}}, -1},
		"two":                           {1.9, []heard{{at: 0, runtime: 60}, {at: 1.9, runtime: 59}}, 60},
		"three":                         {2, []heard{{at: 0, runtime: 60}, {at: 1, runtime: 59}, {at: 2, runtime: 58}}, 60},
		"what was before":               {4, []heard{{at: 0, runtime: 900}, {at: 1, runtime: 60}, {at: 2, runtime: 60}, {at: 3, runtime: 60}, {at: 4, runtime: 60}}, 60},
		"a good one within":             {4, []heard{{at: 1, runtime: 60}, {at: 2, runtime: 60}, {at: 3, runtime: 900}, {at: 4, runtime: 60}}, 900},
		"a good one when they begin":    {4, []heard{{at: 1, runtime: 900}, {at: 3, runtime: 60}, {at: 4, runtime: 60}}, 900},
		"a gap in what is told":         {4, []heard{{at: 1, runtime: 60}, {at: 2, runtime: -1}, {at: 3, runtime: -1}, {at: 4, runtime: 50}}, 60},
		"no longer told":                {6, []heard{{at: 0, runtime: 60}, {at: 1, runtime: 60}, {at: 2, runtime: 60}, {at: 6, runtime: -1}}, -1},
		"silence since":                 {6.1, []heard{{at: 0, runtime: 60}, {at: 3, runtime: 60}}, -1},
		"on mains before":               {1, []heard{{at: -2, mains: true, runtime: 60}, {at: 0, runtime: 60}, {at: 1, runtime: 60}}, -1},
		"on mains for a moment between": {4, []heard{{at: 0, runtime: 60}, {at: 2, runtime: 60}, {at: 3, mains: true, runtime: 60}, {at: 4, runtime: 60}}, -1},
		"on mains now":                  {4, []heard{{at: 0, runtime: 60}, {at: 2, runtime: 60}, {at: 4, mains: true, runtime: 60}}, -1},
		"a clock that went back":        {1, []heard{{at: 8, runtime: 60}, {at: 10, runtime: 60}, {at: 1, runtime: 60}}, -1},
	} {
		if got := or(courseOf(c.at, c.answers).Runtime); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	charge := courseOf(1, []heard{{at: -2, mains: true, charge: 45, runtime: -1}, {at: 0, charge: 44, runtime: -1}, {at: 1, charge: 43, runtime: -1}}).Charge
	if charge == nil || *charge != 0.45 {
		t.Errorf("a charge that held over the switch: %v", charge)
	}
}

// fall is a charge told each second, that goes down by so many percent a minute.
func fall(from, to float64, charge func(s float64) float64) (all []heard) {
	for s := from; s <= to; s++ {
		all = append(all, heard{at: s, charge: charge(s), runtime: -1})
	}
	return all
}

func TestS2_TheFallOfTheChargeIsAnEstimate(t *testing.T) {
	steady := func(rate float64) func(float64) float64 {
		return func(s float64) float64 { return math.Ceil(90 - rate*s/60) }
	}
	for name, c := range map[string]struct {
		answers []heard
		want    float64 // seconds; negative: no evidence
	}{
		"59 s of it":     {fall(0, 59, steady(20)), -1},
		"60 s of it":     {fall(0, 60, steady(20)), 70 * 3},
		"four minutes":   {fall(0, 240, steady(6)), 66 * 10},
		"too slow":       {fall(0, 240, steady(2)), -1},
		"charging":       {fall(0, 240, steady(-2)), -1},
		"stuck":          {fall(0, 240, func(float64) float64 { return 100 }), -1},
		"stuck, then":    {fall(0, 240, func(s float64) float64 { return 100 - max(s-180, 0)/3 }), -1},
		"then stuck":     {fall(0, 300, func(s float64) float64 { return 100 - min(s, 200)/4 }), -1},
		"one step":       {fall(0, 240, func(s float64) float64 { return 100 - 40*math.Floor(s/200) }), -1},
		"not told":       {fall(0, 240, func(float64) float64 { return -1 }), -1},
		"faster by time": {fall(0, 240, func(s float64) float64 { return 100 - 6*max(s-120, 0)/60 - 12*max(s-180, 0)/60 }), (100 - 12 - 12) / 6 * 60},
		"slower by time": {fall(0, 240, func(s float64) float64 { return 70 - 18*max(min(s, 180)-120, 0)/60 - 6*max(s-180, 0)/60 }), (70 - 18 - 6) / 6 * 60},
		"no longer told": {append(fall(0, 116.5, steady(20)), heard{at: 120, charge: -1, runtime: -1}), -1},
		"mains between":  {append(append(fall(0, 50, steady(20)), heard{at: 51, mains: true, charge: 73}), fall(60, 100, steady(20))...), (90 - 34 + 1) * 3},
		"mains for 10 s": {append(append(fall(0, 50, steady(20)), heard{at: 51, mains: true, charge: 73}), fall(61, 120, steady(20))...), -1},
	} {
		last := c.answers[len(c.answers)-1].at
		if got := or(courseOf(last, c.answers).Seen); math.Abs(got-c.want) > c.want/10+1e-9 && got != c.want {
			t.Errorf("%s: %v, want about %v", name, got, c.want)
		}
	}
	if got := courseOf(63.1, fall(0, 60, steady(20))).Seen; got != nil {
		t.Errorf("nothing heard for 3 s, and yet %v", *got)
	}
	if got := courseOf(63, fall(0, 60, steady(20))).Seen; got == nil {
		t.Error("3 s old is fresh")
	}
}

// TestS2_ACourseIsBounded: a UPS that is watched for a year takes no more memory than for minutes.
func TestS2_ACourseIsBounded(t *testing.T) {
	var c course
	now := time.Unix(1_000_000, 0)
	for range 100_000 {
		now = now.Add(time.Second)
		c.add(now, Status{Flags: OnBattery, Charge: new(0.5)})
	}
	if len(c.samples) > 122 || cap(c.samples) > 1000 {
		t.Errorf("%d answers are kept, in room for %d", len(c.samples), cap(c.samples))
	}
}
