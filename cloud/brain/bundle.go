package brain

import (
	"cmp"
	"context"
	"fmt"
	"net"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/tailnet"
	"sentinel.home.arpa/shared/wire"
)

const (
	tagBrain = "tag:sentinel-brain"
	// piPort is where a Pi listens, on its LAN and on the tailnet.
	piPort = "7777"
)

// bundle is what a site's Pis need to guard it, ready to be sent.
type bundle struct {
	wire.Bundle
	hash string
}

// renewBundles makes them anew after what they hold has changed. Only the loop calls it.
func (b *Brain) renewBundles() {
	bundles := map[string]bundle{}
	for _, sc := range b.core().Sites {
		w := wire.Bundle{Site: sc.Name, Armed: b.state.Sites[sc.Name].Armed, Policy: sc.Policy,
			Keys: b.identities.Keys(sc.Name), Pis: b.peersOf(sc.Name), OnFailure: sc.OnFailure, InternetAfter: sc.InternetAfter}
		if sc.Plan != nil {
			w.Plan = *sc.Plan
		}
		if w.Plan.Nodes != nil {
			w.TokenID, w.TokenSecret = b.cfg().Proxmox.TokenID, b.cfg().Proxmox.TokenSecret.Name()
		}
		hash, err := w.Hash()
		if err != nil {
			b.log.Error("bundle not made", "site", sc.Name, "err", err)
			continue
		}
		bundles[sc.Name] = bundle{w, hash}
	}
	b.bundles.Store(&bundles)
}

// tell adds to an answer what its asker should know. A view that the loop has not renewed
// lately says nothing about a run: a brain that hangs must not keep the Pi from acting.
func (b *Brain) tell(asker ingest.Known, has string, a *wire.Answer) {
	a.BrainKey = b.key.PublicKey()
	var own bundle
	if bundles := b.bundles.Load(); bundles != nil {
		own = (*bundles)[asker.Site]
	}
	a.Pis = own.Pis
	if asker.Role != sentinel.Pi {
		return
	}
	a.Leaving = b.leaving.say(asker.Name)
	b.named(asker, has, own)
	a.Calls = b.callsFor(asker.Name, asker.Site)
	v := b.view.Load()
	if own.hash == "" || v == nil {
		return
	}
	m := v.mandates[asker.Site][asker.Name]
	if b.clock.Now().Sub(v.at) > pausedAfter {
		m.Run = shutdown.None
	}
	if m, a.Bundle = b.mandate(has, m, own); a.Bundle != nil {
		b.gave(asker, a.Bundle)
	}
	m.Hosts = b.desk.Waiting(m.RunID)
	a.Mandate = &m
}

// relay is a Pi as the way to a site's machines.
type relay struct {
	name    string
	address func(ctx context.Context) (string, error)
}

func (b *Brain) relayOf(p Peer) relay {
	if b.tailnet == nil {
		return relay{p.Name, func(context.Context) (string, error) { return cmp.Or(p.Relay, p.Address), nil }}
	}
	return relay{p.Name, func(ctx context.Context) (string, error) {
		peers, err := b.tailnet.PeersTagged(ctx, ingest.TagPi)
		if err != nil {
			return "", fmt.Errorf("find %s on the tailnet: %w", p.Name, err)
		}
		for _, peer := range peers {
			if peer.Name == p.Name {
				return net.JoinHostPort(peer.Addr.String(), piPort), nil
			}
		}
		return "", fmt.Errorf("%s with %s is not on the tailnet", p.Name, ingest.TagPi)
	}}
}

// whoIs asks the tailnet who is calling.
func whoIs(n *tailnet.Node) func(ctx context.Context, addr string) (ingest.Machine, error) {
	return func(ctx context.Context, addr string) (ingest.Machine, error) {
		who, err := n.WhoIs(ctx, addr)
		return ingest.Machine{StableID: who.StableID, Name: who.Name, Login: who.Login, Tags: who.Tags}, err
	}
}
