package home

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"sentinel.home.arpa/deploy/internal/forge"
	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/link"
	"sentinel.home.arpa/shared/sim/logindsim"
	"sentinel.home.arpa/shared/sim/pvesim"
	"sentinel.home.arpa/shared/sim/twiliosim"
)

// Options are how the lab differs from the usual.
type Options struct {
	Page string // address of the brain's page
	// NIS, PVE and Twilio put somebody else's simulator in the place of ours.
	NIS, PVE, Twilio string

	TwilioAccount, TwilioKey, TwilioSecret string
	ProxmoxToken, ProxmoxSecret            string

	RebootTakes time.Duration // until a rebooted node is back
	Speak       bool          // aloud, by espeak-ng where there is one
	Log         io.Writer     // what the programs say, whole

	// Tailnet has the programs meet on a tailnet, each a machine of its own, in place of
	// addresses on loopback.
	Tailnet bool

	// Programs is a directory that Build has filled; empty: the lab builds its own.
	Programs string
	// Gated lets Kill work at what passes towards Proxmox and the phone company.
	Gated bool

	// Nodes are the cluster's, the first of which goes down last, with the Guests spread over
	// them. Usually those of the package's Nodes, and nine.
	Nodes  []string
	Guests int
	// Guests' and each node stage's deadline in the plan; usually 3 min and 90 s.
	GuestsWithin, NodesWithin time.Duration
	// Hosts are Linux hosts beside the cluster, each with a logind of its own; the plan takes
	// them down first.
	Hosts []string
	// Direct is the brain's way to Proxmox that needs no Pi.
	Direct bool
	// Revocable gives the brain a token's secret of its own, for Revoke.
	Revocable bool

	// Keypad has calls ask for keys, and UsualCalls holds them to as many as a home has.
	Keypad, UsualCalls bool

	// UPSes are the home's, usually one, in the order in which their Pis act.
	UPSes []UPS
	// AnyUPS are nodes that go down when one of their UPSes is out, others when all are.
	AnyUPS []string
	// PlanOn is what begins the plan beside the power, and InternetAfter after how long without
	// internet, if that is among it; 0 is as usual.
	PlanOn        []string
	InternetAfter time.Duration
}

// DefaultOptions are the usual.
func DefaultOptions() Options {
	return Options{Page: "127.0.0.1:8080", TwilioAccount: accountSID, TwilioKey: keySID, TwilioSecret: "labsecret0labsecret0",
		ProxmoxToken: tokenID, ProxmoxSecret: "00000000-0000-0000-0000-000000000000", RebootTakes: 30 * time.Second, Log: io.Discard,
		Nodes: Nodes(), Guests: 9, GuestsWithin: 3 * time.Minute, NodesWithin: 90 * time.Second, UPSes: UPSes(1)}
}

// Home is the lab.
type Home struct {
	opts Options
	rec  *edge.Recorder
	say  func(who, what string)

	dir       string
	page      string
	twilioURL string
	ntfy      string // address of where notices arrive
	keys      string // and of where the brain takes keys; empty: it does not
	pve       map[string]machine
	links     map[string]*link.Link // by who talks to the brain; relayOf a Pi: the brain to it
	anchors   [2]*link.Link
	wayOut    wayOut   // the Pi's
	overlay   *overlay // nil without a tailnet

	supplies []*supply
	cluster  *pvesim.Cluster
	phone    *twiliosim.Server

	forge *forge.Forge
	brain *process
	nodes map[string]*process
	hosts map[string]*logindsim.Machine

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	gates  gates
}

// Open builds the programs and starts everything. say is told what happens, for people.
func Open(ctx context.Context, opts Options, rec *edge.Recorder, say func(who, what string)) (*Home, error) {
	h := &Home{opts: opts, rec: rec, say: say, links: map[string]*link.Link{}, nodes: map[string]*process{}, forge: forge.New()}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if err := h.open(ctx); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (h *Home) open(ctx context.Context) error {
	var err error
	if h.dir, err = os.MkdirTemp("", fmt.Sprintf("sentinel-lab-%d-", os.Getpid())); err != nil {
		return err
	}
	if err := h.build(ctx); err != nil {
		return err
	}
	if err := h.startSims(); err != nil {
		return err
	}
	if err := h.lay(); err != nil {
		return err
	}
	k, err := h.makeKeys()
	if err != nil {
		return err
	}
	configs := map[string]string{"brain": h.brainConfig(k)}
	for _, s := range h.supplies {
		configs[s.Pi] = h.piConfig(k, s)
	}
	for _, n := range h.agents() {
		configs[n] = h.nodeConfig(k, n)
	}
	for who, text := range configs {
		if err := os.WriteFile(h.configOf(who), []byte(text), 0o600); err != nil {
			return err
		}
		if err := h.newBoot(who); err != nil {
			return err
		}
	}
	if err := h.writeSecrets(); err != nil {
		return err
	}
	return h.startPrograms(ctx)
}

// build compiles the three programs from the module that the lab is run in.
func (h *Home) build(ctx context.Context) error {
	if h.opts.Programs != "" && !h.opts.Tailnet {
		return nil
	}
	h.opts.Programs = h.dir
	if err := Build(ctx, h.dir); err != nil || !h.opts.Tailnet {
		return err
	}
	return h.buildTailnet(ctx)
}

// Verbs are the commands that a verb follows: for the brain, and for the first Pi.
func (h *Home) Verbs() (brain, pi string) {
	first := h.supplies[0].Pi
	return h.bin("cloud") + " --config " + h.configOf("brain") + " --socket " + h.brainSocket(),
		h.bin("pi-proxy") + " --config " + h.configOf(first) + " --socket " + h.socketOf(first)
}

func (h *Home) bin(program string) string  { return binary(h.opts.Programs, program) }
func (h *Home) configOf(who string) string { return filepath.Join(h.dirOf(who), "config.yaml") }
func (h *Home) env() []string {
	env := append(os.Environ(), "CREDENTIALS_DIRECTORY="+h.dirOf("credentials"))
	if h.opts.Tailnet { // no log leaves this machine, and every path can be cut
		env = append(env, "TS_NO_LOGS_NO_SUPPORT=true", "TS_DEBUG_ALWAYS_USE_DERP=true")
	}
	return env
}

func (h *Home) startSims() error {
	if err := h.startUPSes(h.ctx); err != nil {
		return fmt.Errorf("start the UPS: %w", err)
	}
	if err := h.startProxmox(); err != nil {
		return fmt.Errorf("start Proxmox: %w", err)
	}
	if err := h.startHosts(); err != nil {
		return fmt.Errorf("start the hosts: %w", err)
	}
	if err := h.startNtfy(); err != nil {
		return fmt.Errorf("start ntfy: %w", err)
	}
	if err := h.startTwilio(h.ctx); err != nil {
		return fmt.Errorf("start the phone: %w", err)
	}
	return nil
}

// lay chooses the addresses and lays the network.
func (h *Home) lay() error {
	var err error
	if h.page, err = freeAddr(h.opts.Page); err != nil {
		return err
	}
	if h.opts.Keypad {
		if h.keys, err = freeAddr(anyAddr); err != nil {
			return err
		}
	}
	for _, s := range h.supplies {
		if s.lan, err = freeAddr(anyAddr); err != nil {
			return err
		}
	}
	if h.opts.Tailnet {
		err = h.layTailnet()
	} else {
		err = h.layLoopback()
	}
	if err != nil {
		return err
	}
	if err := h.wayOut.open(); err != nil {
		return err
	}
	for i := range h.anchors { // they only have to answer a connection
		if h.anchors[i], err = link.Open("127.0.0.1:1"); err != nil {
			return err
		}
	}
	return nil
}

// layLoopback lays each machine's way to the brain, and the brain's to the Pis.
func (h *Home) layLoopback() error {
	var err error
	for _, who := range append(h.agents(), h.pis()...) {
		if h.links[who], err = link.Open(h.page); err != nil {
			return err
		}
	}
	for _, s := range h.supplies {
		if h.links[relayOf(s.Pi)], err = link.Open(s.lan); err != nil {
			return err
		}
	}
	return nil
}

// freeAddr is the wished address if it is free, else a free port beside it.
func freeAddr(wish string) (string, error) {
	ln, err := listen(wish)
	if errors.Is(err, syscall.EADDRINUSE) {
		ln, err = listen(anyAddr)
	}
	if err != nil {
		return "", err
	}
	addr := ln.Addr().String()
	return addr, ln.Close()
}

func (h *Home) startPrograms(ctx context.Context) error {
	h.brain = h.program("brain", "cloud", h.brainSaid)
	for _, s := range h.supplies {
		s.pi = h.program(s.Pi, "pi-proxy", func(l logLine) { h.piSaid(s, l) })
	}
	for _, n := range h.agents() {
		h.nodes[n] = h.program(n, "node-hook", func(logLine) {})
	}
	for _, p := range h.programs() {
		if err := os.MkdirAll(h.dirOf(p.name), 0o700); err != nil {
			return err
		}
		if err := p.start(); err != nil {
			return err
		}
		if p == h.brain && h.overlay != nil {
			if err := h.awaitBrain(ctx); err != nil {
				return err
			}
		}
	}
	return h.ready(ctx)
}

func (h *Home) program(name, program string, said func(logLine)) *process {
	return &process{name: name, path: h.bin(program), args: []string{"run", "--config", h.configOf(name)}, env: append(append(h.env(), h.bus(name)...), "CREDENTIALS_DIRECTORY="+h.credentialsOf(name)),
		log: said, raw: h.opts.Log, forge: h.forge}
}

func (h *Home) brainSaid(l logLine) {
	switch {
	case l.Msg == "timeline":
		h.say("brain", l.Text)
	case l.Level == "ERROR":
		h.say("brain", l.Msg+": "+l.Err)
	}
}

func (h *Home) piSaid(s *supply, l logLine) {
	switch {
	case l.Msg == "bundle stored" && l.Armed:
		s.once.Do(func() { close(s.armed) })
	case l.Msg == "shutting the site down":
		h.say(s.Pi, fmt.Sprintf("shuts the site down by itself, because %v", l.raw["because"]))
	case l.Msg == "run" && l.raw["target"] != "":
		h.say(s.Pi, fmt.Sprintf("%v: %s", l.raw["target"], l.Event))
	case l.Level == "ERROR":
		h.say(s.Pi, l.Msg+": "+l.Err)
	}
}

// Close ends everything and removes what the lab wrote.
func (h *Home) Close() error {
	h.cancel()
	for _, p := range h.programs() {
		if p != nil {
			p.end(syscall.SIGTERM)
		}
	}
	h.stopHosts()
	var err error
	if h.cluster != nil {
		err = h.cluster.Close()
	}
	if h.phone != nil {
		h.phone.Close()
	}
	for _, l := range h.links {
		if l != nil {
			l.Close()
		}
	}
	for _, l := range h.anchors {
		if l != nil {
			l.Close()
		}
	}
	err = errors.Join(err, h.wayOut.Cut(true))
	if h.overlay != nil {
		h.overlay.close()
	}
	h.wg.Wait()
	h.forge.Close()
	return errors.Join(err, os.RemoveAll(h.dir))
}
