package pvesim_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sentinel.home.arpa/shared/sim/pvesim"
)

const (
	token  = "sentinel@pve!power"
	secret = "sim-secret-77aa"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a cluster, a plain HTTP client for it, and what the edge saw.
type lab struct {
	*pvesim.Cluster
	http *http.Client

	mu   sync.Mutex
	seen []pvesim.Exchange
}

func newLab(t *testing.T, change func(*pvesim.Config)) *lab {
	t.Helper()
	l := &lab{}
	cfg := pvesim.Config{
		TokenID: token, Secret: secret,
		ShutdownDelay: time.Millisecond, RebootTakes: time.Millisecond,
		Nodes: []pvesim.NodeConfig{
			{Name: "pve1", Guests: []pvesim.Guest{
				{VMID: 100, Name: "web", Type: pvesim.QEMU, Running: true, OnBoot: true},
				{VMID: 101, Name: "dns", Type: pvesim.LXC, Running: true},
				{VMID: 102, Name: "stuck", Type: pvesim.QEMU, Running: true, Hangs: true},
				{VMID: 103, Name: "saved", Type: pvesim.QEMU, Running: true, Lock: "backup"},
				{VMID: 104, Name: "slow", Type: pvesim.QEMU, Running: true, StopTakes: 30 * time.Millisecond},
			}},
			{Name: "pve2", Guests: []pvesim.Guest{{VMID: 200, Type: pvesim.QEMU, Running: true}}},
			{Name: "pve3"},
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
	roots := x509.NewCertPool()
	for _, n := range cfg.Nodes {
		roots.AddCert(c.Certificate(n.Name))
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs:            roots,
		ClientSessionCache: tls.NewLRUClientSessionCache(0), // each error ends a connection: make new ones cheap
	}}
	l.http = &http.Client{Transport: tr, Timeout: 20 * time.Second}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		_ = c.Close()
	})
	return l
}

// result is an answer as it came over the wire.
type result struct {
	status int
	reason string
	data   json.RawMessage
	errors map[string]string
}

func (l *lab) request(node, method, path, ctype, body string, auth string) (result, error) {
	req, err := http.NewRequest(method, l.URL(node)+path, strings.NewReader(body))
	if err != nil {
		return result{}, err
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	if ctype != "" {
		req.Header.Set("Content-Type", ctype)
	}
	resp, err := l.http.Do(req)
	if err != nil {
		return result{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return result{}, err
	}
	r := result{status: resp.StatusCode}
	_, r.reason, _ = strings.Cut(resp.Status, " ")
	var envelope struct {
		Data   json.RawMessage   `json:"data"`
		Errors map[string]string `json:"errors"`
	}
	if json.Unmarshal(b, &envelope) == nil {
		r.data, r.errors = envelope.Data, envelope.Errors
	}
	return r, nil
}

const goodAuth = "PVEAPIToken=" + token + "=" + secret

func (l *lab) get(t *testing.T, node, path string) result {
	t.Helper()
	r, err := l.request(node, http.MethodGet, "/api2/json"+path, "", "", goodAuth)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (l *lab) post(t *testing.T, node, path, form string) result {
	t.Helper()
	r, err := l.request(node, http.MethodPost, "/api2/json"+path, "application/x-www-form-urlencoded", form, goodAuth)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// task runs a guest command and waits for its end.
func (l *lab) task(t *testing.T, node, path, form string) string {
	t.Helper()
	r := l.post(t, node, path, form)
	var upid string
	if err := json.Unmarshal(r.data, &upid); err != nil {
		t.Fatalf("%s: %d %s", path, r.status, r.reason)
	}
	return l.wait(t, node, upid)
}

func (l *lab) wait(t *testing.T, node, upid string) string {
	t.Helper()
	var s struct{ Status, Exitstatus string }
	eventually(t, "task "+upid+" ends", func() bool {
		r := l.get(t, node, "/nodes/"+node+"/tasks/"+upid+"/status")
		if err := json.Unmarshal(r.data, &s); err != nil {
			t.Fatalf("%d %s %v", r.status, r.reason, r.errors)
		}
		return s.Status == "stopped"
	})
	return s.Exitstatus
}

func (l *lab) running(vmid int) bool {
	g, ok := l.Guest(vmid)
	return ok && g.Running
}

// refused tells whether a node's port refuses connections.
func (l *lab) refused(node string) bool {
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(l.URL(node), "https://"), time.Second)
	if err == nil {
		_ = conn.Close()
	}
	return err != nil
}

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
