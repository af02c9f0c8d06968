package brain

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/cloud/internal/notify"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/channel"
	"sentinel.home.arpa/shared/escalation"
	"sentinel.home.arpa/shared/outbox"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/twilio"
	"sentinel.home.arpa/shared/wire"
)

// settings are what follows from one cloud.yaml. They never change: a reload puts others in
// their place.
type settings struct {
	cfg     Config
	core    sentinel.Config
	rules   ingest.Rules
	keys    []ingest.Known // that the configuration itself names
	numbers map[string]string
	relays  map[string][]relay
	calls   map[string]callList       // whom the Pis call, by site
	tells   map[string]callList       // the same with channels, for Pis that know of them
	zones   map[string]*time.Location // by site; without it the machine's own
	client  *twilio.Client            // nil without twilio:
	senders map[outbox.Key]channel.Sender
	texts   *notify.Texts
	tokens  []string // by which Twilio signs which keys were pressed; secrets
	deadman string   // the address that is told that the brain lives; a secret
	secrets secrets
}

// secrets are what was read of the files that cloud.yaml names, by key: enough to see that
// one has changed.
type secrets map[string][sha256.Size]byte

// cfg is the configuration as it is now, but for what a reload cannot change.
func (b *Brain) cfg() *Config { return &b.set.Load().cfg }

// core is the core's part of it.
func (b *Brain) core() *sentinel.Config { return &b.set.Load().core }

// site is the core's configuration of a site, or nil.
func (s *settings) site(name string) *sentinel.SiteConfig {
	i := slices.IndexFunc(s.core.Sites, func(sc sentinel.SiteConfig) bool { return sc.Name == name })
	if i < 0 {
		return nil
	}
	return &s.core.Sites[i]
}

// settingsOf reads the secrets, and nothing from the network. said hears what is wrong,
// with the key that it is about.
func (b *Brain) settingsOf(cfg Config, said func(key string, err error)) *settings {
	s := &settings{cfg: cfg, core: coreConfig(&cfg), numbers: map[string]string{}, relays: map[string][]relay{}, zones: zonesOf(cfg.Sites), calls: callLists(&cfg, false, b.log), tells: callLists(&cfg, true, b.log), secrets: secrets{},
		rules: ingest.Rules{Pis: map[string]string{}, Allow: cfg.Tailnet.AllowNodes, Configured: map[string]wire.PublicKey{}}}
	configured := func(site string, role sentinel.Role, p Peer) {
		if p.Key != "" {
			s.rules.Configured[p.Name] = p.Key
			s.keys = append(s.keys, ingest.Known{Name: p.Name, Site: site, Role: role, Key: p.Key})
		}
	}
	for _, site := range cfg.Sites {
		s.rules.Sites = append(s.rules.Sites, site.Name)
		for _, p := range site.Pis {
			s.rules.Pis[p.Name] = site.Name
			s.relays[site.Name] = append(s.relays[site.Name], b.relayOf(p))
			configured(site.Name, sentinel.Pi, p)
		}
		for _, n := range site.Nodes {
			configured(site.Name, sentinel.Node, n)
		}
	}
	for _, p := range cfg.callable() {
		s.numbers[p.Name] = p.Phone
	}
	texts, err := cfg.texts()
	if err != nil {
		said("calls.texts", err)
	}
	s.texts = texts
	read := map[string]string{}
	for _, named := range cfg.secrets() {
		secret, err := named.file.Read()
		if err != nil {
			said(named.key, err)
			continue
		}
		read[named.key] = secret
		s.secrets[named.key] = sha256.Sum256([]byte(secret))
		if named.key == authToken || named.key == oldAuthToken {
			s.tokens = append(s.tokens, secret)
		}
		if named.key == deadmanSecret {
			if err := checkPing(secret); err != nil {
				said(named.key, err)
			}
			s.deadman = secret
		}
		if t := cfg.Twilio; named.key == twilioSecret {
			s.core.Phone, s.core.SelfTestEach, s.core.FewCalls = phoneID(t, secret), cfg.Calls.SelfTest.Std(), cfg.Calls.Few
			s.client, err = twilio.New(twilio.Config{AccountSID: t.AccountSID, APIKeySID: t.APIKeySID, APIKeySecret: secret, From: t.From,
				BaseURL: t.APIURL, Transport: b.machine.phone})
			if err != nil {
				said(named.key, untwilio(err))
			}
		}
	}
	b.people(s, read, said)
	s.core.Shown = func(at time.Time) time.Time { return b.clock.Shown(at) }
	for i := range s.core.Sites {
		s.core.Sites[i].Zone = time.Local
		if loc := s.zones[s.core.Sites[i].Name]; loc != nil {
			s.core.Sites[i].Zone = loc
		}
	}
	return s
}

func coreConfig(cfg *Config) sentinel.Config {
	times := sentinel.DefaultTimes()
	f, p := cfg.Failure, cfg.Power
	times.Silence, times.Window = f.Silence.Std(), f.Window.Std()
	times.Reminder, times.RemindFor, times.PendingNotice = f.Reminder.Std(), f.RemindFor.Std(), f.PendingNotice.Std()
	times.OutageNotice, times.PowerCall = p.NoticeAfter.Std(), p.CallBy.Std()
	times.InternetCall = cfg.Internet.CallAfter.Std()
	core := sentinel.Config{Brain: cfg.Name, Threshold: f.Threshold, Times: times, Escalation: escalation.DefaultPolicy(),
		Limits:      sentinel.Limits{Calls: cfg.Calls.PerHour, OtherCalls: cfg.Calls.OtherPerHour, Notices: cfg.Notices.PerHour},
		WorseCharge: p.WorseCharge.Ratio(), WorseRuntime: p.WorseRuntime.Std()}
	for _, s := range cfg.Sites {
		sc := sentinel.SiteConfig{Name: s.Name, Policy: cfg.policy(), Feeds: s.feeds()}
		if len(cfg.Sites) == 1 {
			sc.Plan = cfg.shutdownPlan()
			sc.OnFailure = cfg.planOn(shutdown.ForFailure)
			if cfg.planOn(shutdown.ForInternet) {
				sc.InternetAfter = cfg.Internet.PlanAfter.Std()
			}
		}
		for _, n := range s.Nodes {
			sc.Nodes = append(sc.Nodes, n.Name)
		}
		for _, p := range s.Pis {
			sc.Pis = append(sc.Pis, p.Name)
		}
		core.Sites = append(core.Sites, sc)
	}
	core.Drill, core.Digest = cfg.Calls.Drill.core(), cfg.Notices.Digest.core()
	for _, p := range cfg.callable() {
		core.Contacts = append(core.Contacts, p.Name)
	}
	return core
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

// zone is the site's time zone; without a name that of the only site.
func (b *Brain) zone(site string) *time.Location {
	s := b.set.Load()
	if site == "" && len(s.cfg.Sites) == 1 {
		site = s.cfg.Sites[0].Name
	}
	if loc := s.zones[site]; loc != nil {
		return loc
	}
	return time.Local
}

// bound takes a key that the journal knows, unless the configuration has another for the
// name, or has made a Pi of a node or the other way round since it was bound.
func (s *settings) bound(k sentinel.KeyBound) (ingest.Known, bool) {
	site, isPi := s.rules.Pis[k.Name]
	known := ingest.Known{Name: k.Name, Site: k.Site, Role: k.Role, Key: wire.PublicKey(k.Key), StableID: k.StableID}
	if isPi != (k.Role == sentinel.Pi) || isPi && site != k.Site || s.site(k.Site) == nil {
		return known, false
	}
	key := s.rules.Configured[k.Name]
	return known, key == "" || key == known.Key
}

// knownBy are all names that are known by the settings and the journal's keys. Only the
// loop calls it, or who runs before it.
func (b *Brain) knownBy(s *settings) []ingest.Known {
	known := s.keys
	for _, k := range b.state.Keys {
		if k, ok := s.bound(k); ok {
			known = append(known[:len(known):len(known)], k)
		}
	}
	return known
}

// learn takes a key that was bound just now.
func (b *Brain) learn(k sentinel.KeyBound) {
	if k, ok := b.set.Load().bound(k); ok {
		b.identities.Learn(k)
	}
}

// startSettings are those that the brain starts with.
func (b *Brain) startSettings(cfg Config) (*settings, error) {
	var wrong error
	s := b.settingsOf(cfg, func(key string, err error) {
		if wrong == nil {
			wrong = fmt.Errorf("%s: %w", key, err)
		}
	})
	return s, wrong
}

// bind makes a first contact durable.
func (b *Brain) bind(ctx context.Context, k ingest.Known, by string) error {
	return b.submit(ctx, sentinel.Bound{KeyBound: sentinel.KeyBound{Name: k.Name, Site: k.Site, Role: k.Role, Key: string(k.Key), StableID: k.StableID, By: by}})
}
