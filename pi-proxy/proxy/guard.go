package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

var (
	errMainsBack = errors.New("the power is back")
	errLeftOn    = errors.New("its UPS does not call for it any more")
	errNoBundle  = errors.New("there is no bundle")
)

// guard is the loop that owns the guardian.
type guard struct {
	p      *Proxy
	core   *guardian.Guardian
	inputs chan func(now time.Time) []guardian.Event
	lived  time.Time     // when an earlier process of this boot was last alive; zero: not known
	ended  chan struct{} // closed when the loop has ended
	disk   slowDisk

	unwritten []guardian.Event // the loop's alone
	owes      error            // why the disk has not taken all, as far as the last write told; the loop's alone
	tried     time.Time        // when that was; the loop's alone
	untripped error            // why apcupsd's last word is not on disk; the loop's alone
	stops     bool             // the brain's last word was that the plan is stopped; the loop's alone

	run     atomic.Pointer[shutdown.Status]
	heeds   atomic.Pointer[shutdown.Epoch]
	looks   atomic.Pointer[[]shutdown.Target]
	left    atomic.Pointer[map[string]string] // the machines that the run leaves on
	onMains atomic.Bool                       // the run may tell machines to shut down on mains too (rules S0, U5)

	elsewhere atomic.Bool // a UPS that another Pi reads is on battery, or was when that Pi fell silent

	do       func(shutdown.Command) // performs a command of the run under way; nil: nothing can
	lame     bool                   // it reaches hosts alone
	cancel   context.CancelFunc
	performs chan struct{} // closed when what performs has ended
}

func newGuard(p *Proxy) *guard {
	return &guard{p: p, core: guardian.New(p.cfg.Name), inputs: make(chan func(time.Time) []guardian.Event, 64), ended: make(chan struct{}), disk: newSlowDisk()}
}

func ordersOf(b wire.Bundle) guardian.Orders {
	return guardian.Orders{Armed: b.Armed, Plan: b.Plan, Policy: b.Policy, Pis: pisOf(b), InternetAfter: b.InternetAfter}
}

// restoreOrders is for before the loop runs.
func (g *guard) restoreOrders(b wire.Bundle) { g.core.Order(time.Time{}, ordersOf(b)) }

func (g *guard) send(f func(now time.Time) []guardian.Event) {
	select {
	case g.inputs <- f:
	case <-g.ended:
	}
}

func (g *guard) report(ups string, r power.Reading) {
	g.send(func(now time.Time) []guardian.Event { return g.core.Reported(now, ups, r) })
}

func (g *guard) order(b wire.Bundle) {
	g.send(func(now time.Time) []guardian.Event { return g.core.Order(now, ordersOf(b)) })
}

func (g *guard) mandate(m wire.Mandate) {
	g.send(func(now time.Time) []guardian.Event {
		g.stops = m.Run == shutdown.Stopped
		g.core.BrainFor(m.Scope)
		return append(g.core.Stopped(now, m.Run, m.RunID), g.core.Mandated(now, m.Epoch, m.Run)...)
	})
}

// status is the run as the brain is told of it; nil if there was none. It speaks only of
// what is on disk.
func (g *guard) status() *shutdown.Status { return g.run.Load() }

// heeded is the epoch under which the Pi begins nothing more in this outage, once that is on
// disk; zero: there is none.
func (g *guard) heeded() shutdown.Epoch {
	if e := g.heeds.Load(); e != nil {
		return *e
	}
	return shutdown.Epoch{}
}

// loop turns until the context ends. What the guardian decides is written down before it
// is done; a disk that fails does not stop a shutdown.
func (g *guard) loop(ctx context.Context) error {
	defer close(g.ended)
	defer g.stop()
	now := g.p.clock.Now()
	g.done(ctx, now, g.core.Restarted(now, g.lived, g.p.upses()))
	if r := g.core.Run; r != nil && (!r.Over() || r.PutsBack()) {
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
		now = g.p.clock.Now()
		if late := now.Sub(last); late > pausedAfter {
			g.p.log.Warn("the process stood still", "for", late)
			g.done(ctx, now, g.core.Resumed(now))
		}
		g.done(ctx, now, append(g.outside(now), input(now)...))
		last = g.p.clock.Now() // what the disk took is no pause
		g.p.health.Turned()
		g.p.notifier.Feed()
		wait := guardTick
		if at := g.core.NextDeadline(); !at.IsZero() {
			wait = min(wait, max(at.Sub(now), 0))
		}
		timer.Reset(wait)
	}
}

// write puts events on disk, within 2 s: a disk that hangs must not stop a shutdown any
// more than a full one. What it has not taken goes first the next time.
func (g *guard) write(es []guardian.Event) error {
	g.unwritten = append(g.unwritten, es...)
	batch := g.unwritten
	begun, err := g.disk.write(func() error { return g.p.ledger.Append(batch) })
	if begun {
		g.unwritten = nil
	}
	return err
}

// done writes events down and does what they ask for.
func (g *guard) done(ctx context.Context, now time.Time, es []guardian.Event) {
	if again := g.owes != nil && now.Sub(g.tried) >= guardTick; again || len(es) > 0 || len(g.unwritten) > 0 {
		g.owes, g.tried = g.write(es), now
		if g.owes != nil && len(es) > 0 {
			g.p.log.Error("run not written, acting from memory", "err", g.owes)
		}
	}
	if g.owes == nil { // else it is no confirmation (rule S10)
		heeds := shutdown.Epoch{}
		if g.stops {
			heeds = g.core.Heeds()
		}
		g.heeds.Store(&heeds)
	}
	g.publish(now)
	watches := g.core.Watches(now)
	g.p.end.watches.Store(&watches)
	g.whole(ctx, now, es)
	for _, e := range es {
		g.p.log.Info("run", "event", e.Event.Type, "target", e.Event.Target, "why", e.Event.Why, "epoch", e.Epoch.Counter)
		switch e.Event.Type {
		case shutdown.Began:
			g.p.log.Warn("shutting the site down", "because", e.Event.Run.Reason, "epoch", e.Epoch.Counter)
			g.perform(ctx)
		case shutdown.PutBackBegan:
			g.p.log.Warn("starting guests again", "because", e.Event.Why, "guests", len(e.Event.Targets))
			g.perform(ctx)
		case shutdown.Sent, shutdown.StartSent:
			g.command(ctx, now, e.Event.Target)
		case shutdown.Ended, shutdown.Aborted, shutdown.PutBackEnded:
			g.stop()
		case guardian.Gone:
			g.p.gone(e.Event.Target)
		case guardian.Tripped:
			g.untripped = g.owes
		case guardian.Halting, guardian.Cutting, guardian.Clearing:
			g.p.end.order(e.Event)
		}
	}
}

// publish lets others see the run.
func (g *guard) publish(now time.Time) {
	g.p.exchange.says(g.core.Says(now))
	if calls := g.core.CallsElsewhere(now); g.elsewhere.Swap(calls) != calls && g.p.relay != nil {
		g.p.relay.SupplyChanged()
	}
	r := g.core.Run
	if r == nil {
		return
	}
	g.onMains.Store(g.core.ActsOffline(now) || g.core.ActsElsewhere(now))
	status := r.Status(now, g.core.Epoch)
	status.Owed = owedSaid(g.core.Returns())
	g.run.Store(brief(status))
	looks := r.Looks()
	g.looks.Store(&looks)
	left := maps.Clone(r.Left)
	g.left.Store(&left)
}

// owedSaid are guests as a status names them: as many as it may, and by name if they are few.
func owedSaid(guests []shutdown.Target) (refs []string) {
	for _, g := range guests[:min(len(guests), wire.MaxOwed)] {
		ref := g.Ref()
		if g.Name != "" && len(guests) <= 100 && len(ref)+len(g.Name) < wire.MaxOwedRef {
			ref += "/" + g.Name
		}
		refs = append(refs, ref)
	}
	return refs
}

// brief keeps a status small enough to travel beside all else that a message holds.
func brief(s *shutdown.Status) *shutdown.Status {
	longest := 80
	if len(s.Targets) > 100 {
		longest = 0
	}
	for i, t := range s.Targets {
		s.Targets[i].Why = t.Why[:min(len(t.Why), longest)]
	}
	return s
}

func (g *guard) command(ctx context.Context, now time.Time, target string) {
	if g.do == nil {
		g.perform(ctx) // the bundle or the secret may be there by now
	}
	if g.do == nil {
		return // the run says so at its deadlines, and what is not started is named
	}
	for _, c := range g.core.Run.Due(now) {
		if c.Target.ID() == target {
			g.do(c)
		}
	}
}

// perform makes what performs the run. What it has sent ends with the run: a command that
// hangs must not hold up the loop once the power is back.
func (g *guard) perform(ctx context.Context) {
	g.stop()
	machines, done, lame, err := g.machines()
	if err != nil {
		g.p.log.Error("run without machines", "err", err)
		return
	}
	g.lame = lame
	may := g.mayTell
	if g.core.Run.PutsBack() {
		may = func(string) error { return g.mayStart() }
	}
	ctx, g.cancel = context.WithCancel(context.WithoutCancel(ctx)) // stop cancels it, after the last command
	exec := &executor.Executor{
		Machines: machines,
		May:      may,
		Outcome: func(o executor.Outcome) {
			g.sendWithin(ctx, func(now time.Time) []guardian.Event {
				if o.Start {
					return g.core.StartAnswered(now, o.Target, o.Err)
				}
				return g.core.Answered(now, o.Target, o.Found, o.Err)
			})
		},
		Sight: func(target string, s shutdown.Sight) {
			g.sendWithin(ctx, func(now time.Time) []guardian.Event { return g.core.Seen(now, target, s) })
		},
	}
	ended := make(chan struct{})
	g.do, g.performs = func(c shutdown.Command) { exec.Perform(ctx, []shutdown.Command{c}) }, ended
	go func() { // stop waits for it
		defer close(ended)
		defer done()
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
	g.cancel, g.do, g.performs = nil, nil, nil
}

func (g *guard) fleet() (*proxmox.Fleet, error) { return g.fleetOf(g.core.Run.Plan) }

func (g *guard) fleetOf(plan shutdown.Plan) (*proxmox.Fleet, error) {
	if len(plan.Nodes) == 0 { // Linux hosts alone
		return proxmox.NewFleet(plan, "", "", nil, nil)
	}
	stored := g.p.stored.Load()
	if stored == nil {
		return nil, errNoBundle
	}
	secret, err := config.NewCredential(stored.Bundle.TokenSecret)
	if err != nil {
		return nil, err
	}
	text, err := secret.Read()
	if err != nil {
		return nil, fmt.Errorf("read the Proxmox token's secret: %w", err)
	}
	// No dialer: only of the machine's own network does the fleet know what its errors mean.
	fleet, err := g.p.nodes.NewFleet(plan, stored.Bundle.TokenID, text, g.p.lan.SilentFor)
	if err != nil {
		return nil, err
	}
	fleet.PoolsUnread = func(node string, err error) {
		g.p.log.Warn("guests listed without their pools", "node", node, "err", err)
	}
	return fleet, nil
}
