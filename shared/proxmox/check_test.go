package proxmox

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/pvesim"
)

// fit is a lab in which a plan has nothing to fear.
func fit(cfg *pvesim.Config) {
	cfg.Nodes[0].Guests[3].Lock = ""
}

func (l *lab) planOf(nodes ...string) shutdown.Plan {
	p := shutdown.Plan{Site: "home", Stages: []shutdown.Stage{{AllGuests: true, Deadline: time.Minute}, {Nodes: nodes, Deadline: time.Minute}}}
	for _, n := range nodes {
		p.Nodes = append(p.Nodes, shutdown.Node{Name: n, API: l.URL(n), Fingerprint: l.Fingerprint(n)})
	}
	return p
}

// found checks a plan with a short patience; each finding is "severity target: text".
func found(t *testing.T, p shutdown.Plan, secret string) []string {
	t.Helper()
	f, err := NewFleet(p, testToken, secret, nil, func(string) *time.Duration { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range f.nodes {
		c.timeout = 500 * time.Millisecond
	}
	return said(f.Check(t.Context()))
}

func said(all []Finding) []string {
	var out []string
	for _, f := range all {
		out = append(out, fmt.Sprintf("%s %s: %s", f.Severity, f.Target, f.Text))
	}
	return out
}

// grave leaves the notes out.
func grave(all []string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return strings.HasPrefix(s, "note ") })
}

func TestCheck_NothingToSay(t *testing.T) {
	l := newLab(t, fit)
	got := found(t, l.planOf("pve1", "pve2"), testSecret)
	if len(got) != 2 {
		t.Fatalf("%q", got)
	}
	for i, n := range []string{"pve1", "pve2"} {
		if want := fmt.Sprintf("note %s: %s at %s shows the pinned certificate, which is valid for 3649 more days", n, n, strings.TrimPrefix(l.URL(n), "https://")); got[i] != want {
			t.Errorf("%q, want %q", got[i], want)
		}
	}
	for _, x := range l.requests() {
		if x.Method != http.MethodGet {
			t.Errorf("a check changed something: %s %s", x.Method, x.Path)
		}
	}
}

// TestCheck_Findings: what is wrong, and the one sentence that comes of it.
func TestCheck_Findings(t *testing.T) {
	type row struct {
		change func(cfg *pvesim.Config)
		lines  []string
		plan   func(l *lab, p *shutdown.Plan)
		secret string
		want   []string // the begin of each finding that is no note, and part of it after a "..."
	}
	for name, c := range map[string]row{
		"a node is off": {lines: []string{"pve2 cut-power"},
			want: []string{"refusal pve2: pve2 at 127...is not reached: ...connection refused; check its address"}},
		"a node is mute": {lines: []string{"pve2 mute"},
			want: []string{"refusal pve2: ...is not reached: it did not answer in time"}},
		"a node hangs": {lines: []string{"pve2 hang"},
			want: []string{"refusal pve2: ...does not answer as Proxmox's API does: it did not answer in time"}},
		"a page": {lines: []string{"pve2 page"},
			want: []string{"refusal pve2: ...does not answer as Proxmox's API does: ...instead of JSON"}},
		"another certificate": {lines: []string{"pve2 renew"}, plan: func(l *lab, p *shutdown.Plan) { p.Nodes[1].Fingerprint = l.Fingerprint("pve1") },
			want: []string{"refusal pve2: ...shows a certificate with the fingerprint ...is pinned; if you know that it was renewed"}},
		"no CA": {plan: func(_ *lab, p *shutdown.Plan) { p.Nodes[1].Fingerprint = "" },
			want: []string{"refusal pve2: ...no CA of this system vouches for ...; pin its fingerprint"}},
		"an old pin": {plan: func(l *lab, p *shutdown.Plan) { l.renew("pve2", 20*24*time.Hour+time.Hour, p) },
			want: []string{"warning pve2: the pinned certificate of ...is valid for 20 more days, and Proxmox renews it before that"}},
		"an expired pin": {plan: func(l *lab, p *shutdown.Plan) { l.renew("pve2", -49*time.Hour, p) },
			want: []string{"warning pve2: the pinned certificate of ...ended 2 days ago"}},
		"a wrong secret": {secret: "wrong-secret",
			want: []string{"refusal token: the token is not valid; check its id"}},
		"no power over a node": {change: func(cfg *pvesim.Config) {
			cfg.Grants = map[string][]string{"/": {"Sys.Audit", "Sys.PowerMgmt", "VM.Audit", "VM.PowerMgmt"}, "/nodes/pve2": {"Sys.Audit"}}
		}, want: []string{"refusal pve2: the token lacks Sys.PowerMgmt on /nodes/pve2; give it"}},
		"no power over guests": {change: func(cfg *pvesim.Config) {
			cfg.Grants = map[string][]string{"/": {"Sys.Audit", "Sys.PowerMgmt", "VM.Audit", "VM.PowerMgmt"}, "/vms/100": {"VM.Audit"}, "/vms/101": {"VM.Audit"}}
		}, want: []string{"refusal pve1: the token lacks VM.PowerMgmt on /vms/100, /vms/101; give it"}},
		"no guests": {change: func(cfg *pvesim.Config) { cfg.Missing = []string{"VM.Audit"} },
			want: []string{"refusal token: the token is shown no guest at all, and lacks VM.Audit on /vms"}},
		"some guests": {change: func(cfg *pvesim.Config) {
			cfg.Grants = map[string][]string{"/": {"Sys.Audit", "Sys.PowerMgmt"}, "/vms/100": {"VM.Audit", "VM.PowerMgmt"}}
		}, want: []string{"warning token: the token lacks VM.Audit on /vms, so guests other than the 1 that it is shown"}},
		"guests that no stage names": {change: func(cfg *pvesim.Config) { cfg.Missing = []string{"VM.Audit", "VM.PowerMgmt"} },
			plan: func(_ *lab, p *shutdown.Plan) { p.Stages = p.Stages[1:] }},
		"too many privileges": {change: func(cfg *pvesim.Config) {
			cfg.Grants = map[string][]string{"/": {"Sys.Audit", "Sys.PowerMgmt", "VM.Audit", "VM.PowerMgmt", "VM.Allocate"}, "/storage": {"Datastore.Audit"}}
		}, want: []string{"warning token: the token may do more than a plan needs (Datastore.Audit on /storage, VM.Allocate on /); take that away"}},
		"a name that is not there": {plan: func(_ *lab, p *shutdown.Plan) { p.Nodes[1].Name = "nas" },
			want: []string{"refusal nas: the cluster at ...has no node called nas but pve1, pve2; write the name"}},
		"another one's address": {plan: func(l *lab, p *shutdown.Plan) {
			p.Nodes[1].API, p.Nodes[1].Fingerprint = l.URL("pve1"), l.Fingerprint("pve1")
		},
			want: []string{"refusal pve2: the address ...is that of pve1; write pve2's own"}},
		"locked guests": {lines: []string{"100 locked backup", "101 locked snapshot"},
			want: []string{"warning web: web is locked (backup) ...\"qm unlock 100\" on pve1", "warning dns: dns is locked (snapshot) ...\"pct unlock 101\" on pve1"}},
		"high availability": {change: func(cfg *pvesim.Config) { cfg.Nodes[1].Guests[0].HA = true },
			want: []string{"refusal cluster: high availability is at work (vm:200, watchdog of pve2)...before this plan is armed"}},
		"high availability unseen": {change: func(cfg *pvesim.Config) { cfg.Nodes[1].Guests[0].HA = true; cfg.Missing = []string{"Sys.Audit"} },
			want: []string{"refusal cluster: high availability is at work (db)", "warning token: the token lacks Sys.Audit on /, so only the guests themselves tell whether high availability manages them"}},
		"high availability and guests unseen": {change: func(cfg *pvesim.Config) { cfg.Missing = []string{"Sys.Audit", "VM.Audit"} },
			want: []string{
				"refusal pve1: whether high availability is at work could not be seen on pve1: the token also lacks VM.Audit on /vms", "refusal pve2: whether high availability",
				"refusal token: the token is shown no guest at all", "warning token: the token lacks Sys.Audit on /, so only"}},
		"errors midway": {lines: []string{"pve2 status 500 reads pipe closed"},
			want: []string{"refusal pve2: ...does not answer as Proxmox's API does: the API answered 500 pipe closed"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, func(cfg *pvesim.Config) {
				fit(cfg)
				if c.change != nil {
					c.change(cfg)
				}
			})
			p := l.planOf("pve1", "pve2")
			for _, line := range c.lines {
				if err := l.Do(line); err != nil {
					t.Fatal(err)
				}
			}
			if c.plan != nil {
				c.plan(l, &p)
			}
			secret := testSecret
			if c.secret != "" {
				secret = c.secret
			}
			got := grave(found(t, p, secret))
			if len(got) != len(c.want) {
				t.Fatalf("found\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
			for i, want := range c.want {
				rest := got[i]
				for j, part := range strings.Split(want, "...") {
					at := strings.Index(rest, part)
					if at < 0 || j == 0 && at > 0 {
						t.Fatalf("found %q, want %q", got[i], want)
					}
					rest = rest[at+len(part):]
				}
				if strings.Contains(got[i], secret) {
					t.Errorf("the secret shows in %q", got[i])
				}
			}
		})
	}
}

// renew gives a node another certificate, and pins it in the plan.
func (l *lab) renew(node string, valid time.Duration, p *shutdown.Plan) {
	if err := l.Renew(node, valid); err != nil {
		panic(err)
	}
	for i := range p.Nodes {
		if p.Nodes[i].Name == node {
			p.Nodes[i].Fingerprint = l.Fingerprint(node)
		}
	}
}

// TestCheck_ByCA: without a pin the days are the CA's, and after them nothing is reached.
func TestCheck_ByCA(t *testing.T) {
	for left, want := range map[time.Duration]string{
		100*24*time.Hour + time.Hour: "note pve2: ...that a CA of this system vouches for, which is valid for 100 more days",
		time.Hour:                    "warning pve2: the certificate of ...ends within a day, and after that the plan no longer reaches it",
		25 * time.Hour:               "warning pve2: the certificate of ...is valid for 1 more day, and after that",
		5*24*time.Hour + time.Hour:   "warning pve2: the certificate of ...is valid for 5 more days, and after that the plan no longer reaches it",
		-time.Hour:                   "refusal pve2: ...that no CA of this system vouches for (x509: certificate has expired",
	} {
		l := newLab(t, fit)
		if err := l.Renew("pve2", left); err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(l.Certificate("pve2"))
		o := l.options("pve2")
		o.Fingerprint = ""
		c, err := newClient(o, roots)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		f := &Fleet{plan: shutdown.Plan{Nodes: []shutdown.Node{{Name: "pve2"}}}, nodes: map[string]*Client{"pve2": c}}
		got := strings.Join(said(f.Check(t.Context())), "\n")
		begin, end, _ := strings.Cut(want, "...")
		if !strings.Contains(got, begin) || !strings.Contains(got, end) {
			t.Errorf("%s: %q", left, got)
		}
		if left > 0 && !strings.Contains(got, "note pve1: pve1 is in the cluster and not in the plan") {
			t.Errorf("the node outside the plan is not told of: %q", got)
		}
	}
}

// TestCheck_ThroughARelay: the way is the plan's own, and one that is gone is no node's fault.
func TestCheck_ThroughARelay(t *testing.T) {
	l := newLab(t, fit)
	f, err := NewFleet(l.planOf("pve1"), testToken, testSecret, func(context.Context, string, string) (net.Conn, error) {
		return nil, fmt.Errorf("through pi: the tailnet is gone")
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := said(f.Check(t.Context()))
	if len(got) != 1 || !strings.Contains(got[0], "is not reached: through pi: the tailnet is gone") || len(l.requests()) != 0 {
		t.Errorf("%q", got)
	}
}

// TestCheck_HAThatIsNotTold may be at work, and that is a refusal, whatever else is to be said.
func TestCheck_HAThatIsNotTold(t *testing.T) {
	o, _ := fakeAPI(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/ha/status/current"):
			http.Error(w, "no", http.StatusInternalServerError)
		case strings.HasSuffix(r.URL.Path, "/nodes"):
			_, _ = fmt.Fprint(w, `{"data":[{"node":"nas"}]}`)
		default:
			_, _ = fmt.Fprint(w, `{"data":[]}`)
		}
	})
	p := shutdown.Plan{Nodes: []shutdown.Node{{Name: "pve1", API: o.API, Fingerprint: o.Fingerprint}}}
	if got := found(t, p, testSecret); !strings.HasPrefix(got[0], "refusal pve1: whether high availability is at work could not be seen on pve1: the API answered 500") {
		t.Errorf("%q", got)
	}
}

// TestCheck_ABadEntryIsNoPanic: whatever a node answers, the check says so and goes on.
func TestCheck_ABadEntryIsNoPanic(t *testing.T) {
	bodies := []string{`null`, `[]`, `{}`, `7`, `"x"`, `[null]`, `[{"node":null}]`, `{"/":7}`, `{"/nodes/pve1":{"Sys.PowerMgmt":"1"}}`, `[{"type":"service"}]`, `[{"type":"lrm","status":null}]`}
	for _, body := range bodies {
		o, _ := fakeAPI(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"data":%s}`, body)
		})
		p := shutdown.Plan{Nodes: []shutdown.Node{{Name: "pve1", API: o.API, Fingerprint: o.Fingerprint}}, Stages: []shutdown.Stage{{AllGuests: true}}}
		got := found(t, p, testSecret)
		if len(grave(got)) == 0 {
			t.Errorf("%s: %q", body, got)
		}
	}
}

func TestActiveHA(t *testing.T) {
	service, lrm := haEntry{Type: "service", SID: "vm:100"}, haEntry{Type: "lrm", Status: "pve1 (active, Sat Nov 21)"}
	idle := haEntry{Type: "lrm", Status: "pve1 (idle, Sat Nov 21)"}
	for want, entries := range map[string][]haEntry{
		"":                         {idle, {Type: "quorum", Status: "OK"}, {Type: "master", Status: "pve1 (active, Sat Nov 21)"}},
		"vm:100":                   {idle, service},
		"watchdog of pve1":         {lrm},
		"vm:100, watchdog of pve1": {service, lrm, {Type: "fencing", Armed: "armed"}},
	} {
		if got := activeHA(entries); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := activeHA([]haEntry{service, lrm, {Type: "fencing", Armed: "disarmed"}}); got != "" {
		t.Errorf("disarmed, and yet %q", got)
	}
}

// TestErrors_SayWhatToDo: a refused token is told of with what it needs.
func TestErrors_SayWhatToDo(t *testing.T) {
	said := map[string]string{}
	for name, e := range map[string]*Error{
		"401":     {Code: 401, Reason: "no such token"},
		"403":     {Code: 403, Reason: "Permission check failed (/nodes/pve1, Sys.PowerMgmt)"},
		"403 any": {Code: 403, Reason: "Permission check failed (/, Sys.Audit|Sys.Modify)"},
		"403 odd": {Code: 403, Reason: "Permission check failed"},
		"500":     {Code: 500, Reason: "Permission check failed (/, Sys.Audit)"},
	} {
		said[name] = e.Error()
	}
	want := map[string]string{
		"401":     "the token is not valid; check its id, its secret, and whether it or its user has expired (the API answered 401 no such token)",
		"403":     "the token lacks Sys.PowerMgmt on /nodes/pve1; give it to the token and to its user (the API answered 403 Permission check failed (/nodes/pve1, Sys.PowerMgmt))",
		"403 any": "the token lacks Sys.Audit|Sys.Modify on /; give it to the token and to its user (the API answered 403 Permission check failed (/, Sys.Audit|Sys.Modify))",
		"403 odd": "the API answered 403 Permission check failed",
		"500":     "the API answered 500 Permission check failed (/, Sys.Audit)",
	}
	if !maps.Equal(said, want) {
		t.Errorf("%q", said)
	}
}

// TestErrors_WhoSaidNo: only what Proxmox itself turned down has certainly not been done.
func TestErrors_WhoSaidNo(t *testing.T) {
	for code, want := range map[int]bool{200: false, 400: true, 401: true, 403: true, 500: false, 501: true, 502: false, 596: false} {
		if got := (&Error{Code: code}).SaidNo(); got != want {
			t.Errorf("%d: %v, want %v", code, got, want)
		}
	}
}
