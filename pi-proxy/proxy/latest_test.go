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
