package guardian_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/shutdown"
)

// TestS10_APersonStopsThePisOwnRun: only if it is the one that is named; nothing is sent any
// more, and none is begun until the power is back. What was written down is the Pi's word.
func TestS10_APersonStopsThePisOwnRun(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(21)
	h.beganAt(20 * time.Second)
	brain := shutdown.Epoch{Counter: h.g.Epoch.Counter + 1, Holder: "brain"}
	stop := func(state shutdown.State, run string) {
		h.note(h.g.Stopped(h.now, state, run))
		h.note(h.g.Mandated(h.now, brain, state))
	}
	stop(shutdown.Stopped, "another")
	stop(shutdown.None, h.g.Run.ID)
	if h.g.Run.Over() || h.g.Heeds() != (shutdown.Epoch{}) {
		t.Fatalf("it ended (%q) without a word about it, and heeds %v", h.g.Run.Stopped, h.g.Heeds())
	}
	sent := len(h.all(shutdown.Sent))
	stop(shutdown.Stopped, h.g.Run.ID)
	if h.g.Run.Stopped != "a person stopped it" || h.g.Heeds() != brain {
		t.Errorf("it is %q, and heeds %v", h.g.Run.Stopped, h.g.Heeds())
	}
	h.pass(300)
	if n := len(h.all(shutdown.Sent)); n != sent || len(h.began()) != 1 {
		t.Errorf("%d sent after it was stopped, runs began at %v", n-sent, h.began())
	}
	again := guardian.New("pi")
	for _, e := range h.disk {
		again.Restore(e)
	}
	if again.Heeds() != brain {
		t.Errorf("after a restart it heeds %v", again.Heeds())
	}
	h.report(mains())
	if h.g.Heeds() != (shutdown.Epoch{}) {
		t.Errorf("with the power back it heeds %v", h.g.Heeds())
	}
	h.cut()
	stop(shutdown.Stopped, h.g.Run.ID) // of the outage before
	h.pass(21)
	if len(h.began()) != 2 {
		t.Errorf("in the next outage runs began at %v", h.began())
	}
}

// TestS10_ALaterRunOfThePiConfirmsAStop that was made before the brain knew of it, once that run is over;
// it confirms none of the next outage.
func TestS10_ALaterRunOfThePiConfirmsAStop(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(21)
	own := h.g.Epoch
	stop := func() {
		h.note(h.g.Stopped(h.now, shutdown.Stopped, h.g.Run.ID))
		h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: own.Counter, Holder: "brain"}, shutdown.Stopped))
	}
	if own.Counter != 1 || h.g.Heeds() != (shutdown.Epoch{}) {
		t.Fatalf("under %v it heeds %v while it runs", own, h.g.Heeds())
	}
	if stop(); h.g.Heeds() != own {
		t.Errorf("it heeds %v", h.g.Heeds())
	}
	if h.boot(); h.g.Heeds() != own {
		t.Errorf("after a restart it heeds %v", h.g.Heeds())
	}
	h.report(mains())
	h.cut()
	h.pass(12)
	if stop(); h.g.Heeds() != (shutdown.Epoch{}) {
		t.Errorf("in the next outage it heeds %v", h.g.Heeds())
	}
	h.pass(10)
	if len(h.began()) != 2 {
		t.Errorf("in the next outage runs began at %v", h.began())
	}
}

// TestS10_AStopBeforeTheRun: a person stopped what had not begun, which holds until the power
// is back.
func TestS10_AStopBeforeTheRun(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(11, shutdown.Stopped) // under an epoch that is above all before
	if h.g.Heeds().Counter != 4 {
		t.Errorf("it heeds %v", h.g.Heeds())
	}
	h.pass(300)
	h.beganAt()
}

// TestS5_AStopStartsNothingAgain: neither what a run that is through has stopped, nor what waits for
// the power to be back. Without a stop it is started.
func TestS5_AStopStartsNothingAgain(t *testing.T) {
	for _, name := range []string{"not stopped", "through", "waits", "starts"} {
		t.Run(name, func(t *testing.T) {
			o := orders()
			o.Plan.Stages = []shutdown.Stage{{AllGuests: true, Deadline: time.Minute}}
			h := newHouse(t, o)
			h.report(mains())
			h.cut()
			h.pass(25)
			h.note(h.g.Answered(h.now, "listing/pve1", []shutdown.Target{{Kind: shutdown.Guest, Node: "pve1", VMID: 100}}, nil))
			h.note(h.g.Answered(h.now, "listing/pve2", nil, nil))
			h.note(h.g.Seen(h.now, "guest/100", shutdown.Sight{}))
			stop := func() { h.note(h.g.Stopped(h.now, shutdown.Stopped, h.g.Run.ID)) }
			switch name {
			case "through":
				stop()
				stop() // said again
			case "waits":
				h.report(mains())
				h.cut()
				h.pass(2)
				stop()
			case "starts":
				h.report(mains())
				stop()
			}
			n := len(h.disk)
			h.report(mains())
			h.pass(1)
			h.report(mains())
			if started := h.returns(n); (started != "") != (name == "not stopped") {
				t.Errorf("with the power back: %q", started)
			}
			if h.g.Run.PutsBack() != (name == "not stopped") {
				t.Errorf("it puts back: %t", h.g.Run.PutsBack())
			}
		})
	}
}

// TestS10_AStopHoldsUnderAnotherName: a Pi that has booted, with apcupsd, hears the outage under another
// name, and takes it for the next if its run was through; but not if a person has stopped the plan since
// and the Pi has confirmed it, also under a lower epoch than that run's.
func TestS10_AStopHoldsUnderAnotherName(t *testing.T) {
	for name, counter := range map[string]uint64{"not stopped": 0, "stopped before the brain knew of the run": 1, "at once with it": 2, "stopped": 3} {
		h := newHouse(t, orders())
		named := func(transfer string) {
			r := battery(h.now.Sub(h.out))
			r.OnBatteryAt = transfer
			h.report(r)
		}
		h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 1, Holder: "brain"}, shutdown.None))
		h.cut()
		named("first")
		h.pass(21)
		for _, node := range []string{"node/pve1", "node/pve2"} {
			h.note(h.g.Answered(h.now, node, nil, nil))
			h.note(h.g.Seen(h.now, node, shutdown.Sight{Closed: true, SilentFor: new(time.Minute)}))
		}
		if !h.g.Run.Finished || h.g.Epoch.Counter != 2 {
			t.Fatalf("%s: under %v the run is not through", name, h.g.Epoch)
		}
		if counter > 0 {
			h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: counter, Holder: "brain"}, shutdown.Stopped))
			if h.g.Heeds() == (shutdown.Epoch{}) {
				t.Fatalf("%s: that is not confirmed", name)
			}
		}
		h.reboot()
		named("second")
		h.out = h.now
		h.pass(30)
		if runs := len(h.began()); (runs == 1) != (counter > 0) {
			t.Errorf("%s: %d runs", name, runs)
		}
	}
}

// TestS10_APiWithMainsConfirmsAStop that a person made in the outage of another Pi's UPS, once it is on disk; it
// begins nothing in it, also where its own UPS is out later and no brain answers.
func TestS10_APiWithMainsConfirmsAStop(t *testing.T) {
	stop := shutdown.Epoch{Counter: 5, Holder: "brain"}
	calm := func(t *testing.T) *house {
		h := newHouse(t, among("pi2", "pi"))
		h.andB(15, mains, other(mains()))
		return h
	}
	// told lets seconds pass in which b is on battery and the brain says that the plan is stopped.
	told := func(h *house, seconds int) {
		for range seconds {
			h.andB(1, mains, other(battery(time.Minute)))
			h.note(h.g.Mandated(h.now, stop, shutdown.Stopped))
		}
	}
	began := func(h *house, other guardian.PeerWord) int {
		h.out = h.now
		h.andB(40, h.onBattery, other)
		return len(h.all(shutdown.Began))
	}
	stopped := func(t *testing.T) *house {
		h := calm(t)
		if told(h, 5); h.g.Heeds() != stop {
			t.Fatalf("it heeds %v", h.g.Heeds())
		}
		return h
	}
	t.Run("confirmed and written once", func(t *testing.T) {
		h := stopped(t)
		n := len(h.disk)
		if told(h, 60); len(h.disk) != n {
			t.Errorf("it writes on: %v", h.disk[n:])
		}
		if h.boot(); h.g.Heeds() != stop {
			t.Errorf("after a restart it heeds %v", h.g.Heeds())
		}
		if told(h, 20); h.g.Heeds() != stop {
			t.Errorf("and later %v", h.g.Heeds())
		}
	})
	t.Run("its own UPS is out later", func(t *testing.T) {
		for name, boots := range map[string]bool{"": false, "after a restart": true} {
			h := stopped(t)
			if boots {
				h.boot()
			}
			if n := began(h, other(battery(2*time.Minute))); n != 0 || h.g.Heeds() != stop {
				t.Errorf("%s %d runs, and it heeds %v", name, n, h.g.Heeds())
			}
			h.andB(40, h.onBattery, other(mains())) // it is one outage as long as one of them is on battery
			if n := len(h.all(shutdown.Began)); n != 0 {
				t.Errorf("%s %d runs once the other has mains", name, n)
			}
			h.andB(1, mains, other(mains()))
			if n := began(h, other(mains())); n != 1 {
				t.Errorf("%s %d runs in the next outage", name, n)
			}
		}
	})
	for name, over := range map[string]func(h *house){
		"the other has mains":              func(h *house) { h.andB(1, mains, other(mains())) },
		"the brain says so":                func(h *house) { h.note(h.g.Mandated(h.now, stop, shutdown.None)) },
		"a brain of a later epoch says so": func(h *house) { h.note(h.g.Mandated(h.now, brainsRun, shutdown.None)) },
		"nothing is heard of the other for as long as a battery lasts": func(h *house) {
			h.andB(2*3600, mains, guardian.PeerWord{State: shutdown.None})
		},
	} {
		t.Run("over once "+name, func(t *testing.T) {
			h := stopped(t)
			if over(h); h.g.Heeds() != (shutdown.Epoch{}) {
				t.Errorf("it heeds %v", h.g.Heeds())
			}
			if n := began(h, other(mains())); n != 1 {
				t.Errorf("%d runs in its own outage", n)
			}
		})
	}
	t.Run("not once an earlier epoch says so", func(t *testing.T) {
		h := stopped(t)
		if h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.None)); h.g.Heeds() != stop {
			t.Errorf("it heeds %v", h.g.Heeds())
		}
	})
	t.Run("not while all have mains", func(t *testing.T) {
		h := calm(t)
		for range 20 {
			h.andB(1, mains, other(mains()))
			h.note(h.g.Mandated(h.now, stop, shutdown.Stopped))
		}
		told(h, 5) // and then it is a stop of the outage before, of which the brain missed the end
		if h.g.Heeds() != (shutdown.Epoch{}) {
			t.Errorf("it heeds %v", h.g.Heeds())
		}
		if n := began(h, other(battery(time.Minute))); n != 1 {
			t.Errorf("%d runs in its own outage", n)
		}
	})
}

// TestS10_AStopThatTheBrainTookBack: it was of the outage before, as the brain has learned since, and has begun the plan.
// If that does not advance, the Pi begins.
func TestS10_AStopThatTheBrainTookBack(t *testing.T) {
	for name, c := range map[string]struct {
		then   shutdown.State
		epoch  uint64
		begins bool
	}{
		"it begins, and does not advance":      {shutdown.Begun, 3, true},
		"it advances":                          {shutdown.Advancing, 3, false},
		"it says so still":                     {shutdown.Stopped, 2, false},
		"somebody sends an older word again":   {shutdown.Begun, 1, false},
		"its run of the same epoch, as it was": {shutdown.Begun, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, orders())
			h.cut()
			h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 1, Holder: "brain"}, shutdown.None))
			h.pass(12)
			h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 2, Holder: "brain"}, shutdown.Stopped))
			if len(h.all(guardian.BrainDone)) != 1 {
				t.Fatal("the stop is not heard")
			}
			for range 30 {
				h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: c.epoch, Holder: "brain"}, c.then))
				h.pass(1)
			}
			if began := len(h.all(shutdown.Began)) > 0; began != c.begins {
				t.Errorf("it began: %v", began)
			}
		})
	}
}
