package brain

import (
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/sim/pvesim"
	"sentinel.home.arpa/shared/sim/twiliosim"
	"sentinel.home.arpa/shared/wire"
)

// TestC4_CrashWhileCalling: neither lost nor doubled, wherever it happens.
func TestC4_CrashWhileCalling(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault twiliosim.Fault
		at    time.Duration // after the node's last word
	}{
		{"before the request arrives", twiliosim.Fault{Kind: twiliosim.Hang, Method: http.MethodPost}, 22 * time.Second},
		{"before the answer arrives", twiliosim.Fault{Kind: twiliosim.Hang, Done: true, Method: http.MethodPost}, 22 * time.Second},
		{"while it rings", twiliosim.Fault{Kind: twiliosim.Hang, Code: 1}, 21 * time.Second},
		{"while somebody listens", twiliosim.Fault{Kind: twiliosim.Hang, Code: 1}, 24500 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, nil, func(h *home) {
				if tt.fault.Method != "" {
					h.x.Fault(tt.fault, 1)
				}
				h.nodes["pve2"].kill()
				rest(time.Until(h.nodes["pve2"].lastWord().Add(tt.at)))
				h.crash(2 * time.Second)
				rest(2 * time.Minute)
				h.calls(1)
				if v := h.view(); v.Incidents[0].Answered != "Alex" || v.Calls["answered"] != 1 {
					h.Errorf("incidents %+v", v.Incidents)
				}
			})
		})
	}
}

// TestC4_ACallFallsDueWhileTheBrainIsDead: it is placed at the start, once.
func TestC4_ACallFallsDueWhileTheBrainIsDead(t *testing.T) {
	in(t, nil, func(h *home) {
		h.x.Behave(alex, twiliosim.NoAnswer{})
		h.nodes["pve2"].kill()
		rest(95 * time.Second) // it rang in vain, and is tried again in 10 s
		h.calls(1)
		h.crash(20 * time.Second)
		rest(50 * time.Second)
		// No second one to Alex for this time, who is followed by Sam.
		if calls := h.calls(3); calls[1].To != alex || calls[2].To == alex {
			h.Errorf("called %s, %s, %s", calls[0].To, calls[1].To, calls[2].To)
		}
	})
}

// TestC4_TwoCallsToOneNumber: after a crash the one that was placed is not taken for the
// one that waited, which would be lost.
func TestC4_TwoCallsToOneNumber(t *testing.T) {
	in(t, nil, func(h *home) {
		h.x.Behave(alex, twiliosim.Answer{By: "machine_start", TalkFor: 30 * time.Second}, twiliosim.Answer{})
		h.nodes["pve2"].kill()
		rest(22 * time.Second) // a mailbox takes it
		h.calls(1)
		h.ups.set(true)
		rest(16 * time.Second) // and another is wanted
		h.calls(1)
		h.crash(500 * time.Millisecond)
		rest(40 * time.Second)
		calls := h.calls(2)
		if !strings.Contains(calls[0].Text, "P V E 2") || !strings.Contains(calls[1].Text, "The power at home has been out") {
			h.Errorf("said %q and %q", calls[0].Text, calls[1].Text)
		}
	})
}

// TestC1_APowerCallDoesNotWaitForAnother that rings at the same phone about something else: that is taken
// back, and comes again.
func TestC1_APowerCallDoesNotWaitForAnother(t *testing.T) {
	in(t, nil, func(h *home) {
		h.x.Behave(alex, twiliosim.NoAnswer{}, twiliosim.Answer{})
		h.nodes["pve2"].kill()
		rest(18 * time.Second)
		h.ups.set(true)
		out := time.Now()
		rest(25 * time.Second)
		calls := h.calls(2)
		if late := calls[1].Created.Sub(out) - 15*time.Second; late > 3*time.Second {
			h.Errorf("the call was %s late", late)
		}
		if calls[0].Status != "canceled" || !strings.Contains(calls[1].Text, "The power at home has been out") {
			h.Errorf("%s, and said %q", calls[0].Status, calls[1].Text)
		}
	})
}

// TestH8_CrashWithAnOpenIncident: the calls go on where they stood, and a restart causes
// none by itself.
func TestH8_CrashWithAnOpenIncident(t *testing.T) {
	times := func(crash bool) []time.Duration {
		var at []time.Duration
		in(t, nil, func(h *home) {
			h.x.Behave(alex, twiliosim.NoAnswer{})
			h.x.Behave(sam, twiliosim.NoAnswer{}, twiliosim.Answer{})
			h.nodes["pve2"].kill()
			last := h.nodes["pve2"].lastWord()
			h.slowly()
			for range 8 {
				rest(45 * time.Second)
				if crash {
					h.crash(time.Second)
				} else {
					rest(time.Second)
				}
			}
			for _, c := range h.x.Calls() {
				at = append(at, c.Created.Sub(last))
			}
			if v := h.view(); len(v.Incidents) != 1 || v.Incidents[0].Answered != "Sam" {
				h.Errorf("incidents %+v", v.Incidents)
			}
		})
		return at
	}
	quiet, crashed := times(false), times(true)
	if len(quiet) != 4 || len(crashed) != 4 {
		t.Fatalf("calls at %v, and with crashes at %v", quiet, crashed)
	}
	for i := range quiet {
		if d := crashed[i] - quiet[i]; d.Abs() > 5*time.Second {
			t.Errorf("call %d at %s, and with crashes at %s", i+1, quiet[i], crashed[i])
		}
	}
}

// TestA4_CrashDuringAPlannedSilence: the announcement is on disk, and so is its deadline,
// also when the brain's machine reboots.
func TestA4_CrashDuringAPlannedSilence(t *testing.T) {
	for name, crash := range map[string]func(h *home, after time.Duration){"kill -9": (*home).crash, "a reboot": (*home).reboot} {
		t.Run(name+" and back", func(t *testing.T) {
			in(t, nil, func(h *home) {
				h.slowly()
				n := h.nodes["pve2"]
				n.announce(wire.Reboot)
				crash(h, time.Second) // at once: it was acknowledged
				n.kill()
				rest(30 * time.Second)
				crash(h, time.Minute)
				rest(time.Minute)
				n.wake()
				rest(9 * time.Minute)
				h.calls(0)
				if s := h.shows("pve2"); s.Condition != "up" {
					h.Errorf("the page shows %+v", s)
				}
			})
		})
		t.Run(name+" and never back", func(t *testing.T) {
			in(t, nil, func(h *home) {
				h.slowly()
				n := h.nodes["pve2"]
				n.announce(wire.Reboot)
				rest(2 * time.Second)
				n.kill()
				last := n.lastWord()
				rest(30 * time.Second)
				crash(h, time.Minute)
				rest(time.Until(last.Add(10*time.Minute - time.Second)))
				h.calls(0)
				rest(2 * time.Second)
				h.onTime("the call", h.calls(1)[0].Created, last.Add(10*time.Minute))
			})
		})
	}
}

// TestH8_CrashInQuiet: every silence clock starts again. Nobody is called for it, and a
// node that died meanwhile is missed 20 s after the start.
func TestH8_CrashInQuiet(t *testing.T) {
	in(t, nil, func(h *home) {
		h.crash(30 * time.Second)
		rest(time.Minute)
		h.calls(0)
		h.nodes["pve3"].kill()
		h.crash(5 * time.Minute)
		started := time.Now()
		rest(time.Minute)
		h.onTime("the call", h.calls(1)[0].Created, started.Add(20*time.Second))
	})
}

// TestS9_CrashMidway: the plan goes on where it stood, and nothing is done twice that
// matters.
func TestS9_CrashMidway(t *testing.T) {
	for name, at := range map[string]time.Duration{"guests": 11 * time.Second, "nodes": 17 * time.Second, "the last": 30 * time.Second} {
		t.Run(name, func(t *testing.T) {
			var c *cluster
			in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
				h.press("/api/v1/plan/arm")
				h.ups.set(true)
				rest(at)
				h.crash(3 * time.Second)
				rest(3 * time.Minute)
				h.mustTell("the plan is through")
				h.calls(1)
				c.inOrder()
			})
		})
	}
}

// inOrder checks that the whole plan was told: all guests, once or twice, then pve2 and
// pve3, then pve1.
func (c *cluster) inOrder() {
	c.h.Helper()
	stage := 0
	for _, x := range c.told() {
		of := 0
		switch {
		case strings.Contains(x.what, "/qemu/"):
		case strings.HasPrefix(x.what, "pve1 "):
			of = 2
		default:
			of = 1
		}
		if of < stage {
			c.h.Errorf("%s came after stage %d began", x.what, stage+1)
		}
		stage = max(stage, of)
	}
	for i := 1; i <= 3; i++ {
		if n := c.count(fmt.Sprintf("pve%d /status", i)); n < 1 || n > 2 {
			c.h.Errorf("pve%d was told %d times", i, n)
		}
		for g := range 3 {
			if n := c.count(fmt.Sprintf("/qemu/%d/", 100*i+g)); n < 1 || n > 2 {
				c.h.Errorf("guest %d was told %d times", 100*i+g, n)
			}
		}
	}
}

// TestS9_CrashWithoutAnAnswer: a command that was under way is sent again.
func TestS9_CrashWithoutAnAnswer(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.ups.set(true)
		rest(9900 * time.Millisecond)
		c.Fault("pve2", pvesim.Fault{Kind: pvesim.Hang})
		rest(3 * time.Second)
		h.crash(time.Second)
		c.Fault("pve2", pvesim.Fault{})
		rest(3 * time.Minute)
		h.mustTell("the plan is through")
		c.inOrder()
	})
}

// TestH8_Pause: after a jump of the clock nobody has failed, and who really has is missed.
func TestH8_Pause(t *testing.T) {
	in(t, nil, func(h *home) {
		h.pause(time.Minute)
		rest(15 * time.Second)
		h.calls(0)
		h.mustTell("the brain had stood still for 6")
		h.nodes["pve3"].kill()
		h.pause(time.Minute)
		jump := time.Now()
		rest(40 * time.Second)
		if late := h.calls(1)[0].Created.Sub(jump); late < 20*time.Second-time.Millisecond || late > 21*time.Second {
			h.Errorf("missed %s after the pause", late)
		}
	})
}

// TestH8_PauseInDoubt: a brain that stands still while it asks itself whether a silent
// house is its own fault asks again.
func TestH8_PauseInDoubt(t *testing.T) {
	in(t, func(h *home) { h.net.lost["1.1.1.1:443"], h.net.lost["9.9.9.9:443"] = true, true }, func(h *home) {
		h.offline()
		rest(time.Until(h.pi.lastWord().Add(21 * time.Second)))
		h.net.mend(anchors...)
		h.pause(time.Minute)
		rest(30 * time.Second)
		h.mustTell("the brain had stood still")
		h.mustTell("internet outage at home")
		rest(70 * time.Second)
		h.calls(1)
	})
}

// TestR7_WallClock: a jump of the machine's wall clock changes no deadline.
func TestR7_WallClock(t *testing.T) {
	in(t, nil, func(h *home) {
		h.slowly()
		n := h.nodes["pve2"]
		n.announce(wire.Reboot)
		n.kill()
		last := n.lastWord()
		rest(time.Minute)
		h.wrong.Store(int64(-3 * time.Hour))
		rest(time.Until(last.Add(10*time.Minute + time.Second)))
		h.onTime("the call", h.calls(1)[0].Created, last.Add(10*time.Minute))
	})
}

// TestR3_JournalCannotBeWritten: the brain acts from memory and says so, and what it did
// is on disk once that works again.
func TestR3_JournalCannotBeWritten(t *testing.T) {
	t.Parallel()
	in(t, fails(10*time.Second), func(h *home) {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(h.cfg.StateDir, "journal.db"))
		if err != nil {
			h.Fatal(err)
		}
		db.SetMaxOpenConns(1)
		defer db.Close()
		if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil { // somebody else holds it
			h.Fatal(err)
		}
		h.nodes["pve2"].kill()
		last := h.nodes["pve2"].lastWord()
		rest(18 * time.Second)
		if late := h.calls(1)[0].Created.Sub(last); late < 10*time.Second-time.Millisecond || late > 15*time.Second {
			h.Errorf("called %s after the last word", late)
		}
		v := h.view()
		if len(v.Warnings) != 1 || !strings.Contains(v.Warnings[0], "The journal cannot be written") {
			h.Errorf("warnings %q", v.Warnings)
		}
		if code, text := h.request(http.MethodGet, "/readyz", nil, nil); code != http.StatusServiceUnavailable || !strings.Contains(text, "append to the journal") {
			h.Errorf("readyz answered %d %s", code, text)
		}
		if _, text := h.request(http.MethodGet, "/metrics", nil, nil); strings.Contains(text, "sentinel_journal_errors_total 0\n") {
			h.Error("no error counted")
		}
		if _, err := db.Exec("ROLLBACK"); err != nil {
			h.Fatal(err)
		}
		rest(5 * time.Second)
		if v := h.view(); len(v.Warnings) > 0 {
			h.Errorf("warnings %q", v.Warnings)
		}
		if code, text := h.request(http.MethodGet, "/readyz", nil, nil); code != http.StatusOK {
			h.Errorf("readyz answered %d %s", code, text)
		}
		h.crash(time.Second)
		rest(2 * time.Minute)
		h.calls(1)
		if v := h.view(); len(v.Incidents) != 1 || v.Incidents[0].Answered != "Alex" {
			h.Errorf("the next process knows %+v", v.Incidents)
		}
	})
}

// TestR3_AcknowledgedIsOnDisk: whatever the brain has answered with yes is a fact by then.
func TestR3_AcknowledgedIsOnDisk(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		has := func(what string, is func(f sentinel.Fact) bool) {
			h.Helper()
			if !slices.ContainsFunc(h.entries(), func(e journal.Entry) bool { return is(e.Fact) }) {
				h.Errorf("%s is not in the journal", what)
			}
		}
		h.press("/api/v1/plan/arm")
		has("the arming", func(f sentinel.Fact) bool { _, ok := f.(*sentinel.PlanArmed); return ok })
		h.nodes["pve2"].announce(wire.Poweroff)
		has("the announcement", func(f sentinel.Fact) bool {
			a, ok := f.(*sentinel.ShutdownAnnounced)
			return ok && a.Name == "pve2" && a.Kind == "poweroff"
		})
		h.press("/api/v1/plan/disarm")
		has("the disarming", func(f sentinel.Fact) bool { _, ok := f.(*sentinel.PlanDisarmed); return ok })
	})
}
