//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// status is what the brain shows, as far as stories need it.
type status struct {
	At      time.Time `json:"at"`
	Verdict string    `json:"verdict"`
	Sites   []struct {
		Sources []source `json:"sources"`
		UPSes   []struct {
			Supply    string `json:"supply"`
			OnBattery bool   `json:"on_battery"`
			Stale     bool   `json:"stale"`
		} `json:"upses"`
	} `json:"sites"`
	Incidents []incident `json:"incidents"`
	Timeline  []struct {
		At   time.Time `json:"at"`
		Text string    `json:"text"`
	} `json:"timeline"`
}

type source struct {
	Name      string        `json:"name"`
	Condition string        `json:"condition"`
	Note      string        `json:"note"`
	Heard     bool          `json:"heard"`
	Age       time.Duration `json:"age_ns"`
}

type incident struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind"`
	Since    time.Time `json:"since"`
	Open     bool      `json:"open"`
	Outcome  string    `json:"outcome"`
	Nodes    []string  `json:"nodes"`
	Answered string    `json:"answered"`
}

// ask asks the brain on its control socket, which serves what the page does.
func (h *house) ask() (*status, error) {
	root, err := h.cloud.Root()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(h.ctx, 3*time.Second)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", root+"/run/sentinel-cloud/control.sock")
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://brain/api/v1/status", nil)
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the brain answered %d", resp.StatusCode)
	}
	var s status
	return &s, json.NewDecoder(resp.Body).Decode(&s)
}

// await waits until the brain shows something, and gives it.
func (h *house) await(what string, within time.Duration, ok func(s *status) bool) *status {
	h.t.Helper()
	late := time.NewTimer(within)
	defer late.Stop()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	var last *status
	var lastErr error
	for {
		s, err := h.ask()
		if err == nil && ok(s) {
			return s
		}
		if lastErr = err; err == nil {
			last = s
		}
		select {
		case <-tick.C:
		case <-late.C:
			h.t.Fatalf("%s: the brain does not show it within %v: %v\n%s", what, within, lastErr, last)
		case <-h.ctx.Done():
			h.t.Fatal(h.ctx.Err())
		}
	}
}

// now is what the brain shows now.
func (h *house) now() *status {
	h.t.Helper()
	return h.await("status", patience, func(*status) bool { return true })
}

// source finds a node or Pi.
func (s *status) source(name string) source {
	for _, site := range s.Sites {
		for _, src := range site.Sources {
			if src.Name == name {
				return src
			}
		}
	}
	return source{}
}

// up tells whether all of these are up and were heard since a time. Ages are as of At.
func (s *status) up(since time.Time, names ...string) bool {
	return !slices.ContainsFunc(names, func(n string) bool {
		src := s.source(n)
		return src.Condition != "up" || !src.Heard || s.At.Add(-src.Age).Before(since)
	})
}

// open is the open incident of a kind.
func (s *status) open(kind string) (incident, bool) {
	for _, i := range s.Incidents {
		if i.Kind == kind && i.Open {
			return i, true
		}
	}
	return incident{}, false
}

// incident finds one by id.
func (s *status) incident(id string) incident {
	for _, i := range s.Incidents {
		if i.ID == id {
			return i
		}
	}
	return incident{}
}

// said tells whether the timeline has had an entry with these words since a time.
func (s *status) said(since time.Time, words string) bool {
	for _, e := range s.Timeline {
		if !e.At.Before(since) && strings.Contains(e.Text, words) {
			return true
		}
	}
	return false
}

func (s *status) String() string {
	if s == nil {
		return "(it never answered)"
	}
	var b strings.Builder
	fmt.Fprintln(&b, s.Verdict)
	for _, site := range s.Sites {
		for _, src := range site.Sources {
			fmt.Fprintf(&b, "  %s: %s %s, heard %v ago\n", src.Name, src.Condition, src.Note, src.Age.Round(time.Millisecond))
		}
		for _, u := range site.UPSes {
			fmt.Fprintf(&b, "  ups: %s on battery %v, stale %v\n", u.Supply, u.OnBattery, u.Stale)
		}
	}
	for _, i := range s.Incidents {
		fmt.Fprintf(&b, "  %s open %v of %v %s\n", i.ID, i.Open, i.Nodes, i.Outcome)
	}
	for _, e := range s.Timeline[:min(len(s.Timeline), 15)] {
		fmt.Fprintf(&b, "  %s %s\n", e.At.Format("15:04:05.0"), e.Text)
	}
	return b.String()
}
