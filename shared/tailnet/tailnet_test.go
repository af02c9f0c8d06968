package tailnet

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"tailscale.com/ipn/store/mem"
	"tailscale.com/tailcfg"

	"sentinel.home.arpa/shared/sim/tailnetsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, tailnetsim.Leftovers()...) }

// run starts a node and stops it at the test's end, or when the returned function is called.
func run(t *testing.T, cfg Config) (*Node, func()) {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir, cfg.Store, cfg.Ephemeral = t.TempDir(), new(mem.Store), true
	}
	n := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx); close(ended) }()
	stop := func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("%s ended with %v", cfg.Hostname, err)
			}
		case <-time.After(60 * time.Second):
			t.Errorf("%s did not end", cfg.Hostname)
		}
	}
	t.Cleanup(stop)
	return n, stop
}

func awaitUp(t *testing.T, n *Node) {
	t.Helper()
	select {
	case <-n.Ready():
	case <-time.After(60 * time.Second):
		t.Fatalf("not up: %+v", n.Status())
	}
}

// await polls a condition; the tailnet tells its news when it likes.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never came: %s", what)
		}
	}
}

func TestNodeReachesBrain(t *testing.T) {
	c := tailnetsim.Start(t)
	c.SetGlobalAppCaps(tailcfg.PeerCapMap{"example.com/cap/sentinel": {`{"role":"viewer"}`}})
	brain, stop := run(t, Config{Hostname: "brain", ControlURL: c.BaseURL(), Tags: []string{"tag:sentinel-brain"}})
	awaitUp(t, brain) // first, as a home has it: a brain that comes last costs its callers 5 s
	node, _ := run(t, Config{Hostname: "pve2", ControlURL: c.BaseURL(), Tags: []string{"tag:sentinel-node"}})
	awaitUp(t, node)

	ln, err := brain.Listen(t.Context(), ":80")
	if err != nil {
		t.Fatal(err)
	}
	callers := make(chan Who, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := brain.WhoIs(r.Context(), r.RemoteAddr)
		if err != nil {
			t.Error(err)
		}
		callers <- who
		io.WriteString(w, "heard")
	})}
	go server.Serve(ln)
	defer server.Close()

	var peers []Peer
	await(t, "the brain among the node's peers", func() bool {
		if peers, err = node.PeersTagged(t.Context(), "tag:sentinel-brain"); err != nil {
			t.Fatal(err)
		}
		return len(peers) == 1
	})
	if p := peers[0]; p.Name != "brain" || p.StableID == "" || !p.Online || p.Addr != brain.Status().Addrs[0] {
		t.Errorf("found %+v", p)
	}
	if none, err := node.PeersTagged(t.Context(), "tag:other"); err != nil || len(none) > 0 {
		t.Errorf("with another tag: %v, %v", none, err)
	}

	transport := &http.Transport{DialContext: node.Dial}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	resp, err := client.Post("http://"+peers[0].Addr.String()+"/v1/heartbeat", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "heard" || err != nil {
		t.Errorf("answered %q, %v", body, err)
	}
	who := <-callers
	if who.Name != "pve2" || !slices.Equal(who.Tags, []string{"tag:sentinel-node"}) || who.StableID == "" ||
		who.Login != "" || who.Addr != node.Status().Addrs[0] {
		t.Errorf("called by %+v", who)
	}
	if got := who.Grants["example.com/cap/sentinel"]; len(got) != 1 || !strings.Contains(got[0], `"viewer"`) {
		t.Errorf("grants %v", who.Grants)
	}
	defer func() { // a server that ends at the same time as the machine fails no program
		stop()
		if err := ln.Close(); err != nil {
			t.Errorf("close after the machine's end: %v", err)
		}
	}()
	if s := node.Status(); s.State != "Running" || s.Name != "pve2" || s.Err != nil || len(s.Addrs) == 0 {
		t.Errorf("status %+v", s)
	}
}

// TestR1_OnlyPeersAreDialled: what is meant for a peer never goes to the house's network or DNS.
func TestR1_OnlyPeersAreDialled(t *testing.T) {
	house, err := net.Listen("tcp", "127.0.0.1:0") // a server that would answer
	if err != nil {
		t.Fatal(err)
	}
	defer house.Close()
	c := tailnetsim.Start(t)
	node, _ := run(t, Config{Hostname: "pve2", ControlURL: c.BaseURL()})
	awaitUp(t, node)
	for _, addr := range []string{house.Addr().String(), "brain:80", "brain.lab.ts.net:80", "localhost:80", "1.1.1.1:443", "192.168.77.11:80", "100.64.0.99:80", "100.100.100.100:80", "[fd7a:115c:a1e0::99]:80", "[fd00::1]:80", ":80", ""} {
		start := time.Now()
		conn, err := node.Dial(t.Context(), "tcp", addr)
		if conn != nil || !errors.Is(err, ErrNotPeer) {
			t.Errorf("%s: %v, %v", addr, conn, err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: refused after %v", addr, took)
		}
	}
	if _, err := node.Dial(t.Context(), "udp", "100.64.0.99:80"); err == nil {
		t.Error("dialled UDP")
	}
	for _, addr := range []string{"127.0.0.1:80", "100.64.0.99:80", "x", ""} {
		if who, err := node.WhoIs(t.Context(), addr); !errors.Is(err, ErrNotPeer) {
			t.Errorf("%s is %+v, %v", addr, who, err)
		}
	}
}

// TestN10_ExpiryOfPeers: whoever lists the machines sees whose key expires and whose has.
func TestN10_ExpiryOfPeers(t *testing.T) {
	c := tailnetsim.Start(t)
	brain, _ := run(t, Config{Hostname: "brain", ControlURL: c.BaseURL(), Tags: []string{"tag:sentinel-brain"}})
	awaitUp(t, brain)
	pi, _ := run(t, Config{Hostname: "pi", ControlURL: c.BaseURL(), Tags: []string{"tag:sentinel-pi"}})
	awaitUp(t, pi)
	peer := func(ok func(Peer) bool) func() bool {
		return func() bool {
			peers, err := brain.PeersTagged(t.Context(), "tag:sentinel-pi")
			return err == nil && len(peers) == 1 && ok(peers[0])
		}
	}
	await(t, "the Pi", peer(func(p Peer) bool { return !p.Expired }))
	for _, at := range []time.Time{time.Now().Add(time.Hour).Truncate(time.Second), time.Now().Add(-time.Hour).Truncate(time.Second)} {
		for _, n := range c.AllNodes() {
			if n.Hostinfo.Hostname() == "pi" {
				n.KeyExpiry = at
				c.UpdateNode(n)
			}
		}
		await(t, "the expiry of the Pi's key", peer(func(p Peer) bool {
			return p.KeyExpiry != nil && p.KeyExpiry.Equal(at) && p.Expired == at.Before(time.Now())
		}))
	}
}

func TestUnreachableControlBlocksNothing(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	dir := t.TempDir()
	asked := new(atomic.Int32)
	node, stop := run(t, Config{Hostname: "brain", Dir: dir, ControlURL: "http://" + gone.Addr().String(), AuthKey: func() (string, error) {
		asked.Add(1)
		return "tskey-auth-x\n", nil
	}})
	await(t, "a first state", func() bool { return node.Status().State == "NeedsLogin" })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := node.Listen(ctx, ":80"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Listen: %v", err)
	}
	if _, err := node.Dial(t.Context(), "tcp", "100.64.0.1:80"); err == nil {
		t.Error("dialled")
	}
	start := time.Now()
	stop()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("ended after %v", took)
	}
	if _, err := node.Listen(t.Context(), ":80"); !errors.Is(err, errStopped) {
		t.Errorf("Listen after the end: %v", err)
	}
	// The state file exists now, yet nobody has let the machine in: the next start must ask for the key again.
	if _, err := os.Stat(filepath.Join(dir, "tailscaled.state")); err != nil || asked.Load() != 1 {
		t.Fatalf("asked %d times, %v", asked.Load(), err)
	}
	c := tailnetsim.Start(t)
	c.RequireAuthKey = "tskey-auth-x"
	again, _ := run(t, Config{Hostname: "brain", Dir: dir, ControlURL: c.BaseURL(), AuthKey: func() (string, error) {
		asked.Add(1)
		return " tskey-auth-x\n", nil
	}})
	awaitUp(t, again)
	if asked.Load() != 2 {
		t.Errorf("asked %d times for a key", asked.Load())
	}
}

func TestAuthKeyIsReadUntilRegistered(t *testing.T) {
	c := tailnetsim.Start(t)
	c.RequireAuthKey = "tskey-auth-right"
	dir := t.TempDir()
	keys := make(chan string, 8)
	asked := new(atomic.Int32)
	cfg := Config{Hostname: "brain", Dir: dir, ControlURL: c.BaseURL(), AuthKey: func() (string, error) {
		asked.Add(1)
		if k := <-keys; k != "" {
			return k, nil
		}
		return "", errors.New("no such file")
	}}
	keys <- ""
	keys <- "tskey-auth-wrong"
	node, stop := run(t, cfg)
	seen := make(map[string]bool)
	await(t, "both failures in the status", func() bool {
		if err := node.Status().Err; err != nil {
			seen["file"] = seen["file"] || strings.Contains(err.Error(), "no such file")
			seen["key"] = seen["key"] || strings.Contains(err.Error(), "invalid authkey")
		}
		return len(seen) == 2 && seen["file"] && seen["key"]
	})
	keys <- "tskey-auth-right"
	awaitUp(t, node)
	id := node.Status().Addrs
	stop()
	before := asked.Load()
	c.RequireAuthKey = "" // the simulator asks registered machines too
	again, _ := run(t, cfg)
	awaitUp(t, again)
	if asked.Load() != before {
		t.Error("asked for a key although registered")
	}
	if got := again.Status().Addrs; !slices.Equal(got, id) {
		t.Errorf("another machine after the restart: %v, then %v", id, got)
	}
}

func TestExpiredKeyAndLoginAreVisible(t *testing.T) {
	c := tailnetsim.Start(t)
	c.RequireAuth = true
	var log strings.Builder
	node, stop := run(t, Config{Hostname: "brain", ControlURL: c.BaseURL(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	await(t, "an address to log in at", func() bool { return node.Status().AuthURL != "" })
	if s := node.Status(); s.State != "NeedsLogin" || s.Err == nil {
		t.Errorf("status %+v", s)
	}
	if !c.CompleteAuth(node.Status().AuthURL) {
		t.Fatal("the login address is unknown to the control server")
	}
	awaitUp(t, node)
	if s := node.Status(); s.KeyExpiry != nil && s.KeyExpiry.Before(time.Now()) {
		t.Errorf("key expired at %v", s.KeyExpiry)
	}
	soon := time.Now().Add(time.Hour).Truncate(time.Second)
	expire := func(at time.Time) {
		for _, key := range c.AllNodes() { // the old one and, while it is renewed, the new one
			key.KeyExpiry = at
			c.UpdateNode(key)
		}
	}
	expire(soon)
	await(t, "the key's expiry", func() bool { k := node.Status().KeyExpiry; return k != nil && k.Equal(soon) })
	expire(time.Now().Add(-time.Hour))
	await(t, "NeedsLogin", func() bool { return node.Status().State == "NeedsLogin" })
	if s := node.Status(); !s.Expired || s.Running() || s.KeyExpiry == nil || s.Err == nil || !strings.Contains(s.Err.Error(), "has expired") {
		t.Errorf("status of the expired %+v", s)
	}
	start := time.Now()
	if _, err := node.Dial(t.Context(), "tcp", "100.64.0.9:80"); err == nil || time.Since(start) > 2*time.Second {
		t.Errorf("dial without a key: %v after %v", err, time.Since(start))
	}
	await(t, "a new address to log in at", func() bool { return node.Status().AuthURL != "" })
	expire(soon)
	if !c.CompleteAuth(node.Status().AuthURL) {
		t.Fatal("the new login address is unknown to the control server")
	}
	await(t, "Running again", func() bool {
		s := node.Status()
		return s.State == "Running" && s.Err == nil && s.AuthURL == "" && !s.Expired
	})
	stop() // its log is written no more
	for _, want := range []string{"level=WARN msg=\"out of the tailnet until a person logs this machine in\"", "level=INFO msg=\"back in the tailnet\""} {
		if n := strings.Count(log.String(), want); n != 1 {
			t.Errorf("%d times %s in\n%s", n, want, log.String())
		}
	}
}

func TestBrokenStateIsAnErrorAndNoPanic(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	truncated := filepath.Join(dir, "truncated")
	if err := os.Mkdir(truncated, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(truncated, "tailscaled.state"), []byte(`{"_mach`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{
		"directory is a file": {Dir: file},
		"truncated":           {Dir: truncated},
		"failed start":        {Dir: t.TempDir(), Store: new(mem.Store)}, // not ephemeral: the library refuses
	} {
		node, stop := run(t, cfg)
		await(t, name, func() bool { return node.Status().Err != nil })
		stop()
	}
}

func TestAuthKeyText(t *testing.T) {
	for in, want := range map[string]string{
		"tskey-auth-abc\n":         "tskey-auth-abc",
		"":                         "",
		"tskey-client-abc\n":       "tskey-client-abc?ephemeral=false&preauthorized=true",
		"tskey-client-abc?x=y\r\n": "tskey-client-abc?x=y",
	} {
		if got := authKey(in, false); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
	if got := authKey("tskey-client-abc", true); got != "tskey-client-abc?ephemeral=true&preauthorized=true" {
		t.Error(got)
	}
}

func TestTakenPortIsTold(t *testing.T) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[::]:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var log strings.Builder
	n := New(Config{Port: uint16(conn.LocalAddr().(*net.UDPAddr).Port), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	n.checkPort()
	if !strings.Contains(log.String(), "UDP port is taken") {
		t.Errorf("logged %q", log.String())
	}
}
