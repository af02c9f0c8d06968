package brain

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/sim/twiliosim"
)

// reach cuts the way to Twilio, or mends it.
func (x *exchange) reach(on bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.offline = 0
	if !on {
		x.offline = 1 << 30
	}
}

// hourWithoutTwilio has pve2 fail while Twilio cannot be reached, does not answer, and is not
// available, one after the other. half is what happens in the middle of it.
func hourWithoutTwilio(t *testing.T, half, after func(h *home)) {
	before := func(h *home) {
		tellsAlex(h)
		h.cfg.Contacts[0].Notices = h.cfg.Contacts[0].Notices[:1]
		h.slowly()
	}
	in(t, before, func(h *home) {
		h.x.reach(false)
		h.nodes["pve2"].kill()
		rest(20 * time.Minute)
		h.x.reach(true)
		h.x.Fault(twiliosim.Fault{Kind: twiliosim.Hang}, -1)
		rest(10 * time.Minute)
		half(h)
		rest(10 * time.Minute)
		h.x.ClearFaults()
		h.x.Fault(twiliosim.Fault{Kind: twiliosim.Unavailable}, -1)
		rest(20 * time.Minute)
		h.calls(0)
		after(h)
	})
}

// vain are the notices that calls come to nothing.
func (h *home) vain() (texts []string) {
	for _, g := range h.hooks.Taken() {
		if strings.Contains(g.Title+g.Body, "cannot be ") {
			texts = append(texts, g.Body)
		}
	}
	return texts
}

// TestC7_AnHourWithoutTwilio: the other channels are told once, with advice, the page says it as
// long as it lasts, and when Twilio is back exactly one call is placed within the longest wait.
func TestC7_AnHourWithoutTwilio(t *testing.T) {
	const advice = "Twilio could not be reached; check this machine's internet connection and name resolution"
	half := func(h *home) {
		if got := h.vain(); len(got) != 1 || !strings.Contains(got[0], advice) {
			h.Errorf("told %q", got)
		}
		if v := h.view(); len(v.Warnings) != 1 || !strings.HasPrefix(v.Warnings[0], "Alex cannot be called since 00:00, and it is tried again: ") || !strings.Contains(v.Warnings[0], advice) {
			h.Errorf("the page warns %q", v.Warnings)
		}
	}
	hourWithoutTwilio(t, half, func(h *home) {
		before := len(h.x.all())
		if before > 3*60*4 {
			h.Errorf("Twilio was asked %d times", before)
		}
		half(h)
		h.mustTell("the call to Alex cannot be placed yet: ")
		h.x.ClearFaults()
		rest(30*time.Second + 3*time.Second)
		if said := h.calls(1)[0].TwiML; strings.Count(said, ">This call is late: it tells how it was at 00 00. Hello Alex. ") != 2 { // which an hour ago may be otherwise by now
			h.Errorf("it says %s", said)
		}
		rest(10 * time.Minute)
		h.calls(1)
		if v := h.view(); len(v.Warnings) != 0 || !strings.HasSuffix(v.Verdict, "Alex knows.") {
			h.Errorf("at the end: %q, %q", v.Verdict, v.Warnings)
		}
		if got := h.vain(); len(got) != 1 {
			h.Errorf("told %q", got)
		}
	})
}

// TestC9_OverBeforeTwilioIsBack: no phone rings any more.
func TestC9_OverBeforeTwilioIsBack(t *testing.T) {
	hourWithoutTwilio(t, func(h *home) { h.nodes["pve2"].wake() }, func(h *home) {
		h.x.ClearFaults()
		asked := h.x.count(dialled)
		rest(10 * time.Minute)
		h.calls(0)
		if n := h.x.count(dialled); n != asked {
			h.Errorf("%d more requests for a call", n-asked)
		}
		if v := h.view(); len(v.Warnings) != 0 || !v.Well {
			h.Errorf("at the end: %q, %q", v.Verdict, v.Warnings)
		}
	})
}

// TestC7_ABlipIsNotTold: Twilio fails for some seconds, and nobody need know.
func TestC7_ABlipIsNotTold(t *testing.T) {
	in(t, tellsAlex, func(h *home) {
		h.x.Fault(twiliosim.Fault{Kind: twiliosim.Unavailable, Method: http.MethodPost, Path: "/Calls.json"}, 2)
		h.nodes["pve2"].kill()
		rest(2 * time.Minute)
		if said := h.calls(1)[0].TwiML; strings.Contains(said, "late") {
			h.Errorf("it says %s", said)
		}
		if got := h.vain(); len(got) > 0 {
			h.Errorf("told %q", got)
		}
	})
}
