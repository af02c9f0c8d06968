package brain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/calls"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/orders"
	"sentinel.home.arpa/shared/outbox"
	"sentinel.home.arpa/shared/proxmox"
	"sentinel.home.arpa/shared/tailnet"
	"sentinel.home.arpa/shared/uplink"
	"sentinel.home.arpa/shared/wire"
)

// Brain is the daemon.
type Brain struct {
	set      atomic.Pointer[settings]
	machine  machine
	log      *slog.Logger
	version  string
	key      wire.Key
	boot     string
	clock    *daemon.Clock
	health   *daemon.Health
	notifier *daemon.Notifier
	metrics  *metrics

	lock       *os.File // on the state directory
	arming     *arming
	leaving    leaving
	journal    *journal.Journal
	table      *liveness.Table
	identities *ingest.Identities
	tailnet    *tailnet.Node                                                        // nil with listen:
	funnel     func(ctx context.Context, port uint16) (net.Listener, string, error) // for keys
	uplink     *looks
	reach      *uplink.Tailnet // nil with listen:
	caller     *calls.Caller
	testing    atomic.Bool // a self-test of the phone is under way
	outbox     *outbox.Outbox
	trials     trials
	pis        pis
	asking     sync.Mutex // by whoever asks the plan's machines: one at a time
	desk       *orders.Desk
	nodes      proxmox.Dialer         // by which they are reached directly
	keypad     atomic.Pointer[keypad] // nil: calls have no keys
	noKeys     atomic.Pointer[string] // why they have none although they should; nil: nothing is wrong
	reload     *Reload                // nil: the configuration stays as it is

	seq      wire.Counter
	inputs   chan submission
	counted  chan guestCount
	sighted  chan sighting
	planSeen chan planSeen
	reread   chan reloaded
	digests  chan chan<- shownDigest
	renew    chan struct{} // the bundles, since a Pi says something new of itself
	resumed  chan struct{} // closed once the loop has taken up what an earlier process left
	stopped  chan struct{}
	wg       sync.WaitGroup
	ways     sync.WaitGroup // the ways to machines that come too late; whoever asked for one has ended before
	pulse    pulse
	view     atomic.Pointer[view]
	bundles  atomic.Pointer[map[string]bundle]

	// What follows is the loop's alone.
	state      *sentinel.State
	unwritten  []journal.Entry
	writing    *writing // nil: the disk is free
	broken     bool     // the last write failed, or hangs
	dropped    int      // facts that memory had no room for either
	archive    archive
	notices    []string // what the start found, for the first turn
	warnings   []string // and what of it stands on the page
	timeline   []journal.Entry
	performers map[string]*performer
	guests     map[string]*int      // by site, as last surveyed; nil: not known
	left       map[string]*left     // by site, what runs of the plan may have left off
	planLooks  map[string]*planLook // by site, of an armed plan
	phone      *phone               // nil without twilio:
	refused    string               // what is wrong with the newest cloud.yaml; empty: nothing
	refusedAt  time.Time            // on the wall clock
}

// New opens the state directory and replays the journal. Close what it returns by
// running it, or with Close. Without a reload the configuration stays as it is.
func New(ctx context.Context, cfg Config, log *slog.Logger, reload *Reload) (*Brain, error) {
	b, err := newBrain(ctx, cfg, log, thisMachine())
	if err != nil {
		return nil, err
	}
	b.reload = reload
	return b, nil
}

func newBrain(ctx context.Context, cfg Config, log *slog.Logger, m machine) (*Brain, error) {
	b := &Brain{log: log, machine: m, version: daemon.Version(), notifier: daemon.NewNotifier(log),
		health: daemon.NewHealth(30*time.Second, "journal"), metrics: newMetrics(), reread: make(chan reloaded), digests: make(chan chan<- shownDigest),
		inputs: make(chan submission, batch), counted: make(chan guestCount), renew: make(chan struct{}, 1),
		resumed: make(chan struct{}), stopped: make(chan struct{}),
		performers: map[string]*performer{}, guests: map[string]*int{}, left: map[string]*left{}, sighted: make(chan sighting), planSeen: make(chan planSeen), planLooks: map[string]*planLook{},
	}
	b.table = liveness.New(cfg.Failure.Silence.Std())
	var err error
	if err = os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	if b.lock, err = lock(ctx, cfg.StateDir); err != nil {
		return nil, err
	}
	if err := b.open(ctx, cfg); err != nil {
		return nil, errors.Join(err, b.lock.Close())
	}
	b.uplink = newLooks(func() []string { return b.cfg().Anchors }, m.dial, log)
	b.uplink.tell = func(ctx context.Context, in sentinel.Uplink) {
		if err := b.submit(ctx, in); err != nil && ctx.Err() == nil {
			log.Error("input lost", "input", "Uplink", "err", err)
		}
	}
	if b.tailnet != nil {
		b.reach = uplink.OfTailnet(b.tailnet, m.dial, log)
		b.uplink.Gone = b.reach.Gone
		b.funnel = b.tailnet.Funnel
	}
	return b, nil
}

// open reads the state directory and the secrets. Nothing here waits for a network.
func (b *Brain) open(ctx context.Context, cfg Config) (err error) {
	before := ranBefore(cfg.StateDir)
	b.arming = newArming(cfg.StateDir)
	if b.key, err = wire.LoadKey(cfg.StateDir); err != nil {
		return err
	}
	if cfg.Listen == "" {
		b.joinTailnet(cfg)
	}
	set, err := b.startSettings(cfg)
	if err != nil {
		return err
	}
	b.set.Store(set)
	b.identities = b.identitiesOf(set)
	b.caller = calls.NewCaller(nil, b.callReport(), b.log)
	b.outbox = outbox.New(b.noticeReport(), b.log)
	b.outbox.Use(set.senders)
	b.desk = &orders.Desk{Log: b.log, Key: b.key, Self: b.header, Now: b.now}
	b.useTwilio(set)
	return b.replay(ctx, before)
}

func (b *Brain) joinTailnet(cfg Config) {
	b.tailnet = tailnet.New(tailnet.Config{
		Hostname: cfg.Tailnet.Hostname, Dir: filepath.Join(cfg.StateDir, "tailnet"), ControlURL: cfg.Tailnet.ControlURL,
		AuthKey: func() (string, error) {
			if cfg.Tailnet.AuthKey.IsZero() {
				return "", nil
			}
			return cfg.Tailnet.AuthKey.Read()
		},
		Tags: []string{tagBrain}, Port: cfg.Tailnet.Port, Logger: b.log})
}

// now is the brain's time.
func (b *Brain) now() time.Time { return b.clock.Now() }

// Close is for a brain that is not run.
func (b *Brain) Close() error { return errors.Join(b.journal.Close(), b.lock.Close()) }

// header begins an answer or request of the brain's own; its seq rises with each.
func (b *Brain) header() wire.Header {
	return wire.Header{V: wire.Version, Node: b.cfg().Name, Boot: b.boot, Seq: b.seq.Next(b.machine.sinceBoot())}
}

func (b *Brain) dialTailnet(ctx context.Context, network, addr string) (net.Conn, error) {
	if b.tailnet == nil {
		return b.machine.dial(ctx, network, addr)
	}
	return b.tailnet.Dial(ctx, network, addr)
}
