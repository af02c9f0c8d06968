package brain

import (
	"time"

	"sentinel.home.arpa/cloud/internal/journal"
)

// clock is the brain's own time: it goes on where the journal left off, runs by
// CLOCK_BOOTTIME, and no change of the wall clock moves it (rule R7).
type clock struct {
	sinceBoot func() time.Duration
	wall      func() time.Time
	boot      string
	base      time.Time
	baseBoot  time.Duration
}

// newClock continues after the journal's last entry, if there is one. Within one boot
// the time between is known exactly; over a reboot only the wall clock tells, and never
// backwards.
func newClock(boot string, sinceBoot func() time.Duration, wall func() time.Time, last *journal.Entry) *clock {
	c := &clock{sinceBoot: sinceBoot, wall: wall, boot: boot, base: wall().UTC().Round(0), baseBoot: sinceBoot()}
	switch {
	case last == nil:
	case last.Boot == boot && c.baseBoot >= last.SinceBoot:
		c.base = last.At.Add(c.baseBoot - last.SinceBoot)
	default:
		c.base = last.At.Add(max(c.wall().Sub(last.Wall), 0))
	}
	return c
}

// now is the brain's time.
func (c *clock) now() time.Time { return c.base.Add(c.sinceBoot() - c.baseBoot) }

// shown turns a moment of the brain's time into the wall clock's, for people.
func (c *clock) shown(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return c.wall().Add(t.Sub(c.now()))
}
