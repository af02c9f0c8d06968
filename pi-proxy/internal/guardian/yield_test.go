package guardian_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

func TestG2_ALaterEpochOfTheBrainIsYieldedTo(t *testing.T) {
	for name, tc := range map[string]struct {
		epoch shutdown.Epoch
		state shutdown.State
		yield bool
	}{
		"later and advancing":     {shutdown.Epoch{Counter: 2, Holder: "brain"}, shutdown.Advancing, true},
		"later and begun":         {shutdown.Epoch{Counter: 2, Holder: "brain"}, shutdown.Begun, false}, // it makes no headway
		"later without a run":     {shutdown.Epoch{Counter: 2, Holder: "brain"}, shutdown.None, false},
		"later with an ended one": {shutdown.Epoch{Counter: 2, Holder: "brain"}, shutdown.HasEnded, false},
		"earlier and advancing":   {shutdown.Epoch{Counter: 1, Holder: "brain"}, shutdown.Advancing, false},
		"the Pi's own, repeated":  {shutdown.Epoch{Counter: 1, Holder: "pi"}, shutdown.Advancing, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, orders())
			h.cut()
			h.pass(25)
			if h.g.Epoch != (shutdown.Epoch{Counter: 1, Holder: "pi"}) {
				t.Fatalf("epoch %v", h.g.Epoch)
			}
			h.note(h.g.Mandated(h.now, tc.epoch, tc.state))
			if got := h.g.Run.Stopped != ""; got != tc.yield {
				t.Errorf("yielded is %v (%q), want %v", got, h.g.Run.Stopped, tc.yield)
			}
			h.pass(5)
			if n := len(h.began()); n != 1 {
				t.Errorf("%d runs", n)
			}
			h.pass(60) // in which nothing more is heard of the brain
			began, want := h.began(), 1
			if tc.yield {
				want = 2
			}
			if len(began) != want {
				t.Fatalf("%d runs after the brain's fell silent, want %d", len(began), want)
			}
			if tc.yield && h.g.Epoch != (shutdown.Epoch{Counter: 3, Holder: "pi"}) {
				t.Errorf("taken over again under %v", h.g.Epoch)
			}
		})
	}
}

func TestG2_ABrainThatWasYieldedToHasItsTenSecondsAlsoWhenTimeIsShort(t *testing.T) {
	h := newHouse(t, orders())
	h.out = h.now
	soon := power.Seconds(100)
	poll := func(seconds int) {
		for range seconds {
			h.now = h.now.Add(time.Second)
			r := battery(h.now.Sub(h.out))
			r.Runtime = &soon
			h.report(r)
		}
	}
	poll(5)
	h.beganAt(3 * time.Second)
	h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 2, Holder: "brain"}, shutdown.Advancing))
	poll(9)
	h.beganAt(3 * time.Second)
	h.boot()
	poll(3)
	h.beganAt(3*time.Second, 17*time.Second) // yielded is on disk, and the outage is not done with
	if want := (shutdown.Epoch{Counter: 3, Holder: "pi"}); h.g.Epoch != want {
		t.Errorf("epoch %v, want %v", h.g.Epoch, want)
	}
}

// TestG5_ABrainThatForgotItsEpochDisarmsNothing: its journal is lost, and nobody has
// disarmed the plan.
func TestG5_ABrainThatForgotItsEpochDisarmsNothing(t *testing.T) {
	h := newHouse(t, orders())
	h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 3, Holder: "brain"}, shutdown.None))
	h.cut()
	h.pass(25)
	h.note(h.g.Mandated(h.now, shutdown.Epoch{Holder: "brain"}, shutdown.Disarmed))
	if h.g.Run == nil || h.g.Run.Stopped != "" {
		t.Fatalf("the run is %+v", h.g.Run)
	}
	h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 3, Holder: "brain"}, shutdown.Disarmed))
	if h.g.Run.Stopped == "" {
		t.Error("one that remembers is not heeded")
	}
}

// TestG2_ARunThatMissedTheMainsSaysNothingOfTheNextOutage: the brain did not hear that they
// were back, and its run goes on; what came up meanwhile is told again.
func TestG2_ARunThatMissedTheMainsSaysNothingOfTheNextOutage(t *testing.T) {
	for _, state := range []shutdown.State{shutdown.HasEnded, shutdown.Stopped} {
		h := newHouse(t, orders())
		h.cut()
		h.pass(15, shutdown.Advancing)
		h.now = h.now.Add(time.Second)
		h.report(mains())
		h.cut()
		h.pass(25, state)
		h.beganAt(20 * time.Second)
	}
}

// TestG2_EndedAfterAPause: a Pi that stood still while the brain's run came to its end, and hears
// of that before it hears its UPS, begins no second run.
func TestG2_EndedAfterAPause(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(40, shutdown.Advancing)
	h.now = h.now.Add(8 * time.Second)
	h.note(h.g.Resumed(h.now))
	h.note(h.g.Tick(h.now))
	h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.HasEnded))
	h.pass(60)
	h.beganAt()
}

// TestG1_TheBrainsWordIsGoodBeforeTheUPSIsHeardAgain: after a pause in an outage a word that the brain's run
// advances counts for its 10 s as ever, though time is short once the UPS is heard.
func TestG1_TheBrainsWordIsGoodBeforeTheUPSIsHeardAgain(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(12, shutdown.Advancing)
	h.note(h.g.Resumed(h.now))
	h.now = h.now.Add(time.Second)
	word := h.now.Sub(h.out)
	h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.Advancing))
	for range 12 {
		h.now = h.now.Add(time.Second)
		r := battery(h.now.Sub(h.out))
		r.LowFor = &r.For
		h.report(r)
		h.note(h.g.Tick(h.now))
	}
	h.beganAt(word + 10*time.Second)
}
