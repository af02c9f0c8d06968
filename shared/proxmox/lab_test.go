package proxmox

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sentinel.home.arpa/shared/sim/pvesim"
)

const (
	testToken  = "sentinel@pve!power"
	testSecret = "0f5c9a1e-secret-2b7d"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a simulated cluster and what its edge saw.
type lab struct {
	*pvesim.Cluster
	mu   sync.Mutex
	seen []pvesim.Exchange
}

func newLab(t *testing.T, change func(*pvesim.Config)) *lab {
	t.Helper()
	l := &lab{}
	cfg := pvesim.Config{
		TokenID: testToken, Secret: testSecret,
		ShutdownDelay: time.Millisecond,
		Nodes: []pvesim.NodeConfig{
			{Name: "pve1", Guests: []pvesim.Guest{
				{VMID: 100, Name: "web", Type: pvesim.QEMU, Running: true, Tags: "prod;web"},
				{VMID: 101, Name: "dns", Type: pvesim.LXC, Running: true},
				{VMID: 102, Name: "tmpl", Type: pvesim.QEMU, Template: true},
				{VMID: 103, Name: "saved", Type: pvesim.QEMU, Running: true, Lock: "backup"},
				{VMID: 104, Name: "stuck", Type: pvesim.QEMU, Running: true, Hangs: true},
			}},
			{Name: "pve2", Guests: []pvesim.Guest{{VMID: 200, Name: "db", Type: pvesim.QEMU, Running: true}}},
		},
		Edge: func(x pvesim.Exchange) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.seen = append(l.seen, x)
		},
	}
	if change != nil {
		change(&cfg)
	}
	c, err := pvesim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.Cluster = c
	t.Cleanup(func() { _ = c.Close() })
	return l
}

func (l *lab) requests() []pvesim.Exchange {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen
}

func (l *lab) options(node string) Options {
	return Options{Node: node, API: l.URL(node), Fingerprint: l.Fingerprint(node), TokenID: testToken, Secret: testSecret}
}

func (l *lab) client(t *testing.T, node string) *Client {
	t.Helper()
	return clientFor(t, l.options(node))
}

func clientFor(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}

// fakeAPI is a TLS server for answers that the simulator does not give.
func fakeAPI(t *testing.T, h http.HandlerFunc) (Options, *httptest.Server) {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	sum := fingerprintOf(srv.Certificate())
	return Options{Node: "pve1", API: srv.URL, Fingerprint: sum, TokenID: testToken, Secret: testSecret}, srv
}
