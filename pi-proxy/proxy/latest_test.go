package proxy

import (
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/ups"
	"sentinel.home.arpa/shared/power"
)

// TestU5_AUPSThatIsGoneIsReportedAsInCalm, until it is heard to be on battery again.
func TestU5_AUPSThatIsGoneIsReportedAsInCalm(t *testing.T) {
	l := &latest{name: "rack", wake: make(chan struct{}, 1)}
	p := &Proxy{latest: []*latest{l}}
	lost := power.Seconds(3600)
	gone := ups.Observation{Reading: power.Reading{Supply: power.Battery, LostFor: &lost}}
	l.put(gone, 0)
	if l.calm() {
		t.Error("a lost UPS on battery counts as calm")
	}
	p.gone("rack")
	l.put(gone, 0)
	if !l.calm() {
		t.Error("one that is gone does not")
	}
	l.put(ups.Observation{Reading: power.Reading{Supply: power.Battery}}, 0)
	if l.calm() {
		t.Error("one that is back on battery does")
	}
}

// TestS5_AnObservationThatIsNotFreshIsToldAsLost: a blip of a second, and no poll since that says that it is over,
// is no outage by its age. To brains and other Pis it is a UPS that fell silent on battery (rule U5).
func TestS5_AnObservationThatIsNotFreshIsToldAsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, policy := &latest{name: "rack", wake: make(chan struct{}, 1)}, power.DefaultPolicy()
		l.put(ups.Observation{At: time.Now(), Reading: power.Reading{Supply: power.Battery}, Changed: true}, 0)
		for seconds := range 32 {
			told, _ := l.take()
			said, _ := l.now()
			for _, r := range []power.Reading{told.reading, said} {
				if fresh := seconds <= 3; fresh != (r.LostFor == nil) || !fresh && *r.LostFor != power.Seconds(seconds) || r.For != power.Seconds(seconds) {
					t.Errorf("after %d s: on battery for %v s, lost for %v", seconds, r.For, r.LostFor)
				}
				if v := policy.Decide(r, time.Minute); v.Start != (seconds >= 30) {
					t.Errorf("after %d s: %+v", seconds, v)
				}
			}
			time.Sleep(time.Second)
		}
	})
}

// TestS5_ATestIsNoOutageToTheRelay, nor to the orders for hosts, unless the plan may begin by it.
func TestS5_ATestIsNoOutageToTheRelay(t *testing.T) {
	low := power.Reading{Supply: power.Calibrates, For: 60, LowFor: new(power.Seconds(9))}
	lower := low
	lower.LowFor = new(power.Seconds(10))
	for name, c := range map[string]struct {
		desk   power.Reading
		called bool
	}{
		"mains":                             {power.Reading{Supply: power.Mains}, false},
		"mains, and contact lost":           {power.Reading{Supply: power.Mains}.Lost(time.Minute), false},
		"a self-test":                       {power.Reading{Supply: power.SelfTest, For: 20}, false},
		"a calibration":                     {power.Reading{Supply: power.Calibrates, For: 3000}, false},
		"a calibration, and contact lost":   {power.Reading{Supply: power.Calibrates}.Lost(time.Minute), false},
		"a calibration on a battery":        {low, false},
		"one that drains it":                {lower, true},
		"one that drains it, and lost":      {lower.Lost(5 * time.Second), true},
		"a self-test in which it was lost":  {power.Reading{Supply: power.SelfTest}.Lost(70 * time.Second), true},
		"a battery, and a moment's silence": {power.Reading{Supply: power.Battery}.Lost(4 * time.Second), true},
	} {
		p := &Proxy{guard: &guard{}}
		for ups, r := range map[string]power.Reading{"rack": {Supply: power.Mains}, "desk": c.desk} {
			l := &latest{name: ups, wake: make(chan struct{}, 1)}
			l.put(observed(r), 0)
			p.latest = append(p.latest, l)
		}
		if called, known := p.called(); called != c.called || !known || p.mains() == called {
			t.Errorf("%s: called %v, mains %v, known %v", name, called, p.mains(), known)
		}
	}
}

func observed(r power.Reading) ups.Observation { return ups.Observation{At: time.Now(), Reading: r} }
