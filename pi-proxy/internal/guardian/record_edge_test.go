package guardian_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// TestG2_ANewRecordHoldsWhatOtherPisHaveNamed: a run's record takes the place of the one before, in
// which their epoch stands.
func TestG2_ANewRecordHoldsWhatOtherPisHaveNamed(t *testing.T) {
	theirs := shutdown.Epoch{Counter: 7, Holder: "pi0"}
	for name, known := range map[string]bool{"named": true, "none": false} {
		h := newHouse(t, among("pi0", "pi"))
		if known {
			h.said("pi0", guardian.PeerWord{State: shutdown.None, Known: theirs})
		}
		h.cut()
		h.pass(40)
		h.beganAt(35 * time.Second)
		var kept []shutdown.Epoch
		since := false
		for _, e := range h.disk {
			since = since || e.Event.Type == shutdown.Began
			if since && e.Event.Type == guardian.PeerEpoch {
				kept = append(kept, e.Epoch)
			}
		}
		if known != (len(kept) == 1 && kept[0] == theirs) || !known && len(kept) > 0 {
			t.Errorf("%s: the new record holds %v", name, kept)
		}
	}
}

// TestG2_AnEndIsOfNoOutageThatMayBeOver: after a boot in which another UPS is heard on mains, and the
// one that was on battery is not, the brain's word that its run has ended is of none that goes on.
func TestG2_AnEndIsOfNoOutageThatMayBeOver(t *testing.T) {
	ended := func(h *house) int {
		h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 9, Holder: "brain"}, shutdown.HasEnded))
		return len(h.all(guardian.BrainDone))
	}
	h := two(t)
	h.cut()
	h.pass(3)
	h.restart(time.Time{}, "other")
	h.note(h.g.Reported(h.now, "other", mains()))
	if ended(h) != 0 {
		t.Error("it is of the outage before the boot")
	}
	h = two(t)
	h.cut()
	h.pass(3)
	h.restart(time.Time{}, "other")
	if ended(h) != 1 {
		t.Error("nothing was heard since the boot, so that outage goes on for all that is known")
	}
}

// TestG4_TheUPSAtWhoseEndThePiWentOff is known as that until it is heard again: its next battery is
// another outage then, and what another UPS does says nothing of it.
func TestG4_TheUPSAtWhoseEndThePiWentOff(t *testing.T) {
	of := func(kind shutdown.EventType, ups string) guardian.Event {
		return guardian.Event{Event: shutdown.Event{Type: kind, Target: ups, At: start}}
	}
	for name, c := range map[string]struct {
		then []guardian.Event
		want int
	}{
		"nothing since":    {nil, 1},
		"back, and out":    {[]guardian.Event{of(guardian.OnMains, "ups"), of(guardian.OnBattery, "ups")}, 0},
		"another, and out": {[]guardian.Event{of(guardian.OnMains, "other"), of(guardian.OnBattery, "other")}, 1},
	} {
		g := guardian.New("pi")
		g.Hangs(hangs)
		g.Order(start, orders())
		for _, e := range append([]guardian.Event{of(guardian.OnBattery, "ups"), of(guardian.Halting, "ups")}, append(c.then, of(guardian.Rebooted, ""))...) {
			g.Restore(e)
		}
		g.Restarted(start, time.Time{}, []string{"ups", "other"})
		ended := 0
		for _, e := range g.Reported(start, "ups", battery(time.Second)) {
			if e.Event.Type == guardian.OnMains {
				ended++
			}
		}
		if ended != c.want {
			t.Errorf("%s: the outage before was ended %d times, want %d", name, ended, c.want)
		}
	}
}

// TestS10_AStopIsHeardBeforeTheUPS: the process began anew in an outage, and the brain speaks first.
func TestS10_AStopIsHeardBeforeTheUPS(t *testing.T) {
	for _, run := range []shutdown.State{shutdown.Stopped, shutdown.HasEnded} {
		h := newHouse(t, orders())
		h.cut()
		h.pass(3)
		h.boot()
		h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 9, Holder: "brain"}, run))
		if got := len(h.all(guardian.BrainDone)); got != 1 {
			t.Errorf("%s: noted %d times", run, got)
		}
		h.pass(60)
		h.beganAt()
	}
}

// TestG2_TheLowestEpochOfANewRun is the one after all that were known when the mains were back.
func TestG2_TheLowestEpochOfANewRun(t *testing.T) {
	for counter, want := range map[uint64]int{4: 0, 5: 1} {
		h := newHouse(t, orders())
		h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.None))
		h.cut()
		h.pass(3)
		h.report(mains())
		h.cut()
		h.pass(12)
		h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: counter, Holder: "brain"}, shutdown.HasEnded))
		if got := len(h.all(guardian.BrainDone)); got != want {
			t.Errorf("a run that ended under epoch %d: taken for this outage's %d times, want %d", counter, got, want)
		}
	}
}

// TestG1_TheBrainsWordOutlastsAMomentWithoutAReason: a UPS that is said to test itself between two
// polls is still in the outage of which the brain has said that it acts.
func TestG1_TheBrainsWordOutlastsAMomentWithoutAReason(t *testing.T) {
	h := newHouse(t, orders())
	low := battery(0)
	low.Runtime = new(power.Seconds)
	h.report(low)
	h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.Advancing))
	said := h.now
	h.report(power.Reading{Supply: power.SelfTest})
	for range 20 {
		h.now = h.now.Add(time.Second)
		h.report(low)
	}
	if began := h.all(shutdown.Began); len(began) != 1 || began[0].Event.At.Sub(said) != 10*time.Second {
		t.Errorf("it began %v after the brain's word", began)
	}
}
