package guardian_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// among is what a Pi was given that is one of several.
func among(pis ...string) guardian.Orders {
	o := orders()
	o.Pis = pis
	return o
}

// said hands the house another Pi's word.
func (h *house) said(pi string, w guardian.PeerWord) {
	h.note(h.g.PeerSaid(h.now, pi, w))
}

// advancing is the word of one that runs the plan under an epoch.
func advancing(counter uint64, holder string) guardian.PeerWord {
	e := shutdown.Epoch{Counter: counter, Holder: holder}
	return guardian.PeerWord{State: shutdown.Advancing, Epoch: e, Known: e, Run: "theirs"}
}

func wordOf(state shutdown.State, counter uint64, holder string) guardian.PeerWord {
	w := advancing(counter, holder)
	w.State = state
	return w
}

func TestG6_TheFirstListedBeginsAndTheNextFifteenSecondsLater(t *testing.T) {
	for name, tc := range map[string]struct {
		pis  []string
		want time.Duration
	}{
		"alone":      {[]string{"pi"}, 20 * time.Second},
		"the first":  {[]string{"pi", "pi2"}, 20 * time.Second},
		"the second": {[]string{"pi1", "pi"}, 35 * time.Second},
		"the third":  {[]string{"pi1", "pi2", "pi"}, 50 * time.Second},
		"not listed": {[]string{"pi1", "pi2"}, 50 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, among(tc.pis...))
			h.cut()
			h.pass(70)
			h.beganAt(tc.want)
		})
	}
	h := newHouse(t, among("pi1", "pi"))
	h.out = h.now
	for range 60 {
		r := battery(h.now.Sub(h.out))
		soon := power.Seconds(100)
		r.Runtime = &soon
		h.report(r)
		h.now = h.now.Add(500 * time.Millisecond)
	}
	h.beganAt(17 * time.Second) // 2 s, and its turn
	if why := h.g.Run.Reason; !strings.HasSuffix(why, "and neither the brain nor a Pi that is listed before this one has said that it acts") {
		t.Errorf("reason %q", why)
	}
}

func TestG6_TheTurnComesAfterTheBrainsLastGoodWordToo(t *testing.T) {
	h := newHouse(t, among("pi1", "pi"))
	h.cut()
	h.pass(15)
	h.pass(5, shutdown.Advancing)
	h.pass(60)
	h.beganAt(45 * time.Second) // 20 s is the last word
}

// TestG2_ARunOfAnotherPiThatAdvancesIsNotBegunAgain: once it advances no more, the one that is
// listed next takes it up under a later epoch.
func TestG2_ARunOfAnotherPiThatAdvancesIsNotBegunAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		pis   []string
		after time.Duration // the last word
	}{
		"listed after it":           {[]string{"pi1", "pi"}, 25 * time.Second},
		"listed before it":          {[]string{"pi", "pi1"}, 25 * time.Second},
		"another is listed between": {[]string{"pi1", "pi2", "pi"}, 40 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, among(tc.pis...))
			h.cut()
			h.pass(11)
			for range 100 {
				h.said("pi1", advancing(7, "pi1"))
				h.pass(1)
			}
			h.beganAt()
			h.pass(60)
			h.beganAt(110*time.Second + tc.after)
			if want := (shutdown.Epoch{Counter: 8, Holder: "pi"}); h.g.Epoch != want {
				t.Errorf("epoch %v, want %v (G5)", h.g.Epoch, want)
			}
			if why := h.g.Run.Reason; !strings.HasSuffix(why, "and the run of pi1 has made no headway for "+power.Spell(tc.after)) {
				t.Errorf("reason %q", why)
			}
		})
	}
}

// TestG6_ARunThatOnlyBeganHoldsNobodyBack: it makes no headway.
func TestG6_ARunThatOnlyBeganHoldsNobodyBack(t *testing.T) {
	for _, state := range []shutdown.State{shutdown.None, shutdown.Begun} {
		h := newHouse(t, among("pi1", "pi"))
		h.cut()
		for range 50 {
			h.said("pi1", wordOf(state, 7, "pi1"))
			h.pass(1)
		}
		h.beganAt(35 * time.Second)
		if h.g.Epoch.Counter != 8 {
			t.Errorf("epoch %v is not above that of pi1 (G5)", h.g.Epoch)
		}
	}
}

// TestG2_WhatAnotherPiHasEndedIsNotBegunAgain in this outage, also after a restart; of the next it
// says nothing.
func TestG2_WhatAnotherPiHasEndedIsNotBegunAgain(t *testing.T) {
	for _, state := range []shutdown.State{shutdown.HasEnded, shutdown.Stopped} {
		t.Run(string(state), func(t *testing.T) {
			h := newHouse(t, among("pi1", "pi"))
			h.cut()
			h.pass(15)
			for range 3 {
				h.said("pi1", wordOf(state, 7, "pi1"))
			}
			if n := len(h.all(guardian.PeerDone)); n != 1 {
				t.Errorf("written down %d times", n)
			}
			if w := h.g.Says(h.now); w.State != state || w.Epoch.Counter != 7 {
				t.Errorf("it says %+v", w)
			}
			h.pass(60)
			h.boot()
			h.pass(60)
			h.beganAt()

			h.report(mains())
			h.boot()
			h.cut()
			for range 50 {
				h.said("pi1", wordOf(state, 7, "pi1")) // it did not see the mains
				h.pass(1)
			}
			h.beganAt(35 * time.Second)
		})
	}
}

func TestG2_AnothersWordFromBeforeTheReasonCountsForNothing(t *testing.T) {
	h := newHouse(t, among("pi1", "pi"))
	h.cut()
	h.pass(9)
	for _, s := range []shutdown.State{shutdown.Advancing, shutdown.HasEnded, shutdown.Stopped} {
		h.said("pi1", wordOf(s, 7, "pi1"))
	}
	h.pass(30)
	h.beganAt(35 * time.Second)
}

// TestG5_OfTwoRunsTheLaterEpochGoesOn: the Pis did not hear of each other when they began.
func TestG5_OfTwoRunsTheLaterEpochGoesOn(t *testing.T) {
	for name, tc := range map[string]struct {
		w      guardian.PeerWord
		yields bool
	}{
		"later":                          {advancing(2, "pi1"), true},
		"the same counter, a later name": {advancing(1, "pi1"), true},
		"earlier":                        {advancing(1, "a-pi"), false},
		"later, without headway":         {wordOf(shutdown.Begun, 2, "pi1"), false},
		"later, and through":             {wordOf(shutdown.HasEnded, 2, "pi1"), false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, among("pi", "pi1"))
			h.cut()
			h.pass(25)
			h.said("pi1", tc.w)
			if got := h.g.Run.Over(); got != tc.yields {
				t.Fatalf("given up: %t (%s)", got, h.g.Run.Stopped)
			}
			sent := len(h.all(shutdown.Sent))
			h.boot()
			h.pass(10)
			if !tc.yields {
				return
			}
			if len(h.all(shutdown.Sent)) != sent {
				t.Error("it goes on")
			}
			h.pass(60)
			if n := len(h.began()); n != 2 || h.g.Epoch.Counter <= tc.w.Epoch.Counter {
				t.Errorf("%d runs, the last under %v; the other has fallen silent", n, h.g.Epoch)
			}
		})
	}
}

// TestS10_AStopThatAnotherPiTellsOf ends the Pi's own run, and nothing is begun until the power is back.
func TestS10_AStopThatAnotherPiTellsOf(t *testing.T) {
	h := newHouse(t, among("pi", "pi1"))
	h.said("pi1", wordOf(shutdown.Stopped, 3, "brain")) // of an outage before
	h.cut()
	h.pass(25)
	if h.g.Epoch.Counter != 4 {
		t.Fatalf("it runs under %v", h.g.Epoch)
	}
	h.said("pi1", wordOf(shutdown.Stopped, 3, "brain"))
	if h.g.Run.Over() {
		t.Fatal("a stop from before the run has ended it")
	}
	h.said("pi1", wordOf(shutdown.Stopped, 5, "brain"))
	if h.g.Run.Stopped != "a person stopped it" {
		t.Fatalf("it goes on (%q)", h.g.Run.Stopped)
	}
	if w := h.g.Says(h.now); w.State != shutdown.Stopped || w.Known.Counter != 5 {
		t.Errorf("it says %+v", w)
	}
	h.pass(120)
	if n := len(h.began()); n != 1 {
		t.Errorf("%d runs", n)
	}
}

// TestG6_WhatAPiSays of its run, from nothing to the end of the outage.
func TestG6_WhatAPiSays(t *testing.T) {
	h := newHouse(t, among("pi", "pi1"))
	says := func(when string, want shutdown.State, counter uint64) {
		t.Helper()
		if w := h.g.Says(h.now); w.State != want || w.Epoch.Counter != counter {
			t.Errorf("%s it says %+v", when, w)
		}
	}
	h.said("pi1", wordOf(shutdown.None, 0, ""))
	says("before the outage", shutdown.None, 0)
	h.cut()
	h.pass(20)
	says("having begun", shutdown.Begun, 1)
	h.note(h.g.Answered(h.now, "node/pve1", nil, nil))
	says("with headway", shutdown.Advancing, 1)
	if w := h.g.Says(h.now); !slices.Equal(w.Took, []string{"node/pve1"}) || w.Run != h.g.Run.ID {
		t.Errorf("it says %+v", w)
	}
	h.end()
	says("at its end", shutdown.HasEnded, 1)
	h.boot()
	says("after a restart", shutdown.HasEnded, 1)
	h.report(mains())
	says("with the power back", shutdown.None, 0)
	if w := h.g.Says(h.now); w.Known.Counter != 1 || len(w.Took) > 0 {
		t.Errorf("with the power back it says %+v", w)
	}
}

// TestG6_TheReadingsOfOtherPis age, and are not known any more after 10 s.
func TestG6_TheReadingsOfOtherPis(t *testing.T) {
	h := newHouse(t, among("pi", "pi1"))
	h.report(mains())
	say := func(age time.Duration, rs map[string]power.Reading) {
		h.said("pi1", guardian.PeerWord{State: shutdown.None, Age: age, UPSes: rs})
	}
	say(time.Second, map[string]power.Reading{"desk": battery(5 * time.Second), "rack": mains(), "ups": battery(time.Minute)})
	say(2*time.Second, map[string]power.Reading{"desk": mains()}) // overtaken
	got := h.g.Elsewhere(h.now)
	if _, own := got["ups"]; own || len(got) != 2 || got["desk"].For != 6 || got["desk"].LostFor != nil {
		t.Fatalf("they are %+v", got)
	}
	h.now = h.now.Add(3 * time.Second)
	if got = h.g.Elsewhere(h.now); got["desk"].LostFor == nil || got["rack"].LostFor != nil {
		t.Errorf("after 4 s they are %+v", got) // what is not fresh begins nothing (rule S5)
	}
	h.now = h.now.Add(6 * time.Second)
	if got = h.g.Elsewhere(h.now); len(got) != 2 {
		t.Errorf("after 10 s they are %+v", got)
	}
	h.now = h.now.Add(time.Second)
	if got = h.g.Elsewhere(h.now); len(got) != 0 {
		t.Errorf("after 11 s they are %+v", got)
	}
}

// TestG6_WhatFellSilentBeforeTheOutageIsNoReasonInIt: another Pi was last heard as its UPS went on battery for
// a moment. When the power fails here, later, that UPS is one of which nothing is known.
func TestG6_WhatFellSilentBeforeTheOutageIsNoReasonInIt(t *testing.T) {
	o := wired()
	o.Pis = []string{"pi", "pi2"}
	h := &street{newHouse(t, o), nil}
	h.note(h.g.Reported(h.now, "a", mains()))
	h.said("pi2", guardian.PeerWord{State: shutdown.None, UPSes: map[string]power.Reading{"b": battery(time.Second)}})
	for i := range 150 {
		h.now = h.now.Add(time.Second)
		r := mains()
		if i > 60 {
			r = battery(time.Duration(i-60) * time.Second)
		}
		h.note(h.g.Reported(h.now, "a", r))
		h.takes("pve1")
	}
	h.wants("pve1")
}

// TestG6_MainsElsewhereEndNothing: whether the power is back here is what this Pi's UPSes say.
func TestG6_MainsElsewhereEndNothing(t *testing.T) {
	h := newHouse(t, among("pi", "pi1"))
	h.cut()
	h.pass(25)
	for range 20 {
		h.said("pi1", guardian.PeerWord{State: shutdown.None, UPSes: map[string]power.Reading{"desk": mains()}})
		h.pass(1)
	}
	if h.g.Run.Over() {
		t.Errorf("the run is over: %s", h.g.Run.Stopped)
	}
}

// TestG4_AfterTheRunOfAnotherPi the output is cut once every machine that took its command, or said
// that it powers off, has been seen down for long enough; without a command silence is no evidence.
func TestG4_AfterTheRunOfAnotherPi(t *testing.T) {
	both := []string{"node/pve1", "node/pve2"}
	for name, tc := range map[string]struct {
		state shutdown.State
		took  []string
		sees  shutdown.Sight
		want  []shutdown.EventType
	}{
		"all took it":           {shutdown.HasEnded, both, off(), []shutdown.EventType{guardian.Cutting}},
		"one took it":           {shutdown.HasEnded, both[:1], off(), nil},
		"all said that they go": {shutdown.HasEnded, nil, left(), []shutdown.EventType{guardian.Cutting}},
		"one is still up":       {shutdown.HasEnded, both, shutdown.Sight{}, nil},
		"a person stopped it":   {shutdown.Stopped, both, off(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLastHours(t, hangs, among("pi1", "pi"))
			l.supply(battery(0))
			for _, n := range both {
				l.sees[n] = tc.sees
			}
			l.pass(15)
			w := wordOf(tc.state, 4, "pi1")
			w.Took = tc.took
			for range 70 {
				l.said("pi1", w)
				l.pass(1)
			}
			l.wants(tc.want...)
		})
	}
}

// TestG4_WhatTookAnotherPisCommandIsKnownOnceThatIsThrough, also if the brain was the first to say that it is,
// and over a restart.
func TestG4_WhatTookAnotherPisCommandIsKnownOnceThatIsThrough(t *testing.T) {
	both := []string{"node/pve1", "node/pve2"}
	for _, restarts := range []bool{false, true} {
		l := newLastHours(t, hangs, among("pi1", "pi"))
		l.supply(battery(0))
		for _, n := range both {
			l.sees[n] = off()
		}
		l.pass(15)
		w := advancing(4, "pi1")
		w.Took = both
		l.said("pi1", w)
		l.note(l.g.Mandated(l.now, shutdown.Epoch{Counter: 5, Holder: "cloud"}, shutdown.HasEnded))
		w.State = shutdown.HasEnded
		for range 70 {
			l.said("pi1", w)
			if l.pass(1); restarts {
				l.boot(l.now)
				restarts = false
			}
		}
		l.wants(guardian.Cutting)
	}
}

// TestG7_ThePiGoesAfterTheRunOfAnotherPi, and not while that goes on.
func TestG7_ThePiGoesAfterTheRunOfAnotherPi(t *testing.T) {
	l := newLastHours(t, guardian.Own{UPS: "ups", Halt: true}, among("pi1", "pi"))
	l.supply(battery(0))
	if err := l.trip(); err != nil {
		t.Fatal(err)
	}
	for range 60 {
		l.said("pi1", advancing(4, "pi1"))
		l.pass(1)
	}
	l.wants()
	l.said("pi1", wordOf(shutdown.HasEnded, 4, "pi1"))
	l.pass(2)
	l.wants(guardian.Halting)
}

// TestG4_AFlatBatteryLeavesThePiItsTurn: one that is listed later still begins the plan first.
func TestG4_AFlatBatteryLeavesThePiItsTurn(t *testing.T) {
	l := newLastHours(t, guardian.Own{UPS: "ups", Halt: true}, among("pi1", "pi"))
	r, soon, low := battery(0), power.Seconds(50), power.Seconds(30)
	r.Runtime, r.LowFor = &soon, &low
	l.supply(r)
	l.pass(16)
	l.wants()
	l.pass(2)
	if len(l.began()) != 1 {
		t.Fatalf("runs began at %v", l.began())
	}
}

// TestG2_ARunFromBeforeThisOutageIsNoneOfIt: the other Pi was away when the mains were there, or reads a
// UPS that has been out for longer; and this one did not hear of its run at the time.
func TestG2_ARunFromBeforeThisOutageIsNoneOfIt(t *testing.T) {
	for since, want := range map[time.Duration][]time.Duration{10 * time.Second: nil, 5 * time.Minute: {35 * time.Second}} {
		h := newHouse(t, among("pi1", "pi"))
		h.cut()
		h.pass(15)
		for i := range 50 {
			w := wordOf(shutdown.HasEnded, 7, "pi1")
			w.Since = since + time.Duration(i)*time.Second
			h.said("pi1", w)
			h.pass(1)
		}
		h.beganAt(want...)
	}
}

// TestG2_ARunThatWasHeardOfBeforeTheMainsIsNoneOfTheNextOutage.
func TestG2_ARunThatWasHeardOfBeforeTheMainsIsNoneOfTheNextOutage(t *testing.T) {
	h := newHouse(t, among("pi1", "pi"))
	h.cut()
	h.pass(15)
	h.said("pi1", advancing(7, "pi1"))
	h.report(mains())
	h.boot()
	h.cut()
	for range 50 {
		h.said("pi1", wordOf(shutdown.HasEnded, 7, "pi1"))
		h.pass(1)
	}
	h.beganAt(35 * time.Second)
}

// TestS5_WhatIsOwedIsLeftToABrainThatBeganALaterRun: it knows which nodes it told. Another Pi says that.
func TestS5_WhatIsOwedIsLeftToABrainThatBeganALaterRun(t *testing.T) {
	took := advancing(7, "pi1")
	took.Took = []string{"node/pve1"}
	for name, c := range map[string]struct {
		later  func(h *house)
		starts bool
	}{
		"its own was the last":                        {func(*house) {}, true},
		"another Pi's was the last":                   {func(h *house) { h.said("pi1", advancing(7, "pi1")) }, true},
		"another Pi's was the last and told the node": {func(h *house) { h.said("pi1", took) }, false},
		"the brain's was the last": {func(h *house) {
			h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 7, Holder: "brain"}, shutdown.Advancing))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := among("pi", "pi1")
			o.Plan.Stages = []shutdown.Stage{{AllGuests: true, Deadline: time.Minute}}
			h := newHouse(t, o)
			h.report(mains())
			h.cut()
			h.pass(25)
			h.note(h.g.Answered(h.now, "listing/pve1", []shutdown.Target{{Kind: shutdown.Guest, Node: "pve1", VMID: 100}}, nil))
			h.note(h.g.Answered(h.now, "listing/pve2", nil, nil))
			h.note(h.g.Seen(h.now, "guest/100", shutdown.Sight{}))
			h.report(mains())
			h.cut() // before it is started
			h.pass(12)
			c.later(h)
			n := len(h.disk)
			h.report(mains())
			h.pass(1)
			h.report(mains())
			if started := h.returns(n); (started != "") != c.starts {
				t.Errorf("started %q", started)
			}
		})
	}
}

// TestR2_SoManyUPSesOfOtherPisAreKnown at once: whoever names ever others fills no memory, and those of which
// nothing is heard make room.
func TestR2_SoManyUPSesOfOtherPisAreKnown(t *testing.T) {
	h := newHouse(t, among("pi", "pi2"))
	say := func(from, to int) {
		for i := from; i < to; i++ {
			h.said("pi2", guardian.PeerWord{State: shutdown.None, UPSes: map[string]power.Reading{fmt.Sprintf("ups%d", i): mains()}})
		}
	}
	say(0, 100)
	if known := h.g.Elsewhere(h.now); len(known) != 64 {
		t.Errorf("%d are known", len(known))
	}
	h.now = h.now.Add(11 * time.Second)
	say(100, 101)
	if known := h.g.Elsewhere(h.now); len(known) != 1 {
		t.Errorf("%d are known later", len(known))
	}
}
