package shutdown_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

// TestS0_TheReasonIsTheTrueOne while the power joins a run that was begun for another cause, and leaves it.
func TestS0_TheReasonIsTheTrueOne(t *testing.T) {
	at := time.Date(2026, 11, 21, 19, 2, 11, 0, time.UTC)
	r := shutdown.Start(shutdown.Event{Type: shutdown.Began, At: at, Run: &shutdown.Header{Reason: "pve2 failed", On: shutdown.ForFailure}})
	check := func(reason string, on shutdown.Cause, from time.Time) {
		t.Helper()
		s := r.Status(at, shutdown.Epoch{})
		if s.Reason != reason || s.On != on || !r.From().Equal(from) || r.ForPower() != (on == shutdown.ForPower) {
			t.Errorf("%q for %q, since %s", s.Reason, s.On, r.From())
		}
	}
	check("pve2 failed", shutdown.ForFailure, at)
	r.Apply(shutdown.Event{Type: shutdown.PowerJoined, At: at.Add(time.Minute), Why: "the power has been out for 10 s"})
	check("pve2 failed; by now also because the power has been out for 10 s", shutdown.ForPower, at.Add(time.Minute))
	r.Apply(shutdown.Event{Type: shutdown.PowerLeft, At: at.Add(2 * time.Minute)})
	check("pve2 failed", shutdown.ForFailure, at)
}
