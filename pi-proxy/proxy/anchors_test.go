package proxy

import (
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/brainwatch"
	"sentinel.home.arpa/pi-proxy/internal/ledger"
)

// TestS0_AnchorsAreAskedWhileABrainAnswers now and then, and only what was found while one did counts as that.
func TestS0_AnchorsAreAskedWhileABrainAnswers(t *testing.T) {
	p := &Proxy{cfg: Config{Anchors: []string{"127.0.0.1:1", "127.0.0.1:2"}}}
	p.stored.Store(&ledger.Stored{})
	o := newOutside(p)
	now := time.Date(2031, 5, 6, 7, 0, 0, 0, time.UTC)
	o.core = brainwatch.New(brainwatch.DefaultTimes(), brainwatch.State{}, now)
	asks := func(want, answers bool) (es []brainwatch.Event) {
		t.Helper()
		o.core.Answered(now, "brain", false)
		o.lookOut(t.Context(), now, o.core.Outside(now))
		if o.looking != want {
			t.Fatalf("it asks: %v, at %s", o.looking, now.Format(time.TimeOnly))
		}
		if !want {
			return nil
		}
		input := <-o.inputs
		if answers {
			o.core.Answered(now.Add(500*time.Millisecond), "brain", false)
		}
		return input(now.Add(time.Second))
	}
	asks(true, false)
	now = now.Add(checkEach - time.Second)
	asks(false, false)
	now = now.Add(time.Second)
	asks(true, true)
	for range 5 {
		now = now.Add(checkAgain - time.Second)
		asks(false, false)
		now = now.Add(time.Second)
		if o.core.State().Blocked {
			t.Error("blocked too early")
		}
		if es := asks(true, true); len(es) > 0 && es[0].Type != brainwatch.Blocked {
			t.Errorf("told %+v", es)
		}
	}
	if !o.core.State().Blocked {
		t.Error("not blocked")
	}
}
