package duet_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

const (
	// startTakes is what it takes until a guest runs that was told to start.
	startTakes = time.Second
	// mayGo is for how long a node that was told may still go down, though it did not say yes. It is told
	// later than that counts from: by what the way takes.
	mayGo = 2*time.Minute - 3*time.Second
)

// order is the last that a machine was told.
type order struct {
	run string
	at  time.Duration
}

// starts lets a node's guest start.
func (d *duet) starts(n *node, by string) {
	d.after(startTakes, func() {
		if n.on && n.vmid != 0 && !n.guest {
			n.guest, n.started, n.starter = true, d.now, by
			d.tell("guest/%d of %s runs", n.vmid, n.name)
		}
	})
}

// startedSince reports whether a guest has come up since a moment. Whoever runs the plan waits for one that
// is being started, and has nothing accepted meanwhile: with little time left the Pi waits for less.
func (d *duet) startedSince(at time.Duration) bool {
	return slices.ContainsFunc(d.nodes, func(n *node) bool { return n.started > at })
}

// starts is a guest's start that goes out: with the mains there as far as the actor has heard in
// this process, of a guest that was told to go down, if by the other's run then while its own
// command was still on its way, whose node it did not tell, and only while the plan is armed
// (rule S5).
func (j *judge) starts(c command) {
	d, r := j.d, j.latest(c.actor)
	k, _, process := j.knows(c.actor)
	node := j.stopped[c.actor+" node/"+c.target.Node]
	holds := d.pi.bundle != nil && d.pi.bundle.armed
	if r != nil && j.armed && j.calmSince(r.began, "disarmed") { // what armed it may not have come to its disk
		holds = true
	}
	switch {
	case r == nil || r.id != c.run || r.dry || !r.over:
		d.fail("S5: the %s starts %s in no run that is over", c.actor, c.target.ID())
	case c.target.Kind != shutdown.Guest || j.stopped[c.actor+" "+c.target.ID()].run == "" && j.stopped[other(c.actor)+" "+c.target.ID()].run == "":
		d.fail("S5: the %s starts %s, which it did not stop", c.actor, c.target.ID())
	case node.run == c.run && d.now-node.at < mayGo:
		d.fail("S5: the %s starts %s, whose node it told to go down", c.actor, c.target.ID())
	case c.actor == "brain" && !j.armed, c.actor == "pi" && (!holds || j.confirmed):
		d.fail("S5: the %s starts %s though it was disarmed", c.actor, c.target.ID())
	case r.halted, j.isHalted(j.stopped[c.actor+" "+c.target.ID()].run):
		d.fail("S5: the %s starts %s though a person stopped the run that stopped it", c.actor, c.target.ID())
	case !k.mains:
		d.fail("S5: the %s starts %s on battery", c.actor, c.target.ID())
	case k.heard != process:
		d.fail("S5: the %s starts %s before it heard the UPS", c.actor, c.target.ID())
	}
	d.tell("%s starts %s", c.actor, c.target.ID())
}

// TestS5_GuestsAreAsBefore an outage that ends while they go down, whoever ran the plan, and
// whoever dies at which of its steps meanwhile.
func TestS5_GuestsAreAsBefore(t *testing.T) {
	for _, who := range []string{"brain", "pi"} {
		for _, direct := range []bool{true, false} {
			for step := range 24 {
				t.Run(fmt.Sprintf("%s, directly %v, %d", who, direct, step), func(t *testing.T) {
					t.Parallel()
					asBefore(t, who, direct, step)
				})
			}
		}
	}
}

// asBefore has the one that runs the plan die again and again, each time a while later.
func asBefore(t *testing.T, who string, direct bool, step int) {
	d := newDuet(setting{ride: 3 * time.Second, direct: direct}, true)
	do := func(text string) {
		for _, l := range lines() {
			if l.text == text {
				d.tell("%s", text)
				l.do(d)
				return
			}
		}
		t.Fatalf("%q is unknown", text)
	}
	when := []string{"before", "after"}[step%2]
	do("arm")
	d.pass(30 * time.Second)
	began := 3100 * time.Millisecond
	if who == "pi" {
		do("brain crashes for 45s")
		began += patience
	}
	do("mains off")
	d.pass(began + time.Duration(step/2)*200*time.Millisecond)
	stopped := d.judge.stopped[who+" guest/100"].run != ""
	do("mains on")
	d.pass(time.Duration(step/4) * 400 * time.Millisecond)
	do(who + " dies at its next step, " + when + " the disk, for 3s")
	d.pass(3 * time.Minute)
	for _, n := range d.nodes {
		if n.on && n.guest != (n.vmid != 0) && d.wrong == "" {
			d.fail("S5: the guest of %s does not run", n.name)
		}
	}
	if d.wrong != "" || !stopped && step > 2 {
		t.Errorf("%s, stopped %v:\n%s", d.wrong, stopped, d.text())
	}
}

// wentDown proves that a node is not taken for down which is merely out of reach since the power went: one that no
// command has come to (rule S4). Without an agent nobody can tell after a while.
func (j *judge) wentDown(actor, target string) {
	_, name, _ := strings.Cut(target, "/")
	n, r := j.d.node(name), j.latest(actor)
	if n == nil || !n.on {
		return
	}
	if !n.reached() {
		j.unseen[r.id+" "+name] = true
	}
	if !n.agent || n.manner == away && n.off+time.Minute <= r.out || !j.calmSince(r.out, "clock", "pi's clock") {
		return
	}
	for _, by := range []string{"pi", "brain"} {
		if o, ok := j.stopped[by+" node/"+name]; ok && (o.at >= n.booted || o.run == r.id) {
			return
		}
	}
	j.d.fail("S4: the %s takes %s for down, which is on and was told nothing", actor, target)
}
