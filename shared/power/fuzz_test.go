package power

import (
	"encoding/json"
	"math"
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
			if v.Start == (v.Reason == "") || v.In < Never {
				t.Errorf("%+v of %+v", v, x)
			}
		}
	})
}
