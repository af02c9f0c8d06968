package proxy

import (
	"context"
	"errors"
	"slices"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/executor"
	"sentinel.home.arpa/shared/orders"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// machines are all that the run shuts down, and what to do with them when it is over. Hosts
// are told also where Proxmox cannot be; lame says that this is so.
func (g *guard) machines() (all executor.Machines, done func(), lame bool, err error) {
	run := g.core.Run
	fleet, noFleet := g.fleet()
	all, done, lame, err = orders.Machines{Desk: g.p.desk, Run: orders.Run{ID: run.ID, Epoch: g.core.Epoch},
		May: g.mayTell, SilentFor: g.p.lan.SilentFor}.Join(run, fleet, noFleet)
	if lame {
		g.p.log.Error("run without Proxmox", "run", run.ID, "err", noFleet)
	}
	return all, done, lame, err
}

// whole has a run that reaches hosts alone reach all, once it can. What is under way to hosts
// begins anew with that, and only then.
func (g *guard) whole(ctx context.Context, now time.Time, es []guardian.Event) {
	sent := func(target string) bool {
		return slices.ContainsFunc(es, func(e guardian.Event) bool {
			return e.Event.Type == shutdown.Sent && (target == "" || e.Event.Target == target)
		})
	}
	if !g.lame || g.do == nil || !sent("") {
		return
	}
	fleet, err := g.fleet()
	if err != nil {
		return
	}
	fleet.Close()
	g.perform(ctx)
	if g.do == nil {
		return
	}
	for _, c := range g.core.Run.Due(now) {
		if !sent(c.Target.ID()) { // else it is yet to be sent
			g.do(c)
		}
	}
}

// lend orders hosts off that the brain's run waits for, since the Pi may hear them where the
// brain does not (rule H10). It is the Pi's own word: the plan must be armed here too, have
// them, and the mains be gone, and who runs the plan under a later epoch does not obey.
func (p *Proxy) lend(m wire.Mandate) {
	own, hosts := p.guard.status(), []string(nil)
	if stored := p.stored.Load(); stored != nil && (own == nil || !own.State.Open() || own.Epoch.Compare(m.Epoch) <= 0) {
		for _, s := range stored.Bundle.Plan.Stages {
			hosts = append(hosts, s.Hosts...)
		}
	}
	hosts = slices.DeleteFunc(hosts, func(name string) bool { return !slices.Contains(m.Hosts, name) })
	may := p.mayLend
	if m.On == shutdown.ForFailure {
		may = p.mayLendForFailure
	}
	p.desk.Lend(hosts, orders.Run{ID: m.RunID, Epoch: m.Epoch}, may)
}

var (
	errNotArmed  = errors.New("the plan is not armed here")
	errNoBattery = errors.New("no UPS is known to be on battery")
)

// mayLend goes by what is known: the reason for the order is another's.
func (p *Proxy) mayLend() error {
	if s := p.stored.Load(); s == nil || !s.Bundle.Armed {
		return errNotArmed
	}
	if called, _ := p.called(); !called && !p.guard.elsewhere.Load() {
		return errNoBattery
	}
	return nil
}

// mayTell is may for a machine of the Pi's own run, which may leave it on by now.
func (g *guard) mayTell(machine string) error {
	if left := g.left.Load(); left != nil {
		if _, is := (*left)[machine]; is {
			return errLeftOn
		}
	}
	return g.may()
}

// may is asked right before each command and each answer that carries an order (rule S5).
func (g *guard) may() error {
	if g.p.ownMains() && !g.onMains.Load() {
		return errMainsBack
	}
	return nil
}
