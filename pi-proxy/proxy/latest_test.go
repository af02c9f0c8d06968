package proxy

import (
	"testing"

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
