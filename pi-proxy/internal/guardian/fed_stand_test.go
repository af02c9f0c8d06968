package guardian_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// TestS5_WhatAUPSMayStillBeAReasonFor: both UPSes are out, pve1 is told, and b says something else
// before the turn of what it feeds has come.
func TestS5_WhatAUPSMayStillBeAReasonFor(t *testing.T) {
	lost := func(r power.Reading) power.Reading { return r.Lost(5 * time.Second) }
	for name, c := range map[string]struct {
		says power.Reading
		told string
	}{
		"battery":                      {battery(0), "pve1 pve2 pve3"},
		"battery, and contact lost":    {lost(battery(0)), "pve1 pve2 pve3"},
		"mains":                        {mains(), "pve1"},
		"mains, and contact lost":      {lost(mains()), "pve1 pve3"}, // which was called for by both
		"a self-test":                  {power.Reading{Supply: power.SelfTest}, "pve1"},
		"a calibration":                {power.Reading{Supply: power.Calibrates}, "pve1"},
		"a self-test that is too long": {power.Reading{Supply: power.SelfTest, For: 60}, "pve1 pve2 pve3"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStreet(t, wired())
			s.wait(15)
			s.fails("a")
			s.fails("b")
			s.wait(21)
			s.wants("pve1")
			for i := range 8 {
				s.now = s.now.Add(time.Second)
				s.note(s.g.Reported(s.now, "a", battery(s.now.Sub(s.upses["a"]))))
				s.note(s.g.Reported(s.now, "b", c.says))
				if i == 2 {
					s.takes("pve1")
				}
			}
			s.wants(c.told)
		})
	}
}

// TestU5_SilenceOfOneFeed after a restart is danger in its time, and nothing any more long after.
func TestU5_SilenceOfOneFeed(t *testing.T) {
	began := func(armed bool, arm time.Duration) time.Duration {
		o := wired()
		s := newStreet(t, o)
		s.wait(15)
		s.fails("a")
		s.wait(4)
		s.g = guardian.New("pi")
		o.Armed = armed
		s.note(s.g.Order(s.now, o))
		for _, e := range s.disk {
			s.g.Restore(e)
		}
		s.note(s.g.Restarted(s.now, s.now, []string{"a", "b"}))
		at := s.now
		for s.now.Sub(at) < arm+2*time.Minute {
			s.now = s.now.Add(time.Second)
			if s.now.Sub(at) == arm {
				o.Armed = true
				s.note(s.g.Order(s.now, o))
			}
			s.note(s.g.Reported(s.now, "b", mains()))
			s.note(s.g.Tick(s.now))
		}
		if all := s.all(shutdown.Began); len(all) > 0 {
			s.wants("pve1")
			return all[0].Event.At.Sub(at)
		}
		return 0
	}
	if got := began(true, 0); got != 40*time.Second {
		t.Errorf("a run began after %s, want 30 s of silence and 10 for the brain", got)
	}
	const tooLong = 30*time.Second + 5*time.Minute
	for after, want := range map[time.Duration]time.Duration{
		time.Minute:           time.Minute,
		tooLong - time.Second: tooLong - time.Second,
		tooLong:               0,
		time.Hour:             0,
	} {
		if got := began(false, after); got != want {
			t.Errorf("armed after %s of silence a run began after %s, want %s", after, got, want)
		}
	}
}
