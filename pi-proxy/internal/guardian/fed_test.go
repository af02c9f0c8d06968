package guardian_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

var errInTest = errors.New("not now")

// wired is a house of two UPSes: a feeds pve1, b feeds pve2, and both feed pve3, for which anyOf says
// whether one of them is enough.
func wired(anyOf ...string) guardian.Orders {
	o := orders()
	o.Plan.Nodes = append(o.Plan.Nodes, shutdown.Node{Name: "pve3"})
	o.Plan.Stages[1].Nodes = []string{"pve2", "pve3"}
	o.Plan.Wiring = power.Wire(map[string][]string{"a": {"pve1", "pve3"}, "b": {"pve2", "pve3"}}, anyOf)
	return o
}

// street is such a house, with since when each UPS is on battery; those that are not have mains.
type street struct {
	*house
	upses map[string]time.Time
}

func newStreet(t *testing.T, o guardian.Orders) *street {
	return &street{newHouse(t, o), map[string]time.Time{"a": {}, "b": {}}}
}

func (s *street) fails(ups string)  { s.upses[ups] = s.now }
func (s *street) isBack(ups string) { s.upses[ups] = time.Time{} }

// tell has the Pi hear its UPSes.
func (s *street) tell() {
	for _, ups := range []string{"a", "b"} {
		r := mains()
		if at := s.upses[ups]; !at.IsZero() {
			r = battery(s.now.Sub(at))
		}
		s.note(s.g.Reported(s.now, ups, r))
	}
}

// restartedWithA starts the guardian anew from its disk. What it returns lets seconds pass in which a
// alone is heard, and tells how many commands were sent since the start.
func (s *street) restartedWithA(lived time.Time) (hear func(seconds int) int) {
	s.g = guardian.New("pi")
	s.g.Order(s.now, wired())
	for _, e := range s.disk {
		s.g.Restore(e)
	}
	s.note(s.g.Restarted(s.now, lived, []string{"a", "b"}))
	before := len(s.all(shutdown.Sent))
	return func(seconds int) int {
		for range seconds {
			s.now = s.now.Add(time.Second)
			s.note(s.g.Reported(s.now, "a", battery(s.now.Sub(s.upses["a"]))))
		}
		return len(s.all(shutdown.Sent)) - before
	}
}

func (s *street) wait(seconds int) {
	for range seconds {
		s.now = s.now.Add(time.Second)
		s.tell()
		s.note(s.g.Tick(s.now))
	}
}

// takes has the nodes take their commands, and go down.
func (s *street) takes(nodes ...string) {
	silent := time.Minute
	for _, n := range nodes {
		s.note(s.g.Answered(s.now, "node/"+n, nil, nil))
		s.note(s.g.Seen(s.now, "node/"+n, shutdown.Sight{Closed: true, SilentFor: &silent}))
	}
}

// told are the nodes that were told, in order, each once.
func (s *street) told() string {
	var names []string
	for _, e := range s.all(shutdown.Sent) {
		if name := strings.TrimPrefix(e.Event.Target, "node/"); !e.Event.Again {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

func (s *street) wants(told string) {
	s.t.Helper()
	if got := s.told(); got != told {
		s.t.Errorf("told %q, want %q", got, told)
	}
}

func TestU7_ThePiTellsThoseAloneWhoseUPSesCall(t *testing.T) {
	for name, c := range map[string]struct {
		anyOf []string
		out   []string
		told  string
	}{
		"one of two":       {nil, []string{"a"}, "pve1"},
		"the other":        {nil, []string{"b"}, "pve2"},
		"both":             {nil, []string{"a", "b"}, "pve1 pve2 pve3"},
		"one is enough":    {[]string{"pve3"}, []string{"a"}, "pve1 pve3"},
		"one, of all else": {[]string{"pve3"}, []string{"b"}, "pve2 pve3"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStreet(t, wired(c.anyOf...))
			s.wait(15)
			for _, ups := range c.out {
				s.fails(ups)
			}
			s.wait(25)
			s.takes("pve1", "pve2", "pve3")
			s.wait(1)
			s.takes("pve1", "pve2", "pve3")
			s.wants(c.told)
			if left := s.all(shutdown.LeftOn); len(c.out) == 2 && len(left) > 0 || len(c.out) == 1 && len(left) == 0 {
				t.Errorf("left on: %v", left)
			}
		})
	}
}

// TestU7_ThePisRunGoesOnForWhatIsCalledForLater: in the run and after its end, once it had its
// patience with the brain; it is the same run, and nobody is told twice.
func TestU7_ThePisRunGoesOnForWhatIsCalledForLater(t *testing.T) {
	for name, through := range map[string]bool{"in it": false, "after its end": true} {
		t.Run(name, func(t *testing.T) {
			s := newStreet(t, wired())
			s.wait(15)
			s.fails("a")
			s.wait(22)
			s.wants("pve1")
			if through {
				s.takes("pve1")
				if !s.g.Run.Finished {
					t.Fatal("the run is not through")
				}
				s.wait(60)
			}
			s.fails("b")
			s.wait(11)
			if through {
				s.wants("pve1") // the brain has its 10 s again
				s.wait(10)
			}
			s.takes("pve1")
			s.wait(1)
			s.wants("pve1 pve2 pve3")
			if runs := len(s.all(shutdown.Began)); runs != 1 {
				t.Errorf("%d runs", runs)
			}
		})
	}
}

// TestU7_MainsBackOnOneUPS: what it feeds is told nothing more, the others are; out again it is told anew.
func TestU7_MainsBackOnOneUPS(t *testing.T) {
	s := newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.fails("b")
	s.wait(21)
	s.note(s.g.Answered(s.now, "node/pve1", nil, errInTest))
	s.isBack("a")
	s.wait(5)
	s.wants("pve1 pve2") // pve3 has mains
	if again := slices.ContainsFunc(s.all(shutdown.Sent), func(e guardian.Event) bool { return e.Event.Target == "node/pve1" && e.Event.Again }); again {
		t.Error("pve1 was told again on mains")
	}
	s.fails("a")
	s.wait(11)
	if at := s.g.Run.Stage; at != 0 {
		t.Errorf("at stage %d, not back at pve1's", at+1)
	}
	s.isBack("a")
	s.isBack("b")
	s.wait(1)
	if why := s.g.Run.Stopped; why != "the power is back" {
		t.Errorf("stopped %q", why)
	}
}

// TestG2_WhatTheBrainsRunWasForIsNotTold: a run of the brain's that is over was for some, and the Pi
// acts for the others alone when the brain does not; a person's stop is for all.
func TestG2_WhatTheBrainsRunWasForIsNotTold(t *testing.T) {
	for name, c := range map[string]struct {
		state   shutdown.State
		scope   []string
		restart bool
		told    string
	}{
		"for some":            {shutdown.HasEnded, []string{"pve1"}, false, "pve2 pve3"},
		"known from disk":     {shutdown.HasEnded, []string{"pve1"}, true, "pve2 pve3"},
		"for all":             {shutdown.HasEnded, nil, false, ""},
		"stopped by somebody": {shutdown.Stopped, []string{"pve1"}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStreet(t, wired())
			s.wait(15)
			s.fails("a")
			s.wait(12)
			s.g.BrainFor(c.scope)
			s.note(s.g.Mandated(s.now, shutdown.Epoch{Counter: 4, Holder: "brain"}, c.state))
			s.wait(60)
			s.wants("")
			if heeds := s.g.Heeds(); (heeds.Counter == 4) != (c.told == "") {
				t.Errorf("the Pi begins nothing more after %v", heeds)
			}
			s.fails("b")
			if c.restart {
				s.g = guardian.New("pi")
				s.g.Order(s.now, wired())
				for _, e := range s.disk {
					s.g.Restore(e)
				}
				s.note(s.g.Restarted(s.now, s.now, []string{"a", "b"}))
			}
			s.wait(30)
			s.wants(c.told)
		})
	}
}

// TestS5_EachUPSIsTheReasonForItsOwn: after a restart in a run for two UPSes nobody is told anything
// before both are heard, or the silence of one is danger.
func TestS5_EachUPSIsTheReasonForItsOwn(t *testing.T) {
	s := newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.fails("b")
	s.wait(21)
	hear := s.restartedWithA(s.now)
	if n := hear(25); n > 0 {
		t.Errorf("%d commands while b was not heard", n)
	}
	if n := hear(15); n == 0 {
		t.Error("no commands once b has been silent for long")
	}
}

// TestG6_AReadingOfAnotherPiCountsAsAFeed: pve3 stays on while its other UPS, which another Pi reads,
// has mains; of one that nobody hears the first decides once it is short.
func TestG6_AReadingOfAnotherPiCountsAsAFeed(t *testing.T) {
	for name, c := range map[string]struct {
		other *power.Reading
		told  string
	}{
		"mains":   {&power.Reading{Supply: power.Mains}, "pve1"},
		"battery": {&power.Reading{Supply: power.Battery, For: 60}, "pve1 pve2 pve3"},
		"unheard": {nil, "pve1 pve3"},
	} {
		t.Run(name, func(t *testing.T) {
			o := wired()
			o.Pis = []string{"pi", "pi2"}
			h := &street{newHouse(t, o), nil}
			for i := range 40 {
				if c.other != nil {
					h.said("pi2", guardian.PeerWord{State: shutdown.None, UPSes: map[string]power.Reading{"b": *c.other}})
				}
				r := mains()
				if i > 15 {
					r = battery(time.Duration(i-16) * time.Second)
					r.Runtime = new(power.Seconds(100))
				}
				h.note(h.g.Reported(h.now, "a", r))
				h.takes("pve1")
				h.now = h.now.Add(time.Second)
			}
			h.wants(c.told)
		})
	}
}

// TestProperty_NobodyIsToldWhoseUPSesDoNotCall drives a Pi with two UPSes at random (rules U7, S5).
func TestProperty_NobodyIsToldWhoseUPSesDoNotCall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := wired()
		if rapid.Bool().Draw(t, "any") {
			o = wired("pve3")
		}
		o.Policy.RideThrough = 2 * time.Second
		g, now, disk := guardian.New("pi"), start, []guardian.Event(nil)
		out := map[string]time.Time{"a": {}, "b": {}}
		check := func(es []guardian.Event) {
			disk = append(disk, es...)
			for _, e := range es {
				if e.Event.Type != shutdown.Sent {
					continue
				}
				node := strings.TrimPrefix(e.Event.Target, "node/")
				by := o.Plan.Wiring.Feeders(node)
				calls := slices.DeleteFunc(slices.Clone(by), func(ups string) bool { return out[ups].IsZero() })
				if enough := len(calls) == len(by) || len(o.Plan.Wiring.Any) > 0 && len(calls) > 0; !enough {
					t.Fatalf("U7: %s was told, fed by %v, with %v on battery", node, by, calls)
				}
			}
		}
		begin := func(lived time.Time) {
			g = guardian.New("pi")
			check(g.Order(now, o))
			for _, e := range disk {
				g.Restore(e)
			}
			check(g.Restarted(now, lived, []string{"a", "b"}))
		}
		begin(time.Time{})
		t.Repeat(map[string]func(*rapid.T){
			"pass": func(t *rapid.T) {
				for range rapid.IntRange(1, 30).Draw(t, "seconds") {
					now = now.Add(time.Second)
					for _, ups := range []string{"a", "b"} {
						r := mains()
						if !out[ups].IsZero() {
							r = battery(now.Sub(out[ups]))
						}
						check(g.Reported(now, ups, r))
					}
					check(g.Tick(now))
				}
			},
			"switch": func(t *rapid.T) {
				ups := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "ups")
				if now = now.Add(time.Millisecond); out[ups].IsZero() {
					out[ups] = now
					check(g.Reported(now, ups, battery(0)))
				} else {
					out[ups] = time.Time{}
					check(g.Reported(now, ups, mains()))
				}
			},
			"answer": func(t *rapid.T) {
				var err error
				if rapid.Bool().Draw(t, "refused") {
					err = errInTest
				}
				check(g.Answered(now, "node/"+rapid.SampledFrom([]string{"pve1", "pve2", "pve3"}).Draw(t, "node"), nil, err))
			},
			"see": func(t *rapid.T) {
				silent := time.Duration(rapid.IntRange(0, 10).Draw(t, "silent")) * time.Second
				check(g.Seen(now, "node/"+rapid.SampledFrom([]string{"pve1", "pve2", "pve3"}).Draw(t, "node"),
					shutdown.Sight{Closed: rapid.Bool().Draw(t, "closed"), SilentFor: &silent}))
			},
			"mandate": func(t *rapid.T) {
				g.BrainFor(rapid.SampledFrom([][]string{nil, {"pve1"}, {"pve2", "pve3"}}).Draw(t, "scope"))
				check(g.Mandated(now, shutdown.Epoch{Counter: uint64(rapid.IntRange(0, 6).Draw(t, "counter")), Holder: "brain"},
					rapid.SampledFrom([]shutdown.State{shutdown.None, shutdown.Advancing, shutdown.HasEnded}).Draw(t, "state")))
			},
			"crash": func(*rapid.T) { begin(now) },
		})
	})
}

// TestS5_ACallHoldsThoughAnotherPiFallsSilent: the Pi that reads b dies in the outage, before the run or in
// it. That is no mains.
func TestS5_ACallHoldsThoughAnotherPiFallsSilent(t *testing.T) {
	for name, heard := range map[string]int{"before the run": 10, "in the run": 25} {
		t.Run(name, func(t *testing.T) {
			o := wired()
			o.Pis = []string{"pi", "pi2"}
			h := &street{newHouse(t, o), nil}
			for i := range 70 {
				r, b := mains(), mains()
				if i > 15 {
					r = battery(time.Duration(i-16) * time.Second)
					b = r
				}
				if i < 16+heard {
					h.said("pi2", guardian.PeerWord{State: shutdown.None, UPSes: map[string]power.Reading{"b": b}})
				}
				h.note(h.g.Reported(h.now, "a", r))
				if i > 60 { // after more than a minute of silence at most
					h.takes("pve1")
				}
				h.now = h.now.Add(time.Second)
			}
			h.wants("pve1 pve2 pve3")
		})
	}
}

// TestG6_ARunThatIsForNobodyIsNotThrough: the mains are back where the Pi's run was for, and another UPS has
// just gone on battery. Other Pis would take such a run for one of the whole plan.
func TestG6_ARunThatIsForNobodyIsNotThrough(t *testing.T) {
	s := newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.wait(22)
	s.takes("pve1")
	s.wait(5)
	if w := s.g.Says(s.now); w.State != shutdown.HasEnded || !slices.Equal(w.Scope, []string{"pve1"}) {
		t.Fatalf("it says %s, for %v", w.State, w.Scope)
	}
	s.fails("b")
	s.wait(2)
	s.isBack("a")
	s.wait(1)
	if w := s.g.Says(s.now); w.State != shutdown.None {
		t.Errorf("it says %s, for %v", w.State, w.Scope)
	}
}

// TestU7_OutAgainAfterAnothersRun: a has mains for a while, and b has not. What the brain's run told of a's
// machines is of an outage that is over, so the Pi tells them in the next one if the brain does not.
func TestU7_OutAgainAfterAnothersRun(t *testing.T) {
	epoch := shutdown.Epoch{Counter: 4, Holder: "brain"}
	for name, c := range map[string]struct {
		was, is []string // whom the brain's run was for, before a has mains and after
		restart bool
		waits   int // seconds from a's next outage in which the brain has its time
		told    string
	}{
		"some of them":    {[]string{"pve1", "pve2", "pve3"}, []string{"pve2"}, false, 18, "pve1 pve3"},
		"known from disk": {[]string{"pve1", "pve2", "pve3"}, []string{"pve2"}, true, 18, "pve1 pve3"},
		"all of them":     {[]string{"pve1"}, nil, false, 10, "pve1 pve2 pve3"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStreet(t, wired())
			s.wait(15)
			s.fails("a")
			if len(c.was) > 1 {
				s.fails("b")
			}
			s.wait(12)
			s.g.BrainFor(c.was)
			s.note(s.g.Mandated(s.now, epoch, shutdown.HasEnded))
			s.wait(60)
			s.wants("")
			if len(c.was) == 1 {
				s.fails("b")
				s.wait(1)
			}
			s.isBack("a")
			s.wait(4)
			if c.is == nil { // it is for nobody, and goes on for b's
				s.note(s.g.Mandated(s.now, epoch, shutdown.None))
			} else {
				s.g.BrainFor(c.is)
				s.note(s.g.Mandated(s.now, epoch, shutdown.HasEnded))
			}
			if c.restart {
				s.g = guardian.New("pi")
				s.g.Order(s.now, wired())
				for _, e := range s.disk {
					s.g.Restore(e)
				}
				s.note(s.g.Restarted(s.now, s.now, []string{"a", "b"}))
			}
			s.wait(2)
			s.fails("a")
			s.wait(c.waits)
			s.wants("")
			for range 3 {
				s.wait(11)
				s.takes("pve1", "pve2")
			}
			s.wants(c.told)
		})
	}
}

// TestU7_AUPSThatIsConfiguredSince calls for nothing of the run before, which keeps its plan, and for what it
// feeds in one of its own.
func TestU7_AUPSThatIsConfiguredSince(t *testing.T) {
	s := newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.wait(22)
	s.wants("pve1")
	o := wired()
	o.Plan.Wiring = power.Wire(map[string][]string{"a": {"pve1", "pve3"}, "b": {"pve2"}, "c": {"pve3"}}, nil)
	s.note(s.g.Order(s.now, o))
	s.takes("pve1")
	since := s.now
	for range 40 {
		s.note(s.g.Reported(s.now, "c", battery(s.now.Sub(since))))
		s.wait(1)
	}
	s.wants("pve1 pve3")
}

// TestS5_AfterABootEachUPSIsHeardFirst: the Pi boots in a run for two UPSes, and one of them has mains by then.
// It is heard a little later, and nobody is told before whom it feeds too.
func TestS5_AfterABootEachUPSIsHeardFirst(t *testing.T) {
	s := newStreet(t, wired())
	s.wait(15)
	s.fails("a")
	s.fails("b")
	s.wait(21)
	s.takes("pve1") // and the next stage begins
	hear := s.restartedWithA(time.Time{})
	if n := hear(8); n > 0 {
		t.Errorf("%d commands while b was not heard", n)
	}
	if n := hear(8); n == 0 {
		t.Error("no commands though b has had its time")
	}
}
