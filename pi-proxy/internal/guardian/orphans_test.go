package guardian_test

import (
	"slices"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// fedByTwo is what a Pi was given that reads ups, while pi2 reads b.
func fedByTwo(wired bool, pis ...string) guardian.Orders {
	o := among(pis...)
	if wired {
		o.Plan.Wiring = power.Wire(map[string][]string{"ups": {"pve1"}, "b": {"pve2"}}, nil)
	}
	return o
}

// dying is a house in which pi2 says that b is on battery, and nothing more from a moment on.
func dying(t *testing.T, o guardian.Orders) *house {
	h := newHouse(t, o)
	h.andB(15, mains, other(mains()))
	for i := range 6 {
		h.andB(1, mains, other(battery(time.Duration(i)*time.Second)))
	}
	h.out = h.now
	return h
}

// alone lets seconds pass on mains in which no other Pi is heard, with what the brain says in each.
func (h *house) alone(seconds int, brain ...shutdown.State) {
	for range seconds {
		h.now = h.now.Add(time.Second)
		h.report(mains())
		h.note(h.g.Tick(h.now))
		for _, s := range brain {
			h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, s))
		}
	}
}

// TestU5_APiThatDiesInItsOutageIsStoodInFor once its silence is danger, by each of the others in its turn (G6), and
// for what its UPS feeds alone.
func TestU5_APiThatDiesInItsOutageIsStoodInFor(t *testing.T) {
	for name, c := range map[string]struct {
		wired bool
		pis   []string
		after time.Duration
		told  string
	}{
		"any may feed all":         {false, []string{"pi", "pi2"}, 40 * time.Second, "node/pve1"},
		"it feeds one":             {true, []string{"pi", "pi2"}, 40 * time.Second, "node/pve2"},
		"listed after it":          {true, []string{"pi2", "pi"}, 55 * time.Second, "node/pve2"},
		"listed after it, and all": {false, []string{"pi2", "pi"}, 55 * time.Second, "node/pve1"},
	} {
		t.Run(name, func(t *testing.T) {
			h := dying(t, fedByTwo(c.wired, c.pis...))
			h.alone(int(c.after/time.Second) - 1)
			h.beganAt()
			h.alone(5)
			h.beganAt(c.after)
			if sent := slices.Compact(h.sent()); !slices.Equal(sent, []string{c.told}) {
				t.Fatalf("told %v", sent)
			}
			h.note(h.g.Answered(h.now, c.told, nil, nil))
			h.note(h.g.Seen(h.now, c.told, off()))
			h.alone(120)
			if h.g.Run.Stopped != "" || len(h.all(guardian.OutageOver)) > 0 {
				t.Errorf("the mains here end it: %q", h.g.Run.Stopped)
			}
		})
	}
}

// TestU5_WhoseSilenceBeginsNothing: a healthy node is worse to lose than an outage.
func TestU5_WhoseSilenceBeginsNothing(t *testing.T) {
	low := battery(time.Minute)
	low.Supply, low.LowFor = power.Calibrates, new(power.Seconds(9))
	says := func(words ...guardian.PeerWord) func(h *house) {
		return func(h *house) {
			for _, w := range words {
				h.andB(1, mains, w)
			}
		}
	}
	booted, ended, stopped, lived := other(battery(5*time.Second)), other(battery(5*time.Second)), other(battery(5*time.Second)), other(battery(5*time.Second))
	booted.Up, lived.Up = 20*time.Second, time.Hour
	ended.State, ended.Epoch = shutdown.HasEnded, shutdown.Epoch{Counter: 7, Holder: "pi2"}
	stopped.State, stopped.Epoch = shutdown.Stopped, shutdown.Epoch{Counter: 7, Holder: "brain"}
	for name, c := range map[string]struct {
		first func(h *house)
		runs  int
	}{
		"mains":                           {says(other(mains())), 0},
		"a self-test":                     {says(other(tests(power.SelfTest, 20*time.Second))), 0},
		"a calibration":                   {says(other(tests(power.Calibrates, time.Hour))), 0},
		"one on a battery that is low":    {says(other(low)), 0},
		"battery for a moment":            {says(other(mains()), other(battery(time.Second))), 0},
		"battery in a self-test":          {says(other(tests(power.SelfTest, time.Second)), other(battery(5*time.Second))), 0},
		"it had just booted":              {says(booted), 0},
		"it had booted an hour ago":       {says(lived), 1},
		"a test that was an outage":       {says(other(tests(power.SelfTest, 39*time.Second)), other(battery(40*time.Second))), 1},
		"its run was through":             {says(ended), 0},
		"a person stopped the plan":       {says(stopped), 0},
		"it speaks, and not of b":         {says(lived, guardian.PeerWord{State: shutdown.None}), 0},
		"it speaks of b as unknown":       {says(lived, other(power.Reading{Supply: power.Unknown})), 0},
		"this Pi was restarted":           {func(h *house) { says(lived)(h); h.boot() }, 0},
		"this Pi had long stood still":    {func(h *house) { says(lived)(h); h.now = h.now.Add(10 * time.Minute); h.note(h.g.Resumed(h.now)) }, 0},
		"this Pi had shortly stood still": {func(h *house) { says(lived)(h); h.now = h.now.Add(time.Minute); h.note(h.g.Resumed(h.now)) }, 1},
		"the plan is not armed": {func(h *house) {
			says(lived)(h)
			h.orders.Armed = false
			h.note(h.g.Order(h.now, h.orders))
			h.alone(400)
			h.orders.Armed = true
			h.note(h.g.Order(h.now, h.orders))
		}, 0},
		"read here too": {func(h *house) {
			h.said("pi2", guardian.PeerWord{UPSes: map[string]power.Reading{"ups": battery(time.Minute)}})
		}, 0},
	} {
		for _, wired := range []bool{false, true} {
			h := newHouse(t, fedByTwo(wired, "pi", "pi2"))
			h.report(mains())
			c.first(h)
			h.out = h.now
			h.alone(150)
			if n := len(h.all(shutdown.Began)); n != c.runs {
				t.Errorf("%s, wired %v: %d runs at %v", name, wired, n, h.began())
			}
		}
	}
}

// TestG1_ForAnotherPisUPSTheBrainComesFirstToo: also one that says that nothing is to be done, since it may hear that
// Pi.
func TestG1_ForAnotherPisUPSTheBrainComesFirstToo(t *testing.T) {
	for name, c := range map[string]struct {
		brain func(h *house)
		want  []time.Duration
	}{
		"its run advances for a while": {func(h *house) { h.alone(60, shutdown.Advancing); h.alone(60) }, []time.Duration{70 * time.Second}},
		"it begins and gets nowhere":   {func(h *house) { h.alone(120, shutdown.Begun) }, []time.Duration{40 * time.Second}},
		"its run has ended":            {func(h *house) { h.alone(35, shutdown.Advancing); h.alone(120, shutdown.HasEnded) }, nil},
		"its run had ended before":     {func(h *house) { h.alone(20, shutdown.HasEnded); h.alone(120) }, nil},
		"a person stopped it":          {func(h *house) { h.alone(20, shutdown.Advancing); h.alone(5, shutdown.Stopped); h.alone(120) }, nil},
		"stopped later":                {func(h *house) { h.alone(35, shutdown.Advancing); h.alone(5, shutdown.Stopped); h.alone(120) }, nil},
		"the plan is disarmed":         {func(h *house) { h.alone(120, shutdown.Disarmed) }, nil},
		"it says that it runs nothing": {func(h *house) { h.alone(120, shutdown.None) }, nil},
		"and is gone then":             {func(h *house) { h.alone(60, shutdown.None); h.alone(60) }, []time.Duration{70 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			h := dying(t, fedByTwo(false, "pi", "pi2"))
			c.brain(h)
			h.beganAt(c.want...)
		})
	}
	h := dying(t, fedByTwo(false, "pi", "pi2")) // its run is of an outage before
	h.g = guardian.New("pi")
	h.note(h.g.Order(h.now, h.orders))
	h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.HasEnded))
	h.andB(15, mains, other(mains()))
	h.andB(1, mains, other(battery(5*time.Second)))
	h.out = h.now
	h.alone(60, shutdown.HasEnded)
	if n := len(h.all(shutdown.Began)); n != 1 {
		t.Errorf("%d runs after one of before", n)
	}
}

// TestG2_WhatAnotherPisRunWasForIsNotToldOnceThatPiIsDead: but what is left of what its UPS feeds is.
func TestG2_WhatAnotherPisRunWasForIsNotToldOnceThatPiIsDead(t *testing.T) {
	o := fedByTwo(true, "pi", "pi2")
	o.Plan.Nodes = append(o.Plan.Nodes, shutdown.Node{Name: "pve3"})
	o.Plan.Stages[1].Nodes = append(o.Plan.Stages[1].Nodes, "pve3")
	o.Plan.Wiring.Feeds["b"] = []string{"pve2", "pve3"}
	h := dying(t, o)
	w := other(battery(20 * time.Second))
	w.State, w.Epoch, w.Scope = shutdown.HasEnded, shutdown.Epoch{Counter: 7, Holder: "pi2"}, []string{"pve2"}
	h.andB(1, mains, w)
	h.out = h.now
	h.alone(50)
	h.beganAt(40 * time.Second)
	if sent := slices.Compact(h.sent()); !slices.Equal(sent, []string{"node/pve3"}) || h.g.Epoch.Counter != 8 {
		t.Errorf("told %v under %v", sent, h.g.Epoch)
	}
}

// TestS5_TheMainsOfAPiThatIsBackEndTheRun, as its own do; and a test of its UPS is no outage.
func TestS5_TheMainsOfAPiThatIsBackEndTheRun(t *testing.T) {
	for name, b := range map[string]power.Reading{"mains": mains(), "a calibration": tests(power.Calibrates, 0)} {
		for _, wired := range []bool{false, true} {
			h := dying(t, fedByTwo(wired, "pi", "pi2"))
			h.alone(45)
			h.beganAt(40 * time.Second)
			h.andB(5, mains, other(power.Reading{Supply: power.Unknown}))
			h.andB(5, mains, other(battery(time.Minute)))
			h.andB(5, mains, other(mains().Lost(time.Second)))
			if h.g.Run.Stopped != "" || !h.g.ActsElsewhere(h.now) || !h.g.CallsElsewhere(h.now) {
				t.Fatalf("%s: stopped by %q", name, h.g.Run.Stopped)
			}
			n := len(h.all(shutdown.Sent))
			h.andB(2, mains, other(b))
			h.alone(60)
			if h.g.Run.Stopped != "the power is back" || len(h.all(shutdown.Sent)) != n || len(h.all(guardian.OutageOver)) == 0 || h.g.ActsElsewhere(h.now) || h.g.CallsElsewhere(h.now) {
				t.Errorf("%s, wired %v: %d commands, stopped by %q", name, wired, len(h.all(shutdown.Sent))-n, h.g.Run.Stopped)
			}
			h.cut()
			h.pass(21)
			if runs := len(h.all(shutdown.Began)); runs != 2 {
				t.Errorf("%s, wired %v: %d runs in two outages", name, wired, runs)
			}
		}
	}
}

// TestS9_ARunForAnotherPisUPSGoesOnOverARestart, in the same boot of the Pi: after another nobody would hear of it.
func TestS9_ARunForAnotherPisUPSGoesOnOverARestart(t *testing.T) {
	for _, wired := range []bool{false, true} {
		h := dying(t, fedByTwo(wired, "pi", "pi2"))
		h.alone(45)
		h.restart(h.now)
		n := len(h.all(shutdown.Sent))
		h.alone(40)
		if h.g.Run.Stopped != "" || len(h.all(shutdown.Sent)) == n || !h.g.ActsElsewhere(h.now) || !h.g.CallsElsewhere(h.now) {
			t.Errorf("wired %v: %d more commands, stopped by %q", wired, len(h.all(shutdown.Sent))-n, h.g.Run.Stopped)
		}
		h.andB(1, mains, other(mains()))
		if h.g.Run.Stopped != "the power is back" {
			t.Errorf("wired %v: once b has mains it was stopped by %q", wired, h.g.Run.Stopped)
		}
		h = dying(t, fedByTwo(wired, "pi", "pi2"))
		h.alone(45)
		h.reboot()
		h.alone(1)
		if h.g.Run.Stopped != "the power is back" || len(h.g.Out()) > 0 {
			t.Errorf("wired %v: after a boot it was stopped by %q, on battery are %v", wired, h.g.Run.Stopped, h.g.Out())
		}
	}
}

// TestU5_AnotherPisUPSThatWasTakenUpIsLetGo once its battery must be empty: the outage is over.
func TestU5_AnotherPisUPSThatWasTakenUpIsLetGo(t *testing.T) {
	h := dying(t, fedByTwo(false, "pi", "pi2"))
	h.alone(3590)
	if len(h.g.Out()) != 1 || len(h.all(guardian.Gone)) > 0 {
		t.Fatalf("on battery are %v", h.g.Out())
	}
	h.alone(20)
	if len(h.g.Out()) > 0 || len(h.all(guardian.Gone)) != 1 || len(h.all(guardian.OutageOver)) != 1 || h.g.CallsElsewhere(h.now) {
		t.Errorf("on battery are %v, and the outage is over %d times", h.g.Out(), len(h.all(guardian.OutageOver)))
	}
	h.alone(600)
	h.beganAt(40 * time.Second)
}
