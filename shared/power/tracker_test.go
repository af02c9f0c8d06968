package power

import (
	"testing"
	"time"
)

// step is an answer of apcupsd, and what it must be taken for.
type step struct {
	at     float64 // seconds since the first
	answer string  // a recorded situation; "" is no answer
	change func(*Status)
	supply Supply
	for_   float64
	low    float64 // negative is not low
	lost   float64 // negative is not lost
}

const not = -1.0

func runSteps(t *testing.T, steps []step) {
	t.Helper()
	all := recorded(t)
	start := time.Unix(1_000_000, 0)
	var tracker Tracker
	for i, s := range steps {
		now := start.Add(time.Duration(s.at * float64(time.Second)))
		var r Reading
		if s.answer == "" {
			r = tracker.Silent(now)
		} else {
			status, ok := all[s.answer]
			if !ok {
				t.Fatalf("no recording of %q", s.answer)
			}
			if s.change != nil {
				s.change(&status)
			}
			r = tracker.Observe(now, status)
		}
		if err := r.Validate(); err != nil {
			t.Errorf("step %d: %v", i, err)
		}
		if r.Supply != s.supply || float64(r.For) != s.for_ || or(r.LowFor) != s.low || or(r.LostFor) != s.lost {
			t.Errorf("step %d, %q at %v s: %s for %v s, low %v, lost %v; want %s for %v s, low %v, lost %v", i, s.answer, s.at,
				r.Supply, r.For, or(r.LowFor), or(r.LostFor), s.supply, s.for_, s.low, s.lost)
		}
	}
}

func or(s *Seconds) float64 {
	if s == nil {
		return not
	}
	return float64(*s)
}

func flags(set Flags) func(*Status) { return func(s *Status) { s.Flags = set } }

func TestU2_TimeOnBatteryCountsFromTheFirstAnswer(t *testing.T) {
	runSteps(t, []step{
		{at: 0, answer: "selftest_after", supply: Mains, for_: 0, low: not, lost: not},
		{at: 5, answer: "selftest_after", supply: Mains, for_: 5, low: not, lost: not},
		{at: 6, answer: "onbatt", change: flags(0x05040010), supply: Battery, for_: 0, low: not, lost: not},
		{at: 12, answer: "onbatt", supply: Battery, for_: 6, low: not, lost: not},
		{at: 13, answer: "onbatt_lowbatt", supply: Battery, for_: 7, low: 0, lost: not},
		{at: 18, answer: "shutting_down", supply: Battery, for_: 12, low: 5, lost: not},
		{at: 19, answer: "shutting_down_mains_back", supply: Mains, for_: 0, low: not, lost: not},
		// The seconds of the first outage do not count in the second.
		{at: 60, answer: "onbatt", supply: Battery, for_: 0, low: not, lost: not},
	})
}

func TestU3_SelfTestIsNoOutage(t *testing.T) {
	runSteps(t, []step{
		{at: 0, answer: "online", supply: Mains, for_: 0, low: not, lost: not},
		{at: 9, answer: "selftest_onbatt", supply: SelfTest, for_: 0, low: not, lost: not},
		{at: 17, answer: "selftest_onbatt", supply: SelfTest, for_: 8, low: not, lost: not},
		{at: 18, answer: "selftest_after", supply: Mains, for_: 0, low: not, lost: not},
		{at: 30, answer: "onbatt", supply: Battery, for_: 0, low: not, lost: not},
	})
}

func TestU3_OldReasonIsNotThisTransfers(t *testing.T) {
	runSteps(t, []step{
		{at: 0, answer: "selftest_after", supply: Mains, for_: 0, low: not, lost: not},
		// Switched, but NUMXFERS and XONBATT are still those of the test before.
		{at: 1, answer: "selftest_onbatt", supply: Battery, for_: 0, low: not, lost: not},
	})
	runSteps(t, []step{ // nothing is known of the time before
		{at: 0, answer: "selftest_onbatt", supply: Battery, for_: 0, low: not, lost: not},
	})
}

// TestU3_ATransferIsNewByItsDateAlso, where the UPS tells no count; no date is not a new one.
func TestU3_ATransferIsNewByItsDateAlso(t *testing.T) {
	uncounted := func(s *Status) { s.Transfers = nil }
	undated := func(s *Status) { s.Transfers, s.OnBatteryAt = nil, "" }
	steps := func(before, then func(*Status), supply Supply) []step {
		return []step{
			{at: 0, answer: "selftest_after", change: before, supply: Mains, for_: 0, low: not, lost: not},
			{at: 1, answer: "selftest_onbatt", change: then, supply: supply, for_: 0, low: not, lost: not},
		}
	}
	older := func(s *Status) { s.Transfers, s.OnBatteryAt = nil, "2026-11-20 03:30:00 +0000" }
	runSteps(t, steps(older, uncounted, SelfTest))
	runSteps(t, steps(uncounted, uncounted, Battery))
	runSteps(t, steps(older, undated, Battery))
	runSteps(t, steps(undated, uncounted, Battery))
}

func TestU3_ConfirmedOutageIsNoSelfTest(t *testing.T) {
	runSteps(t, []step{
		{at: 0, answer: "online", supply: Mains, for_: 0, low: not, lost: not},
		{at: 1, answer: "selftest_onbatt", supply: SelfTest, for_: 0, low: not, lost: not},
		{at: 7, answer: "selftest_onbatt", change: flags(0x05060010), supply: Battery, for_: 6, low: not, lost: not},
		// Once an outage, it stays one until the mains are back.
		{at: 8, answer: "selftest_onbatt", supply: Battery, for_: 7, low: not, lost: not},
	})
}

func TestU3_SelfTestLastsFortySeconds(t *testing.T) {
	runSteps(t, []step{
		{at: 0, answer: "online", supply: Mains, for_: 0, low: not, lost: not},
		{at: 1, answer: "selftest_onbatt", supply: SelfTest, for_: 0, low: not, lost: not},
		{at: 41, answer: "selftest_onbatt", supply: SelfTest, for_: 40, low: not, lost: not},
		{at: 41.5, answer: "selftest_onbatt", supply: Battery, for_: 40.5, low: not, lost: not},
	})
	runSteps(t, []step{ // one of whose end nothing is heard stays one: the policy tells how long
		{at: 0, answer: "online", supply: Mains, for_: 0, low: not, lost: not},
		{at: 1, answer: "selftest_onbatt", supply: SelfTest, for_: 0, low: not, lost: not},
		{at: 21, answer: "", supply: SelfTest, for_: 20, low: not, lost: 0},
		{at: 41, answer: "", supply: SelfTest, for_: 40, low: not, lost: 20},
		{at: 42, answer: "", supply: SelfTest, for_: 41, low: not, lost: 21},
		{at: 43, answer: "selftest_onbatt", supply: Battery, for_: 42, low: not, lost: not},
	})
	// Nor if no report comes at all: it is one when the rule said that it would be.
	r := Reading{Supply: SelfTest, For: 30}
	in := DefaultPolicy().Decide(r, 0).In
	if in != 10*time.Second || r.Aged(in-time.Millisecond).Supply != SelfTest || r.Aged(in).Supply != Battery {
		t.Errorf("an outage in %v; by then it is %s", in, r.Aged(in).Supply)
	}
}

func TestU3_LowBatteryInASelfTestIsTimed(t *testing.T) {
	low := flags(0x05040050)
	runSteps(t, []step{
		{at: 0, answer: "online", supply: Mains, for_: 0, low: not, lost: not},
		{at: 1, answer: "selftest_onbatt", change: low, supply: SelfTest, for_: 0, low: 0, lost: not},
		{at: 11, answer: "selftest_onbatt", change: low, supply: SelfTest, for_: 10, low: 10, lost: not},
		{at: 12, answer: "selftest_onbatt", supply: SelfTest, for_: 11, low: not, lost: not},
	})
}

func TestU3_CalibrationIsTrustedForItsFlag(t *testing.T) {
	runSteps(t, []step{
		{at: 0, answer: "online", supply: Mains, for_: 0, low: not, lost: not},
		{at: 1, answer: "cal_onbatt", supply: Calibrates, for_: 0, low: not, lost: not},
		{at: 601, answer: "cal_onbatt", supply: Calibrates, for_: 600, low: not, lost: not},
		{at: 602, answer: "online", supply: Mains, for_: 0, low: not, lost: not},
	})
}

func TestU5_ContactLostOnBatteryKeepsTheOutage(t *testing.T) {
	runSteps(t, []step{
		{at: 0, answer: "online", supply: Mains, for_: 0, low: not, lost: not},
		{at: 1, answer: "onbatt", supply: Battery, for_: 0, low: not, lost: not},
		{at: 24, answer: "commlost_onbatt", supply: Battery, for_: 23, low: not, lost: 0},
		{at: 30, answer: "commlost_onbatt", supply: Battery, for_: 29, low: not, lost: 6},
		{at: 31, answer: "", supply: Battery, for_: 30, low: not, lost: 7}, // apcupsd dies as well
		{at: 32, answer: "onbatt_after_commlost", supply: Battery, for_: 31, low: not, lost: not},
	})
}

func TestU5_ContactLostOnMainsIsNotAnOutage(t *testing.T) {
	runSteps(t, []step{
		{at: 0, answer: "online_after_outage", supply: Mains, for_: 0, low: not, lost: not},
		{at: 60, answer: "commlost_online", supply: Mains, for_: 60, low: not, lost: 0},
		{at: 3660, answer: "commlost_online", supply: Mains, for_: 3660, low: not, lost: 3600},
	})
	runSteps(t, []step{
		{at: 0, answer: "commlost_since_start", supply: Unknown, for_: 0, low: not, lost: 0},
		{at: 5, answer: "commlost_since_start", supply: Unknown, for_: 0, low: not, lost: 5},
	})
}

func TestU5_RestartOfApcupsdNeitherEndsNorBeginsAnOutage(t *testing.T) {
	again := func(s *Status) { s.Flags, s.Transfers, s.OnBatteryAt = 0x05040010, new(1), "2026-11-21 03:30:00 +0000" }
	runSteps(t, []step{
		{at: 0, answer: "selftest_after", supply: Mains, for_: 0, low: not, lost: not},
		{at: 1, answer: "onbatt", supply: Battery, for_: 0, low: not, lost: not},
		{at: 5, answer: "", supply: Battery, for_: 4, low: not, lost: 0},
		{at: 6, answer: "starting_blank", supply: Battery, for_: 5, low: not, lost: 1},
		{at: 7, answer: "no_bits", supply: Battery, for_: 6, low: not, lost: 2},
		{at: 8, answer: "onbatt", change: again, supply: Battery, for_: 7, low: not, lost: not},
	})
}

func TestU5_FrozenNumbersAreThoseBefore(t *testing.T) {
	all := recorded(t)
	var tr Tracker
	now := time.Unix(0, 0)
	tr.Observe(now, all["onbatt"])
	lost := all["commlost_onbatt"]
	lost.Charge = new(0.01) // whatever it claims
	r := tr.Observe(now.Add(time.Second), lost)
	if *r.Charge != 0.71 || !r.Flags.Has(CommLost) || !r.Flags.Has(OnBattery) {
		t.Errorf("contact lost: %+v", r)
	}
	if r = tr.Observe(now.Add(2*time.Second), all["onbatt"]); r.Flags.Has(CommLost) {
		t.Errorf("contact regained: %+v", r)
	}
}

func TestU5_AgedAndLost(t *testing.T) {
	r := Reading{Supply: Battery, For: 4, LowFor: new(Seconds(2))}
	a := r.Aged(3 * time.Second)
	if a.For != 7 || *a.LowFor != 5 || a.LostFor != nil {
		t.Errorf("aged: for %v, low %v, lost %v", a.For, or(a.LowFor), or(a.LostFor))
	}
	l := r.Lost(3 * time.Second)
	if l.For != 7 || *l.LowFor != 5 || l.LostFor == nil || *l.LostFor != 3 {
		t.Errorf("lost: for %v, low %v, lost %v", l.For, or(l.LowFor), or(l.LostFor))
	}
	// What was already lost has been so for longer.
	if again := l.Lost(10 * time.Second); *again.LostFor != 13 || again.For != 17 {
		t.Errorf("lost twice: for %v, lost %v", again.For, or(again.LostFor))
	}
	if back := r.Aged(-time.Hour); back.For != 4 {
		t.Errorf("a clock that went back: for %v", back.For)
	}
	if r.For != 4 || *r.LowFor != 2 || r.LostFor != nil {
		t.Error("the reading itself was changed")
	}
	if !r.OnBattery() || (Reading{Supply: SelfTest}).OnBattery() || (Reading{Supply: Calibrates}).OnBattery() {
		t.Error("OnBattery is an outage, and nothing else")
	}
}

// TestU2_TimeOnBatteryOutlivesTheProcess, if the UPS names the same transfer.
func TestU2_TimeOnBatteryOutlivesTheProcess(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	seven, eight, at := 7, 8, "2026-11-21 19:02:11 +0000"
	for name, c := range map[string]struct {
		of, is Transfer
		supply Flags
		want   time.Duration
	}{
		"the same":               {Transfer{&seven, at}, Transfer{&seven, at}, OnBattery, 6 * time.Second},
		"the count not told":     {Transfer{nil, at}, Transfer{&seven, at}, OnBattery, 6 * time.Second},
		"another by its count":   {Transfer{&seven, at}, Transfer{&eight, at}, OnBattery, 0},
		"another by its date":    {Transfer{&seven, at}, Transfer{&seven, "2026-11-21 19:02:14 +0000"}, OnBattery, 0},
		"not named then":         {Transfer{&seven, ""}, Transfer{&seven, at}, OnBattery, 0},
		"not named now":          {Transfer{&seven, at}, Transfer{&seven, ""}, OnBattery, 0},
		"the mains are back now": {Transfer{&seven, at}, Transfer{&seven, at}, Online, 0},
	} {
		var tr Tracker
		tr.Resume(now.Add(-6*time.Second), c.of)
		tr.Silent(now) // says nothing of it
		r := tr.Observe(now, Status{Flags: c.supply, Transfers: c.is.Number, OnBatteryAt: c.is.At})
		if r.For.Duration() != c.want || (r.Supply == Battery) != (c.supply == OnBattery) {
			t.Errorf("%s: %s for %v, want %v", name, r.Supply, r.For.Duration(), c.want)
		}
	}
	var tr Tracker
	tr.Resume(now.Add(-6*time.Second), Transfer{nil, at})
	tr.Observe(now, Status{Flags: Online, OnBatteryAt: at})
	if r := tr.Observe(now.Add(time.Second), Status{Flags: OnBattery, OnBatteryAt: at}); r.For != 0 {
		t.Errorf("after mains it counts from %v ago", r.For.Duration())
	}
}

// TestS2_ARestartedPiBelievesNoSingleAnswer: the time on battery goes on, but what the UPS
// told before is not known any more.
func TestS2_ARestartedPiBelievesNoSingleAnswer(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	patient := DefaultPolicy()
	patient.RideThrough = time.Hour
	at := "2026-11-21 19:02:11 +0000"
	var tr Tracker
	tr.Resume(now.Add(-time.Minute), Transfer{nil, at})
	odd := Status{Flags: OnBattery, OnBatteryAt: at, Charge: new(0.9), Runtime: new(Seconds(10))}
	r := tr.Observe(now, odd)
	if v := patient.Decide(r, time.Minute); v.Start || r.For.Duration() != time.Minute {
		t.Errorf("%+v after %s on battery", v, r.For.Duration())
	}
	tr.Observe(now.Add(time.Second), odd)
	if v := patient.Decide(tr.Observe(now.Add(2*time.Second), odd), time.Minute); !v.Start {
		t.Errorf("%+v though it holds", v)
	}
}

// TestU1_AUPSThatStaysAsItIsForYearsIsHeardOfStill: however long nothing changes, its report is
// one that is taken, and so is that of the outage which comes then.
func TestU1_AUPSThatStaysAsItIsForYearsIsHeardOfStill(t *testing.T) {
	all := recorded(t)
	now := time.Date(2026, 11, 21, 19, 2, 11, 0, time.UTC)
	const years = 3 * 366 * 24 * time.Hour
	for name, then := range map[string]func(tr *Tracker) Reading{
		"on mains":          func(tr *Tracker) Reading { return tr.Observe(now.Add(years), all["online"]) },
		"silent on mains":   func(tr *Tracker) Reading { tr.Silent(now); return tr.Silent(now.Add(years)) },
		"as it stands then": func(tr *Tracker) Reading { return tr.Silent(now).Aged(years) },
		"low on battery": func(tr *Tracker) Reading {
			s := all["onbatt"]
			s.Flags |= LowBattery
			tr.Observe(now, s)
			return tr.Observe(now.Add(years), s)
		},
	} {
		var tr Tracker
		tr.Observe(now, all["online"])
		if r := then(&tr); r.Validate() != nil {
			t.Errorf("%s: %v: for %v", name, r.Validate(), r.For)
		}
		if r := tr.Observe(now.Add(years+time.Second), all["online"]); r.Supply != Mains {
			t.Errorf("%s: then %+v", name, r)
		}
		if r := tr.Observe(now.Add(years+2*time.Second), all["onbatt"]); r.Supply != Battery || r.For != 0 || r.Validate() != nil {
			t.Errorf("%s: the outage is %+v, %v", name, r, r.Validate())
		}
	}
}

// TestU3_AReasonThatIsReadLate: the first answer of a transfer may still name the reason of the one before. What is a
// self-test by the next is one; what only turns into one later is not.
func TestU3_AReasonThatIsReadLate(t *testing.T) {
	const outage, test = "Low line voltage", "Automatic or explicit self test"
	for name, c := range map[string]struct {
		first, then string
		after       time.Duration
		want        Supply
	}{
		"a self-test":            {outage, test, time.Second, SelfTest},
		"an outage":              {test, outage, time.Second, Battery},
		"a self-test much later": {outage, test, 10 * time.Second, Battery},
	} {
		t.Run(name, func(t *testing.T) {
			var tr Tracker
			at := time.Unix(1000, 0)
			tr.Observe(at, Status{Flags: Online, Transfers: new(3), LastTransfer: c.first, OnBatteryAt: "x"})
			answer := func(after time.Duration, why string) Reading {
				return tr.Observe(at.Add(time.Second+after), Status{Flags: OnBattery, Transfers: new(4), LastTransfer: why, OnBatteryAt: "y"})
			}
			answer(0, c.first)
			answer(c.after, c.then)
			if got := answer(c.after+10*time.Second, c.then); got.Supply != c.want {
				t.Errorf("it is %s, want %s", got.Supply, c.want)
			}
		})
	}
}
