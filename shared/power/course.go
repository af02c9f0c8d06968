package power

import (
	"fmt"
	"time"
)

// Course is what the last answers of a UPS say together, where a single one may be odd: in
// its first second on battery a UPS's runtime is nonsense as often as not. Only who hears
// each answer can tell, so a Tracker makes it and it travels with the reading.
type Course struct {
	// Runtime is the most that the UPS told in the last 2 s of this time on battery; nil until
	// two answers told one, the first of them 2 s ago.
	Runtime *Seconds `json:"runtime_s,omitempty"`
	// Charge is the most of its charge, 0 to 1, that it told in the last 2 s, on mains too.
	Charge *float64 `json:"charge_ratio,omitempty"`
	// Seen is how long the battery lasts if its charge goes on falling as it was seen to,
	// whatever the UPS says; nil without enough evidence of a fall.
	Seen *Seconds `json:"seen_s,omitempty"`
}

const (
	// steadyFor is how long a number must have held: 2 s, less what a poll may come early.
	steadyFor = 1900 * time.Millisecond
	// restAfter is how long the mains must be back for the battery to have rested: a few
	// seconds of them fill nothing.
	restAfter = 10 * time.Second
	// The fall of the charge is judged over at most fallOver, at least fallFrom. Each half
	// must have fallen by fallLeast (3 percent, less what rounding takes) and the slower one
	// counts: charges are told in whole percents, sag when the load comes, and jump when a
	// UPS finds out that it was wrong.
	fallOver  = 2 * time.Minute
	fallFrom  = time.Minute
	fallLeast = 0.0295
)

// Validate refuses values that cannot be (rule U6).
func (c Course) Validate() error {
	err := Status{Charge: c.Charge, Runtime: c.Runtime}.Validate()
	if err == nil {
		err = Status{Runtime: c.Seen}.Validate()
	}
	if err != nil {
		return fmt.Errorf("course: %w", err)
	}
	return nil
}

// course keeps the numbers of a UPS's certain answers for as long as they say something.
type course struct {
	samples []sample  // in the order of their times
	drains  time.Time // since when the battery has no rest; zero: it rests
	out     time.Time // since when this time on battery lasts
	mains   time.Time // since when the mains are back; zero: they are not
}

type sample struct {
	at      time.Time
	charge  *float64
	runtime *Seconds
}

func (c *course) add(now time.Time, s Status) {
	if n := len(c.samples); n > 0 && now.Before(c.samples[n-1].at) {
		*c = course{}
	}
	battery := s.Flags.Has(OnBattery)
	if !c.mains.IsZero() && now.Sub(c.mains) >= restAfter {
		c.drains = time.Time{}
	}
	switch {
	case !battery && c.mains.IsZero():
		c.mains, c.out = now, time.Time{}
	case battery && c.out.IsZero():
		c.mains, c.out = time.Time{}, now
		if c.drains.IsZero() {
			c.drains = now
		}
	}
	c.samples = append(c.samples, sample{now, s.Charge, s.Runtime})
	for len(c.samples) > 1 && !c.samples[1].at.After(now.Add(-fallOver)) {
		c.samples = c.samples[1:]
	}
}

// at is what they say at now.
func (c *course) at(now time.Time) *Course {
	told := func(s sample) (float64, bool) {
		if s.runtime == nil || c.out.IsZero() || s.at.Before(c.out) {
			return 0, false
		}
		return float64(*s.runtime), true
	}
	return &Course{
		Runtime: (*Seconds)(c.held(now, told)),
		Charge:  c.held(now, sample.charged),
		Seen:    c.seen(now),
	}
}

func (s sample) charged() (float64, bool) {
	if s.charge == nil {
		return 0, false
	}
	return *s.charge, true
}

// held is the most that a number was in the last 2 s, from what it was when they began.
func (c *course) held(now time.Time, value func(sample) (float64, bool)) *float64 {
	var most *float64
	for i := len(c.samples) - 1; i >= 0; i-- {
		s := c.samples[i]
		v, ok := value(s)
		switch old := now.Sub(s.at); {
		case most == nil && old > Fresh:
			return nil
		case !ok:
		case most == nil: // one answer, however long ago, is no two
			most = &v
		case old >= steadyFor:
			return new(max(*most, v))
		default:
			most = new(max(*most, v))
		}
	}
	return nil
}

// seen is how long the battery lasts by the fall of its charge.
func (c *course) seen(now time.Time) *Seconds {
	if c.drains.IsZero() || now.Sub(c.drains) < fallFrom {
		return nil
	}
	from := c.drains
	if first := now.Add(-fallOver); first.After(from) {
		from = first
	}
	half := now.Sub(from) / 2
	begin, middle, end := c.charge(from), c.charge(from.Add(half)), c.charge(now)
	if begin == nil || now.Sub(end.at) > Fresh {
		return nil
	}
	fall := min(*begin.charge-*middle.charge, *middle.charge-*end.charge)
	if fall < fallLeast {
		return nil
	}
	return new(Seconds(*end.charge / fall * half.Seconds()))
}

// charge is the last answer up to a moment that told a charge.
func (c *course) charge(at time.Time) *sample {
	for i := len(c.samples) - 1; i >= 0; i-- {
		if s := &c.samples[i]; s.charge != nil && !s.at.After(at) {
			return s
		}
	}
	return nil
}
