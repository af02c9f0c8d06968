package guardian_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// TestS5_TheWordThatTheInternetIsOutIsGoodFor10s, to the moment.
func TestS5_TheWordThatTheInternetIsOutIsGoodFor10s(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.unplug()
	h.offline(122)
	for old, want := range map[time.Duration]bool{10 * time.Second: true, 10*time.Second + 1: false} {
		if got := h.g.ActsOffline(h.now.Add(old)); got != want {
			t.Errorf("%s after the last word a command may leave: %t", old, got)
		}
	}
}

// TestS0_ARunBeforeARestartIsNoneOfThePower: a run for the internet was through when the Pi's process began anew, and the
// power then goes out: it has its own run.
func TestS0_ARunBeforeARestartIsNoneOfThePower(t *testing.T) {
	o := offlinePlan()
	o.Plan.Stages = o.Plan.Stages[:1]
	h := newHouse(t, o)
	h.unplug()
	h.offline(122)
	h.guestDown()
	h.offline(70)
	h.boot()
	h.offlineOnBattery(h.now, 25, guardian.Outside{Out: true, Silent: time.Hour})
	if runs := h.all(shutdown.Began); len(runs) != 2 || runs[1].Event.Run.On != shutdown.ForPower {
		t.Errorf("%d runs", len(runs))
	}
}

// TestS0_WhatARunForTheInternetGoesOnFor: the internet's being out, or the power's once that is a reason; where
// the power is one for some machines alone it is none for this run.
func TestS0_WhatARunForTheInternetGoesOnFor(t *testing.T) {
	some := power.Wire(map[string][]string{"ups": {"pve1"}, "other": {"pve2"}}, nil)
	out, unknown := guardian.Outside{Out: true, Silent: time.Hour}, guardian.Outside{}
	for name, c := range map[string]struct {
		wiring *power.Wiring
		joined bool             // the power was out for long enough while the internet was known to be
		boot   bool             // the process began anew since, and has not heard the UPS
		then   guardian.Outside // what is known from then on
		want   bool
	}{
		"the internet":                         {nil, false, false, out, true},
		"the power, for too short":             {nil, false, false, unknown, false},
		"the power":                            {nil, true, false, unknown, true},
		"both":                                 {nil, true, false, out, true},
		"the power of some":                    {some, true, false, unknown, false},
		"the internet, and the power of some":  {some, true, false, out, true},
		"the internet, the UPS not heard yet":  {nil, true, true, out, true},
		"nothing is known, the UPS is silent":  {nil, true, true, unknown, false},
		"the UPS of some is not heard yet too": {some, true, true, unknown, false},
	} {
		o := offlinePlan()
		o.Plan.Wiring = c.wiring
		h := newHouse(t, o)
		h.unplug()
		h.offline(122)
		cut, seconds := h.now, 2
		if c.joined {
			seconds = 12
		}
		h.offlineOnBattery(cut, seconds, out)
		if joined := len(h.all(shutdown.PowerJoined)) > 0; joined != c.joined {
			t.Fatalf("%s: joined %t", name, joined)
		}
		if c.boot {
			h.boot()
		}
		h.note(h.g.Outside(h.now, c.then))
		told := len(h.sent())
		h.note(h.g.Answered(h.now, "listing/pve1", []shutdown.Target{{Kind: shutdown.Guest, Node: "pve1", VMID: 100, Type: "qemu"}}, nil))
		for range 5 {
			h.now = h.now.Add(time.Second)
			h.note(h.g.Outside(h.now, c.then))
		}
		if got := len(h.sent()) > told; got != c.want {
			t.Errorf("%s: it goes on: %t, want %t", name, got, c.want)
		}
	}
}

// TestS5_TheInternetIsBackInAnOutageOfThePower: what the run for the internet stopped waits for the power, however
// often the internet is heard to be back.
func TestS5_TheInternetIsBackInAnOutageOfThePower(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.unplug()
	h.offline(122)
	h.guestDown()
	h.online(1)
	h.offlineOnBattery(h.now, 5, guardian.Outside{Up: true})
	if began, ended := len(h.all(shutdown.PutBackBegan)), len(h.all(shutdown.PutBackEnded)); began != 1 || ended != 1 {
		t.Errorf("putting back began %d times and ended %d times", began, ended)
	}
}

// TestS5_ThePisOwnEpochIsNoLaterRun: of the brain's word that the Pi's own run is over, it still owes what that
// stopped.
func TestS5_ThePisOwnEpochIsNoLaterRun(t *testing.T) {
	for by, want := range map[uint64]int{0: 1, 1: 0} {
		o := offlinePlan()
		o.Plan.Stages = o.Plan.Stages[:1]
		h := newHouse(t, o)
		h.unplug()
		h.offline(122)
		h.guestDown()
		h.offline(70)
		h.offlineOnBattery(h.now, 12, guardian.Outside{Out: true, Silent: time.Hour})
		epoch := h.g.Epoch
		epoch.Counter += by
		h.note(h.g.Mandated(h.now, epoch, shutdown.HasEnded))
		if len(h.all(guardian.BrainDone)) != 1 {
			t.Fatal("the brain's word is not noted")
		}
		if got := h.g.Returns(); len(got) != want {
			t.Errorf("under an epoch that is later by %d it owes %v", by, got)
		}
	}
}
