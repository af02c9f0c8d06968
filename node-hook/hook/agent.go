package hook

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"sentinel.home.arpa/node-hook/internal/announce"
	"sentinel.home.arpa/node-hook/internal/beat"
	"sentinel.home.arpa/node-hook/internal/find"
	"sentinel.home.arpa/node-hook/internal/orders"
	"sentinel.home.arpa/node-hook/internal/peers"
	"sentinel.home.arpa/node-hook/internal/self"
	"sentinel.home.arpa/node-hook/internal/systemd"
	"sentinel.home.arpa/node-hook/internal/tailscaled"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/wire"
)

// peersFile is the name of the book of peers in the state directory.
const peersFile = "peers.json"

// brainPort is where brains listen on the tailnet.
const brainPort = "80"

// maxState bounds systemd's state in a heartbeat, in bytes.
const maxState = 32

// Run is the agent: it beats until ctx ends, which is when systemd stops it. If the
// machine goes down with it, that is announced first.
func (b Build) Run(ctx context.Context, path string) error {
	c, err := b.Load(path)
	if err != nil {
		return err
	}
	return b.RunWith(ctx, c)
}

// RunWith is Run with a configuration that Load has read.
func (b Build) RunWith(ctx context.Context, c Config) error {
	var out io.Writer = os.Stderr
	if b.Log != nil {
		out = b.Log
	}
	log := daemon.Logger(out, c.Log.level(), c.Log.Format)
	slog.SetDefault(log)
	return b.run(ctx, c, systemd.NewDetector(), log)
}

func (b Build) run(ctx context.Context, c Config, machine systemd.Detector, log *slog.Logger) error {
	a, err := newAgent(c, log)
	if err != nil {
		return err
	}
	if b.joins(c) {
		a.network = b.Join(c, log)
		a.client = courier.NewClient(a.split(a.network.Dial))
	}
	defer a.client.Close()
	notify := daemon.NewNotifier(log)
	log.Info("agent started", "name", c.Name, "version", daemon.Version(), "key", a.key.PublicKey())
	notify.Ready() // before the first post: guests of this machine wait for it
	defer notify.Stopping()

	// The parts live on after ctx until the last word is said.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	voice := announce.NewVoice(a.sender().Send, log)
	state := func() string { return "" }
	tasks := []daemon.Task{{Name: "last word", Run: func(inner context.Context) error {
		defer stop()
		select {
		case <-ctx.Done():
			a.lastWord(work, machine, voice)
		case <-inner.Done():
		}
		return nil
	}}}
	if c.Logind {
		watcher := systemd.NewWatcher(machine.Bus, voice.Say, log)
		state = watcher.State
		tasks = append(tasks, daemon.Task{Name: "watch for shutdowns", Run: watcher.Run})
	}
	if a.network != nil {
		tasks = append(tasks, daemon.Task{Name: "tailnet", Run: a.network.Run}, daemon.Task{Name: "control", Run: func(ctx context.Context) error {
			return a.network.Forward(ctx, c.ControlSocket, a.book.Brain)
		}})
	}
	finder := a.finder()
	if finder != nil {
		tasks = append(tasks, daemon.Task{Name: "find brains", Run: finder.Run})
	}
	tasks = append(tasks, daemon.Task{Name: "heartbeats", Run: a.heart(state, finder, a.obeyer(machine), notify.Feed).Run})
	return daemon.Run(work, tasks...)
}

// agent is what both the daemon and the announce command are made of.
type agent struct {
	config Config
	log    *slog.Logger
	key    wire.Key
	self   *self.Self
	book   *peers.Book
	client *courier.Client

	network Network // nil: the host's
}

func newAgent(c Config, log *slog.Logger) (*agent, error) {
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	key, err := wire.LoadKey(c.StateDir)
	if err != nil {
		return nil, err
	}
	boot, err := daemon.BootID(c.BootIDFile)
	if err != nil {
		return nil, err
	}
	return &agent{
		config: c,
		log:    log,
		key:    key,
		self:   self.New(c.Name, c.Site, boot, key, daemon.BootTime),
		book:   peers.Open(filepath.Join(c.StateDir, peersFile), c.brains(), c.pis(), log),
		client: courier.NewClient(nil),
	}, nil
}

func (a *agent) sender() *announce.Sender {
	return &announce.Sender{Seal: a.self.Announcement, Routes: a.book.Receivers, Poster: a.client}
}

// obeyer obeys orders, where the agent may speak for the machine and is not told otherwise.
func (a *agent) obeyer(machine systemd.Detector) *orders.Obeyer {
	o := &orders.Obeyer{KeyOf: a.book.KeyOf, Log: a.log}
	if a.config.Logind && a.config.ObeyOrders {
		o.PowerOff = machine.PowerOff
	}
	return o
}

func (a *agent) heart(state func() string, finder *find.Finder, o *orders.Obeyer, feed func()) *beat.Loop {
	return &beat.Loop{
		Interval: a.config.Interval.Std(),
		Seal: func() (wire.Header, []byte, error) {
			s := state()
			return a.self.Heartbeat(s[:min(len(s), maxState)])
		},
		Receivers: a.book.Receivers,
		Poster:    a.client,
		Answered: func(ctx context.Context, from courier.Receiver, answer *wire.Answer) {
			o.Take(ctx, from, answer) // by the key that was known before
			a.book.Learn(from, answer)
		},
		Failed: func(courier.Receiver) {
			if finder != nil {
				finder.Nudge()
			}
		},
		Feed: feed,
		Log:  a.log,
	}
}

// finder looks for brains, unless the configuration names them.
func (a *agent) finder() *find.Finder {
	switch {
	case len(a.config.Brains) > 0:
		return nil
	case a.network != nil:
		return find.New(a.network.Brains, a.found, a.log)
	}
	return find.New(a.tailscaled, a.found, a.log)
}

// tailscaled asks the host's.
func (a *agent) tailscaled(ctx context.Context) ([]wire.Peer, error) {
	brains, err := tailscaled.NewClient(a.config.TailscaledSocket).Brains(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]wire.Peer, 0, len(brains))
	for _, b := range brains {
		all = append(all, wire.Peer{Name: b.Name, Address: net.JoinHostPort(b.Address.String(), brainPort)})
	}
	return all, nil
}

func (a *agent) found(brains []wire.Peer, err error) {
	if err != nil {
		a.book.Lost()
		return
	}
	a.book.Found(brains)
}

// lastWord announces a shutdown that nothing announced before. Where only the agent is
// stopped, nothing is said (rule A8).
func (a *agent) lastWord(ctx context.Context, machine systemd.Detector, voice *announce.Voice) {
	if !a.config.Logind {
		a.log.Info("agent stopping")
		return
	}
	start := time.Now()
	kind, ok, err := machine.Kind(ctx)
	if !ok {
		a.log.Info("agent stopping; the machine stays up as far as can be told")
		if err != nil {
			a.log.Debug("not everything could be asked about a shutdown", "took", time.Since(start), "err", err)
		}
		return
	}
	a.log.Info("agent stopping with the machine", "kind", kind)
	voice.Say(ctx, kind)
}
