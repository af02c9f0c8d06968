package duet_test

import (
	"strconv"
	"time"

	core "sentinel.home.arpa/pi-proxy/guardiantest"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

const (
	calmEach   = 5 * time.Second
	postWithin = 3 * time.Second
	// lateAtMost is for how long an answer that is older than another may still come.
	lateAtMost = 6 * time.Second
	pollEach   = time.Second
)

// pi is the guardian with what pi-proxy puts around it.
type pi struct {
	d     *duet
	ahead time.Duration // of its clock
	disk  struct {
		events []core.Event
		bundle *bundle
		moment time.Time // when something was last written, by its clock
		boot   int       // in which boot that was
		at     time.Duration
	}
	boot int

	process int
	up      bool
	paused  bool
	held    []func()
	dies    string // at its next step of a run: before or after that is on disk
	down    time.Duration
	cut     bool          // from the machines
	slow    time.Duration // what its disk takes to store a bundle

	core     *core.Guardian
	tracker  power.Tracker
	last     *power.Reading
	seq      int64
	turned   time.Time
	wake     int
	reading  power.Reading // the newest
	readAt   time.Duration
	changed  bool
	out      bool // an earlier process last heard the UPS on battery
	run      *shutdown.Status
	stops    bool           // the brain's last word was that a person stopped the plan
	heeds    shutdown.Epoch // as is on disk
	bundle   *bundle        // that it goes by
	posting  bool
	again    bool
	reported time.Duration // 0: its last report was not taken
	performs int           // 0: nothing does
	newest   answer
	newestAt time.Duration
}

func newPi(d *duet) *pi { return &pi{d: d, boot: 1} }

func (p *pi) time() time.Time { return begun().Add(p.d.now + p.ahead) }

// listens reports whether its relay can be reached.
func (p *pi) listens() bool { return p.up && !p.paused }

func (p *pi) name() string { return "boot " + strconv.Itoa(p.boot) }

// start begins a process from what is on disk.
func (p *pi) start(reboot bool) {
	p.process++
	process := p.process
	p.up, p.paused, p.held, p.dies = true, false, nil, ""
	p.core, p.tracker, p.last = core.New("pi"), power.Tracker{}, nil
	p.changed, p.posting, p.again, p.reported, p.performs, p.newest = false, false, false, 0, 0, answer{}
	p.run, p.stops, p.heeds, p.bundle = nil, false, shutdown.Epoch{}, p.disk.bundle
	if p.bundle != nil {
		p.core.Order(time.Time{}, p.bundle.orders())
	}
	for _, e := range p.disk.events {
		p.core.Restore(e)
	}
	lived := p.disk.moment
	if reboot {
		p.boot++
	}
	if p.disk.boot != p.boot {
		lived = time.Time{}
	}
	p.publish()
	p.out = len(p.core.Out()) > 0
	if o, on := p.core.Outage("apc1"); on && !lived.IsZero() {
		p.tracker.Resume(o.Since, o.Transfer)
	}
	p.d.judge.disturb("pi")
	p.d.judge.piOut = len(p.core.Out()) > 0
	p.turned, p.d.judge.piFrom, p.d.judge.piHolds = p.time(), p.d.now, 0
	p.done(p.core.Restarted(p.time(), lived, []string{"apc1"}))
	if r := p.core.Run; r != nil && (!r.Over() || r.PutsBack()) && p.performs == 0 {
		p.perform()
	}
	p.wakeUp()
	each := func(in time.Duration, do func()) { p.each(process, in, do) }
	each(turnEach, p.beat) // which waits for no apcupsd
	each(pollEach, p.poll)
	each(turnEach, p.tickReport)
	each(turnEach, p.look)
	each(time.Minute, p.lives)
}

// lives is written down with each step, and each minute.
func (p *pi) lives() { p.disk.moment, p.disk.at, p.disk.boot = p.time(), p.d.now, p.boot }

func (b *bundle) orders() core.Orders {
	return core.Orders{Armed: b.armed, Plan: b.plan, Policy: b.policy}
}

// each does something now and then again and again, as long as the process lives.
func (p *pi) each(process int, in time.Duration, do func()) {
	p.d.after(0, func() { p.input(process, do) })
	var again func()
	again = func() {
		if p.process != process || !p.up {
			return
		}
		if !p.paused {
			do()
		}
		p.d.after(in, again)
	}
	p.d.after(in, again)
}

func (p *pi) input(process int, do func()) {
	switch {
	case p.process != process || !p.up:
	case p.paused:
		p.held = append(p.held, do)
	default:
		do()
	}
}

// die ends the process; the next begins away later. Over a reboot only the wall clock
// tells how much time has passed, which may have jumped.
func (p *pi) die(away time.Duration, reboot bool, jump time.Duration) {
	if !p.up {
		return
	}
	p.up, p.performs = false, 0
	p.process++
	p.d.tell("the Pi is down")
	p.d.judge.piDied(away)
	was := p.process
	p.d.after(away, func() {
		if p.process != was || p.up {
			return
		}
		p.d.tell("the Pi starts")
		if reboot && !p.disk.moment.IsZero() {
			passed := max(p.d.now-p.disk.at+jump, 0)
			p.ahead = p.disk.moment.Add(passed).Sub(begun()) - p.d.now
			p.d.judge.disturb("pi's clock")
		}
		p.start(reboot)
	})
}

func (p *pi) pause(for_ time.Duration) {
	if !p.up || p.paused {
		return
	}
	p.paused = true
	process := p.process
	p.d.after(for_, func() {
		if p.process != process {
			return
		}
		p.paused = false
		p.d.judge.disturb("pi")
		held := p.held
		p.held = nil
		for _, do := range held {
			p.input(process, do)
		}
		p.turn(p.core.Tick)
	})
}

// turn is one of the guard's loop.
func (p *pi) turn(decide func(now time.Time) []core.Event) {
	now, process := p.time(), p.process
	if now.Sub(p.turned) > viewFresh {
		p.done(p.core.Resumed(now))
	}
	if p.process != process {
		return
	}
	p.done(decide(now))
	p.turned = now
	if p.process == process {
		p.wakeUp()
	}
}

func (p *pi) wakeUp() {
	p.wake++
	wake, process, in := p.wake, p.process, turnEach
	if at := p.core.NextDeadline(); !at.IsZero() {
		in = min(in, at.Sub(p.time()))
	}
	p.d.after(in, func() {
		p.input(process, func() {
			if p.wake == wake {
				p.turn(p.core.Tick)
			}
		})
	})
}

// done writes down what was decided and does what it asks for.
func (p *pi) done(es []core.Event) {
	if len(es) > 0 && p.dies != "" {
		if p.dies == "after" {
			p.write(es)
		} else {
			p.d.judge.mandate = word{} // as far as it is lost
		}
		p.die(p.down, false, 0)
		return
	}
	p.write(es)
	if p.heeds = (shutdown.Epoch{}); p.stops {
		p.heeds = p.core.Heeds()
	}
	p.publish()
	for _, e := range es {
		if p.d.telling {
			p.tellEvent(e)
		}
		switch e.Event.Type {
		case shutdown.Began, shutdown.PutBackBegan:
			p.perform()
		case shutdown.Sent, shutdown.StartSent:
			p.command(e)
		case shutdown.Ended, shutdown.Aborted, shutdown.PutBackEnded:
			p.performs = 0
		}
	}
}

func (p *pi) tellEvent(e core.Event) {
	text := ""
	if e.Event.Run != nil {
		text = e.Event.Run.ID + ": " + e.Event.Run.Reason
	}
	p.d.tell("pi: %s %s %s%s", e.Event.Type, e.Event.Target, e.Event.Why, text)
}

// write is the ledger's: a new run begins a new file.
func (p *pi) write(es []core.Event) {
	for _, e := range es {
		if e.Event.Type == shutdown.Began {
			p.disk.events = nil
		}
		p.disk.events = append(p.disk.events, e)
		p.lives()
		p.d.judge.event(e)
	}
}

func (p *pi) publish() {
	if r := p.core.Run; r != nil {
		p.run = r.Status(p.time(), p.core.Epoch)
		for _, g := range p.core.Returns() {
			p.run.Owed = append(p.run.Owed, g.Ref())
		}
	}
}

func (p *pi) perform() {
	p.performs = 0
	if p.bundle != nil {
		p.d.agenda.n++
		p.performs = p.d.agenda.n
	}
}

func (p *pi) command(e core.Event) {
	if p.performs == 0 {
		p.perform()
	}
	performs, process := p.performs, p.process
	if performs == 0 {
		return
	}
	alive := func() bool { return p.process == process && p.performs == performs }
	for _, c := range p.core.Run.Due(p.time()) {
		id := c.Target.ID()
		if id != e.Event.Target {
			continue
		}
		p.d.send(command{actor: "pi", run: p.core.Run.ID, epoch: e.Epoch, target: c.Target, start: c.Start, alive: alive,
			may: func() error {
				if p.paused || c.Start && !p.mainsNow() || !c.Start && p.mains() {
					return errKept
				}
				return nil
			},
			reach: func() (time.Duration, error) {
				if p.cut {
					return tcpWithin, errNoRoute
				}
				return 10 * time.Millisecond, nil
			},
			answer: func(found []shutdown.Target, err error) {
				p.input(process, func() {
					if alive() {
						p.turn(func(now time.Time) []core.Event {
							if c.Start {
								return p.core.StartAnswered(now, id, err)
							}
							return p.core.Answered(now, id, found, err)
						})
					}
				})
			}})
	}
}

func (p *pi) look() {
	if p.performs == 0 || p.cut || p.core.Run == nil {
		return
	}
	process := p.process
	for _, t := range p.core.Run.Looks() {
		if s, ok := p.d.sight(t); ok && p.process == process {
			p.turn(func(now time.Time) []core.Event { return p.core.Seen(now, t.ID(), s) })
		}
	}
}

// mains reports whether its UPS, as far as is known, is on mains.
func (p *pi) mains() bool {
	if p.last == nil || p.last.Supply == power.Unknown {
		return false
	}
	return p.last.Supply == power.Mains
}

// mainsNow reports whether it has just said so.
func (p *pi) mainsNow() bool {
	return p.last != nil && p.last.Supply == power.Mains && p.last.LostFor == nil && p.d.now-p.readAt <= power.Fresh
}

// poll asks apcupsd.
func (p *pi) poll() {
	s, ok := p.d.ups.answer(p.d.now)
	var r power.Reading
	if ok {
		r = p.tracker.Observe(p.time(), s)
	} else {
		r = p.tracker.Silent(p.time())
	}
	changed := p.last == nil || p.last.Supply != r.Supply || p.last.Flags != r.Flags || (p.last.LostFor == nil) != (r.LostFor == nil)
	if changed {
		p.d.tell("pi: polls %s %#x", r.Supply, uint32(r.Flags))
	}
	p.last, p.reading, p.readAt, p.changed = &r, r, p.d.now, p.changed || changed
	before, lost := p.d.judge.truth, p.dies == "before"
	p.d.judge.polled(s, ok)
	p.d.judge.read(r)
	if err := r.Validate(); err != nil {
		p.d.fail("U6: %v", err)
	}
	process := p.process
	p.turn(func(now time.Time) []core.Event { return p.core.Reported(now, "apc1", r) })
	switch {
	case p.process != process && lost:
		p.d.judge.truth = before // nobody knows of it
	case p.process == process && p.changed:
		p.report()
	}
}

// poke is apcupsd's script.
func (p *pi) poke() {
	process := p.process
	p.d.after(20*time.Millisecond, func() { p.input(process, p.poll) })
}

func (p *pi) tickReport() {
	calm := p.last == nil || !p.last.OnBattery()
	if calm && p.reported != 0 && p.d.now-p.reported < calmEach-500*time.Millisecond {
		return
	}
	p.report()
}

func (p *pi) report() {
	if p.last == nil {
		return
	}
	if p.posting {
		p.again = true
		return
	}
	changed := p.changed
	p.posting, p.again, p.changed, p.reported = true, false, false, p.d.now
	m := p.message()
	m.report, m.reading = true, p.reading.Aged(p.d.now-p.readAt)
	p.post(m, func(told bool) {
		p.posting = false
		if !told {
			p.reported, p.changed = 0, p.changed || changed
		}
		if p.again {
			p.report()
		}
	})
}

func (p *pi) beat() { p.post(p.message(), func(bool) {}) }

func (p *pi) message() message {
	p.seq++
	m := message{run: p.run, boot: p.name(), seq: p.seq, sent: p.d.now, heeds: p.heeds, outage: p.d.judge.outage}
	if p.bundle != nil && p.disk.bundle != nil && p.disk.bundle.hash == p.bundle.hash {
		m.bundle = p.bundle.hash
	}
	return m
}

// post sends a message, whose answer is waited for a while.
func (p *pi) post(m message, finish func(told bool)) {
	d, process, open := p.d, p.process, true
	end := func(told bool) {
		if open {
			open = false
			finish(told)
		}
	}
	d.after(postWithin, func() { p.input(process, func() { end(false) }) })
	if m.report {
		d.judge.sent = m
	}
	way, ok := d.link.takes(d.link.up)
	if !ok {
		return
	}
	d.after(way, func() {
		d.brain.receive(m, func(a answer) {
			back, ok := d.link.takes(d.link.down)
			if !ok {
				return
			}
			d.after(back, func() {
				p.input(process, func() {
					if open && d.now-m.sent <= postWithin {
						p.learn(a)
						end(true)
					}
				})
			})
		})
	})
}

// learn takes what the brain's answer brings.
func (p *pi) learn(a answer) {
	if p.newest.process == a.process && a.seq < p.newest.seq && p.d.now-p.newestAt < lateAtMost {
		return
	}
	p.newest, p.newestAt = a, p.d.now
	if a.empty {
		return
	}
	process := p.process
	if a.bundle != nil && (p.bundle == nil || p.bundle.hash != a.hash) {
		taken := a.bundle
		p.bundle = taken
		p.d.judge.ordered(taken)
		p.turn(func(now time.Time) []core.Event { return p.core.Order(now, taken.orders()) })
		p.d.after(p.slow, func() { p.input(process, func() { p.store() }) })
	}
	if p.process == process {
		p.d.judge.piHears(a)
		p.turn(func(now time.Time) []core.Event {
			p.stops = a.run == shutdown.Stopped
			return append(p.core.Stopped(now, a.run, a.runID), p.core.Mandated(now, a.epoch, a.run)...)
		})
	}
}

// store puts the bundle that it goes by on disk.
func (p *pi) store() {
	p.disk.bundle = p.bundle
}
