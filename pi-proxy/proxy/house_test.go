package proxy_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sentinel.home.arpa/pi-proxy/proxy"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/freeport"
	"sentinel.home.arpa/shared/sim/pvesim"
	"sentinel.home.arpa/shared/sim/upssim"
	"sentinel.home.arpa/shared/wire"
)

// TestMain lets many tests wait at the same time, which is most of what they do.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	go machine.run()
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("sentinel.home.arpa/pi-proxy/proxy_test.(*pulse).run"))
}

const (
	token  = "sentinel@pve!power"
	secret = "sim-secret-77aa"
)

// house is a Pi with a brain and a UPS.
type house struct {
	t     *testing.T
	brain *brain
	ups   *upssim.UPS
	cfg   proxy.Config
	lan   courier.Receiver // as nodes know the Pi
	log   *log
	stop  func() // the Pi's process; set while it runs
}

// log keeps what a Pi logged, for tests that fail.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.text.Write(p) }
func (l *log) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.text.String() }

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := freeport.TCP()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// newHouse makes all but starts no Pi.
func newHouse(t *testing.T) *house {
	t.Helper()
	dir := t.TempDir()
	h := &house{t: t, brain: newBrain(t), ups: upssim.New(upssim.Config{}), log: &log{}}
	h.cfg = proxy.DefaultConfig()
	h.cfg.Name, h.cfg.Site, h.cfg.StateDir = "pi", "home", filepath.Join(dir, "state")
	h.cfg.LAN.Listen = freeAddr(t)
	h.cfg.Anchors = []string{"127.0.0.1:1", "127.0.0.1:2"} // nobody answers there
	h.cfg.ControlSocket = filepath.Join(dir, "control.sock")
	h.cfg.Brains = []proxy.Brain{{Address: h.brain.addr, Key: h.brain.key.PublicKey()}}
	h.cfg.UPS = []proxy.UPS{{Name: "rack", NIS: serveUPS(t, h.ups), Poll: config.Duration(time.Second)}}
	if err := os.MkdirAll(h.cfg.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := wire.LoadKey(h.cfg.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	h.brain.piKey = key.PublicKey()
	h.lan = courier.Receiver{Name: "pi", URL: "http://" + h.cfg.LAN.Listen, Key: key.PublicKey()}
	t.Cleanup(func() {
		if h.stop != nil {
			h.stop()
		}
		if t.Failed() {
			t.Logf("the Pi's log:\n%s", h.log)
		}
	})
	return h
}

func serveUPS(t *testing.T, u *upssim.UPS) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- u.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// start runs the Pi's process, which h.stop ends.
func (h *house) start() { h.t.Helper(); h.startWith(func(*proxy.Proxy) error { return nil }) }

// startWith changes the Pi before it runs.
func (h *house) startWith(change func(p *proxy.Proxy) error) {
	h.t.Helper()
	p, err := proxy.New(h.cfg, slog.New(slog.NewTextHandler(h.log, nil)))
	if err == nil {
		err = change(p)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				h.t.Errorf("the Pi ended with %v", err)
			}
		case <-time.After(15 * time.Second):
			h.t.Error("the Pi does not end")
		}
	})
}

// restart is kill and start: nothing but the disk is kept.
func (h *house) restart() { h.t.Helper(); h.stop(); h.start() }

// node is a machine of the house with its agent.
type node struct {
	h      *house
	name   string
	key    wire.Key
	seq    wire.Counter
	client *courier.Client
}

func (h *house) node(name string) *node {
	h.t.Helper()
	key, err := wire.NewKey()
	if err != nil {
		h.t.Fatal(err)
	}
	n := &node{h: h, name: name, key: key, client: courier.NewClient(nil)}
	h.t.Cleanup(n.client.Close)
	return n
}

func (n *node) header() wire.Header {
	return wire.Header{V: wire.Version, Node: n.name, Boot: "9a3f0c12-0000-4000-8000-00000000abcd", Seq: n.seq.Next(daemon.BootTime())}
}

func (n *node) post(path string, kind wire.Kind, h wire.Header, m any) (*wire.Answer, error) {
	data, err := wire.Seal(kind, m, n.key)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return n.client.Post(ctx, n.h.lan, path, h, data)
}

func (n *node) beat() (*wire.Answer, error) {
	h := n.header()
	return n.post(courier.PathHeartbeat, wire.KindHeartbeat, h, wire.Heartbeat{Header: h, State: "running"})
}

func (n *node) announce(id string) {
	n.h.t.Helper()
	h := n.header()
	if _, err := n.post(courier.PathAnnounce, wire.KindAnnouncement, h, wire.Announcement{Header: h, ID: id, Kind: wire.Poweroff}); err != nil {
		n.h.t.Fatalf("%s was not acknowledged: %v", id, err)
	}
}

// rack is a Proxmox cluster and what its nodes were told.
type rack struct {
	*pvesim.Cluster
	t    *testing.T
	mu   sync.Mutex
	told []pvesim.Exchange // commands, in their order
	any  chan struct{}     // has a value after a command
}

func newRack(t *testing.T, nodes ...pvesim.NodeConfig) *rack {
	t.Helper()
	r := &rack{t: t, any: make(chan struct{}, 1)}
	c, err := pvesim.New(pvesim.Config{TokenID: token, Secret: secret, ShutdownDelay: time.Millisecond, Nodes: nodes,
		Edge: func(x pvesim.Exchange) {
			if x.Method != "POST" {
				return
			}
			r.mu.Lock()
			r.told = append(r.told, x)
			r.mu.Unlock()
			select {
			case r.any <- struct{}{}:
			default:
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	r.Cluster = c
	t.Cleanup(func() { _ = c.Close() })
	return r
}

// commands are "node path" of what was told.
func (r *rack) commands() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.told {
		all = append(all, x.Node+" "+strings.TrimPrefix(x.Path, "/api2/json"))
	}
	return all
}

// awaitCommand waits for a command and says when it came.
func (r *rack) awaitCommand(want string, within time.Duration) time.Time {
	r.t.Helper()
	deadline := time.After(within)
	for {
		r.mu.Lock()
		for _, x := range r.told {
			if x.Node+" "+strings.TrimPrefix(x.Path, "/api2/json") == want {
				r.mu.Unlock()
				return x.At
			}
		}
		r.mu.Unlock()
		select {
		case <-r.any:
		case <-deadline:
			r.t.Fatalf("%q was not told within %v; told: %q", want, within, r.commands())
		}
	}
}

// bundle is an armed one for the rack: one stage for each of the given.
func (h *house) bundle(r *rack, stages ...shutdown.Stage) wire.Bundle {
	h.t.Helper()
	file := filepath.Join(h.t.TempDir(), "proxmox-secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	w := wire.Bundle{Site: "home", Armed: true, Policy: power.DefaultPolicy(), TokenID: token, TokenSecret: file,
		Plan: shutdown.Plan{Site: "home", Stages: stages}, Keys: map[string]wire.PublicKey{},
		Pis: []wire.Peer{{Name: "pi", Address: h.cfg.LAN.Listen, Key: h.lan.Key}}}
	w.Policy.RideThrough = time.Second
	for _, s := range stages {
		for _, n := range s.Nodes {
			w.Plan.Nodes = append(w.Plan.Nodes, shutdown.Node{Name: n, API: r.URL(n), Fingerprint: r.Fingerprint(n)})
		}
	}
	return w
}

// alive beats for a node as its agent does, until the node is down or the test ends.
func (n *node) alive(r *rack) {
	ctx, cancel := context.WithCancel(n.h.t.Context())
	var wg sync.WaitGroup
	r.OnDown(func(name string) {
		if name == n.name {
			cancel()
		}
	})
	wg.Go(func() {
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for {
			_, _ = n.beat() // the Pi may be restarting
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	n.h.t.Cleanup(func() { cancel(); wg.Wait() })
}

func nodeShutdown(name string) string { return fmt.Sprintf("%s /nodes/%s/status", name, name) }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(60 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// overSocket speaks HTTP to a Unix socket.
func overSocket(path string) *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}}}
}
