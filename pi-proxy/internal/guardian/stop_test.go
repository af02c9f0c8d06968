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
