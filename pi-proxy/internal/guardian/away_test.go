package guardian_test

import (
	"errors"
	"testing"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

// TestS4_ASwitchThatIsAwayEndsNoPlan: nodes that nobody reaches for the minute after the cut, as behind a
// switch that starts again, are told once it is there.
func TestS4_ASwitchThatIsAwayEndsNoPlan(t *testing.T) {
	h := newHouse(t, orders())
	h.cut()
	for range 60 {
		h.second()
		if h.g.Run == nil {
			continue
		}
		for _, n := range []string{"pve1", "pve2"} {
			silent := h.now.Sub(h.out)
			h.note(h.g.Answered(h.now, "node/"+n, nil, errors.New("no route to host")))
			h.note(h.g.Seen(h.now, "node/"+n, shutdown.Sight{Closed: true, SilentFor: &silent}))
		}
	}
	if h.g.Run.Over() {
		t.Error("the run is through, and nothing took a command")
	}
	for range 10 {
		h.second()
		for _, n := range []string{"pve1", "pve2"} {
			h.note(h.g.Answered(h.now, "node/"+n, nil, nil))
			h.note(h.g.Seen(h.now, "node/"+n, shutdown.Sight{Closed: true, SilentFor: new(5 * time.Second)}))
		}
	}
	if !h.g.Run.Finished {
		t.Errorf("the nodes took their commands and went: %+v", h.g.Run.Targets)
	}
}
