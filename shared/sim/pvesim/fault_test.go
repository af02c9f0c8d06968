package pvesim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/proxmox"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/pvesim"
)

func (l *lab) do(t *testing.T, line string) {
	t.Helper()
	if err := l.Do(line); err != nil {
		t.Fatal(err)
	}
}

// TestNodeFaults: what a request meets, by the fault that a line sets, and what of it was
// done all the same.
func TestNodeFaults(t *testing.T) {
	const patience = 150 * time.Millisecond
	for line, want := range map[string]struct {
		read, command string // status and reason, or what the client made of it
		done          bool
	}{
		"none":                                   {"200 OK", "200 OK", true},
		"mute":                                   {"timeout", "timeout", false},
		"hang":                                   {"timeout", "timeout", false},
		"hang reads":                             {"timeout", "200 OK", true},
		"half":                                   {"timeout", "timeout", true},
		"half reads":                             {"timeout", "200 OK", true},
		"cut":                                    {"unexpected EOF", "unexpected EOF", true},
		"status 500 got timeout":                 {"500 got timeout", "500 got timeout", false},
		"status 596 guests Connection timed out": {"200 OK", "596 Connection timed out", false},
		"status 500 node no":                     {"200 OK", "200 OK", true},
		"page commands":                          {"200 OK", "200 OK", false},
		"lies":                                   {"200 OK", "200 OK", false},
		"slow 40ms":                              {"200 OK", "200 OK", true},
		"slow 300ms":                             {"timeout", "timeout", true},
		"unauthorized":                           {"401 Authentication failed!", "401 Authentication failed!", false},
		"unauthorized commands":                  {"200 OK", "401 Authentication failed!", false},
		"lacks VM.PowerMgmt":                     {"200 OK", "403 Permission check failed (/vms/100, VM.PowerMgmt)", false},
		"lacks VM.Audit,VM.PowerMgmt":            {"403 Permission check failed (/vms/100, VM.Audit)", "403 Permission check failed (/vms/100, VM.PowerMgmt)", false},
		"noforward 595":                          {"200 OK", "200 OK", true},
	} {
		t.Run(line, func(t *testing.T) {
			l := newLab(t, nil)
			l.http.Timeout = patience
			l.do(t, "pve1 "+line)
			begin := time.Now()
			for what, tc := range map[string]struct{ method, path, want string }{
				"read":    {"GET", "/api2/json/nodes/pve1/qemu/100/status/current", want.read},
				"command": {"POST", "/api2/json/nodes/pve1/qemu/100/status/shutdown", want.command},
			} {
				r, err := l.request("pve1", tc.method, tc.path, "", "", goodAuth)
				got := fmt.Sprintf("%d %s", r.status, r.reason)
				if err != nil {
					got = err.Error()
				}
				if strings.Contains(got, "Timeout") || strings.Contains(got, "deadline exceeded") {
					got = "timeout"
				}
				if !strings.HasSuffix(got, tc.want) {
					t.Errorf("%s: %s, want %s", what, got, tc.want)
				}
			}
			if line == "slow 40ms" && time.Since(begin) < 80*time.Millisecond {
				t.Error("it was not slow")
			}
			if want.done {
				eventually(t, "the command is done", func() bool { return !l.running(100) })
			}
			l.http.Timeout = 20 * time.Second
			l.do(t, "pve1 none")
			exit := l.task(t, "pve1", "/nodes/pve1/qemu/100/status/start", "") // comes after whatever was begun
			if (exit == "OK") != want.done {
				t.Errorf("the command was done: %v, want %v; then a start ends with %s", exit == "OK", want.done, exit)
			}
		})
	}
}

// TestNodeFaults_Staying: a node may take its guests' commands and lie about its own.
func TestNodeFaults_Staying(t *testing.T) {
	l := newLab(t, nil)
	l.do(t, "pve1 lies node")
	if exit := l.task(t, "pve1", "/nodes/pve1/qemu/100/status/shutdown", ""); exit != "OK" || l.running(100) {
		t.Errorf("%s, running %v", exit, l.running(100))
	}
	if r := l.post(t, "pve1", "/nodes/pve1/status", "command=shutdown"); r.status != 200 {
		t.Errorf("%+v", r)
	}
	l.post(t, "pve2", "/nodes/pve2/status", "command=shutdown")
	eventually(t, "one told after it is down", func() bool { return !l.NodeUp("pve2") })
	if !l.NodeUp("pve1") {
		t.Error("it went down")
	}
}

// TestForwarding: what a node answers for another one, by what is wrong between them.
func TestForwarding(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"pve1 noforward 595", "595 Connection refused"},
		{"pve1 noforward 596", "596 Connection timed out"},
		{"pve2 hang", "596 Connection timed out"},
		{"pve2 mute", "596 Connection timed out"},
		{"pve2 cut-power", "595 No route to host"},
		{"split on", "595 No route to host"},
	} {
		l := newLab(t, nil)
		l.do(t, tc.line)
		r := l.get(t, "pve1", "/nodes/pve2/qemu/200/status/current")
		if got := fmt.Sprintf("%d %s", r.status, r.reason); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.line, got, tc.want)
		}
		if r := l.get(t, "pve1", "/nodes/pve1/qemu/100/status/current"); r.status != 200 {
			t.Errorf("%s: of itself: %+v", tc.line, r)
		}
	}
}

// TestSplit: without a quorum a node shuts down itself and its guests, and starts none.
func TestSplit(t *testing.T) {
	l := newLab(t, nil)
	l.do(t, "split on")
	if r := l.post(t, "pve1", "/nodes/pve1/qemu/100/status/start", ""); r.status != 500 || r.reason != "cluster not ready - no quorum?" {
		t.Errorf("%+v", r)
	}
	if exit := l.task(t, "pve1", "/nodes/pve1/qemu/100/status/shutdown", "timeout=5"); exit != "OK" || l.running(100) {
		t.Errorf("%s, running %v", exit, l.running(100))
	}
	l.do(t, "split off")
	if exit := l.task(t, "pve1", "/nodes/pve1/qemu/100/status/start", ""); exit != "OK" || !l.running(100) {
		t.Errorf("%s, running %v", exit, l.running(100))
	}
}

// TestGuestFaults: how a shutdown with force ends, and whether the guest runs then.
func TestGuestFaults(t *testing.T) {
	for line, want := range map[string]struct {
		answer, exit string // exit: of the task, if there is one
		running      bool
	}{
		"100 none":                           {"200 OK", "OK", false},
		"100 deaf":                           {"200 OK", "OK", false}, // by force
		"100 noagent":                        {"200 OK", "OK", false},
		"100 immortal":                       {"200 OK", "OK", true},
		"100 locked migrate":                 {"200 OK", "VM is locked (migrate)", true},
		"101 locked backup":                  {"200 OK", "CT is locked (backup)", true},
		"100 fails VM quit/powerdown failed": {"200 OK", "VM quit/powerdown failed", true},
		"100 nothing":                        {"200 OK", "OK", true},
		"100 notask":                         {"200 OK", "no such task", true},
		"100 endless":                        {"200 OK", "running", true},
		"101 refuses VM 101 qmp command 'x' failed": {"500 VM 101 qmp command 'x' failed", "", true},
		"103 none": {"200 OK", "OK", false}, // its lock is lifted
	} {
		t.Run(line, func(t *testing.T) {
			l := newLab(t, func(cfg *pvesim.Config) { cfg.AgentDelay = 20 * time.Millisecond })
			l.do(t, line)
			var id int
			if _, err := fmt.Sscan(line, &id); err != nil {
				t.Fatal(err)
			}
			kind := "qemu"
			if id == 101 {
				kind = "lxc"
			}
			r := l.post(t, "pve1", fmt.Sprintf("/nodes/pve1/%s/%d/status/shutdown", kind, id), "timeout=1&forceStop=1")
			if got := fmt.Sprintf("%d %s", r.status, r.reason); got != want.answer {
				t.Fatalf("%s, want %s", got, want.answer)
			}
			var upid string
			if r.status == 200 {
				if err := json.Unmarshal(r.data, &upid); err != nil || !strings.HasPrefix(upid, "UPID:pve1:") {
					t.Fatalf("%s: %v", r.data, err)
				}
			}
			switch want.exit {
			case "":
			case "no such task", "running":
				r := l.get(t, "pve1", "/nodes/pve1/tasks/"+upid+"/status")
				if !strings.Contains(string(r.data)+r.errors["upid"], want.exit) {
					t.Errorf("task: %+v", r)
				}
			default:
				if exit := l.wait(t, "pve1", upid); exit != want.exit {
					t.Errorf("exit %q, want %q", exit, want.exit)
				}
			}
			if l.running(id) != want.running {
				t.Errorf("running: %v", l.running(id))
			}
		})
	}
}

// TestRenew: the certificate is another one at once, on every connection.
func TestRenew(t *testing.T) {
	l := newLab(t, nil)
	l.get(t, "pve1", "/version") // leaves a connection to be used again
	before := l.Fingerprint("pve1")
	if err := l.Renew("pve1", 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if l.Fingerprint("pve1") == before || time.Until(l.Certificate("pve1").NotAfter) > 24*time.Hour {
		t.Errorf("%s until %s", l.Fingerprint("pve1"), l.Certificate("pve1").NotAfter)
	}
	if _, err := l.request("pve1", "GET", "/api2/json/version", "", "", goodAuth); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("the old trust still holds: %v", err)
	}
}

func TestGrants(t *testing.T) {
	l := newLab(t, func(cfg *pvesim.Config) {
		cfg.Grants = map[string][]string{"/vms": {"VM.Audit"}, "/vms/100": {"VM.PowerMgmt", "VM.Audit"}, "/vms/101": {"VM.PowerMgmt"}}
	})
	for path, want := range map[string]string{
		"":                   `{"/vms":{"VM.Audit":1},"/vms/100":{"VM.Audit":1,"VM.PowerMgmt":1},"/vms/101":{"VM.PowerMgmt":1}}`,
		"?path=%2Fvms%2F102": `{"/vms/102":{"VM.Audit":1}}`,
		"?path=%2Fnodes":     `{}`,
	} {
		if r := l.get(t, "pve1", "/access/permissions"+path); string(r.data) != want {
			t.Errorf("%s: %s", path, r.data)
		}
	}
	if r := l.get(t, "pve1", "/nodes/pve1/lxc"); string(r.data) != "[]" {
		t.Errorf("a guest without VM.Audit is listed: %s", r.data)
	}
	if r := l.post(t, "pve1", "/nodes/pve1/qemu/102/status/stop", ""); r.reason != "Permission check failed (/vms/102, VM.PowerMgmt)" {
		t.Errorf("%+v", r)
	}
}

func TestHAIsShown(t *testing.T) {
	l := newLab(t, nil)
	if r := l.get(t, "pve1", "/cluster/ha/status/current"); strings.Contains(string(r.data), "service") || !strings.Contains(string(r.data), `"quorate":1`) {
		t.Errorf("%s", r.data)
	}
	l = newLab(t, func(cfg *pvesim.Config) { cfg.Nodes[1].Guests[0].HA = true })
	if r := l.get(t, "pve1", "/cluster/ha/status/current"); !strings.Contains(string(r.data), `"sid":"vm:200"`) || !strings.Contains(string(r.data), `pve2 (active`) {
		t.Errorf("%s", r.data)
	}
	if r := l.get(t, "pve2", "/nodes/pve2/qemu/200/status/current"); !strings.Contains(string(r.data), `"ha":{"managed":1}`) {
		t.Errorf("%s", r.data)
	}
}

// TestControl: the route takes the same lines, shows what is in force, and says what it
// does not understand.
func TestControl(t *testing.T) {
	l := newLab(t, nil)
	srv := httptest.NewServer(l.Control())
	defer srv.Close()
	post := func(line string) (int, string) {
		t.Helper()
		resp, err := srv.Client().Post(srv.URL, "text/plain", strings.NewReader(line))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	for _, line := range []string{"pve1 status 500 commands no luck", "pve2 slow 2s", "100 locked backup", "split on", "pve3 renew", "102 none"} {
		if code, text := post(line); code != http.StatusNoContent {
			t.Errorf("%s: %d %s", line, code, text)
		}
	}
	resp, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var s pvesim.State
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	if f := s.Nodes["pve1"]; f.Kind != pvesim.Status || f.Code != 500 || f.On != pvesim.Commands || f.Reason != "no luck" {
		t.Errorf("%+v", f)
	}
	if !s.Split || s.Nodes["pve2"].Delay != 2*time.Second || s.Guests[100].Reason != "backup" || len(s.Nodes) != 2 || len(s.Guests) != 1 {
		t.Errorf("%+v", s)
	}
	for _, line := range []string{"", "pve1", "pve9 hang", "999 deaf", "pve1 sulks", "100 sulks", "100 locked", "100 locked mounted", "100 fails", "pve1 status",
		"pve1 status 200", "pve1 status 700", "pve1 slow", "pve1 slow -1s", "pve1 lacks", "pve1 noforward 500", "pve1 mute reads", "pve1 hang there", "split maybe", "pve9 renew", "pve9 cut-power", "pve9 start"} {
		if code, text := post(line); code != http.StatusBadRequest || len(text) < 5 {
			t.Errorf("%q: %d %s", line, code, text)
		}
	}
}

// TestSchema_Locks: the simulator's locks are those of the official description.
func TestSchema_Locks(t *testing.T) {
	s := loadSchema(t)
	l := newLab(t, nil)
	for kind, id := range map[string]int{"qemu": 100, "lxc": 101} {
		m, _, err := s.find(http.MethodPut, fmt.Sprintf("/nodes/pve1/%s/%d/config", kind, id))
		if err != nil {
			t.Fatal(err)
		}
		known := m.Parameters.Properties["lock"].Enum
		if len(known) < 5 {
			t.Fatalf("%s: locks %v", kind, known)
		}
		for _, lock := range append(slices.Clone(known), "nonsense", "clone", "disk") {
			err := l.GuestFault(id, pvesim.GuestFault{Kind: pvesim.Locked, Reason: lock})
			if (err == nil) != slices.Contains(known, lock) {
				t.Errorf("%s %s: %v", kind, lock, err)
			}
		}
	}
}

// TestSchema_Privileges: where the official description asks for a privilege, the simulator
// refuses who lacks it, and names it with its path.
func TestSchema_Privileges(t *testing.T) {
	s := loadSchema(t)
	l := newLab(t, func(cfg *pvesim.Config) {
		cfg.Missing = []string{"Sys.Audit", "Sys.PowerMgmt", "VM.Audit", "VM.PowerMgmt"}
	})
	asked := 0
	for _, path := range []string{"/version", "/nodes", "/cluster/status", "/cluster/resources", "/cluster/ha/status/current", "/access/permissions",
		"/nodes/pve1/status", "/nodes/pve1/qemu", "/nodes/pve1/lxc", "/nodes/pve1/qemu/100/status/current", "/nodes/pve1/lxc/101/status/current",
		"/nodes/pve1/qemu/100/status/shutdown", "/nodes/pve1/lxc/101/status/shutdown", "/nodes/pve1/qemu/100/status/stop", "/nodes/pve1/lxc/101/status/stop",
		"/nodes/pve1/qemu/100/status/start", "/nodes/pve1/lxc/101/status/start"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			m, vars, err := s.find(method, path)
			if err != nil {
				continue
			}
			body := ""
			if method == http.MethodPost {
				body = "command=shutdown"
			}
			r, err := l.request("pve1", method, "/api2/json"+path, "", body, goodAuth)
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Permissions.Check) == 0 {
				if r.status == http.StatusForbidden {
					t.Errorf("%s %s: %s, and everybody may", method, path, r.reason)
				}
				continue
			}
			asked++
			var on string
			var privs []string
			if err := json.Unmarshal(m.Permissions.Check[1], &on); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(m.Permissions.Check[2], &privs); err != nil {
				t.Fatal(err)
			}
			for name, v := range vars {
				on = strings.ReplaceAll(on, "{"+name+"}", fmt.Sprint(v))
			}
			if want := fmt.Sprintf("Permission check failed (%s, %s)", on, privs[0]); r.status != http.StatusForbidden || r.reason != want {
				t.Errorf("%s %s: %d %s, want %s", method, path, r.status, r.reason, want)
			}
		}
	}
	if asked < 12 {
		t.Errorf("only %d calls ask for a privilege: this proves little", asked)
	}
}

// TestSchema_CheckRequests: a check of a plan asks only, and validly.
func TestSchema_CheckRequests(t *testing.T) {
	s := loadSchema(t)
	l := newLab(t, func(cfg *pvesim.Config) { cfg.Missing = []string{"Sys.Audit"} }) // it asks the guests, too
	plan := shutdown.Plan{Nodes: []shutdown.Node{{Name: "pve1", API: l.URL("pve1"), Fingerprint: l.Fingerprint("pve1")}}, Stages: []shutdown.Stage{{AllGuests: true}}}
	f, err := proxmox.NewFleet(plan, token, secret, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Check(t.Context())
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.seen {
		if err := s.checkExchange(x); err != nil || x.Method != http.MethodGet {
			t.Errorf("%s %s: %v", x.Method, x.Path, err)
		}
	}
	if len(l.seen) < 15 {
		t.Errorf("only %d requests were seen: this proves little", len(l.seen))
	}
}
