package daemon

import "time"

// Moment is when something was written down, so that a later process can tell how much
// time has passed since.
type Moment struct {
	At        time.Time     `json:"at"` // by the Clock
	Wall      time.Time     `json:"wall"`
	Boot      string        `json:"boot"`
	SinceBoot time.Duration `json:"since_boot"`
}

// Clock is a program's own time: it goes on where the last Moment left off, runs by
// CLOCK_BOOTTIME, and no change of the wall clock moves it (rule R7).
type Clock struct {
	sinceBoot func() time.Duration
	wall      func() time.Time
	boot      string
	base      time.Time
	baseBoot  time.Duration
}

// NewClock continues after the last moment, if there is one. Within one boot the time
// between is known exactly; over a reboot only the wall clock tells, and never backwards.
func NewClock(boot string, sinceBoot func() time.Duration, wall func() time.Time, last *Moment) *Clock {
	c := &Clock{sinceBoot: sinceBoot, wall: wall, boot: boot, base: wall().UTC().Round(0), baseBoot: sinceBoot()}
	switch {
	case last == nil:
	case last.Boot == boot && c.baseBoot >= last.SinceBoot:
		c.base = last.At.Add(c.baseBoot - last.SinceBoot)
	default:
		c.base = last.At.Add(max(c.wall().Sub(last.Wall), 0))
	}
	return c
}

// Now is the program's time.
func (c *Clock) Now() time.Time { return c.base.Add(c.sinceBoot() - c.baseBoot) }

// Moment is the program's time as it is written down.
func (c *Clock) Moment() Moment {
	return Moment{At: c.Now(), Wall: c.wall(), Boot: c.boot, SinceBoot: c.sinceBoot()}
}

// Shown turns a moment of the program's time into the wall clock's, for people.
func (c *Clock) Shown(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return c.wall().Add(t.Sub(c.Now()))
}
