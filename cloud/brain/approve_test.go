package brain

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/wire"
)

// stranger is a source that the configuration does not name.
func (h *home) stranger(name string) *source {
	h.Helper()
	s := h.source(name)
	h.away = append(h.away, s.client.Close)
	return s
}

// waits posts a heartbeat, which is refused, and returns what the page says of it.
func (s *source) waits() web.Stranger {
	s.h.Helper()
	s.beat()
	rest(2 * time.Second)
	for _, w := range s.h.view().Waiting {
		if w.Name == s.name && w.Key == string(s.key.PublicKey()) {
			return w
		}
	}
	s.h.Fatalf("%s does not wait", s.name)
	return web.Stranger{}
}

// TestR8_ApprovedThenCrash: an approval is on disk before its answer. The node is heard,
// the Pi has its key, and the next process knows it.
func TestR8_ApprovedThenCrash(t *testing.T) {
	in(t, nil, func(h *home) {
		s := h.stranger("nas")
		w := s.waits()
		if w.Site != "home" || w.Role != "node" || w.Command != "sudo sentinel-cloud approve nas --key "+w.Key {
			h.Errorf("the page shows %+v", w)
		}
		h.press("/api/v1/nodes/nas/approve")
		h.crash(time.Second) // at once
		s.beat()
		rest(2 * time.Second)
		if shown := h.shows("nas"); shown.Condition != "up" {
			h.Errorf("the page shows %+v", shown)
		}
		if v := h.view(); len(v.Waiting) > 0 {
			h.Errorf("waiting: %+v", v.Waiting)
		}
		if key := h.ask("").Bundle.Keys["nas"]; key != s.key.PublicKey() {
			h.Errorf("the Pi knows %q", key)
		}
		h.mustTell("the operator approved nas, which is now known by the key ed25519:")
	})
}

// TestR8_ApprovalReachesThePi at once: the next answer has the key.
func TestR8_ApprovalReachesThePi(t *testing.T) {
	in(t, nil, func(h *home) {
		s := h.stranger("nas")
		s.waits()
		before := h.ask("").Bundle
		h.press("/api/v1/nodes/nas/approve")
		after := h.ask("").Bundle
		if before.Keys["nas"] != "" || after.Keys["nas"] != s.key.PublicKey() {
			h.Errorf("the Pi knew %q, and knows %q", before.Keys["nas"], after.Keys["nas"])
		}
	})
}

// TestR8_SetUpAnew: a node that was bound, and comes with a new key, waits; approved, the
// new key counts and the old one does not, also after a crash.
func TestR8_SetUpAnew(t *testing.T) {
	in(t, nil, func(h *home) {
		old := h.stranger("nas")
		old.waits()
		h.press("/api/v1/nodes/nas/approve")
		old.beat()
		anew := h.stranger("nas")
		anew.boot = 7
		if w := anew.waits(); w.Why != "it is known by another key" {
			h.Errorf("the page shows %+v", w)
		}
		h.press("/api/v1/nodes/nas/approve?key=" + url.QueryEscape(string(anew.key.PublicKey())))
		for range 2 {
			m := wire.Announcement{Header: old.header(), ID: "id", Kind: wire.Poweroff}
			if _, err := old.post(courier.PathAnnounce, wire.KindAnnouncement, m.Header, m); err == nil {
				h.Error("the old key still counts")
			}
			if key := h.ask("").Bundle.Keys["nas"]; key != anew.key.PublicKey() {
				h.Errorf("the Pi knows %q", key)
			}
			anew.beat()
			if late := time.Since(anew.lastWord()); late > time.Second {
				h.Errorf("the new key was last heard %s ago", late)
			}
			rest(time.Second)
			if !slices.ContainsFunc(h.view().Sites[0].Sources, func(s web.Source) bool {
				return s.Name == "nas" && s.Key == string(anew.key.PublicKey())
			}) {
				h.Errorf("the page shows %+v", h.view().Sites[0].Sources)
			}
			h.crash(time.Second)
		}
	})
}

// TestR8_ApprovalsFromElsewhere: only who sits at the brain approves, and what does not
// wait is not approved.
func TestR8_ApprovalsFromElsewhere(t *testing.T) {
	in(t, nil, func(h *home) {
		s := h.stranger("nas")
		s.waits()
		for _, tt := range []struct {
			name, path string
			header     http.Header
			code       int
			want       string
		}{
			{"another site's page", "/api/v1/nodes/nas/approve", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403, "only be pressed on the sentinel's own page"},
			{"who does not wait", "/api/v1/nodes/nobody/approve", nil, 404, `no machine \"nobody\" waits`},
			{"another key", "/api/v1/nodes/nas/approve?key=ed25519:x", nil, 404, "say which: --key " + string(s.key.PublicKey())},
			{"another site", "/api/v1/nodes/nas/approve?site=office", nil, 409, `nas is at home, not at \"office\"`},
		} {
			code, text := h.request(http.MethodPost, tt.path, tt.header, nil)
			if code != tt.code || !strings.Contains(strings.ReplaceAll(text, `\u0026`, "&"), tt.want) {
				h.Errorf("%s: answered %d %s", tt.name, code, text)
			}
		}
		if _, ok := h.brain.identities.Lookup("nas"); ok {
			h.Error("it was approved")
		}
	})
}

// TestA7_ReplayAfterARestart: a recorded announcement that was taken back hides no
// failure, also when the brain has forgotten everything but its journal.
func TestA7_ReplayAfterARestart(t *testing.T) {
	in(t, nil, func(h *home) {
		n := h.nodes["pve2"]
		m := wire.Announcement{Header: n.header(), ID: "id", Kind: wire.Poweroff}
		replay := func() {
			h.Helper()
			if _, err := n.post(courier.PathAnnounce, wire.KindAnnouncement, m.Header, m); err != nil {
				h.Errorf("answered with %v", err)
			}
		}
		replay() // for the first time
		n.announce(wire.Cancelled)
		h.crash(time.Second)
		rest(3 * time.Second)
		replay()
		if _, text := h.request(http.MethodGet, "/metrics", nil, nil); !strings.Contains(text, `sentinel_messages_refused_total{reason="repeated"} 1`) {
			h.Error("not counted")
		}
		if s := h.shows("pve2"); s.Note != "" {
			h.Errorf("the page shows %+v", s)
		}
		n.kill()
		rest(30 * time.Second)
		h.calls(1)
	})
}

// TestU6_ReplayAfterARestart: a recorded report of an outage that is over opens and begins
// nothing, also when the brain has forgotten everything but its journal.
func TestU6_ReplayAfterARestart(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		m := wire.UPSReport{Header: h.pi.header(), UPS: "ups", Reading: power.Reading{Supply: power.Battery, For: 1}}
		replay := func() {
			h.Helper()
			if _, err := h.pi.post(courier.PathUPS, wire.KindUPS, m.Header, m); err != nil {
				h.Errorf("answered with %v", err)
			}
		}
		replay() // for the first time
		h.mustTell("ups: on battery")
		h.ups.set(false)
		rest(2 * time.Second)
		h.crash(time.Second)
		for range 3 {
			replay() // the first before the Pi has reported
			rest(5500 * time.Millisecond)
		}
		if _, text := h.request(http.MethodGet, "/metrics", nil, nil); !strings.Contains(text, `sentinel_messages_refused_total{reason="repeated"} 3`) {
			h.Error("not counted")
		}
		if v := h.view(); len(v.Incidents) > 0 || v.Sites[0].UPSes[0].Supply != "mains" {
			h.Errorf("the page shows %+v, %+v", v.Incidents, v.Sites[0].UPSes)
		}
	})
}
