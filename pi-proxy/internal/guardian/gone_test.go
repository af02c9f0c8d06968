package guardian_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// two is a house whose second UPS goes on speaking.
func two(t *testing.T) *house {
	h := newHouse(t, orders())
	h.restart(h.now, "other")
	h.note(h.g.Reported(h.now, "other", mains()))
	return h
}

// lose lets time pass in which the first UPS is polled in vain and the other says that, until
// the first is gone, and says when that was; 0: it is not.
func (h *house) lose(first power.Reading, other power.Reading, most time.Duration) time.Duration {
	const each = 10 * time.Second
	for lost := each; lost <= most; lost += each {
		h.now = h.now.Add(each)
		h.report(first.Lost(lost))
		h.note(h.g.Reported(h.now, "other", other))
		h.note(h.g.Tick(h.now))
		if len(h.all(guardian.Gone)) > 0 {
			return lost
		}
	}
	return 0
}

// TestU5_AUPSThatIsGoneHoldsNoOutageOpen: the next outage has its run, after a restart too,
// and the gone one is as any other once it speaks again.
func TestU5_AUPSThatIsGoneHoldsNoOutageOpen(t *testing.T) {
	long := battery(0)
	long.Runtime = new(power.InSeconds(45 * time.Minute))
	for name, c := range map[string]struct {
		last power.Reading
		want time.Duration
	}{
		"a runtime that nobody told": {battery(0), time.Hour},
		"a long one":                 {long, 75 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			h := two(t)
			h.cut()
			h.pass(25)
			h.beganAt(20 * time.Second)
			if got := h.lose(c.last, mains(), 3*time.Hour); got != c.want {
				t.Fatalf("it is gone after %v, want %v", got, c.want)
			}
			if over := h.all(guardian.OutageOver); len(over) != 1 || over[0].Event.At != h.now {
				t.Errorf("the outage is not over with it: %v", over)
			}
			if got := h.lose(c.last.Lost(c.want), mains(), time.Hour); got != 10*time.Second || len(h.all(guardian.Gone)) != 1 || len(h.all(guardian.OutageOver)) != 1 {
				t.Errorf("it is gone %d times, and the outage over %d times", len(h.all(guardian.Gone)), len(h.all(guardian.OutageOver)))
			}
			if out := h.g.Out(); len(out) > 0 {
				t.Errorf("on battery are %v", out)
			}
			h.restart(h.now, "other")
			for i := range 30 {
				h.now = h.now.Add(time.Second)
				h.note(h.g.Reported(h.now, "other", battery(time.Duration(i)*time.Second)))
			}
			if n := len(h.all(shutdown.Began)); n != 2 {
				t.Errorf("%d runs began in two outages", n)
			}
			h.report(battery(0))
			if out := h.g.Out(); len(out) != 2 {
				t.Errorf("it speaks again, and on battery are %v", out)
			}
		})
	}
}

// TestU5_WhoIsNotGone: one that is heard now and then, one of which nobody listened for so
// long, and another UPS's outage goes on without it.
func TestU5_WhoIsNotGone(t *testing.T) {
	h := two(t)
	h.cut()
	for range 3 {
		if got := h.lose(battery(0), mains(), 59*time.Minute); got != 0 {
			t.Fatalf("heard now and then, it is gone after %v", got)
		}
		h.report(battery(0))
	}
	h.lose(battery(0), mains(), 50*time.Minute)
	h.note(h.g.Resumed(h.now))
	if got := h.lose(battery(0).Lost(50*time.Minute), mains(), 59*time.Minute); got != 0 {
		t.Errorf("after a pause it is gone after %v", got)
	}
	h.restart(h.now, "other")
	if got := h.lose(power.Reading{Supply: power.Unknown}, mains(), 59*time.Minute); got != 0 {
		t.Errorf("after a restart it is gone after %v", got)
	}
	h.reboot()
	h.restart(time.Time{}, "other")
	if got := h.lose(power.Reading{Supply: power.Unknown}, battery(0), 3*time.Hour); got != time.Hour {
		t.Errorf("never heard by this process, it is gone after %v", got)
	}
	if n := len(h.all(guardian.OutageOver)); n > 0 || len(h.g.Out()) != 1 {
		t.Errorf("the other's outage is over, on battery are %v", h.g.Out())
	}
}

// TestU5_TheOnlyUPSThatIsGone: its outage is over, and should it ever be on battery again,
// that is another one.
func TestU5_TheOnlyUPSThatIsGone(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	h.pass(25)
	for lost := time.Minute; lost <= time.Hour; lost += time.Minute {
		h.now = h.now.Add(time.Minute)
		h.report(battery(0).Lost(lost))
		h.note(h.g.Tick(h.now))
	}
	if len(h.all(guardian.Gone)) != 1 || len(h.all(guardian.OutageOver)) != 1 {
		t.Errorf("it is gone %d times, and the outage over %d times", len(h.all(guardian.Gone)), len(h.all(guardian.OutageOver)))
	}
	h.cut()
	h.pass(25)
	h.beganAt(-time.Hour-5*time.Second, 20*time.Second)
}

// TestProperty_GoneAreThoseThatNobodyHears: with any two UPSes, as soon as that is so and
// not before.
func TestProperty_GoneAreThoseThatNobodyHears(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g, now := guardian.New("pi"), start
		names := []string{"a", "b"}
		since := map[string]time.Time{} // the last word, or when somebody began to listen
		listen := func() {
			for _, ups := range names {
				since[ups] = now
			}
		}
		listen()
		g.Restarted(now, time.Time{}, names)
		check := func(es []guardian.Event) {
			for _, e := range es {
				if e.Event.Type == guardian.Gone && now.Sub(since[e.Event.Target]) < time.Hour {
					t.Fatalf("U5: %s is gone after %v", e.Event.Target, now.Sub(since[e.Event.Target]))
				}
			}
			for _, ups := range g.Out() {
				if now.Sub(since[ups]) >= time.Hour {
					t.Fatalf("U5: %s still counts after %v", ups, now.Sub(since[ups]))
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"pass": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "minutes")) * time.Minute)
				check(g.Tick(now))
			},
			"report": func(t *rapid.T) {
				ups := rapid.SampledFrom(names).Draw(t, "ups")
				since[ups] = now
				check(append(g.Reported(now, ups, rapid.SampledFrom([]power.Reading{battery(0), mains()}).Draw(t, "reading")), g.Tick(now)...))
			},
			"pause": func(*rapid.T) { listen(); check(g.Resumed(now)) },
		})
	})
}
