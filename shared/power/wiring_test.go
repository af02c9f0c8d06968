package power

import (
	"testing"
	"time"
)

// TestU7_Wiring is who is called for in a house of two UPSes of which it is said what they feed, and
// a third of which nobody says it: machine one hangs on a, both on a and b, other on neither.
func TestU7_Wiring(t *testing.T) {
	feeds := map[string][]string{"a": {"one", "both"}, "b": {"both"}}
	all, anyOf := Wire(feeds, nil), Wire(feeds, []string{"both"})
	mains := func(ups string) Feed { return Feed{UPS: ups, Reading: &Reading{Supply: Mains}, Standing: HasMains} }
	out := func(ups string) Feed {
		return Feed{UPS: ups, Reading: &Reading{Supply: Battery, For: 60}, Standing: StillCalls}
	}
	unknown := func(ups string) Feed { return Feed{UPS: ups} }
	for _, c := range []struct {
		name, machine string
		w             *Wiring
		known         []Feed
		called, holds bool
		spared        string
	}{
		{"its only one is out", "one", all, []Feed{out("a"), mains("b")}, true, true, ""},
		{"its only one has mains", "one", all, []Feed{mains("a"), out("b")}, false, false, "fed by a, which has mains"},
		{"its only one is not known", "one", all, []Feed{out("b")}, false, false, "fed by a, of which nothing certain is known"},
		{"one of two", "both", all, []Feed{out("a"), mains("b")}, false, false, "fed by a and b; b has mains"},
		{"one of two, the other unknown", "both", all, []Feed{out("a"), unknown("b")}, false, true, "fed by a and b; nothing certain is known of b"},
		{"both have mains", "both", all, []Feed{mains("a"), mains("b")}, false, false, "fed by a and b; a and b have mains"},
		{"both are out", "both", all, []Feed{out("a"), out("b")}, true, true, ""},
		{"any is enough", "both", anyOf, []Feed{out("a"), mains("b")}, true, true, ""},
		{"any, and none is out", "both", anyOf, []Feed{mains("a"), mains("b")}, false, false, "fed by a and b; a and b have mains"},
		{"one of which nobody says what it feeds", "one", all, []Feed{mains("a"), mains("b"), out("c")}, true, true, ""},
		{"fed by none that is said", "other", all, []Feed{mains("a"), out("b")}, true, true, ""},
		{"fed by none, and all have mains", "other", all, []Feed{mains("a"), mains("b")}, false, false, "fed by a and b; a and b have mains"},
		{"no UPS at all", "other", all, nil, false, false, "no UPS calls for it"},
		{"on battery, for too short", "one", all, []Feed{{UPS: "a", Reading: &Reading{Supply: Battery, For: 5}, Standing: StillCalls}}, false, true, "fed by a, which does not call for it yet"},
		{"its own word", "one", all, []Feed{{UPS: "a", Reading: &Reading{Supply: Battery, For: 1}, Standing: StillCalls, Word: "its end"}}, true, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := c.w.Decide(DefaultPolicy(), c.machine, c.known, time.Minute)
			if v.Start != c.called || v.Start && v.In != Never {
				t.Errorf("verdict %+v", v)
			}
			if got := c.w.Holds(c.machine, c.known); got != c.holds {
				t.Errorf("holds %t", got)
			}
			if got := c.w.Spared(c.machine, c.known); c.spared != "" && got != c.spared {
				t.Errorf("spared: %q, want %q", got, c.spared)
			}
		})
	}
	if Wire(map[string][]string{"a": {"one"}}, nil) != nil {
		t.Error("one UPS alone is wired")
	}
	soon := []Feed{{UPS: "a", Reading: &Reading{Supply: Battery, For: 4}}}
	if v := all.Decide(DefaultPolicy(), "one", soon, time.Minute); v.Start || v.In != 6*time.Second {
		t.Errorf("in 6 s: %+v", v)
	}
}

// TestS5_WhetherAReadingStillCalls: a test does only where the policy begins by it, or did when it fell silent.
func TestS5_WhetherAReadingStillCalls(t *testing.T) {
	low := func(s Supply, d Seconds) Reading { return Reading{Supply: s, For: 30, LowFor: &d} }
	for name, c := range map[string]struct {
		r    Reading
		want Standing
	}{
		"unknown":                            {Reading{Supply: Unknown}, Unsure},
		"mains":                              {Reading{Supply: Mains}, HasMains},
		"mains, lost":                        {Reading{Supply: Mains}.Lost(0), Unsure},
		"battery":                            {Reading{Supply: Battery}, StillCalls},
		"battery, lost":                      {Reading{Supply: Battery}.Lost(time.Hour), StillCalls},
		"self-test":                          {Reading{Supply: SelfTest, For: 39}, HasMains},
		"self-test that is too long":         {Reading{Supply: SelfTest, For: 40}, StillCalls},
		"self-test, lost":                    {Reading{Supply: SelfTest, For: 5}.Lost(64 * time.Second), HasMains},
		"self-test, lost for too long":       {Reading{Supply: SelfTest, For: 5}.Lost(65 * time.Second), StillCalls},
		"calibration, low":                   {low(Calibrates, 9), HasMains},
		"calibration, low for 10 s":          {low(Calibrates, 10), StillCalls},
		"calibration, low and lost":          {low(Calibrates, 9).Lost(20 * time.Second), HasMains},
		"calibration, low and lost for 30 s": {low(Calibrates, 9).Lost(30 * time.Second), StillCalls},
		"calibration, low for 10 s and lost": {low(Calibrates, 10).Lost(4 * time.Second), StillCalls},
	} {
		before := c.r
		if got := DefaultPolicy().Stands(c.r, time.Minute); got != c.want || c.r.For != before.For {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
