package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// asked is what a path answers, as any reader of JSON has it.
func asked(t *testing.T, v *View, path string, code int) map[string]any {
	t.Helper()
	w := get(serve(t, v), path)
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != code {
		t.Fatalf("%s answered %d %s: %v", path, w.Code, w.Body, err)
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%s: headers %v", path, w.Header())
	}
	return got
}

// texts are the values of one field of a list of objects.
func texts(got map[string]any, list, field string) []string {
	var out []string
	for _, x := range got[list].([]any) {
		out = append(out, fmt.Sprint(x.(map[string]any)[field]))
	}
	return out
}

// TestIncidents lists all that are remembered, also those that the page has no room for.
func TestIncidents(t *testing.T) {
	v := full()
	for n := range 2 * incidentsShown {
		v.Incidents = append(v.Incidents, Incident{ID: fmt.Sprint("old-", n), Title: "Failure at home"})
	}
	if got := texts(asked(t, v, "/api/v1/incidents", 200), "incidents", "id"); len(got) != 3+2*incidentsShown || got[0] != "home-power-20261121T190211Z" {
		t.Errorf("incidents %q", got)
	}
	if page := get(serve(t, v), "/").Body.String(); strings.Count(page, "Failure at home") != incidentsShown-2 {
		t.Errorf("the page has %d failures", strings.Count(page, "Failure at home"))
	}
	if got := asked(t, &View{}, "/api/v1/incidents", 200); got["incidents"] == nil {
		t.Errorf("none are %v", got)
	}
}

// TestIncident has the part of the timeline that tells of it, the oldest first.
func TestIncident(t *testing.T) {
	for id, want := range map[string][]string{
		"home-power-20261121T190211Z":    {"ups: on battery", "power outage at home", "calling Alex, because the plan begins"},
		"home-node-20261121T120000Z":     {"pve2 failed"},
		"home-internet-20261121T030000Z": nil,
	} {
		got := asked(t, full(), "/api/v1/incidents/"+id, 200)
		if diff := cmp.Diff(want, texts(got, "timeline", "text")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
		if i := got["incident"].(map[string]any); i["id"] != id {
			t.Errorf("%s is answered with %v", id, i)
		}
	}
	got := asked(t, full(), "/api/v1/incidents/"+strings.Repeat("x", 5000), http.StatusNotFound)
	if text := fmt.Sprint(got["error"]); !strings.HasPrefix(text, `no incident "xxx`) || len(text) > 150 || got["hint"] == nil {
		t.Errorf("an unknown one is answered with %v", got)
	}
}

// TestR6_AnIncidentsStory: what names it, and while it lasted its nodes at any site if it is of
// none, its UPSes if nothing is heard of it, and each thing once.
func TestR6_AnIncidentsStory(t *testing.T) {
	const dark = "home-internet-20261121T030000Z"
	v := full()
	v.Incidents = append(v.Incidents, Incident{ID: "tailnet-x", Kind: "tailnet_down", Since: at("10:00:00"), Ended: at("10:30:00"), Nodes: []string{"srv1"}})
	v.Timeline = []Entry{
		{At: at("10:20:00"), Text: "srv1 is back", Site: "office", Node: "srv1"},
		{At: at("10:10:00"), Text: "pve1 is back", Site: "home", Node: "pve1"},
		{At: at("03:05:00"), Text: dark + " is over, because the power was out", Incident: dark},
		{At: at("03:04:00"), Text: "the power was out", Site: "home", Incident: dark},
		{At: at("03:04:00"), Text: dark + " is a power outage, because the power was out", Incident: dark},
		{At: at("03:02:00"), Text: "apc2: on battery", Site: "office", UPS: "apc2"},
		{At: at("03:01:00"), Text: "contact with ups is lost", Site: "home", UPS: "ups"},
		{At: at("02:59:50"), Text: "ups: on battery (as pi noted)", Site: "home", UPS: "ups", Incident: dark},
	}
	for id, want := range map[string][]string{
		dark:        {"ups: on battery (as pi noted)", "contact with ups is lost", dark + " is a power outage, because the power was out", dark + " is over, because the power was out"},
		"tailnet-x": {"srv1 is back"},
	} {
		if diff := cmp.Diff(want, texts(asked(t, v, "/api/v1/incidents/"+id, 200), "timeline", "text")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
	}
}

func TestNodes(t *testing.T) {
	got := asked(t, full(), "/api/v1/nodes", 200)
	if diff := cmp.Diff([]string{"nas", "pi", "pve1", "pve2", "pve2 (2)"}, texts(got, "nodes", "name")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	nas := got["nodes"].([]any)[0].(map[string]any)
	for field, want := range map[string]any{"site": "home", "state": "hidden behind: power outage, muted until 21:14", "condition": "failed",
		"muted_until": "2026-11-21T21:14:00Z", "maintenance_until": nil, "back_by": nil, "incident": "home-power-20261121T190211Z"} {
		if nas[field] != want {
			t.Errorf("%s is %v, not %v", field, nas[field], want)
		}
	}
}

func TestCalls(t *testing.T) {
	v := full()
	v.Incidents[1].Calls = []Call{{Contact: "Sam", At: at("12:00:20"), Outcome: "answered"}, {Contact: "Alex", At: at("20:00:00"), Outcome: "placed"}}
	got := asked(t, v, "/api/v1/calls", 200)
	if diff := cmp.Diff([]string{"2026-11-21T20:00:00Z", "2026-11-21T19:02:21Z", "2026-11-21T12:00:20Z"}, texts(got, "calls", "at")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"home-node-20261121T120000Z", "home-power-20261121T190211Z", "home-node-20261121T120000Z"}, texts(got, "calls", "incident")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
