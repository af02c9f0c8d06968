package guardian_test

import (
	"slices"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// TestG2_ARunForWhoHasMainsIsNoneForAll: the brain's run was only for what b feeds, which has mains.
func TestG2_ARunForWhoHasMainsIsNoneForAll(t *testing.T) {
	s := newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.wait(12)
	s.saysThrice(shutdown.HasEnded, "pve2")
	if es := s.all(guardian.BrainDone); len(es) > 0 {
		t.Errorf("noted: %v", es)
	}
	s.wait(12)
	s.wants("pve1")
}

// TestG2_ThePisOwnRunStaysItsOwn where the brain's word that a run has ended names nobody: it is put back,
// and goes on for who is called for later.
func TestG2_ThePisOwnRunStaysItsOwn(t *testing.T) {
	s := newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.wait(21)
	s.takes("pve1")
	s.wait(1)
	s.g.BrainFor(nil)
	s.note(s.g.Mandated(s.now, shutdown.Epoch{Counter: s.g.Epoch.Counter, Holder: "brain"}, shutdown.HasEnded))
	if es := s.all(guardian.BrainDone); len(es) > 0 {
		t.Errorf("noted: %v", es)
	}
	s.fails("b")
	s.wait(22)
	s.wants("pve1 pve2 pve3")
	if n := len(s.all(shutdown.Began)); n != 1 {
		t.Errorf("%d runs", n)
	}
}

// TestU7_ARunThatWasForAllStaysThat under a plan that says since which UPS feeds whom: the brain's word of
// some takes nothing from what the Pi tells other Pis.
func TestU7_ARunThatWasForAllStaysThat(t *testing.T) {
	s := newStreet(t, orders())
	s.wait(15)
	s.fails("a")
	s.wait(21)
	s.takes("pve1")
	s.wait(1)
	s.takes("pve2")
	s.wait(1)
	if !s.g.Run.Finished {
		t.Fatal("the run is not through")
	}
	s.note(s.g.Order(s.now, wired()))
	s.saysThrice(shutdown.HasEnded, "pve1")
	if w := s.g.Says(s.now); w.State != shutdown.HasEnded || w.Scope != nil {
		t.Errorf("it says that the run was for %v", w.Scope)
	}
	s.fails("b")
	s.wait(60)
	if s.wants("pve1 pve2"); len(s.all(shutdown.Began)) != 1 {
		t.Errorf("%d runs", len(s.all(shutdown.Began)))
	}
}

// TestG2_AnEndIsOfNoOutageOfAFeedThatMayBeOver: after a start in which b is heard on mains, and a, which was on
// battery, is not: its silence is that outage's if the Pi was not booted, and may be of the next if it was.
func TestG2_AnEndIsOfNoOutageOfAFeedThatMayBeOver(t *testing.T) {
	for name, c := range map[string]struct {
		booted bool
		want   int
	}{"restarted": {false, 1}, "booted": {true, 0}} {
		s := newStreet(t, wired())
		s.wait(15)
		s.fails("a")
		s.wait(3)
		lived := s.now
		if c.booted {
			lived = time.Time{}
		}
		s.restart(lived, "a", "b")
		s.note(s.g.Reported(s.now, "b", mains()))
		s.g.BrainFor([]string{"pve1"})
		s.note(s.g.Mandated(s.now, brainsRun, shutdown.HasEnded))
		if got := len(s.all(guardian.BrainDone)); got != c.want {
			t.Errorf("%s: noted %d times, want %d", name, got, c.want)
		}
	}
}

// TestU7_AFeedIsKnownWhileItsReadingIsFresh, to the moment: the reason of rule S2 holds from then on.
func TestU7_AFeedIsKnownWhileItsReadingIsFresh(t *testing.T) {
	for old, want := range map[time.Duration]bool{power.Fresh: true, power.Fresh + 1: false} {
		s := newStreet(t, wired())
		s.wait(15)
		s.fails("a")
		s.wait(7)
		now := s.now.Add(old)
		s.note(s.g.Reported(now, "b", mains()))
		if got := s.g.NextDeadline().Sub(now) == 10*time.Second; got != want {
			t.Errorf("at a reading %s old the Pi waits %s", old, s.g.NextDeadline().Sub(now))
		}
	}
}

// TestU7_NothingIsTakenBackUnheard: the process ended before all of the outage's end came to disk, and the next
// one has heard no UPS yet.
func TestU7_NothingIsTakenBackUnheard(t *testing.T) {
	s := newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.wait(21)
	s.takes("pve1")
	s.wait(1)
	s.isBack("a")
	s.wait(1)
	for i, e := range s.disk {
		if e.Event.Type == guardian.OnMains {
			s.disk = s.disk[:i+1]
			break
		}
	}
	n := len(s.disk)
	s.restart(s.now, "a", "b")
	s.note(s.g.Tick(s.now.Add(time.Second)))
	if es := s.disk[n:]; len(es) > 0 {
		t.Errorf("events: %v", es)
	}
}

// TestU3_ASelfTestBeginsNothingForWhatAnotherPisUPSFeeds: as long as all that this Pi reads have mains, which they
// have in a test, another acts for b, which is on battery. Once its Pi is silent that is contact lost on battery.
func TestU3_ASelfTestBeginsNothingForWhatAnotherPisUPSFeeds(t *testing.T) {
	for name, silent := range map[string]bool{"its Pi speaks": false, "its Pi is silent": true} {
		o := among("pi", "pi2")
		o.Plan.Wiring = power.Wire(map[string][]string{"ups": {"pve1"}, "b": {"pve2"}}, nil)
		h := newHouse(t, o)
		h.andB(15, mains, other(mains()))
		h.andB(40, mains, other(battery(time.Minute)))
		h.out = h.now
		for i := range 120 {
			h.now = h.now.Add(time.Second)
			if !silent {
				h.said("pi2", other(battery(2*time.Minute)))
			}
			r := mains()
			if test := i - 40; test > 0 && test < 30 {
				r = power.Reading{Supply: power.SelfTest, For: power.InSeconds(time.Duration(test) * time.Second)}
			}
			h.report(r)
		}
		if silent {
			h.beganAt(40 * time.Second)
			if sent := slices.Compact(h.sent()); !slices.Equal(sent, []string{"node/pve2"}) {
				t.Errorf("%s: told %v", name, sent)
			}
			continue
		}
		h.beganAt()
		h.cut()
		h.pass(25)
		h.beganAt(10 * time.Second) // b has called all along
	}
}
