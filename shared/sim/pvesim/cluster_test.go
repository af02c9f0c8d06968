package pvesim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/sim/pvesim"
)

func TestNew_RefusesNonsense(t *testing.T) {
	ok := pvesim.NodeConfig{Name: "a"}
	for name, cfg := range map[string]pvesim.Config{
		"no nodes":  {TokenID: token, Secret: secret},
		"no token":  {Nodes: []pvesim.NodeConfig{ok}},
		"twice":     {TokenID: token, Secret: secret, Nodes: []pvesim.NodeConfig{ok, ok}},
		"bad name":  {TokenID: token, Secret: secret, Nodes: []pvesim.NodeConfig{{Name: "a/b"}}},
		"bad guest": {TokenID: token, Secret: secret, Nodes: []pvesim.NodeConfig{{Name: "a", Guests: []pvesim.Guest{{VMID: 99, Type: "qemu"}}}}},
		"bad type":  {TokenID: token, Secret: secret, Nodes: []pvesim.NodeConfig{{Name: "a", Guests: []pvesim.Guest{{VMID: 100, Type: "vm"}}}}},
		"no listener": {TokenID: token, Secret: secret, Nodes: []pvesim.NodeConfig{ok, {Name: "b",
			Listen: func() (net.Listener, error) { return nil, errors.New("no") }}}},
	} {
		if c, err := pvesim.New(cfg); err == nil {
			_ = c.Close()
			t.Errorf("%s: taken", name)
		}
	}
}

func TestAuthentication(t *testing.T) {
	l := newLab(t, func(cfg *pvesim.Config) { cfg.AuthDelay = 20 * time.Millisecond })
	for auth, reason := range map[string]string{
		"": "No ticket", "PVEAPIToken=" + token + "=wrong": "Authentication failed!", "Bearer " + secret: "No ticket",
	} {
		begin := time.Now()
		r, err := l.request("pve1", "GET", "/api2/json/version", "", "", auth)
		if err != nil || r.status != 401 || r.reason != reason || time.Since(begin) < 20*time.Millisecond {
			t.Errorf("%q: %+v, %v after %s", auth, r, err, time.Since(begin))
		}
	}
	if text := fmt.Sprintf("%+v", l.seen); strings.Contains(text, secret) || len(l.seen) != 3 {
		t.Errorf("the edge saw %s", text)
	}
}

func TestMissingPrivileges(t *testing.T) {
	l := newLab(t, func(cfg *pvesim.Config) { cfg.Missing = []string{"Sys.PowerMgmt", "VM.Audit"} })
	r := l.post(t, "pve1", "/nodes/pve1/status", "command=shutdown")
	if r.status != 403 || r.reason != "Permission check failed (/nodes/pve1, Sys.PowerMgmt)" {
		t.Errorf("%+v", r)
	}
	if r := l.get(t, "pve1", "/nodes/pve1/qemu"); r.status != 200 || string(r.data) != "[]" {
		t.Errorf("lists are filtered, not refused: %d %s", r.status, r.data)
	}
	if r := l.get(t, "pve1", "/access/permissions?path=%2F"); string(r.data) != `{"/":{"Sys.Audit":1,"VM.PowerMgmt":1}}` {
		t.Errorf("%s", r.data)
	}
}

func TestReads(t *testing.T) {
	l := newLab(t, nil)
	for path, want := range map[string]string{
		"/version":                               `"release":"9.1"`,
		"/nodes":                                 `"ssl_fingerprint":"` + l.Fingerprint("pve2") + `"`,
		"/nodes/pve1/status":                     `"uptime":0`,
		"/cluster/status":                        `"quorate":1`,
		"/cluster/resources":                     `"id":"qemu/200"`,
		"/cluster/resources?type=vm":             `"id":"lxc/101"`,
		"/nodes/pve1/qemu?full=1":                `"vmid":100`,
		"/nodes/pve1/lxc":                        `"vmid":"101"`,
		"/nodes/pve1/lxc/101/status/current":     `"status":"running"`,
		"/nodes/pve2/qemu/200/status/current":    `"status":"running"`, // forwarded
		"/access/permissions?path=%2Fnodes":      `"/nodes":{`,
		"/nodes/pve1/qemu/100/status/current?_=": "",
	} {
		r := l.get(t, "pve1", path)
		if want == "" {
			if r.status != 400 || r.errors["_"] == "" {
				t.Errorf("%s: %+v", path, r)
			}
		} else if r.status != 200 || !bytes.Contains(r.data, []byte(want)) {
			t.Errorf("%s: %d %s %s", path, r.status, r.reason, r.data)
		}
	}
	for path, reason := range map[string]string{
		"/nodes/pve1/qemu/101/status/current": "Configuration file 'nodes/pve1/qemu-server/101.conf' does not exist",
		"/nodes/pve9/qemu":                    "hostname lookup 'pve9' failed - failed to get address info for: pve9: Name or service not known",
	} {
		if r := l.get(t, "pve1", path); r.status != 500 || r.reason != reason {
			t.Errorf("%s: %+v", path, r)
		}
	}
	if r := l.get(t, "pve1", "/nothing"); r.status != 501 || r.reason != "Method 'GET /nothing' not implemented" {
		t.Errorf("%+v", r)
	}
}

func TestStandaloneNodeHasNoClusterEntry(t *testing.T) {
	l := newLab(t, func(cfg *pvesim.Config) { cfg.Nodes = cfg.Nodes[:1] })
	if r := l.get(t, "pve1", "/cluster/status"); bytes.Contains(r.data, []byte("quorate")) {
		t.Errorf("%s", r.data)
	}
}

func TestGuestCommands(t *testing.T) {
	l := newLab(t, func(cfg *pvesim.Config) { cfg.LockTimeout = 20 * time.Millisecond })
	steps := []struct {
		path, form, exit string
		vmid             int
		running          bool
	}{
		{"qemu/100/status/shutdown", "timeout=5&forceStop=1", "OK", 100, false},
		{"qemu/100/status/shutdown", "", "OK", 100, false}, // off already
		{"qemu/100/status/start", "", "OK", 100, true},
		{"qemu/100/status/start", "", "VM 100 already running", 100, true},
		{"lxc/101/status/shutdown", "", "OK", 101, false},
		{"lxc/101/status/start", "", "OK", 101, true},
		{"lxc/101/status/stop", "", "OK", 101, false},
		{"qemu/102/status/shutdown", "timeout=0", "VM quit/powerdown failed - got timeout", 102, true},
		{"qemu/102/status/shutdown", "timeout=0&forceStop=1", "OK", 102, false},
		{"qemu/103/status/shutdown", "forceStop=1", "VM is locked (backup)", 103, true},
		{"qemu/103/status/stop", "", "VM is locked (backup)", 103, true},
		{"qemu/104/status/shutdown", "timeout=5", "OK", 104, false},
	}
	for _, s := range steps {
		if exit := l.task(t, "pve1", "/nodes/pve1/"+s.path, s.form); exit != s.exit || l.running(s.vmid) != s.running {
			t.Errorf("%s %s: %s, running %v", s.path, s.form, exit, l.running(s.vmid))
		}
	}
	for _, path := range []string{"lxc/101/status/shutdown", "lxc/101/status/stop"} {
		if r := l.post(t, "pve1", "/nodes/pve1/"+path, ""); r.status != 500 || r.reason != "CT 101 not running" {
			t.Errorf("%s: %+v", path, r)
		}
	}
}

func TestARunningShutdownHoldsTheGuest(t *testing.T) {
	l := newLab(t, func(cfg *pvesim.Config) { cfg.LockTimeout = 20 * time.Millisecond })
	const vm = "/nodes/pve1/qemu/102/status/"
	var first string
	if err := json.Unmarshal(l.post(t, "pve1", vm+"shutdown", "timeout=600").data, &first); err != nil {
		t.Fatal(err)
	}
	const busy = "can't lock file '/var/lock/qemu-server/lock-102.conf' - got timeout"
	if exit := l.task(t, "pve1", vm+"shutdown", "timeout=600"); exit != busy {
		t.Errorf("second shutdown: %s", exit)
	}
	if exit := l.task(t, "pve1", vm+"stop", ""); exit != busy || !l.running(102) {
		t.Errorf("stop: %s", exit)
	}
	if exit := l.task(t, "pve1", vm+"stop", "overrule-shutdown=1"); exit != "OK" || l.running(102) {
		t.Errorf("overruling stop: %s", exit)
	}
	if exit := l.wait(t, "pve1", first); exit != "interrupted by signal" {
		t.Errorf("first shutdown: %s", exit)
	}
}

func TestNodeShutdown(t *testing.T) {
	release := make(chan struct{})
	l := newLab(t, func(cfg *pvesim.Config) {
		cfg.StopAllTimeout = 100 * time.Millisecond // the stuck guest's share
	})
	var mu sync.Mutex
	var events []string
	note := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, s)
	}
	l.OnStopping(func(node, kind string) {
		note(fmt.Sprintf("%s stopping for %s, guest %v", node, kind, l.running(100)))
		<-release
	})
	l.OnDown(func(node string) {
		note(fmt.Sprintf("%s down, up %v, refused %v, guests %v %v", node, l.NodeUp(node), l.refused(node), l.running(102), l.running(103)))
	})
	l.OnUp(func(node string) { note(node + " up") })

	r := l.post(t, "pve1", "/nodes/pve1/status", "command=shutdown")
	if r.status != 200 || string(r.data) != "null" {
		t.Fatalf("%+v", r)
	}
	if r := l.post(t, "pve1", "/nodes/pve1/status", "command=shutdown"); r.status != 200 {
		t.Errorf("again: %+v", r)
	}
	if r := l.get(t, "pve1", "/nodes/pve1/qemu"); r.status != 200 { // the API lives on while it stops
		t.Errorf("%+v", r)
	}
	close(release)
	eventually(t, "down", func() bool { mu.Lock(); defer mu.Unlock(); return len(events) == 2 })

	// Another node knows, and cannot forward.
	if r := l.get(t, "pve2", "/nodes"); !bytes.Contains(r.data, []byte(`"status":"offline"`)) {
		t.Errorf("%s", r.data)
	}
	if r := l.get(t, "pve2", "/nodes/pve1/status"); r.status != 595 || r.reason != "No route to host" {
		t.Errorf("%+v", r)
	}
	if err := l.Start("pve1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Start("pve1"); err == nil {
		t.Error("started twice")
	}
	eventually(t, "the guest with onboot runs", func() bool { return l.running(100) })
	if l.running(101) {
		t.Error("the guest without onboot runs")
	}
	if r := l.get(t, "pve1", "/version"); r.status != 200 {
		t.Errorf("%+v", r)
	}
	want := []string{"pve1 stopping for poweroff, guest true", "pve1 down, up false, refused true, guests false false", "pve1 up"}
	mu.Lock()
	defer mu.Unlock()
	if d := cmp.Diff(want, events); d != "" {
		t.Error(d)
	}
}

func TestNodeRebootComesBack(t *testing.T) {
	l := newLab(t, nil)
	ups := make(chan string, 1)
	kinds := make(chan string, 1)
	l.OnUp(func(node string) { ups <- node })
	l.OnStopping(func(_, kind string) { kinds <- kind })
	l.post(t, "pve2", "/nodes/pve2/status", "command=reboot")
	if kind, node := <-kinds, <-ups; kind != pvesim.Reboot || node != "pve2" || !l.NodeUp("pve2") {
		t.Errorf("%s %s", kind, node)
	}
}

func TestPowerCutDuringAReboot(t *testing.T) {
	l := newLab(t, func(cfg *pvesim.Config) { cfg.RebootTakes = time.Hour })
	down := make(chan string, 2)
	l.OnDown(func(node string) { down <- node })
	l.post(t, "pve2", "/nodes/pve2/status", "command=reboot")
	<-down
	l.PowerCut("pve2") // Close would wait an hour if this or it did not end the reboot
	if err := l.Start("pve2"); err != nil {
		t.Error(err)
	}
}

func TestPowerCutDropsEverything(t *testing.T) {
	l := newLab(t, nil)
	l.Fault("pve1", pvesim.Fault{Kind: pvesim.Hang})
	got := make(chan error, 1)
	go func() {
		_, err := l.request("pve1", "GET", "/api2/json/version", "", "", goodAuth)
		got <- err
	}()
	eventually(t, "the request hangs", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.seen) == 1 })
	down := 0
	l.OnDown(func(string) { down++ })
	l.PowerCut("pve1")
	l.PowerCut("pve1")
	if err := <-got; err == nil {
		t.Error("the request was answered")
	}
	if !l.refused("pve1") || l.NodeUp("pve1") || l.running(100) || down != 1 {
		t.Errorf("up %v, guest %v, down %d", l.NodeUp("pve1"), l.running(100), down)
	}
	// The others believe for a while that its guests run.
	if r := l.get(t, "pve2", "/cluster/resources?type=vm"); bytes.Count(r.data, []byte(`"status":"running"`)) != 6 {
		t.Errorf("%s", r.data)
	}
}

func TestQuorum(t *testing.T) {
	l := newLab(t, nil)
	l.PowerCut("pve1")
	l.PowerCut("pve3")
	if r := l.get(t, "pve2", "/cluster/status"); !bytes.Contains(r.data, []byte(`"quorate":0`)) {
		t.Errorf("%s", r.data)
	}
	if exit := l.task(t, "pve2", "/nodes/pve2/qemu/200/status/stop", ""); exit != "OK" {
		t.Errorf("stopping needs no quorum: %s", exit)
	}
	if r := l.post(t, "pve2", "/nodes/pve2/qemu/200/status/start", ""); r.status != 500 || r.reason != "cluster not ready - no quorum?" {
		t.Errorf("%+v", r)
	}
	l.PowerCut("pve2")
	if err := l.Start("pve1"); err != nil { // alone: its guests wait
		t.Fatal(err)
	}
	if r := l.get(t, "pve1", "/nodes/pve1/qemu/100/status/current"); !bytes.Contains(r.data, []byte(`"stopped"`)) {
		t.Errorf("%s", r.data)
	}
	if err := l.Start("pve2"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the guest starts once quorate", func() bool { return l.running(100) })
}

func TestLies(t *testing.T) {
	l := newLab(t, nil)
	l.Fault("pve1", pvesim.Fault{Kind: pvesim.Lies})
	if exit := l.task(t, "pve1", "/nodes/pve1/qemu/100/status/shutdown", ""); exit != "OK" || !l.running(100) {
		t.Errorf("%s, running %v", exit, l.running(100))
	}
	if r := l.post(t, "pve1", "/nodes/pve1/status", "command=shutdown"); r.status != 200 {
		t.Errorf("%+v", r)
	}
	l.Fault("pve1", pvesim.Fault{})
	if exit := l.task(t, "pve1", "/nodes/pve1/qemu/100/status/shutdown", ""); exit != "OK" || l.running(100) {
		t.Errorf("%s, running %v", exit, l.running(100))
	}
}

func TestRefusedRequests(t *testing.T) {
	l := newLab(t, nil)
	for name, tc := range map[string]struct {
		method, path, ctype, body string
		status                    int
	}{
		"malformed JSON":   {"POST", "/api2/json/nodes/pve1/status", "application/json", `{"command":`, 500},
		"JSON list":        {"POST", "/api2/json/nodes/pve1/status", "application/json", `["shutdown"]`, 500},
		"JSON and more":    {"POST", "/api2/json/nodes/pve1/status", "application/json", `{"command":"reboot"} x`, 500},
		"too large":        {"POST", "/api2/json/nodes/pve1/status", "", strings.Repeat("x", 600<<10), 501},
		"not the API":      {"GET", "/other", "", "", 501},
		"body in a GET":    {"GET", "/api2/json/version", "", "a=b", 501},
		"wrong method":     {"DELETE", "/api2/json/nodes/pve1/status", "", "", 501},
		"conflicting node": {"POST", "/api2/json/nodes/pve1/status?node=pve2", "", "command=reboot", 400},
	} {
		r, err := l.request("pve1", tc.method, tc.path, tc.ctype, tc.body, goodAuth)
		if err != nil || r.status != tc.status {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if !l.NodeUp("pve1") {
		t.Error("the node went down")
	}
}

func TestCloseEndsWhatRuns(t *testing.T) {
	l := newLab(t, nil)
	l.post(t, "pve1", "/nodes/pve1/qemu/102/status/shutdown", "timeout=3600")
	l.post(t, "pve1", "/nodes/pve1/status", "command=shutdown")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() { _ = l.Close(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatal("Close hangs")
	}
	if err := l.Start("pve1"); err == nil {
		t.Error("started after Close")
	}
}
