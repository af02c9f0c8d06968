package brain

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"tailscale.com/ipn/store/mem"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/sim/tailnetsim"
	"sentinel.home.arpa/shared/tailnet"
	"sentinel.home.arpa/shared/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, tailnetsim.Leftovers()...) }

// until asks again until something holds: a tailnet tells its news when it likes.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(90 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never came: %s", what)
		}
	}
}

// ran runs something until the end of the test.
func ran(t *testing.T, what string, run func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("%s ended with %v", what, err)
			}
		case <-time.After(60 * time.Second):
			t.Errorf("%s does not end", what)
		}
	})
}

// guest is a machine of the tailnet that talks to the brain.
type guest struct {
	*testing.T
	node   *tailnet.Node
	client *courier.Client
	http   *http.Client
	key    wire.Key
	name   string
	url    string
	seq    int64
}

func joins(t *testing.T, control, name string, tags ...string) *guest {
	t.Helper()
	key, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{T: t, name: name, key: key,
		node: tailnet.New(tailnet.Config{Hostname: name, Dir: t.TempDir(), ControlURL: control, Tags: tags, Store: new(mem.Store), Ephemeral: true})}
	ran(t, name, g.node.Run)
	g.client = courier.NewClient(g.node.Dial)
	transport := &http.Transport{DialContext: g.node.Dial}
	g.http = &http.Client{Transport: transport, Timeout: 20 * time.Second}
	t.Cleanup(func() { g.client.Close(); transport.CloseIdleConnections() })
	until(t, "the brain among the peers of "+name, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		peers, err := g.node.PeersTagged(ctx, tagBrain)
		if err != nil || len(peers) != 1 {
			return false
		}
		g.url = "http://" + peers[0].Addr.String()
		return true
	})
	return g
}

func (g *guest) beat() (*wire.Answer, error) {
	g.seq += 1000
	m := wire.Heartbeat{Header: wire.Header{V: wire.Version, Node: g.name, Boot: "11111111-1111-4111-8111-111111111111", Seq: g.seq}, State: "running"}
	data, err := wire.Seal(wire.KindHeartbeat, m, g.key)
	if err != nil {
		g.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(g.Context(), 20*time.Second)
	defer cancel()
	return g.client.Post(ctx, courier.Receiver{Name: "brain", URL: g.url}, courier.PathHeartbeat, m.Header, data)
}

func (g *guest) ask(method, path string) (int, []byte) {
	g.Helper()
	req, err := http.NewRequestWithContext(g.Context(), method, g.url+path, nil)
	if err != nil {
		g.Fatal(err)
	}
	resp, err := g.http.Do(req)
	if err != nil {
		g.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		g.Fatal(err)
	}
	return resp.StatusCode, body
}

// TestTailnet: a node's heartbeat arrives over a real tailnet and stands on the page by
// the identity that the tailnet vouches for; a stranger is refused and waits.
func TestTailnet(t *testing.T) {
	control := tailnetsim.Start(t)
	cfg := DefaultConfig()
	cfg.StateDir, cfg.ControlSocket = t.TempDir(), filepath.Join(t.TempDir(), "s")
	cfg.Tailnet = Tailnet{Hostname: "sentinel", ControlURL: control.BaseURL()}
	cfg.Sites = []Site{{Name: "home", Pis: []Peer{{Name: "pi"}}}}
	b, err := New(t.Context(), cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	ran(t, "the brain", b.Run)
	<-b.tailnet.Ready()

	node := joins(t, control.BaseURL(), "pve1", ingest.TagNode)
	a, err := node.beat()
	if err != nil {
		t.Fatal(err)
	}
	if a.BrainKey != b.key.PublicKey() {
		t.Errorf("the brain's key is said to be %s", a.BrainKey)
	}
	known, ok := b.identities.Lookup("pve1")
	if !ok || known.StableID == "" || known.Key != node.key.PublicKey() || known.Site != "home" {
		t.Errorf("the node is known as %+v", known)
	}

	stranger := joins(t, control.BaseURL(), "pve9")
	_, err = stranger.beat()
	var no *courier.Refusal
	if !errors.As(err, &no) || no.Status != http.StatusForbidden || no.Hint != "give it "+ingest.TagNode+"; or on the brain: sentinel-cloud approve pve9 --key "+string(stranger.key.PublicKey()) {
		t.Errorf("the stranger was answered with %v", err)
	}
	thief := joins(t, control.BaseURL(), "laptop", ingest.TagNode)
	thief.name = "pve1" // but not on the tailnet
	if _, err := thief.beat(); !errors.As(err, &no) || no.Status != http.StatusForbidden {
		t.Errorf("the thief of a name was answered with %v", err)
	}
	if code, body := stranger.ask(http.MethodPost, "/api/v1/plan/arm"); code != http.StatusForbidden {
		t.Errorf("a button from afar was answered with %d %s", code, body)
	}

	until(t, "all of it on the page", func() bool {
		_, body := node.ask(http.MethodGet, "/api/v1/status")
		var v web.View
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		up := slices.ContainsFunc(v.Sites[0].Sources, func(s web.Source) bool { return s.Name == "pve1" && s.Condition == "up" && s.Heard })
		return up && len(v.Sites[0].Sources) == 2 && len(v.Waiting) == 2 && len(v.Warnings) == 0 &&
			v.Waiting[0].Name == "pve1" && v.Waiting[0].From == "laptop on the tailnet" && v.Waiting[1].Name == "pve9"
	})

	admin := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", cfg.ControlSocket)
	}}}
	resp, err := admin.Post("http://brain/api/v1/nodes/pve9/approve", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Errorf("the approval was answered with %s", resp.Status)
	}
	if _, err := stranger.beat(); err != nil {
		t.Errorf("the approved machine was answered with %v", err)
	}

	until(t, "the home relays", func() bool { return b.reach.Learn(t.Context()) }) // rule N10
	if b.uplink.Gone(t.Context()) {
		t.Error("the tailnet is said to be out of reach")
	}
	for _, n := range control.AllNodes() {
		if n.Hostinfo.Hostname() == "pve1" {
			n.KeyExpiry = time.Now().Add(72 * time.Hour)
			control.UpdateNode(n)
		}
	}
	until(t, "a word of the key that expires", func() bool {
		b.nodeKeys().look(t.Context())
		return slices.ContainsFunc(b.page().Timeline, func(e web.Entry) bool {
			return strings.HasPrefix(e.Text, "the Tailscale key of pve1 expires on ")
		})
	})
}

// TestTailnet_OutOfReach: nothing waits for it, neither the loop nor the end.
func TestTailnet_OutOfReach(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.StateDir, cfg.ControlSocket = t.TempDir(), filepath.Join(t.TempDir(), "s")
	cfg.Tailnet = Tailnet{Hostname: "sentinel", ControlURL: "http://" + gone.Addr().String()}
	cfg.Sites = []Site{{Name: "home", Pis: []Peer{{Name: "pi"}}}}
	b, err := New(t.Context(), cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	ran(t, "the brain", b.Run)
	until(t, "the first turn", func() bool { return b.page() != nil && len(b.health.Ready()) == 0 })
	until(t, "the tailnet's first state", func() bool { return b.tailnet.Status().State == "NeedsLogin" })
	if !b.uplink.Gone(t.Context()) { // rule N10
		t.Error("a brain that must log in is said to reach the tailnet")
	}
}
