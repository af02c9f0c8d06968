package duet_test

import (
	"encoding/json"
	"slices"
	"time"

	core "sentinel.home.arpa/cloud/sentineltest"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

const (
	turnEach  = time.Second
	viewFresh = 4 * time.Second
	// usual is what a message takes that is not late.
	usual = 50 * time.Millisecond
	// silentAfter is when the brain's table calls the Pi silent.
	silentAfter = 20 * time.Second
	// crossesFor is for how long an armed bundle may be on its way.
	crossesFor = 12 * time.Second
)

// bundle is what the Pi guards by, named as by its hash.
type bundle struct {
	hash   int
	armed  bool
	plan   shutdown.Plan
	policy power.Policy
}

// message is a heartbeat of the Pi, or with a reading a report of its UPS.
type message struct {
	report  bool
	reading power.Reading
	run     *shutdown.Status
	bundle  int            // on the Pi's disk; 0: it names none
	heeds   shutdown.Epoch // of a heartbeat: under which it begins nothing more
	outage  int            // in which it was sent
	boot    string
	seq     int64
	sent    time.Duration
	forged  bool // somebody sends it again
}

// answer is the brain's.
type answer struct {
	process, seq int
	epoch        shutdown.Epoch
	run          shutdown.State
	runID        string
	hash         int
	bundle       *bundle
	empty        bool // it tells nothing
}

// kept is a fact as the journal has it.
type kept struct {
	at   time.Time
	fact core.Fact
}

// brain is the brain's core with what cloud/brain puts around it.
type brain struct {
	d     *duet
	ahead time.Duration // of its clock
	disk  []kept

	process int
	up      bool
	paused  time.Duration // since when; 0: it is not
	held    []func()      // what waits for it to go on
	dies    string        // at its next step of a run: before or after that is on disk
	down    time.Duration // for how long then

	state     *core.State
	config    core.Config
	plan      int
	token     bool // its commands are accepted
	online    bool
	wake      int
	performs  string // the run that is performed
	seen      [2]int64
	saidIn    string // the Pi's boot and place of its last word on its run
	saidAt    int64
	boot      string
	heard     time.Duration // the Pi's last word
	silent    bool
	asking    bool
	replies   int
	has       int           // the bundle that the Pi has named
	gaveArmed time.Duration // when it last told a Pi that the plan is armed
	heeds     shutdown.Epoch

	view struct {
		at    time.Duration
		epoch shutdown.Epoch
		run   shutdown.State
		runID string
		open  string
		back  string // the run whose guests may be started
		mains bool
	}
	bundles []bundle // all that there were; the last counts
}

func newBrain(d *duet) *brain {
	b := &brain{d: d, token: true, online: true, plan: d.setting.plan}
	b.configure()
	b.state = core.New(b.config)
	return b
}

// listens reports whether anybody hears what is sent to it.
func (b *brain) listens() bool { return b.up && b.paused == 0 }

func (b *brain) configure() {
	p := plan(b.plan)
	b.config = core.Defaults(core.Config{Brain: "cloud", Sites: []core.SiteConfig{{Name: "home", Pis: []string{"pi"}, Plan: &p, Policy: b.d.policy()}}})
}

func (b *brain) time() time.Time { return begun().Add(b.d.now + b.ahead) }

func (b *brain) site() *core.Site { return b.state.Sites["home"] }

// start begins a process from what is on disk.
func (b *brain) start() {
	b.process++
	b.d.judge.disturb("brain")
	b.up, b.paused, b.held, b.dies = true, 0, nil, ""
	b.state = b.replayed()
	b.saidIn, b.saidAt = "", 0
	b.performs, b.seen, b.boot, b.silent, b.asking, b.has, b.gaveArmed, b.heeds = "", [2]int64{}, "", true, false, 0, 0, shutdown.Epoch{}
	b.watch()
	before := b.site().Run
	b.renew()
	b.turn(core.Started{})
	if r := b.site().Run; r != nil && r == before && (!r.Over() || r.PutsBack()) {
		b.performs = performed(r)
	}
	b.look(b.process)
}

// watch has the Pi's silence count from now on, if it was up. To a brain that was offline it is news.
func (b *brain) watch() {
	if src := b.site().Sources["pi"]; src != nil && src.Condition == "up" {
		b.silent, b.heard = !b.state.Blind.IsZero(), b.d.now
	}
}

// replayed is the state that the facts give; now and then they go through the journal's
// form first.
func (b *brain) replayed() *core.State {
	s := core.New(b.config)
	for _, k := range b.disk {
		f := k.fact
		if b.process%8 == 7 {
			f = b.reread(f)
		}
		s.Evolve(k.at, f)
	}
	return s
}

func (b *brain) reread(f core.Fact) core.Fact {
	again := core.NewFact(f.FactName())
	text, err := json.Marshal(f)
	if err == nil {
		err = json.Unmarshal(text, again)
	}
	if err != nil {
		b.d.fail("7: %s does not survive the journal: %v", f.FactName(), err)
		return f
	}
	return again
}

// die ends the process; the next begins away later.
func (b *brain) die(away time.Duration) {
	b.up, b.performs = false, ""
	b.process++
	b.d.tell("the brain is down")
	b.d.judge.replayed(b)
	was := b.process
	b.d.after(away, func() {
		if b.process == was && !b.up {
			b.d.tell("the brain starts")
			b.start()
		}
	})
}

// input lets something come to the process, once it goes on if it is paused.
func (b *brain) input(do func()) {
	switch {
	case !b.up:
	case b.paused > 0:
		b.held = append(b.held, do)
	default:
		do()
	}
}

func (b *brain) pause(for_ time.Duration) {
	if !b.up || b.paused > 0 {
		return
	}
	b.paused = b.d.now
	was := b.process
	b.d.after(for_, func() {
		if b.process != was {
			return
		}
		b.d.judge.disturb("brain")
		stood := b.d.now - b.paused
		b.paused = 0
		if stood > viewFresh {
			b.heard = max(b.heard, b.d.now) // its table begins again
			b.turn(core.Paused{For: stood})
		}
		held := b.held
		b.held = nil
		for _, do := range held {
			b.input(do)
		}
		b.turn(core.Tick{})
	})
}

// turn decides, writes down and only then acts.
func (b *brain) turn(in core.Input) {
	facts := b.state.Step(b.time(), in)
	for _, f := range facts {
		if _, step := f.(*core.RunStepped); step && b.dies != "" {
			after := b.dies == "after"
			if after {
				b.write(facts)
			}
			b.state = b.replayed()
			b.die(b.down)
			return
		}
	}
	b.write(facts)
	b.publish()
	for _, f := range facts {
		b.effect(f)
	}
	b.wakeUp()
	b.ask()
}

func (b *brain) write(facts []core.Fact) {
	for _, f := range facts {
		b.disk = append(b.disk, kept{b.time(), f})
		b.d.judge.fact(f)
		if b.d.telling {
			b.tellFact(f)
		}
	}
}

func (b *brain) tellFact(f core.Fact) {
	text := core.Sentence(f)
	if s, ok := f.(*core.RunStepped); ok {
		text = string(s.Event.Type) + " " + s.Event.Target + " " + s.Event.Why
		if s.Event.Run != nil {
			text += "epoch " + s.Epoch.Holder + " " + s.Event.Run.ID + ": " + s.Event.Run.Reason
		}
	}
	b.d.tell("brain: %s %s", f.FactName(), text)
}

func (b *brain) publish() {
	v := &b.view
	v.at = b.d.now
	v.epoch, v.run, v.runID = b.state.Mandate("home", "pi", b.time())
	v.open, v.back, v.mains = "", "", b.site().Supply() == power.Mains
	if r := b.site().Run; r != nil && !r.Over() {
		v.open = r.ID
	} else if r != nil && r.PutsBack() && b.state.MainsNow("home", b.time()) {
		v.back = r.ID
	}
}

func (b *brain) renew() {
	next := bundle{len(b.bundles) + 1, b.site().Armed, *b.config.Sites[0].Plan, b.config.Sites[0].Policy}
	for _, old := range b.bundles { // a hash is of what is in it
		if old.armed == next.armed && samePlan(old.plan, next.plan) {
			next.hash = old.hash
		}
	}
	b.bundles = append(b.bundles, next)
}

func samePlan(a, b shutdown.Plan) bool {
	return slices.EqualFunc(a.Stages, b.Stages, func(x, y shutdown.Stage) bool { return x.AllGuests == y.AllGuests && slices.Equal(x.Nodes, y.Nodes) })
}

func (b *brain) own() *bundle { return &b.bundles[len(b.bundles)-1] }

func (b *brain) wakeUp() {
	b.wake++
	wake := b.wake
	in := turnEach
	if at := b.state.NextDeadline(); !at.IsZero() {
		in = min(in, at.Sub(b.time()))
	}
	b.d.after(in, func() {
		b.input(func() {
			if b.wake == wake {
				b.tick()
			}
		})
	})
}

func (b *brain) tick() {
	if !b.silent && b.d.now-b.heard >= silentAfter {
		b.silent = true
		b.turn(core.Silent{Site: "home", Name: "pi", Last: b.time().Add(b.heard - b.d.now),
			Up: []core.Source{{Name: "pi", Pi: true, Last: b.time().Add(b.heard - b.d.now)}}})
		return
	}
	b.turn(core.Tick{})
}

// ask finds out about the brain's own internet as it does.
func (b *brain) ask() {
	if b.asking || !b.state.WantsUplink() {
		return
	}
	b.asking = true
	in, process := 100*time.Millisecond, b.process
	if !b.online {
		in = 2500 * time.Millisecond
	}
	b.d.after(in, func() {
		b.input(func() {
			if b.process == process {
				b.turn(core.Uplink{Online: b.online})
				b.d.after(3*time.Second, func() { b.input(func() { b.asking = b.process != process && b.asking }) })
			}
		})
	})
}

func (b *brain) effect(f core.Fact) {
	if f.FactName() == "blind_ended" {
		b.watch()
	}
	switch f := f.(type) {
	case *core.PlanArmed, *core.PlanDisarmed:
		b.renew()
	case *core.RunStepped:
		b.step(f)
	}
}

func (b *brain) step(f *core.RunStepped) {
	run := b.site().Run
	switch f.Event.Type {
	case shutdown.Began, shutdown.PutBackBegan:
		b.performs = performed(run)
	case shutdown.Ended, shutdown.Aborted, shutdown.PutBackEnded:
		b.performs = ""
	case shutdown.Sent, shutdown.StartSent:
		if b.performs != performed(run) {
			return
		}
		for _, c := range run.Due(b.time()) {
			if c.Target.ID() == f.Event.Target {
				b.command(run.ID, f.Epoch, c)
			}
		}
	}
}

// performed is what performs a run, or puts back what it stopped.
func performed(r *shutdown.Run) string {
	if r.PutsBack() {
		return r.ID + ", back"
	}
	return r.ID
}

func (b *brain) command(run string, epoch shutdown.Epoch, c shutdown.Command) {
	process, id, performs, t := b.process, c.Target.ID(), b.performs, c.Target
	b.d.send(command{actor: "brain", run: run, epoch: epoch, target: t, start: c.Start,
		alive: func() bool { return b.process == process && b.performs == performs },
		may: func() error {
			ends := b.view.open != run || b.view.mains
			if c.Start {
				ends = b.view.back != run
			}
			if b.paused > 0 || ends || b.d.now-b.view.at > viewFresh {
				return errKept
			}
			return nil
		},
		reach: func() (time.Duration, error) { return b.reach(t.Kind != shutdown.Listing, c.Start) },
		answer: func(found []shutdown.Target, err error) {
			b.input(func() {
				if b.process == process && b.performs == performs {
					b.turn(core.RunAnswered{Site: "home", Run: run, Target: id, Start: c.Start, Found: found, Err: err})
				}
			})
		}})
}

// reach is the brain's way to the machines: through the Pi, which keeps commands back while
// it knows that the mains are there, and starts unless it does, or directly.
func (b *brain) reach(acts, starts bool) (time.Duration, error) {
	way := 20 * time.Millisecond
	if !b.d.direct {
		var ok bool
		if way, ok = b.d.link.takes(b.d.link.down); !ok || !b.d.pi.listens() {
			return tcpWithin, errNoRoute
		}
		if starts && !b.d.pi.mainsNow() || !starts && b.d.pi.mains() {
			return way, errKept
		}
	} else if !b.online {
		return tcpWithin, errNoRoute
	}
	if !b.token && acts {
		return way, errRefused
	}
	return way, nil
}

// look sees each second how far the targets have come.
func (b *brain) look(process int) {
	b.d.after(turnEach, func() {
		if b.process != process {
			return
		}
		defer b.look(process)
		if b.performs == "" || b.paused > 0 {
			return
		}
		run := b.site().Run
		for _, t := range run.Looks() {
			if _, err := b.reach(true, run.PutsBack()); err != nil || b.performs != performed(run) {
				return
			}
			if s, ok := b.d.sight(t); ok {
				b.turn(core.RunSeen{Site: "home", Run: run.ID, Target: t.ID(), Sight: s})
			}
		}
	})
}

// receive takes a message of the Pi, and answers if there is anybody who waits.
func (b *brain) receive(m message, reply func(answer)) {
	b.input(func() {
		process := b.process
		fresh := b.take(m)
		if !b.up || b.process != process {
			return
		}
		b.replies++
		if !fresh { // it may be anybody who sends it
			reply(answer{process: b.process, seq: b.replies, empty: true})
			return
		}
		if m.bundle != 0 {
			b.named(m.bundle)
		}
		if b.heedsStop() {
			b.d.judge.heeded(m)
		}
		own := b.own()
		a := answer{process: b.process, seq: b.replies, epoch: b.view.epoch, run: b.view.run, runID: b.view.runID, hash: own.hash}
		if b.d.now-b.view.at > viewFresh {
			a.run = shutdown.None
		}
		if m.bundle != own.hash {
			if a.bundle = own; own.armed {
				b.gaveArmed = b.d.now
			}
		}
		reply(a)
	})
}

// named is the Pi's word of the bundle on its disk. While an armed one may be on its way, or older words
// of the Pi, it does not count that it names the disarmed one.
func (b *brain) named(hash int) {
	own := b.own()
	if !own.armed && hash == own.hash && b.gaveArmed != 0 && b.d.now-b.gaveArmed < crossesFor {
		b.has = 0
		return
	}
	b.has = hash
	b.d.judge.named(b)
}

// take takes a message in, and reports whether it is one that was not taken before.
func (b *brain) take(m message) (fresh bool) {
	kind := 0
	if m.report {
		kind = 1
	}
	if m.boot != b.boot && !m.forged {
		b.boot, b.seen = m.boot, [2]int64{}
	}
	if m.seq <= b.seen[kind] || m.boot != b.boot && b.boot != "" {
		return false
	}
	b.seen[kind] = m.seq
	if !m.report && !m.forged {
		news := b.silent || b.site().Sources["pi"].Boot != m.boot
		b.heard, b.silent = b.d.now, false
		if news {
			b.turn(core.Heard{Site: "home", Name: "pi", Role: core.Pi, Boot: m.boot})
		}
	}
	if !m.report {
		b.heeds = m.heeds
	}
	process, before, lost := b.process, b.d.judge.heard, b.dies == "before"
	defer func() {
		if b.process != process && lost {
			b.d.judge.heard = before // nobody knows of it
		}
	}()
	if m.run != nil {
		if m.boot != b.saidIn || m.seq >= b.saidAt { // not overtaken
			b.saidIn, b.saidAt = m.boot, m.seq
			b.d.judge.brainHears(m.run)
		}
		b.turn(core.PiReported{Site: "home", Pi: "pi", Run: *m.run, Boot: m.boot, Seq: m.seq})
	}
	if m.report && b.up && b.process == process {
		lag := max(b.d.now-m.sent-usual, 0)
		if m.forged && b.boot == "" { // nothing yet to measure it by
			lag = 0
		}
		if lag <= 10*time.Second {
			b.d.judge.reported(m)
		}
		b.turn(core.UPSReported{Site: "home", Pi: "pi", UPS: "apc1", Reading: m.reading, Lag: lag, Boot: m.boot, Seq: m.seq})
	}
	return true
}

// person presses a button.
func (b *brain) person(in core.Input) {
	b.input(func() { b.turn(in) })
}

func (b *brain) reconfigure() {
	b.input(func() {
		b.plan++
		b.configure()
		b.turn(core.Configured{Config: b.config})
		b.renew()
	})
}
