package brain

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/hooksim"
	"sentinel.home.arpa/shared/sim/twiliosim"
	"sentinel.home.arpa/shared/wire"
)

const (
	brainAddr = "127.0.0.1:8080"
	wayOut    = "100.64.0.1:80" // the brain as the house reaches it
	relayAddr = "192.168.77.2:7777"
)

var anchors = []string{"1.1.1.1:443", "9.9.9.9:443"}

// home is a brain in a bubble with everything around it: a house with a Pi, a UPS and
// nodes that beat each second, a phone, and a network in memory.
type home struct {
	*testing.T
	x     *exchange
	net   *memnet
	pi    *source
	ups   *unit
	nodes map[string]*source

	cfg   Config
	begun time.Time
	skew  atomic.Int64 // by which the brain's clock has jumped, ns
	wrong atomic.Int64 // by which its wall clock is wrong, ns
	slow  atomic.Int64 // for which the loop is held up once, ns
	each  atomic.Int64 // how often sources beat, ns

	startsSlowly time.Duration // for which the first turn of the next brain is held up

	hooks   *hooksim.Receiver // of notices by ntfy and webhooks
	outside http.RoundTripper // who watches the brain itself

	gone func(ctx context.Context) bool // whether the tailnet is out of reach; nil: there is none

	funnel func(ctx context.Context, port uint16) (net.Listener, string, error) // Tailscale's

	file string // cloud.yaml, where a story reloads one
	log  record

	heeds atomic.Bool // the Pi says that it knows of a stop
	lacks atomic.Bool // and that it lacks the token's secret

	brain   *Brain
	process *process // that can be stopped; nil: it cannot
	stop    func() error
	away    []func() // what must end before the bubble may
}

// in runs a story in a bubble. change may change the brain's configuration.
func in(t *testing.T, change func(h *home), story func(h *home)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &home{T: t, x: newExchange(t, twiliosim.Timing{}), net: newMemnet(), nodes: map[string]*source{}, begun: time.Now()}
		defer h.end() // a story may give up
		h.net.alias[wayOut] = brainAddr
		h.each.Store(int64(time.Second))
		h.away = append(h.away, h.x.Close)
		h.pi = h.source("pi")
		h.ups = &unit{name: "ups", charge: 0.96, runtime: 31 * time.Minute, since: time.Now(), changed: make(chan struct{}, 1)}
		for _, n := range []string{"pve1", "pve2", "pve3"} {
			h.nodes[n] = h.source(n)
		}
		h.configure()
		if change != nil {
			change(h)
		}
		for _, a := range anchors {
			h.anchor(a)
		}
		h.start()
		h.pi.life.Go(h.pi.live)
		h.pi.life.Go(h.report)
		for _, n := range h.nodes {
			n.life.Go(n.live)
		}
		rest(10*time.Second + 300*time.Millisecond) // between heartbeats and reports
		if calls := h.x.Calls(); len(calls) > 0 {
			t.Errorf("calls before anything happened: %+v", calls)
		}
		story(h)
	})
}

func (h *home) end() {
	for _, s := range h.sources() {
		s.end()
	}
	if h.stop != nil {
		if err := h.stop(); err != nil {
			h.Error(err)
		}
	}
	for i := len(h.away) - 1; i >= 0; i-- {
		h.away[i]()
	}
}

func (h *home) sources() []*source {
	all := []*source{h.pi}
	for _, n := range h.nodes {
		all = append(all, n)
	}
	return all
}

// configure makes the configuration of the house, without a plan.
func (h *home) configure() {
	dir := h.TempDir()
	secret := func(name string, text string) config.Secret {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			h.Fatal(err)
		}
		s, err := config.NewSecret(path)
		if err != nil {
			h.Fatal(err)
		}
		return s
	}
	bootID := filepath.Join(dir, "boot_id")
	if err := os.WriteFile(bootID, []byte("99999999-9999-4999-8999-999999999999\n"), 0o600); err != nil {
		h.Fatal(err)
	}
	h.cfg = DefaultConfig()
	h.cfg.Listen, h.cfg.StateDir, h.cfg.BootIDFile, h.cfg.Anchors = brainAddr, filepath.Join(dir, "state"), bootID, anchors
	h.cfg.ControlSocket = "/dev/null/none" // a socket would keep the bubble's time from passing
	h.cfg.Sites = []Site{{Name: "home", TimeZone: "UTC", Pis: []Peer{{Name: "pi", Relay: relayAddr, Key: h.pi.key.PublicKey()}}}}
	for _, n := range []string{"pve1", "pve2", "pve3"} {
		h.cfg.Sites[0].Nodes = append(h.cfg.Sites[0].Nodes, Peer{Name: n, Key: h.nodes[n].key.PublicKey()})
	}
	h.hooks = &hooksim.Receiver{}
	h.cfg.Contacts = []Person{{Name: "Alex", Phone: alex}, {Name: "Sam", Phone: sam}}
	h.cfg.Twilio = &Twilio{AccountSID: account, APIKeySID: apiKey, APIKeySecret: secret("twilio", apiSecret), From: caller}
	h.cfg.Proxmox = &Proxmox{TokenID: pveToken, TokenSecret: secret("proxmox", pveSecret)}
}

func (h *home) anchor(addr string) {
	ln, err := h.net.listen("tcp", addr)
	if err != nil {
		h.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	})
	h.away = append(h.away, func() { _ = ln.Close(); done.Wait() })
}

// sinceBoot is the brain's CLOCK_BOOTTIME.
func (h *home) sinceBoot() time.Duration {
	return time.Hour + time.Since(h.begun) + time.Duration(h.skew.Load())
}

// wall is the brain's wall clock. Only its loop looks at it, so that it can be held up here.
func (h *home) wall() time.Time {
	time.Sleep(time.Duration(h.slow.Swap(0)))
	return time.Now().Add(time.Duration(h.wrong.Load()))
}

// start starts a brain on the state directory, the first or the next.
func (h *home) start() {
	h.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m := machine{sinceBoot: h.sinceBoot, wall: h.wall, listen: h.net.listen, dial: h.net.dial, phone: h.x, hooks: handled{h.hooks}, outside: h.outside}
	if h.process != nil {
		m = h.process.on(m)
	}
	b, err := newBrain(ctx, h.cfg, slog.New(slog.NewTextHandler(&h.log, nil)), m)
	if err != nil {
		h.Fatal(err)
	}
	b.uplink.Gone, b.funnel = h.gone, h.funnel
	h.slow.Store(int64(h.startsSlowly))
	b.reload = NewReload(h.file, new(slog.LevelVar))
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	h.brain, h.stop = b, func() error { cancel(); return <-ended }
	synctest.Wait() // it listens
}

// crash ends the brain and starts another one, after a while, on the disk as it was at
// this instant: what the first still wrote is lost, as with kill -9.
func (h *home) crash(after time.Duration) {
	h.Helper()
	left := filepath.Join(h.TempDir(), "state")
	if err := os.CopyFS(left, os.DirFS(h.cfg.StateDir)); err != nil {
		h.Fatal(err)
	}
	err := h.stop()
	h.stop = nil
	if err != nil {
		h.Error(err)
	}
	h.cfg.StateDir = left
	rest(after)
	h.start()
}

// pause lets time pass for everybody at once, and nothing happen meanwhile: to the brain
// that is what it is to have stood still.
func (h *home) pause(d time.Duration) {
	for _, s := range h.sources() {
		s.mu.Lock()
		s.begun = s.begun.Add(-d)
		s.mu.Unlock()
	}
	h.ups.mu.Lock()
	h.ups.since = h.ups.since.Add(-d)
	h.ups.mu.Unlock()
	h.skew.Add(int64(d))
}

// reboot is a crash of the brain's machine.
func (h *home) reboot(after time.Duration) {
	h.Helper()
	id := fmt.Sprintf("99999999-9999-4999-8999-%012d\n", time.Since(h.begun).Milliseconds())
	if err := os.WriteFile(h.cfg.BootIDFile, []byte(id), 0o600); err != nil {
		h.Fatal(err)
	}
	h.skew.Add(-int64(h.sinceBoot() - 9*time.Second))
	h.crash(after)
}

// source is a node or the Pi: it beats each second, while it is on.
type source struct {
	h      *home
	name   string
	key    wire.Key
	client *courier.Client
	life   sync.WaitGroup
	gone   chan struct{}

	mu    sync.Mutex
	on    bool
	state string
	boot  int
	begun time.Time // of the boot
	seq   wire.Counter
	last  time.Time    // when its last heartbeat was answered
	heard *wire.Answer // the last answer
}

func (h *home) source(name string) *source {
	key, err := wire.NewKey()
	if err != nil {
		h.Fatal(err)
	}
	return &source{h: h, name: name, key: key, client: courier.NewClient(h.net.dial), gone: make(chan struct{}), on: true, state: "running", begun: time.Now()}
}

func (s *source) end() {
	close(s.gone)
	s.life.Wait()
	s.client.Close()
}

func (s *source) header() wire.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return wire.Header{V: wire.Version, Node: s.name, Boot: fmt.Sprintf("%08d-0000-4000-8000-000000000000", s.boot), Seq: s.seq.Next(time.Since(s.begun) + time.Second)}
}

// post says something to the brain, and returns its answer.
func (s *source) post(path string, kind wire.Kind, h wire.Header, m any) (*wire.Answer, error) {
	data, err := wire.Seal(kind, m, s.key)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return s.client.Post(ctx, courier.Receiver{Name: "brain", URL: "http://" + wayOut}, path, h, data)
}

func (s *source) live() {
	for {
		if s.isOn() {
			s.beat()
		}
		select {
		case <-time.After(time.Duration(s.h.each.Load())):
		case <-s.gone:
			return
		}
	}
}

func (s *source) isOn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.on
}

func (s *source) beat() {
	m := wire.Heartbeat{Header: s.header(), State: s.said()}
	if s == s.h.pi {
		m.Pi = &wire.PiStatus{}
		if s.h.lacks.Load() {
			m.Pi.Lacks = []string{"proxmox-secret"}
		}
		if a := s.answer(); a != nil && a.Mandate != nil {
			m.Pi.Bundle = a.Mandate.Bundle
			if a.Mandate.Run == shutdown.Stopped && s.h.heeds.Load() {
				m.Pi.Heeds = a.Mandate.Epoch
			}
		}
	}
	a, err := s.post(courier.PathHeartbeat, wire.KindHeartbeat, m.Header, m)
	if err != nil {
		return // it beats again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.heard = time.Now(), a
}

func (s *source) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *source) answer() *wire.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

func (s *source) lastWord() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// kill takes the power away.
func (s *source) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = false
}

// wake boots it.
func (s *source) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on, s.state, s.begun, s.seq = true, "running", time.Now(), wire.Counter{}
	s.boot++
}

// announce says that it goes down, and goes.
func (s *source) announce(kind wire.ShutdownKind) {
	m := wire.Announcement{Header: s.header(), ID: "id", Kind: kind}
	if _, err := s.post(courier.PathAnnounce, wire.KindAnnouncement, m.Header, m); err != nil {
		s.h.Errorf("%s announced its %s: %v", s.name, kind, err)
	}
}

// unit is the UPS.
type unit struct {
	mu      sync.Mutex
	name    string
	battery bool
	since   time.Time
	charge  float64
	runtime time.Duration
	changed chan struct{}
}

func (u *unit) set(battery bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.battery, u.since = battery, time.Now()
	u.changed <- struct{}{}
}

func (u *unit) reading() power.Reading {
	u.mu.Lock()
	defer u.mu.Unlock()
	left := power.InSeconds(u.runtime)
	charge := u.charge
	r := power.Reading{Status: power.Status{Charge: &charge, Runtime: &left}, Supply: power.Mains, For: power.InSeconds(time.Since(u.since))}
	if u.battery {
		r.Supply = power.Battery
	}
	return r
}

// report is the Pi's work with the UPS: each 5 s, each second on battery, and at once.
func (h *home) report() {
	for {
		r := h.ups.reading()
		if h.pi.isOn() {
			m := wire.UPSReport{Header: h.pi.header(), UPS: h.ups.name, Reading: r}
			_, _ = h.pi.post(courier.PathUPS, wire.KindUPS, m.Header, m) // it reports again
		}
		next := 5 * time.Second
		if r.OnBattery() {
			next = time.Second
		}
		select {
		case <-time.After(next):
		case <-h.ups.changed:
		case <-h.pi.gone:
			return
		}
	}
}

// slowly lets sources beat less often, where a story is long and their beats are not
// what it is about.
func (h *home) slowly() { h.each.Store(int64(4 * time.Second)) }

// offline takes the house's internet away; online gives it back.
func (h *home) offline() { h.net.cut(wayOut) }
func (h *home) online()  { h.net.mend(wayOut) }

// request asks the brain over HTTP.
func (h *home) request(method, path string, header http.Header, body []byte) (int, string) {
	h.Helper()
	transport := &http.Transport{DialContext: h.net.dial, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(h.Context(), method, "http://"+brainAddr+path, bytes.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		h.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// view is what the page shows.
func (h *home) view() web.View {
	h.Helper()
	code, text := h.request(http.MethodGet, "/api/v1/status", nil, nil)
	var v web.View
	if err := json.Unmarshal([]byte(text), &v); err != nil || code != http.StatusOK {
		h.Fatalf("status answered %d %s: %v", code, text, err)
	}
	return v
}

// verdict is the page's, asked of the brain itself: its network may be gone.
func (h *home) verdict() string { return h.brain.page().Verdict }

func (h *home) shows(name string) web.Source {
	h.Helper()
	for _, s := range h.view().Sites[0].Sources {
		if s.Name == name {
			return s
		}
	}
	h.Fatalf("the page does not show %s", name)
	return web.Source{}
}

// told reports whether the timeline has an entry that contains a text, and when it was.
func (h *home) told(text string) (time.Time, bool) {
	h.Helper()
	for _, e := range h.view().Timeline {
		if strings.Contains(e.Text, text) {
			return e.At, true
		}
	}
	return time.Time{}, false
}

func (h *home) mustTell(text string) time.Time {
	h.Helper()
	at, ok := h.told(text)
	if !ok {
		h.Errorf("the timeline does not say %q:\n%s", text, h.timeline())
	}
	return at
}

func (h *home) timeline() string {
	var b strings.Builder
	for _, e := range h.view().Timeline {
		fmt.Fprintf(&b, "%s %s\n", e.At.Format("15:04:05.0"), e.Text)
	}
	return b.String()
}

// calls must be so many by now.
func (h *home) calls(n int) []twiliosim.Call {
	h.Helper()
	calls := h.x.Calls()
	if len(calls) != n {
		h.Fatalf("%d calls, not %d: %+v\n%s", len(calls), n, calls, h.timeline())
	}
	return calls
}

// lateness is how long after it was due something happened; early or over 0.1 s is wrong.
// onTime allows for what a message's seq, which counts whole microseconds, makes of its lag.
func (h *home) onTime(what string, at, due time.Time) {
	h.Helper()
	if late := at.Sub(due); late < -time.Millisecond || late > 100*time.Millisecond {
		h.Errorf("%s was %s late", what, late)
	}
}

func (h *home) press(path string) {
	h.Helper()
	if code, text := h.request(http.MethodPost, path, nil, nil); code != http.StatusNoContent {
		h.Errorf("%s answered %d %s", path, code, text)
	}
}
