package tailscaled

import (
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sample = `{"Version":"1.102.5","BackendState":"Running","Self":{"HostName":"pve1"},"Peer":{
 "nodekey:a":{"HostName":"old","DNSName":"brain.x.ts.net.","TailscaleIPs":["100.64.0.9"],"Tags":["tag:sentinel-brain"],"Online":false},
 "nodekey:b":{"HostName":"brain","TailscaleIPs":["fd7a:115c:a1e0::5","100.64.0.5"],"Tags":["tag:x","tag:sentinel-brain"],"Online":true},
 "nodekey:c":{"HostName":"laptop","TailscaleIPs":["100.64.0.6"],"Online":true},
 "nodekey:d":{"HostName":"nowhere","TailscaleIPs":null,"Tags":["tag:sentinel-brain"],"Online":true}}}`

var want = []Brain{{"brain", netip.MustParseAddr("100.64.0.5")}, {"old", netip.MustParseAddr("100.64.0.9")}}

func same(a, b netip.Addr) bool { return a == b }

func TestParseStatus(t *testing.T) {
	got, err := parseStatus(strings.NewReader(sample))
	if diff := cmp.Diff(want, got, cmp.Comparer(same)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for _, text := range []string{``, `[]`, `{}`, `{"BackendState":"NeedsLogin"}`, sample[:200],
		`{"BackendState":"Running","Peer":{"k":{"TailscaleIPs":[""],"Tags":["tag:sentinel-brain"]}}}`} {
		if got, err := parseStatus(strings.NewReader(text)); err == nil {
			t.Errorf("%.60q gave %v", text, got)
		}
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add(sample)
	f.Add(`{"BackendState":"Running","Peer":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		brains, err := parseStatus(strings.NewReader(text))
		for _, b := range brains {
			if err != nil || !b.Address.IsValid() {
				t.Errorf("%+v, %v", b, err)
			}
		}
	})
}

// TestClientAsksTheSocket with the host and path that tailscaled serves.
func TestClientAsksTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tailscaled.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	status := http.StatusOK
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "local-tailscaled.sock" || r.URL.Path != "/localapi/v0/status" || r.Method != http.MethodGet {
			t.Errorf("asked %s %s%s", r.Method, r.Host, r.URL.Path)
		}
		w.WriteHeader(status)
		w.Write([]byte(sample))
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	defer func() { server.Close(); <-done }()
	got, err := NewClient(path).Brains(t.Context())
	if diff := cmp.Diff(want, got, cmp.Comparer(same)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	status = http.StatusForbidden
	if _, err := NewClient(path).Brains(t.Context()); err == nil {
		t.Error("no error for 403")
	}
	if _, err := NewClient(path + "x").Brains(t.Context()); err == nil {
		t.Error("no error without a socket")
	}
}
