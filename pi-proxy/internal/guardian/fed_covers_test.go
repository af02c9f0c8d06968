package guardian_test

import (
	"testing"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/shutdown"
)

var brainsRun = shutdown.Epoch{Counter: 9, Holder: "brain"}

// saysThrice has the brain say three times that its run is over, and whom it was for.
func (s *street) saysThrice(state shutdown.State, names ...string) {
	for range 3 {
		s.g.BrainFor(names)
		s.note(s.g.Mandated(s.now, brainsRun, state))
		s.wait(1)
	}
}

// TestG2_EachThatTheBrainsRunWasForIsNotedOnce, as its scope grows, up to a stop.
func TestG2_EachThatTheBrainsRunWasForIsNotedOnce(t *testing.T) {
	s := newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.wait(12)
	noted := func(want int, of string) {
		t.Helper()
		n := 0
		for _, e := range s.disk {
			if e.Event.Type == guardian.BrainDone {
				n++
			}
		}
		if n != want {
			t.Errorf("%s: %d notes that the brain's run is over, want %d", of, n, want)
		}
	}
	s.saysThrice(shutdown.HasEnded, "pve1")
	noted(1, "for pve1")
	s.saysThrice(shutdown.HasEnded, "pve1", "pve2")
	noted(1, "for pve2, which has mains")
	s.fails("b")
	s.saysThrice(shutdown.HasEnded, "pve1", "pve2")
	noted(2, "for pve2 too")
	s.saysThrice(shutdown.HasEnded, "pve2")
	noted(2, "for what is known")
	s.wait(40)
	s.wants("pve3")

	s = newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.wait(12)
	s.saysThrice(shutdown.HasEnded, "pve1")
	s.saysThrice(shutdown.Stopped, "pve1")
	noted(2, "stopped")
	s.fails("b")
	s.wait(40)
	s.wants("")

	s = newStreet(t, orders())
	s.wait(15)
	s.fails("a")
	s.wait(12)
	s.saysThrice(shutdown.HasEnded)
	s.saysThrice(shutdown.Stopped)
	noted(1, "without wiring")
}

// TestG2_WhatTheBrainsRunWasForOverARestart: a UPS that is not heard yet does not count as one that is back.
func TestG2_WhatTheBrainsRunWasForOverARestart(t *testing.T) {
	s := newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.wait(12)
	s.saysThrice(shutdown.HasEnded, "pve1")
	s.g = guardian.New("pi")
	s.note(s.g.Order(s.now, wired()))
	for _, e := range s.disk {
		s.g.Restore(e)
	}
	s.note(s.g.Restarted(s.now, s.now, []string{"a", "b"}))
	for range 5 {
		s.now = s.now.Add(1e9)
		s.note(s.g.Reported(s.now, "b", mains()))
	}
	s.wait(60)
	s.wants("")
}

// TestU7_APlanThatNoLongerSaysWhatFeedsWhom: what was known of another's run does no harm.
func TestU7_APlanThatNoLongerSaysWhatFeedsWhom(t *testing.T) {
	s := newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.wait(12)
	s.saysThrice(shutdown.HasEnded, "pve1")
	o := wired()
	o.Plan.Wiring = nil
	s.note(s.g.Order(s.now, o))
	s.wait(60)
	s.wants("") // as the outage has had its run
}

// TestU7_WhenTheOldRunIsNotGoneOnWith but a new one begins for whom b feeds: where the old one was of an
// outage before, or another epoch came since.
func TestU7_WhenTheOldRunIsNotGoneOnWith(t *testing.T) {
	first := func(t *testing.T) *street {
		s := newStreet(t, wired())
		s.wait(15)
		s.fails("a")
		s.wait(21)
		s.takes("pve1")
		if s.wait(1); !s.g.Run.Finished {
			t.Fatal("the first run is not through")
		}
		return s
	}
	second := func(t *testing.T, s *street, told string) {
		s.fails("b")
		s.wait(30)
		s.takes("pve2", "pve3")
		if s.wants(told); len(s.all(shutdown.Began)) != 2 {
			t.Errorf("%d runs, want 2", len(s.all(shutdown.Began)))
		}
	}
	t.Run("of an outage before", func(t *testing.T) {
		s := first(t)
		s.isBack("a")
		s.wait(300)
		s.fails("a")
		s.wait(12)
		s.saysThrice(shutdown.HasEnded, "pve1")
		second(t, s, "pve1 pve2 pve3")
	})
	t.Run("another epoch came", func(t *testing.T) {
		s := first(t)
		s.note(s.g.Mandated(s.now, brainsRun, shutdown.None))
		second(t, s, "pve1 pve2 pve3")
	})
}

// TestG2_WhatIsBackIsNotNotedAgain: the brain still says that its run was for what b feeds, which has mains;
// out again it is told.
func TestG2_WhatIsBackIsNotNotedAgain(t *testing.T) {
	s := newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.fails("b")
	s.wait(12)
	all := []string{"pve1", "pve2", "pve3"}
	s.saysThrice(shutdown.HasEnded, all...)
	s.isBack("b")
	s.wait(2)
	before := len(s.disk)
	for range 20 {
		s.saysThrice(shutdown.HasEnded, all...)
	}
	if n := len(s.disk) - before; n != 0 {
		t.Errorf("%d more events in a minute: %v", n, s.disk[before:])
	}
	s.fails("b")
	s.wait(30)
	s.takes("pve2", "pve3")
	s.wants("pve2 pve3")
}

// TestG6_APiNamesWhomTheRunOfThisOutageWasFor, not whom its own of the outage before was.
func TestG6_APiNamesWhomTheRunOfThisOutageWasFor(t *testing.T) {
	s := newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.wait(21)
	s.takes("pve1")
	if w := s.g.Says(s.now); len(w.Scope) != 1 || w.Scope[0] != "pve1" {
		t.Errorf("in its own it names %v", w.Scope)
	}
	s.isBack("a")
	s.wait(300)
	s.fails("b")
	s.wait(12)
	s.saysThrice(shutdown.HasEnded, "pve2", "pve3")
	if w := s.g.Says(s.now); len(w.Scope) != 1 || w.Scope[0] != "pve2" { // pve3 has mains by a
		t.Errorf("of the brain's it names %v", w.Scope)
	}
}

// TestS10_ThePisRunKeepsWhatFeedsWhom where a new bundle says so no more: who has mains by then is told
// nothing, who is called for later is, and a later epoch holds both back.
func TestS10_ThePisRunKeepsWhatFeedsWhom(t *testing.T) {
	unwired := wired()
	unwired.Plan.Wiring = nil
	t.Run("one has mains", func(t *testing.T) {
		s := newStreet(t, wired())
		s.wait(15)
		s.fails("a")
		s.fails("b")
		s.wait(21)
		s.note(s.g.Order(s.now, unwired))
		s.isBack("b")
		s.wait(1)
		s.takes("pve1")
		s.wait(30)
		s.takes("pve2", "pve3")
		s.wait(5)
		s.wants("pve1")
		if !s.g.Run.Finished || s.g.Run.Left["pve2"] == "" {
			t.Errorf("the run is %+v", s.g.Run)
		}
	})
	for name, at := range map[string]int{"in it": 0, "after its end": 1} {
		t.Run("another is called for "+name, func(t *testing.T) {
			s := newStreet(t, wired())
			s.wait(15)
			s.fails("a")
			s.wait(21)
			for range at {
				s.takes("pve1")
				s.wait(1)
			}
			s.note(s.g.Order(s.now, unwired))
			s.fails("b")
			s.wait(12)
			s.takes("pve1")
			s.wait(12)
			s.takes("pve2", "pve3")
			s.wait(5)
			s.wants("pve1 pve2 pve3")
			if n := len(s.all(shutdown.Began)); n != 1 {
				t.Errorf("%d runs", n)
			}
		})
	}
	t.Run("over a restart", func(t *testing.T) {
		s := newStreet(t, wired())
		s.wait(15)
		s.fails("a")
		s.wait(21)
		s.takes("pve1")
		s.wait(1)
		s.g = guardian.New("pi")
		s.g.Order(s.now, unwired)
		for _, e := range s.disk {
			s.g.Restore(e)
		}
		s.note(s.g.Restarted(s.now, s.now, []string{"a", "b"}))
		s.wait(60) // b has mains all along
		s.wants("pve1")
	})
	t.Run("another epoch came", func(t *testing.T) {
		s := newStreet(t, wired())
		s.wait(15)
		s.fails("a")
		s.wait(21)
		s.takes("pve1")
		s.wait(1)
		s.note(s.g.Order(s.now, unwired))
		s.note(s.g.Mandated(s.now, brainsRun, shutdown.None))
		s.fails("b")
		s.wait(60)
		s.wants("pve1") // the outage has had its run, as the new plan has it
	})
}
