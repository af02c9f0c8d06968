package upssim

import "time"

// The bits of STATFLAG. The low byte is the unit's own.
const (
	flagCalibration = 1 << 0
	flagTrim        = 1 << 1
	flagBoost       = 1 << 2
	flagOnline      = 1 << 3
	flagOnBattery   = 1 << 4
	flagOverload    = 1 << 5
	flagLowBattery  = 1 << 6
	flagReplace     = 1 << 7
	flagCommLost    = 1 << 8
	flagShutdown    = 1 << 9
	flagSlave       = 1 << 10
	flagConfirmed   = 1 << 17 // ONBATTERYDELAY has passed
	flagFastPoll    = 1 << 18 // set while on battery
	flagPlugged     = 1 << 24
	flagBattery     = 1 << 26
)

// LASTXFER, in apcupsd's words.
const (
	xferNever    = "No transfers since turnon"
	xferLowLine  = "Low line voltage"
	xferSelfTest = "Automatic or explicit self test"
)

// lowRuntime is under what runtime a unit on battery calls its battery low (DLOWBATT).
const lowRuntime = 2 * time.Minute

// unit is the hardware.
type unit struct {
	at          time.Time // the numbers hold for this moment
	mains       bool
	output      bool
	testing     bool
	testEnd     time.Time
	calibrating bool
	low         bool
	overload    bool
	replace     bool
	attached    bool
	boost, trim bool
	mute        bool
	forced      *uint8
	why         string // of the last transfer to battery
	result      string // of the last self-test

	charge   float64 // percent
	runtime  time.Duration
	full     time.Duration // runtime when full
	recharge time.Duration // from empty to full
}

func (u *unit) onBattery() bool { return !u.mains || u.testing || u.calibrating }

// advance lets the battery drain or charge until t.
func (u *unit) advance(t time.Time) {
	if !t.After(u.at) {
		return
	}
	d := t.Sub(u.at)
	u.at = t
	if u.onBattery() {
		u.drain(d)
	} else {
		part := float64(d) / float64(u.recharge)
		u.charge = min(max(u.charge, 100), u.charge+100*part)
		u.runtime = min(max(u.runtime, u.full), u.runtime+time.Duration(part*float64(u.full)))
	}
	if u.testing && !t.Before(u.testEnd) {
		u.testing = false
	}
}

func (u *unit) drain(d time.Duration) {
	if d < u.runtime {
		u.charge -= u.charge * float64(d) / float64(u.runtime)
		u.runtime -= d
		return
	}
	u.charge, u.runtime = 0, 0
	u.output = u.mains
}

// bits is the status byte that the unit reports.
func (u *unit) bits() uint32 {
	if u.forced != nil {
		return uint32(*u.forced)
	}
	b := uint32(flagOnline)
	if u.onBattery() {
		b = flagOnBattery
	}
	for _, f := range []struct {
		on  bool
		bit uint32
	}{
		{u.calibrating, flagCalibration},
		{u.trim, flagTrim},
		{u.boost, flagBoost},
		{u.overload, flagOverload},
		{u.low || u.onBattery() && u.runtime < lowRuntime, flagLowBattery},
		{u.replace, flagReplace},
	} {
		if f.on {
			b |= f.bit
		}
	}
	return b
}

func (u *unit) volts() float64 {
	if u.mains {
		return 230.4
	}
	return 0
}
