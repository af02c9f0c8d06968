package guardian

import (
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// The events of an internet outage that begins the plan (rule S0).
const (
	// InternetBack: the internet is back, and its next outage may begin a run.
	InternetBack shutdown.EventType = "internet_back"
	// InternetRan: a run was begun in this outage of the internet, which needs no other.
	InternetRan shutdown.EventType = "internet_ran"
)

// outFresh is how old the last word that the internet is out may be for a command (rule S5).
const outFresh = 10 * time.Second

// Outside is what the Pi has found out of the internet. With neither Up nor Out it does not know.
type Outside struct {
	Up     bool          // a brain answers, or an anchor
	Out    bool          // neither does
	Silent time.Duration // since a brain last answered, or the Pi began to listen
}

// internet is what the guardian knows of it. The zero value is ready.
type internet struct {
	since time.Time // since when it is out, as this process heard without a break; zero: it is not, or that is not known
	found time.Time // when it was last found out
	ran   bool      // a run was begun in this outage of it, here or by another Pi
}

// Outside takes what was found out of the internet.
func (g *Guardian) Outside(now time.Time, o Outside) []Event {
	var es []Event
	switch {
	case o.Up:
		es = g.internetBack(now)
	case !o.Out:
		g.net.since = time.Time{}
	case g.net.since.IsZero():
		g.net.since, g.net.found = now, now
	default:
		g.net.found = now
	}
	if silent := now.Add(-o.Silent); o.Out && g.net.since.Before(silent) {
		g.net.since = silent
	}
	return append(es, g.Tick(now)...)
}

// offline reports whether the internet is out as of just now.
func (g *Guardian) offline(now time.Time) bool {
	return !g.net.since.IsZero() && now.Sub(g.net.found) <= outFresh
}

// ActsOffline reports whether the Pi's own run may tell machines to shut down also on mains, since the
// internet is out, for which it was begun.
func (g *Guardian) ActsOffline(now time.Time) bool {
	return g.open() && g.Run.On == shutdown.ForInternet && g.orders.Armed && g.offline(now)
}

// beginOffline begins the plan once the internet has been out for long enough, where the plan is to
// begin for that. If a UPS is not on mains, the power is reason enough or is waited for. Of several
// Pis each begins after the one listed before it.
func (g *Guardian) beginOffline(now time.Time) []Event {
	after := g.orders.InternetAfter
	if after == 0 || !g.guards() || g.net.ran || !g.offline(now) || !g.allMains() {
		return nil
	}
	if at := g.net.since.Add(after + time.Duration(g.place(""))*turnEach); now.Before(at) {
		g.wake = at
		return nil
	}
	reason := "the internet has been out for " + power.Spell(now.Sub(g.net.since)) + " and plan_on names " + string(shutdown.ForInternet)
	return append(g.start(now, shutdown.Header{On: shutdown.ForInternet, Reason: reason}), g.advance(now)...)
}

// peerOffline takes it that another Pi runs the plan in this outage of the internet.
func (g *Guardian) peerOffline(now time.Time, pi string) []Event {
	if g.orders.InternetAfter == 0 || g.net.ran || g.net.since.IsZero() || !g.allMains() || g.open() {
		return nil
	}
	return g.note(g.Epoch, shutdown.Event{Type: InternetRan, At: now, Why: pi + " runs the plan"})
}

// joinPower has an open run that was begun for the internet be for the power too, once that is out: there
// are never two at once. Its epoch is raised, since what other Pis knew of on mains is of no outage of
// the power to them: once it is through they would begin another (rule G2).
func (g *Guardian) joinPower(now time.Time) []Event {
	if g.Run.ForPower() {
		return nil
	}
	v, _ := g.decide(now)
	if !v.Start {
		return nil
	}
	g.holds = now
	epoch := shutdown.Epoch{Counter: g.known().Counter + 1, Holder: g.self}
	return g.note(epoch, shutdown.Event{Type: shutdown.PowerJoined, At: now, Why: v.Reason})
}

// powerLeaves has a run go on for the internet alone once the power is back.
func (g *Guardian) powerLeaves(now time.Time, why string) []Event {
	if r := g.Run; r == nil || r.Joined.IsZero() || !g.net.ran || r.Back != nil {
		return nil
	}
	return g.note(g.Epoch, shutdown.Event{Type: shutdown.PowerLeft, At: now, Why: why})
}

// internetBack ends what an outage of the internet began. A run that is for the power by now goes on for
// that, but where it would be for some of the machines alone: there the power begins its own.
func (g *Guardian) internetBack(now time.Time) (es []Event) {
	const why = "the internet is back"
	g.net.since = time.Time{}
	r := g.Run
	if r != nil && r.On == shutdown.ForInternet && !r.Joined.IsZero() && r.Plan.Wiring != nil && g.open() {
		es = g.note(g.Epoch, shutdown.Event{Type: shutdown.PowerLeft, At: now})
	}
	if g.net.ran {
		es = append(es, g.note(g.Epoch, shutdown.Event{Type: InternetBack, At: now, Why: why})...)
	}
	switch {
	case r == nil || r.ForPower() || r.On != shutdown.ForInternet || r.Back != nil:
		return es
	case r.Stopped == why && g.orders.Armed: // the rest did not come to disk
		return append(es, g.apply(r.BeginPutBack(now, why, nil))...)
	}
	return append(es, g.apply(r.PowerBack(now, why, g.leaves))...)
}

// restore takes what an event says of an outage of the internet.
func (n *internet) restore(ev shutdown.Event) {
	switch ev.Type {
	case shutdown.Began:
		n.ran = n.ran || ev.Run.On == shutdown.ForInternet
	case InternetRan:
		n.ran = true
	case InternetBack:
		n.ran = false
	}
}
