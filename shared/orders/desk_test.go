package orders_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/orders"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

const (
	first  = "0f8fad5b-d9cb-469f-a165-70867728950e"
	second = "1f8fad5b-d9cb-469f-a165-70867728950e"
)

var errMains = errors.New("the power is back")

// house is a desk, and a host named desktop that knows its key.
type house struct {
	t    *testing.T
	desk *orders.Desk
	key  wire.Key
	seq  int64
	may  error
}

func newHouse(t *testing.T) *house {
	t.Helper()
	key, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, key: key}
	h.desk = &orders.Desk{Log: slog.New(slog.DiscardHandler), Key: key, Now: time.Now,
		Self: func() wire.Header { return wire.Header{V: wire.Version, Node: "pi1", Boot: first, Seq: 1} }}
	return h
}

// beat is a heartbeat of a boot, and whether an order came back that the host would obey.
func (h *house) beat(boot, state string) (ordered bool) {
	h.t.Helper()
	h.seq++
	header := wire.Header{V: wire.Version, Node: "desktop", Boot: boot, Seq: h.seq}
	h.desk.Heard("desktop", boot, state, 0)
	sealed := h.desk.For(header)
	if sealed == nil {
		return false
	}
	o, err := wire.OpenOrder(sealed, header, h.key.PublicKey())
	if err != nil || o.Run != "run" || o.Epoch.Counter != 3 {
		h.t.Fatalf("%+v, %v", o, err)
	}
	header.Seq++
	if _, err := wire.OpenOrder(sealed, header, h.key.PublicKey()); err == nil {
		h.t.Error("the order serves for another heartbeat")
	}
	return true
}

// give lays an order down for a while; the channel has its outcome.
func (h *house) give(within time.Duration) <-chan error {
	out := make(chan error, 1)
	ctx, cancel := context.WithTimeout(h.t.Context(), within)
	go func() {
		defer cancel()
		out <- h.desk.Give(ctx, "desktop", orders.Run{ID: "run", Epoch: shutdown.Epoch{Counter: 3, Holder: "pi1"}}, func() error { return h.may })
	}()
	synctest.Wait()
	return out
}

// TestH10_AnOrderGoesWithTheAnswerUntilItIsTaken: not before it is given, and no longer once
// the host says that it goes down, which is its yes.
func TestH10_AnOrderGoesWithTheAnswerUntilItIsTaken(t *testing.T) {
	for name, yes := range map[string]func(h *house){
		"it announces": func(h *house) { h.desk.Announced("desktop", first, wire.Poweroff) },
		"it stops":     func(h *house) { h.beat(first, "stopping") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				if h.beat(first, "running") {
					t.Error("ordered by nobody")
				}
				out := h.give(7 * time.Second)
				for range 2 {
					if !h.beat(first, "running") {
						t.Error("not ordered")
					}
				}
				yes(h)
				if err := <-out; err != nil || !h.desk.Leaving("desktop") {
					t.Errorf("%v, leaving %v", err, h.desk.Leaving("desktop"))
				}
				if h.beat(first, "running") {
					t.Error("ordered after its yes")
				}
				if err := <-h.give(time.Second); err != nil {
					t.Errorf("told again though it goes down: %v", err)
				}
			})
		})
	}
}

// TestS5_NoOrderLeavesOnMains: the reason is asked before each answer.
func TestS5_NoOrderLeavesOnMains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		out := h.give(7 * time.Second)
		h.may = errMains
		if h.beat(first, "running") {
			t.Error("ordered on mains")
		}
		if err := <-out; !errors.Is(err, errMains) {
			t.Errorf("%v", err)
		}
		h.may = nil
		if h.beat(first, "running") {
			t.Error("ordered after it was taken back")
		}
	})
}

// TestS4_WhyAHostDidNotAccept: nobody was there, or it did not say a word.
func TestS4_WhyAHostDidNotAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		if err := <-h.give(7 * time.Second); err == nil || err.Error() != "no heartbeat of it came that could be answered" {
			t.Errorf("%v", err)
		}
		out := h.give(7 * time.Second)
		h.beat(first, "running")
		if err := <-out; err == nil || err.Error() != "it was ordered to power off, and has not said that it does" {
			t.Errorf("%v", err)
		}
	})
}

// TestA1_OnlyAPoweroffOfThisBootIsAYes: one that comes back has not gone, nor has one that
// took its word back or runs on.
func TestA1_OnlyAPoweroffOfThisBootIsAYes(t *testing.T) {
	for name, c := range map[string]struct {
		say  func(h *house)
		left bool
	}{
		"halt":           {func(h *house) { h.desk.Announced("desktop", first, wire.Halt) }, true},
		"reboot":         {func(h *house) { h.desk.Announced("desktop", first, wire.Reboot) }, false},
		"another boot's": {func(h *house) { h.desk.Announced("desktop", second, wire.Poweroff) }, false},
		"cancelled": {func(h *house) {
			h.desk.Announced("desktop", first, wire.Poweroff)
			h.desk.Announced("desktop", first, wire.Cancelled)
		}, false},
		"running for 29 s more": {func(h *house) {
			h.desk.Announced("desktop", first, wire.Poweroff)
			time.Sleep(29 * time.Second)
			h.beat(first, "running")
		}, true},
		"running for 30 s more": {func(h *house) {
			h.desk.Announced("desktop", first, wire.Poweroff)
			time.Sleep(30 * time.Second)
			h.beat(first, "degraded")
		}, false},
		"it booted anew": {func(h *house) {
			h.desk.Announced("desktop", first, wire.Poweroff)
			time.Sleep(time.Minute)
			h.beat(second, "running")
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.beat(first, "running")
				c.say(h)
				if got := h.desk.Leaving("desktop"); got != c.left {
					t.Errorf("leaving %v, want %v", got, c.left)
				}
				if got := h.desk.PowersOff("desktop"); got != c.left {
					t.Errorf("it powers off: %v, want %v", got, c.left)
				}
				out := h.give(time.Second)
				if err := <-out; (err == nil) != c.left {
					t.Errorf("given: %v", err)
				}
			})
		})
	}
}

// TestH11_ACloneIsOrderedNothing: of two machines under one name the first alone; a boot that
// took its place after a silence is the host itself.
func TestH11_ACloneIsOrderedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.beat(first, "running")
		h.give(time.Minute)
		for range 10 {
			time.Sleep(time.Second)
			if h.beat(second, "running") {
				t.Error("the clone is ordered to power off")
			}
			if !h.beat(first, "running") {
				t.Error("the host is not ordered")
			}
		}
		time.Sleep(5 * time.Second)
		if !h.beat(second, "running") {
			t.Error("a host that booted anew is not ordered")
		}
		h.desk.Heard("desktop", first, "running", 6*time.Second) // a late word
		if !h.beat(second, "running") {
			t.Error("a word of its earlier boot changes that")
		}
		h.desk.Announced("desktop", second, wire.Poweroff)
	})
}

// TestS1_MachinesDoNotGiveAfterTheDeadline, and look at hosts by what they said.
func TestS1_MachinesDoNotGiveAfterTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		silent := 3 * time.Second
		m := orders.Machines{Machines: orders.None{Err: errMains}, Desk: h.desk, Run: orders.Run{ID: "run"}, May: func(string) error { return nil },
			SilentFor: func(string) *time.Duration { return &silent }}
		host := shutdown.Target{Kind: shutdown.Host, Node: "desktop"}
		start := time.Now()
		if err := m.Do(t.Context(), shutdown.Command{Target: host, Left: 2 * time.Second}); err == nil || time.Since(start) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		h.desk.Announced("desktop", first, wire.Poweroff)
		if s, err := m.Look(t.Context(), host); err != nil || !s.Leaving || *s.SilentFor != silent {
			t.Errorf("%+v, %v", s, err)
		}
		node := shutdown.Target{Kind: shutdown.ProxmoxNode, Node: "pve1"}
		_, seen := m.Look(t.Context(), node)
		_, listed := m.List(t.Context(), "pve1")
		for _, err := range []error{m.Do(t.Context(), shutdown.Command{Target: node, Left: time.Minute}), seen, listed} {
			if !errors.Is(err, errMains) {
				t.Errorf("%v", err)
			}
		}
	})
}

// TestH10_AnOrderMayBeLent: the brain's, by a Pi that hears the host where the brain does not,
// for as long as the brain goes on naming it.
func TestH10_AnOrderMayBeLent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		brain, pi := newHouse(t), newHouse(t)
		run := orders.Run{ID: "run", Epoch: shutdown.Epoch{Counter: 3, Holder: "brain"}}
		lend := func(names []string) { pi.desk.Lend(names, run, func() error { return pi.may }) }
		out := brain.give(time.Minute)
		if got := brain.desk.Waiting("run"); len(got) != 1 || got[0] != "desktop" || len(brain.desk.Waiting("another")) > 0 {
			t.Errorf("waiting: %v, of another run %v", got, brain.desk.Waiting("another"))
		}
		if pi.beat(first, "running") {
			t.Error("ordered by nobody")
		}
		lend(brain.desk.Waiting("run"))
		time.Sleep(2999 * time.Millisecond)
		if !pi.beat(first, "running") {
			t.Error("not ordered")
		}
		time.Sleep(time.Millisecond)
		if pi.beat(first, "running") {
			t.Error("ordered though the brain says nothing more")
		}
		lend([]string{"desktop"})
		lend(nil) // the brain's next word, such as that the plan was stopped
		if pi.beat(first, "running") {
			t.Error("ordered though the brain has taken it back")
		}
		lend([]string{"desktop"})
		pi.may = errMains
		if pi.beat(first, "running") {
			t.Error("ordered on mains")
		}
		brain.may = errMains
		if got := brain.desk.Waiting("run"); len(got) > 0 {
			t.Errorf("waiting on mains: %v", got)
		}
		pi.may, brain.may = nil, nil
		if pi.beat(first, "stopping") || pi.beat(first, "running") {
			t.Error("ordered after its yes")
		}
		brain.desk.Announced("desktop", first, wire.Poweroff) // as the Pi relays it
		if err := <-out; err != nil {
			t.Errorf("%v", err)
		}
	})
}
