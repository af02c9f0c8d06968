package duet_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	core "sentinel.home.arpa/cloud/sentineltest"
	"sentinel.home.arpa/shared/shutdown"
)

// line is something that can happen.
type line struct {
	text   string
	weight int
	do     func(d *duet)
}

// lines are all that can happen in a history, as its script says it.
func lines() []line {
	all := []line{
		{"mains off", 14, func(d *duet) { d.supply(func(u *ups) { u.out = true }) }},
		{"mains on", 8, func(d *duet) { d.supply(func(u *ups) { u.out, u.low, u.runtime, u.charge = false, false, 2400, 1 }) }},
		{"mains blink", 2, func(d *duet) {
			was := d.ups.out
			d.supply(func(u *ups) { u.out = !was })
			d.after(400*time.Millisecond, func() { d.supply(func(u *ups) { u.out = was }) })
		}},
		{"battery low", 2, func(d *duet) { d.supply(func(u *ups) { u.low = true }) }},
		{"battery not low", 1, func(d *duet) { d.supply(func(u *ups) { u.low = false }) }},
		{"runtime 60s", 2, func(d *duet) { d.ups.runtime = 60 }},
		{"runtime 40m", 1, func(d *duet) { d.ups.runtime = 2400 }},
		{"charge 10", 1, func(d *duet) { d.ups.charge = 0.1 }},
		{"ups lost", 3, func(d *duet) { d.apcupsd(func(u *ups) { u.answer(d.now); u.lost = true }) }},
		{"ups found", 3, func(d *duet) { d.apcupsd(func(u *ups) { u.lost = false }) }},
		{"apcupsd dies", 3, func(d *duet) { d.apcupsd(func(u *ups) { u.dead = true }) }},
		{"apcupsd starts", 3, func(d *duet) { d.apcupsd(func(u *ups) { u.restart(d.now) }) }},
		{"pi is cut from the machines", 2, func(d *duet) { d.judge.disturb("pi"); d.pi.cut = true }},
		{"pi reaches the machines", 2, func(d *duet) { d.judge.disturb("pi"); d.pi.cut = false }},
		{"pi disk slow", 1, func(d *duet) { d.pi.slow = 4 * time.Second }},
		{"pi disk fast", 1, func(d *duet) { d.pi.slow = 0 }},
		{"brain token revoked", 3, func(d *duet) { d.judge.disturb("brain"); d.brain.token = false }},
		{"brain token restored", 2, func(d *duet) { d.judge.disturb("brain"); d.brain.token = true }},
		{"brain offline", 2, func(d *duet) { d.uplink(false) }},
		{"brain online", 2, func(d *duet) { d.uplink(true) }},
		{"arm", 4, func(d *duet) { d.brain.person(core.Arm{Site: "home", By: "alice"}) }},
		{"disarm", 4, func(d *duet) { d.brain.person(core.Disarm{Site: "home", By: "alice"}) }},
		{"stop", 4, func(d *duet) { d.brain.person(core.Stop{Site: "home", By: "alice"}) }},
		{"plan changes", 3, func(d *duet) { d.judge.disturb("person"); d.judge.disturb("plan changes"); d.brain.reconfigure() }},
		{"an old report again", 2, func(d *duet) {
			m := d.judge.sent
			m.forged = true
			if m.seq != 0 {
				d.brain.receive(m, func(answer) {})
			}
		}},
		{"machines boot", 4, func(d *duet) { d.boot() }},
	}
	for _, t := range []time.Duration{8 * time.Second, 60 * time.Second} {
		all = append(all, line{"self-test " + t.String(), 2, func(d *duet) { d.selfTest(t) }})
	}
	for _, t := range []time.Duration{time.Second, 8 * time.Second, 45 * time.Second} {
		s := " " + t.String()
		all = append(all,
			line{"pi crashes for" + s, 2, func(d *duet) { d.pi.die(t, false, 0) }},
			line{"brain crashes for" + s, 2, func(d *duet) { d.brain.crash(t, 0) }},
			line{"brain reboots, an hour later, for" + s, 1, func(d *duet) { d.brain.crash(t, time.Hour) }},
			line{"pi reboots, an hour earlier, for" + s, 1, func(d *duet) { d.pi.die(t, true, -time.Hour) }},
			line{"pi reboots, an hour later, for" + s, 1, func(d *duet) { d.pi.die(t, true, time.Hour) }},
			line{"pi reboots, and apcupsd, for" + s, 1, func(d *duet) {
				if d.pi.up {
					d.after(t, func() { d.apcupsd(func(u *ups) { u.restart(d.now) }) })
				}
				d.pi.die(t, true, 0)
			}},
			line{"pi stands still for" + s, 1, func(d *duet) { d.judge.disturb("pi"); d.pi.pause(t) }},
			line{"brain stands still for" + s, 1, func(d *duet) { d.judge.disturb("brain"); d.brain.pause(t) }})
	}
	for _, when := range []string{"before", "after"} {
		all = append(all,
			line{"pi dies at its next step, " + when + " the disk, for 3s", 3, func(d *duet) { d.judge.disturb("pi"); d.pi.dies, d.pi.down = when, 3*time.Second }},
			line{"brain dies at its next step, " + when + " the disk, for 3s", 3, func(d *duet) { d.judge.disturb("brain"); d.brain.dies, d.brain.down = when, 3*time.Second }})
	}
	for _, w := range []way{fine, gone, late, stale, loses, mixes} {
		weight := 1
		if w == fine {
			weight = 3
		}
		all = append(all,
			line{"link up " + string(w), weight, func(d *duet) { d.judge.disturb("link"); d.link.up = w }},
			line{"link down " + string(w), weight, func(d *duet) { d.judge.disturb("link"); d.link.down = w }},
			line{"link " + string(w), weight, func(d *duet) { d.judge.disturb("link"); d.link.up, d.link.down = w, w }})
	}
	for _, name := range []string{"pve1", "pve2", "nas"} {
		for _, m := range []manner{obeys, refuses, hangs, mute, stubborn, cut, away} {
			all = append(all, line{name + " " + string(m), 1, func(d *duet) { d.judge.disturb("nodes"); d.node(name).takes(m, d.now) }})
		}
		all = append(all,
			line{name + " is busy", 1, func(d *duet) { d.judge.disturb("nodes"); d.node(name).busy = true }},
			line{name + " answers after 5s", 1, func(d *duet) { d.judge.disturb("nodes"); d.node(name).slow = 5 * time.Second }})
	}
	return all
}

// supply changes what the UPS does, of which apcupsd's scripts tell at once.
func (d *duet) supply(change func(u *ups)) {
	was := d.ups.onBattery()
	change(&d.ups)
	d.ups.switched(was)
	if !d.slow && !d.ups.dead && !d.ups.lost {
		d.pi.poke()
	}
}

// apcupsd changes whether the UPS is heard.
func (d *duet) apcupsd(change func(u *ups)) {
	d.judge.disturb("ups")
	change(&d.ups)
}

func (d *duet) selfTest(t time.Duration) {
	if d.ups.onBattery() {
		return
	}
	d.supply(func(u *ups) { u.test = true })
	n := d.ups.transfer
	d.after(t, func() {
		if d.ups.transfer == n {
			d.supply(func(u *ups) { u.test = false })
		}
	})
}

func (d *duet) uplink(online bool) {
	d.judge.disturb("brain")
	d.judge.disturb("link")
	d.brain.online = online
	w := fine
	if !online {
		w = gone
	}
	d.link.up, d.link.down = w, w
}

func (d *duet) boot() {
	d.judge.disturb("nodes")
	for _, n := range d.nodes {
		n.boot()
		n.booted = d.now
	}
}

// crash kills the brain; over a reboot its clock may jump ahead.
func (b *brain) crash(away, jump time.Duration) {
	b.d.judge.disturb("brain")
	if !b.up {
		return
	}
	if jump != 0 {
		b.d.judge.disturb("clock")
	}
	b.ahead += jump
	b.die(away)
}

// waits are between two lines.
func waits() []time.Duration {
	return []time.Duration{0, 200 * time.Millisecond, 900 * time.Millisecond, 2 * time.Second, 3100 * time.Millisecond, 5 * time.Second, 8 * time.Second, 10500 * time.Millisecond, 14 * time.Second, 31 * time.Second}
}

// deed is a line and when it happens.
type deed struct {
	wait time.Duration
	line
}

func (d deed) String() string { return fmt.Sprintf("+%-6s %s", d.wait, d.text) }

func (s setting) String() string {
	via, hooks := "through the Pi", "hooked"
	if s.direct {
		via = "directly"
	}
	if s.slow {
		hooks = "polled"
	}
	return fmt.Sprintf("ride=%s plan=%d, %s, %s", s.ride, s.plan, via, hooks)
}

// live lets a history happen, and then an outage in a house in which all is well again.
func live(s setting, deeds []deed, telling bool) *duet {
	d := newDuet(s, telling)
	for _, x := range deeds {
		if telling {
			d.story = append(d.story, x.String())
		}
		d.pass(x.wait)
		if d.wrong != "" {
			return d
		}
		x.do(d)
	}
	d.pass(time.Second)
	if d.wrong == "" {
		d.goesOn()
	}
	if d.wrong == "" {
		d.calm()
	}
	return d
}

// well puts everything but the power and the machines in order.
func (d *duet) well() {
	for _, w := range []string{"pi", "brain", "link", "ups"} {
		d.judge.disturb(w)
	}
	d.link.up, d.link.down = fine, fine
	d.pi.cut, d.pi.slow, d.pi.dies = false, 0, ""
	d.brain.token, d.brain.online, d.brain.dies = true, true, ""
	d.ups.dead, d.ups.lost = false, false
}

// goesOn proves that an outage which lasts leads to its end, whatever happened to the
// actors in it (rule S9): every machine of the plan is down, or was named as late.
func (d *duet) goesOn() {
	j := &d.judge
	if j.since == 0 || !d.ups.out || !j.armed || j.person == j.outage || !j.calmSince(j.from, "nodes", "disarmed", "plan changes") || !d.obedient() {
		return
	}
	d.tell("all is well but the power")
	outage := j.outage
	d.well()
	d.pass(200 * time.Second)
	at, disarmed := j.disturbed["disarmed"]
	ran := slices.ContainsFunc(j.runs, func(r *held) bool { return !r.dry && r.began <= at })
	if disarmed && ran && !j.anotherSince("brain", at) { // whoever arms the plan again in that outage begins no second run of it
		return
	}
	if j.outage != outage || j.since == 0 || j.person == outage || j.stopLasts() { // a brain that stood still heard a person only now
		return
	}
	p, last := d.brain.own().plan, shutdown.Epoch{}
	for _, r := range j.runs {
		if !r.dry && r.epoch.Compare(last) > 0 { // which takes the others' place
			p, last = r.plan, r.epoch
		}
	}
	for _, n := range d.nodes {
		if _, in := p.Node(n.name); in && n.on && !j.isLate(n) {
			d.fail("S9: the outage has lasted for %s, all was well for 200 s, and %s is up and was not named", d.now-j.since, n.name)
		}
	}
}

// calm brings everything back, and proves that the next outage is dealt with in time, by
// one actor.
func (d *duet) calm() {
	d.tell("all is well")
	d.well()
	d.supply(func(u *ups) {
		*u = ups{runtime: 2400, charge: 1, count: u.count, transfer: u.transfer, named: u.named, names: u.names}
	})
	for d.wrong == "" && (!d.brain.listens() || !d.pi.listens()) {
		d.pass(time.Second)
	}
	d.pass(10 * time.Second) // and what was told is off
	d.boot()
	d.brain.person(core.Arm{Site: "home", By: "alice"})
	d.judge.disturb("brain")
	d.pass(settles + time.Second)
	d.tell("the power goes out")
	d.supply(func(u *ups) { u.out = true })
	d.pass(d.ride + 8*time.Second)
	if d.wrong == "" {
		d.judge.replayed(d.brain)
		d.judge.restored(d.pi)
	}
	if d.wrong == "" && d.judge.commanded < d.now-8*time.Second {
		d.fail("2: all is well, the power is out, and nobody was told")
	}
}

// script is a history as people read it.
func script(s setting, deeds []deed) string {
	var b strings.Builder
	fmt.Fprintln(&b, s)
	for _, x := range deeds {
		fmt.Fprintln(&b, x)
	}
	return b.String()
}

// read is the opposite.
func read(t failer, text string) (s setting, deeds []deed) {
	t.Helper()
	known := map[string]line{}
	for _, l := range lines() {
		known[l.text] = l
	}
	for i, text := range strings.Split(strings.TrimSpace(text), "\n") {
		first, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
		if i == 0 {
			var err error
			if s.ride, err = time.ParseDuration(strings.TrimPrefix(first, "ride=")); err == nil {
				_, err = fmt.Sscanf(rest, "plan=%d,", &s.plan)
			}
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			s.direct, s.slow = strings.Contains(rest, "directly"), strings.Contains(rest, "polled")
			continue
		}
		wait, err := time.ParseDuration(strings.TrimPrefix(first, "+"))
		l, ok := known[strings.TrimSpace(rest)]
		if err != nil || !ok {
			t.Fatalf("line %d, %q: what does that mean? %v", i+1, text, err)
		}
		deeds = append(deeds, deed{wait, l})
	}
	return s, deeds
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}
