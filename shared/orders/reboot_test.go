package orders_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/orders"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// night is a run of one stage, of a desktop alone, and all that came of it.
type night struct {
	*house
	run    *shutdown.Run
	events []shutdown.Event
	beaten time.Time // when the host was heard last
	answer chan func()
}

func newNight(t *testing.T, deadline time.Duration) *night {
	n := &night{house: newHouse(t), answer: make(chan func(), 100)}
	n.run = shutdown.Start(shutdown.Event{Type: shutdown.Began, At: time.Now(), Run: &shutdown.Header{ID: "run",
		Plan: shutdown.Plan{Stages: []shutdown.Stage{{Hosts: []string{"desktop"}, Deadline: deadline}}}}})
	return n
}

func (n *night) step(es []shutdown.Event) {
	for _, e := range es {
		n.run.Apply(e)
	}
	n.events = append(n.events, es...)
}

// says is a heartbeat; whoever is ordered by its answer obeys.
func (n *night) says(boot, state string) {
	n.beaten = time.Now()
	if n.beat(boot, state) {
		n.desk.Announced("desktop", boot, wire.Poweroff)
	}
}

// second looks and commands as an executor does.
func (n *night) second() {
	m := orders.Machines{Desk: n.desk, Run: orders.Run{ID: "run", Epoch: shutdown.Epoch{Counter: 3, Holder: "pi1"}},
		May: func(string) error { return nil }, SilentFor: func(string) *time.Duration { return new(time.Since(n.beaten)) }}
	for es := n.run.Next(time.Now()); len(es) > 0; es = n.run.Next(time.Now()) {
		n.step(es)
		if !slices.ContainsFunc(es, func(e shutdown.Event) bool { return e.Type == shutdown.Sent }) {
			continue
		}
		for _, c := range n.run.Due(time.Now()) {
			ctx, cancel := context.WithTimeout(n.t.Context(), 7*time.Second)
			go func() {
				defer cancel()
				err := m.Do(ctx, c)
				n.answer <- func() { n.step(n.run.Answered(time.Now(), c.Target.ID(), nil, err)) }
			}()
		}
	}
	for _, target := range n.run.Looks() {
		s, err := m.Look(n.t.Context(), target)
		if err != nil {
			n.t.Fatal(err)
		}
		n.step(n.run.Seen(time.Now(), target.ID(), s))
	}
	time.Sleep(time.Second)
	synctest.Wait()
	for len(n.answer) > 0 {
		(<-n.answer)()
	}
}

func (n *night) seconds(count int, each func()) {
	for range count {
		each()
		n.second()
	}
}

// last is the last event of its target, or nil.
func (n *night) last() *shutdown.Event {
	for _, e := range slices.Backward(n.events) {
		if e.Target != "" {
			return &e
		}
	}
	return nil
}

// TestS4_AHostThatRebootsIsOrderedOnceItIsBack: it is not down by the word and the silence of its
// reboot, nor given up as silent, in whichever order its words arrive; a soft-reboot keeps its
// boot's name. What it is told then takes it down.
func TestS4_AHostThatRebootsIsOrderedOnceItIsBack(t *testing.T) {
	for name, c := range map[string]struct {
		kind wire.ShutdownKind
		back string
	}{
		"reboot":      {wire.Reboot, second},
		"kexec":       {wire.Kexec, second},
		"soft-reboot": {wire.SoftReboot, first},
	} {
		for order, say := range map[string]func(n *night){
			"it announces and stops": func(n *night) {
				n.desk.Announced("desktop", first, c.kind)
				n.seconds(4, func() { n.says(first, "stopping") })
			},
			"its announcement comes last": func(n *night) {
				n.seconds(2, func() { n.says(first, "stopping") })
				n.desk.Announced("desktop", first, c.kind)
				n.seconds(2, func() { n.says(first, "stopping") })
			},
			"it never says stopping": func(n *night) { n.desk.Announced("desktop", first, c.kind) },
		} {
			t.Run(name+", "+order, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := newNight(t, 5*time.Minute)
					n.says(first, "running")
					say(n)
					n.seconds(90, func() {})
					if p := n.run.Current()[0]; p.Over() {
						t.Fatalf("in its reboot it is over: %q", p.Why)
					}
					for i := 0; i < 20 && !n.desk.Leaving("desktop"); i++ {
						n.says(c.back, "running")
						n.second()
					}
					n.seconds(10, func() {})
					if e := n.events[len(n.events)-1]; e.Type != shutdown.Ended || n.last().Type != shutdown.WentDown {
						t.Errorf("at the end %s, of the host %+v", e.Type, n.last())
					}
				})
			})
		}
	}
}

// TestS4_AHostThatDoesNotComeBackFromItsRebootIsLate, by name and with the reason.
func TestS4_AHostThatDoesNotComeBackFromItsRebootIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNight(t, 2*time.Minute)
		n.says(first, "running")
		n.desk.Announced("desktop", first, wire.Reboot)
		n.seconds(3, func() { n.says(first, "stopping") })
		n.seconds(125, func() {})
		if e := n.last(); e.Type != shutdown.Late || !strings.Contains(e.Why, "it said that it reboots, and is not back") {
			t.Errorf("%+v", e)
		}
	})
}

// TestA4_AHostIsWaitedForTenMinutes, and no longer: then its silence is one as any.
func TestA4_AHostIsWaitedForTenMinutes(t *testing.T) {
	for name, c := range map[string]struct {
		then func(h *house)
		want bool
	}{
		"just announced":         {func(*house) {}, true},
		"9 min 59 s":             {func(*house) { time.Sleep(10*time.Minute - time.Second) }, true},
		"10 min":                 {func(*house) { time.Sleep(10 * time.Minute) }, false},
		"10 min since it stops":  {func(h *house) { time.Sleep(9 * time.Minute); h.beat(first, "stopping"); time.Sleep(9 * time.Minute) }, true},
		"taken back":             {func(h *house) { h.desk.Announced("desktop", first, wire.Cancelled) }, false},
		"it powers off, at last": {func(h *house) { h.desk.Announced("desktop", first, wire.Poweroff) }, false},
		"running for 29 s more":  {func(h *house) { time.Sleep(29 * time.Second); h.beat(first, "running") }, true},
		"running for 30 s more":  {func(h *house) { time.Sleep(30 * time.Second); h.beat(first, "running") }, false},
		"it booted anew":         {func(h *house) { time.Sleep(time.Minute); h.beat(second, "running") }, false},
		"it says stopping":       {func(h *house) { h.beat(first, "stopping") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.desk.Announced("desktop", first, wire.Reboot) // the first word, as after a restart
				c.then(h)
				if got := h.desk.Returning("desktop"); got != c.want {
					t.Errorf("returning %v, want %v", got, c.want)
				}
				if c.want && h.desk.Leaving("desktop") {
					t.Error("it leaves for good")
				}
			})
		})
	}
}
