package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// registerAPI puts the routes on a mux that show in JSON what the page shows.
func (p *Page) registerAPI(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/status", p.api(func(v *View, _ *http.Request) (any, *fault) { return v, nil }))
	mux.HandleFunc("GET /api/v1/incidents", p.api(incidents))
	mux.HandleFunc("GET /api/v1/incidents/{id}", p.api(incident))
	mux.HandleFunc("GET /api/v1/nodes", p.api(nodes))
	mux.HandleFunc("GET /api/v1/calls", p.api(calls))
}

// fault is an error as all routes tell it.
type fault struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

// api answers with a part of the newest view; a fault is that it does not have it.
func (p *Page) api(part func(v *View, r *http.Request) (any, *fault)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var answer any = fault{Error: starting}
		status := http.StatusServiceUnavailable
		if v := p.View(); v != nil {
			found, missing := part(v, r)
			answer, status = found, http.StatusOK
			if missing != nil {
				answer, status = missing, http.StatusNotFound
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer) // the reader may be gone
	}
}

func incidents(v *View, _ *http.Request) (any, *fault) {
	return struct {
		At        time.Time  `json:"at"`
		Incidents []Incident `json:"incidents"`
	}{v.At, list(v.Incidents)}, nil
}

// incident is one, with its part of the timeline, the oldest first.
func incident(v *View, r *http.Request) (any, *fault) {
	id := r.PathValue("id")
	n := slices.IndexFunc(v.Incidents, func(i Incident) bool { return i.ID == id })
	if n < 0 {
		return nil, &fault{fmt.Sprintf("no incident %.80q is remembered", id), "`sentinel-cloud incidents` lists those of the last 24 h; the journal has the older ones"}
	}
	i := v.Incidents[n]
	part := []Entry{}
	for _, e := range slices.Backward(v.Timeline) {
		if i.concerns(e) && (len(part) == 0 || !e.repeats(part[len(part)-1])) {
			part = append(part, e)
		}
	}
	return struct {
		At       time.Time `json:"at"`
		Incident Incident  `json:"incident"`
		Timeline []Entry   `json:"timeline"`
	}{v.At, i, part}, nil
}

// The wall clocks of two facts may differ by skew. Who comes back with the power is heard just
// after it, which is part of its story.
const (
	skew      = 100 * time.Millisecond
	justAfter = 5 * time.Second
)

// concerns reports whether an entry tells of an incident: it says so itself, or it is
// about one of its nodes, or in an outage about the site's UPSes, while it lasted.
func (i *Incident) concerns(e Entry) bool {
	switch {
	case e.Incident != "":
		return e.Incident == i.ID
	case i.Site != "" && e.Site != i.Site, !i.lasted(e.At):
		return false
	case e.UPS != "":
		return i.Kind == "power_outage" || i.Kind == "internet_outage"
	}
	return slices.Contains(i.Nodes, e.Node)
}

// lasted reports whether an incident went on at a moment, or ended just before.
func (i *Incident) lasted(at time.Time) bool {
	within := func(s Spell) bool {
		return !at.Before(s.Since.Add(-skew)) && (s.Ended.IsZero() || !at.After(s.Ended.Add(justAfter)))
	}
	return within(Spell{i.Since, i.Ended}) || slices.ContainsFunc(i.Earlier, within)
}

// repeats reports whether an entry only says why the one before it is so, as a notice may.
func (e *Entry) repeats(before Entry) bool {
	return e.Incident == before.Incident && strings.HasSuffix(before.Text, ", because "+e.Text)
}

func nodes(v *View, _ *http.Request) (any, *fault) {
	type node struct {
		Site string `json:"site"`
		Source
	}
	all := []node{}
	for _, s := range v.Sites {
		for _, src := range s.Sources {
			all = append(all, node{s.Name, src})
		}
	}
	return struct {
		At    time.Time `json:"at"`
		Nodes []node    `json:"nodes"`
	}{v.At, all}, nil
}

// calls are those of the incidents that are remembered, the newest first.
func calls(v *View, _ *http.Request) (any, *fault) {
	type call struct {
		Incident string `json:"incident"`
		Call
	}
	all := []call{}
	for _, i := range v.Incidents {
		for _, c := range i.Calls {
			all = append(all, call{i.ID, c})
		}
	}
	slices.SortStableFunc(all, func(a, b call) int { return b.At.Compare(a.At) })
	return struct {
		At    time.Time `json:"at"`
		Calls []call    `json:"calls"`
	}{v.At, all}, nil
}

// list is never null in JSON.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
