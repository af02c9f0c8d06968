package brain

import (
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/executor"
	"sentinel.home.arpa/shared/orders"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// machines are all that a run shuts down, and what to do with them when it is over. Hosts are
// told also where Proxmox cannot be.
func (b *Brain) machines(site string, run *shutdown.Run) (all executor.Machines, done func(), err error) {
	if run.PutsBack() { // which is of guests alone
		fleet, err := b.fleet(run.Plan, courier.ToPutBack)
		if err != nil {
			return nil, nil, err
		}
		return fleet, fleet.Close, nil
	}
	var others executor.Machines
	done = func() {}
	if fleet, err := b.fleet(run.Plan, courier.ToShutDown); err == nil {
		others, done = fleet, fleet.Close
	} else if run.Plan.Hosts() {
		b.log.Error("run without Proxmox", "run", run.ID, "err", err)
		others = orders.None{Err: err}
	} else {
		return nil, nil, err
	}
	return orders.Machines{Machines: others, Desk: b.desk, Run: orders.Run{ID: run.ID, Epoch: b.state.Sites[site].Epoch},
		May: func() error { return b.mayCommand(site, run.ID) }, SilentFor: b.silentFor(site)}, done, nil
}

// whoLeft tells the desk of orders which nodes are off, or about to be, by their own word.
func (b *Brain) whoLeft(site *sentinel.Site) {
	for _, src := range site.Sources {
		switch a := src.Announced; {
		case a != nil && !a.Returns:
			b.desk.Announced(src.Name, src.Boot, wire.Poweroff)
		case src.Condition == sentinel.Off && !src.Maintained && src.BackBy.IsZero():
			b.desk.Left(src.Name, src.Boot)
		}
	}
}
