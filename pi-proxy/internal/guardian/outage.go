package guardian

import (
	"maps"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// awayAtMost is for how long nobody may have listened to a UPS that was on battery, to
// take its silence for that outage's still.
const awayAtMost = 5 * time.Minute

// Restarted is Resumed for a process that has just begun and restored what is on disk.
// upses are those that it watches. lived is when the process before it was last alive;
// zero if that was in another boot of the Pi, or is not known.
func (g *Guardian) Restarted(now, lived time.Time, upses []string) []Event {
	maps.DeleteFunc(g.out, func(ups string, o Outage) bool { return !o.Elsewhere && !slices.Contains(upses, ups) })
	g.silent, g.turned = lived, lived
	g.held = len(g.out) > 0 // for all that is known
	var es []Event
	if lived.IsZero() && (g.held || !g.end.tripped.IsZero() || g.end.cutting) {
		es = g.note(g.Epoch, shutdown.Event{Type: Rebooted, At: now, Why: "the Pi has booted since the UPS was last heard"})
	}
	return append(es, g.Resumed(now)...)
}

// Out are the UPSes that were on battery when they were last heard, by whatever process.
func (g *Guardian) Out() []string { return slices.Sorted(maps.Keys(g.out)) }

// Outage is a UPS's time on battery.
type Outage struct {
	Since    time.Time      // zero: it was not heard in this boot of the Pi
	Transfer power.Transfer // as far as the UPS has named it
	Lost     time.Time      // since when nothing certain is heard of it, if that is danger; zero: it is not
	// Elsewhere: another Pi reads it, which has died in its outage.
	Elsewhere bool
}

// Outage is the one that a UPS was in when it was last heard, by whatever process of this boot.
func (g *Guardian) Outage(ups string) (Outage, bool) {
	o, ok := g.out[ups]
	return o, ok && !o.Since.IsZero()
}

// listen begins to wait for the UPSes that were on battery. Their silence counts from when
// somebody last listened, but this process itself hears nothing for patience first:
// apcupsd may be starting as well.
func (g *Guardian) listen(now time.Time) {
	if g.silent.IsZero() || now.Sub(g.turned) > awayAtMost {
		g.silent = time.Time{}
		return
	}
	if at := now.Add(patience - g.orders.Policy.LostFor); at.After(g.silent) {
		g.silent = at
	}
}

// mark notes that a UPS has changed between mains and battery.
func (g *Guardian) mark(now time.Time, ups string, r power.Reading) []Event {
	before, was := g.out[ups]
	o := Outage{Since: now, Transfer: r.Transfer(), Elsewhere: before.Elsewhere}
	tooLong := g.orders.Policy.TooLong(r)
	if r.OnBattery() || tooLong {
		o.Since = now.Add(-r.For.Duration())
	}
	switch {
	case r.Supply == power.Mains && was:
		return g.note(g.Epoch, shutdown.Event{Type: OnMains, Target: ups, At: now})
	case (r.OnBattery() || tooLong || r.LowFor != nil && r.Supply != power.Mains) && before.Since.IsZero(): // begun, or first heard in this boot
		return g.onBattery(g.Epoch, ups, o)
	case r.OnBattery() && r.LostFor == nil && o.Transfer.At != "" && !o.Transfer.Same(before.Transfer): // only now named, or another one
		return g.onBattery(g.Epoch, ups, o)
	case was && r.LostFor == nil && !before.Lost.IsZero():
		before.Lost = time.Time{}
		return g.onBattery(g.Epoch, ups, before)
	}
	return nil
}

// noteLost notes since when nothing certain is heard of UPSes on battery, once that is danger. Another
// process could not tell, and would take it for lost with the restart.
func (g *Guardian) noteLost(now time.Time) (es []Event) {
	for _, ups := range slices.Sorted(maps.Keys(g.out)) {
		o, since := g.out[ups], g.silent
		if h, ok := g.readings[ups]; ok {
			r := h.now(now)
			if r.LostFor == nil {
				continue
			}
			since = now.Add(-r.LostFor.Duration())
		}
		known := o.Since.IsZero() || !o.Lost.IsZero() || since.IsZero()
		if !known && now.Sub(since) >= g.orders.Policy.LostFor {
			es = append(es, g.note(g.Epoch, shutdown.Event{Type: ContactLost, Target: ups, At: since})...)
		}
	}
	return es
}

// lostSince is since when nothing is heard of one of unheard.
func (g *Guardian) lostSince(ups string) time.Time {
	if lost := g.out[ups].Lost; !lost.IsZero() && lost.Before(g.silent) {
		return lost
	}
	return g.silent
}

// anew ends the outage before, if a UPS that is first heard in this boot of the Pi must have been
// on mains since it was last heard: the Pi, which had powered itself off at its end, has power
// again, or the plan is through and the UPS names another transfer. That name may be another only
// since apcupsd was started with the Pi, so what a person stopped is not begun again for it.
func (g *Guardian) anew(now time.Time, ups string, r power.Reading) []Event {
	before, was := g.out[ups]
	if !was || !before.Since.IsZero() || !r.OnBattery() || r.LostFor != nil {
		return nil
	}
	of := r.Transfer()
	another := before.Transfer.At != "" && of.At != "" && !of.Same(before.Transfer)
	if g.end.left != ups && !(another && len(g.out) == 1 && g.ended() && !g.end.stopped) {
		return nil
	}
	es := g.note(g.Epoch, shutdown.Event{Type: OnMains, Target: ups, At: now, Why: "the power was back before the Pi heard the UPS again"})
	return append(es, g.mainsBack(now, true)...)
}

func (g *Guardian) onBattery(epoch shutdown.Epoch, ups string, o Outage) []Event {
	es := []Event{{Epoch: epoch, Event: shutdown.Event{Type: OnBattery, Target: ups, At: o.Since}, Elsewhere: o.Elsewhere}}
	if o.Transfer != (power.Transfer{}) {
		es[0].Transfer = &o.Transfer
	}
	g.Restore(es[0])
	if !o.Lost.IsZero() {
		es = append(es, g.note(epoch, shutdown.Event{Type: ContactLost, Target: ups, At: o.Lost})...)
	}
	return es
}

// mains reports whether every UPS that was heard is on mains, but for tests, and none has been on battery
// since it was last heard to be on mains, by whatever process.
func (g *Guardian) mains(now time.Time) bool { return len(g.readings) > 0 && g.calm(now) }

// calm is mains for who knows that nothing is heard.
func (g *Guardian) calm(now time.Time) bool {
	for _, h := range g.readings {
		if g.standing(h.now(now)) == power.StillCalls {
			return false
		}
	}
	return !g.stillOut(now)
}

// stillOut reports whether a UPS that was on battery, or in a test that drained it, may be so still.
func (g *Guardian) stillOut(now time.Time) bool {
	for ups := range g.out {
		if h, ok := g.readings[ups]; !ok || g.standing(h.now(now)) != power.HasMains {
			return true
		}
	}
	return false
}

// allMains reports whether no UPS is in a test either.
func (g *Guardian) allMains() bool {
	for _, r := range g.readings {
		if r.Supply != power.Mains {
			return false
		}
	}
	return len(g.out) == 0
}

// goesOn reports whether an open run may: the plan is armed, as far as is known after a restart,
// and a UPS says so, or is lost on battery. A test says nothing, unless it is a reason by itself (rule U3).
func (g *Guardian) goesOn(now time.Time) bool {
	forSome := g.Run.Plan.Wiring != nil && g.Run.On != shutdown.ForPower // the power is no reason for all that it is for
	if !g.orders.Armed || g.ActsOffline(now) || forSome || !g.Run.ForPower() {
		return g.ActsOffline(now)
	}
	first := g.listens.Add(patience) // until then those of before a boot have the time to be heard
	waits := g.Run.Scoped() && (len(g.unheard()) > 0 || now.Before(first) && g.untold())
	for _, h := range g.readings {
		if g.standing(h.now(now)) == power.StillCalls && !waits { // where it waits each UPS is the reason for its own
			return true
		}
	}
	if len(g.unheard()) == 0 {
		if waits {
			g.wake = first
		}
		return false
	}
	in := g.lostIn(now)
	if in > 0 {
		g.wake = now.Add(in)
	}
	return in <= 0
}

// unheard are the UPSes that were on battery, in this boot, and whose silence counts.
func (g *Guardian) unheard() (all []string) {
	if g.silent.IsZero() {
		return nil
	}
	for _, ups := range slices.Sorted(maps.Keys(g.out)) {
		if _, ok := g.readings[ups]; !ok && !g.out[ups].Since.IsZero() {
			all = append(all, ups)
		}
	}
	return all
}

// untold reports whether a UPS that was on battery was not heard yet.
func (g *Guardian) untold() bool {
	for ups := range g.out {
		if _, ok := g.readings[ups]; !ok {
			return true
		}
	}
	return false
}

// tooLong reports whether contact was lost so long ago that it begins nothing any more, such as
// when somebody arms the plan an hour after a UPS was unplugged.
func (g *Guardian) tooLong(lost time.Duration) bool {
	return lost >= g.orders.Policy.LostFor+awayAtMost
}

// lostIn is when the silence of those is danger (rule U5).
func (g *Guardian) lostIn(now time.Time) time.Duration {
	return g.orders.Policy.LostFor - now.Sub(g.silent)
}

// decide asks the policy about each UPS, as the brain does: any of them may call for the
// plan, and the one with the least time counts.
func (g *Guardian) decide(now time.Time) (v power.Verdict, onBattery bool) {
	if g.wired() {
		return g.decideFed(now)
	}
	v.In = power.Never
	weigh := func(d power.Verdict) {
		switch {
		case d.Start && (!v.Start || d.Urgent && !v.Urgent):
			v = d
		case !d.Start && !v.Start && d.In != power.Never && (v.In == power.Never || d.In < v.In):
			v.In = d.In
		}
	}
	need := g.orders.Plan.Need()
	for _, ups := range slices.Sorted(maps.Keys(g.readings)) {
		h := g.readings[ups]
		r, old := h.Reading, now.Sub(h.at)
		if r = r.Aged(old); old > power.Fresh {
			r = h.Lost(old)
		}
		onBattery = onBattery || r.OnBattery()
		if r.LostFor != nil && g.tooLong(r.LostFor.Duration()) {
			continue
		}
		weigh(g.orders.Policy.Decide(r, need))
	}
	weigh(g.tripReason(now))
	for _, ups := range g.unheard() {
		onBattery = true
		if in := g.lostIn(now); in > 0 {
			weigh(power.Verdict{In: in})
			continue
		}
		lost := now.Sub(g.lostSince(ups))
		if g.tooLong(lost) {
			continue
		}
		r := power.Reading{Supply: power.Battery, For: power.InSeconds(now.Sub(g.out[ups].Since))}
		weigh(g.orders.Policy.Decide(r.Lost(lost), need))
	}
	return v, onBattery
}
