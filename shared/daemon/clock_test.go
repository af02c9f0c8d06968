package daemon

import (
	"testing"
	"time"
)

// TestR7_Clock goes on where the journal left off, by boot time within a boot, by wall
// time over a reboot, and never backwards.
func TestR7_Clock(t *testing.T) {
	at := time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC)
	wall := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	last := &Moment{At: at, Wall: wall.Add(-time.Minute), Boot: "a", SinceBoot: time.Hour}
	for _, tt := range []struct {
		name  string
		boot  string
		since time.Duration
		last  *Moment
		want  time.Time
	}{
		{"the first start", "a", time.Hour, nil, wall},
		{"the same boot, 10 s later", "a", time.Hour + 10*time.Second, last, at.Add(10 * time.Second)},
		{"another boot, a minute later", "b", 30 * time.Second, last, at.Add(time.Minute)},
		{"another boot, and the wall clock went back", "b", 30 * time.Second, &Moment{At: at, Wall: wall.Add(time.Hour), Boot: "a", SinceBoot: time.Hour}, at},
		{"the same boot id with less time than before", "a", time.Minute, last, at.Add(time.Minute)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			since := tt.since
			c := NewClock(tt.boot, func() time.Duration { return since }, func() time.Time { return wall }, tt.last)
			if got := c.Now(); !got.Equal(tt.want) {
				t.Errorf("it is %s, not %s", got, tt.want)
			}
			since += time.Minute
			if got := c.Now(); !got.Equal(tt.want.Add(time.Minute)) {
				t.Errorf("a minute later it is %s", got)
			}
			if got := c.Shown(c.Now().Add(-time.Second)); !got.Equal(wall.Add(-time.Second)) {
				t.Errorf("a second ago is shown as %s", got)
			}
			if !c.Shown(time.Time{}).IsZero() {
				t.Error("no time is shown as one")
			}
		})
	}
}
