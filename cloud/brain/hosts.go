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
	purpose := courier.ToShutDown
	switch {
	case run.PutsBack():
		purpose = courier.ToPutBack
	case run.On == shutdown.ForFailure:
		purpose = courier.ToShutDownForFailure
	}
	fleet, noFleet := b.fleet(run.Plan, purpose)
	all, done, lame, err := orders.Machines{Desk: b.desk, Run: orders.Run{ID: run.ID, Epoch: b.state.Sites[site].Epoch},
		May: func(host string) error { return b.mayCommand(site, run.ID, host) }, SilentFor: b.silentFor(site)}.Join(run, fleet, noFleet)
	if lame {
		b.log.Error("run without Proxmox", "run", run.ID, "err", noFleet)
	}
	return all, done, err
}

// whoLeft tells the desk of orders which nodes are off, or about to be, by their own word, and
// which reboot.
func (b *Brain) whoLeft(site *sentinel.Site) {
	for _, src := range site.Sources {
		switch a := src.Announced; {
		case a != nil && !a.Returns:
			b.desk.Announced(src.Name, src.Boot, wire.Poweroff)
		case a != nil && src.Condition != sentinel.Failed:
			b.desk.Announced(src.Name, src.Boot, wire.ShutdownKind(a.Kind))
		case src.Condition == sentinel.Off && !src.Maintained && src.BackBy.IsZero():
			b.desk.Left(src.Name, src.Boot)
		}
	}
}
