package guardian_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/shutdown"
)

// TestU7_TheLoopIsWokenForTheSoonest of what each UPS brings, heard or silent.
func TestU7_TheLoopIsWokenForTheSoonest(t *testing.T) {
	again := func(s *street, lived time.Time) {
		s.g = guardian.New("pi")
		s.g.Order(s.now, wired())
		for _, e := range s.disk {
			s.g.Restore(e)
		}
		s.note(s.g.Restarted(s.now, lived, []string{"a", "b"}))
	}
	for name, c := range map[string]struct {
		after func(s *street)
		want  time.Duration
	}{
		"its ride-through": {func(s *street) { s.fails("a"); s.wait(1) }, 9 * time.Second},
		"of the first that fails": {func(s *street) {
			s.fails("a")
			s.wait(4)
			s.fails("b")
			s.wait(1)
		}, 5 * time.Second},
		"silence after a restart": {func(s *street) {
			s.fails("a")
			s.wait(4)
			again(s, s.now)
			s.note(s.g.Tick(s.now.Add(time.Second)))
		}, 30 * time.Second},
		"silence of one, ride-through of the other": {func(s *street) {
			s.fails("a")
			s.wait(1)
			again(s, s.now)
			s.note(s.g.Reported(s.now, "b", battery(0)))
		}, 10 * time.Second},
		"silence of one, the other on mains": {func(s *street) {
			s.fails("a")
			s.wait(1)
			again(s, s.now)
			s.note(s.g.Reported(s.now, "b", mains()))
		}, 30 * time.Second},
		"the brain's patience": {func(s *street) { s.fails("a"); s.wait(12) }, 8 * time.Second},
		"nothing on mains":     {func(s *street) { s.wait(1) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStreet(t, wired())
			s.wait(15)
			c.after(s)
			at, got := s.g.NextDeadline(), time.Duration(0)
			if !at.IsZero() {
				got = at.Sub(s.now)
			}
			if got != c.want {
				t.Errorf("woken after %s, want %s", got, c.want)
			}
		})
	}
}

// TestG6_EachPiHasItsTurnForWhatIsCalledForLater: the second waits 15 s longer than the first.
func TestG6_EachPiHasItsTurnForWhatIsCalledForLater(t *testing.T) {
	for _, c := range []struct {
		pis  []string
		want time.Duration
	}{{[]string{"pi"}, 20 * time.Second}, {[]string{"pi", "pi2"}, 20 * time.Second}, {[]string{"pi0", "pi"}, 35 * time.Second}} {
		o := wired()
		o.Pis = c.pis
		s := newStreet(t, o)
		s.wait(15)
		s.fails("a")
		s.wait(5)
		s.g.BrainFor([]string{"pve1"})
		brain := shutdown.Epoch{Counter: 4, Holder: "brain"}
		for range 8 {
			s.note(s.g.Mandated(s.now, brain, shutdown.Advancing))
			s.wait(1)
		}
		s.note(s.g.Mandated(s.now, brain, shutdown.HasEnded))
		s.wait(30)
		s.wants("")
		s.fails("b")
		at := s.now
		s.wait(60)
		began := s.all(shutdown.Began)
		if len(began) != 1 {
			t.Fatalf("%v: %d runs", c.pis, len(began))
		}
		if got := began[0].Event.At.Sub(at); got != c.want {
			t.Errorf("%v: it begins %s after b fails, want %s", c.pis, got, c.want)
		}
	}
}

// TestG7_ApcupsdsWordIsOfItsOwnUPSAlone: at its end a calls for what it feeds, not b.
func TestG7_ApcupsdsWordIsOfItsOwnUPSAlone(t *testing.T) {
	s := newStreet(t, wired())
	s.g.Hangs(guardian.Own{UPS: "a"})
	s.wait(15)
	s.fails("a")
	s.fails("b")
	es, err := s.g.Trip(s.now)
	if s.note(es); err != nil {
		t.Fatal(err)
	}
	s.wait(3)
	s.takes("pve1")
	s.wait(2)
	s.wants("pve1") // b has its ride-through
}

// TestU7_ARunOfAnOutageBeforeHeedsNothing: the Pi's own run is of the outage in which it began.
func TestU7_ARunOfAnOutageBeforeHeedsNothing(t *testing.T) {
	s := newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.wait(21)
	s.takes("pve1")
	s.isBack("a")
	s.wait(90)
	before := len(s.disk)
	s.fails("b")
	for range 90 {
		s.note(s.g.Mandated(s.now, shutdown.Epoch{Counter: 9, Holder: "brain"}, shutdown.Advancing))
		s.wait(1)
	}
	for _, e := range s.disk[before:] {
		switch e.Event.Type {
		case guardian.OnBattery, guardian.EpochSeen, guardian.OutageOver:
		default:
			t.Errorf("%s after the switch, while the brain acts: %v %s", e.Event.At.Sub(s.upses["b"]), e.Event.Type, e.Event.Why)
		}
	}
}

// TestS5_AWordOf3SecondsAgoIsActedUpon and of one that is older the Pi waits for what follows.
func TestS5_AWordOf3SecondsAgoIsActedUpon(t *testing.T) {
	dueAfter := 0
	for s := newStreet(t, wired()); s.told() == ""; dueAfter++ {
		if dueAfter == 0 {
			s.wait(15)
			s.fails("a")
		}
		s.wait(1)
	}
	for age, begins := range map[time.Duration]bool{3 * time.Second: true, 3*time.Second + time.Millisecond: false} {
		s := newStreet(t, wired())
		s.wait(15)
		s.fails("a")
		s.wait(dueAfter - 3)
		s.now = s.now.Add(age)
		s.note(s.g.Tick(s.now))
		if got := s.told(); (got != "") != begins {
			t.Errorf("by a word %s old it told %q", age, got)
		}
	}
}
