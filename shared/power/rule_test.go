package power

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestS2_Rule(t *testing.T) {
	const need = 3 * time.Minute
	long := Seconds(3600)
	patient := DefaultPolicy() // too patient for ride-through to matter
	patient.RideThrough = time.Hour
	atOnce := DefaultPolicy()
	atOnce.RideThrough = 0
	cases := []struct {
		name   string
		policy Policy
		r      Reading
		start  bool
		urgent bool
		reason string
		in     time.Duration
	}{
		{name: "on mains", policy: DefaultPolicy(), r: Reading{Supply: Mains, For: 3600}, in: Never},
		{name: "nothing known", policy: DefaultPolicy(), r: Reading{Supply: Unknown}, in: Never},
		{name: "a blip", policy: DefaultPolicy(), r: Reading{Supply: Battery, For: 2}, in: 8 * time.Second},
		{name: "just before the ride-through", policy: DefaultPolicy(), r: Reading{Supply: Battery, For: 9.99}, in: 10 * time.Millisecond},
		{name: "ridden through", policy: DefaultPolicy(), r: Reading{Supply: Battery, For: 10}, start: true, reason: "out for 10 s"},
		{name: "ridden through with little left", policy: DefaultPolicy(),
			r:     Reading{Supply: Battery, For: 12, Status: Status{Runtime: new(Seconds(299))}},
			start: true, urgent: true, reason: "out for 12 s"},
		{name: "no ride-through", policy: atOnce, r: Reading{Supply: Battery}, start: true, reason: "out for 0 s"},
		{name: "no ride-through on mains", policy: atOnce, r: Reading{Supply: Mains}, in: Never},

		{name: "runtime just enough", policy: patient, r: Reading{Supply: Battery, For: 5, Status: Status{Runtime: new(Seconds(300))}},
			in: time.Hour - 5*time.Second},
		{name: "runtime under the need and its margin", policy: patient,
			r:     Reading{Supply: Battery, For: 5, Status: Status{Runtime: new(Seconds(299))}},
			start: true, urgent: true, reason: "lasts for 4 min and the shutdown needs 5 min"},
		{name: "runtime unknown", policy: patient, r: Reading{Supply: Battery, For: 5}, in: time.Hour - 5*time.Second},
		{name: "little runtime on mains", policy: patient, r: Reading{Supply: Mains, Status: Status{Runtime: new(Seconds(0))}}, in: Never},
		{name: "charge at the floor", policy: patient, r: Reading{Supply: Battery, For: 5, Status: Status{Charge: new(0.20), Runtime: &long}},
			in: time.Hour - 5*time.Second},
		{name: "charge under the floor", policy: patient, r: Reading{Supply: Battery, For: 5, Status: Status{Charge: new(0.19), Runtime: &long}},
			start: true, reason: "down to 19 percent"},
		{name: "no charge on mains", policy: patient, r: Reading{Supply: Mains, Status: Status{Charge: new(0.0)}}, in: Never},

		{name: "charge under the floor in a blip", policy: patient,
			r: Reading{Supply: Battery, For: 1.5, Status: Status{Charge: new(0.05), Runtime: &long}}, in: 500 * time.Millisecond},
		{name: "charge under the floor in a blip, and low", policy: patient,
			r:     Reading{Supply: Battery, For: 1, LowFor: new(Seconds(1)), Status: Status{Charge: new(0.05), Runtime: &long}},
			start: true, reason: "down to 5 percent"},

		{name: "low for 9 s", policy: patient, r: Reading{Supply: Battery, For: 9, LowFor: new(Seconds(9))}, in: time.Second},
		{name: "low for 10 s", policy: patient, r: Reading{Supply: Battery, For: 9, LowFor: new(Seconds(10))},
			start: true, urgent: true, reason: "low for 10 s"},
		{name: "low for long", policy: patient, r: Reading{Supply: Battery, For: 900, LowFor: new(Seconds(840))},
			start: true, urgent: true, reason: "low for 14 min"},
		{name: "low on mains", policy: patient, r: Reading{Supply: Mains, LowFor: new(Seconds(60))}, in: Never},

		{name: "lost for 29 s", policy: patient, r: Reading{Supply: Battery, For: 40, LostFor: new(Seconds(29))}, in: time.Second},
		{name: "lost for 30 s", policy: patient, r: Reading{Supply: Battery, For: 40, LostFor: new(Seconds(30))},
			start: true, reason: "fell silent 30 s ago"},
		{name: "lost for long", policy: patient, r: Reading{Supply: Battery, For: 900, LostFor: new(Seconds(240))},
			start: true, reason: "the UPS was on battery when it fell silent 4 min ago"},
		{name: "lost on mains", policy: patient, r: Reading{Supply: Mains, LostFor: new(Seconds(3600))}, in: Never},
		{name: "lost in a self-test", policy: DefaultPolicy(), r: Reading{Supply: SelfTest, For: 5, LostFor: new(Seconds(0))}, in: 65 * time.Second},
		{name: "lost in a self-test for 40 s", policy: DefaultPolicy(), r: Reading{Supply: SelfTest, For: 45, LostFor: new(Seconds(40))},
			in: 25 * time.Second},
		{name: "lost at the end of a self-test", policy: DefaultPolicy(), r: Reading{Supply: SelfTest, For: 41, LostFor: new(Seconds(2))},
			in: 29 * time.Second},
		{name: "lost in a self-test for too long", policy: DefaultPolicy(), r: Reading{Supply: SelfTest, For: 70, LostFor: new(Seconds(65))},
			start: true, reason: "the UPS was in a self-test when it fell silent 65 s ago"},
		{name: "frozen numbers", policy: patient,
			r:  Reading{Supply: Battery, For: 5, LostFor: new(Seconds(4)), Status: Status{Charge: new(0.0), Runtime: new(Seconds(0))}},
			in: 26 * time.Second},
		{name: "silent over the ride-through", policy: DefaultPolicy(), r: Reading{Supply: Battery, For: 12, LostFor: new(Seconds(9))},
			in: 21 * time.Second},
		{name: "one answer missed at the ride-through", policy: DefaultPolicy(), r: Reading{Supply: Battery, For: 10, LostFor: new(Seconds(1))},
			start: true, reason: "out for 10 s"},
		{name: "S5: 3 s old is fresh", policy: DefaultPolicy(), r: Reading{Supply: Battery, For: 10, LostFor: new(Seconds(3))},
			start: true, reason: "out for 10 s"},
		{name: "S5: over 3 s old is not", policy: DefaultPolicy(), r: Reading{Supply: Battery, For: 10, LostFor: new(Seconds(3.1))},
			in: 26900 * time.Millisecond},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { checkVerdict(t, c.policy.Decide(c.r, need), c.start, c.urgent, c.reason, c.in) })
	}
}

// TestS2_WhatTheAnswersSayTogether outweighs the last of them.
func TestS2_WhatTheAnswersSayTogether(t *testing.T) {
	const need = 3 * time.Minute // and 2 min of margin
	patient := DefaultPolicy()
	patient.RideThrough = time.Hour
	s := func(n float64) *Seconds { return new(Seconds(n)) }
	for name, c := range map[string]struct {
		charge, runtime float64 // of the last answer; negative was not told
		course          Course
		low             *Seconds
		start, urgent   bool
		reason          string
	}{
		"runtime not held yet":           {1, 60, Course{}, nil, false, false, ""},
		"runtime not held, and low":      {1, 60, Course{}, s(0), true, true, "lasts for 60 s and the shutdown needs 5 min"},
		"runtime not held, charge was":   {0.4, 60, Course{Charge: new(0.49)}, nil, true, true, "lasts for 60 s"},
		"runtime not held, charge half":  {0.4, 60, Course{Charge: new(0.5)}, nil, false, false, ""},
		"runtime not held, charge new":   {0.4, 60, Course{}, nil, false, false, ""},
		"runtime held":                   {1, 60, Course{Runtime: s(61)}, nil, true, true, "lasts for 61 s and the shutdown needs 5 min"},
		"runtime held just under":        {1, 60, Course{Runtime: s(299)}, nil, true, true, "lasts for 4 min"},
		"runtime held at enough":         {1, 60, Course{Runtime: s(300)}, nil, false, false, ""},
		"runtime held, but not told now": {1, -1, Course{Runtime: s(61)}, nil, false, false, ""},
		"charge not held yet":            {0.1, -1, Course{}, nil, false, false, ""},
		"charge held":                    {0.1, -1, Course{Charge: new(0.19)}, nil, true, false, "down to 10 percent"},
		"charge held at the floor":       {0.1, -1, Course{Charge: new(0.2)}, nil, false, false, ""},
		"charge not held, and low":       {0.1, -1, Course{}, s(0), true, false, "down to 10 percent"},
		"charge held, but not told now":  {-1, -1, Course{Charge: new(0.1)}, nil, false, false, ""},
		"falls faster than told": {0.6, 2400, Course{Runtime: s(2400), Seen: s(180)}, nil, true, true,
			"the charge falls by 20 percent a minute, so the battery lasts for 3 min and the shutdown needs 5 min"},
		"falls, but for long enough":       {0.6, 2400, Course{Runtime: s(2400), Seen: s(300)}, nil, false, false, ""},
		"falls slower than told":           {0.6, 60, Course{Runtime: s(60), Seen: s(2000)}, nil, true, true, "the battery lasts for 60 s and"},
		"falls, and no runtime is told":    {0.6, -1, Course{Seen: s(120)}, nil, true, true, "falls by 30 percent a minute"},
		"has fallen to nothing":            {0, -1, Course{Seen: s(0)}, nil, true, true, "the charge has fallen to nothing, so the battery lasts for 0 s and the shutdown needs 5 min"},
		"falls, but the charge is not now": {-1, 2400, Course{Runtime: s(2400), Seen: s(120)}, nil, false, false, ""},
	} {
		r := Reading{Supply: Battery, For: 30, LowFor: c.low, Course: &c.course}
		if c.charge >= 0 {
			r.Charge = &c.charge
		}
		if c.runtime >= 0 {
			r.Runtime = s(c.runtime)
		}
		v := patient.Decide(r, need)
		if v.Start != c.start || v.Urgent != c.urgent || !strings.Contains(v.Reason, c.reason) || (v.Reason == "") == c.start {
			t.Errorf("%s: %+v", name, v)
		}
		r.For = Seconds(3600)
		if v := patient.Decide(r, need); !v.Start || v.Urgent != c.urgent || !strings.Contains(v.Reason, "out for 1 h") {
			t.Errorf("%s, ridden through: %+v", name, v)
		}
		r.For, r.LostFor = 30, s(2)
		if v := patient.Decide(r, need); v.Urgent {
			t.Errorf("%s, not heard for 2 s: %+v", name, v)
		}
	}
}

// TestS2_AChargeThatFallsSlowly is not said to fall by nothing.
func TestS2_AChargeThatFallsSlowly(t *testing.T) {
	for _, c := range []struct {
		charge, lasts float64
		want          string
	}{
		{0.6, 7200, "the charge falls by 0.5 percent a minute, so the battery lasts for 2 h "},
		{0.01, 7200, "the charge falls by 0.1 percent a minute, "},
		{0.949, 6000, "the charge falls by 0.9 percent a minute, "},
		{0.96, 6000, "the charge falls by 1 percent a minute, "},
	} {
		v := Policy{RideThrough: time.Hour}.Decide(Reading{Supply: Battery, For: 30, Status: Status{Charge: &c.charge}, Course: &Course{Seen: new(Seconds(c.lasts))}}, 3*time.Hour)
		if !v.Start || !strings.HasPrefix(v.Reason, c.want) {
			t.Errorf("%.3f over %.0f s: %+v, want %q", c.charge, c.lasts, v, c.want)
		}
	}
}

func checkVerdict(t *testing.T, v Verdict, start, urgent bool, reason string, in time.Duration) {
	t.Helper()
	if v.Start != start || v.Urgent != urgent || !strings.Contains(v.Reason, reason) || (v.Reason != "") != start {
		t.Errorf("verdict %+v, want start %v, urgent %v, reason with %q", v, start, urgent, reason)
	}
	if !start && (v.In-in).Abs() > time.Microsecond {
		t.Errorf("in %v, want %v", v.In, in)
	}
}

func TestU3_RuleSparesTestsUnlessTheBatteryIsLow(t *testing.T) {
	const need = 3 * time.Minute
	empty := Status{Charge: new(0.0), Runtime: new(Seconds(0))}
	for _, supply := range []Supply{SelfTest, Calibrates, Unknown} {
		never, low := Never, 6*time.Second
		if supply == SelfTest { // past 40 s it is an outage
			never, low = time.Second, time.Second
		}
		v := DefaultPolicy().Decide(Reading{Status: empty, Supply: supply, For: 39}, need)
		checkVerdict(t, v, false, false, "", never)
		v = DefaultPolicy().Decide(Reading{Status: empty, Supply: supply, For: 39, LowFor: new(Seconds(4))}, need)
		checkVerdict(t, v, false, false, "", low)
		v = DefaultPolicy().Decide(Reading{Status: empty, Supply: supply, For: 39, LowFor: new(Seconds(10))}, need)
		checkVerdict(t, v, true, true, "low for 10 s", 0)
	}
}

// TestU3_ATestThatIsTooLong is none: after 40 s, and while nothing is heard for as much longer
// as a silence takes to be danger.
func TestU3_ATestThatIsTooLong(t *testing.T) {
	p := DefaultPolicy()
	for _, tt := range []struct {
		r    Reading
		want bool
	}{
		{Reading{Supply: SelfTest, For: 39.9}, false},
		{Reading{Supply: SelfTest, For: 40}, true},
		{Reading{Supply: SelfTest, For: 41}, true},
		{Reading{Supply: Battery, For: 41}, false},
		{Reading{Supply: SelfTest, For: 69.9, LostFor: new(Seconds(40))}, false},
		{Reading{Supply: SelfTest, For: 70, LostFor: new(Seconds(40))}, true},
	} {
		if got := p.TooLong(tt.r); got != tt.want {
			t.Errorf("%+v is too long: %t", tt.r, got)
		}
	}
	v := p.Decide(Reading{Supply: SelfTest, For: 70, LostFor: new(Seconds(30))}, time.Minute)
	checkVerdict(t, v, true, false, "the UPS was in a self-test when it fell silent 30 s ago", 0)
}

// TestU5_WhenAUPSIsGone: half an hour after its battery is empty, of which half an hour is the
// least that is taken for granted.
func TestU5_WhenAUPSIsGone(t *testing.T) {
	for runtime, want := range map[*Seconds]time.Duration{nil: time.Hour, new(Seconds(600)): time.Hour, new(Seconds(3600)): 90 * time.Minute} {
		if got := (Reading{Status: Status{Runtime: runtime}}).GoneAfter(); got != want {
			t.Errorf("%v: gone after %v, want %v", runtime, got, want)
		}
	}
}

// In is when to ask again: never later than the plan must start, and after a few
// times of asking it has started, or never does.
func TestS2_AskingAgainWhenToldIsInTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seconds := func(name string) *Seconds {
			return rapid.Ptr(rapid.Map(rapid.IntRange(0, 60_000), func(ms int) Seconds { return Seconds(ms) / 1000 }), true).Draw(t, name)
		}
		r := Reading{
			Supply:  rapid.SampledFrom([]Supply{Unknown, Mains, Battery, SelfTest, Calibrates}).Draw(t, "supply"),
			For:     Seconds(rapid.IntRange(0, 60_000).Draw(t, "for")) / 1000,
			LowFor:  seconds("low"),
			LostFor: seconds("lost"),
		}
		r.Runtime = seconds("runtime")
		p := DefaultPolicy()
		for range 5 {
			v := p.Decide(r, time.Minute)
			switch {
			case v.Start && r.Supply == Mains:
				t.Fatalf("a shutdown on mains: %+v", v)
			case v.Start:
				return
			case v.In == Never:
				if p.Decide(r.Aged(24*time.Hour), time.Minute).Start {
					t.Fatalf("it was not to come: %+v", r)
				}
				return
			}
			if early := v.In - time.Millisecond; early > 0 && p.Decide(r.Aged(early), time.Minute).Start {
				t.Fatalf("started before %v: %+v", v.In, r)
			}
			r = r.Aged(v.In + time.Millisecond)
		}
		t.Fatalf("asked five times: %+v", r)
	})
}

// No sequence of answers whose last one says mains is a reason to shut down.
func TestU3_MainsIsNeverAReason(t *testing.T) {
	all := recorded(t)
	var names []string
	for name := range all {
		names = append(names, name)
	}
	rapid.Check(t, func(t *rapid.T) {
		var tr Tracker
		now := time.Unix(0, 0)
		for range rapid.IntRange(0, 20).Draw(t, "answers") {
			now = now.Add(time.Duration(rapid.IntRange(0, 60_000).Draw(t, "ms")) * time.Millisecond)
			if rapid.Bool().Draw(t, "silent") {
				tr.Silent(now)
				continue
			}
			r := tr.Observe(now, all[rapid.SampledFrom(names).Draw(t, "answer")])
			if err := r.Validate(); err != nil {
				t.Fatal(err)
			}
		}
		r := tr.Observe(now.Add(time.Second), all["online"])
		if v := DefaultPolicy().Decide(r, time.Minute); v.Start || r.Supply != Mains {
			t.Fatalf("%+v of %+v", v, r)
		}
	})
}
