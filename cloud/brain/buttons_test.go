package brain

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// TestH9_DeleteOfWhatIsNamed says where the configuration names it: the plan waits for who is gone.
func TestH9_DeleteOfWhatIsNamed(t *testing.T) {
	in(t, func(h *home) {
		h.withPlan()
		h.cfg.Sites[0].UPSes = []UPS{{Name: "ups", Feeds: []string{"pve2", "pve3"}}}
	}, func(h *home) {
		h.nodes["pve3"].kill()
		code, text := h.request(http.MethodDelete, "/api/v1/nodes/pve3", nil, nil)
		want := `{"warnings":["pve3 still stands in cloud.yaml, among the nodes of home and under what ups feeds and in stage 2 of the plan, which waits for it; if it is gone for good, remove it there too, and reload"]}`
		if code != http.StatusOK || strings.TrimSpace(text) != want {
			t.Errorf("answered %d %s", code, text)
		}
		if code, text := h.request(http.MethodDelete, "/api/v1/nodes/pi", nil, nil); code != http.StatusNoContent {
			t.Errorf("of the Pi it answered %d %s", code, text)
		}
	})
}

// TestH9_Buttons mute nodes, put them and their site into maintenance, and end both.
func TestH9_Buttons(t *testing.T) {
	in(t, nil, func(h *home) {
		at := func() time.Time { return h.wall().Truncate(time.Second) }
		near := func(what string, got time.Time, d time.Duration) {
			h.Helper()
			if off := got.Sub(at().Add(d)).Abs(); off > 2*time.Second {
				h.Errorf("%s until %s, not %s from %s", what, got, d, at())
			}
		}
		h.press("/api/v1/nodes/pve2/mute")
		near("pve2 is muted", h.shows("pve2").MutedUntil, 2*time.Hour)
		if s := h.shows("pve2"); s.State != "up, muted until "+web.Until(s.MutedUntil, at()) {
			h.Errorf("the page shows %+v", s)
		}
		h.metric(`sentinel_node_muted{node="pve2",site="home"} 1`, `sentinel_node_muted{node="pve1",site="home"} 0`)
		h.press("/api/v1/nodes/pve2/mute?for=30d")
		near("pve2 is muted", h.shows("pve2").MutedUntil, 30*24*time.Hour)
		h.press("/api/v1/nodes/pve2/unmute")
		h.press("/api/v1/nodes/pi/maintain?for=1m&site=home")
		near("the Pi is in maintenance", h.shows("pi").MaintenanceUntil, time.Minute)
		if s := h.shows("pve2"); !s.MutedUntil.IsZero() || s.State != "up" {
			h.Errorf("the page shows %+v", s)
		}
		h.press("/api/v1/sites/home/maintain?for=90m")
		near("home is in maintenance", h.view().Sites[0].MaintenanceUntil, 90*time.Minute)
		h.metric(`sentinel_node_maintenance{node="pve2",site="home"} 1`)
		h.press("/api/v1/nodes/pi/maintained")
		h.press("/api/v1/sites/home/maintained")
		h.metric(`sentinel_node_maintenance{node="pve2",site="home"} 0`, `sentinel_node_maintenance{node="pi",site="home"} 0`)
		if s := h.view().Sites[0]; !s.MaintenanceUntil.IsZero() {
			h.Errorf("the page shows %+v", s)
		}
		h.mustTell("pve2 was muted by the operator")
	})
}

// metric must be among what Prometheus is told.
func (h *home) metric(want ...string) {
	h.Helper()
	_, text := h.request(http.MethodGet, "/metrics", nil, nil)
	for _, w := range want {
		if !strings.Contains(text, "\n"+w+"\n") {
			h.Errorf("no %s", w)
		}
	}
}

// TestH9_DownInMaintenance: who is put into maintenance because it failed is down, and not
// rebooting; nobody planned that.
func TestH9_DownInMaintenance(t *testing.T) {
	in(t, nil, func(h *home) {
		h.nodes["pve2"].kill()
		rest(30 * time.Second)
		h.press("/api/v1/nodes/pve2/maintain?for=1h")
		if got := h.shows("pve2").State; !strings.HasPrefix(got, "down, awaited until ") || !strings.Contains(got, ", maintenance until ") {
			h.Errorf("it says %q", got)
		}
	})
}

// TestH9_ButtonsThatCannotBe get one error each, with a way out, and change nothing.
func TestH9_ButtonsThatCannotBe(t *testing.T) {
	in(t, nil, func(h *home) {
		before := h.view().Timeline
		for _, tt := range []struct {
			method, path string
			code         int
			says         string
		}{
			{"POST", "/api/v1/nodes/pve22/mute", 404, `there is no node \"pve22\"","hint":"did you mean pve2?"`},
			{"POST", "/api/v1/nodes/printer/unmute", 404, `"hint":"known are pi, pve1, pve2, pve3"`},
			{"POST", "/api/v1/nodes/PVE1/maintain", 404, `did you mean pve1?`},
			{"POST", "/api/v1/nodes/pve1/maintain?site=office", 404, `there is no node`},
			{"POST", "/api/v1/nodes/home/maintained", 404, `there is no node`},
			{"DELETE", "/api/v1/nodes/x", 404, `there is no node`},
			{"POST", "/api/v1/sites/homes/maintain", 404, `there is no site \"homes\"","hint":"did you mean home?"`},
			{"POST", "/api/v1/sites/pve1/maintained", 404, `there is no site \"pve1\"","hint":"known are home"`},
			{"POST", "/api/v1/nodes/pve1/mute?for=59s", 400, `for must be a time from 1 minute to 30 days, not \"59s\"`},
			{"POST", "/api/v1/nodes/pve1/mute?for=31d", 400, `from 1 minute to 30 days`},
			{"POST", "/api/v1/nodes/pve1/maintain?for=-2h", 400, `from 1 minute to 30 days`},
			{"POST", "/api/v1/sites/home/maintain?for=2", 400, `"hint":"write 30m, 2h or 14d"`},
			{"POST", "/api/v1/nodes/pve1/mute?for=" + strings.Repeat("9", 5000) + "h", 400, `from 1 minute to 30 days`},
			{"POST", "/api/v1/nodes/pve1/mute?four=30m", 400, `the parameter \"four\" is not known here","hint":"use for, site"`},
			{"POST", "/api/v1/nodes/pve1/mute?for=30m&for=3h", 400, `the parameter for is given 2 times`},
			{"POST", "/api/v1/nodes/pve1/mute?for=%zz", 400, `the parameters cannot be read`},
			{"POST", "/api/v1/plan/arm?for=2h", 400, `"hint":"use force"`},
			{"DELETE", "/api/v1/nodes/pve1?Site=office", 400, `\"Site\" is not known here`},
			{"GET", "/api/v1/nodes/pve1/mute", 405, `does not take that method`},
		} {
			code, text := h.request(tt.method, tt.path, nil, nil)
			if code != tt.code || !strings.Contains(text, tt.says) || len(text) > 400 {
				h.Errorf("%s %.60s: answered %d %s", tt.method, tt.path, code, text)
			}
		}
		if after := h.view().Timeline; len(after) != len(before) {
			h.Errorf("it changed something:\n%s", h.timeline())
		}
	})
}

// TestR2_ButtonsTakeNoBody, since it would not be heeded; and what is refused is counted.
func TestR2_ButtonsTakeNoBody(t *testing.T) {
	in(t, nil, func(h *home) {
		before := h.view().Timeline
		for _, body := range []string{"for=30m", `{"for":"30m"}`, " ", strings.Repeat("x", 1<<20)} {
			code, text := h.request(http.MethodPost, "/api/v1/nodes/pve1/mute", nil, []byte(body))
			if code != http.StatusBadRequest || text != `{"error":"this takes no body","hint":"say it in the address, such as ?for=2h"}`+"\n" {
				h.Errorf("%.20q: answered %d %.200s", body, code, text)
			}
		}
		h.request(http.MethodPost, "/api/v1/nodes/printer/mute", nil, nil)
		h.metric(`sentinel_messages_refused_total{reason="malformed"} 4`, `sentinel_messages_refused_total{reason="unknown"} 1`)
		if after := h.view().Timeline; len(after) != len(before) {
			h.Errorf("it changed something:\n%s", h.timeline())
		}
		r := httptest.NewRequest(http.MethodPost, "/x", io.MultiReader()) // of no length, and empty
		if r.ContentLength = -1; bodiless(r) != nil {
			h.Error("an empty body is refused")
		}
		r = httptest.NewRequest(http.MethodPost, "/x", strings.NewReader("x"))
		if r.ContentLength = -1; bodiless(r) == nil {
			h.Error("a body of no length is taken")
		}
	})
}

// TestH9_DeletedNodesComeBack once they are heard again, and not before.
func TestH9_DeletedNodesComeBack(t *testing.T) {
	in(t, nil, func(h *home) {
		gone := func(name string) bool {
			for _, s := range h.view().Sites[0].Sources {
				if s.Name == name {
					return false
				}
			}
			return true
		}
		h.nodes["pve3"].announce("poweroff")
		h.nodes["pve3"].kill()
		rest(30 * time.Second)
		if code, text := h.request(http.MethodDelete, "/api/v1/nodes/pve3", nil, nil); code != http.StatusOK || !gone("pve3") {
			h.Errorf("answered %d %s", code, text)
		}
		rest(time.Minute)
		if !gone("pve3") {
			h.Error("it is back, though nobody heard it")
		}
		h.nodes["pve3"].wake()
		rest(2 * time.Second)
		if s := h.shows("pve3"); s.State != "up" {
			h.Errorf("the page shows %+v", s)
		}
		h.request(http.MethodDelete, "/api/v1/nodes/pve1", nil, nil) // which beats
		rest(2 * time.Second)
		if s := h.shows("pve1"); s.State != "up" || s.Age > 2*time.Second {
			h.Errorf("the page shows %+v", s)
		}
		rest(time.Minute)
		h.calls(0)
	})
}

// TestH9_ARestartBringsNoDeletedNodeBack: what a Pi heard of it before is no word of now, also to
// the brain's next process.
func TestH9_ARestartBringsNoDeletedNodeBack(t *testing.T) {
	in(t, nil, func(h *home) {
		said := func(age time.Duration) {
			h.Helper()
			m := wire.Heartbeat{Header: h.pi.header(), State: "running", Pi: &wire.PiStatus{Heard: []wire.Heard{{Node: "pve3", Boot: "00000000-0000-4000-8000-000000000000", Seq: (time.Since(h.begun) - age).Microseconds() + 1, AgeMS: age.Milliseconds()}}}}
			if _, err := h.pi.post(courier.PathHeartbeat, wire.KindHeartbeat, m.Header, m); err != nil {
				h.Fatal(err)
			}
			rest(time.Second)
		}
		shown := func() bool {
			return slices.ContainsFunc(h.view().Sites[0].Sources, func(s web.Source) bool { return s.Name == "pve3" && s.Condition == "up" })
		}
		h.nodes["pve3"].kill()
		rest(3 * time.Second)
		h.request(http.MethodDelete, "/api/v1/nodes/pve3", nil, nil)
		h.crash(time.Second)
		rest(2 * time.Second)
		said(8 * time.Second)
		if shown() {
			h.Errorf("it is back by a word of before:\n%s", h.timeline())
		}
		said(time.Second)
		if !shown() {
			h.Errorf("it was heard again, and is not shown:\n%s", h.timeline())
		}
	})
}

// TestStates are the words of the page for how nodes stand.
func TestStates(t *testing.T) {
	in(t, nil, func(h *home) {
		is := func(name, want string) {
			h.Helper()
			if s := h.shows(name); s.State != want {
				h.Errorf("%s is %q, not %q", name, s.State, want)
			}
		}
		h.nodes["pve1"].kill()
		h.nodes["pve2"].announce("reboot")
		h.nodes["pve3"].announce("poweroff")
		is("pve2", "up, announced its reboot")
		h.nodes["pve2"].kill()
		h.nodes["pve3"].kill()
		back := h.nodes["pve2"].lastWord().Add(10 * time.Minute).UTC().Format("15:04")
		rest(5 * time.Second)
		is("pve1", "late")
		rest(20 * time.Second)
		is("pve1", "down")
		is("pve2", "rebooting (planned, back by "+back+")")
		is("pve3", "off (planned)")
		is("pi", "up")
	})
}

// TestStates_Hidden: what an outage explains says which.
func TestStates_Hidden(t *testing.T) {
	in(t, nil, func(h *home) {
		h.offline()
		rest(40 * time.Second)
		for _, s := range h.brain.page().Sites[0].Sources {
			if s.State != "hidden behind: internet outage" || !strings.HasPrefix(s.Incident, "home-internet-") {
				h.Errorf("the page shows %+v", s)
			}
		}
		h.online()
		rest(8 * time.Minute) // the Pi has no record to tell
		if v := h.view(); !v.Well || v.Verdict != "All well." || v.Incidents[0].Ended.IsZero() || v.Incidents[0].Title != "Internet outage at home" {
			h.Errorf("%q %v, %+v", v.Verdict, v.Well, v.Incidents[0])
		}
	})
}

// TestIncidentsPart: an incident is answered with what led to it, what was done, and its end.
func TestIncidentsPart(t *testing.T) {
	in(t, nil, func(h *home) {
		h.nodes["pve2"].kill()
		rest(30 * time.Second)
		id := h.view().Incidents[0].ID
		h.nodes["pve2"].wake()
		rest(2 * time.Minute)
		code, text := h.request(http.MethodGet, "/api/v1/incidents/"+id, nil, nil)
		var got struct {
			Incident web.Incident
			Timeline []web.Entry
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil || code != http.StatusOK || got.Incident.ID != id || len(got.Incident.Calls) != 1 {
			h.Fatalf("answered %d %s: %v", code, text, err)
		}
		var said []string
		for _, e := range got.Timeline {
			said = append(said, e.Text)
		}
		all := strings.Join(said, "\n")
		for _, want := range []string{"pve2 failed, because", "failure at home, because", "calling Alex", "the call was taken by a person", "pve2 is back after", id + " is over"} {
			if i := strings.Index(all, want); i < 0 {
				h.Errorf("in order there is no %q in\n%s", want, strings.Join(said, "\n"))
			} else {
				all = all[i:]
			}
		}
	})
}

// TestS10_Unconfirmed names the Pis that have not said that they know how the plan stands.
func TestS10_Unconfirmed(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		unconfirmed := func() string { return strings.Join(h.view().Sites[0].Unconfirmed, ",") }
		if got := unconfirmed(); got != "" {
			h.Errorf("nothing has changed, and yet %s is waited for", got)
		}
		h.press("/api/v1/plan/arm")
		if got := unconfirmed(); got != "pi" {
			h.Errorf("at once %q is waited for", got)
		}
		rest(3 * time.Second)
		if got := unconfirmed(); got != "" {
			h.Errorf("3 s later %q is waited for", got)
		}
		h.pi.kill()
		h.press("/api/v1/plan/disarm")
		rest(10 * time.Second)
		if got := unconfirmed(); got != "pi" {
			h.Errorf("while the Pi is silent %q is waited for", got)
		}
		if _, page := h.request(http.MethodGet, "/", nil, nil); !strings.Contains(page, "pi has not confirmed that the plan is not armed") {
			h.Error("the page does not say so")
		}
	})
}
