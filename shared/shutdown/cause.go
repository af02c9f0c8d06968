package shutdown

import (
	"strings"
	"time"
)

// Cause is what a run was begun for, if not for the power (rule S0).
type Cause string

// The causes.
const (
	ForPower    Cause = ""
	ForFailure  Cause = "node_failure"
	ForInternet Cause = "internet_outage"
)

// The events of a run that was begun for another cause than the power.
const (
	PowerJoined EventType = "power_joined" // the power is out too, which is reason enough by itself
	PowerLeft   EventType = "power_left"   // the power is back, and the run's own cause goes on
)

// alsoBecause goes between a run's own reason and that of the power.
const alsoBecause = "; by now also because "

// ForPower reports whether the power is a reason of the run.
func (r *Run) ForPower() bool { return r.On == ForPower || !r.Joined.IsZero() }

// From is since when the power is a reason of the run, or else when it began.
func (r *Run) From() time.Time {
	if r.Joined.After(r.Begun) {
		return r.Joined
	}
	return r.Begun
}

// alone is the cause of a run of which the power is no reason.
func (r *Run) alone() Cause {
	if r.ForPower() {
		return ForPower
	}
	return r.On
}

func (r *Run) applyCause(e Event) {
	switch e.Type {
	case PowerJoined:
		r.Joined = e.At
		r.Reason += alsoBecause + e.Why
	case PowerLeft:
		r.Joined = time.Time{}
		r.Reason, _, _ = strings.Cut(r.Reason, alsoBecause)
	}
}

// Unreturned are the guests that a run which is over stopped and that nobody has been told to start
// again, since its cause goes on. The run that follows it owes them.
func (r *Run) Unreturned() []Target {
	if r == nil || r.On == ForPower || !r.Finished || r.Back != nil || r.DryRun {
		return nil
	}
	return r.owed()
}
