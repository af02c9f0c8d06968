package guardian_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/shutdown"
)

// TestG6_APiNamesTheRunOfThisOutage, the brain's, not its own of the outage before, nor who took that one's
// command.
func TestG6_APiNamesTheRunOfThisOutage(t *testing.T) {
	s := newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.wait(21)
	s.takes("pve1")
	s.isBack("a")
	s.wait(300)
	s.fails("b")
	s.wait(12)
	s.saysThrice(shutdown.HasEnded, "pve2", "pve3")
	if w := s.g.Says(s.now); w.State != shutdown.HasEnded || w.Epoch != brainsRun || w.Run != "" || len(w.Took) > 0 {
		t.Errorf("it says %+v", w)
	}
}

// TestG6_APiNamesWhoTookItsCommand, not whom it has told alone, nor guests.
func TestG6_APiNamesWhoTookItsCommand(t *testing.T) {
	h := newHouse(t, offlinePlan())
	h.cut()
	h.pass(21)
	h.guestDown()
	h.note(h.g.Answered(h.now, "listing/pve2", nil, nil))
	h.pass(1)
	if sent := h.sent(); !slices.Contains(sent, "guest/100") || !slices.Contains(sent, "node/pve1") {
		t.Fatalf("told are %v", sent)
	}
	if w := h.g.Says(h.now); len(w.Took) > 0 {
		t.Errorf("before a node has answered it names %v", w.Took)
	}
	h.note(h.g.Answered(h.now, "node/pve1", nil, nil))
	if w := h.g.Says(h.now); !slices.Equal(w.Took, []string{"node/pve1"}) {
		t.Errorf("it names %v", w.Took)
	}
}

// TestS10_APiTellsOfAStopUnderTheLaterEpoch: the brain's, where it stopped the Pi's run under one above its own.
func TestS10_APiTellsOfAStopUnderTheLaterEpoch(t *testing.T) {
	for counter, later := range map[uint64]bool{1: false, 2: true} {
		h := newHouse(t, orders())
		h.cut()
		h.pass(21)
		brain, want := shutdown.Epoch{Counter: counter, Holder: "brain"}, h.g.Epoch
		if later {
			want = brain
		}
		h.note(h.g.Stopped(h.now, shutdown.Stopped, h.g.Run.ID))
		h.note(h.g.Mandated(h.now, brain, shutdown.Stopped))
		if w := h.g.Says(h.now); w.State != shutdown.Stopped || w.Epoch != want {
			t.Errorf("stopped under %v it says %s under %v", brain, w.State, w.Epoch)
		}
	}
}

// TestG2_WhenARunIsOfThisOutage: another Pi's may have begun up to 2 s before the UPSes here were out, by
// whatever way its word was late.
func TestG2_WhenARunIsOfThisOutage(t *testing.T) {
	for _, c := range []struct {
		before, age time.Duration // how long before the outage here it began, and how old the word is
		want        int
	}{
		{0, 0, 1},
		{time.Second, 0, 1},
		{2 * time.Second, 0, 1},
		{2*time.Second + 1, 0, 0},
		{3 * time.Second, 5 * time.Second, 0},
		{time.Second, 5 * time.Second, 1},
	} {
		h := newHouse(t, among("pi1", "pi"))
		h.cut()
		h.pass(12)
		w := wordOf(shutdown.HasEnded, 7, "pi1")
		w.Age, w.Since = c.age, h.now.Sub(h.out)+c.before-c.age
		h.said("pi1", w)
		if got := len(h.all(guardian.PeerDone)); got != c.want {
			t.Errorf("it began %s before the outage, said %s ago: noted %d times, want %d", c.before, c.age, got, c.want)
		}
	}
}

// TestS5_AnotherPisWordOfThePisOwnRun is of no later one: it names who took the command of this one.
func TestS5_AnotherPisWordOfThePisOwnRun(t *testing.T) {
	for by, want := range map[uint64]int{0: 0, 1: 1} {
		h := newHouse(t, among("pi", "pi1"))
		h.cut()
		h.pass(21)
		h.note(h.g.Answered(h.now, "node/pve1", nil, nil))
		w := wordOf(shutdown.HasEnded, h.g.Epoch.Counter+by, h.g.Epoch.Holder)
		w.Took = []string{"node/pve1"}
		h.said("pi1", w)
		if got := len(h.all(guardian.PeerTold)); got != want {
			t.Errorf("under an epoch that is later by %d: noted %d times that it told machines", by, got)
		}
	}
}

// TestG1_WhyAPiTakesOver: of a brain that did act it is not said that it never did.
func TestG1_WhyAPiTakesOver(t *testing.T) {
	h := newHouse(t, among("pi", "pi1"))
	h.cut()
	h.pass(15, shutdown.Advancing)
	h.pass(15)
	if why := h.g.Run.Reason; !strings.HasSuffix(why, " and the brain's run has made no headway for 10 s") {
		t.Errorf("reason %q", why)
	}
}

// TestG1_WhyTheFirstListedBegins: it waits for the brain alone.
func TestG1_WhyTheFirstListedBegins(t *testing.T) {
	h := newHouse(t, among("pi", "pi1"))
	h.cut()
	h.pass(21)
	if why := h.g.Run.Reason; !strings.HasSuffix(why, " and the brain has not said that it acts") {
		t.Errorf("reason %q", why)
	}
}
