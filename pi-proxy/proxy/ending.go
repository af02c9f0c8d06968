package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/pi-proxy/internal/root"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/executor"
	"sentinel.home.arpa/shared/orders"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

const (
	// lastWordWithin bounds how long a Pi that is about to cut the power waits for a brain to
	// take its word for that.
	lastWordWithin = 2 * time.Second
	// goneWithin is how long a machine that was told to power off may take to end this process.
	goneWithin = time.Minute
	lookEach   = time.Second
)

// ending does what the guardian has decided about the Pi itself.
type ending struct {
	p       *Proxy
	todo    chan shutdown.Event
	watches atomic.Pointer[[]shutdown.Target]
	going   atomic.Bool // the Pi powers itself off
	cutting atomic.Bool // and has its UPS's output cut

	goneWithin time.Duration
}

func newEnding(p *Proxy) *ending {
	return &ending{p: p, todo: make(chan shutdown.Event, 1), goneWithin: goneWithin}
}

// own is how the Pi hangs on a UPS: that whose apcupsd runs here. Of several it is the one
// whose output may be cut, else the first.
func (c *Config) own() (own guardian.Own) {
	for _, u := range c.UPS {
		if u.local() && (own.UPS == "" || u.CutOutput) {
			own = guardian.Own{UPS: u.Name, Halt: c.Halt, Cut: u.CutOutput}
		}
	}
	return own
}

// local reports whether a UPS's apcupsd runs on this machine.
func (u UPS) local() bool {
	host, _, err := net.SplitHostPort(u.NIS)
	ip, other := netip.ParseAddr(host)
	return err == nil && (host == "localhost" || other == nil && ip.IsLoopback())
}

// order takes what is to be done, and never waits: the guardian decides it again.
func (e *ending) order(ev shutdown.Event) {
	select {
	case e.todo <- ev:
	default:
	}
}

// run does what the guardian orders, one thing after the other.
func (e *ending) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-e.todo:
			if err := e.do(ctx, ev); err != nil && ctx.Err() == nil {
				e.p.log.Error("not done", "what", ev.Type, "err", err)
			}
		}
	}
}

var errStays = errors.New("it is no longer as it was when that was decided")

func (e *ending) do(ctx context.Context, ev shutdown.Event) error {
	verb := root.Halt
	switch ev.Type {
	case guardian.Clearing:
		e.p.log.Info("apcupsd is restarted, so that it forgets its shutdown", "because", ev.Why)
		return root.Ask(ctx, e.p.cfg.RootSocket, root.Clear)
	case guardian.Cutting:
		verb = root.HaltAndCut
		e.cutting.Store(true)
		e.lastWord(ctx, ev.Target)
	}
	if e.leaves(ctx) != ev.Type { // rule S5
		e.cutting.Store(false)
		return errStays
	}
	e.going.Store(true)
	e.p.log.Warn("the Pi powers itself off", "what", ev.Type, "ups", ev.Target, "because", ev.Why)
	e.p.record.Remark("told root to " + string(verb) + ": " + ev.Why)
	err := root.Ask(ctx, e.p.cfg.RootSocket, verb)
	if err == nil {
		err = e.stays(ctx, ev.Type)
	}
	if ctx.Err() == nil { // else this is the end
		e.going.Store(false)
		e.cutting.Store(false)
	}
	return err
}

// stays waits for the end, and takes back the word to cut the output if none comes: whatever shut
// the Pi down next, a reboot too, would do it.
func (e *ending) stays(ctx context.Context, what shutdown.EventType) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(e.goneWithin):
	}
	err := fmt.Errorf("it is still on after %v", e.goneWithin)
	if what == guardian.Cutting {
		err = errors.Join(err, root.Ask(ctx, e.p.cfg.RootSocket, root.Clear))
	}
	return err
}

// leaves asks the guardian again, who may have heard of the mains since.
func (e *ending) leaves(ctx context.Context) (what shutdown.EventType) {
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	answer := make(chan shutdown.EventType, 1)
	e.p.guard.sendWithin(ctx, func(now time.Time) []guardian.Event {
		what, _ := e.p.guard.core.Leaves(now)
		answer <- what
		return nil
	})
	select {
	case what = <-answer:
	case <-ctx.Done():
	}
	return what
}

// lastWord tells the brains that everything on the UPS goes dark, as planned (rule G4).
func (e *ending) lastWord(ctx context.Context, ups string) {
	ctx, cancel := context.WithTimeout(ctx, lastWordWithin)
	defer cancel()
	for _, l := range e.p.latest {
		if l.name != ups {
			continue
		}
		t, known := l.take()
		if !known {
			return
		}
		told := e.p.toBrains(ctx, &e.p.reports, func(ctx context.Context, to courier.Receiver) error { return e.p.postUPS(ctx, to, l, t) })
		l.untold(t.changed && !told)
		e.p.log.Info("last word: the output is cut", "ups", ups, "told", told)
	}
}

// cuts reports whether a UPS's output is about to be cut.
func (e *ending) cuts(ups string) bool { return e.cutting.Load() && ups == e.p.cfg.own().UPS }

// farewell is what the Pi says of itself when it is told to stop.
func (e *ending) farewell() wire.ShutdownKind {
	if e.going.Load() {
		return wire.Poweroff
	}
	return wire.SoftReboot
}

// watch looks at the machines of a plan that is through for as long as the guardian wants to
// know: only if all are down it may cut the output.
func (e *ending) watch(ctx context.Context) error {
	tick := time.NewTicker(lookEach)
	defer tick.Stop()
	told := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if len(e.targets()) == 0 {
			told = false
			continue
		}
		if err := e.look(ctx); err != nil && !told {
			told = true
			e.p.log.Error("whether the machines are down is not seen, so the output stays", "err", err)
		}
	}
}

func (e *ending) targets() []shutdown.Target {
	if ts := e.watches.Load(); ts != nil {
		return *ts
	}
	return nil
}

func (e *ending) look(ctx context.Context) error {
	stored := e.p.stored.Load()
	if stored == nil {
		return errNoBundle
	}
	fleet, err := e.p.guard.fleetOf(stored.Bundle.Plan)
	if err != nil {
		return err
	}
	defer fleet.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	exec := &executor.Executor{
		Machines: leavers{orders.Machines{Machines: fleet, Desk: e.p.desk, SilentFor: e.p.lan.SilentFor}},
		Sight: func(target string, s shutdown.Sight) {
			e.p.guard.sendWithin(ctx, func(now time.Time) []guardian.Event { return e.p.guard.core.Sighted(now, target, s) })
		},
	}
	exec.Watch(ctx, func() []shutdown.Target {
		ts := e.targets()
		if len(ts) == 0 {
			cancel()
		}
		return ts
	})
	return nil
}

// leavers also see of each machine whether its last word was that it powers off.
type leavers struct{ orders.Machines }

// errNotSeen keeps the output on: only what was looked at is seen to be down (rule G4).
var errNotSeen = errors.New("it could not be looked at")

// Look implements executor.Machines.
func (l leavers) Look(ctx context.Context, t shutdown.Target) (shutdown.Sight, error) {
	s, err := l.Machines.Look(ctx, t)
	if err == nil && s.Announced {
		return s, errNotSeen
	}
	s.Leaving = l.Desk.Leaving(t.Node)
	return s, err
}
