package power

import (
	"strings"
	"time"
)

// Supply is where the load's power comes from, as far as is known.
type Supply string

// The supplies. SelfTest and Calibration are on battery by the UPS's own wish.
const (
	Unknown    Supply = "unknown"
	Mains      Supply = "mains"
	Battery    Supply = "battery"
	SelfTest   Supply = "self-test"
	Calibrates Supply = "calibration"
)

// selfTestLongest is how long a UPS may stay on battery and have it called a
// self-test: those of APC's units take 10 to 30 s.
const selfTestLongest = 40 * time.Second

// Reading is what a Tracker makes of a UPS's answers: the last status, and since
// how long its meaning has held, as durations, since clocks of two machines differ.
type Reading struct {
	Status
	Supply Supply `json:"supply"`
	// For is how long the supply has been this one; for Battery it counts from
	// the first answer that said so, also if that was first taken for a self-test,
	// but not from a calibration's start.
	For Seconds `json:"for_s"`
	// LowFor is how long the UPS has called its battery low while running on it.
	LowFor *Seconds `json:"low_for_s,omitempty"`
	// LostFor is how long nothing certain has been heard of the UPS: apcupsd does
	// not answer, or has itself lost the UPS, or answers without saying which
	// supply it is. Supply and For then say what was last known.
	LostFor *Seconds `json:"lost_for_s,omitempty"`
	// Course is what the answers say together. A reading without it, as of a Pi of before
	// there was one, has its numbers taken as they are. Brains of then refuse one with it.
	Course *Course `json:"course,omitempty"`
}

// Aged is the reading as it stands d later if nothing else was heard since.
func (r Reading) Aged(d time.Duration) Reading {
	s := InSeconds(max(d, 0))
	r.For = upToAYear(r.For + s)
	if r.Supply == SelfTest && r.LostFor == nil && r.For.Duration() >= selfTestLongest {
		r.Supply = Battery // that of a lost UPS may have ended (Policy.TooLong)
	}
	if r.LowFor != nil {
		v := upToAYear(*r.LowFor + s)
		r.LowFor = &v
	}
	if r.LostFor != nil {
		v := upToAYear(*r.LostFor + s)
		r.LostFor = &v
	}
	return r
}

// upToAYear bounds how long something has held to what a receiver takes: a UPS that runs on mains for
// years is heard of still.
func upToAYear(s Seconds) Seconds { return min(s, maxFor) }

// Lost is the reading once its reports have stopped for d.
func (r Reading) Lost(d time.Duration) Reading {
	if r.LostFor == nil {
		r.LostFor = new(Seconds)
	}
	return r.Aged(d)
}

// OnBattery reports whether the load runs on the battery because the mains are gone.
func (r Reading) OnBattery() bool { return r.Supply == Battery }

// Validate refuses readings that cannot be.
func (r Reading) Validate() error {
	switch r.Supply {
	case Unknown, Mains, Battery, SelfTest, Calibrates:
	default:
		return errSupply
	}
	for _, s := range []*Seconds{&r.For, r.LowFor, r.LostFor} {
		if s != nil && !(*s >= 0 && *s <= maxFor) {
			return errFor
		}
	}
	if r.Course != nil {
		if err := r.Course.Validate(); err != nil {
			return err
		}
	}
	return r.Status.Validate()
}

// Tracker turns the answers of one UPS into readings. It keeps its own clock of the
// time on battery, since apcupsd's starts over when apcupsd does.
type Tracker struct {
	last      Status
	supply    Supply
	since     time.Time // of supply
	battSince time.Time // first answer on battery of this transfer, self-test or not
	lowSince  time.Time
	lostSince time.Time
	mainsXfer *int   // NUMXFERS while last on mains
	mainsXOn  string // XONBATT while last on mains
	before    *outage
	course    course
}

// outage is a time on battery that an earlier process saw the beginning of.
type outage struct {
	since time.Time
	of    Transfer
}

// Resume is for a tracker that has observed nothing yet: if the first certain answer tells
// of the same transfer still, the time on battery counts from since.
func (t *Tracker) Resume(since time.Time, of Transfer) { t.before = &outage{since, of} }

// Observe takes an answer that arrived at now. Numbers in it that cannot be are left out.
func (t *Tracker) Observe(now time.Time, s Status) Reading {
	s = s.Possible()
	certain := s.Flags&(Online|OnBattery) != 0 && !s.Flags.Has(CommLost)
	if !certain {
		if s.Flags.Has(CommLost) {
			t.last.Flags |= CommLost
		}
		return t.Silent(now)
	}
	t.last = s
	t.lostSince = time.Time{}
	if t.supply == Calibrates && !s.Flags.Has(Calibration) { // its end may look like an outage for an answer
		t.battSince, t.course = time.Time{}, course{}
	}
	t.course.add(now, s)
	before := t.before
	t.before = nil
	if before != nil && s.Flags.Has(OnBattery) && before.of.Same(s.Transfer()) && before.since.Before(now) {
		t.battSince = before.since
	}
	if s.Flags.Has(OnBattery) {
		t.onBattery(now, s)
	} else {
		t.battSince, t.lowSince = time.Time{}, time.Time{}
		t.mainsXfer, t.mainsXOn = s.Transfers, s.OnBatteryAt
		t.become(now, Mains)
	}
	return t.reading(now)
}

// Silent notes that nothing certain was heard at now: no answer, or one that does not
// say which supply it is.
func (t *Tracker) Silent(now time.Time) Reading {
	if t.lostSince.IsZero() {
		t.lostSince = now
	}
	return t.reading(now)
}

func (t *Tracker) onBattery(now time.Time, s Status) {
	if t.battSince.IsZero() {
		t.battSince = now
	}
	switch {
	case s.Flags.Has(Calibration):
		t.become(now, Calibrates)
	case t.selfTest(now, s):
		t.become(now, SelfTest)
	default:
		t.supply, t.since = Battery, t.battSince
	}
	switch {
	case !s.Flags.Has(LowBattery):
		t.lowSince = time.Time{}
	case t.lowSince.IsZero():
		t.lowSince = now
	}
}

// selfTest holds only while LASTXFER says so and was read for this transfer: right
// after a switch it may still name the one before, of whatever kind.
func (t *Tracker) selfTest(now time.Time, s Status) bool {
	if !strings.Contains(strings.ToLower(s.LastTransfer), "self test") || s.Flags.Has(OutageConfirmed) {
		return false
	}
	if now.Sub(t.battSince) > selfTestLongest || t.supply == Battery && now.Sub(t.battSince) > Fresh {
		return false
	}
	newXfer := t.mainsXfer != nil && s.Transfers != nil && *s.Transfers > *t.mainsXfer
	newTime := t.mainsXOn != "" && s.OnBatteryAt != "" && s.OnBatteryAt != t.mainsXOn
	return newXfer || newTime
}

func (t *Tracker) become(now time.Time, s Supply) {
	if t.supply != s {
		t.supply, t.since = s, now
	}
}

func (t *Tracker) reading(now time.Time) Reading {
	r := Reading{Status: t.last, Supply: t.supply, Course: t.course.at(now)}
	if t.supply == "" {
		r.Supply = Unknown
	} else {
		r.For = upToAYear(InSeconds(now.Sub(t.since)))
	}
	if !t.lowSince.IsZero() {
		s := upToAYear(InSeconds(now.Sub(t.lowSince)))
		r.LowFor = &s
	}
	if !t.lostSince.IsZero() {
		s := upToAYear(InSeconds(now.Sub(t.lostSince)))
		r.LostFor = &s
	}
	return r
}
