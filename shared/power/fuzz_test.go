package power

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"testing"
	"time"
)

// FuzzReading: a reading from outside that passes leads to times that can be, and starts
// nothing on mains (invariant 1).
func FuzzReading(f *testing.F) {
	f.Add([]byte(`{"flags":16,"charge_ratio":0.5,"runtime_s":60,"supply":"battery","for_s":12}`), int64(0))
	f.Add([]byte(`{"flags":8,"supply":"mains","for_s":0,"low_for_s":100}`), int64(time.Hour))
	f.Add([]byte(`{"flags":80,"supply":"battery","for_s":1,"low_for_s":1e5,"lost_for_s":40}`), int64(1))
	f.Add([]byte(`{"supply":"self-test","for_s":39.99999}`), int64(-5))
	f.Add([]byte(`{"supply":"","lost_for_s":1e8,"stale_s":1e-300}`), int64(math.MaxInt64))
	f.Add([]byte(`{"charge_ratio":0.1,"runtime_s":9,"supply":"battery","for_s":1,"course":{"runtime_s":9,"charge_ratio":0.1,"seen_s":1e-9}}`), int64(2))
	f.Add([]byte(`{"supply":"calibration","for_s":1,"lost_for_s":2.9,"course":{"seen_s":700000}}`), int64(2))
	f.Fuzz(func(t *testing.T, data []byte, later int64) {
		var r Reading
		if json.Unmarshal(data, &r) != nil || r.Validate() != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("what was read cannot be sent: %v", err)
		}
		var same Reading
		if json.Unmarshal(again, &same) != nil || same.Validate() != nil {
			t.Fatalf("what was sent cannot be read: %s", again)
		}
		d := time.Duration(later % int64(30*24*time.Hour))
		for _, x := range []Reading{r, r.Aged(d), r.Lost(d)} {
			if x.For.Duration() < 0 || x.LostFor != nil && x.LostFor.Duration() < 0 || x.LowFor != nil && x.LowFor.Duration() < 0 {
				t.Errorf("a time before it began: %+v", x)
			}
			v := DefaultPolicy().Decide(x, time.Minute)
			if v.Start && x.Supply == Mains {
				t.Errorf("starts on mains: %+v %+v", v, x)
			}
			if v.Start == (v.Reason == "") || v.In < Never || v.In == 0 || len(v.Reason) > 300 {
				t.Errorf("%+v of %+v", v, x)
			}
			if fed := DefaultPolicy().DecideFed(AllCall, []Feed{{UPS: "apc1", Reading: &x}}, time.Minute); fed.Start && !v.Start {
				t.Errorf("%+v of one feed, and %+v of %+v", fed, v, x)
			}
		}
	})
}

// FuzzTracker: whatever a UPS says and when, also numbers that cannot be, what is made of it
// can be sent, starts nothing on mains (invariant 1), and counts no time twice.
func FuzzTracker(f *testing.F) {
	f.Add([]byte{12, 10, 71, 19, 8, 10, 71, 0, 8, 10, 70, 0})
	f.Add([]byte{8, 0, 250, 251, 8, 255, 252, 253, 200, 1, 0, 0, 12, 1, 1, 1})
	f.Add([]byte{2, 100, 50, 9, 8, 1, 20, 1, 8, 30, 10, 1})
	all := recorded(f)
	names := slices.Sorted(maps.Keys(all))
	f.Fuzz(func(t *testing.T, steps []byte) {
		var tracker Tracker
		now := time.Unix(1_000_000, 0)
		first := now
		for ; len(steps) >= 4; steps = steps[4:] {
			now = now.Add(time.Duration(steps[1]) * 100 * time.Millisecond)
			var r Reading
			if steps[0] >= 200 {
				r = tracker.Silent(now)
			} else {
				s := all[names[int(steps[0])%len(names)]]
				s.Charge, s.Runtime = oddly(steps[2], 0.01), (*Seconds)(oddly(steps[3], 10))
				r = tracker.Observe(now, s)
			}
			if err := r.Validate(); err != nil {
				t.Fatalf("%v: %+v", err, r)
			}
			if r.For.Duration() > now.Sub(first)+time.Microsecond {
				t.Fatalf("for %s, and watched for %s", r.For.Duration(), now.Sub(first))
			}
			v := DefaultPolicy().Decide(r, time.Minute)
			if v.Start && r.Supply == Mains {
				t.Fatalf("starts on mains: %+v", r)
			}
			if v.Start && r.LowFor == nil && r.LostFor == nil && r.For < 1.9 && (r.Course.Charge == nil || *r.Course.Charge >= halfFull) && (r.Course.Seen == nil) {
				t.Fatalf("%+v by one answer: %+v", v, r)
			}
		}
	})
}

// oddly is a number of a UPS, among them such as cannot be.
func oddly(b byte, unit float64) *float64 {
	switch b {
	case 250:
		return nil
	case 251:
		return new(math.NaN())
	case 252:
		return new(math.Inf(1))
	case 253:
		return new(math.Inf(-1))
	case 254:
		return new(-1.0)
	}
	return new(float64(b) * unit)
}
