package web

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden file anew")

const golden = "testdata/page.html"

func at(clock string) time.Time {
	t, err := time.Parse(time.DateTime, "2026-11-21 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

func ratio(v float64) *float64 { return &v }

// full is a view with one of everything.
func full() *View {
	left := 31 * time.Minute
	return &View{
		At: at("19:02:31"), Verdict: "On battery at home for 20 s. You were called, not yet answered.",
		Phone:    "last self-test 06:00: fine, about 40 calls left (0.80 USD)",
		Warnings: []string{"The journal cannot be written; a restart now would forget what has happened since."},
		Sites: []Site{
			{Name: "home", HasPlan: true, OpenIncidents: 1, Stoppable: true,
				UPSes: []UPS{
					{Name: "ups", Supply: "battery", OnBattery: true, For: 20 * time.Second, Charge: ratio(0.96), Runtime: &left, Load: ratio(0.31), Age: time.Second},
					{Name: "old", Supply: "mains", For: 26 * time.Hour, Age: 3 * time.Minute, Stale: true},
				},
				Sources: []Source{
					{Name: "nas", Role: "node", Condition: "failed", State: "hidden behind: power outage, muted until 21:14", Note: "behind home-power-20261121T190211Z",
						Incident: "home-power-20261121T190211Z", MutedUntil: at("21:14:00"), Heard: true, Age: 25 * time.Second},
					{Name: "pi", Role: "pi", Condition: "up", State: "up", Heard: true, Age: 400 * time.Millisecond},
					{Name: "pve1", Role: "node", Condition: "off", State: "rebooting (planned, back by 19:14)", Note: "planned, back by 19:14", BackBy: at("19:14:00"), Heard: true, Age: 2 * time.Minute},
					{Name: "pve2", Role: "node", Condition: "pending", State: "pending"},
					{Name: "pve2 (2)", Role: "node", Condition: "up", State: "up, heard through pi alone", OnlyBy: "pi", CloneOf: "pve2", Heard: true},
				},
				Runs: []Run{{ID: "r", Title: "The plan advances", State: "advancing", Reason: "the power has been out for 10 s", Stage: 1, Now: "stage 1 of 3: 2 guests; waits for mail at most 1 min 40 s", Next: "stage 2 of 3, pve2, begins at 19:05:21 at the latest",
					Targets: []Target{{Name: "mail", State: "told"}, {Name: "db", State: "late", Why: "no answer"}}}},
			},
			{Name: "office", Armed: true, HasPlan: true, Unconfirmed: []string{"pi2"}, StoppedBy: "the operator", StopSays: "nas3 stays up", StopUnconfirmed: []string{"pi2"}, MaintenanceUntil: at("20:00:00"),
				Runs: []Run{{ID: "q", Title: "Last run of the plan: 12:00", State: "ended", Reason: "it was tried", Past: true, Targets: []Target{{Name: "nas2", State: "down"}}}},
				Off:  []Off{{Name: "nas2", State: "off", Text: "nas2 was told to shut down and is off still, last heard at 12:01; switch it on"}, {Name: "web", Node: "nas3", State: "off", Text: "web on nas3 was told to shut down at 12:00 and is off still; start it with `qm start 101` on nas3"}}},
			{Name: "cabin", HasPlan: true, ArmingUnknown: true, Unconfirmed: []string{"pi3"}},
		},
		Incidents: []Incident{
			{ID: "home-power-20261121T190211Z", Kind: "power_outage", Title: "Power outage at home", Site: "home", Since: at("19:02:11"), Open: true, Why: "the UPS has been on battery for 5 s", Earlier: []Spell{{at("18:10:00"), at("18:12:00")}},
				Nodes: []string{"nas", "pve1"}, Calls: []Call{{Contact: "Alex", At: at("19:02:21"), Outcome: "placed"}}},
			{ID: "home-node-20261121T120000Z", Kind: "node_failure", Title: "Failure at home", Site: "home", Ended: at("12:03:00"), Since: at("12:00:00"), Why: "pve2 sent nothing for 20 s",
				Nodes: []string{"pve2"}, Answered: "Alex", Outcome: "all of its nodes have been back for 60 s"},
			{ID: "home-internet-20261121T030000Z", Kind: "internet_outage", Title: "Internet outage at home", Site: "home", Ended: at("03:05:00"), Since: at("03:00:00"), Why: "everything there fell silent within 5 s"},
		},
		Timeline: []Entry{
			{At: at("19:02:21"), Text: "calling Alex, because the plan begins", Incident: "home-power-20261121T190211Z"},
			{At: at("19:02:18"), Text: "pve3 is back", Site: "home", Node: "pve3"},
			{At: at("19:02:16"), Text: "power outage at home", Site: "home", Incident: "home-power-20261121T190211Z"},
			{At: at("19:02:11"), Text: "ups: on battery", Site: "home", UPS: "ups"},
			{At: at("19:02:10"), Text: "ups: on mains", Site: "home", UPS: "ups"},
			{At: at("12:00:20"), Text: "pve2 failed", Site: "home", Node: "pve2"},
			{At: at("11:00:00"), Text: "pve2 is back", Site: "home", Node: "pve2"},
		},
		Waiting: []Stranger{
			{Name: "pi", Site: "home", Role: "pi", Key: "ed25519:AQgP", From: "pi on the tailnet", Why: "it has no tag:sentinel-pi", Hold: "a Pi needs tag:sentinel-pi",
				First: at("18:00:00"), Last: at("19:02:00")},
			{Name: "pve9", Role: "node", Key: "ed25519:YwgP", StableID: "n9", From: "laptop on the tailnet", Why: `the tailnet calls this machine "laptop"`,
				Command: "sudo sentinel-cloud approve pve9 --key ed25519:YwgP --site SITE", First: at("18:30:00"), Last: at("19:02:30")},
		},
		Calls: map[string]int{"placed": 1},
	}
}

func serve(t *testing.T, v *View) *http.ServeMux {
	t.Helper()
	p, err := NewPage(func() *View { return v }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	p.Register(mux)
	return mux
}

func get(mux *http.ServeMux, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestPage(t *testing.T) {
	w := get(serve(t, full()), "/")
	body := w.Body.String()
	if w.Code != http.StatusOK {
		t.Fatalf("answered %d %s", w.Code, body)
	}
	if *update {
		if err := os.WriteFile(golden, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), body); diff != "" {
		t.Errorf("-update writes it anew (-want +got):\n%s", diff)
	}
	wellFormed(t, body)
}

// void are the elements of the page that HTML does not close.
var void = regexp.MustCompile(`<(meta|br)( [^>]*)?>`)

// wellFormed checks that all elements are closed in their order.
func wellFormed(t *testing.T, body string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(void.ReplaceAllString(body, "<$1$2/>")))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("the page is broken: %v", err)
		}
	}
}

// TestPage_SaysWhatMatters, in words, whatever the golden file holds.
func TestPage_SaysWhatMatters(t *testing.T) {
	body := get(serve(t, full()), "/").Body.String()
	for _, want := range []string{
		"<title>On battery at home for 20 s. You were called, not yet answered.</title>",
		"<h1>On battery at home for 20 s. You were called, not yet answered.</h1>",
		"The journal cannot be written",
		"battery for 20 s, 96 %, 31 min left, load 31 %", "mains for 26 h<", "3 min ago",
		"planned, back by 19:14", "not heard",
		"The plan is not armed",
		"The plan advances, because the power has been out for 10 s; stage 1 of 3: 2 guests; waits for mail at most 1 min 40 s; stage 2 of 3, pve2, begins at 19:05:21 at the latest.", `<a href="/plan/stop">Stop the plan</a>`,
		"The plan was stopped by the operator, and does not begin again before the power is back; nas3 stays up. pi2 has not confirmed, and may go on.", "db: late", "(no answer)",
		"Power outage at home", "Internet outage at home", "Failure at home", "known to Alex", "Over at 12:03:00: all of its nodes", "and before that from 18:10:00 to 18:12:00",
		"The plan is armed: a power cut really shuts machines down.", "nas2 was told to shut down and is off still, last heard at 12:01; switch it on<br>web on nas3 was told",
		"call to Alex: placed", "calling Alex, because the plan begins",
		"<h2>Waiting to be approved</h2>", "pi pi at home, from pi on the tailnet, because it has no tag:sentinel-pi",
		"ed25519:AQgP: a Pi needs tag:sentinel-pi", "node pve9, from laptop on the tailnet", "since 18:30:00, last at 19:02:30",
		"<code>sudo sentinel-cloud approve pve9 --key ed25519:YwgP --site SITE</code>",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, is := range []string{"The plan is not armed", "The plan is armed"} {
		if n := strings.Count(body, is); n != 1 {
			t.Errorf("%d sites say %q, and of one each it is known", n, is)
		}
	}
	for _, unwanted := range []string{"pi3", "it was tried", "nas2: down"} { // what is not known, and a run that is past
		if strings.Contains(body, unwanted) {
			t.Errorf("the page says %q", unwanted)
		}
	}
	if strings.Contains(body, "%!") || strings.Contains(body, "&lt;nil&gt;") {
		t.Error("a value is shown raw")
	}
}

// TestPage_Icon is red, or amber while a plan is not armed or under a warning, or green.
func TestPage_Icon(t *testing.T) {
	for _, c := range []struct {
		v    View
		want string
	}{
		{View{}, "%23c0392b"},
		{View{Sites: []Site{{HasPlan: true}}}, "%23c0392b"},
		{View{Well: true}, "%2327833f"},
		{View{Well: true, Sites: []Site{{HasPlan: true, Armed: true}, {}}}, "%2327833f"},
		{View{Well: true, Sites: []Site{{HasPlan: true, ArmingUnknown: true}}}, "%2327833f"},
		{View{Well: true, Sites: []Site{{HasPlan: true, Armed: true}, {HasPlan: true}}}, "%23d68910"},
		{View{Well: true, Warnings: []string{"Nobody can be called."}}, "%23d68910"},
	} {
		body := get(serve(t, &c.v), "/").Body.String()
		if n := strings.Count(body, `<link rel="icon"`); n != 1 || !strings.Contains(body, "fill='"+c.want+"'/%3E") {
			t.Errorf("%+v: %d icons, want %s:\n%s", c.v, n, c.want, body[:min(len(body), 500)])
		}
	}
}

// TestPage_NamesOnce: an incident's line tells a node that its reason names by that alone.
func TestPage_NamesOnce(t *testing.T) {
	v := full()
	v.Incidents = []Incident{{Title: "Failure at home", Why: "pve1, db-2 and nas.lan sent nothing for 20 s.", Nodes: []string{"pve1", "db-2", "nas.lan", "db", "pve10", "s"}}}
	body := get(serve(t, v), "/").Body.String()
	if want := "because pve1, db-2 and nas.lan sent nothing for 20 s.; db, pve10"; !strings.Contains(body, want) {
		t.Errorf("the page does not say %q", want)
	}
}

// TestPage_HostileNames: whatever a node or person is called, it stays text.
func TestPage_HostileNames(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>&{{.}}'`
	v := full()
	v.Verdict, v.Warnings[0], v.Timeline[0].Text = evil, evil, evil
	v.Waiting[0] = Stranger{Name: evil, Site: evil, Role: evil, Key: evil, From: evil, Why: evil, Hold: evil}
	v.Waiting[1].Command = evil
	s := &v.Sites[0]
	s.Name, s.UPSes[0].Name, s.UPSes[0].Supply = evil, evil, evil
	s.Sources[0] = Source{Name: evil, Condition: evil, State: evil}
	v.Sites[1].Unconfirmed = []string{evil}
	v.Sites[1].StoppedBy, v.Sites[1].StopSays, v.Sites[1].StopUnconfirmed, s.Runs[0].Now = evil, evil, []string{evil}, evil
	s.Runs[0].Title, s.Runs[0].Reason, s.Runs[0].Targets[0] = evil, evil, Target{Name: evil, State: evil, Why: evil}
	i := &v.Incidents[0]
	i.Title, i.Site, i.Why, i.Outcome, i.Answered, i.Nodes[0], i.Calls[0].Contact, i.Calls[0].Outcome = evil, evil, evil, evil, evil, evil, evil, evil
	body := get(serve(t, v), "/").Body.String()
	for _, bad := range []string{"<script", "<img", "onerror=alert(1)>"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	wellFormed(t, body)
}

// TestPage_Headers: nothing is loaded, framed, run or kept.
func TestPage_Headers(t *testing.T) {
	w := get(serve(t, full()), "/")
	for key, want := range map[string]string{
		"Content-Type":            "text/html; charset=utf-8",
		"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; frame-ancestors 'none'",
		"Cache-Control":           "no-store",
	} {
		if got := w.Header().Get(key); got != want {
			t.Errorf("%s: %q", key, got)
		}
	}
}

// TestS10_ThePageAsksOnce before it stops the plan, on a page that stands still.
func TestS10_ThePageAsksOnce(t *testing.T) {
	w := get(serve(t, full()), "/plan/stop")
	body := w.Body.String()
	if !strings.Contains(body, `<form method="post" action="/plan/stop"><button>Stop it</button>`) || strings.Contains(body, "refresh") {
		t.Errorf("it asks %s", body)
	}
	if !strings.Contains(body, "<code>sudo sentinel-cloud plan stop</code>") {
		t.Error("who reads it on a phone is not told what works from there")
	}
	wellFormed(t, body)
	if strings.Contains(get(serve(t, &View{Sites: []Site{{Name: "home", HasPlan: true}}}), "/").Body.String(), "/plan/stop") {
		t.Error("there is a button with nothing to stop")
	}
}

func TestPage_Empty(t *testing.T) {
	w := get(serve(t, &View{Verdict: "All well."}), "/")
	if body := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(body, "Nothing yet.") || strings.Contains(body, "Incidents") || strings.Contains(body, "Waiting") {
		t.Errorf("answered %d %s", w.Code, body)
	}
	wellFormed(t, w.Body.String())
}

// TestStarting: before the first view there is nothing to show, and that is said.
func TestStarting(t *testing.T) {
	mux := serve(t, nil)
	for _, path := range []string{"/", "/api/v1/status", "/api/v1/incidents", "/api/v1/incidents/x", "/api/v1/nodes", "/api/v1/calls"} {
		if w := get(mux, path); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "the brain is starting") {
			t.Errorf("%s answered %d %s", path, w.Code, w.Body)
		}
	}
	var e struct{ Error string }
	if err := json.Unmarshal(get(mux, "/api/v1/status").Body.Bytes(), &e); err != nil || e.Error == "" {
		t.Errorf("no error in JSON: %v", err)
	}
}

// TestStatus is the view as JSON; what is not known is absent, not zero.
func TestStatus(t *testing.T) {
	w := get(serve(t, full()), "/api/v1/status")
	var back View
	if err := json.Unmarshal(w.Body.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full(), &back); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", w.Header())
	}
	var raw struct {
		Sites []struct {
			UPSes []map[string]any `json:"upses"`
		} `json:"sites"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &raw); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"charge_ratio", "runtime_ns", "load_ratio"} {
		if _, there := raw.Sites[0].UPSes[1][key]; there {
			t.Errorf("%s is not known, and yet there", key)
		}
	}
}

func TestOtherPaths(t *testing.T) {
	mux := serve(t, full())
	if w := get(mux, "/index.html"); w.Code != http.StatusNotFound {
		t.Errorf("answered %d", w.Code)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST answered %d", w.Code)
	}
}

func TestUntil(t *testing.T) {
	taipei := time.FixedZone("", 8*3600)
	for _, tt := range []struct {
		until, now time.Time
		want       string
	}{
		{at("21:14:00"), at("19:02:00"), "21:14"},
		{at("21:14:00").AddDate(0, 0, 1), at("19:02:00"), "Sun 22 Nov 21:14"},
		{at("21:14:00").AddDate(1, 0, 0), at("21:14:00"), "Sun 21 Nov 21:14"},
		{at("15:30:00").In(taipei), at("16:10:00").AddDate(0, 0, -1), "23:30"}, // it is the same day there
	} {
		if got := Until(tt.until, tt.now); got != tt.want {
			t.Errorf("%s is shown as %q at %s, not %q", tt.until, got, tt.now, tt.want)
		}
	}
}
