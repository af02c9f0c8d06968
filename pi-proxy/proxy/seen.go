package proxy

import (
	"context"
	"math"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/lan"
	"sentinel.home.arpa/pi-proxy/internal/ledger"
	"sentinel.home.arpa/shared/daemon"
)

const (
	// seenEach is how often what was seen is written down, and with it that the process lives.
	seenEach = time.Minute
	// seenAgain spares the card when nodes boot one after the other.
	seenAgain = 2 * time.Second
)

// takeUpSeen restores what an earlier process saw. A word of the brain that was used after
// it was last written down passes once more after a crash; the connection that it opens is
// of no use to anybody without the machine's certificate and token.
func (p *Proxy) takeUpSeen(s *ledger.Seen) {
	if s != nil {
		seen := lan.Seen{Marks: s.Marks}
		if p.lived(&s.Moment) {
			seen.Ways = s.Ways
		}
		p.lan.Restore(seen)
		p.connects.Restore(s.Connects)
	}
	for _, m := range p.spool.First(math.MaxInt) {
		p.lan.RestoreKept(m.Envelope)
	}
}

// lived reports whether a moment is one of this boot's.
func (p *Proxy) lived(m *daemon.Moment) bool {
	return m != nil && m.Boot == p.boot && m.SinceBoot <= daemon.BootTime()
}

// lastMoment is the later of two, either of which may be unknown.
func lastMoment(a, b *daemon.Moment) *daemon.Moment {
	if a == nil || b != nil && b.At.After(a.At) {
		return b
	}
	return a
}

// saveSeen puts what was seen on disk, of which nothing is acknowledged before.
func (p *Proxy) saveSeen() {
	p.seenMu.Lock()
	defer p.seenMu.Unlock()
	seen := p.lan.Seen(p.stored.Load() == nil) // without a bundle nobody is known, and all of it still holds
	err := p.ledger.SetSeen(ledger.Seen{Moment: p.clock.Moment(), Marks: seen.Marks, Ways: seen.Ways, Connects: p.connects.Marks()})
	if err != nil && p.seenSaved {
		p.log.Error("what was seen is not stored, after a restart repetitions may pass for new", "err", err)
	}
	p.seenSaved = err == nil
}

// remember saves what was seen each minute, and when a node is heard from another boot,
// of which nothing on disk says what is old.
func (p *Proxy) remember(ctx context.Context) error {
	tick := time.NewTicker(seenEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil // Run saves once more, when all else has ended
		case <-tick.C:
		case <-p.newBoot:
		}
		p.saveSeen()
		select {
		case <-ctx.Done():
		case <-time.After(seenAgain):
		}
	}
}
