package duet_test

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// ups is the UPS with apcupsd in front of it, and what is true of it.
type ups struct {
	out      bool // the mains are gone
	test     bool // it runs on its battery by its own wish
	low      bool
	runtime  power.Seconds
	charge   float64
	lost     bool          // apcupsd has lost it
	dead     bool          // apcupsd does not answer
	blank    time.Duration // until when apcupsd has begun anew and says nothing yet
	count    int           // NUMXFERS
	transfer int           // of the UPS itself
	named    int           // XONBATT, which a start of apcupsd makes another; 0: there was none since
	names    int           // how many there were
	frozen   power.Status  // as last read before contact was lost
}

func newUPS() ups { return ups{runtime: 2400, charge: 1} }

func (u *ups) onBattery() bool { return u.out || u.test }

// switched is for after a change of the supply.
func (u *ups) switched(was bool) {
	if !was && u.onBattery() {
		u.count++
		u.transfer++
		u.name()
	}
}

func (u *ups) name() { u.names++; u.named = u.names }

// restart has apcupsd begin anew: it counts and names from then on (facts of apcupsd).
func (u *ups) restart(now time.Duration) {
	u.dead, u.lost, u.blank, u.count, u.named = false, false, now+time.Second, 0, 0
	if u.onBattery() {
		u.count = 1
		u.name()
	}
}

// answer is what apcupsd says now; false: nothing.
func (u *ups) answer(now time.Duration) (power.Status, bool) {
	switch {
	case u.dead:
		return power.Status{}, false
	case now < u.blank:
		return power.Status{Flags: power.BatteryPresent}, true
	case u.lost:
		s := u.frozen
		s.Flags |= power.CommLost
		return s, true
	}
	runtime, charge, count := u.runtime, u.charge, u.count
	s := power.Status{Flags: power.BatteryPresent | power.Online, Runtime: &runtime, Charge: &charge, Transfers: &count, LastTransfer: "Line voltage notch or spike"}
	if u.named > 0 {
		s.OnBatteryAt = "transfer " + strconv.Itoa(u.named)
	}
	if u.onBattery() {
		s.Flags = power.BatteryPresent | power.OnBattery
		if u.low {
			s.Flags |= power.LowBattery
		}
		if u.test && !u.out {
			s.LastTransfer = "Automatic or explicit self test"
		}
	}
	u.frozen = s
	return s, true
}

// manner is how a machine takes commands.
type manner string

const (
	obeys     manner = "obeys"
	refuses   manner = "refuses"
	hangs     manner = "hangs"    // takes none and says nothing
	mute      manner = "is mute"  // does it and says nothing
	stubborn  manner = "stays up" // says yes and stays up
	cut       manner = "is cut"   // nobody reaches its API, though it lives
	away      manner = "is away"  // nobody reaches it or hears its agent, though it lives
	busyFor          = 2500 * time.Millisecond
	takesDown        = 4 * time.Second
	tcpWithin        = 3 * time.Second
	cmdWithin        = 7 * time.Second // the executor's
)

// node is a Proxmox node with at most one guest.
type node struct {
	name  string
	vmid  int // of its guest; 0: it has none
	agent bool
	manner
	busy  bool // each command waits for its turn at first
	slow  time.Duration
	on    bool
	guest bool          // runs
	off   time.Duration // since when it is not on, or away

	booted  time.Duration
	started time.Duration // when its guest last was
	starter string        // and by whom
}

// takes has it take commands in another manner from now on.
func (n *node) takes(m manner, now time.Duration) {
	if m == away && n.on && n.manner != away {
		n.off = now
	}
	n.manner = m
}

// reached reports whether its API answers.
func (n *node) reached() bool { return n.on && n.manner != cut && n.manner != away }

func (n *node) boot() { n.on, n.guest, n.manner, n.busy, n.slow = true, n.vmid != 0, obeys, false, 0 }

func (d *duet) node(name string) *node {
	for _, n := range d.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// obedient reports whether every machine that is on obeys at once.
func (d *duet) obedient() bool {
	return !slices.ContainsFunc(d.nodes, func(n *node) bool { return n.on && (n.manner != obeys || n.busy || n.slow > 0) })
}

// allOn reports whether every machine is on.
func (d *duet) allOn() bool {
	return !slices.ContainsFunc(d.nodes, func(n *node) bool { return !n.on })
}

var (
	errTimeout = errors.New("no answer in time")
	errNoRoute = errors.New("no route to host")
	errRefused = errors.New("401 permission denied")
	errKept    = errors.New("kept back")
)

// command is on its way from an actor to a machine.
type command struct {
	actor, run string
	epoch      shutdown.Epoch
	target     shutdown.Target
	start      bool          // it is to start, not to shut down
	at         time.Duration // when it was decided
	alive      func() bool   // what performs the run still does
	may        func() error  // the last look
	reach      func() (time.Duration, error)
	answer     func(found []shutdown.Target, err error)
}

// send performs a command as the executor does.
func (d *duet) send(c command) {
	c.at = d.now
	n := d.node(c.target.Node)
	if !n.busy {
		d.leave(c, n)
		return
	}
	d.after(busyFor, func() { d.leave(c, n) })
}

func (d *duet) leave(c command, n *node) {
	if !c.alive() {
		return
	}
	answered := false
	answer := func(found []shutdown.Target, err error) {
		if !answered && c.alive() {
			answered = true
			c.answer(found, err)
		}
	}
	if c.target.Kind != shutdown.Listing {
		if err := c.may(); err != nil {
			d.after(0, func() { answer(nil, err) })
			return
		}
		if c.start {
			d.judge.starts(c)
		} else {
			d.judge.leaves(c)
		}
	}
	d.after(cmdWithin, func() { answer(nil, errTimeout) })
	in, err := c.reach()
	if err != nil {
		d.after(in, func() { answer(nil, err) })
		return
	}
	d.after(in, func() { d.arrive(c, n, answer) })
}

func (d *duet) arrive(c command, n *node, answer func([]shutdown.Target, error)) {
	switch {
	case !n.reached():
		d.after(tcpWithin, func() { answer(nil, errNoRoute) })
		return
	case n.manner == hangs:
		return
	case n.manner == refuses:
		d.after(n.slow, func() { answer(nil, errRefused) })
		return
	}
	if c.target.Kind == shutdown.Listing {
		var found []shutdown.Target
		if n.guest {
			found = []shutdown.Target{{Kind: shutdown.Guest, Node: n.name, VMID: n.vmid, Type: "qemu"}}
		}
		d.after(n.slow, func() { answer(found, nil) })
		return
	}
	if c.start {
		d.starts(n, c.actor)
	} else {
		d.judge.arrives(c)
	}
	if n.manner != stubborn && !c.start {
		d.obey(c.target, n)
	}
	if n.manner != mute {
		d.after(n.slow, func() { answer(nil, nil) })
	}
}

func (d *duet) obey(t shutdown.Target, n *node) {
	told := d.now
	if t.Kind == shutdown.Guest {
		d.after(takesDown/2, func() { n.guest = n.guest && (n.booted > told || n.started > told) })
		return
	}
	d.after(takesDown, func() {
		if n.on && n.booted <= told {
			n.on, n.guest, n.off = false, false, d.now
			d.tell("%s is off", n.name)
		}
	})
}

// sight is what is seen of a target by who reaches its API; false: no evidence.
func (d *duet) sight(t shutdown.Target) (shutdown.Sight, bool) {
	n := d.node(t.Node)
	s := shutdown.Sight{Closed: !n.reached()}
	if t.Kind == shutdown.Guest {
		if s.Running = n.guest || s.Closed; n.manner == hangs && !s.Closed {
			return s, false
		}
	}
	if n.agent {
		silent := time.Duration(0)
		if !n.on || n.manner == away {
			silent, s.Leaving = d.now-n.off, n.manner != away
		}
		s.SilentFor = &silent
	}
	return s, true
}

// way is one direction of the link.
type way string

const (
	fine  way = "fine"
	gone  way = "is cut"
	late  way = "is late"      // 1.3 s, so that both ways together are just in time
	stale way = "is stale"     // 9 s: in time for nobody
	loses way = "loses some"   // two of five
	mixes way = "mixes it all" // anything up to 2.9 s, so that one overtakes another
)

// link is between Pi and brain.
type link struct {
	up, down way
	n        uint64
}

// takes is how long a message is under way; false: it is lost.
func (l *link) takes(w way) (time.Duration, bool) {
	l.n++
	dice := l.n * 0x9e3779b97f4a7c15 >> 33
	switch w {
	case gone:
		return 0, false
	case late:
		return 1300 * time.Millisecond, true
	case stale:
		return 9 * time.Second, true
	case loses:
		return 30 * time.Millisecond, dice%5 > 1
	case mixes:
		return time.Duration(dice%2900) * time.Millisecond, true
	}
	return 20 * time.Millisecond, true
}
