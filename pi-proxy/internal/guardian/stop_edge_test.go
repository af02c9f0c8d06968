package guardian_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/shutdown"
)

// TestS10_WhatStopsAfterTheEnd of the brain's run: a stop, noted once, under no epoch of an outage before;
// that the run has ended is none.
func TestS10_WhatStopsAfterTheEnd(t *testing.T) {
	says := func(h *house, counter uint64, state shutdown.State) {
		h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: counter, Holder: "brain"}, state))
	}
	for name, c := range map[string]struct {
		counter uint64
		state   shutdown.State
		want    int
	}{
		"of an outage before":    {4, shutdown.Stopped, 0},
		"that run's":             {5, shutdown.Stopped, 1},
		"later":                  {6, shutdown.Stopped, 1},
		"it has ended":           {5, shutdown.HasEnded, 0},
		"another advances":       {6, shutdown.Advancing, 0},
		"the brain runs nothing": {6, shutdown.None, 0},
	} {
		h := newHouse(t, orders())
		says(h, 4, shutdown.None)
		h.cut()
		h.pass(3)
		h.report(mains())
		h.cut()
		h.pass(12)
		says(h, 5, shutdown.HasEnded)
		if len(h.all(guardian.BrainDone)) != 1 {
			t.Fatalf("%s: the brain's run is not known to have ended", name)
		}
		for range 3 {
			says(h, c.counter, c.state)
			h.pass(1)
		}
		if got := len(h.all(guardian.StopHeard)); got != c.want {
			t.Errorf("%s: a stop was noted %d times, want %d", name, got, c.want)
		}
	}
}

// TestS10_AStoppedRunForSomeIsTheOutagesLast: who is called for later is told nothing either, and another's
// word brings nothing new.
func TestS10_AStoppedRunForSomeIsTheOutagesLast(t *testing.T) {
	s := newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.wait(21)
	s.note(s.g.Stopped(s.now, shutdown.Stopped, s.g.Run.ID))
	if s.g.Heeds() != s.g.Epoch {
		t.Errorf("it heeds %v", s.g.Heeds())
	}
	s.fails("b")
	s.wait(60)
	s.wants("pve1")
	if n := len(s.all(shutdown.Began)); n != 1 {
		t.Errorf("%d runs", n)
	}
}

// TestS10_DisarmedHoldsBackAfterARunBefore: the brain says so of a plan whose bundle is on its way, to a Pi
// whose last run is of an outage before.
func TestS10_DisarmedHoldsBackAfterARunBefore(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(21)
	h.note(h.g.Stopped(h.now, shutdown.Stopped, h.g.Run.ID))
	h.report(mains())
	h.now = h.now.Add(time.Hour)
	h.report(mains())
	h.cut()
	h.pass(60, shutdown.Disarmed)
	if n := len(h.all(shutdown.Began)); n != 1 {
		t.Errorf("%d runs", n)
	}
}

// TestS10_AStopIsHeardBeforeThePlanWouldBegin: a brain that dies in the ride-through, right after it has
// told of a stop, leaves a Pi that begins nothing in that outage, and does in the next.
func TestS10_AStopIsHeardBeforeThePlanWouldBegin(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(3, shutdown.None)
	if h.g.Heeds() != (shutdown.Epoch{}) {
		t.Errorf("it heeds %v before it has heard of a stop", h.g.Heeds())
	}
	stop := shutdown.Epoch{Counter: 4, Holder: "brain"}
	h.note(h.g.Mandated(h.now, stop, shutdown.Stopped))
	if h.g.Heeds() != stop {
		t.Errorf("it heeds %v", h.g.Heeds())
	}
	h.pass(30)
	h.boot()
	h.pass(30)
	h.beganAt()
	h.report(mains())
	h.now = h.now.Add(time.Minute)
	h.cut()
	h.pass(30)
	h.beganAt(20 * time.Second)
}

// TestS10_AStopBesideMainsIsNotOfTheNextOutage: a brain that has yet to hear of the mains says so still.
func TestS10_AStopBesideMainsIsNotOfTheNextOutage(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(3)
	h.report(mains())
	h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.Stopped))
	h.now = h.now.Add(time.Minute)
	h.cut()
	h.pass(30)
	h.beganAt(20 * time.Second)
}

// TestS10_AStopOfTheOutageBeforeIsNoneOfThisOne: the way to the brain was gone from the stop over the mains until
// the power is out again. The brain still says so by then, hears of the mains, begins its run and is gone.
func TestS10_AStopOfTheOutageBeforeIsNoneOfThisOne(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(3, shutdown.None)
	h.report(mains())
	h.now = h.now.Add(3 * time.Second)
	h.cut()
	h.second()
	h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 5, Holder: "brain"}, shutdown.Stopped))
	h.second()
	h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 5, Holder: "brain"}, shutdown.None))
	h.pass(30)
	h.beganAt(20 * time.Second)
}
