package brain

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestS5_WhatAPersonLeavesOff is not told of any more, over a restart too, until the plan shuts it down anew.
func TestS5_WhatAPersonLeavesOff(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		dismiss := func(name string, status int, says string) {
			h.Helper()
			code, body := h.request(http.MethodPost, "/api/v1/plan/dismiss?name="+name, nil, nil)
			if code != status || !strings.Contains(body, says) {
				h.Errorf("%s: %d %s", name, code, body)
			}
		}
		h.press("/api/v1/plan/arm")
		dismiss("pve1", http.StatusConflict, "nothing is off")
		h.ups.set(true)
		rest(2 * time.Minute)
		h.mustTell("the plan is through")
		h.ups.set(false)
		rest(5 * time.Second)
		dismiss("pve4", http.StatusNotFound, "did you mean pve")
		dismiss("pve1", http.StatusNoContent, "")
		dismiss("pve2", http.StatusNoContent, "")
		h.crash(time.Second)
		rest(5 * time.Second)
		if v := h.verdict(); v != "Pve3 at home is off still, since the plan shut it down." {
			t.Errorf("one is left: %q", v)
		}
		dismiss("pve3", http.StatusNoContent, "")
		if v := h.verdict(); v != "All well." {
			t.Errorf("none is left: %q", v)
		}
		dismiss("pve3", http.StatusConflict, "nothing is off")
		h.mustTell("the operator left pve3 off")
	})
}

// TestS5_AGuestThatIsLeftOff is looked for no more, but the others of its run are.
func TestS5_AGuestThatIsLeftOff(t *testing.T) {
	in(t, func(h *home) { c := h.withPlan(); h.must(c.Do("101 deaf")) }, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.ups.set(true)
		rest(20 * time.Second)
		h.press("/api/v1/plan/stop")
		h.ups.set(false)
		rest(5 * time.Second)
		before := len(offs(h.view()))
		h.press("/api/v1/plan/dismiss?name=vm102&site=home")
		rest(2 * time.Minute)
		off := strings.Join(offs(h.view()), "\n")
		if n := len(offs(h.view())); n != before-1 && n != before || strings.Contains(off, "vm102") || !strings.Contains(off, "vm100") {
			t.Errorf("of %d are off:\n%s", before, off)
		}
	})
}
