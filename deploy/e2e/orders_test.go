//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"time"

	"sentinel.home.arpa/deploy/e2e/internal/guest"
)

// ordered is an outage in which the brain's plan takes both nodes down through their agents (rules
// S1, H10): node1's logind powers it off, announced as ever, and node2 obeys no orders.
func (s *story) ordered() {
	s.timed("the plan is armed", func() string { return strings.TrimSpace(s.exec(s.cloud, "sentinel-cloud", "plan", "arm")) })
	begin, calls := time.Now(), len(s.out.placed())
	s.timed("mains gone: node1 goes as ordered (H10, A1)", func() string {
		return s.obeys(s.node1, func() { s.ups("unplug") })
	})
	s.timed("and is seen down (S4)", func() string {
		s.await("node1 down", patience, func(v *status) bool {
			return v.said(begin, "node1 is down: it said that it powers off") && v.source("node1").Condition == "off"
		})
		return "off, as planned"
	})
	s.timed("node2 with obey_orders: off stays up", func() string {
		v := s.await("the plan's end", patience, func(v *status) bool { return v.said(begin, "node2 was not seen to go down") })
		if !v.up(time.Now().Add(-beat), "node2") {
			s.t.Fatalf("node2 is not the one that stays:\n%s", v)
		}
		if !s.journalled(s.node2, begin, "orders are not obeyed here") {
			s.t.Fatal("node2 was ordered nothing")
		}
		return "ordered, named as late, and up"
	})
	s.timed("mains back", func() string {
		i, _ := s.now().open("power_outage")
		s.ups("plug")
		v := s.await("the end of the outage", patience, func(v *status) bool { return i.ID != "" && !v.incident(i.ID).Open })
		s.calls(calls + 2) // that the plan begins, and that node2 stays up
		return v.incident(i.ID).Outcome
	})
}

// obeys has a machine power off by itself, and wants its journal to say that its agent was ordered
// to and logind did it. It returns what was seen.
func (h *house) obeys(g *guest.Guest, do func()) string {
	h.t.Helper()
	begin := time.Now()
	seen := h.goesDown(g, "poweroff", do)
	for _, words := range []string{"powering off, as ordered: the power is out", "System is powering down"} {
		if !h.journalled(g, begin, words) {
			h.t.Fatalf("the journal of %s lacks %q", g.Name, words)
		}
	}
	return seen
}

// journalled tells whether a machine's journal, as it lies on its disk, has a line with these words
// since a time.
func (h *house) journalled(g *guest.Guest, since time.Time, words string) bool {
	h.t.Helper()
	text, err := h.forge.Run(h.ctx, "journalctl", "-q", "--no-pager", "-o", "cat", "-D", g.Disk("/var/log/journal"),
		"--since", fmt.Sprintf("@%d", since.Unix()))
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.Contains(text, words)
}
