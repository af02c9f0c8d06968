package upssim

import (
	"net"
	"sync"
	"time"
)

// Config describes a UPS and its apcupsd. The zero value is usable.
type Config struct {
	Name     string        // UPSNAME; "sim" if empty
	Charge   *float64      // percent at the start; nil is 100
	Runtime  time.Duration // of the full battery; 0 is 42 min
	Recharge time.Duration // from empty to full; 0 is 3 h

	PollTime       time.Duration // apcupsd's POLLTIME; 0 is 1 s. Changes are pushed at once all the same
	OnBatteryDelay time.Duration // apcupsd's ONBATTERYDELAY; 0 is its own 6 s
	Limits         *Limits       // nil is apcupsd's own: 5 %, 3 min, no time
	Slave          bool          // the apcupsd is another one's network slave

	Now    func() time.Time             // nil is time.Now
	Listen func() (net.Listener, error) // for Daemon(true); nil listens where Serve did

	// OnEvent is called for each event that apcupsd would run apccontrol for, in
	// order, from one goroutine of Serve's.
	OnEvent func(event string)
	// Edge is called for each status that was answered, one at a time.
	Edge func(Answered)
}

// Limits are those at which apcupsd shuts its own machine down.
type Limits struct {
	Charge    float64       // BATTERYLEVEL, percent
	Runtime   time.Duration // MINUTES
	OnBattery time.Duration // TIMEOUT; 0 is none
}

// Answered is a status that a client was given.
type Answered struct {
	At     time.Time
	Flags  uint32 // STATFLAG
	Status string // STATUS, trimmed
}

// Snapshot is the truth about the UPS, and what its apcupsd makes of it.
type Snapshot struct {
	Mains     bool
	OnBattery bool // for whatever reason
	Output    bool // false once the battery is empty
	Charge    float64
	Runtime   time.Duration

	Daemon    bool // apcupsd runs
	Flags     uint32
	Status    string
	Transfers int
}

// UPS is a simulated UPS. Its methods may be called from any goroutine, before and
// while it is served.
type UPS struct {
	cfg Config

	mu     sync.Mutex
	unit   unit
	daemon *daemon // nil while apcupsd is down
	faults Faults
	queue  []string      // events not yet told
	told   chan struct{} // something was queued
	moved  chan struct{} // the next deadline may have changed
	server server

	edge sync.Mutex // one Edge at a time
}

// New makes a UPS on mains whose apcupsd has known it for a while.
func New(cfg Config) *UPS {
	if cfg.Name == "" {
		cfg.Name = "sim"
	}
	if cfg.Runtime == 0 {
		cfg.Runtime = 42 * time.Minute
	}
	if cfg.Recharge == 0 {
		cfg.Recharge = 3 * time.Hour
	}
	if cfg.PollTime == 0 {
		cfg.PollTime = time.Second
	}
	if cfg.OnBatteryDelay == 0 {
		cfg.OnBatteryDelay = 6 * time.Second
	}
	if cfg.Limits == nil {
		cfg.Limits = &Limits{Charge: 5, Runtime: 3 * time.Minute}
	}
	charge := 100.0
	if cfg.Charge != nil {
		charge = *cfg.Charge
	}
	u := &UPS{cfg: cfg, told: make(chan struct{}, 1), moved: make(chan struct{}, 1), server: newServer()}
	now := u.now()
	u.unit = unit{
		at: now, mains: true, output: true, attached: true, why: xferNever, result: "OK",
		charge: charge, full: cfg.Runtime, recharge: cfg.Recharge,
		runtime: time.Duration(float64(cfg.Runtime) * charge / 100),
	}
	u.daemon = newDaemon(cfg, now)
	u.daemon.knows, u.daemon.read = knowsAll, u.unit
	return u
}

// Plug says whether the mains are there.
func (u *UPS) Plug(in bool) {
	u.change(func() {
		if u.unit.mains && !in && !u.unit.testing {
			u.unit.why = xferLowLine
		}
		u.unit.mains = in
		u.unit.output = u.unit.output || in
	})
}

// SelfTest runs on battery for d, as units do by themselves every two weeks.
func (u *UPS) SelfTest(d time.Duration) {
	u.change(func() {
		if u.unit.mains && !u.unit.testing {
			u.unit.why = xferSelfTest
		}
		u.unit.testing, u.unit.testEnd = true, u.unit.at.Add(d)
	})
}

// SelfTestResult sets what the unit says of its last self-test: OK, NG, BT or NO.
func (u *UPS) SelfTestResult(s string) { u.change(func() { u.unit.result = s }) }

// Calibrate begins or ends a runtime calibration, which drains the battery.
func (u *UPS) Calibrate(on bool) {
	u.change(func() {
		if on && u.unit.mains {
			u.unit.why = xferLowLine // as recorded
		}
		u.unit.calibrating = on
	})
}

// SetCharge sets the charge in percent, and leaves the runtime as it is.
func (u *UPS) SetCharge(percent float64) { u.change(func() { u.unit.charge = percent }) }

// SetRuntime sets how long the battery will last, and leaves the charge as it is.
func (u *UPS) SetRuntime(d time.Duration) { u.change(func() { u.unit.runtime = d }) }

// CommLost says whether apcupsd has lost the unit; it then knows of no change.
func (u *UPS) CommLost(lost bool) { u.change(func() { u.unit.mute = lost }) }

// Low makes the unit call its battery low, whatever its charge.
func (u *UPS) Low(low bool) { u.change(func() { u.unit.low = low }) }

// Overload says whether the load is more than the unit can bear.
func (u *UPS) Overload(on bool) { u.change(func() { u.unit.overload = on }) }

// ReplaceBattery says whether the unit wants a new battery. A real apcupsd waits for
// ten minutes of it before it says so; this one does not.
func (u *UPS) ReplaceBattery(on bool) { u.change(func() { u.unit.replace = on }) }

// Attach says whether the battery is connected.
func (u *UPS) Attach(attached bool) { u.change(func() { u.unit.attached = attached }) }

// Boost says whether the unit raises a low line voltage.
func (u *UPS) Boost(on bool) { u.change(func() { u.unit.boost = on }) }

// Trim says whether the unit lowers a high line voltage.
func (u *UPS) Trim(on bool) { u.change(func() { u.unit.trim = on }) }

// Bits makes the unit send this status byte whatever it does; nil ends that. A zero
// byte gives the empty STATUS.
func (u *UPS) Bits(b *uint8) { u.change(func() { u.unit.forced = b }) }

// State is the truth as it stands.
func (u *UPS) State() Snapshot {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.settle(u.now())
	s := Snapshot{
		Mains: u.unit.mains, OnBattery: u.unit.onBattery(), Output: u.unit.output,
		Charge: u.unit.charge, Runtime: u.unit.runtime,
	}
	if d := u.daemon; d != nil {
		s.Daemon, s.Flags, s.Status, s.Transfers = true, d.flags(), d.status(), d.transfers
	}
	return s
}

func (u *UPS) now() time.Time {
	if u.cfg.Now != nil {
		return u.cfg.Now()
	}
	return time.Now()
}

// change brings everything up to date, applies a change to the unit, and lets apcupsd
// see it at once: the unit pushes its alerts.
func (u *UPS) change(apply func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now()
	u.settle(now)
	apply()
	u.look(now)
	kick(u.moved)
}

// settle lets the time pass up to now, stopping at each deadline on the way.
func (u *UPS) settle(now time.Time) {
	for {
		t, ok := u.due()
		if !ok || t.After(now) {
			break
		}
		u.unit.advance(t)
		u.look(t)
	}
	u.unit.advance(now)
}

// due is when something next happens by the passing of time alone.
func (u *UPS) due() (time.Time, bool) {
	var first time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if u.unit.testing {
		sooner(u.unit.testEnd)
	}
	if u.daemon != nil {
		for _, t := range u.daemon.deadlines() {
			sooner(t)
		}
	}
	return first, !first.IsZero()
}

func (u *UPS) look(now time.Time) {
	if u.daemon == nil {
		return
	}
	if events := u.daemon.look(now, u.unit); len(events) > 0 && u.cfg.OnEvent != nil {
		u.queue = append(u.queue, events...)
		kick(u.told)
	}
}

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
