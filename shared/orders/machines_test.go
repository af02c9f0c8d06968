package orders_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/executor"
	"sentinel.home.arpa/shared/orders"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// seen is a node that can be looked at, or cannot.
type seen struct {
	executor.Machines
	sight shutdown.Sight
	err   error
}

func (s seen) Look(context.Context, shutdown.Target) (shutdown.Sight, error) {
	return s.sight, s.err
}

// TestS4_ANodeOutOfSightMayHaveAnnouncedIt: where a node cannot be looked at its word counts that
// it powers off, and nothing else; an API that answers says more than that word.
func TestS4_ANodeOutOfSightMayHaveAnnouncedIt(t *testing.T) {
	gone := errors.New("no way to it")
	for name, c := range map[string]struct {
		say  func(d *orders.Desk)
		look error
		want bool
	}{
		"poweroff":                 {func(d *orders.Desk) { d.Announced("pve1", first, wire.Poweroff) }, gone, true},
		"halt":                     {func(d *orders.Desk) { d.Announced("pve1", first, wire.Halt) }, gone, true},
		"reboot":                   {func(d *orders.Desk) { d.Announced("pve1", first, wire.Reboot) }, gone, false},
		"poweroff, and it answers": {func(d *orders.Desk) { d.Announced("pve1", first, wire.Poweroff) }, nil, false},
		"it only says stopping":    {func(d *orders.Desk) { d.Heard("pve1", first, "stopping", 0) }, gone, false},
		"a plan told it, long ago": {func(d *orders.Desk) { d.Left("pve1", first) }, gone, false},
		"poweroff of another boot": {func(d *orders.Desk) { d.Announced("pve1", second, wire.Poweroff) }, gone, false},
		"poweroff, taken back": {func(d *orders.Desk) {
			d.Announced("pve1", first, wire.Poweroff)
			d.Announced("pve1", first, wire.Cancelled)
		}, gone, false},
		"nothing": {func(*orders.Desk) {}, gone, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.desk.Heard("pve1", first, "running", 0)
				c.say(h.desk)
				silent := 6 * time.Second
				m := orders.Machines{Machines: seen{err: c.look}, Desk: h.desk, SilentFor: func(string) *time.Duration { return &silent }}
				s, err := m.Look(t.Context(), shutdown.Target{Kind: shutdown.ProxmoxNode, Node: "pve1"})
				if s.Announced != c.want || (err == nil) != (c.want || c.look == nil) {
					t.Errorf("%+v, %v", s, err)
				}
			})
		})
	}
}

// TestS4_WhoseAPIIsClosedMayHaveSaidThatItGoes: its last word counts, or that a plan told it before; not that of another
// boot, nor of one whose API answers.
func TestS4_WhoseAPIIsClosedMayHaveSaidThatItGoes(t *testing.T) {
	for name, c := range map[string]struct {
		say    func(d *orders.Desk)
		closed bool
		want   bool
	}{
		"poweroff":                 {func(d *orders.Desk) { d.Announced("pve1", first, wire.Poweroff) }, true, true},
		"poweroff, and it answers": {func(d *orders.Desk) { d.Announced("pve1", first, wire.Poweroff) }, false, false},
		"reboot":                   {func(d *orders.Desk) { d.Announced("pve1", first, wire.Reboot) }, true, false},
		"a plan told it":           {func(d *orders.Desk) { d.Left("pve1", first) }, true, true},
		"it says stopping":         {func(d *orders.Desk) { d.Heard("pve1", first, "stopping", 0) }, true, true},
		"poweroff of another boot": {func(d *orders.Desk) { d.Announced("pve1", second, wire.Poweroff) }, true, false},
		"nothing":                  {func(*orders.Desk) {}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.desk.Heard("pve1", first, "running", 0)
				c.say(h.desk)
				m := orders.Machines{Machines: seen{sight: shutdown.Sight{Closed: c.closed}}, Desk: h.desk}
				s, err := m.Look(t.Context(), shutdown.Target{Kind: shutdown.ProxmoxNode, Node: "pve1"})
				if err != nil || s.Leaving != c.want {
					t.Errorf("%+v, %v", s, err)
				}
			})
		})
	}
}
