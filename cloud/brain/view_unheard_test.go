package brain

import (
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/wire"
)

// TestR6_WhoIsNotHeardIsNotWell: the page does not say that all is well while a Pi or node is
// silent that has no reason to be, also before that is an incident. It does not flicker.
func TestR6_WhoIsNotHeardIsNotWell(t *testing.T) {
	says := func(h *home, when, verdict string) {
		h.Helper()
		if v := h.view(); v.Verdict != verdict || v.Well != (verdict == "All well.") {
			h.Errorf("%s: %q, well %v; want %q", when, v.Verdict, v.Well, verdict)
		}
	}
	in(t, nil, func(h *home) {
		rest(-time.Since(h.pi.lastWord()) + time.Second) // it beat just now
		h.pi.kill()
		rest(8 * time.Second)
		says(h, "the Pi is late", "All well.")
		rest(6 * time.Second)
		says(h, "the Pi is silent", "pi at home has not been heard for 14 s.")
		h.nodes["pve2"].kill()
		rest(12 * time.Second)
		says(h, "a node too", "pi, pve2 at home have not been heard for 12 s.")
		h.nodes["pve2"].wake()
		rest(14 * time.Second)
		says(h, "the Pi counts as failed, which is no incident yet", "pi at home has not been heard for 40 s.")
		h.crash(time.Second)
		rest(5 * time.Second)
		says(h, "another brain knows it too", "pi at home has not been heard for 46 s.")
		h.pi.wake()
		rest(2 * time.Second)
		says(h, "it is back", "All well.")
	})
	for name, let := range map[string]func(h *home){
		"announced":      func(h *home) { h.pi.announce(wire.Reboot) },
		"muted":          func(h *home) { h.press("/api/v1/nodes/pi/mute") },
		"in maintenance": func(h *home) { h.press("/api/v1/nodes/pi/maintain?for=1h") },
	} {
		in(t, nil, func(h *home) {
			let(h)
			h.pi.kill()
			for range 3 {
				rest(14 * time.Second)
				says(h, name, "All well.")
			}
		})
	}
	in(t, func(h *home) { h.cfg.Failure.Threshold = 2 }, func(h *home) {
		h.nodes["pve2"].announce(wire.Reboot)
		h.nodes["pve2"].kill()
		rest(9 * time.Minute)
		says(h, "it may still be back", "All well.")
		rest(2 * time.Minute)
		if v := h.view(); v.Well || !strings.HasPrefix(v.Verdict, "pve2 at home has not been heard for ") {
			h.Errorf("one that did not come back from its reboot, which alone is no incident: %q", v.Verdict)
		}
	})
	in(t, nil, func(h *home) {
		h.pause(time.Minute)
		rest(time.Second)
		says(h, "the brain stood still", "All well.")
		h.crash(time.Minute)
		rest(500 * time.Millisecond)
		says(h, "the brain was gone", "All well.")
	})
}
