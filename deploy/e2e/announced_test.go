//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"sentinel.home.arpa/deploy/e2e/internal/guest"
	"sentinel.home.arpa/deploy/e2e/internal/tap"
)

// announceWithin bounds the time from a command to the announcement on the wire: systemd
// acts within 0.1 s, an agent that hangs is waited for by logind for 5 s.
const announceWithin = 30 * time.Second

// announced waits until the wire has seen a machine announce its shutdown to the Pi, and
// the Pi acknowledge it.
func (h *house) announced(from netip.Addr, since time.Time) tap.Announcement {
	h.t.Helper()
	a, ok := h.announcedWithin(from, since, announceWithin, nil)
	if !ok {
		h.t.Fatalf("%v announced nothing that the Pi acknowledged within %v of the command: %+v", from, announceWithin, a)
	}
	return a
}

// announcedWithin waits until then, or until nothing can come any more.
func (h *house) announcedWithin(from netip.Addr, since time.Time, within time.Duration, over <-chan struct{}) (tap.Announcement, bool) {
	late := time.NewTimer(within)
	defer late.Stop()
	var last tap.Announcement
	for {
		all, changed := h.tap.Since(since, from)
		for _, a := range all {
			if last = a; a.Status == http.StatusOK {
				return a, true
			}
		}
		select {
		case <-changed:
		case <-over:
			over = nil
			late.Reset(time.Second) // what is on its way through the pipes
		case <-late.C:
			return last, false
		}
	}
}

// silent fails if a machine has announced anything since.
func (h *house) silent(from netip.Addr, since time.Time) {
	h.t.Helper()
	if all, _ := h.tap.Since(since, from); len(all) > 0 {
		h.t.Fatalf("%v announced a shutdown that was none: %+v", from, all)
	}
}

// goesDown has a machine go down by itself, and wants it announced: on the wire, and with
// the kind that the brain shows. It returns what was seen.
func (h *house) goesDown(g *guest.Guest, kind string, do func()) string {
	h.t.Helper()
	from, boots, begin := h.address(g), g.Boots(), time.Now()
	do()
	a := h.announced(from, begin)
	ctx, cancel := context.WithTimeout(h.ctx, patience)
	defer cancel()
	var err error
	if kind == "reboot" {
		err = g.WaitReboot(ctx, boots)
	} else {
		err = g.WaitOff(ctx)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.await(g.Name+" announced its "+kind, patience, func(s *status) bool { return s.said(begin, g.Name+" announced its "+kind) })
	return fmt.Sprintf("announced after %d ms, acknowledged in %d ms", a.At.Sub(begin).Milliseconds(), a.Answered.Sub(a.At).Milliseconds())
}

// command is how a machine is told to go down; what it answers does not matter.
func (h *house) command(g *guest.Guest, args ...string) func() {
	return func() { _, _ = h.try(g, args...) }
}

// back waits until nodes are up and were heard from now on, as the brain shows them.
func (h *house) back(names ...string) *status {
	h.t.Helper()
	begin := time.Now()
	return h.await(fmt.Sprintf("%v up", names), patience, func(s *status) bool { return s.up(begin, names...) })
}

// calls fails unless so many calls were placed so far.
func (h *house) calls(want int) {
	h.t.Helper()
	if got := h.out.placed(); len(got) != want {
		h.t.Fatalf("%d calls were placed, not %d: %+v\n%s", len(got), want, got, h.now())
	}
}

// quietSince fails if a node failed, or an incident opened, since a time.
func (h *house) quietSince(since time.Time) {
	h.t.Helper()
	s := h.now()
	if s.said(since, " failed") || s.said(since, "out of reach") {
		h.t.Fatalf("there was a failure that was none:\n%s", s)
	}
}
