package brain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/tailnet"
)

const (
	// keysEach is how often it is looked at until when the tailnet lets machines in.
	keysEach = time.Minute
	// peersWithin bounds the wait for a tailnet that is not up.
	peersWithin = 20 * time.Second
)

// nodeKeys watches until when the tailnet lets the brain, its nodes and its Pis in (rule
// N10). It has a goroutine of its own, so that the loop never waits for the tailnet.
type nodeKeys struct {
	status func() tailnet.Status
	peers  func(ctx context.Context) ([]tailnet.Peer, error)
	known  func(p tailnet.Peer) (site string, ours bool)
	own    string // the brain's name
	wall   func() time.Time
	submit func(ctx context.Context, in sentinel.Input) error
	log    *slog.Logger
}

func (b *Brain) nodeKeys() *nodeKeys {
	return &nodeKeys{status: b.tailnet.Status, peers: b.tailnet.Peers, known: b.ofPeer, own: b.cfg().Name,
		wall: b.machine.wall, submit: b.submit, log: b.log}
}

// Run looks each minute.
func (k *nodeKeys) Run(ctx context.Context) error {
	each := time.NewTicker(keysEach)
	defer each.Stop()
	for {
		k.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-each.C:
		}
	}
}

func (k *nodeKeys) look(ctx context.Context) {
	s := k.status()
	k.tell(ctx, "", cmp.Or(s.Name, k.own), s.KeyExpiry, s.Expired)
	asked, cancel := context.WithTimeout(ctx, peersWithin)
	defer cancel()
	peers, err := k.peers(asked)
	if err != nil {
		if ctx.Err() == nil {
			k.log.Debug("keys not looked at", "err", err) // what is wrong with the tailnet is told elsewhere
		}
		return
	}
	for _, p := range peers {
		if site, ours := k.known(p); ours {
			k.tell(ctx, site, p.Name, p.KeyExpiry, p.Expired)
		}
	}
}

// tell hands the core what may be news; it knows what was said before.
func (k *nodeKeys) tell(ctx context.Context, site, name string, at *time.Time, expired bool) {
	in := sentinel.KeyExpiring{Site: site, Name: name, Expired: expired}
	if at != nil {
		in.At, in.Left = *at, at.Sub(k.wall())
	} else if !expired {
		return
	}
	if err := k.submit(ctx, in); err != nil && ctx.Err() == nil && !errors.Is(err, errStopping) {
		k.log.Error("input lost", "input", "KeyExpiring", "err", err)
	}
}

// ofPeer reports whether a machine of the tailnet is a node or Pi, by its tag or because
// it is known, and where it is; the site is empty if that is not known.
func (b *Brain) ofPeer(p tailnet.Peer) (site string, ours bool) {
	if k, ok := b.identities.Lookup(p.Name); ok && k.StableID == p.StableID {
		return k.Site, true
	}
	if len(b.cfg().Sites) == 1 {
		site = b.cfg().Sites[0].Name
	}
	return site, slices.Contains(p.Tags, ingest.TagNode) || slices.Contains(p.Tags, ingest.TagPi)
}

// tailnetTrouble says why the brain is not on its tailnet, and what to do; empty if it is.
func tailnetTrouble(s tailnet.Status) string {
	switch {
	case s.Running():
		return ""
	case s.AuthURL != "" && s.Err != nil:
		return fmt.Sprintf("The brain is not on the tailnet: %s. Log it in at %s", s.Err, s.AuthURL)
	case s.AuthURL != "":
		return "The brain is not on the tailnet. Log it in at " + s.AuthURL
	case s.Err != nil:
		return fmt.Sprintf("The brain is not on the tailnet: %s.", s.Err)
	default:
		return fmt.Sprintf("The brain is not on the tailnet yet; its state is %s.", s.State)
	}
}
