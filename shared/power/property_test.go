package power

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func drawPolicy(t *rapid.T) Policy {
	ms := func(most int, name string) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, name)) * time.Millisecond
	}
	if rapid.Bool().Draw(t, "default") {
		return DefaultPolicy()
	}
	return Policy{RideThrough: ms(90_000, "ride-through"), LowFor: ms(20_000, "low for"), LostFor: ms(60_000, "lost for"),
		RuntimeMargin: ms(60_000, "margin"), ChargeFloor: float64(rapid.IntRange(0, 100).Draw(t, "floor")) / 100}
}

func drawNeed(t *rapid.T) time.Duration {
	return time.Duration(rapid.IntRange(0, 60).Draw(t, "need")) * time.Second
}

func drawReading(t *rapid.T) Reading {
	seconds := func(name string) *Seconds {
		return rapid.Ptr(rapid.Map(rapid.IntRange(0, 70_000), func(ms int) Seconds { return Seconds(ms) / 1000 }), true).Draw(t, name)
	}
	share := func(name string) *float64 {
		return rapid.Ptr(rapid.Map(rapid.IntRange(0, 100), func(n int) float64 { return float64(n) / 100 }), true).Draw(t, name)
	}
	r := Reading{
		Supply:  rapid.SampledFrom([]Supply{Unknown, Mains, Battery, Battery, SelfTest, Calibrates}).Draw(t, "supply"),
		For:     Seconds(rapid.IntRange(0, 70_000).Draw(t, "for")) / 1000,
		LowFor:  seconds("low"),
		LostFor: seconds("lost"),
	}
	r.Runtime, r.Charge = seconds("runtime"), share("charge")
	if rapid.Bool().Draw(t, "course") {
		r.Course = &Course{seconds("held"), share("held charge"), seconds("seen")}
	}
	return r
}

// checkIn demands of a verdict, by how long after now it is asked for, that In is the first
// moment at which the passing of time alone makes it Start.
func checkIn(t *rapid.T, at func(time.Duration) Verdict) {
	v := at(0)
	if v.Start == (v.Reason == "") || v.Urgent && !v.Start {
		t.Fatalf("%+v", v)
	}
	before := time.Duration(rapid.Int64Range(0, int64(3*time.Minute)).Draw(t, "before"))
	switch {
	case v.Start && v.In != Never:
		t.Fatalf("it has started, and is to start in %s", v.In)
	case v.Start:
	case v.In == Never:
		if w := at(before); w.Start {
			t.Fatalf("it was not to come, and is there after %s: %+v", before, w)
		}
	case v.In <= 0:
		t.Fatalf("in %d ns", v.In)
	default:
		if w := at(v.In); !w.Start {
			t.Fatalf("nothing at %s: %+v", v.In, w)
		}
		for _, d := range []time.Duration{before % v.In, v.In - 1} {
			if w := at(d); w.Start {
				t.Fatalf("at %s already, and not at %s: %+v", d, v.In, w)
			}
		}
	}
}

// TestS2_InIsWhenItBegins: nothing begins before In by time alone, and something does at it.
func TestS2_InIsWhenItBegins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, need, r := drawPolicy(t), drawNeed(t), drawReading(t)
		checkIn(t, func(d time.Duration) Verdict { return p.Decide(r.Aged(d), need) })
	})
}

// TestS2_AReasonStaysWithTime: on battery, and heard, no passing of time takes a reason away
// or makes it less urgent; no more than a plan that needs longer does, or a lower battery.
func TestS2_AReasonStaysWithTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, need, r := drawPolicy(t), drawNeed(t), drawReading(t)
		r.Supply, r.LostFor = Battery, nil
		d := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "later"))
		was := p.Decide(r, need)
		worse := r
		if r.Runtime != nil {
			worse.Runtime = new(*r.Runtime / 2)
		}
		if r.Charge != nil {
			worse.Charge = new(*r.Charge / 2)
		}
		for what, v := range map[string]Verdict{
			"later": p.Decide(r.Aged(d), need), "a longer plan": p.Decide(r, need+d), "a lower battery": p.Decide(worse, need),
		} {
			if was.Start && !v.Start || was.Urgent && !v.Urgent {
				t.Errorf("%s: %+v after %+v", what, v, was)
			}
		}
	})
}

// TestS2_MainsBeginNothing, whatever else a reading says (invariant 1).
func TestS2_MainsBeginNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, need, r := drawPolicy(t), drawNeed(t), drawReading(t)
		r.Supply = Mains
		feeds := []Feed{{UPS: "apc1", Reading: &r}}
		for _, v := range []Verdict{p.Decide(r, need), p.DecideFed(AllCall, feeds, need), p.DecideFed(AnyCalls, feeds, need)} {
			if v != (Verdict{In: Never}) {
				t.Fatalf("%+v", v)
			}
		}
	})
}
