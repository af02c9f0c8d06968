package hook

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sentinel.home.arpa/node-hook/internal/peers"
	"sentinel.home.arpa/node-hook/internal/self"
	"sentinel.home.arpa/node-hook/internal/systemd"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/doctor"
	"sentinel.home.arpa/shared/wire"
)

// ErrBadNews is that something is wrong, which was printed.
var ErrBadNews = errors.New("something is wrong")

// doctorWithin bounds all that the doctor asks, and answerWithin each brain and Pi.
const (
	doctorWithin = 10 * time.Second
	answerWithin = 4 * time.Second
)

// heardBefore gives a seq lower than that of any heartbeat of this boot: who has heard the agent
// answers one that has it, and changes nothing for it.
const heardBefore = time.Microsecond

// hostnameFile is what the agent's name comes from that has none in its configuration.
const hostnameFile = "/etc/hostname"

var errNoBrain = errors.New("the tailnet shows no machine with tag:sentinel-brain to this one")

// Doctor looks the agent and its machine over and prints what it found. It changes nothing
// here, and nothing at brain and Pis.
func (b Build) Doctor(ctx context.Context, path string, asJSON bool, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, doctorWithin)
	defer cancel()
	found := findings(b.evidence(ctx, path, systemd.NewDetector()))
	text, err := doctor.Text(found, asJSON)
	if err != nil {
		return err
	}
	if _, err := out.Write(text); err != nil {
		return err
	}
	if !doctor.Well(found) {
		return ErrBadNews
	}
	return nil
}

// evidence is what the doctor gathers.
type evidence struct {
	path     string
	absent   bool // there is no file, and need not be
	config   Config
	joins    bool  // this build can be a machine of the tailnet by itself
	wrong    error // with the configuration
	machine  systemd.Machine
	noBus    error
	key      wire.PublicKey
	noKey    error
	changed  string // a file by which the agent would be another one, had it been started since; empty: none
	noBrains error  // tailscaled did not tell of any
	answers  []answered
	synced   bool
	noClock  error
}

// answered is what a brain or Pi said to a heartbeat that is not newer than the agent's last.
type answered struct {
	name  string
	brain bool
	own   bool // it is reached over the agent's own tailnet, where only the agent can ask
	err   error
}

func (b Build) evidence(ctx context.Context, path string, machine systemd.Detector) (e evidence) {
	e.path, e.joins = path, b.Join != nil
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		e.absent = true
	}
	if e.config, e.wrong = b.Load(path); e.wrong != nil {
		return e
	}
	e.synced, e.noClock = daemon.ClockSynced()
	e.machine, e.noBus = machine.Look(ctx)
	if _, e.noKey = os.Stat(filepath.Join(e.config.StateDir, wire.KeyFile)); e.noKey != nil { // LoadKey would make one
		return e
	}
	key, err := wire.LoadKey(e.config.StateDir)
	if e.key, e.noKey = key.PublicKey(), err; err != nil {
		return e
	}
	if e.noBus == nil && e.machine.Agent.Active == "active" {
		if e.changed = changedSince(daemon.Monotonic()-e.machine.Agent.Since, path, hostnameFile); e.changed != "" {
			return e
		}
		e.answers, e.noBrains = b.ask(ctx, e.config, key)
	}
	return e
}

// changedSince is the first file that is younger than the agent. Under another name than the agent's, or
// to a brain that it does not know, a heartbeat would be news, and the silence after it a failure.
func changedSince(age time.Duration, files ...string) string {
	for _, f := range files {
		if info, err := os.Stat(f); err == nil && time.Since(info.ModTime()) < age {
			return f
		}
	}
	return ""
}

// ask has all brains and Pis that the agent knows answer. It is for an agent that runs: of one
// that does not, a heartbeat would be news.
func (b Build) ask(ctx context.Context, c Config, key wire.Key) (all []answered, noBrains error) {
	boot, err := daemon.BootID(c.BootIDFile)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	a := &agent{config: c, log: log, client: courier.NewClient(nil), book: peers.Peek(filepath.Join(c.StateDir, peersFile), c.brains(), c.pis(), log),
		self: self.New(c.Name, c.Site, boot, key, func() time.Duration { return heardBefore })}
	defer a.client.Close()
	if len(c.Brains) == 0 && !b.joins(c) {
		brains, err := a.tailscaled(ctx)
		a.found(brains, err)
		if noBrains = err; err == nil && len(brains) == 0 {
			noBrains = errNoBrain
		}
	}
	h, envelope, err := a.self.Heartbeat("")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	to := a.book.Receivers()
	all = make([]answered, len(to))
	var wg sync.WaitGroup
	for i, r := range to {
		at := strings.TrimPrefix(r.URL, "http://")
		all[i] = answered{name: r.Name, brain: a.book.Brain(at)}
		if all[i].own = b.joins(c) && a.afar(at); all[i].own {
			continue
		}
		wg.Go(func() { _, all[i].err = a.client.Post(ctx, r, courier.PathHeartbeat, h, envelope) })
	}
	wg.Wait()
	return all, noBrains
}
