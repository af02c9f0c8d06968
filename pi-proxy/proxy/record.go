package proxy

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/ups"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/wire"
)

const (
	// awayFor is how long a brain is out of reach before it is told what the Pi noted, or
	// that it noted nothing.
	awayFor = 5 * time.Second
	// wordsFirst is how long after it is reached again a brain hears live words only: how
	// the power stands now comes before what it was (rule N11). The brain needs to hear
	// heartbeats for a second before it trusts the ages in a record.
	wordsFirst = 3 * time.Second
	// refusedFor is how long a brain that refuses a record is left alone: another version.
	refusedFor = time.Minute
	// sampleEach is how often a UPS on battery is noted though nothing changes.
	sampleEach = time.Minute
	// silentAfter is when a node that is not heard on the LAN has fallen silent.
	silentAfter = 20 * time.Second
)

// noteUPS notes a change of a UPS, and its course on battery. It waits for nothing.
func (p *Proxy) noteUPS(l *latest, o ups.Observation) int64 {
	if !o.Changed && (!o.Reading.OnBattery() || l.sampled(o.At)) {
		return 0
	}
	return p.record.Note(wire.Noted{UPS: l.name, Reading: storied(o.Reading)})
}

// storied is what of a reading tells the story.
func storied(r power.Reading) *power.Reading {
	r.Model, r.Stale, r.LimitCharge, r.LimitRuntime, r.LimitBattery = "", nil, nil, nil, nil
	return &r
}

// notedNodes are entries that the next heartbeat tells of. The zero value is ready.
type notedNodes struct {
	mu  sync.Mutex
	all []int64
}

// notedMost bounds them: while no brain answers nothing is told live.
const notedMost = 1000

func (n *notedNodes) add(entry int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all[max(len(n.all)+1-notedMost, 0):], entry)
}

func (n *notedNodes) entries() []int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.all)
}

func (n *notedNodes) told(entries []int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = slices.DeleteFunc(n.all, func(e int64) bool { return slices.Contains(entries, e) })
}

// noteNodes notes who falls silent on the LAN and who is heard.
func (p *Proxy) noteNodes(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	heard := map[string]bool{}
	last, resumed := daemon.BootTime(), time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := daemon.BootTime()
		if now-last > pausedAfter { // what was said meanwhile still lies in a buffer
			resumed = now
		}
		last = now
		for node, age := range p.lan.Ages() {
			hears := min(age, now-resumed) < silentAfter
			if was, known := heard[node]; was == hears && (known || !hears) {
				continue
			}
			heard[node] = hears
			p.noted.add(p.record.Note(wire.Noted{Node: node, Heard: hears}))
		}
	}
}

// deliver sends brains what they could not hear, once they are reached again (rule N7): one
// batch a second and brain, in posts of its own, behind which no report waits. As with the
// spool, one brain that has an entry is enough.
func (p *Proxy) deliver(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, to := range p.brains(ctx) {
			if owed, ok := p.listens(to.URL); ok {
				p.deliverTo(ctx, to, owed)
			}
		}
	}
}

// listens reports whether a brain is to be sent the record now, and whether it waits for a
// word even if there is nothing in it.
func (p *Proxy) listens(url string) (owed, ok bool) {
	p.reachMu.Lock()
	defer p.reachMu.Unlock()
	now := daemon.BootTime()
	r := p.reach[url]
	if r == nil || !r.ok || now-r.back < wordsFirst || now < r.hold {
		return false, false
	}
	return r.owed, true
}

func (p *Proxy) deliverTo(ctx context.Context, to courier.Receiver, owed bool) {
	b := p.record.Owed()
	if b.Unsure || len(b.Entries) == 0 && !owed {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*postWithin)
	defer cancel()
	m := wire.Record{Header: p.header(), Entries: b.Entries, Left: b.Left, Bundle: p.bundleHash()}
	err := p.post(ctx, to, courier.PathRecord, wire.KindRecord, m.Header, m)
	if err != nil {
		p.notDelivered(to, err)
		return
	}
	p.record.Delivered(b.Numbers...)
	if len(b.Entries) > 0 {
		p.log.Info("record delivered", "entries", len(b.Entries), "left", b.Left, "brain", to.Name)
	}
	p.reachMu.Lock()
	defer p.reachMu.Unlock()
	if r := p.reach[to.URL]; b.Left == 0 {
		r.owed = false
	}
}

// notDelivered leaves a brain alone for a while that will not have the record. Whether it is
// reached the heartbeats tell.
func (p *Proxy) notDelivered(to courier.Receiver, err error) {
	var no *courier.Refusal
	if !errors.As(err, &no) || no.Status == http.StatusConflict { // it wants another one
		p.log.Debug("record not delivered", "brain", to.Name, "err", err)
		return
	}
	p.log.Warn("the brain refuses the record", "brain", to.Name, "again_in", refusedFor, "err", err)
	p.reachMu.Lock()
	defer p.reachMu.Unlock()
	p.reach[to.URL].hold = daemon.BootTime() + refusedFor
}
