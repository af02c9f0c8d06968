package guardian_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// mute lets seconds pass in which the UPS is polled in vain by a process that never heard
// it, until something new is on disk, and says how many those were.
func (h *house) mute(seconds int, kind shutdown.EventType) int {
	n := len(h.all(kind))
	for s := range seconds {
		h.now = h.now.Add(time.Second)
		lost := power.InSeconds(time.Duration(s) * time.Second)
		h.report(power.Reading{Supply: power.Unknown, LostFor: &lost})
		h.note(h.g.Tick(h.now))
		if len(h.all(kind)) > n {
			return s + 1
		}
	}
	return 0
}

func TestS9_ARunGoesOnThoughTheUPSFellSilentWithTheRestart(t *testing.T) {
	for name, tc := range map[string]struct {
		away time.Duration
		want int // seconds after the start; 0: never
	}{
		"at once":            {0, 30}, // U5's, from when somebody last listened
		"after 10 s":         {10 * time.Second, 20},
		"after 25 s":         {25 * time.Second, 10}, // this process has to listen as well
		"after 4 min":        {4 * time.Minute, 10},
		"after 5 min":        {5 * time.Minute, 10},
		"after 6 min":        {6 * time.Minute, 0}, // much may have happened since
		"in another boot":    {-1, 0},
		"after 1 h, as well": {time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, orders())
			h.cut()
			h.pass(22)
			lived := h.now
			if h.now = h.now.Add(tc.away); tc.away < 0 {
				lived = time.Time{}
			}
			h.restart(lived)
			if got := h.mute(900, shutdown.Sent); got != tc.want {
				t.Errorf("it goes on after %d s, want %d", got, tc.want)
			}
			if h.g.Run.Over() {
				t.Errorf("the run is over: %s", h.g.Run.Stopped)
			}
			sent := len(h.all(shutdown.Sent))
			h.report(mains())
			h.pass(0)
			if h.g.Run.Stopped != "the power is back" || len(h.all(shutdown.Sent)) != sent {
				t.Errorf("on mains the run is %q, and sent %d more", h.g.Run.Stopped, len(h.all(shutdown.Sent))-sent)
			}
		})
	}
}

func TestS9_AnOutageBeforeItsRunIsNotForgottenWithTheProcess(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(5)
	h.restart(h.now)
	if got := h.mute(120, shutdown.Began); got != 40 {
		t.Errorf("a run began after %d s, want 30 of silence and 10 for the brain", got)
	}

	h = newHouse(t, orders())
	h.cut()
	h.pass(5)
	h.report(mains())
	h.restart(h.now)
	if got := h.mute(300, shutdown.Began); got != 0 {
		t.Error("a run began in a house that was on mains")
	}
}

func TestS9_TheLoopIsWokenWhenSilenceIsDanger(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(22)
	h.restart(h.now)
	h.note(h.g.Tick(h.now))
	if got := h.g.NextDeadline().Sub(h.now); got != 30*time.Second {
		t.Errorf("woken after %v, want 30 s", got)
	}
}

func TestS9_APauseRightAfterARestartDoesNotForgetTheOutage(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(22)
	h.restart(h.now)
	h.mute(25, shutdown.Sent)
	h.now = h.now.Add(8 * time.Second)
	h.note(h.g.Resumed(h.now))
	if got := h.mute(60, shutdown.Sent); got != 10 {
		t.Errorf("it goes on after %d s, want 10", got)
	}
	h.restart(h.now)
	h.now = h.now.Add(time.Hour) // a process that stood still for so long knows nothing
	h.note(h.g.Resumed(h.now))
	if got := h.mute(300, shutdown.Sent); got != 0 {
		t.Errorf("it goes on %d s after an hour's pause", got)
	}
}

// TestU2_AnOutageIsRememberedWithItsBeginAndItsTransfer, and anew only if those change.
func TestU2_AnOutageIsRememberedWithItsBeginAndItsTransfer(t *testing.T) {
	h := newHouse(t, orders())
	named := func(supply power.Supply, at string) power.Reading {
		r := power.Reading{Supply: supply, For: 4}
		r.OnBatteryAt = at
		return r
	}
	lost := named(power.Battery, "third")
	lost.LostFor = new(power.Seconds(1))
	for _, c := range []struct {
		name  string
		r     power.Reading
		noted bool
		of    string // the transfer that is remembered then
	}{
		{"unnamed", named(power.Battery, ""), true, ""},
		{"unnamed still", named(power.Battery, ""), false, ""},
		{"named", named(power.Battery, "first"), true, "first"},
		{"the same", named(power.Battery, "first"), false, "first"},
		{"no longer named", named(power.Battery, ""), false, "first"},
		{"another", named(power.Battery, "second"), true, "second"},
		{"another, of a test", named(power.SelfTest, "third"), false, "second"},
		{"another, of a UPS that is lost", lost, false, "second"},
	} {
		before := len(h.all(guardian.OnBattery))
		h.now = h.now.Add(time.Second)
		h.report(c.r)
		noted := h.all(guardian.OnBattery)[before:]
		if o, ok := h.g.Outage("ups"); len(noted) > 0 != c.noted || !ok || o.Transfer.At != c.of {
			t.Errorf("%s: noted %v, remembered %+v", c.name, noted, o)
		}
		for _, e := range noted {
			if e.Event.At != h.now.Add(-4*time.Second) || (e.Transfer != nil) != (c.of != "") {
				t.Errorf("%s: noted %+v", c.name, e)
			}
		}
	}
}

// TestU2_TheTimeOnBatteryIsThatOfOneBoot: over another nothing tells how long the Pi was away, so
// it counts from when the UPS was first heard in it, also for a later process.
func TestU2_TheTimeOnBatteryIsThatOfOneBoot(t *testing.T) {
	first := battery(0)
	first.OnBatteryAt = "first"
	for name, then := range map[string]func(*house){
		"the same process": func(*house) {},
		"a later one":      func(h *house) { h.restart(h.now) },
		"its next run": func(h *house) {
			h.out = h.now
			h.pass(25)
			h.now = h.now.Add(-25 * time.Second)
			h.restart(h.now)
		},
	} {
		h := newHouse(t, orders())
		h.report(first)
		h.now = h.now.Add(time.Hour)
		h.reboot()
		if o, ok := h.g.Outage("ups"); ok || len(h.g.Out()) != 1 {
			t.Errorf("%s: before it is heard in this boot it is %v, and out %v", name, o, h.g.Out())
		}
		h.report(first)
		booted := h.now
		then(h)
		if o, ok := h.g.Outage("ups"); !ok || !o.Since.Equal(booted) || o.Transfer.At != "first" {
			t.Errorf("%s: on battery since %s before the boot, %+v", name, booted.Sub(o.Since), o)
		}
	}
}

// TestS9_SilenceSinceABootIsNoReason, for no process of that boot: the Pi may have booted because
// the mains are back.
func TestS9_SilenceSinceABootIsNoReason(t *testing.T) {
	for name, before := range map[string]int{"a run": 22, "an outage": 5} {
		h := newHouse(t, orders())
		h.cut()
		h.pass(before)
		h.reboot()
		h.mute(2, shutdown.Sent)
		h.restart(h.now)
		if n := h.mute(300, shutdown.Sent); n > 0 {
			t.Errorf("%s: a machine was told after %d s", name, n)
		}
		h.cut()
		h.pass(21)
		if len(h.all(shutdown.Began)) != 1 || h.g.Run.Over() {
			t.Errorf("%s: the UPS is on battery, and the runs are %v", name, h.all(shutdown.Began))
		}
		h.restart(h.now)
		if n := h.mute(300, shutdown.Sent); n != 30 {
			t.Errorf("%s: heard in this boot, its silence counts after %d s, want 30", name, n)
		}
	}
}

// TestU3_ALowBatteryIsRememberedAsAnOutage whatever the reason of the transfer, but not on
// mains; a test with a full one is none.
func TestU3_ALowBatteryIsRememberedAsAnOutage(t *testing.T) {
	low := new(power.Seconds(2))
	for name, c := range map[string]struct {
		r    power.Reading
		want int
	}{
		"a test":         {power.Reading{Supply: power.SelfTest}, 0},
		"a low one":      {power.Reading{Supply: power.SelfTest, LowFor: low}, 1},
		"a low on mains": {power.Reading{Supply: power.Mains, LowFor: low}, 0},
	} {
		h := newHouse(t, orders())
		h.report(c.r)
		if out := h.g.Out(); len(out) != c.want || len(h.all(guardian.OnBattery)) != c.want {
			t.Errorf("%s: out %v", name, out)
		}
	}
}

// The first of two UPSes on mains says nothing of the other, heard again or not.
func TestU7_TheFirstOnMainsAfterARestartDoesNotEndTheOutage(t *testing.T) {
	for name, again := range map[string]func(*house){
		"restart": func(h *house) { h.restart(h.now, "other") },
		"reboot":  func(h *house) { h.restart(time.Time{}, "other") },
		"pause":   func(h *house) { h.note(h.g.Resumed(h.now)) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, orders())
			other := func(r power.Reading) { h.note(h.g.Reported(h.now, "other", r)) }
			other(mains())
			h.cut()
			h.pass(22)
			sent := len(h.all(shutdown.Sent))
			again(h)
			for range 5 {
				h.now = h.now.Add(time.Second)
				other(mains())
				h.note(h.g.Tick(h.now))
			}
			if h.g.Run.Over() || len(h.all(guardian.OutageOver)) > 0 {
				t.Fatalf("the other's mains ended it: %q", h.g.Run.Stopped)
			}
			if n := len(h.all(shutdown.Sent)); n != sent {
				t.Errorf("%d commands before the UPS was heard", n-sent)
			}
			h.pass(1)
			if n := len(h.all(shutdown.Sent)); n == sent {
				t.Error("it does not go on once the UPS is heard on battery")
			}
			h.report(mains())
			if !h.g.Run.Over() || len(h.all(guardian.OutageOver)) != 1 {
				t.Error("both are on mains, and it is not over")
			}
		})
	}
}

// What is done in this outage stays done until all that was on battery is on mains.
func TestG2_TheOtherUPSesMainsBeginNoSecondRun(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.end()
	h.restart(h.now, "other")
	h.note(h.g.Reported(h.now, "other", mains()))
	h.pass(120)
	if n := len(h.began()); n != 1 {
		t.Errorf("%d runs in one outage", n)
	}
}

func TestU7_AUPSThatIsNoLongerConfiguredHoldsNothingUp(t *testing.T) {
	h := newHouse(t, orders())
	h.note(h.g.Reported(h.now, "gone", battery(0)))
	h.cut()
	h.pass(22)
	h.restart(h.now)
	h.report(mains())
	if !h.g.Run.Over() {
		t.Error("the run waits for a UPS that nobody watches")
	}
}

// TestU7_NoUPSHeardIsNotMains: all that was on battery is no longer configured, and what is
// there now has not said what it is on.
func TestU7_NoUPSHeardIsNotMains(t *testing.T) {
	h := newHouse(t, orders())
	h.out = h.now
	for range 21 {
		h.now = h.now.Add(time.Second)
		h.note(h.g.Reported(h.now, "gone", battery(h.now.Sub(h.out))))
	}
	h.restart(h.now)
	h.report(power.Reading{Supply: power.Unknown})
	if len(h.began()) != 1 || h.g.Run.Over() {
		t.Errorf("%d runs, and it is over: %v", len(h.began()), h.g.Run.Over())
	}
	h.report(mains())
	if !h.g.Run.Over() {
		t.Error("not over on mains")
	}
}

func TestG5_TheHighestEpochSeenSurvivesACrash(t *testing.T) {
	h := newHouse(t, orders())
	h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 41, Holder: "brain"}, shutdown.None))
	for range 3 {
		h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 40, Holder: "brain"}, shutdown.None))
		h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 41, Holder: "brain"}, shutdown.None))
	}
	if n := len(h.all(guardian.EpochSeen)); n != 1 {
		t.Errorf("written down %d times", n)
	}
	h.boot()
	h.cut()
	h.pass(25)
	if want := (shutdown.Epoch{Counter: 42, Holder: "pi"}); h.g.Epoch != want {
		t.Errorf("epoch %v, want %v", h.g.Epoch, want)
	}
	h.boot()
	const inBothRecords = 2 // a run's begins anew
	h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 41, Holder: "brain"}, shutdown.None))
	if n := len(h.all(guardian.EpochSeen)); n != inBothRecords {
		t.Errorf("one that its own run has outrun is written down")
	}
	h.note(h.g.Mandated(h.now, h.g.Epoch, shutdown.None))
	if n := len(h.all(guardian.EpochSeen)); n != inBothRecords {
		t.Errorf("its own, which the brain repeats, is written down")
	}
}

// A new run begins a new record, which must hold all that the old one did.
func TestS9_ARunsRecordSaysWhatIsOnBattery(t *testing.T) {
	h := newHouse(t, orders())
	h.note(h.g.Reported(h.now, "other", battery(0)))
	h.cut()
	h.pass(22)
	for i, e := range h.disk {
		if e.Event.Type == shutdown.Began {
			h.disk = h.disk[i:]
			break
		}
	}
	h.restart(h.now, "other")
	h.report(mains())
	if h.g.Run.Over() {
		t.Error("the other UPS is forgotten")
	}
	h.note(h.g.Reported(h.now, "other", mains()))
	if !h.g.Run.Over() {
		t.Error("not over on mains")
	}
}

// TestU5_ArmedLongAfterAUPSWasUnplugged: what was lost on battery long ago is no danger now, and
// begins nothing when somebody arms the plan. The brain goes by the same.
func TestU5_ArmedLongAfterAUPSWasUnplugged(t *testing.T) {
	for after, want := range map[time.Duration]int{2 * time.Minute: 1, 50 * time.Minute: 0} {
		o := orders()
		o.Armed = false
		h := newHouse(t, o)
		h.cut()
		h.pass(5)
		lost := h.now
		for h.now.Sub(lost) < after {
			h.now = h.now.Add(time.Second)
			h.note(h.g.Tick(h.now))
		}
		o.Armed = true
		h.note(h.g.Order(h.now, o))
		for range 60 {
			h.now = h.now.Add(time.Second)
			h.note(h.g.Tick(h.now))
		}
		if got := len(h.began()); got != want {
			t.Errorf("armed %s after contact was lost: %d runs, want %d", after, got, want)
		}
	}
}

// TestU5_LostLongAgoIsNoDangerAfterARestart either, nor after another: armed then, the plan does not begin.
// A UPS that was heard since is lost anew.
func TestU5_LostLongAgoIsNoDangerAfterARestart(t *testing.T) {
	for name, c := range map[string]struct {
		lost  time.Duration // before the restart
		again int           // restarts, a minute apart, before somebody arms the plan
		heard bool          // for a second in the minute before that
		want  int
	}{
		"a minute":                    {time.Minute, 1, false, 1},
		"7 min":                       {7 * time.Minute, 1, false, 0},
		"a minute, and six more":      {time.Minute, 7, false, 0},
		"7 min, and heard in between": {7 * time.Minute, 1, true, 1},
		"7 min, and heard twice":      {7 * time.Minute, 2, true, 1},
	} {
		o := orders()
		o.Armed = false
		h := newHouse(t, o)
		h.cut()
		h.pass(5)
		last := battery(5 * time.Second)
		for lost := h.now; h.now.Sub(lost) < c.lost; {
			h.now = h.now.Add(time.Second)
			h.report(last.Lost(h.now.Sub(lost)))
		}
		for i := range c.again {
			if i > 0 {
				h.mute(60, shutdown.Began)
			}
			if c.heard {
				h.second()
			}
			h.now = h.now.Add(3 * time.Second)
			h.restart(h.now.Add(-3 * time.Second))
		}
		o.Armed = true
		h.orders = o
		h.note(h.g.Order(h.now, o))
		h.mute(60, shutdown.Began)
		if got := len(h.began()); got != c.want {
			t.Errorf("lost for %s: %d runs, want %d", name, got, c.want)
		}
	}
}

func TestG2_WhichRunsAreOfAnOutageBeforeIsKnownAfterARestart(t *testing.T) {
	h := newHouse(t, orders())
	h.report(mains())
	h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.HasEnded))
	h.report(mains())
	h.cut()
	h.restart(h.now)
	h.pass(40, shutdown.HasEnded)
	h.beganAt(20 * time.Second)
}

func TestG2_TheBrainsWordThatItsRunIsOverCountsRightAfterARestart(t *testing.T) {
	h := newHouse(t, orders())
	h.report(mains())
	h.cut()
	h.pass(15, shutdown.Advancing)
	h.restart(h.now)
	h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.HasEnded))
	h.pass(60)
	h.beganAt()
	h.report(mains())
	h.cut()
	h.pass(20)
	h.beganAt(20 * time.Second)
}
