package brainwatch_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/brainwatch"
)

// TestS0_AnchorsThatAreBlockedAreNoInternetOutage: a brain that answered while they did not has shown
// that, also to a later process; once one answers they count again.
func TestS0_AnchorsThatAreBlockedAreNoInternetOutage(t *testing.T) {
	p := newPi(t)
	p.online = false
	p.live(10 * time.Minute)
	p.mustTell("+360s blocked")
	p.restart()
	p.answer = false
	p.live(time.Hour)
	if o := p.w.Outside(p.now); o.Internet != brainwatch.Unknown || o.Silent < 50*time.Minute {
		t.Errorf("%+v", o)
	}
	p.online = true
	p.live(5 * time.Second)
	p.online = false
	p.live(5 * time.Second)
	if o := p.w.Outside(p.now); o.Internet != brainwatch.Out {
		t.Errorf("%+v", o)
	}
	p.mustTell("+360s blocked", "+4205s unblocked")
}

// TestS0_ALineThatFailsIsNotBlocked, however often, if the brain is silent too or an anchor answers in between.
func TestS0_ALineThatFailsIsNotBlocked(t *testing.T) {
	for name, between := range map[string]func(p *pi){
		"the brain is silent": func(p *pi) { p.answer = false; p.live(15 * time.Second); p.answer = true },
		"an anchor answers":   func(p *pi) { p.online = true; p.live(time.Minute); p.online = false },
		"a pause":             func(p *pi) { p.w.Resumed(p.now) },
	} {
		p := newPi(t)
		p.online = false
		for range 10 {
			p.live(4 * time.Minute)
			between(p)
		}
		p.answer = false
		p.live(10 * time.Second)
		if o := p.w.Outside(p.now); o.Internet != brainwatch.Out || len(p.told) > 0 {
			t.Errorf("%s: %+v, told %v", name, o, p.told)
		}
	}
}
