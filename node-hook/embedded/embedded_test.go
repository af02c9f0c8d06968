package embedded

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"tailscale.com/ipn/store/mem"

	"sentinel.home.arpa/node-hook/hook"
	"sentinel.home.arpa/node-hook/internal/find"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/sim/tailnetsim"
	"sentinel.home.arpa/shared/tailnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, tailnetsim.Leftovers()...) }

// load reads a configuration as the program does.
func load(t *testing.T, text string) hook.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := hook.Build{Join: func(c hook.Config, log *slog.Logger) hook.Network { return New(c, log) }}.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func start(t *testing.T, run func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestBrainsAreFoundByTheirTag by a machine that joined with the key of its file, as a
// node; one that is out of the tailnet finds nobody.
func TestBrainsAreFoundByTheirTag(t *testing.T) {
	control := tailnetsim.Start(t)
	control.RequireAuthKey = "tskey-auth-right"
	brain := tailnet.New(tailnet.Config{Hostname: "sentinel", Dir: t.TempDir(), ControlURL: control.BaseURL(), Tags: []string{find.Tag},
		Store: new(mem.Store), Ephemeral: true, AuthKey: func() (string, error) { return control.RequireAuthKey, nil }})
	start(t, brain.Run)
	<-brain.Ready()

	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("tskey-auth-right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := load(t, "name: pve1\nstate_dir: "+t.TempDir()+"\ntailnet: {auth_key_file: "+key+", control_url: '"+control.BaseURL()+"'}\n")
	n := New(c, slog.New(slog.DiscardHandler))
	start(t, n.Run)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	brains, err := n.Brains(ctx)
	if err != nil || len(brains) != 1 || brains[0].Name != "sentinel" || brains[0].Address != brain.Status().Addrs[0].String()+":80" {
		t.Fatalf("found %+v, %v", brains, err)
	}
	for _, m := range control.AllNodes() {
		if m.Hostinfo.Hostname() != "pve1" {
			continue
		}
		if tags := m.Tags; len(tags) != 1 || tags[0] != tagNode {
			t.Errorf("the node carries %q", tags)
		}
		m.KeyExpiry = time.Now().Add(-time.Hour)
		control.UpdateNode(m)
	}
	for {
		if _, err = n.Brains(ctx); err != nil || ctx.Err() != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "this machine's state on the tailnet is NeedsLogin") {
		t.Errorf("out of the tailnet: %v", err)
	}
}

// TestForward: what another process says on the socket reaches the brain if it is an
// announcement for a brain, and nobody otherwise.
func TestForward(t *testing.T) {
	control := tailnetsim.Start(t)
	brain := tailnet.New(tailnet.Config{Hostname: "sentinel", Dir: t.TempDir(), ControlURL: control.BaseURL(), Tags: []string{find.Tag},
		Store: new(mem.Store), Ephemeral: true})
	start(t, brain.Run)
	<-brain.Ready()
	ln, err := brain.Listen(t.Context(), ":80")
	if err != nil {
		t.Fatal(err)
	}
	web := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	})}
	go web.Serve(ln)
	defer web.Close()

	n := New(load(t, "name: pve1\nstate_dir: "+t.TempDir()+"\ntailnet: {control_url: '"+control.BaseURL()+"'}\n"), slog.New(slog.DiscardHandler))
	start(t, n.Run)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	brains, err := n.Brains(ctx)
	if err != nil || len(brains) != 1 {
		t.Fatalf("found %+v, %v", brains, err)
	}
	const gone = "100.64.0.99:80"
	socket := filepath.Join(t.TempDir(), "s")
	start(t, func(ctx context.Context) error {
		return n.Forward(ctx, socket, func(addr string) bool { return addr == brains[0].Address || addr == gone })
	})
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		for {
			conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
			if err == nil || ctx.Err() != nil {
				return conn, err
			}
		}
	}}}
	for url, want := range map[string]string{
		"http://" + brains[0].Address + courier.PathAnnounce:                        "200 POST /v1/announce hello",
		"http://" + strings.TrimSuffix(brains[0].Address, ":80") + "/v1/announce":   "200 POST /v1/announce hello",
		"http://" + gone + courier.PathAnnounce:                                     "502 ",
		"http://" + brains[0].Address + courier.PathHeartbeat:                       "404 ",
		"http://" + brain.Status().Addrs[0].String() + ":81" + courier.PathAnnounce: "404 ",
		"http://house.example" + courier.PathAnnounce:                               "404 ",
	} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := fmt.Sprintf("%d %s", resp.StatusCode, body); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, %v", url, got, err)
		}
	}
}

// TestWaitsForTheTailnet no longer than it is given.
func TestWaitsForTheTailnet(t *testing.T) {
	n := New(load(t, "name: pve1\nstate_dir: "+t.TempDir()+"\n"), slog.New(slog.DiscardHandler)) // it is not run
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if brains, err := n.Brains(ctx); err == nil {
		t.Errorf("found %+v", brains)
	}
}
