package power

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestU7_Feeds(t *testing.T) {
	const need = 3 * time.Minute
	policy := DefaultPolicy()
	mains := &Reading{Supply: Mains, For: 3600}
	blip := &Reading{Supply: Battery, For: 4}
	out := &Reading{Supply: Battery, For: 12}
	longer := &Reading{Supply: Battery, For: 70}
	flat := &Reading{Supply: Battery, For: 12, Status: Status{Runtime: new(Seconds(60))}}
	low := &Reading{Supply: Battery, For: 30, LowFor: new(Seconds(10))}
	gone := &Reading{Supply: Battery, For: 40, LostFor: new(Seconds(30))}
	going := &Reading{Supply: Battery, For: 40, LostFor: new(Seconds(25))}
	tests := &Reading{Supply: SelfTest, For: 5}
	unheard := &Reading{Supply: Mains, For: 3600, LostFor: new(Seconds(60))}
	unheardSoon := &Reading{Supply: Mains, For: 3600, LostFor: new(Seconds(2))}
	blank := &Reading{Supply: Unknown}
	lowTest := &Reading{Supply: Calibrates, For: 600, LowFor: new(Seconds(2))}
	silentTest := &Reading{Supply: Calibrates, For: 600, LostFor: new(Seconds(10))}
	silentLowTest := &Reading{Supply: Calibrates, For: 600, LowFor: new(Seconds(12)), LostFor: new(Seconds(10))}
	silentLowMains := &Reading{Supply: Mains, For: 600, LowFor: new(Seconds(12)), LostFor: new(Seconds(10))}
	cases := []struct {
		name   string
		by     Calling
		feeds  []*Reading // of apc1, apc2 and so on
		start  bool
		urgent bool
		reason string
		in     time.Duration
	}{
		{name: "on no UPS", feeds: nil, in: Never},
		{name: "one, on mains", feeds: []*Reading{mains}, in: Never},
		{name: "one, out: its own words", feeds: []*Reading{out}, start: true, reason: "the power has been out for 12 s"},
		{name: "one, unknown", feeds: []*Reading{nil}, in: Never},
		{name: "any of one", by: AnyCalls, feeds: []*Reading{out}, start: true, reason: "the power has been out for 12 s"},

		{name: "all: the other on mains", by: AllCall, feeds: []*Reading{out, mains}, in: Never},
		{name: "all: no time left, the other on mains", by: AllCall, feeds: []*Reading{flat, mains}, in: Never},
		{name: "all by default", feeds: []*Reading{out, blip}, in: 6 * time.Second},
		{name: "all: both", by: AllCall, feeds: []*Reading{out, longer}, start: true,
			reason: "apc1: the power has been out for 12 s; apc2: the power has been out for 70 s"},
		{name: "all: both, one with time left", feeds: []*Reading{flat, longer}, start: true, urgent: false, reason: "apc2: the power"},
		{name: "all: both without time", feeds: []*Reading{flat, low}, start: true, urgent: true, reason: "apc2: the UPS has called its battery low"},
		{name: "all: the other tests itself", feeds: []*Reading{out, tests}, in: 35 * time.Second},
		{name: "all: the other is silent on battery", feeds: []*Reading{out, going}, in: 5 * time.Second},
		{name: "all: the other fell silent on battery", feeds: []*Reading{out, gone}, start: true, reason: "apc2: the UPS was on battery when it fell silent"},
		{name: "all: the other calibrates with a low battery", feeds: []*Reading{out, lowTest}, in: 8 * time.Second},
		{name: "all: three, one on mains", feeds: []*Reading{flat, mains, flat}, in: Never},

		{name: "G6: the other unknown", feeds: []*Reading{out, nil}, in: Never},
		{name: "G6: the other never said", feeds: []*Reading{out, blank}, in: Never},
		{name: "G6: the other unheard since mains", feeds: []*Reading{out, unheard}, in: Never},
		{name: "G6: the known one short", feeds: []*Reading{flat, nil}, start: true, urgent: true, reason: "apc1: the power has been out for 12 s; nothing is known of apc2"},
		{name: "G6: the known one short, the other unheard since mains", feeds: []*Reading{flat, unheard}, start: true, urgent: true, reason: "nothing is known of apc2"},
		{name: "G6: the other silent in a calibration", feeds: []*Reading{flat, silentTest}, start: true, urgent: true, reason: "nothing is known of apc2"},
		{name: "G6: the other silent with a low battery", feeds: []*Reading{flat, silentLowTest}, in: 20 * time.Second},
		{name: "G6: the other silent with a low battery on mains", feeds: []*Reading{flat, silentLowMains}, start: true, urgent: true, reason: "nothing is known of apc2"},
		{name: "G6: the other counts for 3 s", feeds: []*Reading{flat, unheardSoon}, in: time.Second + 1},
		{name: "G6: the known one low", feeds: []*Reading{nil, low}, start: true, urgent: true, reason: "apc2: the UPS has called its battery low for 10 s; nothing is known of apc1"},
		{name: "G6: one short, one not, one unknown", feeds: []*Reading{flat, out, nil}, in: Never},
		{name: "U5: the known one fell silent on battery", feeds: []*Reading{gone, nil}, start: true, reason: "nothing is known of apc2"},
		{name: "U5: the known one falls silent on battery", feeds: []*Reading{going, nil}, in: 5 * time.Second},
		{name: "all unknown", feeds: []*Reading{nil, blank, unheard}, in: Never},

		{name: "any: the other on mains", by: AnyCalls, feeds: []*Reading{out, mains}, start: true, reason: "apc1: the power has been out for 12 s"},
		{name: "any: the other unknown", by: AnyCalls, feeds: []*Reading{nil, out}, start: true, reason: "apc2: the power has been out for 12 s"},
		{name: "any: the first that calls", by: AnyCalls, feeds: []*Reading{blip, longer, out}, start: true, reason: "apc2: the power has been out for 70 s"},
		{name: "any: the urgent one", by: AnyCalls, feeds: []*Reading{longer, low, flat}, start: true, urgent: true, reason: "apc2: the UPS has called"},
		{name: "any: the soonest", by: AnyCalls, feeds: []*Reading{tests, blip, mains}, in: 6 * time.Second},
		{name: "any: none", by: AnyCalls, feeds: []*Reading{mains, nil}, in: Never},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var feeds []Feed
			for i, r := range c.feeds {
				feeds = append(feeds, Feed{UPS: []string{"apc1", "apc2", "apc3"}[i], Reading: r})
			}
			v := policy.DecideFed(c.by, feeds, need)
			checkVerdict(t, v, c.start, c.urgent, c.reason, c.in)
			if len(feeds) == 1 && v.Start && v != policy.Decide(*c.feeds[0], need) {
				t.Errorf("a single UPS says %q", v.Reason)
			}
		})
	}
}

// TestU7_MainsOnOneFeedIsEnough: a target with redundant supplies stays up while one of them
// is known to be on mains; and In is right for several UPSes too.
func TestU7_MainsOnOneFeedIsEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, need := drawPolicy(t), drawNeed(t)
		var feeds []Feed
		onMains := false
		for range rapid.IntRange(0, 3).Draw(t, "feeds") {
			f := Feed{UPS: "apc"}
			if rapid.IntRange(0, 4).Draw(t, "known") > 0 {
				f.Reading = new(drawReading(t))
				onMains = onMains || f.Reading.Supply == Mains && f.Reading.LostFor == nil
			}
			feeds = append(feeds, f)
		}
		by := rapid.SampledFrom([]Calling{"", AllCall, AnyCalls}).Draw(t, "by")
		if v := p.DecideFed(by, feeds, need); by != AnyCalls && onMains && (v.Start || v.In != Never) {
			t.Fatalf("%+v with a feed on mains", v)
		}
		checkIn(t, func(d time.Duration) Verdict {
			later := make([]Feed, len(feeds))
			for i, f := range feeds {
				if later[i] = f; f.Reading != nil {
					later[i].Reading = new(f.Reading.Aged(d))
				}
			}
			return p.DecideFed(by, later, need)
		})
	})
}
