package brain

import (
	"cmp"
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

	"sentinel.home.arpa/cloud/internal/escalation"
	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/notify"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/tailnet"
	"sentinel.home.arpa/shared/twilio"
	"sentinel.home.arpa/shared/wire"
)

// Brain is the daemon.
type Brain struct {
	cfg      Config
	core     sentinel.Config
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
	journal    *journal.Journal
	table      *liveness.Table
	identities *ingest.Identities
	tailnet    *tailnet.Node // nil with listen:
	uplink     *uplink
	caller     *notify.Caller // nil without twilio:
	numbers    map[string]string
	relays     map[string][]relay
	zones      map[string]*time.Location // by site; without it the machine's own
	pis        pis

	seq     wire.Counter
	inputs  chan submission
	counted chan guestCount
	renew   chan struct{} // the bundles, since a Pi says something new of itself
	stopped chan struct{}
	wg      sync.WaitGroup
	view    atomic.Pointer[view]
	bundles atomic.Pointer[map[string]bundle]

	// What follows is the loop's alone.
	state      *sentinel.State
	unwritten  []journal.Entry
	writing    *writing // nil: the disk is free
	broken     bool     // the last write failed, or hangs
	dropped    int      // facts that memory had no room for either
	notices    []string // what the start found, for the first turn
	warnings   []string // and what of it stands on the page
	timeline   []journal.Entry
	performers map[string]*performer
	guests     map[string]*int // by site, as last surveyed; nil: not known
}

// New opens the state directory and replays the journal. Close what it returns by
// running it, or with Close.
func New(ctx context.Context, cfg Config, log *slog.Logger) (*Brain, error) {
	return newBrain(ctx, cfg, log, thisMachine())
}

func newBrain(ctx context.Context, cfg Config, log *slog.Logger, m machine) (*Brain, error) {
	b := &Brain{cfg: cfg, log: log, machine: m, version: daemon.Version(), notifier: daemon.NewNotifier(log),
		health: daemon.NewHealth(30*time.Second, "journal"), metrics: newMetrics(),
		inputs: make(chan submission, batch), counted: make(chan guestCount), renew: make(chan struct{}, 1), stopped: make(chan struct{}),
		performers: map[string]*performer{}, guests: map[string]*int{}, numbers: map[string]string{},
		relays: map[string][]relay{}, zones: zonesOf(cfg.Sites),
	}
	b.core = coreConfig(&cfg)
	b.table = liveness.New(cfg.Failure.Silence.Std())
	var err error
	if err = os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	if b.lock, err = lock(ctx, cfg.StateDir); err != nil {
		return nil, err
	}
	if err := b.open(ctx); err != nil {
		return nil, errors.Join(err, b.lock.Close())
	}
	b.uplink = &uplink{anchors: cfg.Anchors, dial: m.dial, log: log, asked: make(chan struct{}, 1),
		tell: func(ctx context.Context, online bool) {
			if err := b.submit(ctx, sentinel.Uplink{Online: online}); err != nil && ctx.Err() == nil {
				log.Error("input lost", "input", "Uplink", "err", err)
			}
		}}
	return b, nil
}

// open reads the state directory.
func (b *Brain) open(ctx context.Context) (err error) {
	before := ranBefore(b.cfg.StateDir)
	b.arming = newArming(b.cfg.StateDir)
	if b.key, err = wire.LoadKey(b.cfg.StateDir); err != nil {
		return err
	}
	if err := b.connect(); err != nil {
		return err
	}
	return b.replay(ctx, before)
}

// Close is for a brain that is not run.
func (b *Brain) Close() error { return errors.Join(b.journal.Close(), b.lock.Close()) }

func coreConfig(cfg *Config) sentinel.Config {
	times := sentinel.DefaultTimes()
	times.Silence, times.Window = cfg.Failure.Silence.Std(), cfg.Failure.Window.Std()
	times.OutageNotice, times.PowerCall = cfg.Power.NoticeAfter.Std(), cfg.Power.CallBy.Std()
	times.InternetCall = cfg.Internet.CallAfter.Std()
	core := sentinel.Config{Brain: cfg.Name, Threshold: cfg.Failure.Threshold, Times: times, Escalation: escalation.DefaultPolicy()}
	for _, s := range cfg.Sites {
		sc := sentinel.SiteConfig{Name: s.Name, Policy: cfg.policy()}
		if len(cfg.Sites) == 1 {
			sc.Plan = cfg.shutdownPlan()
		}
		for _, n := range s.Nodes {
			sc.Nodes = append(sc.Nodes, n.Name)
		}
		for _, p := range s.Pis {
			sc.Pis = append(sc.Pis, p.Name)
		}
		core.Sites = append(core.Sites, sc)
	}
	for _, p := range cfg.Contacts {
		core.Contacts = append(core.Contacts, p.Name)
	}
	return core
}

// connect makes what the brain talks through. Nothing here waits for a network.
func (b *Brain) connect() error {
	cfg := b.cfg
	b.identities = &ingest.Identities{Pis: map[string]string{}, Allow: cfg.Tailnet.AllowNodes,
		Configured: map[string]wire.PublicKey{}, Now: func() time.Time { return b.clock.Now() }}
	if cfg.Listen == "" {
		b.tailnet = tailnet.New(tailnet.Config{
			Hostname: cfg.Tailnet.Hostname, Dir: filepath.Join(cfg.StateDir, "tailnet"), ControlURL: cfg.Tailnet.ControlURL,
			AuthKey: func() (string, error) {
				if cfg.Tailnet.AuthKey.IsZero() {
					return "", nil
				}
				return cfg.Tailnet.AuthKey.Read()
			},
			Tags: []string{tagBrain}, Port: cfg.Tailnet.Port, Logger: b.log})
		b.identities.WhoIs = whoIs(b.tailnet)
	}
	b.identities.Bind = func(ctx context.Context, k ingest.Known, by string) error {
		return b.submit(ctx, sentinel.Bound{KeyBound: sentinel.KeyBound{Name: k.Name, Site: k.Site, Role: k.Role, Key: string(k.Key), StableID: k.StableID, By: by}})
	}
	configured := func(site string, role sentinel.Role, p Peer) {
		if p.Key != "" {
			b.identities.Configured[p.Name] = p.Key
			b.identities.Learn(ingest.Known{Name: p.Name, Site: site, Role: role, Key: p.Key})
		}
	}
	for _, s := range cfg.Sites {
		b.identities.Sites = append(b.identities.Sites, s.Name)
		for _, p := range s.Pis {
			b.identities.Pis[p.Name] = s.Name
			b.relays[s.Name] = append(b.relays[s.Name], b.relayOf(p))
			configured(s.Name, sentinel.Pi, p)
		}
		for _, n := range s.Nodes {
			configured(s.Name, sentinel.Node, n)
		}
	}
	for _, p := range cfg.Contacts {
		b.numbers[p.Name] = p.Phone
	}
	if len(cfg.Plan) > 0 { // in an outage it would be too late to find out
		if _, err := cfg.Proxmox.TokenSecret.Read(); err != nil {
			return fmt.Errorf("read the Proxmox token's secret: %w", err)
		}
	}
	return b.connectPhone()
}

func (b *Brain) connectPhone() error {
	t := b.cfg.Twilio
	if t == nil {
		return nil
	}
	secret, err := t.APIKeySecret.Read()
	if err != nil {
		return fmt.Errorf("read Twilio's secret: %w", err)
	}
	client, err := twilio.New(twilio.Config{AccountSID: t.AccountSID, APIKeySID: t.APIKeySID, APIKeySecret: secret, From: t.From, BaseURL: t.APIURL, Transport: b.machine.phone})
	if err != nil {
		return err
	}
	report := func(in sentinel.Input) {
		if err := b.submit(context.Background(), in); err != nil && !errors.Is(err, errStopping) {
			b.log.Error("input lost", "input", fmt.Sprintf("%T", in), "err", err)
		}
	}
	b.caller = notify.NewCaller(&phone{client, t.Voice, cmp.Or(t.Language, "en-US")}, notify.Report{
		Placed: func(id, sid string) { report(sentinel.CallWasPlaced{Call: id, SID: sid}) },
		Ended: func(id string, delivered bool, outcome string) {
			report(sentinel.CallHasEnded{Call: id, Delivered: delivered, Outcome: outcome})
		},
	}, b.log)
	return nil
}

// header begins an answer or request of the brain's own; its seq rises with each.
func (b *Brain) header() wire.Header {
	return wire.Header{V: wire.Version, Node: b.cfg.Name, Boot: b.boot, Seq: b.seq.Next(b.machine.sinceBoot())}
}

// zone is the site's time zone; without a name that of the only site.
func (b *Brain) zone(site string) *time.Location {
	if site == "" && len(b.cfg.Sites) == 1 {
		site = b.cfg.Sites[0].Name
	}
	if loc := b.zones[site]; loc != nil {
		return loc
	}
	return time.Local
}

// zonesOf are those of the sites that name one.
func zonesOf(sites []Site) map[string]*time.Location {
	zones := map[string]*time.Location{}
	for _, s := range sites {
		if loc, err := time.LoadLocation(s.TimeZone); err == nil && s.TimeZone != "" {
			zones[s.Name] = loc
		}
	}
	return zones
}

func (b *Brain) dialTailnet(ctx context.Context, network, addr string) (net.Conn, error) {
	if b.tailnet == nil {
		return b.machine.dial(ctx, network, addr)
	}
	return b.tailnet.Dial(ctx, network, addr)
}
