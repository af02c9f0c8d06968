package upssim

import (
	"strings"
	"time"
)

// What apcupsd does by the passing of time, measured with 3.14.14 on a serial unit.
const (
	// blank is how long after its start apcupsd says nothing of the unit at all.
	blank = time.Second
	// unread is how long it then says ONLINE REPLACEBATT, charge 0, runtime 0,
	// whatever the unit does: it takes the list of alerts that the unit knows for alerts.
	unread = 500 * time.Millisecond
	// testLongest is when it stops believing that it is a self-test.
	testLongest = 40 * time.Second
	// lowLongest is how long it bears a low battery before it shuts down.
	lowLongest = 5 * time.Second
)

// knowledge is how far apcupsd has got with the unit since its start.
type knowledge int

const (
	knowsNothing knowledge = iota
	knowsAlerts            // and has read nothing
	knowsAll
)

type phase int

const (
	onMains phase = iota
	inTest
	powerFailed
)

// daemon is apcupsd: what it knows of the unit, and what it counts.
type daemon struct {
	cfg     Config
	started time.Time
	knows   knowledge
	lost    bool
	read    unit      // as it was at date
	date    time.Time // of the last contact
	log     []string

	phase     phase
	confirmed bool // onbattery was told
	shutdown  bool // never cleared
	lowSince  time.Time
	transfers int
	lastXfer  string
	on, off   time.Time // of the last transfer to the battery and from it
	tested    time.Time // begin of the last self-test that ended
	total     time.Duration
}

func newDaemon(cfg Config, now time.Time) *daemon {
	d := &daemon{cfg: cfg, started: now, date: now, lastXfer: xferNever}
	d.note(now, "apcupsd "+version+" startup succeeded")
	return d
}

// deadlines are the moments at which look must be called though nothing changed.
func (d *daemon) deadlines() []time.Time {
	switch {
	case d.lost:
		return nil
	case d.knows == knowsNothing:
		return []time.Time{d.started.Add(blank)}
	case d.knows == knowsAlerts:
		return []time.Time{d.started.Add(blank + unread)}
	case d.phase == onMains:
		return nil
	}
	all := []time.Time{d.date.Add(d.cfg.PollTime)}
	switch {
	case d.phase == inTest:
		return append(all, d.on.Add(testLongest))
	case d.shutdown || d.read.calibrating:
		return all
	}
	if !d.confirmed {
		all = append(all, d.on.Add(d.cfg.OnBatteryDelay))
	}
	if !d.lowSince.IsZero() {
		all = append(all, d.lowSince.Add(lowLongest))
	}
	return all
}

// look lets apcupsd see the unit, and returns the events that it runs apccontrol for.
func (d *daemon) look(now time.Time, u unit) []string {
	var events []string
	happen := func(event string) {
		events = append(events, event)
		d.note(now, logText(event))
	}
	switch age := now.Sub(d.started); {
	case u.mute:
		if !d.lost && d.knows == knowsAll {
			happen("commfailure")
		}
		d.lost = true
		return events
	case d.knows == knowsAll:
	case age < blank:
		d.lost = false
		return nil
	case age < blank+unread:
		d.lost, d.knows, d.date = false, knowsAlerts, now
		return nil
	default:
		d.knows, d.read, d.lastXfer = knowsAll, u, u.why
	}
	if d.lost {
		d.lost = false
		happen("commok")
	}
	before := d.read
	d.read, d.date = u, now
	for _, e := range []struct {
		when  bool
		event string
	}{
		{before.attached && !u.attached, "battdetach"},
		{!before.attached && u.attached, "battattach"},
		{!before.replace && u.replace, "changeme"},
	} {
		if e.when {
			happen(e.event)
		}
	}
	d.transfer(now, happen)
	d.decide(now, happen)
	return events
}

// transfer notes a change of the supply. A status that names both supplies changes
// nothing, and one that names none is mains to apcupsd, as recorded.
func (d *daemon) transfer(now time.Time, happen func(string)) {
	on, online := d.read.bits()&flagOnBattery != 0, d.read.bits()&flagOnline != 0
	switch {
	case on && !online && d.phase == onMains:
		d.transfers++
		d.on, d.lastXfer = now, d.read.why
		d.phase = powerFailed
		if d.read.why == xferSelfTest {
			d.phase = inTest
			happen("startselftest")
		} else {
			happen("powerout")
		}
	case !on && d.phase != onMains:
		d.total += now.Sub(d.on)
		d.off = now
		if d.phase == inTest {
			d.tested = d.on
			happen("endselftest")
		} else {
			if d.confirmed {
				happen("offbattery")
			}
			happen("mainsback")
		}
		d.phase, d.confirmed = onMains, false
	}
}

// decide does what apcupsd does on battery. Calibration suppresses it, as recorded.
func (d *daemon) decide(now time.Time, happen func(string)) {
	low := d.read.bits()&flagLowBattery != 0
	switch {
	case !low:
		d.lowSince = time.Time{}
	case d.lowSince.IsZero():
		d.lowSince = now
	}
	if d.phase == inTest && (low || now.Sub(d.on) >= testLongest) {
		d.phase = powerFailed
	}
	if d.phase != powerFailed || d.read.calibrating || d.shutdown {
		return
	}
	reason := d.reason(now, low)
	switch {
	case reason != "":
		d.shutdown = true
		happen(reason)
		happen("doshutdown")
	case !d.confirmed && now.Sub(d.on) >= d.cfg.OnBatteryDelay:
		d.confirmed = true
		happen("onbattery")
	}
}

// reason names the event for which apcupsd shuts its machine down, if there is one.
func (d *daemon) reason(now time.Time, low bool) string {
	switch lim := d.cfg.Limits; {
	case low && now.Sub(d.lowSince) >= lowLongest:
		return "failing"
	case d.confirmed && d.read.charge <= lim.Charge:
		return "loadlimit"
	case d.confirmed && d.read.runtime <= lim.Runtime:
		return "runlimit"
	case d.confirmed && lim.OnBattery > 0 && now.Sub(d.on) >= lim.OnBattery:
		return "timeout"
	}
	return ""
}

func (d *daemon) flags() uint32 {
	f := uint32(flagPlugged | flagBattery)
	switch d.knows {
	case knowsAlerts:
		f |= flagOnline | flagReplace
	case knowsAll:
		f |= d.read.bits()
		if !d.read.attached {
			f &^= flagBattery
		}
	}
	for _, b := range []struct {
		on  bool
		bit uint32
	}{
		{d.lost, flagCommLost},
		{d.shutdown, flagShutdown},
		{d.cfg.Slave, flagSlave},
		{d.confirmed, flagConfirmed},
		{d.phase != onMains, flagFastPoll},
	} {
		if b.on {
			f |= b.bit
		}
	}
	return f
}

// status is STATUS as apcupsd writes it, its trailing blank included.
func (d *daemon) status() string {
	f := d.flags()
	switch {
	case f&flagShutdown != 0:
		return "SHUTTING DOWN"
	case f&flagCommLost != 0:
		return "COMMLOST "
	}
	var b strings.Builder
	for _, w := range []struct {
		bit  uint32
		word string
	}{
		{flagCalibration, "CAL "},
		{flagTrim, "TRIM "},
		{flagBoost, "BOOST "},
		{flagOnline, "ONLINE "},
		{flagOnBattery, "ONBATT "},
		{flagOverload, "OVERLOAD "},
		{flagLowBattery, "LOWBATT "},
		{flagReplace, "REPLACEBATT "},
		{flagSlave, "SLAVE "},
	} {
		if f&w.bit != 0 {
			b.WriteString(w.word)
		}
	}
	if f&flagBattery == 0 {
		b.WriteString("NOBATT ")
	}
	return b.String()
}

func (d *daemon) note(now time.Time, text string) {
	d.log = append(d.log, stamp(now)+text+"\n")
}
