package guardian_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// edge judges the Pi's end by what the world was, not by what the guardian thinks of it.
type edge struct {
	t       *rapid.T
	g       *guardian.Guardian
	now     time.Time
	own     guardian.Own
	orders  guardian.Orders
	disk    []guardian.Event
	reading power.Reading
	at      time.Time            // when it came
	down    map[string]time.Time // since when each machine is off for the Pi's eyes; missing: it is not, or was not looked at
	seen    map[string]time.Time // the last look at each
	left    map[string]bool
	over    bool // a run of this outage has ended, the Pi's or the brain's
	cut     int
}

func TestProperty_G4_NothingIsCutUnderARunningMachine(t *testing.T) {
	cuts, histories := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		e := &edge{t: t, now: start, orders: orders(), down: map[string]time.Time{}, seen: map[string]time.Time{}, left: map[string]bool{},
			own: guardian.Own{UPS: "ups", Halt: rapid.IntRange(0, 9).Draw(t, "halt") > 0, Cut: rapid.IntRange(0, 9).Draw(t, "cut") > 0}}
		e.boot(time.Time{})
		t.Repeat(map[string]func(*rapid.T){
			"pass":    e.pass,
			"supply":  e.supply,
			"goes on": e.goesOn,
			"see":     e.see,
			"trip":    func(*rapid.T) { es, _ := e.g.Trip(e.now); e.check(es) },
			"answer":  e.answer,
			"mandate": e.mandate,
			"arm": func(t *rapid.T) {
				e.orders.Armed = rapid.IntRange(0, 4).Draw(t, "armed") > 0
				e.check(e.g.Order(e.now, e.orders))
			},
			"kill":  func(*rapid.T) { e.boot(e.now) },
			"pause": func(*rapid.T) { e.reading = power.Reading{}; e.check(e.g.Resumed(e.now)) },
		})
		cuts += e.cut
		histories++
	})
	if cuts == 0 && histories >= 100 {
		t.Error("no history came to a cut: this proves nothing")
	}
}

func (e *edge) boot(lived time.Time) {
	e.g, e.reading = guardian.New("pi"), power.Reading{}
	e.g.Hangs(e.own)
	e.down = map[string]time.Time{}
	e.check(e.g.Order(e.now, e.orders))
	for _, ev := range e.disk {
		e.g.Restore(ev)
	}
	e.check(e.g.Restarted(e.now, lived, []string{"ups"}))
}

func (e *edge) pass(t *rapid.T) {
	e.now = e.now.Add(time.Duration(rapid.IntRange(1, 20_000).Draw(t, "ms")) * time.Millisecond)
	e.check(e.g.Tick(e.now))
}

func (e *edge) supply(t *rapid.T) {
	r := power.Reading{Supply: rapid.SampledFrom([]power.Supply{power.Battery, power.Battery, power.Battery, power.Mains, power.SelfTest}).Draw(t, "supply")}
	if rapid.Bool().Draw(t, "short") {
		s := power.Seconds(rapid.IntRange(0, 120).Draw(t, "runtime"))
		r.Runtime, r.Course = &s, &power.Course{Runtime: &s}
	}
	if r.Supply != power.Mains && rapid.Bool().Draw(t, "low") {
		r.LowFor = new(power.Seconds)
	}
	if rapid.IntRange(0, 9).Draw(t, "lost") == 0 {
		r.LostFor = new(power.Seconds)
	}
	if rapid.Bool().Draw(t, "tripped") {
		r.Flags = power.Shutdown
	}
	e.report(r)
}

func (e *edge) report(r power.Reading) {
	e.reading, e.at = r, e.now
	if r.Supply == power.Mains {
		e.over = false
	}
	e.check(e.g.Reported(e.now, "ups", r))
}

// goesOn is a minute and more on battery in which the machines are as they are, looked at each 5 s.
func (e *edge) goesOn(t *rapid.T) {
	off := rapid.Bool().Draw(t, "all off")
	for range rapid.IntRange(1, 20).Draw(t, "looks") {
		e.now = e.now.Add(5 * time.Second)
		e.report(battery(time.Minute))
		for _, id := range []string{"node/pve1", "node/pve2"} {
			s := shutdown.Sight{SilentFor: new(10 * time.Second), Closed: off, Leaving: off}
			e.check(e.g.Answered(e.now, id, nil, nil))
			e.check(e.g.Seen(e.now, id, s))
			e.look(id, s)
		}
	}
}

func (e *edge) see(t *rapid.T) {
	e.look(rapid.SampledFrom([]string{"node/pve1", "node/pve2", "node/pve9"}).Draw(t, "machine"), shutdown.Sight{Closed: rapid.Bool().Draw(t, "closed"),
		SilentFor: new(time.Duration(rapid.IntRange(0, 10).Draw(t, "silent")) * time.Second), Leaving: rapid.Bool().Draw(t, "leaving")})
}

func (e *edge) look(id string, s shutdown.Sight) {
	off := s.Closed && *s.SilentFor >= 5*time.Second
	if since, was := e.down[id]; !off {
		delete(e.down, id)
	} else if !was || since.IsZero() || e.now.Sub(e.seen[id]) > 15*time.Second {
		e.down[id] = e.now
	}
	e.seen[id], e.left[id] = e.now, s.Leaving
	e.check(e.g.Sighted(e.now, id, s))
}

func (e *edge) answer(t *rapid.T) {
	e.check(e.g.Answered(e.now, rapid.SampledFrom([]string{"node/pve1", "node/pve2"}).Draw(t, "of"), nil, nil))
}

func (e *edge) mandate(t *rapid.T) {
	state := rapid.SampledFrom([]shutdown.State{shutdown.None, shutdown.Advancing, shutdown.HasEnded, shutdown.Stopped}).Draw(t, "state")
	e.check(e.g.Mandated(e.now, shutdown.Epoch{Counter: uint64(rapid.IntRange(0, 6).Draw(t, "counter")), Holder: "brain"}, state))
}

// took reports whether a machine said yes in the run that is the last on disk.
func (e *edge) took(id string) (yes bool) {
	for _, ev := range e.disk {
		switch ev.Event.Type {
		case shutdown.Began:
			yes = false
		case shutdown.Accepted:
			yes = yes || ev.Event.Target == id
		}
	}
	return yes
}

func (e *edge) check(es []guardian.Event) {
	for _, ev := range es {
		e.disk = append(e.disk, ev)
		switch ev.Event.Type {
		case shutdown.Began, guardian.Yielded:
			e.over = false
		case shutdown.Ended:
			e.over = true
		case guardian.BrainDone:
			e.over = ev.Event.Why == "the brain's run: ended"
		case guardian.Halting, guardian.Cutting:
			e.ends(ev.Event.Type)
		case guardian.Clearing:
			if e.reading.Supply != power.Mains || !e.reading.Flags.Has(power.Shutdown) {
				e.t.Fatalf("G7: apcupsd is restarted at %+v", e.reading)
			}
		}
	}
}

func (e *edge) ends(what shutdown.EventType) {
	if !e.own.Halt || e.reading.Aged(e.now.Sub(e.at)).Supply != power.Battery {
		e.t.Fatalf("G4: %s of a Pi that %+v, at %+v", what, e.own, e.reading)
	}
	if what == guardian.Halting {
		return
	}
	e.cut++
	r := e.reading
	switch {
	case !e.orders.Armed || !e.own.Cut:
		e.t.Fatal("G4: a cut that nobody wants")
	case r.LostFor != nil || e.now.Sub(e.at) > power.Fresh:
		e.t.Fatalf("S5: a cut on a word of %v ago, lost for %v", e.now.Sub(e.at), r.LostFor)
	case r.Runtime != nil && *r.Runtime < 60 && r.LowFor != nil:
		return
	case !e.over:
		e.t.Fatal("G4: a cut though no run is through")
	}
	for _, id := range []string{"node/pve1", "node/pve2"} {
		since, off := e.down[id]
		if !off || e.now.Sub(since) < time.Minute || e.now.Sub(e.seen[id]) > 15*time.Second || !e.left[id] && !e.took(id) {
			e.t.Fatalf("G4: a cut, and %s was off for %v, left %v, took %v", id, e.now.Sub(since), e.left[id], e.took(id))
		}
	}
}
