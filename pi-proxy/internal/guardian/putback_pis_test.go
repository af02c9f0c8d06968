package guardian_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// other is the word of a Pi that reads the UPS b, and runs nothing.
func other(b power.Reading) guardian.PeerWord {
	return guardian.PeerWord{State: shutdown.None, UPSes: map[string]power.Reading{"b": b}}
}

// andB lets seconds pass in which this Pi hears how its own UPS stands, and how b does.
func (h *house) andB(seconds int, own func() power.Reading, b guardian.PeerWord) {
	for range seconds {
		h.now = h.now.Add(time.Second)
		h.said("pi2", b)
		h.report(own())
	}
}

func (h *house) onBattery() power.Reading { return battery(h.now.Sub(h.out)) }

// ofTwoPis is a house with a Pi for each of two UPSes, both of which are on battery. The first Pi has told
// a guest on each of two nodes to shut down, and they have.
func ofTwoPis(t *testing.T, wiring *power.Wiring) *house {
	o := among("pi", "pi2")
	o.Plan.Wiring = wiring
	o.Plan.Stages = []shutdown.Stage{{AllGuests: true, Deadline: time.Minute}, {Nodes: []string{"pve2"}, Deadline: time.Minute}}
	h := newHouse(t, o)
	h.andB(15, mains, other(mains()))
	h.out = h.now
	h.andB(25, h.onBattery, other(battery(20*time.Second)))
	for i, node := range []string{"pve1", "pve2"} {
		guest := shutdown.Target{Kind: shutdown.Guest, Node: node, VMID: 100 + i}
		h.note(h.g.Answered(h.now, "listing/"+node, []shutdown.Target{guest}, nil))
		h.note(h.g.Answered(h.now, guest.ID(), nil, nil))
	}
	h.note(h.g.Seen(h.now, "guest/100", shutdown.Sight{}))
	if h.g.Run == nil || len(h.g.Run.Looks()) != 1 {
		t.Fatalf("the run is %+v", h.g.Run)
	}
	return h
}

// TestS5_NothingIsStartedWhileAnotherPisUPSIsOut: it may feed the guest's node, and who reads it runs the plan.
// Once all have mains what the first Pi's run stopped is started, also over a restart.
func TestS5_NothingIsStartedWhileAnotherPisUPSIsOut(t *testing.T) {
	for name, wiring := range map[string]*power.Wiring{
		"any may feed all": nil,
		"each feeds one":   power.Wire(map[string][]string{"ups": {"pve1"}, "b": {"pve2"}}, nil),
	} {
		t.Run(name, func(t *testing.T) {
			h := ofTwoPis(t, wiring)
			h.andB(30, mains, other(battery(time.Minute)))
			h.boot()
			for range 5 { // and the other Pi's word takes a while
				h.now = h.now.Add(time.Second)
				h.report(mains())
			}
			h.andB(60, mains, other(battery(2*time.Minute)))
			h.note(h.g.Seen(h.now, "guest/101", shutdown.Sight{}))
			if started := h.all(shutdown.StartSent); len(started) > 0 {
				t.Fatalf("started with b on battery: %v", started)
			}
			n := len(h.disk)
			h.andB(120, mains, guardian.PeerWord{State: shutdown.None}) // and then that Pi is silent
			if got := h.returns(n); got != "" {
				t.Errorf("though nobody has heard that b has mains: %s", got)
			}
			h.andB(1, mains, other(mains()))
			h.note(h.g.Seen(h.now, "guest/101", shutdown.Sight{}))
			h.andB(1, mains, other(mains()))
			h.wantReturns(n, "put_back_began, start_sent guest/100, stop_seen guest/101, start_sent guest/101")
			n = len(h.disk)
			h.andB(1, mains, other(battery(0))) // out again there
			h.wantReturns(n, "put_back_ended")
		})
	}
}

// TestS5_ARestartedPiHearsTheOthersBeforeItStartsAnything: their UPSes may be on battery by then.
func TestS5_ARestartedPiHearsTheOthersBeforeItStartsAnything(t *testing.T) {
	h := ofTwoPis(t, nil)
	h.andB(1, mains, other(mains()))
	if n := len(h.all(shutdown.StartSent)); n != 1 {
		t.Fatalf("%d are started", n)
	}
	n := len(h.disk)
	h.boot()
	h.note(h.g.Seen(h.now, "guest/101", shutdown.Sight{}))
	for range 9 {
		h.now = h.now.Add(time.Second)
		h.report(mains())
	}
	h.wantReturns(n, "start_refused guest/100, stop_seen guest/101")
	h.now = h.now.Add(time.Second)
	h.report(mains())
	h.wantReturns(n, "start_refused guest/100, stop_seen guest/101, start_sent guest/100, start_sent guest/101")
}
