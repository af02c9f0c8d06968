package guardian_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

func named(transfer string) power.Reading {
	r := battery(0)
	r.OnBatteryAt = transfer
	return r
}

// TestS2_AnOutageRightAfterTheBootHasItsRun, though the Pi has not heard the mains between: where it
// powered itself off it has power again, and else the UPS must name another transfer. apcupsd
// started anew names another too, which begins nothing in the same boot, nor what a person stopped,
// also once it was through.
func TestS2_AnOutageRightAfterTheBootHasItsRun(t *testing.T) {
	keeps := guardian.Own{UPS: "ups", Halt: true}
	for name, c := range map[string]struct {
		own    guardian.Own
		before func(l *lastHours)
		second string
		lived  bool
		want   int
	}{
		"the output was cut": {own: hangs, before: func(l *lastHours) { l.through(); l.pass(70); l.wants(guardian.Cutting) }, want: 2},
		"the Pi has halted": {own: keeps, before: func(l *lastHours) {
			_ = l.trip()
			l.through()
			l.wants(guardian.Halting)
		}, want: 2},
		"a person stopped it, and the battery ran flat": {own: keeps, before: func(l *lastHours) {
			_ = l.trip()
			l.pass(10)
			l.note(l.g.Stopped(l.now, shutdown.Stopped, l.g.Run.ID))
			l.pass(2)
			l.wants(guardian.Halting)
		}, want: 2},
		"another transfer":               {own: keeps, before: (*lastHours).through, second: "second", want: 2},
		"the same":                       {own: keeps, before: (*lastHours).through, second: "first", want: 1},
		"one without a name":             {own: keeps, before: (*lastHours).through, want: 1},
		"apcupsd alone was started anew": {own: keeps, before: (*lastHours).through, second: "second", lived: true, want: 1},
		"a halt that came to nothing":    {own: hangs, before: func(l *lastHours) { l.through(); l.pass(70) }, second: "second", lived: true, want: 1},
		"a person stopped it, and the Pi rebooted": {own: keeps, before: func(l *lastHours) {
			l.pass(25)
			l.note(l.g.Stopped(l.now, shutdown.Stopped, l.g.Run.ID))
		}, second: "second", want: 1},
		"a person stopped it once it was through": {own: keeps, before: func(l *lastHours) {
			l.through()
			l.note(l.g.Stopped(l.now, shutdown.Stopped, l.g.Run.ID))
			l.note(l.g.Mandated(l.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.Stopped))
		}, second: "second", want: 1},
		"a person stopped it once the brain's was through": {own: keeps, before: func(l *lastHours) {
			l.pass(12)
			l.note(l.g.Mandated(l.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.HasEnded))
			l.note(l.g.Mandated(l.now, shutdown.Epoch{Counter: 5, Holder: "brain"}, shutdown.Stopped))
		}, second: "second", want: 0},
		"the brain's was through": {own: keeps, before: func(l *lastHours) {
			l.pass(12)
			l.note(l.g.Mandated(l.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.HasEnded))
		}, second: "second", want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLastHours(t, c.own, orders())
			l.supply(named("first"))
			c.before(l)
			l.now = l.now.Add(time.Minute)
			lived := time.Time{}
			if c.lived {
				lived = l.now
			}
			clear(l.sees)
			l.boot(lived)
			l.supply(named(c.second))
			l.pass(60)
			if n := len(l.all(shutdown.Began)); n != c.want {
				t.Errorf("%d runs, want %d", n, c.want)
			}
			l.boot(l.now) // and so it is on disk
			l.pass(60)
			if n := len(l.all(shutdown.Began)); n != c.want {
				t.Errorf("%d runs after a restart, want %d", n, c.want)
			}
		})
	}
}

// TestS5_WhatThePiStoppedIsOwedOverItsEnd: the run of an outage right after the boot owes it.
func TestS5_WhatThePiStoppedIsOwedOverItsEnd(t *testing.T) {
	o := orders()
	o.Plan.Stages = []shutdown.Stage{{AllGuests: true, Deadline: time.Minute}}
	l := newLastHours(t, guardian.Own{UPS: "ups", Halt: true}, o)
	l.supply(battery(0))
	_ = l.trip()
	l.pass(5)
	l.note(l.g.Answered(l.now, "listing/pve1", []shutdown.Target{{Kind: shutdown.Guest, Node: "pve1", VMID: 100}}, nil))
	l.note(l.g.Answered(l.now, "listing/pve2", nil, nil))
	l.note(l.g.Answered(l.now, "guest/100", nil, nil))
	l.note(l.g.Seen(l.now, "guest/100", shutdown.Sight{}))
	l.pass(2)
	l.wants(guardian.Halting)
	l.boot(time.Time{})
	l.supply(battery(0))
	l.pass(25)
	if n := len(l.all(shutdown.StartSent)); n > 0 || len(l.all(shutdown.Began)) != 2 || len(l.g.Run.Owed) != 1 {
		t.Fatalf("%d starts, %d runs, and the last owes %v", n, len(l.all(shutdown.Began)), l.g.Run.Owed)
	}
	l.supply(mains())
	if n := len(l.all(shutdown.PutBackBegan)); n != 2 || !l.g.Run.PutsBack() {
		t.Errorf("with the power back it puts nothing back, %d", n)
	}
}

// TestG7_ThePiGoesThoughThePlanWasDisarmed before it began here: apcupsd was told to leave that to
// the guardian, and no longer does it itself. The output stays.
func TestG7_ThePiGoesThoughThePlanWasDisarmed(t *testing.T) {
	for name, acts := range map[string]int{"at once": 0, "after the brain had acted": 30} {
		l := newLastHours(t, hangs, orders())
		l.supply(battery(0))
		brain := func(s shutdown.State) { l.note(l.g.Mandated(l.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, s)) }
		l.pass(1)
		brain(shutdown.None)
		if err := l.trip(); err != nil {
			t.Fatal(err)
		}
		for range acts {
			brain(shutdown.Advancing)
			l.pass(1)
		}
		l.wants()
		l.orders.Armed = false
		l.note(l.g.Order(l.now, l.orders))
		brain(shutdown.Disarmed)
		l.pass(5)
		l.wants(guardian.Halting)
		if len(l.all(shutdown.Began)) > 0 {
			t.Errorf("%s: a disarmed plan has begun", name)
		}
	}
}

// TestG4_UnderWhatAPersonKeptOnTheOutputStays: the plan was stopped, and the battery runs flat.
func TestG4_UnderWhatAPersonKeptOnTheOutputStays(t *testing.T) {
	short := power.Seconds(50)
	flat := battery(0)
	flat.Runtime, flat.LowFor, flat.Course = &short, new(power.Seconds(100)), &power.Course{Runtime: &short}
	for name, c := range map[string]struct {
		stop func(l *lastHours)
		want shutdown.EventType
	}{
		"the Pi's run": {func(l *lastHours) { l.note(l.g.Stopped(l.now, shutdown.Stopped, l.g.Run.ID)) }, guardian.Halting},
		"nobody":       {func(*lastHours) {}, guardian.Cutting},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLastHours(t, hangs, orders())
			l.supply(battery(0))
			l.pass(21)
			c.stop(l)
			l.supply(flat)
			l.pass(5)
			l.wants(c.want)
		})
	}
	t.Run("the brain's run", func(t *testing.T) {
		l := newLastHours(t, hangs, orders())
		l.supply(battery(0))
		l.pass(15)
		l.note(l.g.Mandated(l.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.Stopped))
		l.supply(flat)
		l.pass(30)
		l.wants(guardian.Halting)
	})
}

// TestG7_AnAnswerThatIsMissingHaltsNothingAtOnce: the output may be cut yet.
func TestG7_AnAnswerThatIsMissingHaltsNothingAtOnce(t *testing.T) {
	l := newLastHours(t, hangs, orders())
	l.supply(battery(0))
	_ = l.trip()
	l.through()
	l.pass(10)
	l.reading.LostFor = new(power.Seconds)
	l.pass(10)
	l.wants()
	l.reading.LostFor = nil
	l.pass(75)
	l.wants(guardian.Cutting)
}

// TestG4_AWordThatTheOutputIsToBeCutDoesNotOutliveTheOutage: on mains it would have the next
// shutdown of the Pi cut the output.
func TestG4_AWordThatTheOutputIsToBeCutDoesNotOutliveTheOutage(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		l := newLastHours(t, hangs, orders())
		l.supply(battery(0))
		l.through()
		l.pass(65)
		l.wants(guardian.Cutting)
		l.supply(mains())
		if restarted {
			l.boot(l.now)
		}
		l.pass(59)
		l.wants(guardian.Cutting)
		l.pass(2)
		l.wants(guardian.Cutting, guardian.Clearing)
		l.pass(1200)
		l.wants(guardian.Cutting, guardian.Clearing)
	}
}
