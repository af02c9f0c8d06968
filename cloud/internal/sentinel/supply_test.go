package sentinel_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
)

// TestU5_UnknownKeepsTheOutage: a Pi that starts while its UPS is out of reach knows no
// supply. On battery that is contact lost from the last certain report on.
func TestU5_UnknownKeepsTheOutage(t *testing.T) {
	for _, known := range []power.Supply{power.Mains, power.Battery} {
		t.Run(string(known), func(t *testing.T) {
			cfg := home()
			cfg.Sites[0].Policy.RideThrough = 10 * time.Minute // nothing but lost contact begins the plan
			w := newWorld(t, cfg)
			w.step(sentinel.Started{})
			w.step(reported(power.Mains, 100, 0))
			w.pass(1100 * time.Millisecond)
			w.step(reported(known, 1, 0))
			certain := w.now
			for i := range 60 {
				w.pass(1100 * time.Millisecond)
				lost := power.Seconds(i)
				w.step(sentinel.UPSReported{Site: "home", Pi: "pi1", UPS: "apc1", Reading: power.Reading{Supply: power.Unknown, LostFor: &lost}})
			}
			site := w.state.Sites["home"]
			if u := site.UPSes["apc1"]; u.Supply != known || !u.Lost {
				t.Errorf("the UPS is on %s, contact lost %v; want %s, lost", u.Supply, u.Lost, known)
			}
			switch {
			case known == power.Mains && site.Run != nil:
				t.Errorf("a plan began on mains: %s", site.Run.Reason)
			case known == power.Battery && site.Run == nil:
				t.Error("no plan began")
			case known == power.Battery:
				if after := site.Run.Begun.Sub(certain); after < 29*time.Second || after > 33*time.Second {
					t.Errorf("the plan began %s after the last certain report, want 30 s", after)
				}
			}
		})
	}
}

// TestH8_RememberedOutage: what the journal remembers begins a plan without the UPS only
// if the brain was away for a short while.
func TestH8_RememberedOutage(t *testing.T) {
	for _, c := range []struct {
		away   time.Duration
		begins bool
	}{{time.Second, true}, {4 * time.Minute, true}, {6 * time.Minute, false}, {720 * time.Hour, false}} {
		for _, how := range []string{"restart", "pause"} {
			w := newWorld(t, home())
			w.step(sentinel.Started{})
			w.step(reported(power.Mains, 100, 0))
			w.pass(1100 * time.Millisecond)
			w.step(reported(power.Battery, 0, 0))
			if how == "restart" {
				w.restart(c.away)
			} else {
				w.pause(c.away)
			}
			w.pass(time.Minute)
			if site := w.state.Sites["home"]; (site.Run != nil) != c.begins {
				t.Errorf("after a %s of %s a plan began: %v, want %v", how, c.away, site.Run != nil, c.begins)
			}
		}
	}
}

// TestU6_ARefusedReportMakesNoUPS: of one that is only named in a report that comes too late,
// nothing is known.
func TestU6_ARefusedReportMakesNoUPS(t *testing.T) {
	w := newWorld(t, home())
	w.step(sentinel.UPSReported{Site: "home", Pi: "pi1", UPS: "old", Lag: time.Minute, Reading: power.Reading{Supply: power.Mains}})
	if w.state.Sites["home"].UPSes["old"] != nil {
		t.Error("the UPS is known")
	}
	w.checkReplay()
}
