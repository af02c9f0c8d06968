package guardian_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/shutdown"
)

// TestG1_ARunIsTakenOverOnce: a brain that is heard and makes no headway for one machine is taken over from. Once it
// has taken the plan back, it keeps it, however long it makes none: else the plan would begin anew for ever, and no
// stage would come to its end. When it falls silent it is taken over from as ever, and so it is in the next outage.
func TestG1_ARunIsTakenOverOnce(t *testing.T) {
	o := orders()
	for i := range o.Plan.Stages {
		o.Plan.Stages[i].Deadline = 3 * time.Minute
	}
	h := newHouse(t, o)
	brain := func(seconds int, counter uint64, run shutdown.State) {
		for range seconds {
			h.second()
			h.note(h.g.Mandated(h.now, shutdown.Epoch{Counter: counter, Holder: "brain"}, run))
		}
	}
	h.report(mains())
	h.cut()
	brain(10, 0, shutdown.None)
	brain(12, 1, shutdown.Begun)
	h.beganAt(20 * time.Second)
	if !h.g.Run.Takes || h.g.Epoch.Counter != 2 {
		t.Fatalf("%+v under %v", h.g.Run.Header, h.g.Epoch)
	}
	brain(1, 3, shutdown.Advancing)
	if !h.g.Run.Over() {
		t.Fatal("it does not yield")
	}
	brain(300, 3, shutdown.Begun)
	h.beganAt(20 * time.Second)
	h.pass(9)
	h.beganAt(20 * time.Second)
	h.pass(2)
	if n := len(h.began()); n != 2 {
		t.Errorf("a brain that is silent is not taken over from: %v", h.began())
	}
	brain(1, 5, shutdown.Advancing)
	h.now = h.now.Add(time.Second)
	h.report(mains())
	h.now = h.now.Add(time.Minute)
	h.report(mains())
	h.cut()
	n := len(h.began())
	brain(10, 5, shutdown.None)
	brain(12, 6, shutdown.Begun)
	if len(h.began()) != n+1 {
		t.Errorf("in the next outage nothing is taken over: %v", h.began())
	}
}

// TestG1_ARunOfAnotherPiIsTakenOverOnce: as of the brain's.
func TestG1_ARunOfAnotherPiIsTakenOverOnce(t *testing.T) {
	o := orders()
	o.Pis = []string{"pi2", "pi"}
	for i := range o.Plan.Stages {
		o.Plan.Stages[i].Deadline = 3 * time.Minute
	}
	h := newHouse(t, o)
	other := func(seconds int, counter uint64, run shutdown.State) {
		for range seconds {
			h.second()
			h.said("pi2", guardian.PeerWord{State: run, Epoch: shutdown.Epoch{Counter: counter, Holder: "pi2"}, Run: "r"})
		}
	}
	h.report(mains())
	h.cut()
	other(60, 1, shutdown.Begun)
	if n := len(h.began()); n != 1 || !h.g.Run.Takes {
		t.Fatalf("it began %d times", n)
	}
	other(1, 3, shutdown.Advancing)
	other(300, 3, shutdown.Begun)
	if n := len(h.began()); n != 1 {
		t.Errorf("it began %d times, though the other is heard", n)
	}
	h.pass(60)
	if n := len(h.began()); n != 2 {
		t.Errorf("it began %d times, though the other is silent", n)
	}
}
