package guardian_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// tests is a reading of a UPS that is on battery by its own wish.
func tests(as power.Supply, since time.Duration) power.Reading {
	return power.Reading{Supply: as, For: power.InSeconds(since)}
}

// drained is the same with its battery called low.
func drained(r power.Reading, since time.Duration) power.Reading {
	r.LowFor = new(power.InSeconds(since))
	return r
}

// beside lets seconds pass in which the mains are there at the first UPS, and the other says something, and the
// machines do as they are told; it says how many commands that took.
func (h *house) beside(seconds int, other func(since time.Duration) power.Reading) int {
	sent := len(h.all(shutdown.Sent))
	for i := range seconds {
		h.now = h.now.Add(time.Second)
		h.note(h.g.Reported(h.now, "other", other(time.Duration(i)*time.Second)))
		h.report(mains())
		for _, node := range []string{"node/pve1", "node/pve2"} {
			h.note(h.g.Answered(h.now, node, nil, nil))
			h.note(h.g.Seen(h.now, node, off()))
		}
		h.note(h.g.Tick(h.now))
	}
	return len(h.all(shutdown.Sent)) - sent
}

// TestS5_MainsBackWhileAnotherUPSIsInATest: a test is no outage, so that of the first is over, and its run with it.
func TestS5_MainsBackWhileAnotherUPSIsInATest(t *testing.T) {
	for name, other := range map[string]func(time.Duration) power.Reading{
		"a self-test":   func(d time.Duration) power.Reading { return tests(power.SelfTest, d) },
		"a calibration": func(d time.Duration) power.Reading { return tests(power.Calibrates, time.Hour+d) },
		"an old battery in a self-test": func(d time.Duration) power.Reading {
			return drained(tests(power.SelfTest, d), min(d, 9*time.Second))
		},
		"a calibration and a lost contact": func(d time.Duration) power.Reading {
			return tests(power.Calibrates, time.Hour).Lost(d)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := two(t)
			h.cut()
			h.pass(22)
			h.note(h.g.Reported(h.now, "other", other(0)))
			h.beganAt(20 * time.Second)
			if n := h.beside(30, other); n > 0 || h.g.Run.Stopped != "the power is back" {
				t.Errorf("%d commands on mains, and the run was stopped by %q", n, h.g.Run.Stopped)
			}
			if n := len(h.all(guardian.OutageOver)); n != 1 {
				t.Errorf("the outage is over %d times", n)
			}
			h.note(h.g.Reported(h.now, "other", mains()))
			h.cut()
			h.pass(21)
			h.beganAt(20*time.Second-h.out.Sub(start), 20*time.Second)
		})
	}
}

// TestU3_ATestThatIsAReasonKeepsTheRun: its battery is low for 10 s, also if contact is lost in it.
func TestU3_ATestThatIsAReasonKeepsTheRun(t *testing.T) {
	low := func(d time.Duration) power.Reading {
		return drained(tests(power.Calibrates, time.Minute+d), 12*time.Second+d)
	}
	for name, other := range map[string]func(time.Duration) power.Reading{
		"heard": low,
		"lost":  func(d time.Duration) power.Reading { return low(0).Lost(d) },
	} {
		t.Run(name, func(t *testing.T) {
			h := two(t)
			h.cut()
			h.pass(21)
			h.note(h.g.Reported(h.now, "other", low(0)))
			if n := h.beside(15, other); n != 1 || !h.g.Run.Finished {
				t.Errorf("%d commands, and the run is through: %v", n, h.g.Run.Finished)
			}
		})
	}
}

// TestU3_ASelfTestThatIsAnOutageBeginsThePlan though the mains had ended that of another UPS in it.
func TestU3_ASelfTestThatIsAnOutageBeginsThePlan(t *testing.T) {
	h := two(t)
	h.cut()
	h.pass(22)
	h.beside(30, func(d time.Duration) power.Reading { return tests(power.SelfTest, d) })
	h.out = h.now.Add(-29 * time.Second) // since when the other is on battery
	h.beside(30, func(d time.Duration) power.Reading { return tests(power.SelfTest, 30*time.Second+d).Aged(0) })
	if n := len(h.all(shutdown.Began)); n != 2 || h.began()[1] != 50*time.Second {
		t.Errorf("%d runs, at %v", n, h.began())
	}
}

// TestS5_NothingIsStartedInATest, until that UPS says that it has mains too, or is gone.
func TestS5_NothingIsStartedInATest(t *testing.T) {
	h := withGuests(t)
	other := func(r power.Reading) {
		h.now = h.now.Add(time.Second)
		h.note(h.g.Reported(h.now, "other", r))
		h.report(mains())
	}
	n := len(h.disk)
	for i := range 20 {
		other(tests(power.Calibrates, time.Duration(i)*time.Second))
	}
	h.wantReturns(n, "aborted, put_back_began")
	n = len(h.disk)
	other(mains())
	h.wantReturns(n, "start_sent guest/100")
}

// TestU5_AUPSLostInATestIsLetGo: of a calibration too nobody hears the end once its UPS is silent.
func TestU5_AUPSLostInATestIsLetGo(t *testing.T) {
	for _, supply := range []power.Supply{power.SelfTest, power.Calibrates} {
		h := two(t)
		h.note(h.g.Reported(h.now, "other", tests(supply, 0)))
		const each = 10 * time.Second
		for lost := each; lost <= 2*time.Hour; lost += each {
			h.now = h.now.Add(each)
			h.report(mains())
			h.note(h.g.Reported(h.now, "other", tests(supply, 0).Lost(lost)))
			if gone := h.all(guardian.Gone); (len(gone) > 0) != (lost >= time.Hour) {
				t.Fatalf("%s: after %v it is gone: %v", supply, lost, gone)
			}
		}
		if n := len(h.all(guardian.Gone)); n != 1 || h.all(guardian.Gone)[0].Event.Target != "other" {
			t.Errorf("%s: it is gone %d times", supply, n)
		}
	}
}
