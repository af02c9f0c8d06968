package guardian_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

func TestNothingBeginsUnarmedOrWithoutAPlan(t *testing.T) {
	unarmed, planless := orders(), orders()
	unarmed.Armed = false
	planless.Plan.Stages = nil
	for name, o := range map[string]guardian.Orders{"unarmed": unarmed, "without a plan": planless, "without orders": {}} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, o)
			h.cut()
			h.pass(300)
			if es := h.did(); len(es) > 0 {
				t.Errorf("it did %v", es)
			}
		})
	}
}

func TestS10_ADisarmedPlanEndsTheRun(t *testing.T) {
	unarmed := orders()
	unarmed.Armed = false
	for name, disarm := range map[string]func(*house) []guardian.Event{
		"by the bundle": func(h *house) []guardian.Event { return h.g.Order(h.now, unarmed) },
		"by the brain's word, the bundle could not be stored": func(h *house) []guardian.Event {
			return h.g.Mandated(h.now, shutdown.Epoch{}, shutdown.Disarmed)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, orders())
			h.cut()
			h.pass(25)
			es := h.note(disarm(h))
			if len(es) == 0 || es[0].Event.Type != shutdown.Aborted || es[0].Event.Why != "the plan was disarmed" {
				t.Fatalf("got %v, want it aborted", es)
			}
			sent := len(h.all(shutdown.Sent))
			h.pass(60)
			if n := len(h.all(shutdown.Sent)); n != sent {
				t.Errorf("%d commands after the plan was disarmed", n-sent)
			}
		})
	}
}

// What armed the plan may not have come to the disk before the Pi crashed, or what disarmed it
// did, and the run's end did not: the Pi waits for the brain to say which.
func TestS9_ARunWhosePlanIsNotArmedOnDiskWaits(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(25)
	armed := h.orders
	h.orders.Armed = false
	h.restart(h.now)
	sent := len(h.all(shutdown.Sent))
	h.pass(20)
	if n := len(h.all(shutdown.Sent)); n != sent || h.g.Run.Over() {
		t.Fatalf("%d commands by a plan that is not armed, and the run is over: %v", n-sent, h.g.Run.Over())
	}
	h.note(h.g.Order(h.now, armed))
	if n := len(h.all(shutdown.Sent)); n == sent {
		t.Error("it is armed, and the run does not go on")
	}
}

func TestS10_TheBrainsWordThatThePlanIsDisarmedKeepsThePiFromBeginning(t *testing.T) {
	h := newHouse(t, orders()) // the bundle that says so could not be stored
	h.cut()
	h.pass(120, shutdown.Disarmed)
	h.beganAt()
}

func TestS10_ARunKeepsThePlanThatItBeganWith(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(25)
	other := orders()
	other.Plan.Stages = []shutdown.Stage{{Nodes: []string{"pve2"}, Deadline: time.Second}}
	h.note(h.g.Order(h.now, other))
	if got := h.g.Run.Plan.Stages[0].Nodes[0]; got != "pve1" {
		t.Errorf("the run's first stage is now %s", got)
	}
}

func TestS5_PowerBackEndsTheRunAndNothingIsSentAfterIt(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(22)
	sent := len(h.all(shutdown.Sent))
	if sent == 0 {
		t.Fatal("nothing was sent before")
	}
	h.report(mains())
	if h.g.Run.Stopped != "the power is back" {
		t.Errorf("stopped %q", h.g.Run.Stopped)
	}
	for range 60 {
		h.now = h.now.Add(time.Second)
		h.note(h.g.Answered(h.now, "node/pve1", nil, errors.New("late")))
		h.note(h.g.Tick(h.now))
		h.report(mains())
	}
	if n := len(h.all(shutdown.Sent)); n != sent {
		t.Errorf("%d commands on mains", n-sent)
	}
}

func TestU4_AnOutageThatEndsBeforePatienceDoesNothing(t *testing.T) {
	h := newHouse(t, orders())
	for range 3 {
		h.cut()
		h.pass(19)
		h.report(mains())
	}
	if es := h.did(); len(es) > 0 {
		t.Errorf("it did %v", es)
	}
}

func TestU5_ContactLostOnBatteryIsDanger(t *testing.T) {
	h := newHouse(t, orders())
	h.out = h.now
	for range 60 {
		h.now = h.now.Add(time.Second)
		lost := power.InSeconds(h.now.Sub(h.out))
		r := battery(3 * time.Second) // as last known; never out for the ride-through
		r.LostFor = &lost
		h.report(r)
	}
	h.beganAt(40 * time.Second) // LostFor, 30 s, and 10 s for the brain
}

// TestU3_TheLoopIsWokenWhenASelfTestTooLongIsAnOutage though no report comes.
func TestU3_TheLoopIsWokenWhenASelfTestTooLongIsAnOutage(t *testing.T) {
	h := newHouse(t, orders())
	h.report(power.Reading{Supply: power.SelfTest, For: 15})
	if got := h.g.NextDeadline().Sub(h.now); got != 25*time.Second {
		t.Errorf("woken after %v, want 25 s", got)
	}
}

// TestU3_LostInASelfTest: a UPS falls silent in a self-test, which stays one for 40 s and LostFor.
// From then on the UPS was on battery, also for the next process.
func TestU3_LostInASelfTest(t *testing.T) {
	h := newHouse(t, orders())
	h.out = h.now
	for s := range 81 {
		h.now = h.out.Add(time.Duration(s) * time.Second)
		if got := len(h.g.Out()) > 0; got != (s > 70) {
			t.Errorf("after %d s it was on battery: %t", s, got)
		}
		r := power.Reading{Supply: power.SelfTest, For: power.Seconds(s), LostFor: new(power.Seconds(max(s-5, 0)))}
		h.report(r)
	}
	h.beganAt(80 * time.Second)
}

func TestU3_AReasonThatPassesStartsPatienceAnew(t *testing.T) {
	h := newHouse(t, orders())
	low := power.Seconds(10)
	h.report(power.Reading{Supply: power.SelfTest, LowFor: &low})
	h.now = h.now.Add(time.Second)
	h.report(power.Reading{Supply: power.SelfTest})
	h.now = h.now.Add(time.Minute)
	h.cut()
	h.pass(25)
	h.beganAt(20 * time.Second)
}

func TestU5_ContactLostOnBatteryKeepsTheReason(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(15)
	for range 60 {
		h.now = h.now.Add(time.Second)
		lost := power.InSeconds(h.now.Sub(h.out) - 15*time.Second)
		r := battery(15 * time.Second)
		r.LostFor = &lost
		h.report(r)
		h.note(h.g.Reported(h.now, "zz", mains()))
	}
	h.beganAt(45 * time.Second) // what is not fresh starts nothing, until it is lost for 30 s
}

func TestS9_ARunIsTakenUpOnceTheUPSWasHeard(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(22)
	before := len(h.all(shutdown.Sent))
	h.boot()
	for range 3 {
		h.now = h.now.Add(500 * time.Millisecond)
		h.note(h.g.Tick(h.now))
	}
	if n := len(h.all(shutdown.Sent)); n != before {
		t.Fatalf("%d commands before the UPS was heard", n-before)
	}
	h.pass(1) // without the restart its answer would be waited for until 28 s
	again := h.all(shutdown.Sent)[before:]
	if len(again) == 0 || again[0].Event.Target != "node/pve1" {
		t.Errorf("after the restart sent %v, want pve1 again", again)
	}
	if n := len(h.began()); n != 1 {
		t.Errorf("%d runs", n)
	}
}

// A Pi that boots because the power came back hears an apcupsd that does not know yet.
func TestS5_AnUnknownSupplyIsNoReasonToGoOnAfterARestart(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(22)
	before := len(h.all(shutdown.Sent))
	h.reboot()
	lost := power.Seconds(0)
	for range 120 {
		h.now = h.now.Add(time.Second)
		h.report(power.Reading{Supply: power.Unknown, LostFor: &lost})
		lost++
		h.note(h.g.Tick(h.now))
	}
	if h.g.Run.Over() {
		t.Errorf("the run is over (%s) though nothing was heard", h.g.Run.Stopped)
	}
	h.report(mains())
	if n := len(h.all(shutdown.Sent)); n != before {
		t.Errorf("%d commands to a house with power", n-before)
	}
	if h.g.Run.Stopped == "" {
		t.Error("the run is still open on mains")
	}
}

func TestS9_AfterAPauseTheUPSIsHeardFirst(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(22)
	before := len(h.all(shutdown.Sent))
	h.now = h.now.Add(time.Hour)
	h.note(h.g.Resumed(h.now))
	h.note(h.g.Tick(h.now))
	h.report(mains())
	if n := len(h.all(shutdown.Sent)); n != before {
		t.Errorf("%d commands after a pause, on a reading from before it", n-before)
	}
}

func TestU7_AnyUPSCallsForThePlanAndAllMustBeBack(t *testing.T) {
	h := newHouse(t, orders())
	h.out = h.now
	other := func(r power.Reading) { h.note(h.g.Reported(h.now, "other", r)) }
	for range 21 {
		other(mains())
		h.second()
		h.note(h.g.Reported(h.now, "third", power.Reading{Supply: power.Unknown}))
	}
	h.beganAt(20 * time.Second)
	other(mains())
	if h.g.Run.Over() {
		t.Errorf("aborted (%s) while one UPS is on battery", h.g.Run.Stopped)
	}
	h.report(mains())
	if !h.g.Run.Over() {
		t.Error("not aborted though all are on mains")
	}
}

func TestG1_TheFirstReasonOfSeveralUPSesWakesTheLoop(t *testing.T) {
	for _, names := range [][]string{{"a", "b"}, {"b", "a"}} {
		h := newHouse(t, orders())
		h.note(h.g.Reported(h.now, names[0], battery(0)))
		h.note(h.g.Reported(h.now, names[1], battery(6*time.Second)))
		if got := h.g.NextDeadline().Sub(h.now); got != 4*time.Second {
			t.Errorf("woken after %v, want 4 s", got)
		}
	}
}

func TestG1_TheUPSWithTheLeastTimeCounts(t *testing.T) {
	h := newHouse(t, orders())
	h.out = h.now
	soon, little := power.Seconds(100), 0.1
	for range 15 {
		h.now = h.now.Add(time.Second)
		low := battery(time.Second) // reason enough, but not urgent
		low.Charge = &little
		h.report(low)
		short := battery(time.Second)
		short.Runtime = &soon
		h.note(h.g.Reported(h.now, "z-short", short))
	}
	h.beganAt(3 * time.Second) // its first report is at 1 s
}

// TestS5_AReadingOfThreeSecondsAgoIsFresh: what it says of the runtime counts as well.
func TestS5_AReadingOfThreeSecondsAgoIsFresh(t *testing.T) {
	h := newHouse(t, orders())
	h.out = h.now
	soon := power.Seconds(100)
	short := battery(0)
	short.Runtime = &soon
	h.report(short)
	h.now = h.now.Add(3 * time.Second)
	h.note(h.g.Tick(h.now))
	h.beganAt(3 * time.Second)
}

// TestU7_OfTwoAlikeTheFirstIsTheReason, in the order of their names.
func TestU7_OfTwoAlikeTheFirstIsTheReason(t *testing.T) {
	h := newHouse(t, orders())
	h.out = h.now
	for range 11 {
		h.now = h.now.Add(time.Second)
		h.note(h.g.Reported(h.now, "a", battery(30*time.Second)))
		h.note(h.g.Reported(h.now, "b", battery(60*time.Second)))
	}
	if h.g.Run == nil || !strings.Contains(h.g.Run.Reason, "out for 30 s") {
		t.Errorf("the run is %+v", h.g.Run)
	}
}
