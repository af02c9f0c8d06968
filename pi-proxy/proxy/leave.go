package proxy

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

const (
	// farewellWithin bounds how long an end waits for brains to hear of it.
	farewellWithin = 2 * time.Second
	// leavingFor is for how long a brain's word that it is restarted holds (rule N5).
	leavingFor = 10 * time.Minute
)

// farewell tells the brains that this Pi is restarted, when it is told to stop. It cannot
// know whether only its program is, or the machine: a soft reboot is both, a return within
// the same boot or in another (rules N5, A1). One that is killed, or fails, says nothing; one
// that halts its own machine does not return by itself (rule G4).
func (p *Proxy) farewell(ctx context.Context) {
	if ctx.Err() == nil {
		return // nobody told it to: a task has failed
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellWithin)
	defer cancel()
	p.record.Remark("told to stop")
	told := p.toBrains(ctx, nil, func(ctx context.Context, to courier.Receiver) error {
		m := wire.Announcement{Header: p.header(), Kind: p.end.farewell()}
		m.ID = fmt.Sprintf("stop-%d", m.Seq)
		return p.post(ctx, to, courier.PathAnnounce, wire.KindAnnouncement, m.Header, m)
	})
	p.log.Info("stopping", "announced", told)
}

// leaves is when each brain last said that it is about to be restarted. The zero value is
// ready.
type leaves struct {
	mu   sync.Mutex
	said map[string]time.Duration // by the brain's name, of CLOCK_BOOTTIME
}

// say notes a brain's word, and reports whether it is news.
func (l *leaves) say(brain string, now time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.said, func(_ string, at time.Duration) bool { return now-at >= leavingFor })
	if l.said == nil {
		l.said = map[string]time.Duration{}
	}
	_, before := l.said[brain]
	l.said[brain] = now
	return !before
}

// lately are how many brains are expected to be silent.
func (l *leaves) lately(now time.Duration) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.said {
		if now-at < leavingFor {
			n++
		}
	}
	return n
}

// brainLeaves notes a brain's word that it is about to be restarted (rule N5).
func (p *Proxy) brainLeaves(name string, now time.Duration) {
	if p.leaves.say(name, now) {
		p.log.Info("the brain is about to be restarted", "brain", name)
		p.record.Remark("the brain " + name + " said that it is about to be restarted")
	}
}
