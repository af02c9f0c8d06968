package duet_test

import (
	"reflect"
	"slices"
	"strings"
	"time"

	brains "sentinel.home.arpa/cloud/sentineltest"
	pis "sentinel.home.arpa/pi-proxy/guardiantest"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// held is a run and who holds it.
type held struct {
	actor, id string
	epoch     shutdown.Epoch
	plan      shutdown.Plan
	dry       bool
	began     time.Duration
	out       time.Duration // since when the power was out, as its holder knew
	outage    int
	whole     bool // every machine was on then: else what it tells may accept nothing
	over      bool
	ended     time.Duration // by itself, when; 0: not so
	halted    bool          // by a person
	yielded   bool
	stages    map[int]time.Time // when each began, by its holder's clock: over a reboot only the wall clock tells
}

// word is what one actor was told of the other's run.
type word struct {
	at    time.Duration
	id    string
	epoch shutdown.Epoch
	state shutdown.State
}

// knows is what an actor has heard of the UPS.
type knows struct {
	battery, mains bool
	at             time.Duration // when it was true
	told           time.Duration // when it was heard
	heard          int           // in which process that was
	boot           int           // and in which boot of the Pi, of what it knows itself
}

// spell is a time on battery.
type spell struct{ from, until time.Duration }

// truth is the UPS's, as far as the Pi has polled it.
type truth struct {
	outage    int            // how many there were
	since     time.Duration  // when this one was first polled; 0: the mains are there
	from      time.Duration  // when it began, whatever was not heard of since
	spells    []spell        // those on battery before, the last ones
	last      power.Transfer // the one that was last polled
	real      int            // the same, as the UPS itself counts
	testSince time.Duration  // a self-test that the Pi can tell from an outage
	lowSince  time.Duration
	lowBefore time.Duration // what that was the last time
	lowEnd    time.Duration // when that was over
	shortAt   time.Duration // when the battery was last seen to be short
	unheardAt time.Duration // when the Pi last heard a transfer before which the mains were back unheard
	doneAt    time.Duration // when the Pi last took a run of the brain's for one of this outage that is over
	renamedAt time.Duration // when a Pi that had booted last heard the outage that went on under another name
	pi        knows
}

// heard is what the brain was told by the Pi.
type heard struct {
	brain      knows
	test       bool          // it was told of a self-test, whose silence is danger only later (U3)
	brainMains time.Duration // when it last heard of mains
	testAt     time.Duration // when it last heard that its UPS has gone from anything else into a self-test
	mainsAt    time.Duration // when that was true
	transfer   int           // the last, as the UPS counts them
	claimAt    time.Duration // when the first report of a battery was sent since it watches: it may not believe that alone
	agreed     bool          // another says so too
	lost       bool          // the brain has lost contact with the UPS, as it said
	knew       bool          // the brain has said that the UPS is on battery
	oldAt      time.Duration // when it last heard one of before it watched, which the next may confirm
	laterAt    time.Duration // when it last heard of a later one
	told       word          // of the Pi's run
	boot       string        // of the Pi that last told of the UPS
	dark       bool          // the brain has lost the site
	blind      bool          // it has lost its own internet
	darkAt     time.Duration // when it last had again, or its own internet
	bootedAt   time.Duration // when a Pi that had booted in the dark, or before the brain knew of the outage, last told of the UPS
}

// judge says what must not be, by what the edges saw.
type judge struct {
	d *duet

	truth
	heard
	piFrom    time.Duration // since when the Pi's process listens
	piOut     bool          // what it had on its disk then: that the UPS is on battery
	brainFrom time.Duration
	piHolds   time.Duration // since when the Pi's process has had a reason by its policy; 0: it has none
	mandate   word          // the Pi, of the brain's run
	sent      message

	armed     bool
	confirmed bool // the Pi has said that it is disarmed
	person    int  // in which outage one last disarmed, or stopped the plan
	stop      stop

	runs      []*held
	stopped   map[string]order         // by whom and what: when a machine was last told to go down
	commanded time.Duration            // when a machine was last told
	late      map[string]missed        // the targets that were named as late
	unseen    map[string]bool          // by run and name, the nodes that live and that it took for down since nobody reached them
	disturbed map[string]time.Duration // when something last was out of order, by what
}

const (
	patience  = 10 * time.Second
	commanded = 20 * time.Second // invariant 2, after the ride-through
	mayLose   = 30 * time.Second // the policy's
	slack     = 200 * time.Millisecond
	testMost  = 40 * time.Second
	settles   = 20 * time.Second // what it takes until nothing remains of what was wrong
	lowFor    = 10 * time.Second
)

// disturb notes that something is out of order, or just was.
func (j *judge) disturb(what string) {
	j.disturbed[what] = j.d.now
}

func (j *judge) calmSince(at time.Duration, whats ...string) bool {
	for _, w := range whats {
		if t, ok := j.disturbed[w]; ok && t >= at {
			return false
		}
	}
	return true
}

// polled is what the Pi has just read.
func (j *judge) polled(s power.Status, ok bool) {
	if !ok || s.Flags&(power.Online|power.OnBattery) == 0 || s.Flags.Has(power.CommLost) {
		return
	}
	now, first, booted := j.d.now, j.pi.heard != j.d.pi.process, j.pi.boot != j.d.pi.boot
	on := s.Flags.Has(power.OnBattery)
	j.pi = knows{battery: on, mains: !on, at: now, told: now, heard: j.d.pi.process, boot: j.d.pi.boot}
	u := &j.d.ups
	if !on {
		if j.since != 0 {
			j.ends(now)
		}
		j.since, j.testSince, j.lowSince, j.last, j.real = 0, 0, 0, s.Transfer(), u.transfer
		return
	}
	unheard := j.since != 0 && first && u.transfer != j.real // that the mains were back for a moment
	switch {
	case unheard:
		j.unheardAt = now
		j.ends(now)
	case j.since != 0 && booted && !s.Transfer().Same(j.last): // apcupsd was started anew as well, and counts anew
		j.renamedAt = now
	}
	if j.since == 0 || unheard {
		if !unheard {
			j.begins(now)
		}
		j.since, j.testSince = now, 0
		if u.test && !u.out && !first {
			j.testSince = now
		}
	}
	j.last, j.real = s.Transfer(), u.transfer
	switch {
	case u.out, first:
		j.testSince = 0
	}
	if !u.low {
		if j.lowSince != 0 {
			j.lowBefore, j.lowEnd = j.lowSince, now
		}
		j.lowSince = 0
	} else if j.lowSince == 0 {
		j.lowSince = now
	}
	if u.charge < 0.2 || u.runtime < 120 {
		j.shortAt = now
	}
}

// ends is a time on battery that is over. Of the last ones it may not be known yet.
func (j *judge) ends(now time.Duration) {
	j.spells = append(slices.Clone(j.spells[max(len(j.spells)-3, 0):]), spell{j.since, now})
}

// read is what the Pi has made of it.
func (j *judge) read(r power.Reading) {
	need := time.Duration(0)
	if b := j.d.pi.bundle; b != nil {
		need = b.plan.Need()
	}
	switch v := j.d.policy().Decide(r, need); {
	case v.Start && j.piHolds == 0:
		j.piHolds = j.d.now
	case !v.Start && !r.OnBattery():
		j.piHolds = 0
	}
}

// begins is an outage's first poll.
func (j *judge) begins(now time.Duration) {
	j.outage++
	j.from = now
	outage, d := j.outage, j.d
	well := d.pi.up && !d.pi.paused && !d.pi.cut && d.pi.dies == "" && d.pi.disk.bundle != nil && d.pi.disk.bundle == d.pi.bundle && d.pi.bundle.armed && j.armed && d.ups.out
	if !well || !d.allOn() || !d.obedient() {
		return
	}
	quiet := func(whats ...string) bool {
		return j.outage == outage && j.since != 0 && d.ups.out && !j.stopLasts() && j.calmSince(now, append(whats, "ups", "nodes", "person")...)
	}
	d.after(d.ride+commanded+2*time.Second, func() {
		if quiet("pi") && j.commanded < now && d.allOn() {
			d.fail("2: the power has been out for %s, the Pi could act, and nobody was told", d.now-now)
		}
	})
	b := d.brain
	if !b.up || b.paused > 0 || !b.token || !b.online || d.link.up != fine || d.link.down != fine || b.dies != "" || !j.calmSince(now-settles, "brain", "link", "pi", "ups", "person") {
		return
	}
	d.after(d.ride+3*time.Second, func() {
		if !quiet("pi", "brain", "link") {
			return
		}
		if j.commanded < now && d.allOn() { // else one that the outage before took down got it
			d.fail("2: the power has been out for %s, all is well, and nobody was told", d.now-now)
		}
		pi, run := j.latest("pi"), j.latest("brain")
		if pi != nil && pi.began >= now && !d.startedSince(now) && (run == nil || run.began < now || run.whole) {
			d.fail("G1: the Pi has begun although the brain acts")
		}
	})
}

// armedMidway proves that a plan which is armed in an outage begins, whatever was tried before
// (rule S7).
func (j *judge) armedMidway() {
	d, b, outage, now := j.d, j.d.brain, j.outage, j.d.now
	well := b.up && b.paused == 0 && b.token && b.online && b.dies == "" && d.link.up == fine && d.link.down == fine && d.pi.up && !d.pi.paused
	if j.since == 0 || !d.ups.out || j.person == outage || j.commanded >= j.from || !well || !d.allOn() || !d.obedient() ||
		!j.calmSince(now-settles, "brain", "link", "pi") || !j.calmSince(j.since+1, "ups") {
		return
	}
	d.after(max(j.since+d.ride-now, 0)+3*time.Second, func() {
		calm := j.calmSince(now, "brain", "link", "pi", "ups", "nodes", "disarmed", "plan changes")
		if calm && !j.stopLasts() && j.outage == outage && j.since != 0 && d.ups.out && j.commanded < now {
			d.fail("2: the plan was armed %s ago in an outage, all is well, and nobody was told", d.now-now)
		}
	})
}

// piDied proves that the brain acts if the Pi is gone in an outage of which it told (U5).
func (j *judge) piDied(away time.Duration) {
	d, outage, now := j.d, j.outage, j.d.now
	j.disturb("pi")
	b := d.brain
	if !d.direct || j.since == 0 || !d.ups.out || away < 40*time.Second || !j.armed || !b.up || b.paused > 0 || !b.token || !b.online || b.dies != "" ||
		!j.brain.battery || j.test || j.brain.at < j.since || !j.calmSince(j.since-settles, "brain", "person", "nodes", "plan") || j.runsIn(outage) {
		return
	}
	if !d.allOn() || !d.obedient() {
		return
	}
	begun := j.since
	d.after(mayLose+6*time.Second, func() {
		if j.outage == outage && !j.stopLasts() && !d.pi.up && j.calmSince(now, "brain", "person", "nodes") && j.commanded < begun {
			d.fail("2: the Pi died in an outage %s ago, and the brain told nobody", d.now-now)
		}
	})
}

func (j *judge) runsIn(outage int) bool {
	return slices.ContainsFunc(j.runs, func(r *held) bool { return r.outage == outage })
}

// fact sees each of the brain's.
func (j *judge) fact(f brains.Fact) {
	switch f.FactName() {
	case "brain_started", "brain_paused", "blind_ended":
		j.brainFrom = j.d.now
	case "contact_lost", "contact_back": // what it has lost stays so over a stop that soon follows another
		j.lost = f.FactName() == "contact_lost"
	}
	j.darkens(f)
	switch f := f.(type) {
	case *brains.PlanArmed:
		j.armed, j.confirmed = true, false
		j.disturb("person")
		j.armedMidway()
	case *brains.PlanDisarmed:
		j.armed, j.confirmed, j.person = false, false, j.outage
		j.disturb("person")
		j.disturb("disarmed")
	case *brains.PlanStopped:
		if f.Above == "" { // else the brain tells once more of the stop that holds, which nobody pressed again
			j.stopPressed()
		}
	case *brains.SupplyChanged:
		j.knew = f.Supply == power.Battery
	case *brains.StopEnded:
		j.stopEnded()
	case *brains.RunStepped:
		if f.Event.Type == shutdown.Began {
			j.began(&held{actor: "brain", id: f.Event.Run.ID, epoch: f.Epoch, plan: f.Event.Run.Plan, dry: f.Event.Run.DryRun}, f.Event)
		}
		j.stepped("brain", f.Event)
	}
}

// darkens notes when the brain was without the site.
func (j *judge) darkens(f brains.Fact) {
	switch f.FactName() {
	case "source_failed":
		j.dark = true
	case "source_back":
		if j.dark {
			j.darkAt = j.d.now
		}
		j.dark = false
	case "blind_began":
		j.blind = true
	case "brain_started":
		j.blind = false
	case "blind_ended":
		j.darkAt, j.blind = j.d.now, false
	}
}

// event sees each of the Pi's.
func (j *judge) event(e pis.Event) {
	switch e.Event.Type {
	case pis.BrainDone:
		j.doneAt = j.d.now
	case shutdown.Began:
		j.began(&held{actor: "pi", id: e.Event.Run.ID, epoch: e.Epoch, plan: e.Event.Run.Plan}, e.Event)
	}
	j.stepped("pi", e.Event)
}

func (j *judge) latest(actor string) *held {
	for _, r := range slices.Backward(j.runs) {
		if r.actor == actor {
			return r
		}
	}
	return nil
}

func (j *judge) stepped(actor string, e shutdown.Event) {
	r := j.latest(actor)
	switch {
	case r == nil:
	case e.Type == shutdown.StageBegan:
		r.stages[e.Stage] = j.clock(actor)
	case e.Type == shutdown.WentDown:
		j.wentDown(actor, e.Target)
	case e.Type == shutdown.Late:
		j.late[e.Target] = missed{j.outage, j.d.now}
	case e.Type == shutdown.Ended, e.Type == shutdown.Aborted:
		if r.over = true; e.Type == shutdown.Ended {
			r.ended = j.d.now
		}
		r.yielded = r.yielded || strings.Contains(e.Why, "a later epoch")
		r.halted = strings.HasSuffix(e.Why, " stopped it")
		if r.halted && actor == "pi" {
			j.halts(r)
		}
		if strings.Contains(e.Why, "disarmed") { // the Pi may hear it late
			j.disturb("disarmed")
		}
	}
}

// missed is when a target was last named as late, and in which outage.
type missed struct {
	outage int
	at     time.Duration
}

// isLate reports whether a node was named as late in this outage, or in a run that went on into it since
// its holder cannot have known of the mains between; that has also dealt with what was booted there.
func (j *judge) isLate(n *node) bool {
	l := j.late["node/"+n.name]
	return l.outage == j.outage || slices.ContainsFunc(j.runs, func(r *held) bool {
		wentOn := !r.dry && r.began < j.from && r.ended >= j.from && !j.anotherSince(r.actor, r.began)
		return wentOn && (l.at >= r.began || n.booted >= r.began && n.booted < j.from)
	})
}

func (j *judge) began(r *held, e shutdown.Event) {
	if r.out = j.d.now; !e.Run.Out.IsZero() {
		r.out -= e.At.Sub(e.Run.Out)
	}
	r.began, r.outage, r.whole, r.stages = j.d.now, j.outage, j.d.allOn(), map[int]time.Time{}
	before := j.latest(r.actor)
	j.runs = append(j.runs, r)
	if r.dry {
		return
	}
	k, _, _ := j.knows(r.actor)
	w, o := j.heardOf(r.actor), j.latest(other(r.actor))
	d := j.d
	switch {
	case !j.reason(k):
		d.fail("1: the %s began without a reason that holds", r.actor)
	case j.isStopped(r.actor):
		d.fail("S10: the %s began though a person stopped the plan", r.actor)
	case before != nil && !before.over:
		d.fail("G2: the %s began while its own run goes on", r.actor)
	case before != nil && !before.yielded && !before.dry && before.outage == j.outage && !j.another(r.actor, before) && !j.takenOver(before, o):
		d.fail("G2: the %s began a second time in one outage", r.actor)
	case before != nil && r.epoch.Compare(before.epoch) <= 0, r.epoch.Compare(w.epoch) <= 0:
		d.fail("G5: the %s began under %v after %v", r.actor, r.epoch, w.epoch)
	case o == nil || o.dry || o.outage != j.outage || w.at < o.began || w.epoch != o.epoch:
	case r.actor == "pi" && j.piFrom > j.from && !j.piOut: // it was not known yet to be more than a self-test
	case r.actor == "pi" && (j.piHolds == 0 || w.at < j.piHolds): // words from before the reason count for nothing
	case w.state == shutdown.Advancing && d.now-w.at < patience-slack:
		d.fail("G2: the %s began %s after it was told that the %s's run advances", r.actor, d.now-w.at, o.actor)
	case r.actor == "pi" && (j.another("pi", o) || j.renamedAfter(before, o)): // that run was of the outage before
	case r.actor == "brain" && (j.piFrom > j.from || !j.calmSince(o.began, "clock")): // by the Pi's own word or its own clock the outage began after that run
	case (w.state == shutdown.HasEnded || w.state == shutdown.Stopped) && !o.yielded:
		d.fail("G2: the %s began after it was told that the %s's run is over", r.actor, o.actor)
	}
}

// leaves is a command that goes out.
func (j *judge) leaves(c command) {
	d := j.d
	r := j.latest(c.actor)
	if r == nil || r.id != c.run {
		d.fail("3: the %s told %s in no run", c.actor, c.target.ID())
		return
	}
	k, from, process := j.knows(c.actor)
	w := j.heardOf(c.actor)
	switch {
	case r.dry:
		d.fail("S7: the %s told %s in a dry run", c.actor, c.target.ID())
	case r.over:
		d.fail("3: the %s told %s in a run that is over", c.actor, c.target.ID())
	case c.actor == "brain" && !j.armed:
		d.fail("3: the brain told %s though it was disarmed", c.target.ID())
	case c.actor == "pi" && (d.pi.bundle == nil || !d.pi.bundle.armed):
		d.fail("3: the Pi told %s though it is not armed", c.target.ID())
	case c.actor == "pi" && j.confirmed:
		d.fail("S10: the Pi told %s though it has confirmed that it is disarmed", c.target.ID())
	case j.isStopped(c.actor):
		d.fail("S10: the %s told %s though a person stopped the plan", c.actor, c.target.ID())
	case k.mains:
		d.fail("3: the %s told %s though it knows that the mains are back", c.actor, c.target.ID())
	case c.actor == "brain" && k.heard != process && !j.calmSince(k.told, "clock"):
		d.fail("S5: the brain told %s by what it knew an hour ago", c.target.ID())
	case !k.battery, k.heard != process && (c.actor == "brain" && d.now-k.at < mayLose-slack || d.now-from < patience-slack && !(c.actor == "brain" && j.lost)):
		d.fail("S5: the %s told %s before it heard the UPS", c.actor, c.target.ID())
	case w.at >= r.began && w.epoch.Compare(r.epoch) > 0 && w.state == shutdown.Advancing && w.at < c.at && c.at-w.at < patience-slack:
		d.fail("G2: the %s told %s under %v though it was told of %v", c.actor, c.target.ID(), r.epoch, w.epoch)
	}
	j.inStage(c, r)
	if c.target.Kind == shutdown.Guest {
		j.stopped[c.actor+" "+c.target.ID()] = order{c.run, d.now}
	}
	d.tell("%s tells %s", c.actor, c.target.ID())
}

// inStage proves that a target is one of the run's plan, and its turn has come.
func (j *judge) inStage(c command, r *held) {
	stage := slices.IndexFunc(r.plan.Stages, func(s shutdown.Stage) bool {
		return c.target.Kind == shutdown.Guest && s.AllGuests || c.target.Kind == shutdown.ProxmoxNode && slices.Contains(s.Nodes, c.target.Node)
	})
	if stage < 0 {
		j.d.fail("S10: the %s told %s, which is not in the plan that its run began with", c.actor, c.target.ID())
		return
	}
	if stage == 0 {
		return
	}
	before := r.plan.Stages[stage-1]
	if from, ok := r.stages[stage-1]; ok && j.clock(c.actor).Sub(from) >= before.Deadline-slack {
		return // it has had its time
	}
	for _, n := range j.d.nodes {
		if n.booted >= r.began || j.unseen[r.id+" "+n.name] {
			continue // it may have been seen down before
		}
		inPlan := slices.ContainsFunc(r.plan.Nodes, func(p shutdown.Node) bool { return p.Name == n.name })
		guest := n.on && n.guest && (n.started <= r.began || n.starter == c.actor) // of the other's start that was on its way then it did not know
		if inPlan && before.AllGuests && guest && n.reached() && n.manner != hangs || slices.Contains(before.Nodes, n.name) && n.on {
			j.d.fail("3: the %s told %s while %s of the stage before still runs", c.actor, c.target.ID(), n.name)
		}
	}
}

// arrives is a command that a machine takes.
func (j *judge) arrives(c command) {
	j.commanded = j.d.now
	if c.target.Kind == shutdown.ProxmoxNode { // what never reached a node told it nothing
		j.stopped[c.actor+" "+c.target.ID()] = order{c.run, j.d.now}
	}
}

// replayed proves that the facts give what the brain knows of its runs.
func (j *judge) replayed(b *brain) {
	is, again := b.site(), b.replayed().Sites["home"]
	same := is.Armed == again.Armed && is.Epoch == again.Epoch && sameRun(is.Run, again.Run) && len(is.UPSes) == len(again.UPSes)
	for name, u := range is.UPSes {
		v := again.UPSes[name]
		same = same && v != nil && u.Supply == v.Supply && u.Since.Equal(v.Since) && u.Lost == v.Lost && u.Stale == v.Stale
	}
	if !same {
		j.d.fail("7: the facts do not give the brain's state")
	}
}

// restored proves that the ledger gives what the Pi knows.
func (j *judge) restored(p *pi) {
	again := pis.New("pi")
	for _, e := range p.disk.events {
		again.Restore(e)
	}
	if again.Epoch != p.core.Epoch || !sameRun(again.Run, p.core.Run) || !slices.Equal(again.Out(), p.core.Out()) {
		j.d.fail("7: the ledger does not give the Pi's state")
	}
}

func sameRun(a, b *shutdown.Run) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ID == b.ID && a.Stage == b.Stage && a.StageAt.Equal(b.StageAt) && a.Past == b.Past && a.Finished == b.Finished && a.Stopped == b.Stopped &&
		a.LastStep.Equal(b.LastStep) && slices.EqualFunc(a.Targets, b.Targets, func(x, y *shutdown.Progress) bool {
		return reflect.DeepEqual(x.Target, y.Target) && x.Tries == y.Tries && x.Waiting == y.Waiting && x.Accepted == y.Accepted && x.Down == y.Down &&
			x.Skipped == y.Skipped && x.Late == y.Late && x.Why == y.Why && x.RetryAt.Equal(y.RetryAt)
	})
}
