package guardian_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// lastHours is a house whose Pi hangs on its UPS, with what the Pi sees of the machines each
// second once it looks.
type lastHours struct {
	*house
	own     guardian.Own
	reading power.Reading
	sees    map[string]shutdown.Sight
}

var hangs = guardian.Own{UPS: "ups", Halt: true, Cut: true}

func newLastHours(t *testing.T, own guardian.Own, o guardian.Orders) *lastHours {
	l := &lastHours{house: &house{t: t, now: start, orders: o}, own: own, reading: mains(), sees: map[string]shutdown.Sight{}}
	l.boot(l.now)
	l.poll()
	return l
}

func (l *lastHours) boot(lived time.Time) {
	l.g = guardian.New("pi")
	l.g.Hangs(l.own)
	l.note(l.g.Order(l.now, l.orders))
	for _, e := range l.disk {
		l.g.Restore(e)
	}
	l.note(l.g.Restarted(l.now, lived, []string{"ups"}))
}

// supply changes what the UPS says from now on.
func (l *lastHours) supply(r power.Reading) { l.reading, l.out = r, l.now; l.poll() }

func (l *lastHours) poll() {
	l.report(l.reading.Aged(l.now.Sub(l.out)))
}

// pass lets seconds pass: a poll, a look at what is to be looked at, and the loop's turn.
func (l *lastHours) pass(seconds int) {
	for range seconds {
		l.now = l.now.Add(time.Second)
		l.poll()
		for _, t := range l.g.Watches(l.now) {
			if s, ok := l.sees[t.ID()]; ok {
				l.note(l.g.Sighted(l.now, t.ID(), s))
			}
		}
		l.note(l.g.Tick(l.now))
	}
}

// off is a machine as it is seen once it is down.
func off() shutdown.Sight { return shutdown.Sight{Closed: true, SilentFor: new(10 * time.Second)} }

func left() shutdown.Sight { s := off(); s.Leaving = true; return s }

// through lets the Pi's own run come to its end: each node takes its command and goes down.
func (l *lastHours) through() {
	l.t.Helper()
	for _, n := range []string{"node/pve1", "node/pve2"} {
		for i := 0; !slices.ContainsFunc(l.all(shutdown.Sent), func(e guardian.Event) bool { return e.Event.Target == n }); i++ {
			if l.pass(1); i > 60 {
				l.t.Fatalf("%s is not told", n)
			}
		}
		l.note(l.g.Answered(l.now, n, nil, nil))
		l.note(l.g.Seen(l.now, n, off()))
		l.sees[n] = off()
	}
	l.pass(1)
	if len(l.all(shutdown.Ended)) != 1 && len(l.orders.Plan.Stages) == 2 {
		l.t.Fatalf("the run is not through: %v", l.did())
	}
}

func (l *lastHours) trip() error {
	es, err := l.g.Trip(l.now)
	l.note(es)
	return err
}

// wants is that nothing but these was ordered of the Pi's own end.
func (l *lastHours) wants(want ...shutdown.EventType) {
	l.t.Helper()
	var got []shutdown.EventType
	for _, e := range l.disk {
		if slices.Contains([]shutdown.EventType{guardian.Halting, guardian.Cutting, guardian.Clearing}, e.Event.Type) {
			got = append(got, e.Event.Type)
		}
	}
	if !slices.Equal(got, want) {
		l.t.Fatalf("it ordered %v, want %v", got, want)
	}
}

// TestG7_OnlyAGuardianThatCanActTakesApcupsdsShutdown over.
func TestG7_OnlyAGuardianThatCanActTakesApcupsdsShutdown(t *testing.T) {
	unarmed, empty := orders(), orders()
	unarmed.Armed, empty.Plan.Stages = false, nil
	for _, tt := range []struct {
		name string
		own  guardian.Own
		o    guardian.Orders
		want error
	}{
		{"armed", hangs, orders(), nil},
		{"not armed", hangs, unarmed, guardian.ErrNoPlan},
		{"no plan", hangs, empty, guardian.ErrNoPlan},
		{"no bundle", hangs, guardian.Orders{}, guardian.ErrNoPlan},
		{"no apcupsd of its own", guardian.Own{}, orders(), guardian.ErrNotOwn},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLastHours(t, tt.own, tt.o)
			if err := l.trip(); !errors.Is(err, tt.want) || (err == nil) != (len(l.all(guardian.Tripped)) == 1) {
				t.Errorf("%v, want %v; %v", err, tt.want, l.did())
			}
		})
	}
	l := newLastHours(t, hangs, orders())
	l.boot(l.now)
	if err := l.trip(); !errors.Is(err, guardian.ErrNotHeard) {
		t.Errorf("before the UPS is heard: %v", err)
	}
}

// TestG7_ApcupsdsWordIsAReason at once, unless the UPS tests itself or is on mains.
func TestG7_ApcupsdsWordIsAReason(t *testing.T) {
	for supply, want := range map[power.Supply]int{power.Battery: 1, power.SelfTest: 0, power.Mains: 0} {
		t.Run(string(supply), func(t *testing.T) {
			l := newLastHours(t, hangs, orders())
			r := power.Reading{Supply: supply}
			if supply == power.SelfTest { // of a worn battery (rule U3)
				r.LowFor = new(power.Seconds)
			}
			l.supply(r)
			if err := l.trip(); err != nil {
				t.Fatal(err)
			}
			l.pass(1)
			if n := len(l.all(shutdown.Began)); n != 0 {
				t.Error("the brain was not waited for")
			}
			l.pass(1)
			if n := len(l.all(shutdown.Began)); n != want {
				t.Errorf("%d runs, want %d", n, want)
			}
		})
	}
	t.Run("the switch is heard after it", func(t *testing.T) {
		l := newLastHours(t, hangs, orders())
		_ = l.trip()
		l.supply(battery(0))
		if l.pass(2); len(l.all(shutdown.Began)) != 1 {
			t.Error("no run")
		}
	})
	t.Run("of an outage before", func(t *testing.T) {
		l := newLastHours(t, hangs, orders())
		l.supply(battery(0))
		_ = l.trip()
		l.supply(mains())
		l.pass(60)
		l.supply(battery(0))
		if l.pass(8); len(l.all(shutdown.Began)) != 0 {
			t.Error("a run before the ride-through")
		}
	})
	t.Run("the brain acts", func(t *testing.T) {
		l := newLastHours(t, hangs, orders())
		l.supply(battery(0))
		_ = l.trip()
		for range 30 {
			l.note(l.g.Mandated(l.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.Advancing))
			l.pass(1)
		}
		l.wants()
		if len(l.all(shutdown.Began)) != 0 {
			t.Error("a second run")
		}
	})
}

// TestG7_ThePiGoesLast: after the plan, and without a cut unless it is told to.
func TestG7_ThePiGoesLast(t *testing.T) {
	keeps := guardian.Own{UPS: "ups", Halt: true}
	t.Run("after the run", func(t *testing.T) {
		l := newLastHours(t, keeps, orders())
		l.supply(battery(0))
		_ = l.trip()
		l.pass(40)
		l.wants()
		l.through()
		l.wants(guardian.Halting)
		l.pass(30)
		l.wants(guardian.Halting)
		l.pass(60) // it is still here
		l.wants(guardian.Halting, guardian.Halting)
	})
	t.Run("not as long as apcupsd is content", func(t *testing.T) {
		l := newLastHours(t, keeps, orders())
		l.supply(battery(0))
		l.through()
		l.pass(600)
		l.wants()
	})
	t.Run("not with the power back", func(t *testing.T) {
		l := newLastHours(t, keeps, orders())
		l.supply(battery(0))
		_ = l.trip()
		l.pass(20)
		l.supply(mains())
		l.pass(200)
		l.wants()
	})
	t.Run("not where it has power of its own", func(t *testing.T) {
		l := newLastHours(t, guardian.Own{UPS: "ups"}, orders())
		l.supply(battery(0))
		if err := l.trip(); err != nil {
			t.Fatal(err)
		}
		l.through()
		l.pass(200)
		l.wants()
	})
	t.Run("though the plan was disarmed since", func(t *testing.T) {
		l := newLastHours(t, hangs, orders())
		l.supply(battery(0))
		_ = l.trip()
		l.pass(10)
		l.orders.Armed = false
		l.note(l.g.Order(l.now, l.orders))
		l.pass(3)
		l.wants(guardian.Halting) // apcupsd does not any more
	})
	t.Run("a node that stays up keeps the output, not the Pi", func(t *testing.T) {
		l := newLastHours(t, hangs, orders())
		l.supply(battery(0))
		_ = l.trip()
		l.through()
		l.sees["node/pve2"] = shutdown.Sight{}
		l.pass(88)
		l.wants()
		l.pass(3)
		l.wants(guardian.Halting)
	})
}

// TestG4_TheOutputIsCutOnceAllIsDown for a minute, in a run that is through.
func TestG4_TheOutputIsCutOnceAllIsDown(t *testing.T) {
	down := func(t *testing.T, own guardian.Own) *lastHours {
		l := newLastHours(t, own, orders())
		l.supply(battery(0))
		l.through()
		return l
	}
	t.Run("the Pi's run", func(t *testing.T) {
		l := down(t, hangs)
		l.pass(59)
		l.wants()
		l.pass(2)
		l.wants(guardian.Cutting)
		if e := l.all(guardian.Cutting)[0].Event; e.Target != "ups" || e.Why != "every machine of the plan has been seen down for 60 s" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("not told to", func(t *testing.T) {
		l := down(t, guardian.Own{UPS: "ups", Halt: true})
		l.pass(300)
		l.wants()
	})
	t.Run("one comes up again", func(t *testing.T) {
		l := down(t, hangs)
		l.pass(50)
		l.sees["node/pve1"] = shutdown.Sight{}
		l.pass(1)
		l.sees["node/pve1"] = off()
		l.pass(59)
		l.wants()
		l.pass(3)
		l.wants(guardian.Cutting)
	})
	t.Run("one is not looked at", func(t *testing.T) {
		l := down(t, hangs)
		l.pass(40)
		delete(l.sees, "node/pve1")
		l.pass(30)
		l.sees["node/pve1"] = off()
		l.pass(59)
		l.wants()
	})
	t.Run("one still beats", func(t *testing.T) {
		l := down(t, hangs)
		l.sees["node/pve1"] = shutdown.Sight{Closed: true, SilentFor: new(time.Second)}
		l.pass(300)
		l.wants()
	})
	t.Run("contact is lost", func(t *testing.T) {
		l := down(t, hangs)
		l.reading.LostFor = new(power.Seconds)
		l.pass(300)
		l.wants()
	})
	t.Run("disarmed", func(t *testing.T) {
		l := down(t, hangs)
		l.orders.Armed = false
		l.note(l.g.Order(l.now, l.orders))
		l.pass(300)
		l.wants()
	})
	t.Run("power back", func(t *testing.T) {
		l := down(t, hangs)
		l.pass(55)
		l.supply(mains())
		l.pass(300)
		l.wants()
	})
	t.Run("a self-test after it", func(t *testing.T) {
		l := down(t, hangs)
		l.pass(55)
		l.supply(power.Reading{Supply: power.SelfTest})
		l.pass(30)
		l.wants()
	})
}

// TestG4_SilenceAloneCutsNothing: that of a switch without power looks like machines that are
// down.
func TestG4_SilenceAloneCutsNothing(t *testing.T) {
	l := newLastHours(t, hangs, orders())
	l.supply(battery(0))
	l.sees["node/pve1"], l.sees["node/pve2"] = off(), off()
	for range 150 { // no command arrives
		l.pass(1)
		for _, n := range []string{"node/pve1", "node/pve2"} {
			l.note(l.g.Answered(l.now, n, nil, errors.New("no route to host")))
		}
	}
	if len(l.all(shutdown.Ended)) != 1 {
		t.Fatal("the run is not through")
	}
	l.pass(300)
	l.wants()
	l.sees["node/pve1"], l.sees["node/pve2"] = left(), left()
	l.pass(2)
	l.wants(guardian.Cutting)
}

// TestG4_AfterTheBrainsRun the machines' own word that they power off is needed, and the run
// must have ended, not been stopped.
func TestG4_AfterTheBrainsRun(t *testing.T) {
	for _, tt := range []struct {
		state shutdown.State
		sees  shutdown.Sight
		want  []shutdown.EventType
	}{
		{shutdown.HasEnded, left(), []shutdown.EventType{guardian.Cutting}},
		{shutdown.HasEnded, off(), nil},
		{shutdown.Stopped, left(), nil},
	} {
		l := newLastHours(t, hangs, orders())
		l.supply(battery(0))
		l.sees["node/pve1"], l.sees["node/pve2"] = tt.sees, tt.sees
		for range 15 {
			l.note(l.g.Mandated(l.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, shutdown.Advancing))
			l.pass(1)
		}
		l.note(l.g.Mandated(l.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, tt.state))
		l.boot(l.now) // it is on disk
		l.pass(63)
		l.wants(tt.want...)
	}
}

// TestG4_LinuxHostsCountToo: they have no API that could be closed.
func TestG4_LinuxHostsCountToo(t *testing.T) {
	for _, tt := range []struct {
		sees shutdown.Sight
		want []shutdown.EventType
	}{
		{shutdown.Sight{SilentFor: new(10 * time.Second), Leaving: true}, []shutdown.EventType{guardian.Cutting}},
		{shutdown.Sight{SilentFor: new(10 * time.Second)}, nil},
		{shutdown.Sight{SilentFor: new(time.Second), Leaving: true}, nil},
		{shutdown.Sight{Leaving: true}, nil},
	} {
		o := orders()
		o.Plan.Stages = append(o.Plan.Stages, shutdown.Stage{Hosts: []string{"desk"}, Deadline: time.Second})
		l := newLastHours(t, hangs, o)
		l.supply(battery(0))
		l.through()
		for i := 0; len(l.all(shutdown.Ended)) == 0; i++ {
			if l.pass(1); i > 60 {
				t.Fatal("the run is not through")
			}
		}
		l.sees["host/desk"] = tt.sees
		l.pass(63)
		l.wants(tt.want...)
	}
}

// TestG4_AFlatBatteryWaitsForNobody, if it is one.
func TestG4_AFlatBatteryWaitsForNobody(t *testing.T) {
	runtime := func(s power.Seconds, change func(*power.Reading)) power.Reading {
		r := battery(0)
		r.Runtime, r.LowFor = &s, new(power.Seconds)
		r.Course = &power.Course{Runtime: &s}
		change(&r)
		return r
	}
	as := func(*power.Reading) {}
	for _, tt := range []struct {
		name string
		r    power.Reading
		want []shutdown.EventType
	}{
		{"under a minute", runtime(59, as), []shutdown.EventType{guardian.Cutting}},
		{"a minute", runtime(60, as), nil},
		{"the runtime alone may be odd", runtime(0, func(r *power.Reading) { r.LowFor = nil }), nil},
		{"but not of a used battery", runtime(0, func(r *power.Reading) { r.LowFor = nil; r.Course.Charge = new(0.49) }), []shutdown.EventType{guardian.Cutting}},
		{"nor of one that is half full", runtime(0, func(r *power.Reading) { r.LowFor = nil; r.Course.Charge = new(0.5) }), nil},
		{"it has not held", runtime(0, func(r *power.Reading) { r.Course.Runtime = nil }), nil},
		{"not told", runtime(0, func(r *power.Reading) { r.Runtime = nil }), nil},
		{"on mains", runtime(0, func(r *power.Reading) { r.Supply, r.LowFor = power.Mains, nil }), nil},
		{"a self-test", runtime(0, func(r *power.Reading) { r.Supply = power.SelfTest }), nil},
		{"lost", runtime(0, func(r *power.Reading) { r.LostFor = new(power.Seconds) }), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLastHours(t, hangs, orders())
			l.supply(tt.r)
			l.pass(30)
			l.wants(tt.want...)
		})
	}
	t.Run("the plan has its time to begin", func(t *testing.T) {
		l := newLastHours(t, hangs, orders())
		l.supply(runtime(0, as))
		l.pass(1)
		l.wants()
	})
	t.Run("not told to cut", func(t *testing.T) {
		l := newLastHours(t, guardian.Own{UPS: "ups", Halt: true}, orders())
		l.supply(runtime(0, as))
		l.pass(30)
		l.wants(guardian.Halting)
	})
	t.Run("disarmed", func(t *testing.T) {
		o := orders()
		o.Armed = false
		l := newLastHours(t, hangs, o)
		l.supply(runtime(0, as))
		l.pass(30)
		l.wants()
	})
}

// TestG7_ApcupsdIsMadeToForget once the mains are back for good: it never does by itself.
func TestG7_ApcupsdIsMadeToForget(t *testing.T) {
	tripped := func(s power.Supply) power.Reading {
		return power.Reading{Supply: s, Status: power.Status{Flags: power.Shutdown}}
	}
	l := newLastHours(t, guardian.Own{UPS: "ups"}, orders())
	l.supply(tripped(power.Battery))
	l.pass(300)
	l.wants()
	l.supply(tripped(power.Mains))
	l.pass(59)
	l.wants()
	l.pass(2)
	l.wants(guardian.Clearing)
	l.pass(500)
	l.wants(guardian.Clearing)
	l.pass(200)
	l.wants(guardian.Clearing, guardian.Clearing)
	l.supply(mains())
	l.pass(900)
	l.wants(guardian.Clearing, guardian.Clearing)
}

// TestS9_ThePisEndOverACrashAtEachStep: killed after any step it comes to the same end, and with
// the power back to none.
func TestS9_ThePisEndOverACrashAtEachStep(t *testing.T) {
	l := newLastHours(t, hangs, orders())
	l.supply(battery(0))
	_ = l.trip()
	l.through()
	l.pass(70)
	l.wants(guardian.Cutting)
	l.sees["node/pve1"], l.sees["node/pve2"] = left(), left() // a yes may be lost with the process
	for step := range l.disk {
		again := func(r power.Reading) *lastHours {
			c := &lastHours{house: &house{t: t, now: l.disk[step].Event.At.Add(time.Second), orders: orders(), out: l.out, disk: slices.Clone(l.disk[:step+1])}, own: hangs, reading: r, sees: l.sees}
			c.boot(c.now)
			c.poll()
			return c
		}
		ordered := func(es []guardian.Event, what shutdown.EventType) int {
			return len(slices.DeleteFunc(slices.Clone(es[step+1:]), func(e guardian.Event) bool { return e.Event.Type != what }))
		}
		c := again(battery(0))
		for range 200 {
			c.pass(1)
			for _, n := range []string{"node/pve1", "node/pve2"} {
				c.note(c.g.Answered(c.now, n, nil, nil))
				c.note(c.g.Seen(c.now, n, off()))
			}
		}
		if n := ordered(c.disk, guardian.Cutting); n < 1 {
			t.Errorf("killed after step %d, %v, it does not cut the output: %v", step, l.disk[step].Event.Type, c.did())
		}
		if l.disk[step].Event.Type == guardian.OnMains {
			continue
		}
		m := again(mains())
		m.pass(300)
		if n := ordered(m.disk, guardian.Cutting) + ordered(m.disk, guardian.Halting); n > 0 {
			t.Errorf("killed after step %d, %v, it goes off on mains", step, l.disk[step].Event.Type)
		}
	}
	l.disk = l.disk[:len(l.disk)-1]
	l.boot(time.Time{}) // booted by a person: apcupsd wants nothing any more
	l.sees = nil
	l.pass(200)
	l.wants()
}

// TestG7_ApcupsdsWordOutlivesTheProcess, also one before the run that it had begun, but not the
// boot: apcupsd was started anew as well.
func TestG7_ApcupsdsWordOutlivesTheProcess(t *testing.T) {
	own := guardian.Own{UPS: "ups", Halt: true}
	for name, c := range map[string]struct {
		lived bool
		want  []shutdown.EventType
	}{
		"in this boot": {true, []shutdown.EventType{guardian.Halting}},
		"in another":   {false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLastHours(t, own, orders())
			l.supply(battery(0))
			if err := l.trip(); err != nil {
				t.Fatal(err)
			}
			l.pass(12)
			if began := slices.IndexFunc(l.disk, func(e guardian.Event) bool { return e.Event.Type == shutdown.Began }); began < 0 {
				t.Fatal("no run has begun")
			} else {
				l.disk = l.disk[began:] // a new file
			}
			if !c.lived {
				l.boot(time.Time{})
				l.poll()
			}
			l.boot(l.now)
			l.supply(battery(l.now.Sub(l.out)))
			l.through()
			l.pass(50)
			l.wants(c.want...)
		})
	}
}
