package guardian_test

import (
	"slices"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// TestG4_OnTheSecond: the bounds of the Pi's own end count to the second.
func TestG4_OnTheSecond(t *testing.T) {
	down := func(t *testing.T) (l *lastHours, seen time.Time) {
		l = newLastHours(t, hangs, orders())
		l.supply(battery(0))
		l.through()
		return l, l.all(shutdown.Ended)[0].Event.At.Add(time.Second) // the first look after the run
	}
	t.Run("seen down for a minute", func(t *testing.T) {
		l, seen := down(t)
		l.pass(90)
		if got := l.all(guardian.Cutting)[0].Event.At.Sub(seen); got != time.Minute {
			t.Errorf("it cuts the output %s after the first look", got)
		}
	})
	for gap, want := range map[int]time.Duration{15: time.Minute, 16: 46*time.Second + time.Minute} {
		t.Run("not looked at in between", func(t *testing.T) {
			l, seen := down(t)
			l.pass(30)
			look := l.sees["node/pve1"]
			delete(l.sees, "node/pve1")
			l.pass(gap - 1)
			l.sees["node/pve1"] = look
			l.pass(100)
			if got := l.all(guardian.Cutting)[0].Event.At.Sub(seen); got != want {
				t.Errorf("after a gap of %d s it cuts the output %s after the first look", gap, got)
			}
		})
	}
	t.Run("a last look long ago", func(t *testing.T) { // what was seen then is no word of now
		l, _ := down(t)
		l.pass(59)
		l.sees = map[string]shutdown.Sight{}
		l.pass(16)
		l.wants(guardian.Cutting) // it was ordered in time
		l, _ = down(t)
		l.pass(40)
		l.sees = map[string]shutdown.Sight{}
		l.pass(100)
		l.wants()
	})
	t.Run("a last look as long ago as counts", func(t *testing.T) {
		l, seen := down(t)
		l.pass(45)
		l.sees = map[string]shutdown.Sight{}
		l.pass(60)
		if cuts := l.all(guardian.Cutting); len(cuts) == 0 || cuts[0].Event.At.Sub(seen) != time.Minute {
			t.Errorf("it cuts the output at %v", cuts)
		}
	})
	t.Run("silent for as long as counts", func(t *testing.T) {
		for silent, want := range map[time.Duration]int{5 * time.Second: 1, 5*time.Second - 1: 0} {
			l, _ := down(t)
			l.sees["node/pve1"] = shutdown.Sight{Closed: true, SilentFor: &silent}
			l.pass(90)
			if got := len(l.all(guardian.Cutting)); got != want {
				t.Errorf("an agent silent for %s: %d cuts, want %d", silent, got, want)
			}
		}
	})
}

// TestG4_WhatIsWatchedForTheCut: machines are looked at after the plan only where the output may be
// cut then.
func TestG4_WhatIsWatchedForTheCut(t *testing.T) {
	for name, c := range map[string]struct {
		own    guardian.Own
		change func(l *lastHours)
		want   int
	}{
		"the run is through": {hangs, func(*lastHours) {}, 2},
		"not told to cut":    {guardian.Own{UPS: "ups", Halt: true}, func(*lastHours) {}, 0},
		"not armed": {hangs, func(l *lastHours) {
			l.orders.Armed = false
			l.note(l.g.Order(l.now, l.orders))
		}, 0},
		"power back":  {hangs, func(l *lastHours) { l.supply(mains()) }, 0},
		"a self-test": {hangs, func(l *lastHours) { l.supply(power.Reading{Supply: power.SelfTest}) }, 0},
		"booted":      {hangs, func(l *lastHours) { l.boot(l.now) }, 0}, // the UPS is not heard yet
	} {
		t.Run(name, func(t *testing.T) {
			l := newLastHours(t, c.own, orders())
			l.supply(battery(0))
			l.pass(20)
			if n := len(l.g.Watches(l.now)); n != 0 {
				t.Errorf("%d are watched before the run is through", n)
			}
			l.through()
			c.change(l)
			if n := len(l.g.Watches(l.now)); n != c.want {
				t.Errorf("%d are watched, want %d", n, c.want)
			}
		})
	}
}

// TestG7_ThePiWaitsForTheCut as long as it may, to the second.
func TestG7_ThePiWaitsForTheCut(t *testing.T) {
	l := newLastHours(t, hangs, orders())
	l.supply(battery(0))
	_ = l.trip()
	l.through()
	ended := l.all(shutdown.Ended)[0].Event.At
	l.sees["node/pve2"] = shutdown.Sight{}
	l.pass(120)
	if got := l.all(guardian.Halting)[0].Event.At.Sub(ended); got != 90*time.Second {
		t.Errorf("it powers itself off %s after the run", got)
	}
}

// TestG4_AFlatBatteryGivesThePlanItsTime, to the second, whoever is to run it.
func TestG4_AFlatBatteryGivesThePlanItsTime(t *testing.T) {
	flat := battery(0)
	flat.Runtime, flat.LowFor = new(power.Seconds), new(power.Seconds)
	flat.Course = &power.Course{Runtime: flat.Runtime}
	for name, c := range map[string]struct {
		brain bool
		want  time.Duration
	}{"the Pi": {false, 2 * time.Second}, "the brain": {true, 10 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			l := newLastHours(t, hangs, orders())
			l.supply(flat)
			out := l.now
			for range 30 {
				if c.brain {
					l.note(l.g.Mandated(l.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.Advancing))
				}
				l.pass(1)
			}
			if got := l.all(guardian.Cutting)[0].Event.At.Sub(out); got != c.want {
				t.Errorf("it cuts the output after %s, want %s", got, c.want)
			}
		})
	}
}

// TestG4_NoMachineOnItIsNoReasonToCut: that all of none are down says nothing. Here a new plan says
// that the Pi's UPS feeds none, after the brain's run.
func TestG4_NoMachineOnItIsNoReasonToCut(t *testing.T) {
	l := newLastHours(t, hangs, orders())
	l.supply(battery(0))
	l.sees["node/pve1"] = left()
	brain := shutdown.Epoch{Counter: 4, Holder: "brain"}
	for range 15 {
		l.note(l.g.Mandated(l.now, brain, shutdown.Advancing))
		l.pass(1)
	}
	l.note(l.g.Mandated(l.now, brain, shutdown.HasEnded))
	if !slices.ContainsFunc(l.disk, func(e guardian.Event) bool { return e.Event.Type == guardian.BrainDone }) {
		t.Fatal("the brain's run is not known to have ended")
	}
	l.orders.Plan.Wiring = power.Wire(map[string][]string{"other": {"pve1", "pve2"}, "ups": {"switch"}}, nil)
	l.note(l.g.Order(l.now, l.orders))
	for range 120 {
		l.note(l.g.Reported(l.now, "other", mains()))
		l.pass(1)
	}
	l.wants()
}

// TestG7_ApcupsdForgetsOnTheSecond that the mains have been back for a minute.
func TestG7_ApcupsdForgetsOnTheSecond(t *testing.T) {
	tripped := func(s power.Supply) power.Reading {
		return power.Reading{Supply: s, Status: power.Status{Flags: power.Shutdown}}
	}
	l := newLastHours(t, guardian.Own{UPS: "ups"}, orders())
	l.supply(tripped(power.Battery))
	l.pass(5)
	l.supply(tripped(power.Mains))
	back := l.now
	l.pass(90)
	if got := l.all(guardian.Clearing)[0].Event.At.Sub(back); got != time.Minute {
		t.Errorf("it is made to forget %s after the mains came back", got)
	}
}

// TestG4_AReadingIsOneOfNowForAWhile: the output is cut while the UPS's last word is fresh, and no longer.
func TestG4_AReadingIsOneOfNowForAWhile(t *testing.T) {
	l := newLastHours(t, hangs, orders())
	l.supply(battery(0))
	l.through()
	l.pass(62)
	l.wants(guardian.Cutting)
	for old, want := range map[time.Duration]shutdown.EventType{power.Fresh: guardian.Cutting, power.Fresh + 1: ""} {
		if got, _ := l.g.Leaves(l.now.Add(old)); got != want {
			t.Errorf("at a reading %s old it orders %q, want %q", old, got, want)
		}
	}
}

// TestG7_ThePisEndIsOfOneOutage: once the power was back it says nothing of the next one, over
// whatever restarts.
func TestG7_ThePisEndIsOfOneOutage(t *testing.T) {
	l := newLastHours(t, guardian.Own{UPS: "ups", Halt: true}, orders())
	l.supply(battery(0))
	_ = l.trip()
	l.through()
	l.wants(guardian.Halting)
	l.now = l.now.Add(time.Hour)
	back := func() (n int) {
		for _, e := range l.disk {
			if e.Event.Type == guardian.OnMains {
				n++
			}
		}
		return n
	}
	for restart, want := range []int{1, 1, 1} {
		lived := l.now
		l.now = l.now.Add(2 * time.Second)
		if restart == 0 { // the Pi was booted
			l.boot(time.Time{})
			l.supply(battery(0))
		} else {
			l.boot(lived)
			l.poll()
		}
		if l.pass(1); back() != want {
			t.Errorf("after start %d the power was back %d times, want %d", restart+1, back(), want)
		}
	}
}

// TestG7_ABootEndsApcupsdsWord, which a restart of the process does not.
func TestG7_ABootEndsApcupsdsWord(t *testing.T) {
	for _, c := range []struct {
		lived time.Duration
		want  int
	}{{0, 1}, {time.Second, 0}} {
		l := newLastHours(t, hangs, orders())
		if err := l.trip(); err != nil {
			t.Fatal(err)
		}
		l.now = l.now.Add(2 * time.Second)
		lived := time.Time{}
		if c.lived > 0 {
			lived = l.now.Add(-c.lived)
		}
		l.boot(lived)
		n := 0
		for _, e := range l.disk {
			if e.Event.Type == guardian.Rebooted {
				n++
			}
		}
		if n != c.want {
			t.Errorf("last alive at %v: %d boots noted, want %d", lived, n, c.want)
		}
	}
}

// TestS2_AContactThatIsLostTellsOfNoOutageAnew: the Pi has powered itself off and is back, and what its UPS
// says is of before.
func TestS2_AContactThatIsLostTellsOfNoOutageAnew(t *testing.T) {
	l := newLastHours(t, guardian.Own{UPS: "ups", Halt: true}, orders())
	l.supply(battery(0))
	_ = l.trip()
	l.through()
	l.wants(guardian.Halting)
	l.now = l.now.Add(time.Hour)
	l.boot(time.Time{})
	before := len(l.disk)
	l.supply(battery(0).Lost(10 * time.Second))
	l.pass(1)
	for _, e := range l.disk[before:] {
		if e.Event.Type == guardian.OnMains {
			t.Errorf("the power was back: %+v", e)
		}
	}
}

// TestG7_ApcupsdsWordHoldsForAWhile: on battery again while it still wants to go down is at once a
// reason, but not half an hour after its word.
func TestG7_ApcupsdsWordHoldsForAWhile(t *testing.T) {
	still := func(s power.Supply) power.Reading {
		return power.Reading{Supply: s, Status: power.Status{Flags: power.Shutdown}}
	}
	for _, c := range []struct {
		since time.Duration
		again power.Reading
		want  int
	}{
		{30*time.Minute - time.Second, still(power.Battery), 1},
		{30 * time.Minute, still(power.Battery), 0},
		{time.Minute, battery(0), 0}, // it has forgotten it
	} {
		l := newLastHours(t, guardian.Own{UPS: "ups"}, orders())
		l.supply(battery(0))
		_ = l.trip()
		at := l.now
		l.pass(1)
		l.supply(mains())
		l.pass(int((c.since - l.now.Sub(at)) / time.Second))
		l.supply(c.again)
		l.pass(3)
		if got := len(l.all(shutdown.Began)); got != c.want {
			t.Errorf("%s after its word: %d runs, want %d", c.since, got, c.want)
		}
	}
}
