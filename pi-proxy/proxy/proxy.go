package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/pi-proxy/internal/lan"
	"sentinel.home.arpa/pi-proxy/internal/ledger"
	"sentinel.home.arpa/pi-proxy/internal/record"
	"sentinel.home.arpa/pi-proxy/internal/spool"
	"sentinel.home.arpa/pi-proxy/internal/ups"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/orders"
	"sentinel.home.arpa/shared/proxmox"
	"sentinel.home.arpa/shared/tailnet"
	"sentinel.home.arpa/shared/wire"
)

const (
	tagBrain = "tag:sentinel-brain"
	tagPi    = "tag:sentinel-pi"
	piPort   = ":7777"
	// nisWithin bounds one poll: apcupsd on a slow serial line takes over 2 s to answer.
	nisWithin = 4 * time.Second
	// resolveWithin bounds the look-up of brains on the tailnet.
	resolveWithin = 2 * time.Second
)

// Proxy is the daemon.
type Proxy struct {
	cfg      Config
	log      *slog.Logger
	key      wire.Key
	boot     string
	clock    *daemon.Clock // the run's, whatever the wall clock does
	notifier *daemon.Notifier
	health   *daemon.Health
	metrics  *metrics

	tailnet  *tailnet.Node // nil where brains: are configured
	client   *courier.Client
	lan      *lan.Listener
	relay    *lan.Relay
	spool    *spool.Spool
	strange  chan []byte // heartbeats of strangers, about whom the brain is to be asked
	ledger   *ledger.Ledger
	pollers  []*ups.Poller
	latest   []*latest // of each UPS
	guard    *guard
	exchange *exchange
	outside  *outside
	end      *ending
	desk     *orders.Desk
	nodes    proxmox.Dialer // the way to the plan's

	seq      wire.Counter
	stored   atomic.Pointer[ledger.Stored] // what the Pi goes by
	kept     atomic.Pointer[string]        // hash of the bundle that is on disk
	unstored chan struct{}                 // has a value when stored is new
	brainKey atomic.Pointer[wire.PublicKey]
	answers  newest
	ways     ways
	reports  lanes // of UPSes, which share one sequence at a brain
	connects wire.Once
	asking   sync.Mutex // the plan's machines, for the doctor

	record *record.Record
	noted  notedNodes // in the record
	leaves leaves     // of the brains

	seenMu    sync.Mutex
	seenSaved bool          // the last time
	newBoot   chan struct{} // has a value when a node was heard from another boot

	reachMu sync.Mutex
	reach   map[string]*reach // by the brain's URL
}

// New opens the state directory and takes up what an earlier process left.
func New(cfg Config, log *slog.Logger) (*Proxy, error) {
	p := &Proxy{cfg: cfg, log: log, notifier: daemon.NewNotifier(log), health: daemon.NewHealth(30 * time.Second), metrics: newMetrics(), reach: map[string]*reach{},
		unstored: make(chan struct{}, 1), newBoot: make(chan struct{}, 1), seenSaved: true}
	var err error
	if err = os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	if p.key, err = wire.LoadKey(cfg.StateDir); err != nil {
		return nil, err
	}
	if p.boot, err = daemon.BootID(cfg.BootIDFile); err != nil {
		return nil, err
	}
	p.strange = make(chan []byte, 8)
	if p.spool, err = spool.Open(filepath.Join(cfg.StateDir, "spool"), p.boot, daemon.BootTime, lan.MaxAnnouncement, log); err != nil {
		return nil, err
	}
	if p.ledger, err = ledger.Open(cfg.StateDir); err != nil {
		return nil, err
	}
	p.record = record.Open(cfg.StateDir, p.boot, daemon.BootTime, log)
	p.noted.add(p.record.Note(wire.Noted{Node: cfg.Name, Heard: true}))
	p.metrics.watch(p)
	if len(cfg.Brains) == 0 {
		p.tailnet = tailnet.New(tailnet.Config{Hostname: cmp.Or(cfg.Tailnet.Hostname, cfg.Name), Dir: filepath.Join(cfg.StateDir, "tailnet"),
			ControlURL: cfg.Tailnet.ControlURL, AuthKey: p.authKey, Tags: []string{tagPi}, Logger: log})
		p.client = courier.NewClient(p.tailnet.Dial)
	} else {
		p.client = courier.NewClient(nil)
		p.brainKey.Store(&cfg.Brains[0].Key)
	}
	seen, err := p.ledger.Seen()
	if err != nil {
		p.log.Error("what was seen is unreadable, repetitions of earlier messages may pass for new", "err", err)
	}
	p.exchange, p.outside = newExchange(p), newOutside(p)
	p.takeUp(seen)
	p.listenOnLAN()
	p.takeUpSeen(seen)
	p.watchUPSes()
	return p, nil
}

func (p *Proxy) authKey() (string, error) {
	if p.cfg.Tailnet.AuthKey.IsZero() {
		return "", nil
	}
	return p.cfg.Tailnet.AuthKey.Read()
}

// takeUp restores the bundle and the run. Without a readable bundle the Pi still reports
// and relays; it guards once the brain has handed one out.
func (p *Proxy) takeUp(seen *ledger.Seen) {
	p.guard, p.end = newGuard(p), newEnding(p)
	p.guard.core.Hangs(p.cfg.own())
	stored, err := p.ledger.Bundle()
	if err != nil {
		p.log.Error("bundle unreadable, waiting for the brain's", "err", err)
	}
	if stored != nil {
		// One that was changed on disk still guards the house better than none; without a
		// hash it confirms nothing, and the brain sends its own.
		if hash, err := stored.Bundle.Hash(); err != nil || hash != stored.Hash {
			p.log.Error("bundle on disk is not the one that was stored, going by it until the brain's comes", "hash", stored.Hash, "is", hash, "err", err)
			stored.Hash = ""
		}
		p.stored.Store(stored)
		p.kept.Store(&stored.Hash)
		if p.tailnet != nil && stored.BrainKey != "" {
			p.brainKey.Store(&stored.BrainKey)
		}
		p.guard.restoreOrders(stored.Bundle)
	}
	if err := p.ledger.Run(p.log, func(e guardian.Event) { p.guard.core.Restore(e) }); err != nil {
		p.log.Error("run unreadable, none is taken up", "err", err)
	}
	watched, err := p.ledger.Watched()
	if err != nil {
		p.log.Error("how the brain was watched is unreadable, people may be called once more", "err", err)
	}
	last := p.ledger.Last()
	if watched != nil {
		last = lastMoment(last, &watched.Moment)
	}
	if seen != nil {
		last = lastMoment(last, &seen.Moment)
	}
	p.clock = daemon.NewClock(p.boot, daemon.BootTime, time.Now, last)
	p.ledger.Clock = p.clock
	p.outside.takeUp(watched)
	if p.lived(last) {
		p.guard.lived = last.At
	}
	p.guard.publish(p.clock.Now()) // the brain must not hear of none first (rule G5)
}

func (p *Proxy) listenOnLAN() {
	p.desk = &orders.Desk{Log: p.log, Key: p.key, Self: p.header, Now: time.Now}
	p.lan = &lan.Listener{Orders: p.desk, Log: p.log, Key: p.key, Now: time.Now, SinceBoot: daemon.BootTime, Self: p.header, Keep: p.spool.Put, Ask: p.askAbout, Refused: p.metrics.count,
		NewBoot: func() {
			select {
			case p.newBoot <- struct{}{}:
			default:
			}
		},
		KeyOf: func(node string) (wire.PublicKey, bool) {
			s := p.stored.Load()
			if s == nil {
				return "", false
			}
			key, ok := s.Bundle.Keys[node]
			return key, ok
		},
		Tell: func(a *wire.Answer) {
			if k := p.brainKey.Load(); k != nil {
				a.BrainKey = *k
			}
			if s := p.stored.Load(); s != nil {
				a.Pis = s.Bundle.Pis
			}
		}}
	p.relay = &lan.Relay{Log: p.log, Brain: p.isBrain, Mains: p.mains, MainsNow: p.mainsNow, OnFailure: p.onFailure, Refused: p.metrics.count, Dial: p.nodes.DialContext, Allowed: func(addr string) bool {
		s := p.stored.Load()
		return s != nil && inPlan(s.Bundle.Plan, addr) || p.ways.lead(addr, daemon.BootTime())
	}}
}

// isBrain lets only the brain through: by its tag on the tailnet, by its signature for
// this Pi and address otherwise. A signature serves once.
func (p *Proxy) isBrain(r *http.Request) error {
	if p.tailnet != nil {
		who, err := p.tailnet.WhoIs(r.Context(), r.RemoteAddr)
		if err != nil {
			return fmt.Errorf("ask the tailnet who is calling: %w", err)
		}
		for _, tag := range who.Tags {
			if tag == tagBrain {
				return nil
			}
		}
		return fmt.Errorf("%s is not the brain", who.Name)
	}
	var c *wire.Connect
	err := errors.New("there is no brain")
	for _, b := range p.cfg.Brains {
		if c, err = courier.ReadConnect(r.Header.Get("Proxy-Authorization"), b.Key); err == nil {
			break
		}
	}
	switch {
	case err != nil:
		return err
	case c.Pi != p.cfg.Name || c.Addr != r.Host:
		return errors.New("the brain's word is for another Pi or address")
	case !p.connects.Fresh(c.Header):
		return errors.New("the brain's word was used before")
	}
	return nil
}

func (p *Proxy) watchUPSes() {
	out := p.guard.core.Out()
	for _, u := range p.cfg.UPS {
		l := &latest{name: u.Name, wake: make(chan struct{}, 1), out: slices.Contains(out, u.Name)}
		p.latest = append(p.latest, l)
		client := &ups.Client{Addr: u.NIS, Timeout: nisWithin}
		poller := ups.NewPoller(client, u.Poll.Std(), func(o ups.Observation) {
			if o.Changed {
				p.log.Info("ups", "ups", u.Name, "supply", o.Reading.Supply, "flags", fmt.Sprintf("%#x", uint32(o.Reading.Flags)), "err", o.Err)
			}
			l.put(o, p.noteUPS(l, o))
			p.relay.SupplyChanged()
			if o.Changed {
				p.exchange.changed()
			}
			p.guard.report(u.Name, o.Reading)
		})
		if o, on := p.guard.core.Outage(u.Name); on && !p.guard.lived.IsZero() { // of this boot
			poller.Resume(time.Now().Add(-p.clock.Now().Sub(o.Since)), o.Transfer)
		}
		p.pollers = append(p.pollers, poller)
	}
}

// poke has every UPS polled now: apcupsd has said that something changed.
func (p *Proxy) poke() {
	for _, u := range p.pollers {
		u.Poke()
	}
}

// header begins a message of the Pi's own; its seq rises with each.
func (p *Proxy) header() wire.Header {
	return wire.Header{V: wire.Version, Site: p.cfg.Site, Node: p.cfg.Name, Boot: p.boot, Seq: p.seq.Next(daemon.BootTime())}
}

// brains are those to report to, as of now.
func (p *Proxy) brains(ctx context.Context) []courier.Receiver {
	var out []courier.Receiver
	if p.tailnet == nil {
		for _, b := range p.cfg.Brains {
			out = append(out, courier.Receiver{Name: "brain", URL: "http://" + b.Address, Key: b.Key})
		}
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, resolveWithin)
	defer cancel()
	peers, err := p.tailnet.PeersTagged(ctx, tagBrain)
	if err != nil {
		p.log.Debug("no brain found", "err", err)
		return nil
	}
	for _, b := range peers {
		out = append(out, courier.Receiver{Name: b.Name, URL: "http://" + net.JoinHostPort(b.Addr.String(), "80")})
	}
	return out
}
