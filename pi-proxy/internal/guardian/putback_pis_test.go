package guardian_test

import (
	"slices"
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

// TestS5_WhatAPiHasHandedOverItPutsBack: another Pi took the run up, and knows of no guest that was told
// before. Which nodes it told it says; a person's stop it passes on.
func TestS5_WhatAPiHasHandedOverItPutsBack(t *testing.T) {
	took, rest := advancing(7, "pi2"), advancing(7, "pi2")
	took.Took, rest.Took = []string{"node/pve1"}, []string{"node/pve2"}
	for name, c := range map[string]struct {
		say            func(h *house)
		began, started int
	}{
		"it goes on":       {func(*house) {}, 1, 1},
		"after a restart":  {(*house).boot, 1, 1},
		"it told the node": {func(h *house) { h.said("pi2", took) }, 1, 0}, // another is put back, which has not stopped
		"it told both":     {func(h *house) { h.said("pi2", took); h.said("pi2", rest) }, 0, 0},
		"it told both, as is heard after a restart": {func(h *house) {
			h.boot()
			h.report(mains())
			h.said("pi2", took)
			h.said("pi2", rest)
		}, 0, 0},
		"it was stopped": {func(h *house) { h.said("pi2", wordOf(shutdown.Stopped, 8, "brain")) }, 0, 0},
		"the brain took over": {func(h *house) {
			h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 9, Holder: "brain"}, shutdown.Advancing))
		}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := ofTwoPis(t, nil)
			h.said("pi2", advancing(7, "pi2"))
			if !h.g.Run.Over() {
				t.Fatal("its own run goes on")
			}
			c.say(h)
			h.said("pi2", other(mains()))
			for range 2 { // after a restart the others are heard first
				h.now = h.now.Add(10 * time.Second)
				h.report(mains())
			}
			if began, started := len(h.all(shutdown.PutBackBegan)), len(h.all(shutdown.StartSent)); began < c.began || c.began == 0 && began > 0 || started != c.started {
				t.Errorf("the putting back began %d times and started %d, want %d and %d", began, started, c.began, c.started)
			}
		})
	}
}

// TestS5_WhatAPiHasHandedOverItsNextRunOwes, once the other's made no headway; but for what that one told.
func TestS5_WhatAPiHasHandedOverItsNextRunOwes(t *testing.T) {
	h := ofTwoPis(t, nil)
	w := advancing(7, "pi2")
	w.Took = []string{"node/pve2"}
	h.said("pi2", w)
	h.andB(60, h.onBattery, other(battery(time.Minute)))
	if owed := h.g.Run.Owed; h.g.Epoch.Counter != 8 || len(owed) != 1 || owed[0].VMID != 100 {
		t.Errorf("the run under %v owes %v", h.g.Epoch, owed)
	}
	found := []shutdown.Target{{Kind: shutdown.Guest, Node: "pve2", VMID: 105}} // it is up again
	h.note(h.g.Answered(h.now, "listing/pve2", found, nil))
	h.note(h.g.Answered(h.now, "guest/105", nil, nil))
	h.note(h.g.Seen(h.now, "guest/105", shutdown.Sight{}))
	h.andB(2, mains, other(mains()))
	if started := h.all(shutdown.StartSent); len(started) != 1 || started[0].Event.Target != "guest/105" {
		t.Errorf("started: %v", started)
	}
}

// TestS5_AFurtherRunOfOneOutageOwesWhatTheFirstStopped: that was through, and for some of the machines.
func TestS5_AFurtherRunOfOneOutageOwesWhatTheFirstStopped(t *testing.T) {
	o := wired()
	o.Pis = []string{"pi", "pi2"}
	o.Plan.Stages = []shutdown.Stage{{AllGuests: true, Deadline: time.Minute}}
	h := newHouse(t, o)
	own := func(r power.Reading) {
		h.now = h.now.Add(time.Second)
		h.note(h.g.Reported(h.now, "a", r))
	}
	hear := func(seconds int, b power.Reading) {
		for range seconds {
			h.said("pi2", other(b))
			own(battery(h.now.Sub(h.out)))
		}
	}
	for range 15 {
		h.said("pi2", other(mains()))
		own(mains())
	}
	h.out = h.now
	hear(22, mains())
	h.note(h.g.Answered(h.now, "listing/pve1", []shutdown.Target{{Kind: shutdown.Guest, Node: "pve1", VMID: 100}}, nil))
	h.note(h.g.Seen(h.now, "guest/100", shutdown.Sight{}))
	if !h.g.Run.Finished {
		t.Fatalf("the run is %+v", h.g.Run)
	}
	w := advancing(7, "pi2") // for b's
	w.Scope = []string{"pve2"}
	h.said("pi2", w)
	hear(60, battery(time.Minute))
	if owed := h.g.Run.Owed; h.g.Epoch.Counter != 8 || len(owed) != 1 {
		t.Errorf("the run under %v owes %v", h.g.Epoch, owed)
	}
}

// TestS5_WhatWasHandedOverOfflineIsPutBackToo: once the internet is back, but for what the other Pi told.
func TestS5_WhatWasHandedOverOfflineIsPutBackToo(t *testing.T) {
	for want, took := range map[int][]string{1: nil, 0: {"node/pve1"}} {
		o := offlinePlan()
		o.Pis = []string{"pi", "pi2"}
		h := newHouse(t, o)
		h.unplug()
		h.offline(122)
		h.guestDown()
		w := advancing(7, "pi2")
		w.Took = took
		h.said("pi2", w)
		h.online(2)
		if started := h.all(shutdown.StartSent); len(started) != want {
			t.Errorf("with %v told it started %v", took, started)
		}
	}
}

// TestS5_WhoTakesARunUpOwesWhatThatStopped: the Pi that began it is dead, and may stay so.
func TestS5_WhoTakesARunUpOwesWhatThatStopped(t *testing.T) {
	guest := func(id int, node string) shutdown.Target {
		return shutdown.Target{Kind: shutdown.Guest, Node: node, VMID: id, Type: "qemu"}
	}
	w := ofTwoPis(t, nil).g.Says(start)
	if len(w.Stopped) != 2 || w.Stopped[0].Node != "pve1" || w.Stopped[1].VMID != 101 {
		t.Errorf("a run tells of %v", w.Stopped)
	}
	theirs := advancing(7, "pi1")
	theirs.Took, theirs.Stopped = []string{"node/pve2"}, []shutdown.Target{guest(100, "pve1"), guest(101, "pve2"), guest(102, "elsewhere")}
	for name, c := range map[string]struct {
		last guardian.PeerWord
		owed int
	}{
		"it dies":                {theirs, 1},
		"it lives, on mains":     {guardian.PeerWord{State: shutdown.None}, 0},
		"a person stopped it":    {wordOf(shutdown.Stopped, 8, "brain"), 0},
		"it lives and is behind": {wordOf(shutdown.Begun, 7, "pi1"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, among("pi1", "pi"))
			h.report(mains())
			h.cut()
			h.pass(11)
			h.said("pi1", theirs)
			h.said("pi1", c.last)
			h.pass(60)
			if c.last.State == shutdown.Stopped {
				h.beganAt()
				return
			}
			if owed := h.g.Run.Owed; len(owed) != c.owed {
				t.Fatalf("it owes %v", owed)
			}
			h.report(mains())
			if n := len(h.all(shutdown.PutBackBegan)); n != c.owed {
				t.Errorf("the putting back began %d times", n)
			}
		})
	}
	h := newHouse(t, among("pi1", "pi"))
	h.report(mains())
	h.said("pi1", theirs)
	h.cut() // in another outage
	h.pass(60)
	if owed := h.g.Run.Owed; len(owed) > 0 {
		t.Errorf("of an outage before it owes %v", owed)
	}
}

// TestS5_WhatAnotherPisRunStoppedIsKnownOverARestart of the Pi that takes it up: else its guests stay off, if
// the other is dead.
func TestS5_WhatAnotherPisRunStoppedIsKnownOverARestart(t *testing.T) {
	theirs := advancing(7, "pi1")
	theirs.Took = []string{"node/pve2"}
	for i, node := range []string{"pve1", "pve2"} {
		theirs.Stopped = append(theirs.Stopped, shutdown.Target{Kind: shutdown.Guest, Node: node, VMID: 100 + i, Type: "qemu"})
	}
	restart := func(h *house) {
		var kept []guardian.Event
		for _, i := range guardian.Needed(h.disk) {
			kept = append(kept, h.disk[i])
		}
		h.disk = kept
		h.restart(h.now)
	}
	for name, c := range map[string]struct {
		happens func(h *house)
		owed    []string
	}{
		"it dies":                  {func(*house) {}, []string{"guest/100"}},
		"it lives, and is through": {func(h *house) { h.said("pi1", guardian.PeerWord{State: shutdown.None}) }, nil},
		"the mains were back":      {func(h *house) { h.report(mains()); h.cut(); h.pass(11) }, nil},
		"it is restarted twice":    {func(h *house) { restart(h); h.pass(2) }, []string{"guest/100"}},
		"it told another guest": {func(h *house) {
			again := theirs
			again.Stopped = append(slices.Clone(theirs.Stopped), shutdown.Target{Kind: shutdown.Guest, Node: "pve1", VMID: 102, Type: "lxc"})
			h.said("pi1", again)
		}, []string{"guest/100", "guest/102"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, among("pi1", "pi"))
			h.report(mains())
			h.cut()
			h.pass(11)
			for range 3 {
				h.said("pi1", theirs)
			}
			if n := len(h.all(guardian.PeerStopped)); n != 1 {
				t.Errorf("what it stopped was written down %d times", n)
			}
			c.happens(h)
			restart(h)
			h.pass(60)
			var owed []string
			for _, g := range h.g.Run.Owed {
				owed = append(owed, g.ID())
			}
			if !slices.Equal(owed, c.owed) {
				t.Fatalf("it owes %v, want %v", owed, c.owed)
			}
			restart(h)
			h.report(mains())
			for range 60 {
				h.now = h.now.Add(time.Second)
				h.report(mains())
			}
			if n := len(h.all(shutdown.PutBackBegan)); n != min(len(c.owed), 1) {
				t.Errorf("the putting back began %d times", n)
			}
		})
	}
}

// TestS5_WhatAPiStartsAgainItSays: the guests that its run stopped, until they run again, or somebody else
// sees to them.
func TestS5_WhatAPiStartsAgainItSays(t *testing.T) {
	says := func(h *house) (ids []string) {
		for _, g := range h.g.Returns() {
			ids = append(ids, g.ID())
		}
		return ids
	}
	both := []string{"guest/100", "guest/101"}
	for name, c := range map[string]struct {
		happens func(h *house)
		want    []string
	}{
		"under way":         {func(*house) {}, both},
		"under way, booted": {(*house).boot, both},
		"power back":        {func(h *house) { h.andB(1, mains, other(mains())) }, both},
		"one runs": {func(h *house) {
			h.andB(1, mains, other(mains()))
			h.note(h.g.Seen(h.now, "guest/100", shutdown.Sight{Running: true}))
		}, []string{"guest/101"}},
		"out again meanwhile": {func(h *house) {
			h.andB(1, mains, other(mains()))
			h.andB(1, mains, other(battery(0)))
		}, both},
		"the brain took it up": {func(h *house) {
			h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 9, Holder: "brain"}, shutdown.Advancing))
		}, nil},
		"another Pi took it up": {func(h *house) { h.said("pi2", advancing(7, "pi2")) }, both},
		"and told one's node": {func(h *house) {
			w := advancing(7, "pi2")
			w.Took = []string{"node/pve1"}
			h.said("pi2", w)
		}, []string{"guest/101"}},
		"a person stopped it": {func(h *house) { h.note(h.g.Stopped(h.now, shutdown.Stopped, h.g.Run.ID)) }, nil},
		"disarmed":            {func(h *house) { h.note(h.g.Order(h.now, guardian.Orders{})) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := ofTwoPis(t, nil)
			c.happens(h)
			if got := says(h); !slices.Equal(got, c.want) {
				t.Errorf("it says %v", got)
			}
		})
	}
}

// TestS5_WhomALaterRunToldIsKnownOverARestart, though the Pi that told it is gone by then: nothing is started
// on a node that goes down.
func TestS5_WhomALaterRunToldIsKnownOverARestart(t *testing.T) {
	h := ofTwoPis(t, nil)
	w := advancing(7, "pi2")
	w.Took = []string{"node/pve1"}
	for range 3 {
		h.said("pi2", w)
	}
	if n := len(h.all(guardian.PeerTold)); n != 1 {
		t.Errorf("it is written %d times", n)
	}
	h.boot()
	for range 12 {
		h.now = h.now.Add(time.Second)
		h.report(mains())
	}
	for _, e := range h.all(shutdown.PutBackBegan) {
		for _, g := range e.Event.Targets {
			if g.Node == "pve1" {
				t.Errorf("%s is to be started on a node that was told", g.ID())
			}
		}
	}
	if n := len(h.all(shutdown.PutBackBegan)); n != 1 {
		t.Errorf("put back %d times", n)
	}
}
