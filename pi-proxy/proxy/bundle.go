package proxy

import (
	"context"
	"sync"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/ledger"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/wire"
)

const (
	// lateAtMost is how long after a newer answer an older one may still come: two posts
	// under way give up after postWithin.
	lateAtMost = 2 * postWithin
	retryStore = 2 * time.Second
)

// newest is the newest answer of each brain. The zero value is ready.
type newest struct {
	mu     sync.Mutex
	brains map[string]newestAnswer
}

type newestAnswer struct {
	boot string
	seq  int64
	at   time.Duration
}

// overtaken reports whether an answer is older than another that came before it, and notes
// it if it is not. It is not by its seq alone: a brain that was put back to an older state
// of its machine must be heard again soon.
func (n *newest) overtaken(h wire.Header, now time.Duration) bool {
	last, known := n.brains[h.Node]
	if known && last.boot == h.Boot && h.Seq < last.seq && now-last.at < lateAtMost {
		return true
	}
	if n.brains == nil {
		n.brains = map[string]newestAnswer{}
	}
	n.brains[h.Node] = newestAnswer{h.Boot, h.Seq, now}
	return false
}

// learn takes what a brain's answer brings: its key, the bundle, the mandate. Answers to
// requests that were under way at the same time are taken in the brain's order: an older
// one must not bring an older bundle or mandate back.
func (p *Proxy) learn(a *wire.Answer, now time.Duration) {
	p.answers.mu.Lock()
	defer p.answers.mu.Unlock()
	if p.answers.overtaken(a.Header, now) {
		p.log.Debug("answer overtaken by a newer one", "brain", a.Node, "seq", a.Seq)
		return
	}
	if a.Leaving {
		p.brainLeaves(a.Node, now)
	}
	p.outside.answered(a.Node, a.Leaving)
	if a.Calls != nil {
		p.outside.take(*a.Calls)
	}
	if p.tailnet != nil && a.BrainKey != "" && a.BrainKey.Validate() == nil {
		p.brainKey.Store(&a.BrainKey)
	}
	if a.Mandate != nil {
		p.ways.hear(a.Node, *a.Mandate, now)
		p.exchange.brainSays(*a.Mandate)
	}
	if a.Bundle != nil && a.Mandate != nil {
		p.take(ledger.Stored{Hash: a.Mandate.Bundle, BrainKey: a.BrainKey, Bundle: *a.Bundle})
	}
	if a.Mandate != nil {
		p.guard.mandate(*a.Mandate)
		p.lend(*a.Mandate)
	}
}

// take goes by a new bundle from now on. The brain is told of it once it is on disk, and a
// disk that is full or hangs keeps no house from being guarded (rule R3).
func (p *Proxy) take(s ledger.Stored) {
	old := p.stored.Load()
	if old != nil && old.Hash == s.Hash {
		return
	}
	if hash, err := s.Bundle.Hash(); err != nil || hash != s.Hash {
		p.log.Error("bundle refused, its hash is another one", "err", err)
		return
	}
	if old != nil {
		p.ways.replaced(old.Bundle.Plan)
	}
	p.stored.Store(&s)
	p.guard.order(s.Bundle)
	select {
	case p.unstored <- struct{}{}:
	default:
	}
}

// storeBundles puts each new bundle on disk.
func (p *Proxy) storeBundles(ctx context.Context) error {
	failed := "" // the hash of the one that failed
	for {
		var again <-chan time.Time
		if s := p.stored.Load(); s != nil && s.Hash != p.bundleHash() {
			switch err := p.ledger.SetBundle(*s); {
			case err == nil:
				p.kept.Store(&s.Hash)
				p.log.Info("bundle stored", "hash", s.Hash, "armed", s.Bundle.Armed, "lacks", p.lacks())
				continue
			case failed != s.Hash:
				failed = s.Hash
				p.log.Error("bundle not stored, going by it from memory", "err", err)
			}
			again = time.After(retryStore)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.unstored:
		case <-again:
		}
	}
}

// bundleHash is of the bundle that the Pi goes by, if it is on disk. An older one that is
// still there is not named: the brain would take its plan for confirmed.
func (p *Proxy) bundleHash() string {
	s, hash := p.stored.Load(), p.kept.Load()
	if s == nil || hash == nil || *hash != s.Hash {
		return ""
	}
	return *hash
}

// lacks are the credentials that the bundle names and the Pi does not have.
func (p *Proxy) lacks() []string {
	s := p.stored.Load()
	if s == nil || s.Bundle.TokenSecret == "" {
		return nil
	}
	secret, err := config.NewCredential(s.Bundle.TokenSecret)
	if err == nil {
		_, err = secret.Read()
	}
	if err != nil {
		return []string{s.Bundle.TokenSecret}
	}
	return nil
}
