package brain

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/daemon"
)

// Reload is how a running brain takes a changed cloud.yaml.
type Reload struct {
	path   string
	level  *slog.LevelVar
	wanted chan struct{}
}

// NewReload reads path when asked, and sets level, which is the log's, if that is changed.
func NewReload(path string, level *slog.LevelVar) *Reload {
	return &Reload{path, level, make(chan struct{}, 1)}
}

// Ask wishes for a reload, and waits for nothing. A wish during a reload is one more.
func (r *Reload) Ask() {
	select {
	case r.wanted <- struct{}{}:
	default:
	}
}

// reloaded is what came of reading cloud.yaml anew.
type reloaded struct {
	written Config    // as it stands in the file
	set     *settings // the same, but for what needs a restart
	err     error     // why there are none
}

// reloads reads cloud.yaml anew whenever asked. All that may take long happens here; the
// loop takes what came of it between two turns.
func (b *Brain) reloads(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.reload.wanted:
		}
		b.notifier.Reloading()
		select {
		case b.reread <- b.readAgain():
		case <-ctx.Done():
			return nil
		}
	}
}

func (b *Brain) readAgain() reloaded {
	cfg, f, err := loadConfig(b.reload.path)
	if err != nil {
		return reloaded{err: err}
	}
	r := reloaded{written: cfg}
	keepFixed(&cfg, b.cfg())
	if err := cfg.check(f); err != nil { // with listen: as it is, say
		return reloaded{err: err}
	}
	var errs []error
	r.set = b.settingsOf(cfg, func(key string, err error) { errs = append(errs, f.Errorf(key, "%s", err)) })
	r.err = f.Join(errs...)
	return r
}

// fixed are the keys that only a restart changes, and all below them.
func fixed() []string {
	return []string{"name", "listen", "tailnet.hostname", "tailnet.auth_key_file", "tailnet.control_url", "tailnet.udp_port",
		"state_dir", "control_socket", "boot_id_file", "log.format", "calls.keypad"}
}

// keepFixed keeps what only a restart changes.
func keepFixed(c, old *Config) {
	allow := c.Tailnet.AllowNodes
	c.Name, c.Listen, c.Tailnet, c.StateDir, c.ControlSocket, c.BootIDFile, c.Log.Format, c.Calls.Keypad =
		old.Name, old.Listen, old.Tailnet, old.StateDir, old.ControlSocket, old.BootIDFile, old.Log.Format, old.Calls.Keypad
	c.Tailnet.AllowNodes = allow
}

// take lets another configuration take the place of the one before. Only the loop calls
// it; what it returns is decided in its next turn. A wrong one changes nothing.
func (b *Brain) take(r reloaded) []submission {
	defer b.notifier.Reloaded()
	if r.err != nil {
		b.refuse(r.err)
		return nil
	}
	old := b.set.Load()
	changes := config.Diff(old.cfg, r.written)
	for _, named := range r.set.cfg.secrets() { // another secret may be in the same file
		same := old.secrets[named.key] == r.set.secrets[named.key]
		if known := slices.ContainsFunc(changes, func(c config.Change) bool { return strings.HasPrefix(named.key, c.Key) }); !same && !known {
			changes = append(changes, config.Change{Key: named.key, How: "changed"})
		}
	}
	b.adopt(r.set)
	left := b.unlisted(old, r.set)
	b.letGo(old, left)
	b.refused = ""
	b.metrics.reloaded.Set(1)
	notice := b.sayChanges(changes, old.cfg.LogLevel(), r.set.cfg.LogLevel())
	subs := []submission{{in: sentinel.Configured{Config: r.set.core, Notice: notice}}}
	for _, k := range left {
		subs = append(subs, submission{in: sentinel.Delete{Site: k.Site, Name: k.Name, By: "the new cloud.yaml"}})
	}
	return subs
}

// letGo ends what is kept beside the core of sources that were left out and of sites that
// are no longer configured. The words of one that comes again are news.
func (b *Brain) letGo(old *settings, left []liveness.Key) {
	for _, k := range left {
		b.table.Forget(k)
	}
	for _, site := range old.core.Sites {
		if b.set.Load().site(site.Name) != nil {
			continue
		}
		b.table.ForgetSite(site.Name)
		delete(b.guests, site.Name)
		if p := b.performers[site.Name]; p != nil {
			p.cancel()
			delete(b.performers, site.Name)
		}
	}
}

// adopt puts settings into use.
func (b *Brain) adopt(s *settings) {
	b.set.Store(s)
	b.table.SetSilence(s.cfg.Failure.Silence.Std())
	b.identities.Reconfigure(s.rules, b.knownBy(s))
	b.useTwilio(s)
	b.outbox.Use(s.senders)
}

// unlisted are the sources that the configuration named before, and names no more, and
// that nobody can speak for any longer: their silence will be no failure. Who is still
// known by a key goes on, as one that appeared by itself does.
func (b *Brain) unlisted(old, new *settings) []liveness.Key {
	var left []liveness.Key
	for _, was := range old.core.Sites {
		is := new.site(was.Name)
		if is == nil {
			continue
		}
		for _, name := range slices.Concat(was.Nodes, was.Pis) {
			k, known := b.identities.Lookup(name)
			if slices.Contains(is.Nodes, name) || slices.Contains(is.Pis, name) || known && k.Site == was.Name {
				continue
			}
			if src := b.state.Sites[was.Name].Sources[name]; src != nil && src.Condition != sentinel.Pending {
				left = append(left, liveness.Key{Site: was.Name, Name: name})
			}
		}
	}
	return left
}

// refuse keeps the configuration as it is, and says so until there is a better one.
func (b *Brain) refuse(err error) {
	b.metrics.reloaded.Set(0)
	text := daemon.Summary(err)
	b.log.Error("the configuration is wrong and was not taken", "err", text)
	if b.refused == "" {
		b.refusedAt = b.machine.wall()
	}
	b.refused = text
}

// refusal is the page's warning; empty: the file was right.
func (b *Brain) refusal() string {
	if b.refused == "" {
		return ""
	}
	return fmt.Sprintf("cloud.yaml is wrong since %s and was not taken: %s", b.refusedAt.In(b.zone("")).Format("15:04"), b.refused)
}

// sayChanges logs what is new, and gives what the timeline says of it. The level is the
// more talkative one meanwhile.
func (b *Brain) sayChanges(changes []config.Change, before, after slog.Level) (notice string) {
	b.level(min(before, after))
	var keys, waiting []string
	for _, c := range changes {
		if slices.Contains(fixed(), c.Key) {
			waiting = append(waiting, c.Key)
			b.log.Warn("configuration change needs a restart", c.Attrs()...)
			continue
		}
		keys = append(keys, c.Key)
		b.log.Info("configuration changed", c.Attrs()...)
	}
	b.log.Info("configuration reloaded", "changed", len(keys), "need_restart", len(waiting))
	b.level(after)
	if len(keys) == 0 {
		return ""
	}
	const most = 6
	if more := len(keys) - most; more > 0 {
		keys = append(keys[:most:most], fmt.Sprintf("%d more", more))
	}
	return "cloud.yaml was read again; changed: " + strings.Join(keys, ", ")
}

func (b *Brain) level(l slog.Level) {
	if b.reload != nil && b.reload.level != nil {
		b.reload.level.Set(l)
	}
}

// identitiesOf are who may speak at the start.
func (b *Brain) identitiesOf(s *settings) *ingest.Identities {
	ids := &ingest.Identities{Rules: s.rules, Now: b.now, Bind: b.bind}
	if b.tailnet != nil {
		ids.WhoIs = whoIs(b.tailnet)
	}
	ids.Learn(s.keys...)
	return ids
}
