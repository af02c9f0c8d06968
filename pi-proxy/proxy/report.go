package proxy

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/wire"
)

const (
	beatEach   = time.Second
	calmEach   = 5 * time.Second // reports of a UPS on mains
	postWithin = 3 * time.Second
	retryRelay = 2 * time.Second
	// beatState is that of a Pi whose program runs: after one that announced its restart
	// it says that it is back (rule A5).
	beatState = "running"
)

// reportUPS posts a UPS each 5 s, each second while on battery, and at once when it
// changes (rule U1). While no brain takes it, it is tried each second, so that the first
// thing that a brain hears is how the power stands.
func (p *Proxy) reportUPS(ctx context.Context, l *latest) error {
	tick := time.NewTicker(beatEach)
	defer tick.Stop()
	for last := (time.Time{}); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		case <-tick.C:
			if l.calm() && time.Since(last) < calmEach-beatEach/2 {
				continue
			}
		}
		t, known := l.take()
		if !known {
			continue
		}
		last = time.Now()
		told := p.toBrains(ctx, &p.reports, func(ctx context.Context, to courier.Receiver) error { return p.postUPS(ctx, to, l, t) })
		if !told { // the next poll wakes this again
			last = time.Time{}
			l.untold(t.changed)
			continue
		}
		p.record.Told(t.entry)
	}
}

func (p *Proxy) postUPS(ctx context.Context, to courier.Receiver, l *latest, t taken) error {
	m := wire.UPSReport{Header: p.header(), UPS: l.name, Reading: t.reading, Changed: t.changed, Bundle: p.bundleHash(), Run: p.guard.status(), Cutting: p.end.cuts(l.name)}
	return p.post(ctx, to, courier.PathUPS, wire.KindUPS, m.Header, m)
}

// beat says each second that the Pi lives, and whom it hears.
func (p *Proxy) beat(ctx context.Context) error {
	tick := time.NewTicker(beatEach)
	defer tick.Stop()
	for {
		noted := p.noted.entries()
		told := p.toBrains(ctx, nil, func(ctx context.Context, to courier.Receiver) error {
			m := wire.Heartbeat{Header: p.header(), State: beatState, Pi: &wire.PiStatus{Addresses: p.addresses(), Heard: p.lan.Heard(),
				Bundle: p.bundleHash(), Lacks: p.lacks(), Run: p.guard.status(), Heeds: p.guard.heeded(), Calls: p.outside.callsHash(), Tells: true}}
			return p.post(ctx, to, courier.PathHeartbeat, wire.KindHeartbeat, m.Header, m)
		})
		if told {
			p.record.Told(noted...)
			p.noted.told(noted)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// lanes have the posts of one kind reach a brain one after the other: they share a
// sequence there, and one that is overtaken counts for nothing (rule U6). The zero value
// is ready.
type lanes struct {
	mu  sync.Mutex
	all map[string]chan struct{} // by the brain's URL; full while a post is under way
}

// enter waits for the lane to be free; leave is nil if the context ended before.
func (l *lanes) enter(ctx context.Context, url string) (leave func()) {
	l.mu.Lock()
	if l.all == nil {
		l.all = map[string]chan struct{}{}
	}
	lane := l.all[url]
	if lane == nil {
		lane = make(chan struct{}, 1)
		l.all[url] = lane
	}
	l.mu.Unlock()
	select {
	case lane <- struct{}{}:
		return func() { <-lane }
	case <-ctx.Done():
		return nil
	}
}

// toBrains posts to all brains at once, in their lanes if there are any, and reports
// whether one of them has answered. A message's seq must be made by post.
func (p *Proxy) toBrains(ctx context.Context, in *lanes, post func(ctx context.Context, to courier.Receiver) error) bool {
	var wg sync.WaitGroup
	var told atomic.Bool
	for _, to := range p.brains(ctx) {
		wg.Go(func() {
			if in != nil {
				leave := in.enter(ctx, to.URL)
				if leave == nil {
					return
				}
				defer leave()
			}
			ctx, cancel := context.WithTimeout(ctx, postWithin)
			defer cancel()
			err := post(ctx, to)
			p.tried(to.URL, err)
			p.outside.refused(err)
			if err == nil {
				told.Store(true)
			}
		})
	}
	wg.Wait()
	return told.Load()
}

// reach is how a brain is reached.
type reach struct {
	ok   bool          // the last time
	last time.Duration // when it last was; of CLOCK_BOOTTIME
	back time.Duration // since when it is again, after it was not for awayFor
	owed bool          // it was not told since that the record is complete
	hold time.Duration // until when it is not sent one, since it refused
}

// tried notes how a post went, and logs the first failure to reach a brain and the first
// success after it.
func (p *Proxy) tried(url string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	p.reachMu.Lock()
	defer p.reachMu.Unlock()
	now := daemon.BootTime()
	r, known := p.reach[url]
	if !known {
		r = &reach{last: -awayFor}
		p.reach[url] = r
	}
	was := r.ok
	r.ok = err == nil
	switch {
	case known && was == r.ok:
	case r.ok:
		p.log.Info("brain reached", "url", url)
	default:
		p.log.Warn("brain not reached", "url", url, "err", err)
	}
	if r.ok {
		if now-r.last >= awayFor {
			r.back, r.owed = now, true
		}
		r.last = now
	}
}

func (p *Proxy) post(ctx context.Context, to courier.Receiver, path string, kind wire.Kind, h wire.Header, m any) error {
	data, err := wire.Seal(kind, m, p.key)
	if err != nil {
		return err
	}
	a, err := p.client.Post(ctx, to, path, h, data)
	if err != nil {
		return err
	}
	p.learn(a, daemon.BootTime())
	return nil
}

// forward hands the spool to the brain until it is empty (rule A3). A message leaves the
// spool once a brain has taken it.
func (p *Proxy) forward(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.spool.Added():
		case <-time.After(retryRelay):
		}
		for p.forwardSome(ctx) {
		}
	}
}

// askAbout has the brain asked about a stranger. If others are before it, it beats again in a minute.
func (p *Proxy) askAbout(heartbeat []byte) {
	select {
	case p.strange <- heartbeat:
	default:
	}
}

// askAll asks about strangers, beside what forward does: anybody may have that done, and it must delay nothing.
func (p *Proxy) askAll(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case heartbeat := <-p.strange:
			p.ask(ctx, heartbeat)
		}
	}
}

// ask hands a stranger's heartbeat to every brain, which has a person decide.
func (p *Proxy) ask(ctx context.Context, heartbeat []byte) {
	m := wire.Relay{Header: p.header(), Messages: []wire.Relayed{{Envelope: heartbeat}}}
	data, err := wire.Seal(wire.KindRelay, m, p.key)
	if err != nil {
		p.log.Error("question about a stranger not sealed", "err", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*postWithin)
	defer cancel()
	for _, to := range p.brains(ctx) {
		_, err := p.client.Post(ctx, to, courier.PathRelay, m.Header, data)
		p.tried(to.URL, err)
	}
}

// forwardSome reports whether it is worth going on at once.
func (p *Proxy) forwardSome(ctx context.Context) bool {
	msgs := p.spool.First(wire.MaxRelayed)
	if len(msgs) == 0 {
		return false
	}
	m := wire.Relay{Header: p.header()}
	size := 0
	for _, s := range msgs {
		if size += len(s.Envelope) * 4 / 3; size > wire.MaxPayload*3/4 && len(m.Messages) > 0 {
			break
		}
		m.Messages = append(m.Messages, wire.Relayed{AgeMS: s.Age.Milliseconds(), Envelope: s.Envelope})
	}
	ctx, cancel := context.WithTimeout(ctx, 2*postWithin)
	defer cancel()
	data, err := wire.Seal(wire.KindRelay, m, p.key)
	if err != nil {
		p.log.Error("relay not sealed", "first", msgs[0].Name, "messages", len(m.Messages), "err", err)
		if len(m.Messages) > 1 || size <= wire.MaxPayload*3/4 {
			return false
		}
		// Too large even alone, it would hold up all behind it for good.
		if err := p.spool.SetAside(msgs[0].Name); err != nil {
			p.log.Error("spooled message stays on disk", "err", err)
		}
		return true
	}
	taken := false
	for _, to := range p.brains(ctx) {
		a, err := p.client.Post(ctx, to, courier.PathRelay, m.Header, data)
		p.tried(to.URL, err)
		if err != nil {
			continue
		}
		if len(a.Taken) == 0 {
			continue
		}
		p.saveSeen() // what leaves the spool must still be known if it comes again (rule A7)
		for _, i := range a.Taken {
			if i < 0 || i >= len(m.Messages) {
				continue
			}
			if err := p.spool.Remove(msgs[i].Name); err != nil {
				p.log.Error("spooled message stays", "err", err)
			}
			taken = true
		}
		if taken {
			p.log.Info("relayed", "messages", len(a.Taken), "brain", to.Name)
			return true
		}
	}
	return false
}

// addresses are the Pi's own on its LAN, for the brain to hand out.
func (p *Proxy) addresses() []string {
	host, port, err := net.SplitHostPort(p.cfg.LAN.Listen)
	if err != nil {
		return nil
	}
	if host != "" && host != "0.0.0.0" && host != "::" {
		return []string{p.cfg.LAN.Listen}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if ok && n.IP.IsPrivate() && n.IP.To4() != nil && len(out) < 8 {
			out = append(out, net.JoinHostPort(n.IP.String(), port))
		}
	}
	return out
}
