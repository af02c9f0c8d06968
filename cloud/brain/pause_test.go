package brain

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/sim/twiliosim"
	"sentinel.home.arpa/shared/wire"
)

// stops are how long a process is stopped: just long enough to be a pause, and for
// everything to be stale.
func stops() []time.Duration { return []time.Duration{4100 * time.Millisecond, time.Minute} }

// well checks that nothing is wrong, and was not.
func (h *home) well() {
	h.Helper()
	h.calls(0)
	if v := h.view(); v.Verdict != "All well." || len(v.Incidents) > 0 {
		h.Errorf("verdict %q, %+v\n%s", v.Verdict, v.Incidents, h.timeline())
	}
}

// TestH8_StoppedInCalm: while the process stood still its sockets filled with heartbeats
// and reports. Nobody has failed, and the page says that it stood still.
func TestH8_StoppedInCalm(t *testing.T) {
	t.Parallel()
	longStory(t)
	for _, d := range append(stops(), 3*time.Hour) {
		t.Run(d.String(), func(t *testing.T) {
			in(t, (*home).stoppable, func(h *home) {
				if d > time.Hour {
					h.each.Store(int64(10 * time.Second))
				}
				h.process.freeze(d)
				rest(40 * time.Second)
				h.mustTell("the brain had stood still for ")
				h.well()
			})
		})
	}
}

// TestH8_DiedWhileStopped: a node that died meanwhile is missed 20 s after the process
// went on, and its last heartbeats, which lay in the socket, change nothing about that.
func TestH8_DiedWhileStopped(t *testing.T) {
	for _, d := range stops() {
		t.Run(d.String(), func(t *testing.T) {
			in(t, (*home).stoppable, func(h *home) {
				h.process.stop()
				rest(d / 2)
				h.nodes["pve2"].kill()
				rest(d / 2)
				h.process.goOn()
				on := time.Now()
				rest(time.Minute)
				h.onTime("the call", h.calls(1)[0].Created, on.Add(20*time.Second))
			})
		})
	}
}

// TestA4_AnnouncedWhileStopped: an announcement that waited in the socket is heard, and
// the 10 min count from the node's last heartbeat.
func TestA4_AnnouncedWhileStopped(t *testing.T) {
	for _, back := range []bool{true, false} {
		t.Run(fmt.Sprintf("back %t", back), func(t *testing.T) {
			in(t, (*home).stoppable, func(h *home) {
				n := h.nodes["pve2"]
				m := wire.Announcement{Header: n.header(), ID: "id", Kind: wire.Reboot}
				h.process.stop()
				rest(10 * time.Second)
				_, _ = n.post(courier.PathAnnounce, wire.KindAnnouncement, m.Header, m) // nobody answers
				rest(time.Second)
				n.kill()
				rest(49 * time.Second)
				h.process.goOn()
				on := time.Now()
				rest(time.Minute)
				if s := h.shows("pve2"); s.Condition != "off" {
					h.Errorf("the page shows %+v", s)
				}
				h.slowly()
				if back {
					n.wake()
				}
				rest(12 * time.Minute)
				if back {
					h.well()
					return
				}
				if late := h.calls(1)[0].Created.Sub(on); late < 9*time.Minute || late > 10*time.Minute+time.Second {
					h.Errorf("called %s after the process went on", late)
				}
			})
		})
	}
}

// TestH8_StoppedWithAPlanToBegin: a report that lay in a socket begins nothing, wherever
// the mains were when the process stopped, if they are back when it goes on.
func TestH8_StoppedWithAPlanToBegin(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		out           time.Duration // before the process stops; negative: after
		opened, begun bool          // by then
	}{
		{"out and back while stopped", -5 * time.Second, false, false},
		{"before the incident", 3 * time.Second, false, false},
		{"before the plan", 9 * time.Second, true, false},
		{"in the middle of the plan", 13 * time.Second, true, true},
	} {
		for _, d := range stops() {
			t.Run(fmt.Sprintf("%s, %s", tt.name, d), func(t *testing.T) {
				var c *cluster
				in(t, func(h *home) { h.stoppable(); c = h.withPlan() }, func(h *home) {
					h.press("/api/v1/plan/arm")
					if tt.out > 0 {
						h.ups.set(true)
						rest(tt.out)
					}
					h.process.stop()
					before := len(c.shut())
					if tt.out < 0 {
						rest(min(-tt.out, d/2))
						h.ups.set(true)
					}
					rest(d / 2)
					h.ups.set(false)
					rest(d / 2)
					h.process.goOn()
					rest(2 * time.Minute)
					if told := c.shut(); len(told) > before {
						h.Errorf("told %v after %d\n%s", told[before:], before, h.timeline())
					}
					if tt.begun != (before > 0) {
						h.Errorf("%d were told before the stop", before)
					}
					if v := h.view(); v.Verdict != "All well." || tt.opened != (len(v.Incidents) == 1) {
						h.Errorf("verdict %q, %+v\n%s", v.Verdict, v.Incidents, h.timeline())
					}
					if !tt.begun {
						h.calls(0)
					}
				})
			})
		}
	}
}

// TestH8_StoppedInAnOutage that goes on: the plan begins, or goes on, once the reason was
// heard anew; one call, and nothing is told twice that matters.
func TestH8_StoppedInAnOutage(t *testing.T) {
	for _, out := range []time.Duration{3 * time.Second, 9 * time.Second, 13 * time.Second} {
		t.Run(out.String(), func(t *testing.T) {
			var c *cluster
			in(t, func(h *home) { h.stoppable(); c = h.withPlan() }, func(h *home) {
				h.press("/api/v1/plan/arm")
				h.ups.set(true)
				rest(out)
				h.process.freeze(time.Minute)
				on := time.Now()
				rest(3 * time.Minute)
				h.calls(1)
				h.mustTell("the plan is through")
				c.inOrder()
				for _, x := range c.told() {
					if x.at.After(on) {
						if late := x.at.Sub(on); late > 3*time.Second {
							h.Errorf("the plan went on %s after the process did", late)
						}
						break
					}
				}
			})
		})
	}
}

// TestC4_StoppedWhileCalling: a call under way is followed up, and none is placed twice,
// wherever the process stood.
func TestC4_StoppedWhileCalling(t *testing.T) {
	t.Parallel()
	longStory(t)
	for _, d := range append(stops(), 10*time.Minute) { // longer than a call is followed
		for name, at := range map[string]time.Duration{"before": 19 * time.Second, "ringing": 21 * time.Second, "listening": 24500 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s, %s", name, d), func(t *testing.T) {
				in(t, (*home).stoppable, func(h *home) {
					h.nodes["pve2"].kill()
					rest(time.Until(h.nodes["pve2"].lastWord().Add(at)))
					h.process.freeze(d)
					rest(2 * time.Minute)
					h.calls(1)
					if v := h.view(); v.Incidents[0].Answered != "Alex" || v.Calls["answered"] != 1 {
						h.Errorf("incidents %+v", v.Incidents)
					}
				})
			})
		}
	}
}

// TestC4_StoppedBetweenCalls: nobody took the first; the next is placed once, when the node
// could have been heard again.
func TestC4_StoppedBetweenCalls(t *testing.T) {
	in(t, (*home).stoppable, func(h *home) {
		h.x.Behave(alex, twiliosim.NoAnswer{}, twiliosim.Answer{})
		h.nodes["pve2"].kill()
		rest(60 * time.Second) // it rang in vain
		h.calls(1)
		h.process.freeze(5 * time.Minute)
		rest(10 * time.Second)
		h.calls(1)
		rest(15 * time.Second)
		h.calls(2)
		h.slowly()
		rest(10 * time.Minute)
		h.calls(2)
	})
}

// TestS5_StoppedAnywhere: the process stops at some look at the world, just when the plan
// begins, and the mains come back meanwhile. No command leaves after it went on, nobody
// has failed, and there is one call at most.
func TestS5_StoppedAnywhere(t *testing.T) {
	t.Parallel()
	longStory(t)
	const stopped = 30 * time.Second
	for n := 1; n <= 300; n += 15 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var c *cluster
			in(t, func(h *home) { h.stoppable(); c = h.withPlan() }, func(h *home) {
				h.press("/api/v1/plan/arm")
				h.ups.set(true)
				rest(9600 * time.Millisecond)
				var at time.Time
				h.process.stopAt(n, stopped, func() {
					at = time.Now()
					time.AfterFunc(time.Second, func() { h.ups.set(false) })
				})
				rest(2 * time.Minute)
				if at.IsZero() {
					h.Fatal("it never stopped")
				}
				for _, x := range c.shut() {
					if x.at.After(at) {
						h.Errorf("%s was told %s after the stop\n%s", x.what, x.at.Sub(at), h.timeline())
					}
				}
				if n := len(h.x.Calls()); n > 1 {
					h.Errorf("%d calls", n)
				}
				if v := h.view(); v.Verdict != "All well." && !strings.HasSuffix(v.Verdict, " being started again.") {
					h.Errorf("verdict %q\n%s", v.Verdict, h.timeline())
				}
			})
		})
	}
}

// TestH8_StoppedAgainAndAgain: stops that are no pause by themselves are one if they follow
// each other, and what the house sent meanwhile is lost.
func TestH8_StoppedAgainAndAgain(t *testing.T) {
	in(t, (*home).stoppable, func(h *home) {
		for range 10 {
			h.process.stop()
			h.offline()
			rest(3500 * time.Millisecond)
			h.process.goOn()
			rest(200 * time.Millisecond)
			h.online()
		}
		rest(2 * time.Minute)
		h.mustTell("the brain had stood still for ")
		h.well()
		h.nodes["pve2"].kill()
		last := h.nodes["pve2"].lastWord()
		rest(30 * time.Second)
		h.onTime("the call", h.calls(1)[0].Created, last.Add(20*time.Second))
	})
}

// TestH2_DiedBetweenStops: a process that stands still for 4 s each 15 s misses who died, and
// nobody else.
func TestH2_DiedBetweenStops(t *testing.T) {
	in(t, (*home).stoppable, func(h *home) {
		h.nodes["pve2"].kill()
		last := h.nodes["pve2"].lastWord()
		for range 10 {
			rest(15 * time.Second)
			h.process.freeze(4100 * time.Millisecond)
		}
		if late := h.calls(1)[0].Created.Sub(last); late > 50*time.Second {
			h.Errorf("called after %s", late)
		}
		if v := h.view(); len(v.Incidents) != 1 || len(v.Incidents[0].Nodes) != 1 {
			h.Errorf("incidents %+v", v.Incidents)
		}
	})
}

// TestH8_ShortStops now and then are no pause.
func TestH8_ShortStops(t *testing.T) {
	in(t, (*home).stoppable, func(h *home) {
		for range 10 {
			h.process.freeze(2500 * time.Millisecond)
			rest(25 * time.Second)
		}
		h.well()
		if _, ok := h.told("stood still"); ok {
			h.Errorf("a pause was made of short stops:\n%s", h.timeline())
		}
	})
}

// TestH8_SlowLoop: a loop that its disk holds up is no pause; who is silent is missed all
// the same.
func TestH8_SlowLoop(t *testing.T) {
	in(t, nil, func(h *home) {
		h.nodes["pve2"].kill()
		last := h.nodes["pve2"].lastWord()
		rest(10 * time.Second)
		h.slow.Store(int64(6 * time.Second))
		n := h.nodes["pve3"]
		m := wire.Announcement{Header: n.header(), ID: "id", Kind: wire.Poweroff}
		_, _ = n.post(courier.PathAnnounce, wire.KindAnnouncement, m.Header, m) // it takes too long
		rest(time.Minute)
		if _, ok := h.told("stood still"); ok {
			h.Errorf("a pause was made of a slow disk:\n%s", h.timeline())
		}
		h.onTime("the call", h.calls(1)[0].Created, last.Add(20*time.Second))
	})
}
