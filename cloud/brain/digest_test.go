package brain

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/sim/hooksim"
)

// TestC7_ADigestOverARestart: a brain that was off when its time came tells how all was once it has
// listened, each channel once; and whoever asks is told at any time.
func TestC7_ADigestOverARestart(t *testing.T) {
	in(t, func(h *home) {
		tellsAlex(h)
		h.cfg.Notices.Digest = "daily 13:30"
	}, func(h *home) {
		shown := func() (d shownDigest) {
			h.Helper()
			code, text := h.request(http.MethodGet, "/api/v1/digest", nil, nil)
			if err := json.Unmarshal([]byte(text), &d); err != nil || code != http.StatusOK {
				h.Fatalf("HTTP %d %s: %v", code, text, err)
			}
			return d
		}
		begun := time.Now()
		if d := shown(); !strings.HasPrefix(d.Subject, "Digest of home: ") || !strings.Contains(d.Text, "pve1") || begun.Sub(d.Since) > time.Minute {
			t.Errorf("it is %+v", d)
		}
		if code, text := h.request(http.MethodGet, "/api/v1/digest?site=home", nil, nil); code != http.StatusBadRequest || !strings.Contains(text, "is not known here") {
			t.Errorf("with a parameter: HTTP %d %s", code, text)
		}
		h.slowly()
		h.crash(14 * time.Hour)
		rest(3 * time.Minute)
		h.crash(time.Second)
		rest(3 * time.Minute)
		of := func(g hooksim.Got) bool { return strings.HasPrefix(g.Title, "Digest of home: ") }
		got := slices.DeleteFunc(h.hooks.Taken(), func(g hooksim.Got) bool { return !of(g) })
		if len(got) != 1 || !strings.Contains(got[0].Body, "\nups was never on battery; its battery is at ") || !strings.Contains(got[0].Body, "The sentinel itself was started once.") {
			t.Errorf("told %+v", got)
		}
		if d := shown(); time.Since(d.Since) > 10*time.Minute {
			t.Errorf("it counts since %s", d.Since)
		}
	})
}
