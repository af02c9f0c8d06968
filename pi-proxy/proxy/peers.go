package proxy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/pi-proxy/internal/lan"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

const (
	// peerWithin bounds one word to another Pi, which is on the same LAN.
	peerWithin = time.Second
	// peerSaidWithin is for how long the guardian may be busy when another Pi's word comes.
	peerSaidWithin = 500 * time.Millisecond
	// brainSaidFor is for how long a brain's word on its run is passed on.
	brainSaidFor = 3 * time.Second
	// brainHeardFor is for how long a brain that this Pi hears by itself needs nobody to pass its
	// words on.
	brainHeardFor = 5 * time.Second
	// saidAgeMost bounds the age of a run that is told: more than any outage lasts.
	saidAgeMost = 7 * 24 * time.Hour
)

// exchange tells the site's other Pis how the UPSes here stand and who runs the plan, and hears
// the same of them (rule G6).
type exchange struct {
	p      *Proxy
	client *courier.Client
	heard  *lan.Peers
	wake   chan struct{} // has a value when something has changed
	wg     sync.WaitGroup

	mu    sync.Mutex
	peers map[string]*peer // by name
	said  *guardian.PeerWord
	brain *brainWord
}

// brainWord is what a brain last said to this Pi of its run, and when by CLOCK_BOOTTIME.
type brainWord struct {
	run wire.PiRun
	at  time.Duration
}

// peer is another Pi, as it is reached.
type peer struct {
	addresses []string // the first is tried next
	key       wire.PublicKey
	last      time.Time // when it was last told something
	busy      bool      // it is being told
	again     bool      // and something has changed meanwhile
	known, ok bool      // it was tried, and how that went
	heard     time.Time // when it last said something
	boot      string    // its newest word, which proves that ours is new
	seq       int64
}

func newExchange(p *Proxy) *exchange {
	x := &exchange{p: p, client: courier.NewClient(nil), wake: make(chan struct{}, 1), peers: map[string]*peer{}}
	x.heard = &lan.Peers{Log: p.log, Key: p.key, Self: x.header, SinceBoot: daemon.BootTime, Since: daemon.BootTime(), KeyOf: x.keyOf, Said: x.take, Refused: p.metrics.count}
	return x
}

// header names the site as the brain does, also where pi.yaml names none.
func (x *exchange) header() wire.Header {
	h := x.p.header()
	if s := x.p.stored.Load(); s != nil {
		h.Site = s.Bundle.Site
	}
	return h
}

func (x *exchange) keyOf(name string) (wire.PublicKey, bool) {
	s := x.p.stored.Load()
	if s == nil || name == x.p.cfg.Name {
		return "", false
	}
	for _, pi := range s.Bundle.Pis {
		if pi.Name == name && pi.Key.Validate() == nil {
			return pi.Key, true
		}
	}
	return "", false
}

// pisOf are the names of a bundle's Pis, in their order.
func pisOf(b wire.Bundle) (names []string) {
	for _, pi := range b.Pis {
		if !slices.Contains(names, pi.Name) {
			names = append(names, pi.Name)
		}
	}
	return names
}

// changed has the other Pis told at once.
func (x *exchange) changed() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// says takes what the guardian has to say, once that is on disk.
func (x *exchange) says(w guardian.PeerWord) {
	x.mu.Lock()
	old := x.said
	x.said = &w
	x.mu.Unlock()
	if old == nil || old.State != w.State || old.Epoch != w.Epoch || old.Known != w.Known || !slices.Equal(old.Took, w.Took) || len(old.Stopped) != len(w.Stopped) || !slices.Equal(old.Scope, w.Scope) {
		x.changed()
	}
}

// brainSays notes a brain's word, to pass it on to Pis that may not hear it.
func (x *exchange) brainSays(m wire.Mandate) {
	word := &brainWord{wire.PiRun{State: m.Run, ID: m.RunID, Epoch: m.Epoch, Scope: few(m.Scope)}, daemon.BootTime()}
	x.mu.Lock()
	old := x.brain
	x.brain = word
	x.mu.Unlock()
	if old == nil || !sameRun(old.run, word.run) {
		x.changed()
	}
}

// guestsSaid are guests as a word names them, heardTook the machines and guests of one.
func guestsSaid(guests []shutdown.Target) (names []string) {
	for _, g := range guests {
		names = append(names, g.Ref())
	}
	return names
}

func heardTook(names []string) (machines []string, guests []shutdown.Target) {
	for _, name := range names {
		kind, _, _ := strings.Cut(name, "/")
		guest, ok := shutdown.ParseRef(name)
		switch {
		case kind != "qemu" && kind != "lxc":
			machines = append(machines, name)
		case ok:
			guests = append(guests, guest)
		}
	}
	return machines, guests
}

// few keeps a list as short as a word may be.
func few(names []string) []string { return names[:min(len(names), wire.MaxTook)] }

func sameRun(a, b wire.PiRun) bool {
	return a.State == b.State && a.ID == b.ID && a.Epoch == b.Epoch && slices.Equal(a.Scope, b.Scope)
}

// run tells each of the others, in its own time: one that is slow or gone delays nobody.
func (x *exchange) run(ctx context.Context) error {
	defer x.client.Close()
	defer x.wg.Wait()
	tick := time.NewTicker(beatEach)
	defer tick.Stop()
	for {
		changed := false
		select {
		case <-ctx.Done():
			return nil
		case <-x.wake:
			changed = true
		case <-tick.C:
		}
		for _, name := range x.others() {
			x.due(ctx, name, changed || x.hot())
		}
	}
}

// others are the names of the site's other Pis. What a new bundle says of one that has no address
// in it leaves the one that is known.
func (x *exchange) others() (names []string) {
	s := x.p.stored.Load()
	if s == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, name := range pisOf(s.Bundle) {
		key, ok := x.keyOf(name)
		if !ok {
			continue
		}
		o := x.peers[name]
		if o == nil || o.key != key {
			o = &peer{key: key}
			x.peers[name] = o
		}
		var addresses []string
		for _, pi := range s.Bundle.Pis {
			if pi.Name == name && pi.Address != "" {
				addresses = append(addresses, pi.Address)
			}
		}
		if len(addresses) > 0 && !sameAddresses(addresses, o.addresses) {
			o.addresses = addresses
		}
		if len(o.addresses) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// sameAddresses reports whether both are the same, whichever is tried first.
func sameAddresses(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// hot reports whether the others are told each second: a UPS is on battery, or a run is open.
func (x *exchange) hot() bool {
	x.mu.Lock()
	open := x.said != nil && x.said.State.Open()
	x.mu.Unlock()
	return open || slices.ContainsFunc(x.p.latest, func(l *latest) bool { return !l.calm() })
}

// due tells one of the others, if it is time to.
func (x *exchange) due(ctx context.Context, name string, now bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	o := x.peers[name]
	switch {
	case o.busy:
		o.again = o.again || now
		return
	case !now && time.Since(o.last) < calmEach-beatEach/2:
		return
	}
	o.busy = true
	x.wg.Go(func() {
		for again := true; again && ctx.Err() == nil; {
			x.tell(ctx, name, o)
			x.mu.Lock()
			again = o.again
			o.again, o.busy = false, again
			x.mu.Unlock()
		}
	})
}

// tell says a word to another Pi, and once more if it could not know that this was a new one.
func (x *exchange) tell(ctx context.Context, name string, o *peer) {
	for range 2 {
		taken, err := x.post(ctx, name, o)
		x.tried(name, o, err)
		if taken || err != nil {
			return
		}
	}
}

func (x *exchange) post(ctx context.Context, name string, o *peer) (taken bool, err error) {
	x.mu.Lock()
	to := courier.Receiver{Name: name, URL: "http://" + o.addresses[0], Key: o.key}
	m := x.report(name, o)
	x.mu.Unlock()
	data, err := wire.Seal(wire.KindPi, m, x.p.key)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, peerWithin)
	defer cancel()
	a, err := x.client.Post(ctx, to, courier.PathPi, m.Header, data)
	if err != nil {
		return false, err
	}
	x.word(name, a.Header)
	return len(a.Taken) > 0, nil
}

// report is what another Pi is told now. The lock is held.
func (x *exchange) report(name string, o *peer) wire.PiReport {
	m := wire.PiReport{Header: x.header(), To: name, ToBoot: o.boot, ToSeq: o.seq, Run: wire.PiRun{State: shutdown.None}}
	if w := x.said; w != nil {
		m.Run = wire.PiRun{State: w.State, ID: w.Run, Epoch: w.Epoch, AgeMS: min(max(w.Since, 0), saidAgeMost).Milliseconds(), Scope: few(w.Scope)}
		m.Known, m.Took = w.Known, few(append(slices.Clone(w.Took), guestsSaid(w.Stopped)...))
	}
	if b := x.brain; b != nil && daemon.BootTime()-b.at <= brainSaidFor {
		m.Brain = &b.run
	}
	for _, l := range x.p.latest[:min(len(x.p.latest), wire.MaxPiUPSes)] {
		if r, known := l.now(); known {
			m.UPSes = append(m.UPSes, wire.PiUPS{Name: l.name, Reading: *storied(r)})
		}
	}
	return m
}

// word notes the newest word of another Pi.
func (x *exchange) word(name string, h wire.Header) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if o := x.peers[name]; o != nil && (o.boot != h.Boot || o.seq < h.Seq) {
		o.boot, o.seq, o.heard = h.Boot, h.Seq, time.Now()
	}
}

// hears reports whether another Pi is there.
func (x *exchange) hears(name string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	o := x.peers[name]
	return o != nil && !o.heard.IsZero() && time.Since(o.heard) < 3*calmEach
}

// tried notes how a word went, and logs the first that failed and the first after that. The next
// goes to another address, if there is one.
func (x *exchange) tried(name string, o *peer, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	was := o.ok
	o.last, o.ok = time.Now(), err == nil
	if err != nil {
		o.addresses = append(slices.Clone(o.addresses[1:]), o.addresses[0])
	}
	switch {
	case o.known && was == o.ok:
	case o.ok:
		x.p.log.Info("other Pi reached", "pi", name)
	default:
		x.p.log.Warn("other Pi not reached", "pi", name, "err", err)
	}
	o.known = true
}

// take hands another Pi's word to the guardian.
func (x *exchange) take(ctx context.Context, m *wire.PiReport, lag time.Duration) {
	x.word(m.Node, m.Header)
	came := daemon.BootTime()
	w := guardian.PeerWord{Up: time.Duration(m.Seq) * time.Microsecond, State: m.Run.State, Epoch: m.Run.Epoch, Run: m.Run.ID, Scope: m.Run.Scope, Since: time.Duration(m.Run.AgeMS) * time.Millisecond, Known: m.Known, UPSes: map[string]power.Reading{}}
	w.Took, w.Stopped = heardTook(m.Took)
	for _, u := range m.UPSes {
		w.UPSes[u.Name] = u.Reading
	}
	ctx, cancel := context.WithTimeout(ctx, peerSaidWithin)
	defer cancel()
	g := x.p.guard
	g.sendWithin(ctx, func(now time.Time) []guardian.Event {
		w.Age = lag + daemon.BootTime() - came
		es := g.core.PeerSaid(now, m.Node, w)
		if m.Brain == nil || x.hearsBrain() {
			return es
		}
		g.core.BrainFor(m.Brain.Scope)
		es = append(es, g.core.Stopped(now, m.Brain.State, m.Brain.ID)...)
		return append(es, g.core.Mandated(now, m.Brain.Epoch, m.Brain.State)...)
	})
	if m.Brain != nil { // it lives, and misses this Pi by itself (rule N5)
		x.p.outside.answered("", false)
	}
}

// hearsBrain reports whether this Pi needs nobody to tell it what the brain says.
func (x *exchange) hearsBrain() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.brain != nil && daemon.BootTime()-x.brain.at <= brainHeardFor
}

// now is how a UPS stands; false if nothing was heard of it yet.
func (l *latest) now() (power.Reading, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reading(), l.known
}
