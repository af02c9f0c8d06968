package brainwatch

import "time"

// blockedAfter is for how long no anchor must have answered while a brain did, to take them for
// blocked: a line that fails for a moment fails for both.
const blockedAfter = 5 * time.Minute

// Checked takes what a look has found in which a brain answered. Anchors that do not answer even
// then say nothing of the internet, such as behind a firewall: their silence is neither an outage
// of it (rule S0) nor the brain's excuse, so people must hear of it while they can.
func (w *Watch) Checked(now time.Time, online bool) []Event {
	switch {
	case online:
		return w.anchorsAnswer(now)
	case w.failing.IsZero():
		w.failing = now
	case !w.state.Blocked && now.Sub(w.failing) >= blockedAfter:
		return []Event{w.note(Event{Type: Blocked, At: now, Why: saidBlocked})}
	}
	return nil
}

func (w *Watch) anchorsAnswer(now time.Time) []Event {
	w.failing = time.Time{}
	if !w.state.Blocked {
		return nil
	}
	return []Event{w.note(Event{Type: Unblocked, At: now, Why: "an anchor answers again"})}
}
