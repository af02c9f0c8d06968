package guardian_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// TestG7_AnotherApcupsdsEndIsNotThePis: all apcupsds of a Pi run the same doshutdown script. That of a UPS which does not
// feed the Pi is answered, and is a reason for nothing.
func TestG7_AnotherApcupsdsEndIsNotThePis(t *testing.T) {
	long, full, short, flat := power.Seconds(7200), 0.98, power.Seconds(60), 0.04
	well := func(r power.Reading) power.Reading { r.Runtime, r.Charge = &long, &full; return r }
	ends := func(r power.Reading) power.Reading {
		r.Runtime, r.Charge, r.Flags = &short, &flat, power.OnBattery|power.LowBattery|power.Shutdown
		return r
	}
	for name, c := range map[string]struct {
		a, b  func(power.Reading) power.Reading
		trips bool
	}{
		"the other's":    {well, ends, false},
		"its own":        {ends, well, true},
		"both":           {ends, ends, true},
		"neither's, yet": {well, well, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := wired()
			o.Policy.RideThrough = time.Hour
			s := newStreet(t, o)
			s.g.Hangs(guardian.Own{UPS: "a", Halt: true})
			for i := range 60 {
				s.now = s.now.Add(time.Second)
				since := time.Duration(i) * time.Second
				s.note(s.g.Reported(s.now, "a", c.a(battery(since))))
				s.note(s.g.Reported(s.now, "b", c.b(battery(since))))
			}
			es, err := s.g.Trip(s.now)
			s.note(es)
			if trips := len(s.all(guardian.Tripped)) > 0; err != nil || trips != c.trips {
				t.Errorf("it answers %v, and takes it for the Pi's own: %v", err, trips)
			}
		})
	}
}

// TestG7_ThePiLeavesThoughThePlanSparesAll: apcupsd has left the Pi's end to the guardian, so it comes, though nothing goes
// down for its UPS since another has what it feeds (rule U7).
func TestG7_ThePiLeavesThoughThePlanSparesAll(t *testing.T) {
	for name, feeds := range map[string]map[string][]string{
		"each has two feeds":       {"ups": {"pve1", "pve2"}, "ups2": {"pve1", "pve2"}},
		"the Pi alone hangs on it": {"ups": {"pi"}, "ups2": {"pve1", "pve2"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := orders()
			o.Plan.Wiring = power.Wire(feeds, nil)
			l := newLastHours(t, guardian.Own{UPS: "ups", Halt: true}, o)
			pass := func(n int) {
				for range n {
					l.note(l.g.Reported(l.now, "ups2", mains()))
					l.pass(1)
				}
			}
			pass(1)
			l.supply(battery(0))
			pass(600)
			if err := l.trip(); err != nil {
				t.Fatal(err)
			}
			l.wants(guardian.Halting)
			if what, why := l.g.Leaves(l.now); what != guardian.Halting || why != "apcupsd says that the battery is at its end, and the plan leaves all machines on" {
				t.Errorf("%s: %s", what, why)
			}

			l.boot(l.now) // and it must hear the other UPS first
			pass(15)
			if what, why := l.g.Leaves(l.now); what != "" {
				t.Errorf("%s right after a restart: %s", what, why)
			}
			pass(15)
			if what, _ := l.g.Leaves(l.now); what != guardian.Halting {
				t.Errorf("it stays on: %q", what)
			}
			if told := l.all(shutdown.Sent); len(told) > 0 {
				t.Errorf("told %v", told)
			}
		})
	}
}

// TestG2_AUPSThatFollowsBeginsNoSecondRun: another Pi's UPS is out, and the plan is through for it. The own UPS follows in
// the same outage: what has run is not run again, whoever has run it.
func TestG2_AUPSThatFollowsBeginsNoSecondRun(t *testing.T) {
	brains, others := shutdown.Epoch{Counter: 5, Holder: "brain"}, shutdown.Epoch{Counter: 5, Holder: "p1"}
	for name, c := range map[string]struct {
		brain bool
		back  int // when the other UPS is back; 0: not before the own is out
		runs  int
	}{
		"the brain's run":                  {brain: true},
		"the other Pi's":                   {},
		"the brain's, and it was all back": {brain: true, back: 60, runs: 1},
		"the other's, and it was all back": {back: 60, runs: 1},
	} {
		t.Run(name, func(t *testing.T) {
			o := wired()
			o.Plan.Wiring, o.Pis = nil, []string{"p1", "pi"}
			h := newHouse(t, o)
			h.restart(h.now, "b")
			const outA, outB = 15, 115
			for i := range 300 {
				h.now = h.now.Add(time.Second)
				a, b := mains(), mains()
				if i >= outA && (c.back == 0 || i < c.back) {
					a = battery(time.Duration(i-outA) * time.Second)
				}
				if i >= outB {
					b = battery(time.Duration(i-outB) * time.Second)
				}
				h.note(h.g.Reported(h.now, "b", b))
				w := guardian.PeerWord{Up: time.Hour, State: shutdown.None, UPSes: map[string]power.Reading{"a": a}}
				state := shutdown.None
				switch {
				case i >= outA+30 && (c.back == 0 || i < c.back):
					state = shutdown.HasEnded
				case i >= outA+10 && i < outA+30:
					state = shutdown.Advancing
				}
				if c.brain {
					epoch := brains
					if i < outA+10 {
						epoch.Counter--
					}
					w.Known = epoch
					h.note(h.g.Mandated(h.now, epoch, state))
				} else if state != shutdown.None {
					w.State, w.Epoch, w.Known, w.Since = state, others, others, time.Duration(i-outA-10)*time.Second
				}
				h.note(h.g.PeerSaid(h.now, "p1", w))
			}
			if got := len(h.all(shutdown.Began)); got != c.runs {
				t.Errorf("it began %d runs, want %d", got, c.runs)
			}
		})
	}
}
