package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tailscale.com/ipn/store/mem"

	"sentinel.home.arpa/cloud/brain"
	"sentinel.home.arpa/node-hook/embedded"
	"sentinel.home.arpa/node-hook/hook"
	"sentinel.home.arpa/pi-proxy/proxy"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/sim/freeport"
	"sentinel.home.arpa/shared/sim/tailnetsim"
	"sentinel.home.arpa/shared/tailnet"
	"sentinel.home.arpa/shared/wire"
)

// patience bounds what a loaded machine may take for what is no promise of the contract.
const patience = 40 * time.Second

// overTailnet is the three programs with their own wiring in one process, each a machine
// of a real tailnet.
type overTailnet struct {
	*testing.T
	tailnet *tailnetsim.Tailnet
	dir     string
	piLAN   string
	brain   *daemonUnderTest
	pi      *daemonUnderTest
	node    *daemonUnderTest
	way     *watchedWay // the node's to the brain
}

// daemonUnderTest is a program that can be started anew on the same state.
type daemonUnderTest struct {
	t    *testing.T
	name string
	log  *sayings
	run  func(ctx context.Context, log io.Writer) error
	stop func()
}

func (d *daemonUnderTest) start() {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx, d.log) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				d.t.Errorf("%s ended with %v", d.name, err)
			}
		case <-time.After(patience):
			d.t.Errorf("%s does not end", d.name)
		}
	})
	d.t.Cleanup(d.stop)
}

// sayings is a log that is written and read at the same time.
type sayings struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *sayings) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}
func (s *sayings) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.text.String() }

// has reports whether some line holds all the parts.
func (s *sayings) has(parts ...string) bool { return s.count(parts...) > 0 }

func (s *sayings) count(parts ...string) int {
	n := 0
	for line := range strings.Lines(s.String()) {
		all := true
		for _, p := range parts {
			all = all && strings.Contains(line, p)
		}
		if all {
			n++
		}
	}
	return n
}

// watchedWay is the agent's place on the tailnet, with an eye on when the brain answers.
type watchedWay struct {
	*embedded.Network
	heard *atomic.Int64 // answers
}

func (w *watchedWay) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := w.Network.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &watchedConn{conn, w.heard}, nil
}

type watchedConn struct {
	net.Conn
	heard *atomic.Int64
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard.Add(1)
	}
	return n, err
}

// newOverTailnet lays out a home; nothing runs yet but the tailnet.
func newOverTailnet(t *testing.T) *overTailnet {
	t.Helper()
	net, err := tailnetsim.Open(tailnetsim.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(net.Close)
	dir, err := os.MkdirTemp("", "overtailnet") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &overTailnet{T: t, tailnet: net, dir: dir, piLAN: freeTCP(t)}
	h.write("brain", fmt.Sprintf(`state_dir: DIR
control_socket: DIR/s
tailnet: {hostname: sentinel, control_url: %q, udp_port: %d}
anchors: [%q, %q]
sites: [{name: home, pi_proxies: [{name: pi, address: %q}]}]
`, net.URL(), freeUDP(t), anchor(t), anchor(t), h.piLAN))
	h.write("pi", fmt.Sprintf(`name: pi
state_dir: DIR
boot_id_file: DIR/boot_id
control_socket: DIR/s
tailnet: {control_url: %q}
lan: {listen: %q}
ups: [{name: ups, nis: %q}]
`, net.URL(), h.piLAN, freeTCP(t)))
	h.write("pve1", fmt.Sprintf(`name: pve1
state_dir: DIR
boot_id_file: DIR/boot_id
control_socket: DIR/s
logind: off
tailnet: {control_url: %q}
`, net.URL()))
	h.programs()
	return h
}

func (h *overTailnet) write(who, text string) {
	h.Helper()
	dir := filepath.Join(h.dir, who)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		h.Fatal(err)
	}
	for name, data := range map[string]string{"config.yaml": strings.ReplaceAll(text, "DIR", dir), "boot_id": bootOf(who) + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			h.Fatal(err)
		}
	}
}

func bootOf(who string) string { return fmt.Sprintf("%08x-1111-4111-8111-111111111111", len(who)) }

func (h *overTailnet) path(who, file string) string { return filepath.Join(h.dir, who, file) }

// programs are wired as their main functions do it.
func (h *overTailnet) programs() {
	h.brain = h.program("brain", func(ctx context.Context, log io.Writer) error {
		cfg, err := brain.LoadConfig(h.path("brain", "config.yaml"))
		if err != nil {
			return err
		}
		b, err := brain.New(ctx, cfg, slog.New(slog.NewTextHandler(log, nil)), nil)
		if err != nil {
			return err
		}
		return b.Run(ctx)
	})
	h.pi = h.program("pi", func(ctx context.Context, log io.Writer) error {
		cfg, err := proxy.LoadConfig(h.path("pi", "config.yaml"), false)
		if err != nil {
			return err
		}
		p, err := proxy.New(cfg, slog.New(slog.NewTextHandler(log, nil)))
		if err != nil {
			return err
		}
		return p.Run(ctx)
	})
	heard := new(atomic.Int64)
	h.way = &watchedWay{heard: heard}
	h.node = h.program("pve1", func(ctx context.Context, log io.Writer) error {
		b := hook.Build{Log: log, Join: func(c hook.Config, log *slog.Logger) hook.Network {
			return &watchedWay{embedded.New(c, log), heard}
		}}
		return b.Run(ctx, h.path("pve1", "config.yaml"))
	})
}

func (h *overTailnet) program(name string, run func(ctx context.Context, log io.Writer) error) *daemonUnderTest {
	return &daemonUnderTest{t: h.T, name: name, log: &sayings{}, run: run}
}

// startAll starts the brain first, as a home has it, and waits until it hears everybody.
func (h *overTailnet) startAll() {
	h.Helper()
	h.brain.start()
	h.await("the brain on the tailnet", func() bool { return h.brain.log.has("tailnet state changed", "state=Running") })
	h.pi.start()
	h.node.start()
	h.await("everybody up", func() bool { return h.up("pve1") && h.up("pi") })
}

func (h *overTailnet) await(what string, ok func() bool) {
	h.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			h.Fatalf("never came: %s\nbrain:\n%s\npi:\n%s\nnode:\n%s", what, h.brain.log, h.pi.log, h.node.log)
		}
	}
}

// seen is what these tests read of the brain's status.
type seen struct {
	Sites []struct {
		Sources []struct {
			Name, Condition string
			Heard           bool
		}
	}
	Waiting []struct{ Name string }
}

// status asks the brain on its control socket.
func (h *overTailnet) status() (seen, bool) {
	var v seen
	code, body := h.control("brain", http.MethodGet, "/api/v1/status")
	return v, code == http.StatusOK && json.Unmarshal(body, &v) == nil && len(v.Sites) == 1
}

func (h *overTailnet) up(name string) bool {
	v, ok := h.status()
	if !ok {
		return false
	}
	for _, s := range v.Sites[0].Sources {
		if s.Name == name {
			return s.Condition == "up" && s.Heard
		}
	}
	return false
}

func (h *overTailnet) waits(name string) bool {
	v, _ := h.status()
	for _, w := range v.Waiting {
		if w.Name == name {
			return true
		}
	}
	return false
}

// control asks a program on its control socket; 0 if it is not there.
func (h *overTailnet) control(who, method, path string) (int, []byte) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", h.path(who, "s"))
		}}}
	req, err := http.NewRequestWithContext(h.Context(), method, "http://control"+path, nil)
	if err != nil {
		h.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, body
}

// guest is another machine of the tailnet, which can say what it likes.
type guest struct {
	*testing.T
	node   *tailnet.Node
	client *courier.Client
	key    wire.Key
	url    string
	seq    int64
}

func (h *overTailnet) joins(name string, tags ...string) *guest {
	h.Helper()
	key, err := wire.NewKey()
	if err != nil {
		h.Fatal(err)
	}
	g := &guest{T: h.T, key: key, node: tailnet.New(tailnet.Config{Hostname: name, Dir: h.TempDir(), ControlURL: h.tailnet.URL(),
		Tags: tags, Store: new(mem.Store), Ephemeral: true})}
	p := h.program(name, func(ctx context.Context, _ io.Writer) error { return g.node.Run(ctx) })
	p.start()
	g.client = courier.NewClient(g.node.Dial)
	h.Cleanup(g.client.Close)
	h.await("the brain among the peers of "+name, func() bool {
		ctx, cancel := context.WithTimeout(h.Context(), patience)
		defer cancel()
		peers, err := g.node.PeersTagged(ctx, "tag:sentinel-brain")
		if err != nil || len(peers) != 1 {
			return false
		}
		g.url = "http://" + net.JoinHostPort(peers[0].Addr.String(), "80")
		return true
	})
	return g
}

// header begins a message under a name, which need not be the guest's own.
func (g *guest) header(name string) wire.Header {
	g.seq += 1000
	return wire.Header{V: wire.Version, Site: "home", Node: name, Boot: bootOf("a guest"), Seq: g.seq}
}

func (g *guest) post(path string, kind wire.Kind, h wire.Header, m wire.Message) error {
	g.Helper()
	data, err := wire.Seal(kind, m, g.key)
	if err != nil {
		g.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(g.Context(), patience)
	defer cancel()
	_, err = g.client.Post(ctx, courier.Receiver{Name: "brain", URL: g.url}, path, h, data)
	return err
}

func (g *guest) beat(name string) error {
	g.Helper()
	h := g.header(name)
	return g.post(courier.PathHeartbeat, wire.KindHeartbeat, h, &wire.Heartbeat{Header: h, State: "running"})
}

func freeTCP(t *testing.T) string {
	t.Helper()
	addr, err := freeport.TCP()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func freeUDP(t *testing.T) int {
	t.Helper()
	port, err := freeport.UDP()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// anchor only has to take a connection.
func anchor(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// loginAddress is where a program's log says that it must be logged in, if it is the nth.
func (s *sayings) loginAddress(n int) string {
	all := regexp.MustCompile(`log this machine in to the tailnet" url=(\S+)`).FindAllStringSubmatch(s.String(), -1)
	if len(all) < n {
		return ""
	}
	return all[n-1][1]
}

// hearSystemd listens where systemd would to what the programs from now on tell it.
func hearSystemd(t *testing.T) *sayings {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	heard, done := &sayings{}, make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			fmt.Fprintf(heard, "%s\n", buf[:n])
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return heard
}
