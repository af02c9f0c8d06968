package duet_test

import (
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// reported is a report of the Pi's own that the brain takes.
func (j *judge) reported(m message) {
	at := m.sent
	if l := m.reading.LostFor; l != nil {
		at -= l.Duration()
	}
	if m.reading.Supply != power.Unknown && m.sent < j.brainFrom { // under way while the brain watched nothing
		j.oldAt = j.d.now
	}
	if m.reading.Supply == power.Unknown || m.sent < j.brainFrom {
		return
	}
	if m.reading.Supply != power.Mains {
		if j.claimAt < j.brainFrom || !j.agreed && m.boot != j.boot { // another boot is another word
			j.claimAt = m.sent
		}
		j.agreed = m.sent-j.claimAt >= time.Second-slack
	}
	word := j.brain.at
	if j.brain.heard != j.d.brain.process { // of what was before it remembers less
		word = j.stop.at
	}
	if j.boot != "" && m.boot != j.boot && (j.dark || j.blind || j.darkAt >= word || !j.knew) {
		j.bootedAt = j.d.now
	}
	j.boot = m.boot
	believed := j.claimAt == 0 || j.brainMains >= j.brainFrom || j.oldAt > j.brainFrom || m.sent-j.claimAt >= time.Second-slack
	if n := m.reading.Transfers; n != nil && believed {
		if *n > j.transfer {
			j.laterAt = j.d.now
		}
		j.transfer = *n
	}
	if j.brain.heard = j.d.brain.process; at < j.brain.at {
		return
	}
	switch {
	case m.reading.Supply == power.Mains:
		j.brainMains, j.mainsAt = j.d.now, at
	case m.reading.Supply == power.SelfTest && !j.test: // what it took for an outage was none
		j.testAt = j.d.now
	}
	j.test = m.reading.Supply == power.SelfTest
	j.brain = knows{battery: m.reading.Supply != power.Mains, mains: m.reading.Supply == power.Mains, at: at, told: j.d.now, heard: j.d.brain.process}
}

// reason reports whether S2's holds in truth for an actor.
func (j *judge) reason(k knows) bool {
	now := j.d.now
	if !k.battery || k == j.pi && k.boot != j.d.pi.boot { // of another boot its silence says nothing
		return false
	}
	lately := func(at time.Duration) bool { return at != 0 && now-at <= power.Fresh+time.Second } // which it may not have heard yet
	short := j.shortAt != 0 && now-j.shortAt <= power.Fresh+patience
	switch {
	case now-k.at >= mayLose-slack, j.lowSince != 0 && now-j.lowSince >= lowFor-slack:
		return true
	case k.heard != j.d.pi.process && j.d.pi.process > 1 && now-k.at >= 2*patience-slack && k == j.pi:
		return true // of an earlier process it is known to the minute only when it last listened
	case k == j.brain && now-j.brainFrom >= mayLose-slack && !(j.agreed && j.claimAt >= j.brainFrom):
		return true // after a start it is lost from then on, until two reports agree; a run of the Pi's may hold it back for longer
	case k == j.brain && slices.ContainsFunc(j.spells, func(s spell) bool { return lately(s.until) && (now-s.from >= j.d.ride-slack || short) }):
		return true
	case k == j.brain && lately(j.lowEnd) && now-j.lowBefore >= lowFor-slack:
		return true
	case j.testSince != 0 && now-j.testSince < testMost, j.since == 0:
		return false
	}
	return now-j.since >= j.d.ride-slack || short
}

func (j *judge) knows(actor string) (knows, time.Duration, int) {
	if actor == "pi" {
		return j.pi, j.piFrom, j.d.pi.process
	}
	return j.brain, j.brainFrom, j.d.brain.process
}

func (j *judge) clock(actor string) time.Time {
	if actor == "pi" {
		return j.d.pi.time()
	}
	return j.d.brain.time()
}

func other(actor string) string {
	if actor == "pi" {
		return "brain"
	}
	return "pi"
}

// heardOf is what an actor was told of the other's run.
func (j *judge) heardOf(actor string) word {
	if actor == "pi" {
		return j.mandate
	}
	return j.told
}

// another reports whether an actor may take this for another outage than that of a run: the mains were back since, as it
// heard, or as the transfers tell, or the brain's clock says so; or what it took for an outage turned into a self-test, and
// out of that again. A Pi that has booted also takes another name of the transfer for that, if the run had come to its end
// by then, and the brain such a Pi's count after a stop that it ended by that: to tell machines again that run on battery
// is better than to let them die with it.
func (j *judge) another(actor string, r *held) bool {
	if actor == "pi" {
		return j.anotherSince(actor, r.began) || r.ended != 0 && j.renamedAt >= r.ended
	}
	return j.anotherSince(actor, r.began) || j.testAt >= r.began || j.stop.over && j.stop.at >= r.began && j.bootedAt >= j.stop.at
}

func (j *judge) anotherSince(actor string, at time.Duration) bool {
	if actor == "pi" {
		return j.unheardAt >= at
	}
	return j.brainMains >= at || j.laterAt >= at || !j.calmSince(at, "clock")
}

// takenOver reports whether the other's later run has taken this one's place, which its own holder
// may do again in the same outage once that stops advancing.
func (j *judge) takenOver(r, other *held) bool {
	return other != nil && r.actor == "brain" && !other.dry && other.outage == r.outage && other.epoch.Compare(r.epoch) > 0
}

// renamedAfter reports whether a Pi that had booted heard another name of the transfer after the end of
// its own run in an outage, or of one of the brain's as far as it knew, so that it may take all that was
// begun until then for that of another.
func (j *judge) renamedAfter(own, brains *held) bool {
	if j.doneAt >= j.from && j.renamedAt >= max(j.doneAt, brains.began) {
		return true
	}
	return own != nil && own.outage == brains.outage && own.ended != 0 && j.renamedAt >= max(own.ended, brains.began)
}

func (j *judge) ordered(b *bundle) {
	j.disturb("plan")
}

// named is the brain's knowledge of the bundle on the Pi's disk.
func (j *judge) named(b *brain) {
	if own := b.own(); b.has == own.hash && !own.armed && !j.armed {
		j.confirmed = true
	}
}

func (j *judge) brainHears(s *shutdown.Status) {
	j.told = word{j.d.now, s.ID, s.Epoch, s.State}
}

func (j *judge) piHears(a answer) {
	j.mandate = word{j.d.now, "", a.epoch, a.run}
}
