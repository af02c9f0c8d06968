package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/executor"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/proxmox"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

const (
	guardTick = time.Second
	// pausedAfter is how late a turn must be for the process to have been stopped.
	pausedAfter = guardTick + 3*time.Second
)

var errMainsBack = errors.New("the power is back")

// guard is the loop that owns the guardian.
type guard struct {
	p      *Proxy
	core   *guardian.Guardian
	inputs chan func(now time.Time) []guardian.Event
	ended  chan struct{} // closed when the loop has ended

	supply   atomic.Pointer[power.Supply]
	run      atomic.Pointer[shutdown.Status]
	looks    atomic.Pointer[[]shutdown.Target]
	exec     *executor.Executor // of the run under way
	cancel   context.CancelFunc
	performs chan struct{} // closed when exec has ended
}

func newGuard(p *Proxy) *guard {
	return &guard{p: p, core: guardian.New(p.cfg.Name), inputs: make(chan func(time.Time) []guardian.Event, 64), ended: make(chan struct{})}
}

func ordersOf(b wire.Bundle) guardian.Orders {
	return guardian.Orders{Armed: b.Armed, Plan: b.Plan, Policy: b.Policy}
}

// restoreOrders is for before the loop runs.
func (g *guard) restoreOrders(b wire.Bundle) { g.core.Order(time.Now(), ordersOf(b)) }

func (g *guard) send(f func(now time.Time) []guardian.Event) {
	select {
	case g.inputs <- f:
	case <-g.ended:
	}
}

func (g *guard) report(r power.Reading) {
	g.supply.Store(&r.Supply)
	g.send(func(now time.Time) []guardian.Event { return g.core.Reported(now, r) })
}

func (g *guard) order(b wire.Bundle) {
	g.send(func(now time.Time) []guardian.Event { return g.core.Order(now, ordersOf(b)) })
}

func (g *guard) mandate(m wire.Mandate) {
	g.send(func(now time.Time) []guardian.Event { return g.core.Mandated(now, m.Epoch, m.Run) })
}

// status is the run as the brain is told of it; nil if there was none. It speaks only of
// what is on disk.
func (g *guard) status() *shutdown.Status { return g.run.Load() }

// loop turns until the context ends. What the guardian decides is written down before it
// is done; a disk that fails does not stop a shutdown.
func (g *guard) loop(ctx context.Context) error {
	defer close(g.ended)
	defer g.stop()
	now := time.Now()
	g.done(ctx, now, g.core.Resumed(now))
	if r := g.core.Run; r != nil && !r.Over() {
		g.p.log.Warn("taking up a run", "run", r.ID)
		g.perform(ctx)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for last := now; ; {
		var input func(time.Time) []guardian.Event
		select {
		case <-ctx.Done():
			return nil
		case input = <-g.inputs:
		case <-timer.C:
			input = g.core.Tick
		}
		now = time.Now()
		if late := now.Sub(last); late > pausedAfter {
			g.p.log.Warn("the process stood still", "for", late)
			g.done(ctx, now, g.core.Resumed(now))
		}
		last = now
		g.done(ctx, now, input(now))
		g.p.health.Turned()
		g.p.notifier.Feed()
		wait := guardTick
		if at := g.core.NextDeadline(); !at.IsZero() {
			wait = min(wait, max(at.Sub(now), 0))
		}
		timer.Reset(wait)
	}
}

// done writes events down and does what they ask for.
func (g *guard) done(ctx context.Context, now time.Time, es []guardian.Event) {
	if len(es) > 0 {
		if err := g.p.ledger.Append(es); err != nil {
			g.p.log.Error("run not written, acting from memory", "err", err)
		}
	}
	if r := g.core.Run; r != nil {
		g.run.Store(r.Status(now, g.core.Epoch))
		looks := r.Looks()
		g.looks.Store(&looks)
	}
	for _, e := range es {
		g.p.log.Info("run", "event", e.Event.Type, "target", e.Event.Target, "why", e.Event.Why, "epoch", e.Epoch.Counter)
		switch e.Event.Type {
		case shutdown.Began:
			g.p.log.Warn("shutting the site down", "because", e.Event.Run.Reason, "epoch", e.Epoch.Counter)
			g.perform(ctx)
		case shutdown.Sent:
			g.command(ctx, now, e.Event.Target)
		case shutdown.Ended, shutdown.Aborted:
			g.stop()
		}
	}
}

func (g *guard) command(ctx context.Context, now time.Time, target string) {
	if g.exec == nil {
		return // no machines could be made; the run says so at its deadlines
	}
	for _, c := range g.core.Run.Due(now) {
		if c.Target.ID() == target {
			g.exec.Perform(ctx, []shutdown.Command{c})
		}
	}
}

// perform makes what performs the run.
func (g *guard) perform(ctx context.Context) {
	g.stop()
	fleet, err := g.fleet()
	if err != nil {
		g.p.log.Error("run without machines", "err", err)
		return
	}
	ctx, g.cancel = context.WithCancel(ctx)
	exec := &executor.Executor{
		Machines: fleet,
		May: func() error {
			if s := g.supply.Load(); s != nil && *s == power.Mains {
				return errMainsBack
			}
			return nil
		},
		Outcome: func(o executor.Outcome) {
			g.sendWithin(ctx, func(now time.Time) []guardian.Event { return g.core.Answered(now, o.Target, o.Found, o.Err) })
		},
		Sight: func(target string, s shutdown.Sight) {
			g.sendWithin(ctx, func(now time.Time) []guardian.Event { return g.core.Seen(now, target, s) })
		},
	}
	ended := make(chan struct{})
	g.exec, g.performs = exec, ended
	go func() { // stop waits for it
		defer close(ended)
		defer fleet.Close()
		exec.Watch(ctx, func() []shutdown.Target {
			if ts := g.looks.Load(); ts != nil {
				return *ts
			}
			return nil
		})
	}()
}

// sendWithin gives up when the run ends, since the loop may be waiting for its end.
func (g *guard) sendWithin(ctx context.Context, f func(now time.Time) []guardian.Event) {
	select {
	case g.inputs <- f:
	case <-ctx.Done():
	}
}

func (g *guard) stop() {
	if g.cancel == nil {
		return
	}
	g.cancel()
	<-g.performs
	g.cancel, g.exec, g.performs = nil, nil, nil
}

func (g *guard) fleet() (*proxmox.Fleet, error) {
	stored := g.p.stored.Load()
	if stored == nil {
		return nil, errors.New("there is no bundle")
	}
	secret, err := config.NewSecret(stored.Bundle.TokenSecret)
	if err != nil {
		return nil, err
	}
	text, err := secret.Read()
	if err != nil {
		return nil, fmt.Errorf("read the Proxmox token's secret: %w", err)
	}
	return proxmox.NewFleet(g.core.Run.Plan, stored.Bundle.TokenID, text, (&net.Dialer{}).DialContext, g.p.lan.SilentFor)
}
