package guardian_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// start is any time at all: the guardian has no clock of its own.
var start = time.Date(1971, 3, 4, 5, 6, 7, 0, time.UTC)

func orders() guardian.Orders {
	return guardian.Orders{Armed: true, Policy: power.DefaultPolicy(), Plan: shutdown.Plan{
		Site:  "home",
		Nodes: []shutdown.Node{{Name: "pve1"}, {Name: "pve2"}},
		Stages: []shutdown.Stage{
			{Nodes: []string{"pve1"}, Deadline: time.Minute},
			{Nodes: []string{"pve2"}, Deadline: time.Minute},
		},
	}}
}

// house is a guardian and what it has put on disk.
type house struct {
	t      *testing.T
	g      *guardian.Guardian
	now    time.Time
	orders guardian.Orders
	disk   []guardian.Event
	out    time.Time // since when the power is out
}

func newHouse(t *testing.T, o guardian.Orders) *house {
	h := &house{t: t, now: start, orders: o}
	h.boot()
	return h
}

// boot is a start of the Pi's process right after the one before: it knows what is on disk.
func (h *house) boot() { h.restart(h.now) }

// reboot is a start of the process in another boot of the Pi; restart is one in the same
// boot, after the process before was last alive.
func (h *house) reboot() { h.restart(time.Time{}) }

func (h *house) restart(lived time.Time, upses ...string) {
	h.g = guardian.New("pi")
	h.note(h.g.Order(h.now, h.orders))
	for _, e := range h.disk {
		h.g.Restore(e)
	}
	h.note(h.g.Restarted(h.now, lived, append(upses, "ups")))
}

func (h *house) note(es []guardian.Event) []guardian.Event {
	h.disk = append(h.disk, es...)
	return es
}

func battery(since time.Duration) power.Reading {
	return power.Reading{Supply: power.Battery, For: power.InSeconds(since)}
}

func mains() power.Reading { return power.Reading{Supply: power.Mains} }

func (h *house) report(r power.Reading) []guardian.Event {
	return h.note(h.g.Reported(h.now, "ups", r))
}

// cut is the power going out now.
func (h *house) cut() { h.out = h.now; h.report(battery(0)) }

// second lets one pass: a poll of the UPS and the loop's tick.
func (h *house) second() {
	h.now = h.now.Add(time.Second)
	h.report(battery(h.now.Sub(h.out)))
	h.note(h.g.Tick(h.now))
}

// pass lets seconds pass on battery, with what the brain answers in each.
func (h *house) pass(seconds int, brain ...shutdown.State) {
	for range seconds {
		h.second()
		for _, s := range brain {
			h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, s))
		}
	}
}

func (h *house) all(kind shutdown.EventType) (es []guardian.Event) {
	for _, e := range h.disk {
		if e.Event.Type == kind {
			es = append(es, e)
		}
	}
	return es
}

// did is what was written down beside what was heard.
func (h *house) did() []guardian.Event {
	return slices.DeleteFunc(slices.Clone(h.disk), func(e guardian.Event) bool {
		return slices.Contains([]shutdown.EventType{guardian.OnBattery, guardian.OnMains, guardian.EpochSeen}, e.Event.Type)
	})
}

// began is how long after the plug the runs began.
func (h *house) began() (at []time.Duration) {
	for _, e := range h.all(shutdown.Began) {
		at = append(at, e.Event.At.Sub(h.out))
	}
	return at
}

func (h *house) beganAt(want ...time.Duration) {
	h.t.Helper()
	if got := h.began(); !slices.Equal(got, want) {
		h.t.Errorf("runs began at %v, want %v", got, want)
	}
}

func TestG1_WithoutTheBrainThePiBeginsTenSecondsAfterTheReason(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(19)
	h.beganAt()
	h.pass(1)
	h.beganAt(20 * time.Second) // 10 s of ride-through, 10 s for the brain
	h.pass(30)
	h.beganAt(20 * time.Second)
	if sent := h.all(shutdown.Sent); len(sent) == 0 || sent[0].Event.Target != "node/pve1" {
		t.Errorf("sent %v, want pve1 first", sent)
	}
	if why := h.g.Run.Reason; !strings.Contains(why, "the power has been out for 20 s") || !strings.Contains(why, "brain") {
		t.Errorf("reason %q", why)
	}
}

func TestG1_WhenTimeIsShortThePiWaitsForTwoSeconds(t *testing.T) {
	soon := power.Seconds(200) // the plan needs 2 min and a margin of 2
	for name, tc := range map[string]struct {
		reading func(since time.Duration) power.Reading
		want    time.Duration
	}{
		"LOWBATT for 10 s": {func(since time.Duration) power.Reading {
			r, low := battery(since), power.InSeconds(since)
			r.Supply, r.LowFor = power.SelfTest, &low // whatever the reason of the transfer (rule U3)
			return r
		}, 12 * time.Second},
		"runtime under need": {func(since time.Duration) power.Reading {
			r := battery(since)
			r.Runtime = &soon
			return r
		}, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, orders())
			h.out = h.now
			for range 40 {
				h.report(tc.reading(h.now.Sub(h.out)))
				h.now = h.now.Add(500 * time.Millisecond)
			}
			h.beganAt(tc.want)
		})
	}
}

func TestG1_TheBrainsWordThatItAdvancesIsGoodForTenSeconds(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(15)
	h.pass(30, shutdown.Advancing)
	h.beganAt()
	h.pass(9)
	h.beganAt()
	h.pass(1)
	h.beganAt(55 * time.Second) // 45 s is the last word
}

func TestG1_ABrainThatAdvancesIsTrustedAlsoWhenTimeIsShort(t *testing.T) {
	h := newHouse(t, orders())
	h.out = h.now
	for range 30 {
		r, low := battery(h.now.Sub(h.out)), power.InSeconds(h.now.Sub(h.out))
		r.LowFor = &low
		h.report(r)
		if h.now.Sub(h.out) == 11*time.Second {
			h.note(h.g.Mandated(h.now, shutdown.Epoch{}, shutdown.Advancing))
		}
		h.now = h.now.Add(time.Second)
	}
	h.beganAt(21 * time.Second)
}

// TestG1_WordsFromBeforeTheReasonCountForNothing, but for that of a stop: see TestS10_AStopIsHeardBeforeThePlanWouldBegin.
func TestG1_WordsFromBeforeTheReasonCountForNothing(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(9, shutdown.Advancing, shutdown.HasEnded)
	h.pass(11)
	h.beganAt(20 * time.Second)
}

func TestG1_ABrainThatLivesButMakesNoHeadwayIsNotWaitedFor(t *testing.T) {
	for _, state := range []shutdown.State{shutdown.None, shutdown.Begun} {
		h := newHouse(t, orders())
		h.cut()
		h.pass(25, state)
		h.beganAt(20 * time.Second)
	}
}

func TestG1_NoRestartShortensTheBrainsPatience(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(18)
	h.boot()
	h.pass(10)
	h.beganAt()
	h.pass(1)
	h.beganAt(29 * time.Second) // heard again at 19 s
}

// polled lets time pass as the loop does, with polls of the UPS at times of their own.
func (h *house) polled(until, first, each time.Duration) {
	for poll := h.out.Add(first); ; {
		at := poll
		if wake := h.g.NextDeadline(); !wake.IsZero() && wake.Before(poll) {
			at = wake
		}
		if at.After(h.out.Add(until)) {
			return
		}
		if h.now = at; at.Equal(poll) {
			h.report(battery(h.now.Sub(h.out)))
			poll = poll.Add(each)
		} else {
			h.note(h.g.Tick(h.now))
		}
	}
}

func TestG1_PatienceBeginsWithTheReasonNotWithTheNextPoll(t *testing.T) {
	for name, each := range map[string]time.Duration{"each second": time.Second, "each 2.7 s": 2700 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, orders())
			h.cut()
			h.polled(30*time.Second, 700*time.Millisecond, each)
			h.beganAt(20 * time.Second)
		})
	}
}

func TestS5_AReadingThatIsNotFreshBeginsNothingUntilItIsLost(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(16)
	for range 60 { // no poll comes back, and none says so
		h.now = h.now.Add(500 * time.Millisecond)
		h.note(h.g.Tick(h.now))
	}
	h.beganAt(46 * time.Second) // 30 s after the last
}

func TestG1_NoPauseShortensTheBrainsPatience(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(12)
	h.now = h.now.Add(30 * time.Second)
	h.note(h.g.Resumed(h.now))
	h.pass(10)
	h.beganAt()
	h.pass(1)
	h.beganAt(53 * time.Second)
}

func TestG1_TheLoopIsWokenWhenPatienceEnds(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(12)
	if got := h.g.NextDeadline().Sub(h.out); got != 20*time.Second {
		t.Errorf("next deadline %v after the plug, want 20 s", got)
	}
	h.pass(9)
	if got := h.g.NextDeadline(); got.IsZero() || got != h.g.Run.NextDeadline() {
		t.Errorf("next deadline %v, the run's is %v", got, h.g.Run.NextDeadline())
	}
	h.report(mains())
	if got := h.g.NextDeadline(); !got.IsZero() {
		t.Errorf("next deadline %v on mains, want none", got)
	}
}

func TestG2_WhatTheBrainEndedOrAPersonStoppedIsNeverBegunInThisOutage(t *testing.T) {
	for _, state := range []shutdown.State{shutdown.HasEnded, shutdown.Stopped} {
		for name, then := range map[string]func(*house){
			"it runs on": func(*house) {},
			"restart":    func(h *house) { h.boot() },
			"pause":      func(h *house) { h.note(h.g.Resumed(h.now)) },
		} {
			t.Run(string(state)+", "+name, func(t *testing.T) {
				h := newHouse(t, orders())
				h.cut()
				h.pass(12)
				h.pass(3, state)
				if n := len(h.all(guardian.BrainDone)); n != 1 {
					t.Errorf("written down %d times", n)
				}
				then(h)
				h.pass(120)
				h.beganAt()

				h.report(mains())
				h.cut()
				h.pass(25)
				h.beganAt(20 * time.Second)
			})
		}
	}
}

func TestG2_TheBrainsEndedRunOutranksItsLaterSilenceAlsoInEpochs(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(12)
	h.pass(1, shutdown.HasEnded)
	h.report(mains())
	h.boot()
	h.cut()
	h.pass(25)
	if want := (shutdown.Epoch{Counter: 5, Holder: "pi"}); h.g.Epoch != want {
		t.Errorf("epoch %v, want %v", h.g.Epoch, want)
	}
}

// end brings the Pi's own run to its end.
func (h *house) end() {
	h.t.Helper()
	for range 200 {
		if h.g.Run != nil && h.g.Run.Over() {
			return
		}
		h.second()
		if h.g.Run == nil {
			continue
		}
		for _, p := range h.g.Run.Current() {
			h.note(h.g.Answered(h.now, p.Target.ID(), nil, nil))
			gone := time.Minute
			h.note(h.g.Seen(h.now, p.Target.ID(), shutdown.Sight{Closed: true, SilentFor: &gone}))
		}
	}
	h.t.Fatal("the run does not end")
}

func TestG2_ThePisOwnRunIsNotBegunTwiceInOneOutage(t *testing.T) {
	for name, then := range map[string]func(*house){
		"it runs on":           func(*house) {},
		"restart":              func(h *house) { h.boot() },
		"pause":                func(h *house) { h.note(h.g.Resumed(h.now)) },
		"disarmed and rearmed": func(h *house) { h.note(h.g.Order(h.now, guardian.Orders{})); h.note(h.g.Order(h.now, orders())) },
		"self-test flags": func(h *house) { // neither mains nor an outage
			h.report(power.Reading{Supply: power.Calibrates})
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, orders())
			h.cut()
			h.end()
			if !h.g.Run.Finished {
				t.Fatalf("the run was stopped: %s", h.g.Run.Stopped)
			}
			then(h)
			h.pass(120)
			if n := len(h.began()); n != 1 {
				t.Errorf("%d runs in one outage", n)
			}

			h.report(mains())
			then(h)
			h.cut()
			h.pass(30)
			if n := len(h.began()); n != 2 {
				t.Errorf("%d runs in two outages", n)
			}
			if h.g.Epoch.Counter != 2 {
				t.Errorf("epoch %v, want the counter at 2", h.g.Epoch)
			}
		})
	}
}

func TestEpochIsAboveAllThatWasNamed(t *testing.T) {
	h := newHouse(t, orders())
	h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 41, Holder: "brain"}, shutdown.None))
	h.cut()
	h.pass(25)
	if want := (shutdown.Epoch{Counter: 42, Holder: "pi"}); h.g.Epoch != want {
		t.Errorf("epoch %v, want %v", h.g.Epoch, want)
	}
}
