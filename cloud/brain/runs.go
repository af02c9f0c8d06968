package brain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/executor"
	"sentinel.home.arpa/shared/proxmox"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// surveyWithin bounds the question how many guests run, which only the call's text needs.
const surveyWithin = 4 * time.Second

var (
	errMainsBack = errors.New("the power is back")
	errLeftOn    = errors.New("its UPS does not call for it any more")
	errRunOver   = errors.New("the run is over")
	errNotSure   = errors.New("it is too long ago that this was decided")
)

// performer performs one run.
type performer struct {
	run     string
	perform func(cs []shutdown.Command) // until the run is over, or the process stands still
	hold    func()                      // takes back what perform has not sent yet
	looks   atomic.Pointer[[]shutdown.Target]
	cancel  context.CancelFunc
}

// fleet reaches the machines of a plan: through the site's Pi, since their addresses are
// those of the house, or directly if the configuration says so.
func (b *Brain) fleet(plan shutdown.Plan, purpose courier.Purpose) (*proxmox.Fleet, error) {
	return b.fleetBy(plan, b.wayTo(plan.Site, purpose))
}

// fleetBy reaches them by one way; nil is the machine's own network.
func (b *Brain) fleetBy(plan shutdown.Plan, way func(ctx context.Context, network, addr string) (net.Conn, error)) (*proxmox.Fleet, error) {
	if len(plan.Nodes) == 0 { // Linux hosts alone
		return proxmox.NewFleet(plan, "", "", nil, nil)
	}
	access := b.cfg().Proxmox
	if access == nil { // a run may outlive what was configured when it began
		return nil, errors.New("there is no proxmox: section any more, and with it no token")
	}
	secret, err := access.TokenSecret.Read()
	if err != nil {
		return nil, fmt.Errorf("read the Proxmox token's secret: %w", err)
	}
	var fleet *proxmox.Fleet
	if way == nil {
		fleet, err = b.nodes.NewFleet(plan, access.TokenID, secret, b.silentFor(plan.Site))
	} else {
		fleet, err = proxmox.NewFleet(plan, access.TokenID, secret, way, b.silentFor(plan.Site))
	}
	if err != nil {
		return nil, err
	}
	fleet.PoolsUnread = func(node string, err error) {
		b.log.Warn("guests listed without their pools", "node", node, "err", err)
	}
	return fleet, nil
}

// silentFor tells how long a node of a site has not been heard, by the brain or a Pi; nil if
// it never was.
func (b *Brain) silentFor(site string) func(node string) *time.Duration {
	return func(node string) *time.Duration {
		last, _, known := b.table.Last(liveness.Key{Site: site, Name: node})
		if !known {
			return nil
		}
		d := b.clock.Now().Sub(last)
		return &d
	}
}

// wayTo dials the addresses of a site's plan. A relay that cannot be reached is no
// evidence that a node is down; a relay that says its target is closed is.
func (b *Brain) wayTo(site string, purpose courier.Purpose) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if access := b.cfg().Proxmox; access == nil || access.Via == "direct" || len(b.set.Load().relays[site]) == 0 {
		return nil // the adapter's own dialer, the only one whose failures say that a node is down
	}
	return b.throughPis(site, purpose)
}

// throughPis is the way through the first of the site's Pis that answers.
func (b *Brain) throughPis(site string, purpose courier.Purpose) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		stops := b.stops()
		conn, err := race(ctx, &b.ways, b.set.Load().relays[site], func(ctx context.Context, pi relay) (net.Conn, error) {
			address, err := pi.address(ctx)
			if err != nil {
				return nil, err
			}
			conn, err := courier.Through(b.dialTailnet, address, purpose, func(addr string) (string, error) {
				return courier.SignConnect(wire.Connect{Header: b.header(), Pi: pi.name, Addr: addr}, b.key)
			})(ctx, network, addr)
			if err != nil {
				return nil, fmt.Errorf("through %s: %w", pi.name, err)
			}
			return conn, nil
		})
		if errors.Is(err, courier.ErrTargetClosed) {
			return nil, fmt.Errorf("%w: %w", proxmox.ErrTargetClosed, err)
		}
		if err != nil {
			return nil, err
		}
		return sure{conn, b, stops}, nil
	}
}

// sure is a connection on which nothing more leaves once the process has stood still: what
// it was about to send was decided too long ago.
type sure struct {
	net.Conn
	b     *Brain
	stops int
}

// Write implements net.Conn.
func (c sure) Write(p []byte) (int, error) {
	if c.b.stops() != c.stops {
		return 0, errNotSure
	}
	return c.Conn.Write(p)
}

// survey counts the guests that run, for the call's text.
func (b *Brain) survey(ctx context.Context, site string) {
	plan := b.plan(site)
	if plan == nil {
		return
	}
	b.guests[site] = nil
	b.wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, surveyWithin)
		defer cancel()
		fleet, err := b.fleet(*plan, courier.ToAsk)
		if err != nil {
			b.log.Error("guests not counted", "site", site, "err", err)
			return
		}
		defer fleet.Close()
		n, known := b.countGuests(ctx, fleet, plan.Nodes)
		if !known {
			return
		}
		select {
		case b.counted <- guestCount{site, n}:
		case <-ctx.Done():
		}
	})
}

// countGuests asks all nodes at once. One that does not answer counts for nothing: it may
// be off.
func (b *Brain) countGuests(ctx context.Context, fleet *proxmox.Fleet, nodes []shutdown.Node) (n int, known bool) {
	guests, failed := listGuests(ctx, fleet, nodes)
	for node, err := range failed {
		b.log.Warn("guests not counted", "node", node, "err", err)
	}
	for _, ts := range guests {
		n, known = n+len(ts), true
	}
	return n, known
}

// listGuests asks all nodes at once which guests run on them, and says which did not tell.
func listGuests(ctx context.Context, fleet *proxmox.Fleet, nodes []shutdown.Node) (guests map[string][]shutdown.Target, failed map[string]error) {
	guests, failed = map[string][]shutdown.Target{}, map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, node := range nodes {
		wg.Go(func() {
			ts, err := fleet.List(ctx, node.Name)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[node.Name] = err
				return
			}
			guests[node.Name] = ts
		})
	}
	wg.Wait()
	return guests, failed
}

// guestCount is a survey's result.
type guestCount struct {
	site string
	n    int
}

func (b *Brain) runStepped(ctx context.Context, f *sentinel.RunStepped) {
	run := b.state.Sites[f.Site].Run
	switch f.Event.Type {
	case shutdown.Began, shutdown.PutBackBegan:
		b.watchRun(ctx, f.Site, run)
	case shutdown.Called:
		if b.performers[f.Site] == nil { // the run was through, and goes on
			b.watchRun(ctx, f.Site, run)
		}
	case shutdown.Sent, shutdown.StartSent:
		p := b.performers[f.Site]
		if p == nil || p.run != run.ID {
			return // the fleet could not be made; the run will say so at its deadlines
		}
		for _, c := range run.Due(b.clock.Now()) {
			if c.Target.ID() != f.Event.Target {
				continue
			}
			if b.pulse.beat(b.clock.Now()) > 0 { // since this was decided
				b.later(ctx, sentinel.RunAnswered{Site: f.Site, Run: run.ID, Target: f.Event.Target, Start: c.Start, Err: errNotSure})
				continue
			}
			p.perform([]shutdown.Command{c})
		}
	case shutdown.Ended, shutdown.Aborted, shutdown.PutBackEnded:
		if p := b.performers[f.Site]; p != nil {
			p.cancel()
			delete(b.performers, f.Site)
		}
	}
}

// watchRun makes what performs a run, or puts back what it stopped, and looks at its targets.
func (b *Brain) watchRun(ctx context.Context, site string, run *shutdown.Run) {
	machines, done, err := b.machines(site, run)
	may := b.mayCommand
	if run.PutsBack() {
		may = b.mayStart
	}
	if err != nil {
		b.log.Error("run without machines", "run", run.ID, "err", err)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &performer{run: run.ID, cancel: cancel}
	send := func(in sentinel.Input) {
		if err := b.submit(ctx, in); err != nil && ctx.Err() == nil {
			b.log.Error("input lost", "input", fmt.Sprintf("%T", in), "err", err)
		}
	}
	exec := &executor.Executor{
		Machines: machines,
		May:      func(machine string) error { return may(site, run.ID, machine) },
		Outcome: func(o executor.Outcome) {
			send(sentinel.RunAnswered{Site: site, Run: run.ID, Target: o.Target, Start: o.Start, Found: o.Found, Err: o.Err})
		},
		Sight: func(target string, s shutdown.Sight) {
			send(sentinel.RunSeen{Site: site, Run: run.ID, Target: target, Sight: s})
		},
	}
	sending, hold := context.WithCancel(ctx)
	p.perform = func(cs []shutdown.Command) { exec.Perform(sending, cs) }
	p.hold = func() { hold(); sending, hold = context.WithCancel(ctx) }
	b.performers[site] = p
	b.wg.Go(func() {
		defer done()
		exec.Watch(ctx, func() []shutdown.Target {
			if ts := p.looks.Load(); ts != nil {
				return *ts
			}
			return nil
		})
	})
}

// mayCommand is the last look before a command leaves: while it waited for its turn the
// mains may have come back, the run have ended, or the process have stood still (rules S5,
// S10, H8).
func (b *Brain) mayCommand(site, run, machine string) error {
	v := b.view.Load()
	switch {
	case v == nil || v.run[site] != run:
		return errRunOver
	case v.mains[site] && !v.causes[site]:
		return errMainsBack
	case v.left[site][machine]:
		return errLeftOn
	case b.clock.Now().Sub(v.at) > pausedAfter:
		return errNotSure
	}
	return nil
}
