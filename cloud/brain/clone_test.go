package brain

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// twin is a machine with another's name and key, of another boot.
func (h *home) twin(name string) *source {
	s := h.source(name)
	s.key, s.boot, s.begun = h.nodes[name].key, 77, s.begun.Add(-time.Hour)
	h.nodes[name+" (2)"] = s
	s.life.Go(s.live)
	return s
}

// TestH11_TwoMachinesOneName are two on the page, each with its own silence, also for the
// next process.
func TestH11_TwoMachinesOneName(t *testing.T) {
	in(t, nil, func(h *home) {
		rest(500 * time.Millisecond)
		second := h.twin("pve2")
		rest(5 * time.Second)
		if s := h.shows("pve2 (2)"); s.State != "up" || s.CloneOf != "pve2" || h.shows("pve2").State != "up" {
			h.Errorf("the page shows %+v and %+v", h.shows("pve2"), s)
		}
		h.mustTell("two machines call themselves pve2")
		h.crash(2 * time.Second)
		rest(5 * time.Second)
		entries := len(h.view().Timeline)
		rest(20 * time.Second)
		if now := h.view().Timeline; len(now) != entries {
			h.Errorf("they are told of again and again:\n%s", h.timeline())
		}
		second.kill()
		rest(25 * time.Second)
		if s := h.shows("pve2 (2)"); s.State != "down" || h.shows("pve2").State != "up" {
			h.Errorf("the page shows %+v and %+v", h.shows("pve2"), s)
		}
		h.calls(1)
		second.wake()
		rest(10 * time.Second)
		h.crash(2 * time.Second)
		h.nodes["pve2"].kill() // the next process hears the second alone
		rest(30 * time.Second)
		if s := h.shows("pve2"); s.State != "down" || h.shows("pve2 (2)").State != "up" {
			h.Errorf("the page shows %+v and %+v", s, h.shows("pve2 (2)"))
		}
		if names := h.names(); !slices.Equal(names, []string{"pi", "pve1", "pve2", "pve2 (2)", "pve3"}) {
			h.Errorf("the page shows %q", names)
		}
		h.delete("pve2 (2)")
		h.nodes["pve2 (2)"].kill()
		rest(2 * time.Second)
		if names := h.names(); slices.Contains(names, "pve2 (2)") {
			h.Errorf("what was deleted is shown: %q", names)
		}
	})
}

func (h *home) names() []string {
	var names []string
	for _, s := range h.view().Sites[0].Sources {
		names = append(names, s.Name)
	}
	return names
}

func (h *home) delete(name string) {
	h.Helper()
	if code, text := h.request("DELETE", "/api/v1/nodes/"+strings.ReplaceAll(name, " ", "%20"), nil, nil); code != 204 {
		h.Errorf("answered %d %s", code, text)
	}
}

// TestH10_HeardThroughThePiAlone: the page and the timeline say so, also if the brain was
// restarted in between, and not of what was never heard directly.
func TestH10_HeardThroughThePiAlone(t *testing.T) {
	for name, restart := range map[string]bool{"one process": false, "two processes": true} {
		t.Run(name, func(t *testing.T) {
			in(t, nil, func(h *home) {
				deaf := h.source("nas") // whom only the Pi ever hears
				defer deaf.client.Close()
				h.brain.identities.Learn(h.knownAs("nas", deaf))
				h.nodes["pve1"].kill() // for the brain
				begun := time.Now()
				for time.Since(begun) < 90*time.Second {
					h.piHears("pve1", "nas")
					rest(time.Second)
					if restart && time.Since(begun) > 5*time.Second {
						restart = false
						h.crash(time.Second)
						h.brain.identities.Learn(h.knownAs("nas", deaf))
					}
				}
				if s := h.shows("pve1"); s.State != "up, heard through pi alone" || s.OnlyBy != "pi" {
					h.Errorf("the page shows %+v", s)
				}
				if s := h.shows("nas"); s.State != "up" {
					h.Errorf("the page shows %+v", s)
				}
				h.mustTell("pve1 is heard through pi alone")
				h.nodes["pve1"].wake()
				rest(3 * time.Second)
				if s := h.shows("pve1"); s.State != "up" || s.OnlyBy != "" {
					h.Errorf("the page shows %+v", s)
				}
				h.calls(0)
			})
		})
	}
}

// knownAs is a node of home with a source's key.
func (h *home) knownAs(name string, s *source) ingest.Known {
	return ingest.Known{Name: name, Site: "home", Role: "node", Key: s.key.PublicKey()}
}

// piHears is a heartbeat of the Pi that says whom it hears.
func (h *home) piHears(names ...string) {
	h.Helper()
	m := wire.Heartbeat{Header: h.pi.header(), Pi: &wire.PiStatus{}}
	for _, name := range names {
		m.Pi.Heard = append(m.Pi.Heard, wire.Heard{Node: name, Boot: "00000000-0000-4000-8000-000000000000", Seq: time.Since(h.begun).Microseconds() + 1, AgeMS: 100, State: "running"})
	}
	if _, err := h.pi.post(courier.PathHeartbeat, wire.KindHeartbeat, m.Header, m); err != nil {
		h.Error(err)
	}
}
