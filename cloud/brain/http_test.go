package brain

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// TestR1_Buttons are for people on the machine itself, and not for other sites' pages.
func TestR1_Buttons(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		for _, tt := range []struct {
			name, path string
			header     http.Header
			code       int
			want       string
		}{
			{"another site's page", "/api/v1/plan/arm", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403, "only be pressed on the sentinel's own page"},
			{"another origin", "/api/v1/plan/arm", http.Header{"Origin": {"https://evil.example"}}, 403, "only be pressed on the sentinel's own page"},
			{"an incident that is none", "/api/v1/incidents/home-power-x/ack", nil, 404, `no incident \"home-power-x\" is open`},
			{"its own page", "/api/v1/plan/arm", http.Header{"Sec-Fetch-Site": {"same-origin"}}, 204, ""},
			{"a shell", "/api/v1/plan/disarm", nil, 204, ""},
		} {
			code, text := h.request(http.MethodPost, tt.path, tt.header, nil)
			if code != tt.code || !strings.Contains(text, tt.want) {
				h.Errorf("%s: answered %d %s", tt.name, code, text)
			}
			if code >= 400 && h.view().Sites[0].Armed {
				h.Errorf("%s: armed", tt.name)
			}
		}
		if code, _ := h.request(http.MethodGet, "/api/v1/plan/arm", nil, nil); code != http.StatusMethodNotAllowed {
			h.Errorf("GET answered %d", code)
		}
	})
}

// TestR1_ButtonsFromAfar: who comes over the network is no admin, but the control socket is.
func TestR1_ButtonsFromAfar(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		pressed := false
		handler := h.brain.button(func(context.Context, *http.Request) error { pressed = true; return nil })
		for _, from := range []string{"100.64.0.9:1234", "192.168.77.5:1", "pipe", "", "[fd7a::1]:80"} {
			w := &answer{header: http.Header{}}
			r, err := http.NewRequest(http.MethodPost, "/x", nil)
			if err != nil {
				h.Fatal(err)
			}
			r.RemoteAddr = from
			handler(w, r)
			if w.code != http.StatusForbidden || pressed {
				h.Errorf("from %q it answered %d", from, w.code)
			}
			asAdmin(handler).ServeHTTP(w, r)
			if w.code != http.StatusNoContent || !pressed {
				h.Errorf("by the control socket it answered %d", w.code)
			}
			pressed = false
		}
	})
}

// TestR1_ButtonsByAnotherName: a page whose name somebody made to point at this machine is
// the browser's own site there, and still another's page.
func TestR1_ButtonsByAnotherName(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		handler := h.brain.button(func(context.Context, *http.Request) error { return nil })
		for name, code := range map[string]int{
			"127.0.0.1:8080": 204, "127.8.9.1": 204, "[::1]:8080": 204, "[::1]": 204, "localhost:8080": 204, "LocalHost": 204,
			"evil.example:8080": 403, "evil.example": 403, "": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example:80": 403,
			"192.168.1.2:8080": 403, "0.0.0.0:8080": 403, "evil.example:127.0.0.1": 403,
		} {
			w := &answer{header: http.Header{}}
			r, err := http.NewRequest(http.MethodPost, "/x", nil)
			if err != nil {
				h.Fatal(err)
			}
			r.RemoteAddr, r.Host = "127.0.0.1:1234", name
			r.Header.Set("Origin", "http://"+name)
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			handler(w, r)
			if w.code != code {
				h.Errorf("%q: answered %d", name, w.code)
			}
			asAdmin(handler).ServeHTTP(w, r)
			if w.code != http.StatusNoContent {
				h.Errorf("by the control socket it answered %d", w.code)
			}
		}
	})
}

// TestR2_ErrorsAreShortJSON: what nobody answers reads as every error, and none gives back
// all that it was asked.
func TestR2_ErrorsAreShortJSON(t *testing.T) {
	in(t, nil, func(h *home) {
		long := strings.Repeat("x", 10<<10)
		for _, tt := range []struct {
			method, path string
			code         int
		}{
			{http.MethodGet, "/wp-login.php", 404}, {http.MethodGet, "/v1/heartbeat", 405}, {http.MethodDelete, "/api/v1/plan/arm", 405},
			{http.MethodPost, "/api/v1/incidents/" + long + "/ack", 404},
			{http.MethodPost, "/api/v1/nodes/" + long + "/approve", 404},
			{http.MethodPost, "/api/v1/nodes/x/approve?site=" + long, 404},
		} {
			code, text := h.request(tt.method, tt.path, nil, nil)
			var body courier.ErrorBody
			if err := json.Unmarshal([]byte(text), &body); err != nil || body.Error == "" || code != tt.code || len(text) > 400 {
				h.Errorf("%s %.40s: answered %d %.400s (%v)", tt.method, tt.path, code, text, err)
			}
		}
	})
}

// answer is a ResponseWriter that keeps the last status.
type answer struct {
	header http.Header
	code   int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(code int)        { a.code = code }
func (a *answer) Write(p []byte) (int, error) { return len(p), nil }

// TestPlanWithoutAPlan: arming what does not exist is bad news.
func TestPlanWithoutAPlan(t *testing.T) {
	in(t, nil, func(h *home) {
		if code, text := h.request(http.MethodPost, "/api/v1/plan/arm", nil, nil); code != http.StatusConflict || !strings.Contains(text, "there is no plan") {
			h.Errorf("answered %d %s", code, text)
		}
	})
}

// TestAcknowledge: nobody is called any more.
func TestAcknowledge(t *testing.T) {
	in(t, nil, func(h *home) {
		h.ups.set(true)
		rest(8 * time.Second)
		id := h.view().Incidents[0].ID
		h.press("/api/v1/incidents/" + id + "/ack")
		rest(time.Minute)
		h.calls(0)
		if v := h.view(); !strings.HasSuffix(v.Verdict, "The operator knows.") {
			h.Errorf("verdict %q", v.Verdict)
		}
	})
}

// TestR2_SlowBody: who takes longer than 10 s for a message gets one error.
func TestR2_SlowBody(t *testing.T) {
	in(t, nil, func(h *home) {
		conn, err := h.net.dial(h.Context(), "tcp", wayOut)
		if err != nil {
			h.Fatal(err)
		}
		defer conn.Close()
		begin := time.Now()
		if _, err := io.WriteString(conn, "POST /v1/announce HTTP/1.1\r\nHost: brain\r\nContent-Length: 500\r\n\r\n{\"payload"); err != nil {
			h.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			h.Fatal(err)
		}
		defer resp.Body.Close()
		if took := time.Since(begin); resp.StatusCode != http.StatusRequestTimeout || took > 11*time.Second {
			h.Errorf("answered %d after %s", resp.StatusCode, took)
		}
		_, text := h.request(http.MethodGet, "/metrics", nil, nil)
		if !strings.Contains(text, `sentinel_messages_refused_total{reason="slow"} 1`) {
			h.Error("not counted")
		}
	})
}

// TestR6_Metrics shows what is going on in numbers.
func TestR6_Metrics(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.nodes["pve2"].kill()
		rest(30 * time.Second)
		code, text := h.request(http.MethodGet, "/metrics", nil, nil)
		if code != http.StatusOK {
			h.Fatalf("answered %d", code)
		}
		for _, want := range []string{
			`sentinel_node_up{node="pve1",site="home"} 1`, `sentinel_node_up{node="pve2",site="home"} 0`, `sentinel_node_up{node="pi",site="home"} 1`,
			`sentinel_ups_on_battery{site="home",ups="ups"} 0`, `sentinel_ups_charge_ratio{site="home",ups="ups"} 0.96`, `sentinel_ups_runtime_seconds{site="home",ups="ups"} 18`,
			`sentinel_incidents_open{kind="node_failure",site="home"} 1`, `sentinel_incidents_open{kind="power_outage",site="home"} 0`, `sentinel_incidents_open{kind="tailnet_down",site=""} 0`,
			`sentinel_node_muted{node="pve1",site="home"} 0`, `sentinel_node_maintenance{node="pve1",site="home"} 0`, `sentinel_plan_armed{site="home"} 1`, `sentinel_calls_total{outcome="answered"} 1`,
			`sentinel_node_heartbeat_age_seconds{node="pve1",site="home"} `, `sentinel_journal_errors_total 0`, `sentinel_machines_waiting 0`,
		} {
			if !strings.Contains(text, "\n"+want) {
				h.Errorf("no %s", want)
			}
		}
		for _, path := range []string{"/healthz", "/readyz", "/"} {
			if code, text := h.request(http.MethodGet, path, nil, nil); code != http.StatusOK {
				h.Errorf("%s answered %d %s", path, code, text)
			}
		}
	})
}

// TestASiteWithoutAPlanIsNotDisarmed: an alert about a plan that is not armed would never end there.
func TestASiteWithoutAPlanIsNotDisarmed(t *testing.T) {
	in(t, nil, func(h *home) {
		_, text := h.request(http.MethodGet, "/metrics", nil, nil)
		if strings.Contains(text, "sentinel_plan_armed{") || !strings.Contains(text, `sentinel_node_up{node="pve1",site="home"} 1`) {
			h.Errorf("without a plan it says\n%s", text)
		}
	})
}

// TestAnswers hand out what nodes and Pis must know, and no more.
func TestAnswers(t *testing.T) {
	in(t, func(h *home) {
		h.withPlan()
		h.cfg.Sites[0].Pis[0].Address = "192.168.77.2:7777"
	}, func(h *home) {
		node, pi := h.nodes["pve1"].answer(), h.pi.answer()
		if node.Mandate != nil || node.Bundle != nil {
			h.Errorf("a node was told of the plan: %+v", node)
		}
		if node.BrainKey == "" || len(node.Pis) != 1 || node.Pis[0] != (wire.Peer{Name: "pi", Address: "192.168.77.2:7777", Key: h.pi.key.PublicKey()}) {
			h.Errorf("a node was told %+v", node)
		}
		if pi.Mandate == nil || pi.Mandate.Run != shutdown.Disarmed || pi.Mandate.Bundle == "" || pi.Bundle != nil {
			h.Errorf("the Pi, which has the bundle, was told %+v", pi)
		}
		h.press("/api/v1/plan/arm")
		a := h.ask("")
		if a.Bundle == nil || !a.Bundle.Armed || len(a.Bundle.Keys) != 3 || len(a.Bundle.Plan.Nodes) != 3 || a.Bundle.TokenID != pveToken {
			h.Errorf("a Pi that has none was told %+v", a.Bundle)
		}
		hash, err := a.Bundle.Hash()
		if err != nil || hash != a.Mandate.Bundle || hash == pi.Mandate.Bundle {
			h.Errorf("the hash is %s, of the bundle %s, before %s: %v", a.Mandate.Bundle, hash, pi.Mandate.Bundle, err)
		}
		if again := h.ask(hash); again.Bundle != nil {
			h.Error("the bundle was sent to a Pi that has it")
		}
		if data := fmt.Sprintf("%+v", a); strings.Contains(data, pveSecret) || strings.Contains(data, apiSecret) {
			h.Error("a secret travels")
		}
	})
}

// ask is a heartbeat of the Pi that says which bundle it has.
func (h *home) ask(bundle string) *wire.Answer {
	h.Helper()
	m := wire.Heartbeat{Header: h.pi.header(), Pi: &wire.PiStatus{Bundle: bundle}}
	a, err := h.pi.post(courier.PathHeartbeat, wire.KindHeartbeat, m.Header, m)
	if err != nil {
		h.Fatal(err)
	}
	return a
}

// TestR8_FirstContactReachesThePi: the key of a node that was bound just now is in the
// bundle at once, or its announcements could not be relayed. It is known after a crash.
func TestR8_FirstContactReachesThePi(t *testing.T) {
	in(t, nil, func(h *home) {
		stranger := h.source("nas")
		defer stranger.client.Close()
		who := func(context.Context, string) (ingest.Machine, error) {
			return ingest.Machine{Name: "nas", StableID: "n7", Tags: []string{ingest.TagNode}}, nil
		}
		stranger.refusedFirst(h)
		h.brain.identities.WhoIs = who
		stranger.beat()
		h.brain.identities.WhoIs = nil
		if key := h.ask("").Bundle.Keys["nas"]; key != stranger.key.PublicKey() {
			h.Errorf("the Pi knows %q", key)
		}
		h.crash(time.Second)
		rest(2 * time.Second)
		if known, ok := h.brain.identities.Lookup("nas"); !ok || known.StableID != "n7" || known.Key != stranger.key.PublicKey() {
			h.Errorf("the next process knows %+v", known)
		}
		if s := h.shows("nas"); s.Condition != "up" {
			h.Errorf("the page shows %+v", s)
		}
	})
}

// refusedFirst checks that a stranger is refused, and listed.
func (s *source) refusedFirst(h *home) {
	m := wire.Announcement{Header: s.header(), ID: "id", Kind: wire.Reboot}
	if _, err := s.post(courier.PathAnnounce, wire.KindAnnouncement, m.Header, m); err == nil || !strings.Contains(err.Error(), "refused with 403") {
		h.Errorf("a stranger was answered with %v", err)
	}
	rest(2 * time.Second)
	if w := h.view().Waiting; len(w) != 1 || w[0].Name != s.name || w[0].Key != string(s.key.PublicKey()) {
		h.Errorf("waiting: %v", w)
	}
}

// TestG2_HangingLoop: a brain that answers and does not act says nothing of a run.
func TestG2_HangingLoop(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.ups.set(true)
		rest(12 * time.Second)
		if m := h.ask("").Mandate; m.Run != shutdown.Advancing || m.Epoch.Counter != 1 || m.Epoch.Holder != "brain" {
			h.Errorf("while it acts the Pi is told %+v", m)
		}
		a := wire.Answer{}
		old := *h.brain.view.Load()
		old.at = old.at.Add(-10 * time.Second) // as if the loop had not turned for so long
		h.brain.view.Store(&old)
		h.brain.tell(ingest.Known{Name: "pi", Site: "home", Role: "pi"}, "", &a)
		if a.Mandate.Run != shutdown.None {
			h.Errorf("while it hangs the Pi is told %+v", a.Mandate)
		}
	})
}

// TestPageTimes are those of the site's zone, whatever the machine's is.
func TestPageTimes(t *testing.T) {
	in(t, func(h *home) { h.cfg.Sites[0].TimeZone = "Asia/Taipei" }, func(h *home) {
		h.nodes["pve2"].announce(wire.Reboot)
		h.nodes["pve2"].kill()
		h.stranger("nas").waits()
		rest(30 * time.Second)
		v := h.view()
		for _, e := range v.Timeline {
			if _, offset := e.At.Zone(); offset != 8*3600 {
				t.Errorf("%s, which is not the site's time, at %q", e.At, e.Text)
			}
		}
		if _, offset := v.Waiting[0].First.Zone(); offset != 8*3600 {
			t.Errorf("who waits was first seen at %s", v.Waiting[0].First)
		}
		back := h.nodes["pve2"].lastWord().Add(10 * time.Minute).In(time.FixedZone("", 8*3600)).Format("15:04")
		if s := h.shows("pve2"); s.Note != "planned, back by "+back {
			t.Errorf("the page shows %+v, not back by %s", s, back)
		}
	})
}

// TestZones: with several sites a fact's own counts, and the machine's where it has none.
func TestZones(t *testing.T) {
	sites := []Site{{Name: "home", TimeZone: "Asia/Taipei"}, {Name: "office", TimeZone: "Europe/Berlin"}, {Name: "cabin"}}
	b := set(&Brain{}, Config{Sites: sites})
	for site, want := range map[string]string{"home": "Asia/Taipei", "office": "Europe/Berlin", "cabin": time.Local.String(), "": time.Local.String()} {
		if got := b.zone(site).String(); got != want {
			t.Errorf("%q has the zone %s, not %s", site, got, want)
		}
	}
	if set(b, Config{Sites: sites[:1]}); b.zone("").String() != "Asia/Taipei" {
		t.Errorf("the only site's zone is not that of what names none: %s", b.zone(""))
	}
}
